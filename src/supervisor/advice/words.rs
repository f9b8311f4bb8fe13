//! Names in Python source: finding them, which of them the source binds, and the one that is closest to another.
//!
//! Runs in the supervisor; pure. It looks at words and parses nothing, so what it finds must be said only where a mistake harms nobody.

use std::collections::BTreeSet;

/// Modules of the standard library that scripts use by their name.
pub(super) const MODULES: &str = "
    abc argparse array ast asyncio base64 binascii bisect calendar cmath collections concurrent contextlib copy csv ctypes dataclasses
    datetime decimal difflib enum fractions functools gc glob gzip hashlib heapq hmac html http importlib inspect io ipaddress itertools
    json keyword locale logging math numbers operator os pathlib pickle platform pprint queue random re secrets shutil signal socket
    sqlite3 statistics string struct subprocess sys tempfile textwrap threading time timeit traceback types typing unicodedata unittest
    urllib uuid warnings weakref xml zipfile zlib zoneinfo
";

/// Built-in functions and classes.
pub(super) const BUILTINS: &str = "
    abs all any bool bytes callable chr dict dir divmod enumerate filter float format frozenset getattr hasattr hash hex input int
    isinstance issubclass iter len list map max min next object open ord pow print property range repr reversed round set setattr slice
    sorted staticmethod str sum super tuple type zip Exception KeyError TypeError ValueError IndexError True False None
";

pub(super) fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The words of a text and where they begin.
pub(super) fn identifiers(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(is_name)?;
        let length = text[start..].find(|letter| !is_name(letter)).unwrap_or(text.len() - start);
        at = start + length;
        Some((start, &text[start..at]))
    })
}

/// Whether a word at this place of a line is bound there: defined, assigned, imported, a loop's variable or a parameter.
pub(super) fn is_bound(line: &str, at: usize, word: &str) -> bool {
    let before = line[..at].trim_end_matches(' ');
    let after = line[at + word.len()..].trim_start_matches(' ');
    let follows = |keyword: &str| before.ends_with(keyword) && before.len() < at;
    let is_assigned = after.starts_with('=') && !after.starts_with("==");
    let is_parameter = line.trim_start().trim_start_matches("async ").starts_with("def ");
    !before.ends_with('.')
        && (is_assigned || is_parameter || ["def", "class", "for", "import", "as"].iter().any(|word| follows(word)))
}

/// The name in Python's `name 'x' is not defined`.
pub(super) fn missing_name(message: &str) -> Option<&str> {
    let (name, rest) = message.strip_prefix("name '")?.split_once('\'')?;
    let is_one = !name.is_empty() && name.len() < 100 && name.chars().all(is_name);
    (is_one && rest.starts_with(" is not defined")).then_some(name)
}

/// The one name that is a slip away from `word`: nearer than all others, and near for its length.
pub(super) fn closest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = match word.chars().count() {
        3..6 => 1,
        6..40 => 2,
        // A shorter word is near to too many, and a longer one takes long to compare.
        _ => return None,
    };
    let names: BTreeSet<&str> = names.into_iter().collect();
    let near = |name: &&str| *name != word && name.len().abs_diff(word.len()) <= 2 * most;
    let mut found: Vec<(usize, &str)> = names.into_iter().filter(near).map(|name| (slips(word, name), name)).collect();
    found.sort_unstable();
    match found[..] {
        [(least, _), (second, _), ..] if least == second => None,
        [(least, name), ..] if least <= most => Some(name),
        _ => None,
    }
}

/// How many letters were added, left out, changed, or swapped with the next; a capital counts as the letter.
fn slips(left: &str, right: &str) -> usize {
    let [left, right]: [Vec<char>; 2] = [left, right].map(|text| text.to_lowercase().chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let changed = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}
