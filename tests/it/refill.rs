//! When used children are replaced: before the answer, where the processor may stop as soon as it is sent; else after it.
//!
//! A package made for this room holds every fork back, so that it can be seen which of the two came first.

use crate::packages::Packages;
use driver::places::{Place, expected};
use driver::server::{Server, Setup, eventually};
use driver::trial::lone_trial;
use libtest_mimic::Trial;
use nix::unistd::Pid;
use serde_json::json;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a fork takes here. An answer waits 200 ms for new children at most.
const FORK_MS: u64 = 120;

/// A name, settings, and whether the shelf is full when the answer comes.
type Case = (&'static str, &'static [(&'static str, &'static str)], bool);

pub fn trials() -> Vec<Trial> {
    let cases: [Case; 5] = [
        ("before", &[("MAYFLY_REFILL", "before")], true),
        ("before_on_cloud_run", &[("K_SERVICE", "mayfly")], true),
        ("after", &[("MAYFLY_REFILL", "after")], false),
        ("after_by_default", &[], false),
        ("after_on_cloud_run_when_asked", &[("K_SERVICE", "mayfly"), ("MAYFLY_REFILL", "after")], false),
    ];
    let places = expected().into_iter().filter(|place| place.has_warm());
    let in_place = |place: Place| {
        cases.map(|(name, settings, is_full)| {
            let test = move || an_answer_leaves(place, name, settings, is_full);
            place.needs().allow(lone_trial(format!("refill::{}::{name}", place.as_str()), test))
        })
    };
    places.flat_map(in_place).collect()
}

fn an_answer_leaves(place: Place, name: &str, settings: &[(&str, &str)], is_full: bool) {
    let text = format!("import os, time\nos.register_at_fork(after_in_child=lambda: time.sleep({FORK_MS} / 1000))\n");
    let packages = Packages::new(&format!("refill-{}-{name}", place.as_str()), &[("slow.py", &text)]);
    let path = packages.path();
    let mut setup: Setup =
        place.setup(&[("MAYFLY_PRELOAD", "slow"), ("MAYFLY_READY", "1"), ("MAYFLY_PACKAGES", &path)]);
    for (name, value) in settings {
        setup = setup.with(name, value);
    }
    let server = setup.start();
    let mut connection = server.connect();
    let mut seen = Vec::new();
    for _ in 0..3 {
        // One of the lean zygote, which this script does not go to, and one of the loaded: the last one may still be ending.
        let full = Cell::new(Vec::new());
        eventually("both shelves are full", || {
            let now = server.children();
            let is_full = now.len() == 2 && now.iter().any(|child| !seen.contains(child));
            full.set(now);
            is_full
        });
        let before = full.into_inner();
        seen.extend_from_slice(&before);
        let asked = Instant::now();
        let answer = connection.execute(&json!({ "script": "import slow\ndef main():\n    return 'done'" }));
        let new = new_children(&server, &before);
        let looked = asked.elapsed();
        assert_eq!(answer.json(), json!({ "result": "done" }));
        if is_full {
            assert_eq!(new.len(), 1, "the answer came before the next child");
        } else if looked < Duration::from_millis(FORK_MS) {
            // None that was ordered since can be ready, unless this machine was busy with something else.
            assert_eq!(new, [], "the answer waited for the next child");
        }
    }
}

/// Ready children that were not there before.
fn new_children(server: &Server, before: &[Pid]) -> Vec<Pid> {
    server.children().into_iter().filter(|child| !before.contains(child)).collect()
}
