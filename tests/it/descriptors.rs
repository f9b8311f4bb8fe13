//! Descriptors run out, in a zygote or in the server: it says so, loses nothing, and serves again.

use crate::group::{CANARY, CANARY_ANSWER};
use crate::life::{begin, lean, sleeper};
use driver::client::Connection;
use driver::places::{Place, expected};
use driver::server::{PATIENCE, eventually};
use driver::trial::lone_trial;
use libtest_mimic::Trial;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use serde_json::json;
use std::os::unix::process::CommandExt;
use std::process::Command;

type Test = fn(Place);

pub fn trials() -> Vec<Trial> {
    let each: [(&str, Test); 3] = [
        ("a_zygote_without_descriptors_is_no_end", a_zygote_without_descriptors_is_no_end),
        ("a_server_without_descriptors_keeps_its_zygote", a_server_without_descriptors_keeps_its_zygote),
        ("a_low_soft_limit_is_raised", a_low_soft_limit_is_raised),
    ];
    let places = expected().into_iter().filter(|place| place.has_warm());
    let in_place = |place: Place| {
        each.map(|(name, test)| {
            let name = format!("descriptors::{}::{name}", place.as_str());
            place.needs().allow(lone_trial(name, move || test(place)))
        })
    };
    places.flat_map(in_place).collect()
}

/// Sets a process's limit of open files. The soft one alone (`--nofile=4:`) can be raised again.
fn limit(place: Place, process: Pid, limits: &str) {
    let mut command = Command::new("prlimit");
    if let Some(user) = place.setup(&[]).user() {
        // Only its own user may, or root with CAP_SYS_RESOURCE, which a container's root lacks.
        command.uid(user).gid(user);
    }
    let status = command.args(["--pid", &process.to_string(), limits]).status();
    assert!(status.expect("prlimit starts").success(), "the limit can be set");
}

/// Many systems start a service with a soft limit that any process may raise.
fn a_low_soft_limit_is_raised(place: Place) {
    const LOW: u64 = 200;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    assert!(hard > LOW, "the hard limit is {hard}");
    // No other test runs beside this one, and what is started takes this process's limits.
    setrlimit(Resource::RLIMIT_NOFILE, LOW, hard).expect("a lower limit");
    let server = lean(place, &[("MAYFLY_READY", "1")]);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("the limit from before");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("the server's limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line for open files");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3..5], [hard.to_string(), hard.to_string()], "soft and hard");
}

/// A child is made, and the server has no numbers left for all three of its channels.
fn a_server_without_descriptors_keeps_its_zygote(place: Place) {
    const CLIENTS: usize = 3;
    let server = lean(place, &[("MAYFLY_READY", "4"), ("MAYFLY_CONCURRENCY", "8")]);
    eventually("the shelf is full", || server.children().len() == 4);
    let zygotes = server.zygotes();
    let open = server.descriptors();
    // One for each client and one more; a child needs three.
    limit(place, server.pid(), &format!("--nofile={}:", open + CLIENTS + 1));
    let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| begin(&server, &sleeper(1.0))).collect();
    let line = server.log().wait_for(|line| line.contains("no descriptor left"), PATIENCE);
    assert!(line.is_some(), "it is in the log: {:?}", server.log().lines());
    limit(place, server.pid(), "--nofile=512:");
    for client in &mut clients {
        assert_eq!(client.answer().expect("an answer").json(), json!({ "result": "slept" }));
    }
    drop(clients);
    server.check(CANARY, &CANARY_ANSWER.into());
    eventually("the shelf is full again", || server.children().len() == 4);
    eventually("no descriptor is left over", || server.descriptors() <= open);
    assert_eq!(server.zygotes(), zygotes, "the zygote is kept: {:?}", server.log().lines());
}

/// A zygote that can make no child says so; the client gets a clean 503, and the next one a good answer.
fn a_zygote_without_descriptors_is_no_end(place: Place) {
    let server = lean(place, &[("MAYFLY_READY", "1"), ("MAYFLY_CONCURRENCY", "4")]);
    eventually("the shelf is full", || server.children().len() == 1);
    let zygotes = server.zygotes();
    limit(place, zygotes[0], "--nofile=4:");
    let mut refused = None;
    for _ in 0..5 {
        let answer = server.execute(&json!({ "script": CANARY }));
        match answer.status {
            200 => assert_eq!(answer.json(), json!({ "result": CANARY_ANSWER })),
            503 => refused = Some(answer),
            _ => panic!("{} {}", answer.status, answer.text()),
        }
    }
    let refused = refused.expect("a refusal");
    assert!(refused.header("retry-after").is_some() && refused.json()["error"].is_string(), "{}", refused.text());
    let line = server.log().wait_for(|line| line.contains("channel") && line.contains("24"), PATIENCE);
    assert!(line.is_some(), "step and errno are in the log: {:?}", server.log().lines());
    limit(place, zygotes[0], "--nofile=64:");
    eventually("it serves again", || server.execute(&json!({ "script": CANARY })).status == 200);
}
