//! Every module of the standard library and every installed package imports inside the jail, in every place.
//!
//! The exceptions stand in the jail root's manifest, each with its reason; a name that is there and imports all the same
//! is as wrong as one that is not there and does not.

use driver::places::{Place, expected};
use driver::server::{Server, manifest};
use driver::trial::together;
use driver::trial::trial;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

pub fn trials() -> Vec<Trial> {
    let walk = |place: Place| place.needs().allow(trial(format!("imports::{}", place.as_str()), move || walk(place)));
    expected().into_iter().map(walk).collect()
}

/// Imports one module by name. Its own output does not matter, nor what it does when it is called.
const IMPORT: &str = "
import importlib

def main(name):
    importlib.import_module(name)
";

fn walk(place: Place) {
    let server = place.setup(&[("MAYFLY_WALL_MS", "20000"), ("MAYFLY_CPU_MS", "20000")]).start();
    let manifest = manifest();
    let names = names(&server, &manifest);
    assert!(names.len() > 200, "only {} modules", names.len());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    together(4, |_| {
        let mut connection = server.connect();
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let answer = connection.execute(&json!({ "script": IMPORT, "args": [name] }));
            let left_out = &manifest["left_out"][name];
            let problem = match (answer.status, left_out) {
                (200, Value::Null) => continue,
                (422, Value::String(_)) if answer.json()["exception"]["type"] == "ModuleNotFoundError" => continue,
                (200, _) => format!("{name} imports, and is listed as left out"),
                _ => format!("{name}: {}", answer.json()["error"]),
            };
            wrong.lock().expect("no panic").push(problem);
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{} of {} modules:\n{}", wrong.len(), names.len(), wrong.join("\n"));
}

/// What there is to import: as the interpreter in the jail tells, and what the packages brought.
fn names(server: &Server, manifest: &Value) -> Vec<String> {
    let answer =
        server.execute(&json!({ "script": "import sys\ndef main():\n    return sorted(sys.stdlib_module_names)" }));
    let names = answer.json()["result"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    names.extend(manifest["modules"].as_object().expect("an object").keys().cloned());
    names
}
