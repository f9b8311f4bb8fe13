//! What must hold of the source text: who may know what, and how files begin.
//!
//! The rules are those of `docs/architecture.md`. Comments and string literals do not count as knowing something.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this has a second job.
const LONGEST: usize = 400;

struct Source {
    /// Below the package, as `src/http/gate.rs`.
    path: String,
    text: String,
    /// The text without comments and literals, test modules included.
    code: String,
}

impl Source {
    fn is_below(&self, room: &str) -> bool {
        self.path == format!("src/{room}.rs") || self.path.starts_with(&format!("src/{room}/"))
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        walk(&home.join(folder), &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("text");
            let path = path.strip_prefix(home).expect("below it").display().to_string();
            Source { path, code: code_of(&text), text }
        })
        .collect()
}

/// Blanks comments, strings and character literals out; line breaks stay.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest, bytes.get(at.wrapping_sub(1)).copied()) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = rest.find('"').unwrap_or(0) + 1;
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if rest.starts_with('"') {
            string_end(rest.as_bytes())
        } else if let Some(end) = character_end(rest) {
            end
        } else {
            let letter = rest.chars().next().unwrap_or(' ');
            code.push(letter);
            at += letter.len_utf8();
            continue;
        };
        code.extend(rest[..end].chars().filter(|letter| *letter == '\n'));
        code.push(' ');
        at += end;
    }
    code
}

/// How many `#` a raw string that begins here has.
fn raw_string(rest: &str, before: Option<u8>) -> Option<usize> {
    let is_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let rest = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r').filter(|_| !is_word)?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

fn string_end(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a character literal, which a lifetime is not.
fn character_end(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map(|end| end + 4);
    }
    let length = inner.chars().next()?.len_utf8();
    inner[length..].starts_with('\'').then_some(length + 2)
}

/// Whole words only: `hyper` is not in `hyperlink`.
fn names(code: &str, word: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(word)
        .any(|(start, _)| !code[..start].ends_with(is_word) && !code[start + word.len()..].starts_with(is_word))
}

#[track_caller]
fn none(wrong: impl IntoIterator<Item = String>, rule: &str) {
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

/// Files that name one of these words and lie in none of these rooms.
fn strangers(words: &[&str], rooms: &[&str]) -> Vec<String> {
    sources(&["src"])
        .iter()
        .filter(|source| !rooms.iter().any(|room| source.is_below(room)))
        .flat_map(|source| {
            words.iter().filter(|word| names(&source.code, word)).map(|word| format!("{} names {word}", source.path))
        })
        .collect()
}

#[test]
fn only_the_front_knows_hyper() {
    none(strangers(&["hyper", "hyper_util", "http_body_util"], &["http", "api"]), "only `http` and `api` know hyper");
}

#[test]
fn only_wire_knows_bincode() {
    none(strangers(&["bincode"], &["wire"]), "only `wire` knows bincode");
}

#[test]
fn only_python_knows_pyo3() {
    none(strangers(&["pyo3"], &["python"]), "only `python` knows PyO3");
}

#[test]
fn unsafe_lives_in_sys_and_python() {
    none(strangers(&["unsafe"], &["sys", "python"]), "`unsafe` lives in `sys` and `python`");
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"deny\""), "and is denied elsewhere");
}

#[test]
fn each_unsafe_block_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        // Code and text have the same lines.
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, code) in source.code.lines().enumerate() {
            let opens_block =
                names(code, "unsafe") && code.split("unsafe").skip(1).any(|rest| rest.trim_start().starts_with('{'));
            let before = lines[number.saturating_sub(8)..=number].iter();
            if opens_block && !before.clone().any(|line| line.trim_start().starts_with("// SAFETY:")) {
                wrong.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    none(wrong, "each `unsafe` block has a SAFETY comment above it");
}

/// The field is private, but to modules below `jail` it is not: there nothing but a look at the text holds it.
#[test]
fn the_proof_of_a_jail_is_made_in_one_place() {
    let makes = |code: &str| {
        ["Jailed {", "Jailed{", "Jailed as ", "= Jailed", "= jail::Jailed"].map(|text| code.matches(text).count())
    };
    let all = sources(&["src"]);
    let wrong = all.iter().filter(|source| source.path != "src/jail.rs" && makes(&source.code) != [0; 5]);
    none(wrong.map(|source| source.path.clone()), "only `jail.rs` makes a `Jailed`");
    let jail = all.iter().find(|source| source.path == "src/jail.rs").expect("src/jail.rs");
    // The type, what can be done with it, and the end of `enter`.
    assert_eq!(makes(&jail.code), [3, 0, 0, 0, 0]);
    assert_eq!(jail.code.matches("Ok(Jailed {").count(), 1);
}

/// What else is answered is a row of the table, and so has its cause and its remedy on the page.
#[test]
fn only_the_table_of_answers_knows_a_refusals_status() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| source.path != "src/http/answer.rs") {
        let after = source.code.split("StatusCode::").skip(1);
        let words = after.map(|rest| rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next());
        let others = words.flatten().filter(|word| !["OK", "UNPROCESSABLE_ENTITY"].contains(word));
        wrong.extend(others.map(|word| format!("{} names {word}", source.path)));
    }
    none(wrong, "a refusal is a row of `errors::Refused`");
}

#[test]
fn every_row_of_an_answer_is_answered() {
    use mayfly::errors::{Code, FixKind, Refused};
    let sources = sources(&["src"]);
    // Tests and the table do not count.
    let is_program = |source: &&Source| !source.is_below("errors") && !source.path.ends_with("tests.rs");
    let code: Vec<&str> = sources.iter().filter(is_program).map(|source| test_free(&source.code)).collect();
    let refused = Refused::ALL.iter().map(|refused| format!("Refused::{refused:?}"));
    let codes = Code::ALL.iter().map(|code| format!("Code::{code:?}"));
    let kinds = FixKind::ALL.iter().map(|kind| format!("FixKind::{kind:?}"));
    let rows = refused.chain(codes).chain(kinds);
    let unused = rows.filter(|row| !code.iter().any(|code| names(code, row)));
    none(unused, "nothing answers these rows");
}

fn test_free(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

#[test]
fn only_the_command_line_knows_clap() {
    none(strangers(&["clap"], &["cli"]), "only `cli` knows clap");
}

/// Rooms that must not know others, and why.
const WALLS: &[(&str, &[&str], &str)] = &[
    (
        "http",
        &["job", "service", "api", "config", "capabilities", "value", "wire"],
        "connections carry any protocol: what a request means is not theirs to know",
    ),
    ("http", PROCESSES, "a stranger's bytes are read by code that can't reach a process"),
    ("api", PROCESSES, "a protocol reaches whoever runs scripts through `service` alone"),
    ("api", &["wire", "handover", "orders", "sys"], "a protocol knows no descriptor"),
    ("service", PROCESSES, "it is what the protocols may know, and they may know no process"),
    (
        "children",
        &["http", "api", "service", "supervisor", "survey", "worker", "python", "capabilities"],
        "who makes processes knows nothing of requests, and runs none of the code inside them",
    ),
    ("survey", &["http", "api", "service", "supervisor", "worker", "python"], "it is made before anything is served"),
    (
        "supervisor",
        &["http", "api", "worker"],
        "the way of a job is the same for every protocol, and ends at a channel",
    ),
    (
        "worker",
        &["http", "api", "service", "supervisor", "children", "survey", "config", "job", "client"],
        "what a zygote holds, every child can read: nothing of the supervisor's is there",
    ),
    (
        "jail",
        &["http", "api", "service", "supervisor", "children", "survey", "worker", "python", "config", "wire", "orders"],
        "the list of steps depends on its plan and on the kernel alone",
    ),
    (
        "python",
        &["http", "api", "supervisor", "children", "survey", "worker", "orders"],
        "the interpreter gets a job and gives a reply",
    ),
    ("sys", &["jail", "worker", "children", "supervisor", "python", "wire", "job"], "a system call decides nothing"),
];

/// Rooms that hold processes, or run in other ones than the supervisor.
const PROCESSES: &[&str] = &["supervisor", "children", "survey", "worker", "jail", "python"];

/// The rooms that a file's code, its tests left out, names by `crate::`.
fn rooms_named(source: &Source) -> BTreeSet<String> {
    let code = test_free(&source.code);
    assert!(!code.contains("crate::{"), "{}: one `use` for each room, so that walls are seen", source.path);
    let word =
        |rest: &str| rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().map(str::to_owned);
    code.split("crate::").skip(1).filter_map(word).filter(|word| !word.is_empty()).collect()
}

/// The room of a file: the folder or the file right below `src`.
fn room(source: &Source) -> Option<&str> {
    let name = source.path.strip_prefix("src/")?.split('/').next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (!["lib", "main"].contains(&name)).then_some(name)
}

#[test]
fn the_walls_stand() {
    let mut wrong = Vec::new();
    for source in &sources(&["src"]) {
        let named = rooms_named(source);
        for (inside, strangers, why) in WALLS.iter().filter(|(inside, ..)| room(source) == Some(inside)) {
            let known = strangers.iter().filter(|stranger| named.contains(**stranger));
            wrong.extend(known.map(|stranger| format!("{} names {stranger}, and is in {inside}: {why}", source.path)));
        }
    }
    none(wrong, "walls");
}

#[test]
fn no_two_rooms_need_each_other() {
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &sources(&["src"]) {
        if let Some(room) = room(source) {
            let mut named = rooms_named(source);
            named.remove(room);
            needs.entry(room.to_owned()).or_default().append(&mut named);
        }
    }
    assert!(needs.len() > 20, "the rooms were found: {needs:?}");
    // Rooms that need nothing that is left are taken away until none is left, or a circle.
    while !needs.is_empty() {
        let free: Vec<String> =
            needs.iter().filter(|(_, needed)| needed.is_empty()).map(|(room, _)| room.clone()).collect();
        assert!(!free.is_empty(), "these rooms need each other, or hang on some that do: {needs:?}");
        for room in &free {
            needs.remove(room);
        }
        for needed in needs.values_mut() {
            needed.retain(|room| !free.contains(room));
        }
    }
}

#[test]
fn every_file_says_its_job_first() {
    let wrong = sources(&["src", "tests", "build"]);
    let wrong = wrong.iter().filter(|source| !source.text.starts_with("//! ")).map(|source| source.path.clone());
    none(wrong, "every file opens with `//!`");
}

#[test]
fn no_file_is_too_long() {
    let long = |source: &Source| {
        (source.text.lines().count() > LONGEST)
            .then(|| format!("{}: {} lines", source.path, source.text.lines().count()))
    };
    none(sources(&["src"]).iter().filter_map(long), "a file of more than 400 lines has a second job");
}

#[test]
fn nothing_is_left_to_do() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "build"]) {
        for macro_name in ["todo!", "unimplemented!", "dbg!"] {
            if source.code.contains(macro_name) {
                wrong.push(format!("{} has {macro_name}", source.path));
            }
        }
    }
    for source in sources(&["src", "tests", "build"]) {
        for (number, line) in source.text.lines().enumerate() {
            let word = line
                .split(|letter: char| !letter.is_alphanumeric())
                .find(|word| ["TODO", "FIXME", "XXX", "HACK"].contains(word));
            if let Some(word) = word.filter(|_| source.path != "tests/tidy.rs") {
                wrong.push(format!("{}:{} has {word}", source.path, number + 1));
            }
        }
    }
    none(wrong, "nothing is left to do");
}

#[test]
fn no_test_is_ignored() {
    let wrong = sources(&["src", "tests"]);
    none(
        wrong.iter().filter(|source| source.code.contains("#[ignore")).map(|source| source.path.clone()),
        "no test is ignored",
    );
}

#[test]
fn defaults_live_in_config() {
    let names_setting = |source: &Source| {
        source.text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains("env::var(\"MAYFLY_"))
    };
    let wrong = sources(&["src"]);
    let wrong = wrong
        .iter()
        .filter(|source| names_setting(source) && source.path != "src/fault/asked.rs")
        .map(|source| source.path.clone());
    none(wrong, "settings are read in `config` alone");
}

#[test]
fn words_that_say_nothing_are_no_names() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let stem = Path::new(&source.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if ["util", "utils", "helper", "helpers", "misc", "common", "manager", "mod"].contains(&stem.as_str()) {
            wrong.push(source.path.clone());
        }
        for line in source.code.lines() {
            let mut words =
                line.split_whitespace().skip_while(|word| !["struct", "enum", "trait"].contains(word)).skip(1);
            let name = words.next().unwrap_or_default().trim_matches(|letter: char| !letter.is_alphanumeric());
            if ["Manager", "Helper", "Util", "Context", "Data", "Info"].iter().any(|end| name.ends_with(end)) {
                wrong.push(format!("{}: {name}", source.path));
            }
        }
    }
    none(wrong, "names say what a thing is");
}

#[test]
fn the_reader_of_code_reads_code() {
    let text =
        "let a = \"unsafe // x\"; // unsafe\nlet b = 'u'; let c: &'a str = r#\"unsafe \"x\" \"#;\nunsafe { f('\\'') }";
    let code = code_of(text);
    assert_eq!(code.lines().count(), 3);
    assert_eq!(code.matches("unsafe").count(), 1, "{code}");
    assert!(names(&code, "unsafe") && names(&code, "str") && !names(&code, "st"));
}
