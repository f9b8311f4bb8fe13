//! How the service lives: draining, lost and stopped zygotes, renewal, the queue, clients that leave, and the log.

use crate::group::{CANARY, CANARY_ANSWER};
use driver::client::Connection;
use driver::lone_tests;
use driver::places::{Place, expected};
use driver::process::is_alive;
use driver::server::{PATIENCE, Server, eventually};
use driver::tests;
use driver::trial::lone_trial;
use driver::trial::together;
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Test = fn(Place);

pub fn trials() -> Vec<Trial> {
    let mut trials = tests![
        sigterm_finishes_what_runs,
        sigterm_ends_an_idle_server_at_once,
        the_drain_time_is_an_end,
        a_live_answer_says_that_the_drain_time_is_over,
        a_second_signal_ends_at_once,
        ctrl_c_reaches_the_server_alone,
        zygotes_that_end_while_it_drains_are_no_error,
        a_draining_server_is_not_ready,
        a_zygote_is_renewed_without_a_gap,
        the_log_tells_each_request_and_no_script,
        the_log_can_be_json,
        the_first_line_says_what_runs,
        a_stdout_that_is_gone_matters_to_nobody,
    ];
    trials.extend(lone_tests![a_full_queue_is_503_at_once, who_waits_in_the_queue_is_served]);
    for place in expected().into_iter().filter(|place| place.has_warm()) {
        let each: [(&str, Test); 7] = [
            ("killed_zygotes_are_replaced", killed_zygotes_are_replaced),
            ("stopped_zygotes_are_replaced", stopped_zygotes_are_replaced),
            ("killed_children_cost_no_request", killed_children_cost_no_request),
            ("a_client_that_leaves_frees_its_place", a_client_that_leaves_frees_its_place),
            ("a_client_that_leaves_the_queue_is_forgotten", a_client_that_leaves_the_queue_is_forgotten),
            ("the_server_s_death_is_everyone_s", the_server_s_death_is_everyone_s),
            ("many_requests_leave_nothing", many_requests_leave_nothing),
        ];
        trials.extend(each.map(|(name, test)| {
            place.needs().allow(lone_trial(format!("life::{}::{name}", place.as_str()), move || test(place)))
        }));
    }
    trials
}

pub fn sleeper(seconds: f64) -> Value {
    let script = "import time\ndef main(seconds):\n    time.sleep(seconds)\n    return 'slept'";
    json!({ "script": script, "args": [seconds], "limits": { "wall_ms": 60_000 } })
}

/// Sends a request without waiting for its answer.
pub fn begin(server: &Server, request: &Value) -> Connection {
    let body = request.to_string();
    let mut connection = server.connect();
    let head = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(head.as_bytes()).expect("sent");
    connection
}

/// A server with the lean zygote alone.
pub fn lean(place: Place, settings: &[(&str, &str)]) -> Server {
    let mut all = vec![("MAYFLY_PRELOAD", "")];
    all.extend_from_slice(settings);
    place.setup(&all).start()
}

fn lean_anywhere(settings: &[(&str, &str)]) -> Server {
    lean(expected()[0], settings)
}

fn sigterm_finishes_what_runs() {
    let mut server = lean_anywhere(&[]);
    let mut idle = server.connect();
    assert_eq!(idle.request("GET", "/healthz", &[], b"").status, 200);
    let mut running: Vec<Connection> = (0..3).map(|_| begin(&server, &sleeper(1.0))).collect();
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    server.signal(Signal::SIGTERM);
    for connection in &mut running {
        let answer = connection.answer().expect("an answer");
        assert_eq!((answer.json(), answer.header("connection")), (json!({ "result": "slept" }), Some("close")));
    }
    assert!(idle.is_closed_within(Duration::from_secs(2)));
    assert_eq!(server.wait(Duration::from_secs(8)).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "drained after {:?}", began.elapsed());
}

fn sigterm_ends_an_idle_server_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = lean_anywhere(&[]);
        let mut processes = server.zygotes();
        processes.extend(server.children());
        let began = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait(Duration::from_secs(8)).code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(3), "after {:?}", began.elapsed());
        eventually("its processes are gone", || !processes.iter().any(|pid| is_alive(*pid)));
    }
}

fn the_drain_time_is_an_end() {
    let mut server = lean_anywhere(&[("MAYFLY_DRAIN_MS", "500")]);
    let mut running = begin(&server, &sleeper(4.0));
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(Duration::from_secs(8)).code(), Some(0));
    let took = began.elapsed();
    assert!(took > Duration::from_millis(400) && took < Duration::from_secs(3), "drained after {took:?}");
    is_given_up(&mut running);
    server.log().wait_for(|line| line.contains("code=\"given_up\""), PATIENCE).expect("the request has its line");
}

/// The script did not end in time, and its client is told so.
#[track_caller]
fn is_given_up(running: &mut Connection) {
    let answer = running.answer().expect("an answer");
    answer.is_error(503, GIVEN_UP);
    assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
}

const GIVEN_UP: &str = "the service is shutting down and did not wait for the script to end; try again in a second";

fn a_live_answer_says_that_the_drain_time_is_over() {
    let mut server = lean_anywhere(&[("MAYFLY_DRAIN_MS", "500")]);
    let mut connection = server.connect();
    let body = sleeper(30.0).to_string();
    let head = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/x-ndjson\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(head.as_bytes()).expect("sent");
    assert_eq!(connection.head().expect("a head").status, 200);
    server.signal(Signal::SIGTERM);
    let mut said = Vec::new();
    while let Some(piece) = connection.chunk().ok().filter(|piece| !piece.is_empty()) {
        said.extend(piece);
    }
    let said = String::from_utf8(said).expect("text");
    let last: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last, json!({ "type": "done", "status": 503, "body": { "error": GIVEN_UP } }));
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
}

fn a_second_signal_ends_at_once() {
    // Longer than anybody waits for this test.
    let mut server = lean_anywhere(&[("MAYFLY_DRAIN_MS", "3600000")]);
    let mut running = begin(&server, &sleeper(50.0));
    std::thread::sleep(Duration::from_millis(500));
    server.signal(Signal::SIGINT);
    let line = server.log().wait_for(|line| line.contains("draining"), PATIENCE).expect("it says so");
    assert!(line.contains("running=1 at_most_ms=3600000"), "{line}");
    server.signal(Signal::SIGINT);
    is_given_up(&mut running);
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
    assert!(server.log().lines().iter().any(|line| line.contains("a second signal")), "{:?}", server.log().lines());
}

fn ctrl_c_reaches_the_server_alone() {
    for place in expected() {
        let mut server = place.setup(&[("MAYFLY_PRELOAD", "")]).leading_a_group().start();
        let mut running = begin(&server, &sleeper(1.0));
        std::thread::sleep(Duration::from_millis(300));
        // What a terminal does.
        killpg(server.pid(), Signal::SIGINT).expect("the group is there");
        assert_eq!(running.answer().expect("an answer").json(), json!({ "result": "slept" }), "{}", place.as_str());
        assert_eq!(server.wait(PATIENCE).code(), Some(0));
        let lines = server.log().lines();
        let amiss: Vec<_> = lines.iter().filter(|line| line.contains("ERROR") || line.contains("WARN ")).collect();
        assert!(
            !amiss.iter().any(|line| line.contains("zygote") || line.contains("child")),
            "{}: {amiss:?}",
            place.as_str()
        );
        let warm = lines.iter().filter(|line| line.contains(" warm ")).count();
        assert!(warm <= 1, "{}: {lines:?}", place.as_str());
    }
}

/// A service manager may send its signal to each process of the service.
fn zygotes_that_end_while_it_drains_are_no_error() {
    let mut server = lean_anywhere(&[]);
    let mut running = begin(&server, &sleeper(1.5));
    std::thread::sleep(Duration::from_millis(300));
    server.signal(Signal::SIGTERM);
    server.log().wait_for(|line| line.contains("draining"), PATIENCE).expect("it says so");
    for zygote in server.zygotes() {
        kill(zygote, Signal::SIGTERM).expect("it lives");
    }
    server.log().wait_for(|line| line.contains("a zygote ended while"), PATIENCE).expect("it says so");
    assert_eq!(running.answer().expect("an answer").json(), json!({ "result": "slept" }));
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
    let lines = server.log().lines();
    assert!(!lines.iter().any(|line| line.contains("ERROR")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("python=")).count(), 2, "no zygote is warmed anew: {lines:?}");
}

fn a_draining_server_is_not_ready() {
    let mut server = lean_anywhere(&[]);
    // Connections from before are still read; new ones are not accepted.
    let mut early = server.connect();
    early.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n").expect("sent");
    let mut late = server.connect();
    let body = json!({ "script": CANARY }).to_string();
    late.send(
        format!(
            "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    )
    .expect("sent");
    let mut running = begin(&server, &sleeper(1.0));
    std::thread::sleep(Duration::from_millis(300));
    server.signal(Signal::SIGTERM);
    server.log().wait_for(|line| line.contains("draining"), PATIENCE).expect("it says so");
    std::thread::sleep(Duration::from_millis(50));
    assert!(Connection::open(server.address()).is_err(), "a draining server accepts no connection");
    early.send(b"\r\n").expect("sent");
    assert_eq!(early.answer().expect("an answer").status, 503);
    late.send(body.as_bytes()).expect("sent");
    let answer = late.answer().expect("an answer");
    answer.is_error(503, "the service is shutting down; try again in a second");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(running.answer().expect("an answer").json(), json!({ "result": "slept" }));
    assert_eq!(server.wait(Duration::from_secs(8)).code(), Some(0));
}

fn a_zygote_is_renewed_without_a_gap() {
    let server = lean_anywhere(&[("MAYFLY_RENEW_FORKS", "20")]);
    let mut seen: HashSet<Pid> = HashSet::new();
    for round in 0..12 {
        together(4, |number| {
            let mut connection = server.connect();
            for step in 0..10 {
                let request = json!({ "script": "def main(x):\n    return x", "args": [[round, number, step]] });
                let answer = connection.execute(&request);
                assert_eq!((answer.status, answer.json()), (200, json!({ "result": [round, number, step] })));
            }
        });
        seen.extend(server.zygotes());
    }
    assert!(seen.len() >= 5, "480 requests, and only these zygotes: {seen:?}");
    eventually("the old one is gone", || server.zygotes().len() == 1);
    nobody_is_left_over(&server);
}

fn requests_while(server: &Server, disturb: impl Fn()) -> [usize; 3] {
    let (done, counts) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 3]);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|number| {
                let (done, counts) = (&done, &counts);
                scope.spawn(move || -> Result<(), String> {
                    let mut connection = server.connect();
                    let mut step = 0;
                    while !done.load(Ordering::Relaxed) {
                        step += 1;
                        let (request, expected) = match step % 4 {
                            0 => (json!({ "script": "def main():\n    1 / 0" }), None),
                            1 => (json!({ "script": "def main(x):\n    return x", "args": [step * 10 + number] }), Some(json!(step * 10 + number))),
                            // For the loaded zygote, where there is one.
                            2 => (json!({ "script": "'import numpy'\ndef main():\n    return 1.5" }), Some(json!(1.5))),
                            _ => (json!({ "script": "import time\ndef main():\n    time.sleep(0.02)\n    return 'late'" }), Some(json!("late"))),
                        };
                        let answer = connection.execute(&request);
                        let kind = match (answer.status, &expected) {
                            (200, Some(expected)) if answer.json() == json!({ "result": expected }) => 0,
                            (422, None) if answer.json()["error"] == "ZeroDivisionError: division by zero" => 1,
                            (503, _) if answer.header("retry-after").is_some() => 2,
                            _ => return Err(format!("{request}: {} {}", answer.status, answer.text())),
                        };
                        counts[kind].fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let disturbed = catch_unwind(AssertUnwindSafe(disturb));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = disturbed {
            resume_unwind(panic);
        }
        for worker in workers {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(wrong)) => panic!("{wrong}"),
                Err(panic) => resume_unwind(panic),
            }
        }
    });
    counts.map(AtomicUsize::into_inner)
}

/// Lean and loaded.
fn both(place: Place) -> Server {
    let server = place.setup(&[]).start();
    eventually("both zygotes are warm", || {
        server.log().lines().iter().filter(|line| line.contains("warm") && line.contains("zygote=")).count() >= 2
    });
    server
}

fn each_zygote(server: &Server, signal: Signal) {
    let before = server.zygotes();
    assert_eq!(before.len(), 2, "{:?}", server.processes());
    for zygote in before {
        kill(zygote, signal).expect("it lives");
        eventually("it is replaced", || {
            let now = server.zygotes();
            now.len() == 2 && !now.contains(&zygote)
        });
    }
}

fn killed_zygotes_are_replaced(place: Place) {
    let server = both(place);
    let [good, failed, refused] = requests_while(&server, || each_zygote(&server, Signal::SIGKILL));
    assert!(good > 5 && failed > 0, "{good} good, {failed} failed, {refused} refused");
    server.check("import numpy\ndef main():\n    return int(numpy.arange(4).sum())", &json!(6));
    server.check(CANARY, &CANARY_ANSWER.into());
    nobody_is_left_over(&server);
}

fn stopped_zygotes_are_replaced(place: Place) {
    let server = both(place);
    let [good, failed, refused] = requests_while(&server, || each_zygote(&server, Signal::SIGSTOP));
    assert!(good > 5 && failed > 0, "{good} good, {failed} failed, {refused} refused");
    server.check("import numpy\ndef main():\n    return int(numpy.arange(4).sum())", &json!(6));
    server.check(CANARY, &CANARY_ANSWER.into());
    nobody_is_left_over(&server);
}

fn nobody_is_left_over(server: &Server) {
    let zombies = || server.processes().into_iter().filter(|process| process.state == 'Z').count();
    eventually("no zombie is left", || zombies() == 0);
    eventually("stopped processes are gone", || !server.processes().iter().any(|process| process.state == 'T'));
}

/// Whoever kills a child that runs no script yet, or a script that can run again, does no harm.
fn killed_children_cost_no_request(place: Place) {
    let server = lean(place, &[]);
    let counts = requests_while(&server, || {
        // One at a time, with time to try again in between.
        for turn in 0..20 {
            let children = server.children();
            if let Some(child) = children.get(turn % children.len().max(1)) {
                // It may be gone by now.
                let _ = kill(*child, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(400));
        }
    });
    assert!(counts[0] > 10, "{counts:?}");
    server.check(CANARY, &CANARY_ANSWER.into());
    nobody_is_left_over(&server);
}

fn a_client_that_leaves_frees_its_place(place: Place) {
    let server = lean(place, &[("MAYFLY_CONCURRENCY", "2"), ("MAYFLY_QUEUE", "0"), ("MAYFLY_READY", "2")]);
    for how in ["close", "reset", "half-close"] {
        eventually("the shelf is full", || server.children().len() == 2);
        let before = server.children();
        let clients: Vec<Connection> = (0..2).map(|_| begin(&server, &sleeper(30.0))).collect();
        // Let them in first: whoever asks meanwhile would take their place.
        std::thread::sleep(Duration::from_millis(300));
        eventually("both places are taken", || server.execute(&json!({ "script": CANARY })).status == 503);
        let used: Vec<Pid> = before.into_iter().filter(|child| is_alive(*child)).collect();
        let began = Instant::now();
        for client in &clients {
            match how {
                "half-close" => client.half_close(),
                "reset" => nix::sys::socket::setsockopt(
                    client.stream(),
                    nix::sys::socket::sockopt::Linger,
                    &nix::libc::linger { l_onoff: 1, l_linger: 0 },
                )
                .expect("a socket"),
                _ => {}
            }
        }
        let kept = Some(clients).filter(|_| how == "half-close");
        eventually("the scripts are dead", || !used.iter().any(|child| is_alive(*child)));
        eventually("the places are free", || server.execute(&json!({ "script": CANARY })).status == 200);
        assert!(began.elapsed() < Duration::from_secs(2), "{how}: after {:?}", began.elapsed());
        drop(kept);
    }
    nobody_is_left_over(&server);
}

fn a_client_that_leaves_the_queue_is_forgotten(place: Place) {
    let server = lean(place, &[("MAYFLY_CONCURRENCY", "1"), ("MAYFLY_QUEUE", "1")]);
    let mut first = begin(&server, &sleeper(2.0));
    std::thread::sleep(Duration::from_millis(200));
    let second = begin(&server, &sleeper(2.0));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.execute(&json!({ "script": CANARY })).status, 503, "the queue is full");
    drop(second);
    std::thread::sleep(Duration::from_millis(200));
    // The place in the queue is free again, and served as soon as the first is done.
    let began = Instant::now();
    server.check(CANARY, &CANARY_ANSWER.into());
    assert!(began.elapsed() < Duration::from_millis(2500), "after {:?}", began.elapsed());
    assert_eq!(first.answer().expect("an answer").json(), json!({ "result": "slept" }));
}

fn the_server_s_death_is_everyone_s(place: Place) {
    let mut server = both(place);
    let _running: Vec<Connection> = (0..3).map(|_| begin(&server, &sleeper(30.0))).collect();
    std::thread::sleep(Duration::from_millis(500));
    let mut processes = server.zygotes();
    processes.extend(server.children());
    assert!(processes.len() > 5, "{processes:?}");
    server.signal(Signal::SIGKILL);
    server.wait(Duration::from_secs(5));
    let began = Instant::now();
    eventually("all its processes are gone", || !processes.iter().any(|pid| is_alive(*pid)));
    assert!(began.elapsed() < Duration::from_secs(2), "after {:?}", began.elapsed());
}

/// Good ones and bad ones, four at a time.
fn many_requests_leave_nothing(place: Place) {
    const READY: usize = 8;
    let server = lean(place, &[("MAYFLY_READY", "8")]);
    let round = |requests: usize| {
        together(4, |_| {
            let mut connection = server.connect();
            for step in 0..requests / 4 {
                let (script, status) = match step % 5 {
                    0 => ("def main():\n    1 / 0", 422),
                    1 => ("import os\nos._exit(1)", 422),
                    2 => ("def main(:", 422),
                    3 => (
                        "import threading, time\ndef main():\n    threading.Thread(target=time.sleep, args=(60,)).start()\n    return 1",
                        200,
                    ),
                    _ => (CANARY, 200),
                };
                let answer = connection.execute(&json!({ "script": script }));
                assert_eq!(answer.status, status, "{}", answer.text());
            }
        });
        nobody_is_left_over(&server);
        std::thread::sleep(Duration::from_millis(500));
        (server.descriptors(), server.resident(), server.processes().len())
    };
    let (descriptors, resident, processes) = round(200);
    let (descriptors_after, resident_after, processes_after) = round(2000);
    // The pool may not be full at either moment: each ready child has three descriptors.
    assert!(descriptors_after <= descriptors + 3 * READY, "{descriptors} descriptors, then {descriptors_after}");
    assert!(resident_after <= resident + 8 * 1024, "{resident} KiB, then {resident_after}");
    assert!(processes_after <= processes + READY, "{processes} processes, then {processes_after}");
}

fn a_full_queue_is_503_at_once() {
    let server = lean_anywhere(&[("MAYFLY_CONCURRENCY", "1"), ("MAYFLY_QUEUE", "2")]);
    let mut waiting: Vec<Connection> = (0..3).map(|_| begin(&server, &sleeper(0.7))).collect();
    std::thread::sleep(Duration::from_millis(250));
    for _ in 0..5 {
        let began = Instant::now();
        let answer = server.execute(&json!({ "script": CANARY }));
        let took = began.elapsed();
        answer.is_error(503, "all places are taken and the queue is full; try again in a second");
        assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
        assert!(took < Duration::from_millis(100), "refused after {took:?}");
    }
    assert_eq!(server.get("/healthz").status, 200);
    for connection in &mut waiting {
        assert_eq!(connection.answer().expect("an answer").json(), json!({ "result": "slept" }));
    }
    server.check(CANARY, &CANARY_ANSWER.into());
}

fn who_waits_in_the_queue_is_served() {
    let server = lean_anywhere(&[("MAYFLY_CONCURRENCY", "1"), ("MAYFLY_QUEUE", "10")]);
    let first = begin(&server, &sleeper(0.5));
    std::thread::sleep(Duration::from_millis(100));
    let answer = server.execute(&json!({ "script": CANARY }));
    assert_eq!(answer.json(), json!({ "result": CANARY_ANSWER }));
    let timing = answer.header("server-timing").expect("times");
    let queue: f64 =
        timing.strip_prefix("queue;dur=").and_then(|rest| rest.split(',').next()?.parse().ok()).expect("a number");
    assert!((200.0..600.0).contains(&queue), "{timing}");
    drop(first);
}

fn the_log_tells_each_request_and_no_script() {
    let server = lean_anywhere(&[]);
    let request = json!({
        "script": "import sys\nSECRET = 'in-script'\ndef main(arg):\n    print('in-stdout')\n    print('in-stderr', file=sys.stderr)\n    raise ValueError('in-error')",
        "args": ["in-args"], "stdin": "in-stdin", "include": ["stdout", "stderr"]
    });
    let body = request.to_string();
    let headers = [("Content-Type", "application/json"), ("X-Request-Id", "known-id")];
    assert_eq!(server.connect().request("POST", "/execute", &headers, body.as_bytes()).status, 422);
    server.connect().request("POST", "/in-path?in-query", &[("X-Request-Id", "other-id")], b"in-body");
    let line = server.log().wait_for(|line| line.contains("known-id"), PATIENCE).expect("a line");
    for piece in [
        "status=422",
        "exception",
        "queue_ms=",
        "start_ms=",
        "run_ms=",
        "encode_ms=",
        "total_ms=",
        "bytes_out=",
        "isolation=",
    ] {
        assert!(line.contains(piece), "{piece} is not in {line}");
    }
    assert!(line.contains(&format!("bytes_in={}", body.len())), "{line}");
    let line = server.log().wait_for(|line| line.contains("other-id"), PATIENCE).expect("a line");
    assert!(line.contains("status=404"), "{line}");
    let log = server.log().lines().join("\n");
    for text in
        ["in-script", "in-stdout", "in-stderr", "in-error", "in-args", "in-stdin", "in-path", "in-query", "in-body"]
    {
        assert!(!log.contains(text), "{text} is in the log:\n{log}");
    }
}

fn the_log_can_be_json() {
    let server = lean_anywhere(&[("MAYFLY_LOG", "json")]);
    let forged = "x\\\",\\\"severity\\\":\\\"ERROR";
    server.connect().request("GET", "/version", &[("X-Request-Id", forged)], b"");
    server.execute(&json!({ "script": CANARY }));
    server.log().wait_for(|line| line.contains("/execute"), PATIENCE).expect("a line");
    for line in server.log().lines() {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["message"].is_string() && line.get("severity").is_none(), "{line}");
    }
    let line = server.log().wait_for(|line| line.contains("/execute"), PATIENCE).expect("a line");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&line["status"], &line["code"], &line["method"]),
        (&json!(200), &json!("ok"), &json!("POST")),
        "{line}"
    );
    assert!(line["run_ms"].is_number() && line["total_ms"].is_number(), "{line}");
}

fn the_first_line_says_what_runs() {
    let place = expected()[0];
    let server = lean(place, &[]);
    let lines = server.log().lines();
    let python = server.get("/capabilities").json()["python"].as_str().expect("text").to_owned();
    for piece in [env!("CARGO_PKG_VERSION"), &python, place.level(), &server.address().to_string()] {
        assert!(lines[0].contains(piece), "{piece} is not in {}", lines[0]);
    }
}

fn a_stdout_that_is_gone_matters_to_nobody() {
    // The server writes nothing there; a script's own output goes to its own pipe.
    let server = lean_anywhere(&[]);
    server.check("import os\ndef main():\n    os.close(1)\n    os.close(2)\n    print('x')\n    return 1", &json!(1));
}
