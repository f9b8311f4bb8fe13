//! The pages say what the program says: `docs/settings.md` is made from `SETTINGS`, `docs/errors.md` from the tables of `errors`, each command's `--help` lists its own
//! settings, every link leads somewhere, and what was measured names a commit of this history.
//!
//! When a setting or an answer changes, the failing test prints what the page should say.

use mayfly::config::{Group, Range, SETTINGS, Setting, Subcommand};
use mayfly::errors::{Code, FixKind, Refused};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const BEGIN: &str = "<!-- settings:begin -->\n";
const END: &str = "<!-- settings:end -->\n";

/// Stands around what docs/errors.md has from the code.
const ERRORS: [&str; 2] = ["<!-- errors:begin -->\n", "<!-- errors:end -->\n"];

/// Stands around what CHANGELOG.md and docs/api.md both say.
const CHANGED: [&str; 2] = ["<!-- changed-values:begin -->\n", "<!-- changed-values:end -->\n"];

/// Pages that are to be read in one go, and how long they may be, in lines.
const SHORT: [(&str, usize); 2] = [("README.md", 150), ("docs/architecture.md", 250)];

const COMMANDS: [(Subcommand, &str); 4] = [
    (Subcommand::Serve, "serve"),
    (Subcommand::Run, "run"),
    (Subcommand::Doctor, "doctor"),
    (Subcommand::Healthcheck, "healthcheck"),
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

fn range(setting: &Setting) -> String {
    match setting.range {
        Range::Number { least, most: u64::MAX } => format!("{least} or more"),
        Range::Number { least, most } => format!("{least} to {most}"),
        Range::Words(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn commands(setting: &Setting) -> String {
    let used = COMMANDS.iter().filter(|(subcommand, _)| setting.used_by.contains(subcommand));
    used.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

/// All settings, a table for each group.
fn tables() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let heading = group.as_str();
        let columns = "| setting | default | range | what it does | commands |\n|---|---|---|---|---|";
        // Writing to a String can't fail.
        let _ = writeln!(text, "## {heading}\n\n{columns}");
        for setting in SETTINGS.iter().filter(|setting| setting.group == group) {
            let cells = [shown(setting.default), range(setting), setting.about.to_owned(), commands(setting)];
            assert!(cells.iter().all(|cell| !cell.contains('|')), "a cell of {} would end its column", setting.name);
            let _ = writeln!(text, "| `{}` | {} |", setting.name, cells.join(" | "));
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_page_of_settings_is_the_codes() {
    let page = page("docs/settings.md");
    let (_, from_tables) = page.split_once(BEGIN).expect("the page has tables");
    let (written, _) = from_tables.split_once(END).expect("the tables end");
    let wanted = tables();
    assert!(written == wanted, "docs/settings.md, between {BEGIN} and {END}, should be:\n\n{wanted}");
}

fn quoted(form: &str) -> String {
    if form.contains('`') { format!("`` {form} ``") } else { format!("`{form}`") }
}

/// A table of rows whose cells are whole.
fn table(text: &mut String, heading: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "## {heading}\n\n| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
    for row in rows {
        let is_whole = row.len() == columns.len() && row.iter().all(|cell| !cell.is_empty() && !cell.contains('|'));
        assert!(is_whole, "{heading}: {row:?}");
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
}

/// A table for each status, and one of the kinds of fix.
fn answers() -> String {
    let mut statuses: Vec<u16> = Refused::ALL.iter().map(|refused| refused.status()).collect();
    statuses.push(422);
    statuses.sort_unstable();
    statuses.dedup();
    let mut text = String::new();
    for status in statuses {
        if status == 422 {
            let row = |code: &Code| vec![quoted(code.as_str()), code.cause().to_owned(), code.remedy().to_owned()];
            table(&mut text, "422", &["`code`", "cause", "remedy"], Code::ALL.iter().map(row));
            continue;
        }
        let rows = Refused::ALL.iter().filter(|refused| refused.status() == status).map(|refused| {
            let [cause, remedy] = [refused.cause(), refused.remedy()].map(str::to_owned);
            vec![quoted(refused.form()), quoted(refused.word()), cause, remedy]
        });
        table(&mut text, &status.to_string(), &["`error`", "in the log", "cause", "remedy"], rows);
    }
    let row = |kind: &FixKind| vec![quoted(kind.as_str()), kind.cause().to_owned(), kind.remedy().to_owned()];
    let columns = ["`kind`", "the script has", "what to do with `suggestion`"];
    table(&mut text, "Kinds of fix", &columns, FixKind::ALL.iter().map(row));
    text
}

#[test]
fn the_page_of_errors_is_the_codes() {
    let page = page("docs/errors.md");
    let (_, from_tables) = page.split_once(ERRORS[0]).expect("the page has tables");
    let (written, _) = from_tables.split_once(ERRORS[1]).expect("the tables end");
    let wanted = answers();
    assert!(written == wanted, "docs/errors.md, between {} and {}, should be:\n\n{wanted}", ERRORS[0], ERRORS[1]);
}

#[test]
fn the_page_of_errors_names_settings_that_there_are() {
    let page = page("docs/errors.md");
    let named = page.split("MAYFLY_").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_uppercase() && letter != '_').unwrap_or(rest.len());
        format!("MAYFLY_{}", &rest[..end])
    });
    let named: Vec<String> = named.collect();
    assert!(10 < named.len(), "{named:?}");
    let unknown: Vec<_> = named.iter().filter(|name| SETTINGS.iter().all(|setting| setting.name != **name)).collect();
    assert!(unknown.is_empty(), "no such settings: {unknown:?}");
}

/// The long flags that a command's `--help` lists.
fn flags(command: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_mayfly")).args([command, "--help"]).output().expect("it starts");
    let help = String::from_utf8(output.stdout).expect("text");
    let lines = help.lines().filter_map(|line| line.trim_start().trim_start_matches("-h, ").strip_prefix("--"));
    let mut flags: Vec<String> = lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    flags.sort();
    flags
}

#[test]
fn changed_values_are_the_same_in_both_places() {
    let [changelog, api] = ["CHANGELOG.md", "docs/api.md"].map(|name| {
        let text = page(name);
        let (_, rest) = text.split_once(CHANGED[0]).unwrap_or_else(|| panic!("{name} has no {}", CHANGED[0]));
        rest.split_once(CHANGED[1]).unwrap_or_else(|| panic!("{name} has no {}", CHANGED[1])).0.to_owned()
    });
    assert!(changelog.lines().count() > 10);
    assert_eq!(changelog, api);
}

#[test]
fn help_lists_what_does_something_in_the_command() {
    for (subcommand, command) in COMMANDS {
        let others: &[&str] = match subcommand {
            Subcommand::Run => &["args", "json", "kwargs", "stdin"],
            Subcommand::Doctor => &["json"],
            Subcommand::Serve | Subcommand::Healthcheck => &[],
        };
        let settings = SETTINGS.iter().filter(|setting| setting.used_by.contains(&subcommand)).map(Setting::flag);
        let mut wanted: Vec<String> =
            settings.chain(others.iter().map(|&name| name.to_owned())).chain(["help".to_owned()]).collect();
        wanted.sort();
        assert_eq!(flags(command), wanted, "mayfly {command} --help");
    }
    let all = SETTINGS.iter().all(|setting| setting.used_by.contains(&Subcommand::Serve));
    assert!(all, "what the server doesn't use is no setting");
    assert_eq!(flags("healthcheck"), ["help", "listen", "port"]);
}

#[test]
fn pages_for_one_sitting_are_short() {
    for (name, longest) in SHORT {
        let lines = page(name).lines().count();
        assert!(lines <= longest, "{name} has {lines} lines, and may have {longest}");
    }
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

/// Every page of the project.
fn pages() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "deploy", "docs", "docs/measured", "seccomp"] {
        let Ok(entries) = fs::read_dir(top().join(folder)) else { continue };
        let names = entries.map(|entry| Path::new(folder).join(entry.expect("an entry").file_name()));
        let pages = names.filter(|name| name.extension().is_some_and(|kind| kind == "md"));
        found.extend(pages.map(|name| name.display().to_string()));
    }
    found.sort();
    found
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.iter().any(|name| name == "README.md") && 10 < pages.len(), "{pages:?}");
    let mut dead = Vec::new();
    for name in pages {
        let from = top().join(&name);
        let targets = links(&page(&name)).into_iter().filter(|target| !leads_somewhere(&from, target));
        dead.extend(targets.map(|target| format!("{name}: {target}")));
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// What stands in a file of `docs/measured` after one of these, up to the next quote: the commit that was measured.
const COMMIT_FOLLOWS: [&str; 3] = ["Commit: `", "Mayfly at ", "\"commit\": \""];

/// The commits that a measured file names.
fn commits(text: &str) -> Vec<String> {
    let after = |begin: &&str| text.split(*begin).skip(1).map(str::to_owned).collect::<Vec<_>>();
    let word = |rest: String| rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '-').collect();
    COMMIT_FOLLOWS.iter().flat_map(after).map(word).collect()
}

fn git(arguments: &[&str]) -> Option<std::process::Output> {
    Command::new("git").args(arguments).current_dir(top()).output().ok()
}

/// The files of `docs/measured`, pictures left out.
fn measured() -> Vec<(String, String)> {
    let entries = fs::read_dir(top().join("docs/measured")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let texts = paths.filter(|path| path.extension().is_some_and(|kind| kind == "md" || kind == "json"));
    texts.map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("text"))).collect()
}

#[test]
fn what_was_measured_names_its_command_and_commit() {
    let files = measured();
    assert!(5 < files.len(), "{} files", files.len());
    for (path, text) in files {
        // The matrix is compared with the corpus by every run of the tests instead.
        if !path.ends_with("matrix.md") {
            assert!(!commits(&text).is_empty(), "{path} names no commit");
        }
        let names_command = ["Command: `", "make bench", "bench/growth"].iter().any(|command| text.contains(command));
        assert!(names_command, "{path} names no command");
    }
}

#[test]
fn what_was_measured_is_of_this_history() {
    let shallow = git(&["rev-parse", "--is-shallow-repository"]).filter(|output| output.status.success());
    if shallow.is_none_or(|output| output.stdout != b"false\n") {
        // Past the harness, which keeps what a test prints that passes.
        let words =
            "not checked: whether docs/measured is of this history. That takes git and a clone with all commits.\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), words.as_bytes());
        return;
    }
    let mut strange = Vec::new();
    for (path, text) in measured() {
        let is_ancestor = |commit: &String| {
            git(&["merge-base", "--is-ancestor", commit, "HEAD"]).is_some_and(|output| output.status.success())
        };
        let others = commits(&text).into_iter().filter(|commit| !is_ancestor(commit));
        strange.extend(others.map(|commit| format!("{path}: {commit}")));
    }
    assert!(strange.is_empty(), "measured at no commit of this history; measure again:\n{}", strange.join("\n"));
}
