//! Programs end under Mayfly as they end under `python3 main.py`: every case of `tests/programs` in every place, warm and cold, beside
//! the same run in a plain Python of the same version.

use crate::group::Group;
use driver::places::{Place, expected};
use driver::server::{Server, manifest};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Programs {
    program: Vec<Program>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    name: String,
    source: String,
    #[serde(default)]
    argv: Vec<String>,
    #[serde(default)]
    stdin: String,
    /// Whether it needs files.
    #[serde(default)]
    file: bool,
    /// The release 3.N of `CPython` from which on a sentence of its own C code differs; docs/api.md says which.
    until: Option<u32>,
}

/// How a program ended.
#[derive(Debug, PartialEq)]
struct End {
    stdout: String,
    stderr: String,
    code: Option<i64>,
    signal: Option<String>,
}

pub fn trials() -> Vec<Trial> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/programs.toml");
    let text = fs::read_to_string(path).expect("tests/programs/programs.toml");
    let programs: Programs = toml::from_str(&text).expect("programs");
    let programs: Arc<[Program]> = programs.program.into();
    assert!(programs.len() >= 120, "only {} programs", programs.len());
    let mut trials = Vec::new();
    for place in expected() {
        for start in ["warm", "cold"].into_iter().filter(|start| *start == "cold" || place.has_warm()) {
            let setup = place.setup(&[("MAYFLY_START", start), ("MAYFLY_PRELOAD", "")]);
            let group = Group::new(format!("programs::{}::{start}", place.as_str()), place.needs(), setup);
            for number in 0..programs.len() {
                let Program { file, until, .. } = programs[number];
                if file && !place.has_tmp() || until.is_some_and(|release| release <= own_release()) {
                    continue;
                }
                let programs = Arc::clone(&programs);
                let name = programs[number].name.clone();
                trials.push(group.trial(&name, move |server| check(&programs[number], server, place)));
            }
            trials.push(group.last());
        }
    }
    trials
}

fn check(program: &Program, server: &Server, place: Place) {
    let request = json!({
        "script": program.source, "mode": "program", "argv": program.argv, "stdin": program.stdin,
        "include": ["stdout", "stderr"], "limits": { "output_bytes": 1_000_000 },
    });
    let answer = server.execute(&request);
    let told = answer.json();
    let text = |name: &str| alike(told[name].as_str().unwrap_or_else(|| panic!("{told}")));
    let exit = &told["exit"];
    let ours = End {
        stdout: text("stdout"),
        stderr: text("stderr"),
        code: exit["code"].as_i64(),
        signal: exit["signal"].as_str().map(str::to_owned),
    };
    let theirs = plain(program, place);
    assert_eq!(ours, theirs, "{told}");
    // A program that ended with a status is an answer, unless it raised.
    let is_failure = told.get("exception").is_some() || exit["signal"] != Value::Null;
    assert_eq!(answer.status, if is_failure { 422 } else { 200 }, "{told}");
}

/// The program in a plain Python, in a directory of its own.
fn plain(program: &Program, place: Place) -> End {
    let python = interpreter();
    let home =
        std::env::temp_dir().join(format!("mayfly-program-{}-{:?}", std::process::id(), std::thread::current().id()));
    fs::create_dir(&home).expect("a directory");
    let home = home.canonicalize().expect("a path");
    fs::write(home.join("main.py"), &program.source).expect("main.py");
    let mut child = Command::new(python)
        .arg("main.py")
        .args(&program.argv)
        .current_dir(&home)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs([("LANG", "C.UTF-8"), ("PYTHONDONTWRITEBYTECODE", "1")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // One that reads nothing may have ended.
    let _ = child.stdin.take().expect("a pipe").write_all(program.stdin.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    fs::remove_dir_all(&home).expect("the directory is there");
    // Where there is no /tmp, a script has a name and no path.
    let here = format!("{}/", home.display());
    let there = if place.has_tmp() { "/tmp/" } else { "" };
    let text = |bytes: &[u8]| alike(&String::from_utf8_lossy(bytes).replace(&here, there));
    End {
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
        code: output.status.code().map(Into::into),
        signal: output.status.signal().map(|number| Signal::try_from(number).expect("a signal").to_string()),
    }
}

/// The N of the jail's `CPython` 3.N.
fn own_release() -> u32 {
    let version = manifest()["python"].as_str().expect("a version").to_owned();
    version.split('.').nth(1).and_then(|number| number.parse().ok()).expect("three numbers")
}

/// A plain Python of the very version that scripts have: messages change with each release.
fn interpreter() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let version = manifest()["python"].as_str().expect("a version").to_owned();
        let name = format!("python{}", version.rsplit_once('.').expect("three numbers").0);
        let candidates = [std::env::var("PYO3_PYTHON").unwrap_or_default(), name.clone(), format!("/usr/bin/{name}")];
        let has_version = |python: &&String| {
            let told = Command::new(python).arg("--version").output();
            told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).trim() == format!("Python {version}"))
        };
        let found = candidates.iter().find(has_version);
        found.unwrap_or_else(|| panic!("no plain Python {version} among {candidates:?} to compare with")).clone()
    })
}

/// A text without what differs from run to run and from place to place: addresses, times that unittest tells, and where the library is.
fn alike(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| match line.split_once(" in ") {
        Some((ran, _)) if ran.starts_with("Ran ") => format!("{ran}\n"),
        _ => match (line.split_once("File \""), line.split_once("/lib/python3")) {
            (Some((before, _)), Some((_, library))) => format!("{before}File \"/lib/python3{library}"),
            _ => line.to_owned(),
        },
    });
    let mut whole = String::new();
    for (number, part) in lines.collect::<String>().split(" at 0x").enumerate() {
        if number == 0 {
            whole.push_str(part);
        } else {
            whole.push_str(" at ");
            whole.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit()));
        }
    }
    whole
}
