//! Scripts as people send them, with the answers they must get: every case of `tests/scripts` in every place, warm and cold.

use crate::group::Group;
use crate::live;
use driver::client::Answer;
use driver::places::{Place, expected};
use driver::same::{Match, assert_same};
use driver::server::{Server, manifest};
use libtest_mimic::Trial;
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone)]
struct Case {
    /// `topic/name`.
    name: String,
    script: String,
    answer: Value,
}

/// All cases; a script and an answer that do not pair up end the run.
fn cases() -> Vec<Case> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let list = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).expect("tests/scripts").map(|entry| entry.expect("an entry").path()).collect()
    };
    let mut stems: Vec<PathBuf> =
        list(&home).iter().filter(|path| path.is_dir()).flat_map(|topic| list(topic)).collect();
    for stem in &mut stems {
        stem.set_extension("");
    }
    stems.sort();
    stems.dedup();
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    stems
        .iter()
        .map(|stem| Case {
            name: stem.strip_prefix(&home).expect("below it").display().to_string(),
            script: read(stem.with_extension("py")),
            answer: serde_json::from_str(&read(stem.with_extension("json"))).expect("an answer is JSON"),
        })
        .collect()
}

pub fn trials() -> Vec<Trial> {
    let cases: Arc<[Case]> = cases().into();
    assert!(cases.len() >= 60, "only {} scripts", cases.len());
    let mut trials = Vec::new();
    for place in expected() {
        for start in ["warm", "cold"].into_iter().filter(|start| *start == "cold" || place.has_warm()) {
            let setup = place.setup(&[("MAYFLY_START", start)]);
            let group = Group::new(format!("corpus::{}::{start}", place.as_str()), place.needs(), setup);
            for number in 0..cases.len() {
                let cases = Arc::clone(&cases);
                let name = cases[number].name.clone();
                trials.push(group.trial(&name, move |server| check(&cases[number], server, place, Server::execute)));
            }
            if start == "warm" && place == expected()[0] {
                for number in 0..cases.len() {
                    let cases = Arc::clone(&cases);
                    let name = format!("live::{}", cases[number].name);
                    trials
                        .push(group.trial(&name, move |server| check(&cases[number], server, place, live::at_the_end)));
                }
            }
            trials.push(group.last());
        }
    }
    trials
}

/// Runs a case, whose answer is got by `ask`.
fn check(case: &Case, server: &Server, place: Place, ask: fn(&Server, &Value) -> Answer) {
    if let Some(packages) = case.answer["packages"].as_array() {
        let installed = manifest();
        for package in packages.iter().filter_map(Value::as_str) {
            assert!(installed["modules"].get(package).is_some(), "needs {package}, which the jail root lacks");
        }
    }
    let mut request: Map<String, Value> = case.answer["request"].as_object().cloned().unwrap_or_default();
    request.insert("script".to_owned(), case.script.clone().into());
    let answer = ask(server, &request.into());
    let expected = match &case.answer["without_files"] {
        Value::Null => &case.answer,
        _ if place.has_tmp() => &case.answer,
        instead => instead,
    };
    assert_eq!(answer.status.to_string(), expected["status"].to_string(), "{}", answer.text());
    let how = match (expected["match"].as_str(), answer.status) {
        (Some("exact"), _) | (None, 200) => Match::Exact,
        _ => Match::Subset,
    };
    assert_same(&expected["body"], &answer.json(), how);
}
