//! Memory runs out: new work is refused before the kernel has to choose, its choice falls on scripts, and the one that it falls on is not
//! run again if it was large.

use crate::group::{CANARY, CANARY_ANSWER};
use crate::held::SmallMachine;
use crate::life::{begin, lean, sleeper};
use driver::places::{Place, expected};
use driver::server::{PATIENCE, Server, Setup, eventually};
use driver::tests;
use driver::trial::trial;
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::path::PathBuf;

pub fn trials() -> Vec<Trial> {
    let mut trials = tests![new_work_is_refused_while_memory_is_short, what_is_given_up_first_is_no_shortage];
    for place in expected().into_iter().filter(|place| place.has_warm()) {
        trials.push(place.needs().allow(trial(
            format!("shortage::{}::a_large_script_runs_once", place.as_str()),
            move || {
                a_large_script_runs_once(place);
            },
        )));
    }
    trials
}

fn server_with(program: &SmallMachine) -> Server {
    let settings = [("MAYFLY_PRELOAD", ""), ("MAYFLY_CONCURRENCY", "4")];
    Setup::new(&settings).with_program(program.0.clone()).start()
}

/// A control group has 512 MiB, of which 100 are used.
fn limited() -> SmallMachine {
    SmallMachine::new(&[("memory.max", 512 << 20), ("memory.current", 100 << 20)])
}

/// A file of the control group, as the server sees it.
fn told(server: &Server, name: &str, text: &str) {
    let path = PathBuf::from(format!("/proc/{}/root/sys/fs/cgroup/{name}", server.pid()));
    fs::write(path, text).expect("whoever started the server may");
}

fn new_work_is_refused_while_memory_is_short() {
    let program = limited();
    let server = server_with(&program);
    server.check(CANARY, &CANARY_ANSWER.into());
    told(&server, "memory.current", &(490u64 << 20).to_string());
    // Whoever runs is not harmed, and by his running for a while it is noticed.
    assert_eq!(server.execute(&sleeper(0.3)).json(), json!({ "result": "slept" }));
    let refused = server.execute(&json!({ "script": CANARY }));
    refused.is_error(503, "memory is short; try again in a second");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!((server.get("/readyz").status, server.get("/healthz").status), (503, 200));
    told(&server, "memory.current", &(100u64 << 20).to_string());
    eventually("it is ready again", || server.get("/readyz").status == 200);
    server.check(CANARY, &CANARY_ANSWER.into());
    assert!(server.log().wait_for(|line| line.contains("memory is back"), PATIENCE).is_some());
    let lines = server.log().lines();
    let about = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(about("memory is short;"), 1, "{}", lines.join("\n"));
    assert_eq!(about("code=\"no_memory\""), 1, "{}", lines.join("\n"));
}

/// Files that were read are kept in memory as long as nobody needs it.
fn what_is_given_up_first_is_no_shortage() {
    let program = limited();
    let server = server_with(&program);
    told(&server, "memory.stat", &format!("anon 1\ninactive_file {}\nactive_file 0\n", 300u64 << 20));
    told(&server, "memory.current", &(490u64 << 20).to_string());
    assert_eq!(server.execute(&sleeper(0.3)).status, 200);
    server.check(CANARY, &CANARY_ANSWER.into());
}

fn resident(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}

/// Somebody kills it who is not the server: short of memory, the kernel would choose it.
fn a_large_script_runs_once(place: Place) {
    let server = lean(place, &[]);
    let script = "import time\ndef main():\n    held = b'x' * (200 << 20)\n    time.sleep(2)\n    return len(held)";
    let mut client = begin(&server, &json!({ "script": script, "limits": { "wall_ms": 60_000 } }));
    let large = || server.children().into_iter().find(|child| resident(*child) > 200 << 20);
    eventually("it holds its memory", || large().is_some());
    std::thread::sleep(std::time::Duration::from_millis(100));
    if let Some(child) = large() {
        if nix::unistd::geteuid().is_root() && place != Place::Landlock {
            let score = fs::read_to_string(format!("/proc/{child}/oom_score_adj")).expect("it lives");
            assert_eq!(score.trim(), "1000", "a script goes before children that wait for one");
        }
        kill(child, Signal::SIGKILL).expect("it lives");
    }
    let answer = client.answer().expect("an answer");
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("memory_limit")), "{}", answer.text());
    server.check(CANARY, &CANARY_ANSWER.into());
}
