//! How much a script weighs on the processors beside the server: read from /proc while it runs.

use crate::life::{begin, lean};
use driver::places::{Place, expected};
use driver::server::{Server, eventually};
use driver::trial::trial;
use libtest_mimic::Trial;
use nix::unistd::Pid;
use serde_json::json;
use std::fs::read_to_string;

pub fn trials() -> Vec<Trial> {
    let places = expected().into_iter().filter(|place| place.has_warm());
    let each = places.map(|place| {
        place.needs().allow(trial(format!("weight::{}::a_script_that_runs_on_yields", place.as_str()), move || {
            a_script_that_runs_on_yields(place);
        }))
    });
    each.collect()
}

/// The nice values of a process, one for each of its threads.
fn niceness(pid: Pid) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of = |stat: String| stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok();
    threads.filter_map(|thread| of(read_to_string(thread.ok()?.path().join("stat")).ok()?)).collect()
}

/// Whether the kernel lets the server take a nice value back: `CAP_SYS_NICE`.
fn takes_back(server: &Server) -> bool {
    const CAP_SYS_NICE: u32 = 23;
    let status = read_to_string(format!("/proc/{}/status", server.pid())).expect("the server's status");
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("its capabilities");
    u64::from_str_radix(held.trim(), 16).expect("a number") >> CAP_SYS_NICE & 1 == 1
}

fn a_script_that_runs_on_yields(place: Place) {
    let script = "import threading, time\ndef main(count):\n    for _ in range(count):\n        threading.Thread(target=time.sleep, args=(60,)).start()\n    time.sleep(60)";
    for (threads, together) in [(0, 5), (3, 11), (40, 19)] {
        let server = lean(place, &[("MAYFLY_READY", "2")]);
        let own = *niceness(server.pid()).first().expect("the server runs");
        let running = begin(&server, &json!({ "script": script, "args": [threads], "limits": { "wall_ms": 60_000 } }));
        // What it weighs by its threads, or as any old script does.
        let wanted = (own + if takes_back(&server) { together } else { 5 }).min(19);
        eventually("all threads of the script yield, and no other child does", || {
            let of_children: Vec<Vec<i32>> = server.children().into_iter().map(niceness).collect();
            let (yielding, others): (Vec<_>, Vec<_>) =
                of_children.iter().partition(|all| all.len() == threads + 1 && all.iter().all(|one| *one == wanted));
            yielding.len() == 1 && others.iter().all(|all| all.iter().all(|one| *one == own))
        });
        drop(running);
    }
}
