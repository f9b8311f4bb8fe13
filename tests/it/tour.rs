//! The examples of README.md and docs/api.md: what they show is what the program answers.
//!
//! Of a traceback only its presence is checked, because each Python draws its own marks below a line.

use driver::server::{Server, Setup};
use driver::tests;
use libtest_mimic::Trial;
use serde_json::Value;
use std::path::Path;

const README: &str = include_str!("../../README.md");

pub fn trials() -> Vec<Trial> {
    tests![
        posts_are_answered_as_the_readme_says,
        tables_are_answered_as_the_page_says,
        the_example_runs_without_a_server
    ]
}

/// Commands of the README that begin so, without that beginning, and the line that each prints.
fn commands(begin: &str) -> Vec<(&'static str, &'static str)> {
    let lines: Vec<&str> = README.lines().collect();
    let is_command = |pair: &&[&'static str]| pair[0].starts_with(begin);
    lines.windows(2).filter(is_command).map(|pair| (&pair[0][begin.len()..], pair[1])).collect()
}

fn without_traceback(text: &str) -> Value {
    let mut answer: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    if let Some(traceback) = answer.pointer_mut("/exception/traceback") {
        assert!(traceback.as_str().is_some_and(|text| text.starts_with("Traceback")), "{traceback}");
        *traceback = Value::Null;
    }
    answer
}

fn posts_are_answered_as_the_readme_says() {
    let server = Server::start(&[("MAYFLY_PRELOAD", "numpy,pandas")]);
    let too_long = format!("{{\"script\": \"{}\"}}", "#".repeat(10_241));
    let posts = commands("$ post ");
    assert!(6 <= posts.len(), "{posts:?}");
    for (argument, shown) in posts {
        // The one that is made by the shell.
        let body = if argument.contains("$(seq 10241)") { &too_long } else { argument.trim_matches('\'') };
        let headers = [("Content-Type", "application/json")];
        let answer = server.connect().request("POST", "/execute", &headers, body.as_bytes());
        assert_eq!(without_traceback(&answer.text()), without_traceback(shown), "{argument}");
    }
    let [(arguments, shown)] = commands("$ curl localhost:8080/execute ")[..] else { panic!("one such command") };
    let (_, file) = arguments.split_once("--data-binary @").expect("a file");
    let body = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it is there");
    let answer = server.connect().request("POST", "/execute", &[("Content-Type", "application/json")], &body);
    assert_eq!(answer.text(), shown);
}

/// What the examples of tables in docs/api.md start from.
const TABLES: &str = "\
import pandas as pd
df = pd.DataFrame({'shop': ['Oslo', 'Rome', 'Oslo'], 'sum': [5, 10, 15]})
days = pd.Series(1, index=pd.date_range('2024-01-01', '2024-02-29'))
def main():
    return ";

fn tables_are_answered_as_the_page_says() {
    let server = Server::start(&[("MAYFLY_PRELOAD", "numpy,pandas")]);
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")).expect("a page");
    let (_, rows) = page.split_once("| expression | JSON |\n|---|---|\n").expect("the table");
    let rows = rows.split("\n\n").next().expect("its rows");
    assert_eq!(rows.lines().count(), 10);
    for row in rows.lines() {
        // Between the two, a remark may name the table.
        let [_, expression, .., shown, _] = row.split('`').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let answer = server.execute(&serde_json::json!({ "script": format!("{TABLES}{expression}") })).text();
        let answer = answer.strip_prefix("{\"result\":").expect("a result").strip_suffix('}').expect("nothing else");
        match shown.split_once(" …") {
            Some((start, _)) => assert!(answer.starts_with(start), "{expression}: {answer}"),
            None => assert_eq!(answer, shown, "{expression}"),
        }
    }
}

fn the_example_runs_without_a_server() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [(arguments, shown)] = commands("$ target/release/mayfly run ")[..] else { panic!("one such command") };
    let [file, "--args", list] = arguments.split(' ').collect::<Vec<_>>()[..] else { panic!("{arguments}") };
    let file = top.join(file).display().to_string();
    let output = Setup::new(&[("MAYFLY_PRELOAD", "")]).run(&["run", &file, "--args", list.trim_matches('\'')]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), shown, "{output:?}");
}
