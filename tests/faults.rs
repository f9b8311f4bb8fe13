//! Fail closed: each step of the jail fails after the server has started, in the zygote or in the child, warm and cold.
//!
//! The client gets a clean 503, no script runs, the log names the step and the error number, and once the step works again the
//! same request is served: never by a child that went without.

use driver::places::{public_copy, without_root};
use driver::server::{PATIENCE, Setup, eventually};
use driver::trial::{self, Needs, trial};
use libtest_mimic::Trial;
use mayfly::jail::Step;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Steps that one level alone takes.
const ONLY_FULL: [Step; 12] = [
    Step::UserNamespace,
    Step::IdMap,
    Step::ZygoteIds,
    Step::SharedNamespaces,
    Step::HostName,
    Step::PrivateMounts,
    Step::BindRoot,
    Step::BindDevices,
    Step::BindPackages,
    Step::ReadOnlyRoot,
    Step::PivotRoot,
    Step::PrivateTmp,
];
const ONLY_SECCOMP: [Step; 3] = [Step::ChangeRoot, Step::Landlock, Step::Beneath];

/// An error number that nothing here gives by itself: EADV.
const ERRNO: &str = "68";
const ERRNO_NAME: &str = "EADV";

fn main() -> ExitCode {
    trial::run(4, trials, || ())
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for level in ["full", "seccomp"] {
        for start in ["warm", "cold"] {
            for step in Step::ALL.iter().copied() {
                let others = if level == "full" { &ONLY_SECCOMP[..] } else { &ONLY_FULL };
                let name = |what: &str| format!("{level}::{start}::{step}::{what}");
                if others.contains(&step) {
                    trials.push(trial(name("is-not-taken"), move || is_not_taken(level, start, step)));
                } else {
                    // A server without root takes no chroot.
                    let needs = if step == Step::ChangeRoot { Needs::Root } else { Needs::Nothing };
                    let refuses = trial(name("refuses-while-it-fails"), move || refuses(level, start, step));
                    let recovers = trial(name("serves-once-it-works"), move || recovers(level, start, step));
                    trials.extend([refuses, recovers].map(|trial| needs.allow(trial)));
                }
            }
        }
    }
    trials.push(trial("a-service-that-makes-no-child-for-long-is-not-alive", makes_no_child_for_long));
    for level in ["full", "seccomp"] {
        trials.push(trial(format!("{level}::children-are-adopted"), move || children_are_adopted(level)));
    }
    trials
}

/// A server whose `step` fails, in the first so many processes that take it or in all.
fn setup(level: &str, start: &str, step: Step, count: Option<u32>) -> Setup {
    let fault = format!("{step}:{ERRNO}{}", count.map_or(String::new(), |count| format!(":{count}")));
    let setup = Setup::new(&[("MAYFLY_ISOLATION", level), ("MAYFLY_START", start), ("MAYFLY_FAULT", &fault)])
        .with("MAYFLY_PRELOAD", "")
        .with("MAYFLY_READY", "1");
    if step == Step::OwnUserNamespace {
        // Where ids are shared.
        return without_root(setup);
    }
    // A directory of packages is mounted at level `full`, and rules a chroot out at level `seccomp`: the children, whose user is
    // another, must then reach both it and the jail root.
    if [Step::BindPackages, Step::Beneath].contains(&step) {
        let (program, root) = public_copy();
        let packages = root.join("packages").display().to_string();
        return setup.with_program(program).with_root(root).with("MAYFLY_PACKAGES", &packages);
    }
    setup
}

/// What it would do were it run; nothing else in the answer or the log says these words.
const SCRIPT: &str = "def main():\n    return 'it ' + 'ran'";

fn refuses(level: &str, start: &str, step: Step) {
    let server = setup(level, start, step, None).launch().expect("the fault comes after the start");
    for _ in 0..2 {
        let answer = server.execute(&json!({ "script": SCRIPT, "include": ["stdout"] }));
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        let body = answer.json();
        assert!(body["error"].is_string() && body.as_object().map(serde_json::Map::len) == Some(1), "{body}");
    }
    assert_eq!(server.get("/healthz").status, 200);
    let names = |line: &str| {
        line.contains(step.as_str()) && (line.contains(ERRNO_NAME) || line.contains(&format!("errno={ERRNO}")))
    };
    let line = server.log().wait_for(names, PATIENCE);
    assert!(line.is_some(), "no line names {step} and {ERRNO_NAME}:\n{}", server.log().lines().join("\n"));
    let ran = |line: &String| line.contains("/execute") && !line.contains("status=503");
    let lines = server.log().lines();
    assert!(!lines.iter().any(ran), "{}", lines.join("\n"));
}

fn recovers(level: &str, start: &str, step: Step) {
    let server = setup(level, start, step, Some(2)).launch().expect("the fault comes after the start");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = server.execute(&json!({ "script": SCRIPT }));
        if answer.status == 200 {
            assert_eq!(answer.json(), json!({ "result": "it ran" }));
            break;
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(Instant::now() < deadline, "never served:\n{}", server.log().lines().join("\n"));
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..3 {
        server.check(SCRIPT, &json!("it ran"));
    }
    assert_eq!(server.get("/capabilities").json()["isolation"], level, "nothing gets weaker");
}

fn is_not_taken(level: &str, start: &str, step: Step) {
    let server = setup(level, start, step, None).start();
    server.check(SCRIPT, &json!("it ran"));
}

/// `/readyz` tells at once that no script would be run, `/healthz` after half a minute that a restart may help.
fn makes_no_child_for_long() {
    let fault = format!("{}:{ERRNO}", Step::Filter);
    let settings = [("MAYFLY_ISOLATION", "seccomp"), ("MAYFLY_PRELOAD", ""), ("MAYFLY_FAULT", &fault)];
    let server = Setup::new(&settings).launch().expect("the fault comes after the start");
    let began = Instant::now();
    eventually("it is not ready", || server.get("/readyz").status == 503);
    assert_eq!(server.get("/healthz").status, 200, "it may pass");
    while server.get("/healthz").status == 200 {
        assert!(began.elapsed() < Duration::from_secs(90), "still alive");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(began.elapsed() >= Duration::from_secs(29), "after {:?}", began.elapsed());
    assert_eq!(server.get("/healthz").text(), "{\"error\":\"not alive\"}");
}

/// On a kernel that ignores `CLONE_PARENT`, as gVisor does, children become the server's all the same.
fn children_are_adopted(level: &str) {
    const READY: usize = 3;
    let settings = [("MAYFLY_ISOLATION", level), ("MAYFLY_PRELOAD", ""), ("MAYFLY_WITHOUT", "clone-parent")];
    let server = Setup::new(&settings).with("MAYFLY_READY", &READY.to_string()).start();
    for _ in 0..20 {
        let answer = server.execute(&json!({ "script": SCRIPT, "include": ["usage"] }));
        assert_eq!((answer.status, &answer.json()["result"]), (200, &json!("it ran")), "{}", answer.text());
        let peak = answer.json()["usage"]["peak_memory_mb"].as_f64();
        assert!(peak.is_some_and(|peak| peak > 1.0), "only a parent learns of this: {}", answer.text());
    }
    let endless =
        server.execute(&json!({ "script": "def main():\n    while True: pass", "limits": { "wall_ms": 200 } }));
    assert_eq!(endless.json()["code"], "timeout", "{}", endless.text());
    eventually("the server's own children are ready", || server.children().len() == READY);
    let left = || server.processes().len();
    eventually("nothing else is left", || left() == READY + server.zygotes().len());
}
