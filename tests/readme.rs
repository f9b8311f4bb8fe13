//! The README says what the code says: its table of settings is made from `SETTINGS`, and its links lead somewhere.
//!
//! When a setting changes, the failing test prints the table to paste.

use mayfly::config::SETTINGS;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- settings:begin -->\n";
const END: &str = "<!-- settings:end -->\n";

/// The pages whose links are followed.
const PAGES: [&str; 7] = [
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    "docs/api.md",
    "docs/architecture.md",
    "docs/threat-model.md",
];

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A default as a word to type, or as it is where it is a description in parentheses.
fn shown(default: &str) -> String {
    if default.starts_with('(') { default.to_owned() } else { format!("`{default}`") }
}

fn table() -> String {
    let mut table = String::from("| setting | default | what it does |\n|---|---|---|\n");
    for setting in SETTINGS {
        let cells = [setting.name, setting.default, setting.about];
        assert!(cells.iter().all(|cell| !cell.contains('|')), "a cell of {} would end its column", setting.name);
        // Writing to a String can't fail.
        let _ = writeln!(table, "| `{}` | {} | {} |", setting.name, shown(setting.default), setting.about);
    }
    table
}

#[test]
fn the_table_of_settings_is_the_codes() {
    let readme = page("README.md");
    let (_, from_table) = readme.split_once(BEGIN).expect("the README has a table of settings");
    let (written, _) = from_table.split_once(END).expect("the table of settings ends");
    let wanted = table();
    assert!(written == wanted, "README.md, between {BEGIN} and {END}, should be:\n\n{wanted}");
}

/// The targets of `[text](target)` outside of code.
fn links(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        if !in_code && !line.starts_with("    ") {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(targets.map(|(target, _)| target.to_owned()));
        }
    }
    found
}

/// A heading's anchor, as the usual renderers make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        letter if letter.is_alphanumeric() || matches!(letter, '-' | '_') => Some(letter.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

fn leads_somewhere(from: &Path, target: &str) -> bool {
    if target.starts_with("https://") {
        return true;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { from.to_owned() } else { from.with_file_name("").join(file) };
    if heading.is_empty() {
        return path.exists();
    }
    fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.starts_with('#') && anchor(line) == heading))
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for name in PAGES {
        let from = top().join(name);
        let targets = links(&page(name)).into_iter().filter(|target| !leads_somewhere(&from, target));
        dead.extend(targets.map(|target| format!("{name}: {target}")));
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}
