//! Names a place inside a result, as `result.rows[3].ts`, for a message to a person.
//!
//! Runs in the child. Keys are the script's text: escaped, and cut where they would fill the answer.

use std::fmt::Write;

/// The most characters of one key, of a whole path and of a problem.
const KEY: usize = 60;
const PATH: usize = 200;
const PROBLEM: usize = 400;

/// One step down from a container.
pub(super) enum Place<'a> {
    /// A list's item.
    Index(usize),
    /// A dict's value.
    Key(&'a str),
    /// The container itself.
    Here,
}

/// Writes the path from the result to a place.
pub(super) fn write<'a>(places: impl Iterator<Item = Place<'a>>) -> String {
    let mut path = String::from("result");
    for place in places {
        if path.len() > PATH {
            path.push('…');
            break;
        }
        // Writing to a String can't fail.
        let _ = match place {
            Place::Index(index) => write!(path, "[{index}]"),
            Place::Key(key) if is_identifier(key) => write!(path, ".{key}"),
            Place::Key(key) => write!(path, "[{}]", serde_json::Value::from(cut(key, KEY))),
            Place::Here => Ok(()),
        };
    }
    path
}

/// A problem, cut to what is worth reading.
pub(super) fn clip(problem: &str) -> String {
    cut(problem, PROBLEM)
}

fn is_identifier(key: &str) -> bool {
    let mut characters = key.chars();
    key.len() <= KEY
        && characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|next| next.is_alphanumeric() || next == '_')
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_the_expression() {
        let places = [Place::Key("rows"), Place::Index(3), Place::Key("ts"), Place::Here];
        assert_eq!(write(places.into_iter()), "result.rows[3].ts");
        assert_eq!(write([Place::Key("odd \"key\"")].into_iter()), r#"result["odd \"key\""]"#);
        assert_eq!(write([Place::Key("3")].into_iter()), r#"result["3"]"#);
        assert_eq!(write([Place::Key("größe")].into_iter()), "result.größe");
    }

    #[test]
    fn long_keys_and_paths_are_cut() {
        let long = "k".repeat(10_000);
        let path = write(std::iter::repeat_n(long.as_str(), 128).map(Place::Key));
        assert!(path.len() < PATH + 2 * KEY, "{}", path.len());
        assert_eq!(clip(&long).chars().count(), PROBLEM + 1);
    }
}
