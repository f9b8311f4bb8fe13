//! What a failed script's author should do next: one sentence and, where the script's words suggest one, a change to one line.
//!
//! Runs in the supervisor, for failures alone. It reads the script that the client sent. The child's words about its exception are
//! hostile: they only choose among the sentences here, and a line counts only if the script has it.

mod words;

use self::words::{closest, identifiers, is_bound, is_name, missing_name};
use crate::job::Job;
use crate::manner::{ENTRYPOINT, Mode};
use crate::outcome::{Advice, Code, Failure, Fix, FixKind, Outcome};
use std::collections::BTreeSet;

/// What is known of a run besides its failure.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// The script.
    pub script: &'a str,
    /// What it could read from its standard input.
    pub stdin: &'a str,
    /// Whether its function `main` is what was to be called.
    pub calls_main: bool,
    /// The field that passes it values.
    pub passes: &'static str,
    /// Modules of packages that it could import.
    pub modules: &'a BTreeSet<String>,
}

impl<'a> Sent<'a> {
    /// With a job, where these packages are.
    #[must_use]
    pub fn with(job: &'a Job, modules: &'a BTreeSet<String>) -> Self {
        let manner = job.manner();
        let calls_main = manner.mode == Mode::Function && manner.function() == ENTRYPOINT;
        let passes = if manner.mode == Mode::Program { "argv" } else { "args" };
        Self { script: job.script(), stdin: job.stdin(), calls_main, passes, modules }
    }
}

/// The outcome, with advice if it is a failure that has some.
#[must_use]
pub fn add(mut outcome: Outcome, sent: Sent<'_>) -> Outcome {
    if let Outcome::Failed(failure) = &mut outcome {
        failure.advice = of(failure, sent);
    }
    outcome
}

fn of(failure: &Failure, sent: Sent<'_>) -> Option<Advice> {
    match (failure.code, &failure.exception) {
        (Code::NoMain, _) if sent.calls_main => Some(no_main(sent.script)),
        (Code::SyntaxError, Some(exception)) => syntax(sent, exception.line?, &exception.message),
        (Code::Exception, Some(exception)) => match exception.kind.as_str() {
            "EOFError" if exception.message == "EOF when reading a line" => Some(input(sent)),
            "ModuleNotFoundError" => module(&exception.message, sent.modules),
            "NameError" => name(&exception.message, exception.line?, sent),
            _ => None,
        },
        _ => None,
    }
}

/// Where names like a missing one are looked for: so many lines of at most so many bytes.
const LINES: usize = 1000;
const LONGEST_LINE: usize = 200;

fn say(hint: impl Into<String>) -> Advice {
    Advice { hint: hint.into(), fix: None }
}

fn mend(hint: impl Into<String>, kind: FixKind, line: usize, suggestion: impl Into<String>) -> Option<Advice> {
    let fix = Fix { kind, line: u32::try_from(line).ok()?, suggestion: suggestion.into() };
    Some(Advice { hint: hint.into(), fix: Some(fix) })
}

/// The lines of a script as Python counts them.
fn lines(script: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = script.strip_prefix('\u{feff}').unwrap_or(script);
    while let Some(end) = rest.find(['\r', '\n']) {
        lines.push(&rest[..end]);
        let length = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
    }
    lines.push(rest);
    lines
}

fn no_main(script: &str) -> Advice {
    let lines = lines(script);
    let numbered = || lines.iter().enumerate().map(|(index, line)| (index + 1, *line));
    let functions: Vec<(usize, &str, &str)> = numbered()
        .filter_map(|(number, line)| {
            let after = line.strip_prefix("async ").unwrap_or(line).strip_prefix("def ")?;
            Some((number, line, after.split(|letter: char| !is_name(letter)).next().unwrap_or_default()))
        })
        .collect();
    let similar: Vec<_> = functions
        .iter()
        .filter(|(_, _, name)| name.to_lowercase().trim_matches('_') == "main" || closest("main", [*name]).is_some())
        .collect();
    let advice = if let [(number, line, name)] = similar[..] {
        let hint = format!("Mayfly calls main(), with a small m and nothing else; rename {name}() on line {number}");
        mend(hint, FixKind::RenameMain, *number, line.replacen(name, "main", 1))
    } else if let Some((number, _)) =
        numbered().find(|(_, line)| line.starts_with("if __name__") && line.contains("__main__"))
    {
        let hint = "the block under `if __name__ == \"__main__\":` does not run here; Mayfly calls main(): \
                    write `def main():` in its place, and return the result";
        mend(hint, FixKind::Guard, number, "def main():")
    } else if numbered().any(|(_, line)| line.trim_start() != line && line.trim_start().starts_with("def main(")) {
        Some(say(
            "main() has to be a function at the top level of the script, not inside of a class or another function",
        ))
    } else if let [(number, _, name)] = functions[..] {
        Some(say(format!(
            "Mayfly calls main(); rename {name}() on line {number} to main, or add a main() that calls it and returns the result"
        )))
    } else {
        None
    };
    advice.unwrap_or_else(|| say("Mayfly calls main(); put the program into `def main():` and return the result"))
}

fn syntax(sent: Sent<'_>, at: u32, message: &str) -> Option<Advice> {
    let Sent { script, calls_main, .. } = sent;
    let lines = lines(script);
    let is_fence = |line: &str| line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
    let at = usize::try_from(at).ok()?;
    let line = *lines.get(at.checked_sub(1)?)?;
    let text = line.trim_start();
    let first = lines.iter().position(|line| !line.trim().is_empty())?;
    if is_fence(lines[first]) || is_fence(line) {
        let number = if is_fence(lines[first]) { first + 1 } else { at };
        let hint =
            "the script is Python source alone; remove the lines that begin with ``` and send what is between them";
        return mend(hint, FixKind::Fence, number, "");
    }
    let command = text.trim_start_matches(['!', '%']);
    let is_install = ["pip install ", "pip3 install ", "python -m pip install ", "conda install "];
    if is_install.iter().any(|install| command.starts_with(install)) {
        let hint = "nothing can be installed here; remove the line, and use the packages that /capabilities lists";
        return mend(hint, FixKind::Install, at, "");
    }
    let is_word = |rest: &str| rest.starts_with(|letter: char| letter.is_ascii_alphabetic() || "./~".contains(letter));
    if text.strip_prefix('!').is_some_and(is_word) {
        return mend(
            "a line with ! is a shell command of a notebook, and there is no shell here; remove it",
            FixKind::Shell,
            at,
            "",
        );
    }
    if line.starts_with('%') && is_word(line.trim_start_matches('%')) {
        return mend("a line with % is a command of a notebook, and no Python; remove it", FixKind::Magic, at, "");
    }
    if message.starts_with("Missing parentheses in call to 'print'") {
        let hint = "this is Python 3, where print is a function: write print(…)";
        let what = text.strip_prefix("print ").map(str::trim).filter(|what| {
            !what.is_empty() && !what.ends_with([',', '\\']) && !what.starts_with(">>") && !what.contains(['#', ';'])
        });
        let Some(what) = what else { return Some(say(hint)) };
        let indent = &line[..line.len() - text.len()];
        return mend(hint, FixKind::Print, at, format!("{indent}print({what})"));
    }
    if calls_main
        && message.starts_with("'return' outside function")
        && !identifiers(script).any(|(_, word)| word == "main")
    {
        return Some(no_main(script));
    }
    if lines.iter().all(|other| other.trim().is_empty() || *other == line)
        && line.contains("\\n")
        && message.starts_with("unexpected character after line continuation")
    {
        let hint =
            "the script's line breaks arrived as a backslash and an n: it was encoded as JSON twice; encode it once";
        return Some(say(hint));
    }
    None
}

fn input(Sent { stdin, passes, .. }: Sent<'_>) -> Advice {
    say(match stdin.lines().count() {
        0 => {
            format!(
                "input() reads the request's \"stdin\", which is empty; send the text there, or pass the value in {passes:?}"
            )
        }
        count => format!("input() reads the request's \"stdin\", whose end it reached: it has {count} lines"),
    })
}

fn module(message: &str, modules: &BTreeSet<String>) -> Option<Advice> {
    const NAMED: usize = 30;
    let (name, _) = message.strip_prefix("No module named '")?.split_once('\'')?;
    let top = name.split('.').next().filter(|top| top.len() < 100 && !top.is_empty() && top.chars().all(is_name))?;
    if modules.contains(top) {
        return None;
    }
    let known = modules.iter().map(String::as_str).chain(words::MODULES.split_whitespace());
    let close = closest(top, known).map_or_else(String::new, |close| format!("; did you mean {close}?"));
    let there = match modules.len() {
        0 => "there are none but the standard library".to_owned(),
        count => {
            let named: Vec<&str> = modules.iter().take(NAMED).map(String::as_str).collect();
            let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
            format!("besides the standard library there are {}{more}", named.join(", "))
        }
    };
    Some(say(format!("{top} is not installed, and scripts can't install packages: {there}{close}")))
}

fn name(message: &str, at: u32, sent: Sent<'_>) -> Option<Advice> {
    let missing = missing_name(message)?;
    let at = usize::try_from(at).ok()?;
    let line = *lines(sent.script).get(at.checked_sub(1)?)?;
    // What was claimed has to stand there.
    if !identifiers(line).any(|(_, word)| word == missing) {
        return None;
    }
    let is_module = words::MODULES.split_whitespace().any(|module| module == missing) || sent.modules.contains(missing);
    if is_module && line.contains(&format!("{missing}.")) {
        let statement = format!("import {missing}");
        return mend(
            format!("the script uses {missing} and does not import it; add `{statement}`"),
            FixKind::Import,
            at,
            statement,
        );
    }
    for (short, module) in [("np", "numpy"), ("pd", "pandas")] {
        if missing == short && sent.modules.contains(module) && line.contains(&format!("{short}.")) {
            let statement = format!("import {module} as {short}");
            let hint = format!("the script uses {short} and does not import it; add `{statement}`");
            return mend(hint, FixKind::Import, at, statement);
        }
    }
    let constant = match missing {
        "true" => Some("True"),
        "false" => Some("False"),
        "null" | "undefined" | "nil" => Some("None"),
        _ => None,
    };
    // So that a script of any length costs little.
    let short = lines(sent.script).into_iter().filter(|line| line.len() <= LONGEST_LINE).take(LINES);
    let own =
        short.flat_map(|line| identifiers(line).filter(|(at, word)| is_bound(line, *at, word)).map(|(_, word)| word));
    let close = constant.or_else(|| closest(missing, own.chain(words::BUILTINS.split_whitespace())))?;
    mend(format!("{missing} is not defined; did you mean {close}?"), FixKind::Name, at, close)
}

#[cfg(test)]
#[path = "advice_tests.rs"]
mod tests;
