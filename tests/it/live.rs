//! An answer that comes while the script runs: as server-sent events and as lines of JSON.

use crate::contract::in_every_place;
use crate::life::{begin, lean, sleeper};
use driver::client::{Answer, Connection};
use driver::places::{Place, expected};
use driver::process::is_alive;
use driver::server::{Server, eventually};
use driver::tests;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::time::Duration;

const SERVER_SENT: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

pub fn trials() -> Vec<Trial> {
    let mut trials =
        in_every_place("live", &[("MAYFLY_PRELOAD", "")], &[("events_come_in_order", events_come_in_order)]);
    trials.extend(tests![
        each_event_is_one_line_of_ascii,
        who_ranks_json_as_high_gets_it,
        what_is_wrong_before_the_start_is_a_plain_answer,
        a_line_is_there_while_the_script_runs,
        silence_is_broken_by_a_comment,
        a_slow_reader_holds_nobody_up,
        who_leaves_ends_the_script,
        the_log_tells_what_it_came_to,
    ]);
    trials
}

fn ask(connection: &mut Connection, request: &Value, accept: &str) -> Answer {
    send(connection, request, accept);
    connection.answer().expect("an answer")
}

fn send(connection: &mut Connection, request: &Value, accept: &str) {
    let body = request.to_string();
    let length = body.len();
    let head = "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    connection
        .send(format!("{head}Accept: {accept}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes())
        .expect("sent");
}

/// All events of an answer in lines.
fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(LINES)), "{}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// What a live answer ends with, as a plain one.
pub fn at_the_end(server: &Server, request: &Value) -> Answer {
    let answer = ask(&mut server.connect(), request, LINES);
    if answer.status != 200 {
        return answer;
    }
    let events = events(&answer);
    let done = events.last().expect("an event");
    assert_eq!(done["type"], "done", "{done}");
    let status = done["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    Answer { status, body: done["body"].to_string().into_bytes(), ..answer }
}

fn events_come_in_order(server: &Server, _: Place) {
    let script = "import sys\ndef main(n):\n    for i in range(n):\n        print('line', i)\n    sys.stdout.flush()\n    \
                  print('last', end='')\n    return n";
    let answer = ask(&mut server.connect(), &json!({ "script": script, "args": [3], "include": ["stdout"] }), LINES);
    let events = events(&answer);
    let text = "line 0\nline 1\nline 2\nlast";
    let (first, last) = (&events[0], &events[events.len() - 1]);
    assert_eq!(*first, json!({ "type": "start" }));
    assert_eq!(*last, json!({ "type": "done", "status": 200, "body": { "result": 3, "stdout": text } }));
    let said: Vec<&str> = events[1..events.len() - 1]
        .iter()
        .map(|event| {
            assert_eq!(event["type"], "stdout", "{event}");
            event["text"].as_str().expect("text")
        })
        .collect();
    assert_eq!(said.concat(), text);
    let failed = ask(&mut server.connect(), &json!({ "script": "def main():\n    1 / 0" }), LINES);
    let done = failed.text().lines().last().map(serde_json::from_str::<Value>).expect("a line").expect("JSON");
    assert_eq!((&done["status"], &done["body"]["code"]), (&json!(422), &json!("exception")), "{done}");
}

fn each_event_is_one_line_of_ascii() {
    let server = lean(expected()[0], &[]);
    let script =
        "import sys\ndef main():\n    print('a\u{2028}\\r\u{e9}\u{1f600}', end='', flush=True)\n    return '\u{2029}'";
    let answer = ask(&mut server.connect(), &json!({ "script": script }), SERVER_SENT);
    assert_eq!(answer.header("content-type"), Some(SERVER_SENT));
    assert_eq!((answer.header("cache-control"), answer.header("x-accel-buffering")), (Some("no-store"), Some("no")));
    let expected = concat!(
        "event: start\ndata: {\"type\":\"start\"}\n\n",
        "event: stdout\ndata: {\"type\":\"stdout\",\"text\":\"a\\u2028\\r\\u00e9\\ud83d\\ude00\"}\n\n",
        "event: done\ndata: {\"type\":\"done\",\"status\":200,\"body\":{\"result\":\"\\u2029\"}}\n\n"
    );
    assert_eq!(answer.text(), expected);
}

fn who_ranks_json_as_high_gets_it() {
    let server = lean(expected()[0], &[]);
    for accept in ["*/*", "application/json, text/event-stream", "text/event-stream;q=0.9, application/json"] {
        let answer = ask(&mut server.connect(), &json!({ "script": "def main():\n    return 1" }), accept);
        assert_eq!((answer.status, answer.text()), (200, "{\"result\":1}".to_owned()), "{accept}");
    }
}

fn what_is_wrong_before_the_start_is_a_plain_answer() {
    let server = lean(expected()[0], &[("MAYFLY_CONCURRENCY", "1"), ("MAYFLY_QUEUE", "0")]);
    ask(&mut server.connect(), &json!({}), SERVER_SENT).is_error(400, "Missing 'script' in request");
    let running = begin(&server, &sleeper(30.0));
    std::thread::sleep(Duration::from_millis(300));
    let refused = ask(&mut server.connect(), &json!({ "script": "def main():\n    return 1" }), SERVER_SENT);
    refused.is_error(503, "all places are taken and the queue is full; try again in a second");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    drop(running);
}

/// A script that says something and goes on for a long time.
fn chatty() -> Value {
    let script = "import time\ndef main():\n    print('here')\n    time.sleep(30)";
    json!({ "script": script, "limits": { "wall_ms": 60_000 } })
}

fn first_words(connection: &mut Connection) -> String {
    let mut said = String::new();
    while !said.contains("here") {
        said += &String::from_utf8(connection.chunk().expect("a chunk")).expect("ASCII");
    }
    said
}

fn a_line_is_there_while_the_script_runs() {
    let server = lean(expected()[0], &[]);
    let mut connection = server.connect();
    send(&mut connection, &chatty(), LINES);
    assert_eq!(connection.head().expect("a head").status, 200);
    assert_eq!(first_words(&mut connection), "{\"type\":\"start\"}\n{\"type\":\"stdout\",\"text\":\"here\\n\"}\n");
}

fn silence_is_broken_by_a_comment() {
    let server = lean(expected()[0], &[]);
    let mut connection = server.connect();
    send(&mut connection, &sleeper(12.0), SERVER_SENT);
    connection.head().expect("a head");
    let mut all = Vec::new();
    loop {
        let chunk = connection.chunk().expect("a chunk");
        if chunk.is_empty() {
            break;
        }
        all.push(String::from_utf8(chunk).expect("ASCII"));
    }
    assert!(all.len() == 3 && all[1] == ":\n\n" && all[2].contains("slept"), "{all:?}");
}

fn a_slow_reader_holds_nobody_up() {
    let server = lean(expected()[0], &[("MAYFLY_MAX_OUTPUT_BYTES", "33554432"), ("MAYFLY_CONCURRENCY", "1")]);
    let (resident, megabytes) = (server.resident(), 24);
    let script = "import sys\ndef main(n):\n    for _ in range(n):\n        sys.stdout.write('x' * (1 << 20))\n    return 'written'";
    let request =
        json!({ "script": script, "args": [megabytes], "limits": { "output_bytes": 33_554_432, "wall_ms": 60_000 } });
    let mut connection = server.connect();
    send(&mut connection, &request, LINES);
    // Nothing is read until the script is over: its place is free for another then.
    server.check("def main():\n    return 1", &json!(1));
    let grown = server.resident().saturating_sub(resident);
    assert!(grown < 16 * 1024, "the server grew by {grown} KiB");
    let events = events(&connection.answer().expect("an answer"));
    let done = &events[events.len() - 1];
    assert_eq!((&done["status"], &done["body"]["result"]), (&json!(200), &json!("written")), "{done}");
    let sent: usize = events.iter().filter_map(|event| event["text"].as_str()).map(str::len).sum();
    let cut = &events[events.len() - 2];
    assert_eq!(*cut, json!({ "type": "truncated", "stdout": { "kept": sent, "total": megabytes << 20 } }));
}

fn who_leaves_ends_the_script() {
    let server = lean(expected()[0], &[("MAYFLY_READY", "1")]);
    let before = server.children();
    let mut connection = server.connect();
    send(&mut connection, &chatty(), SERVER_SENT);
    connection.head().expect("a head");
    first_words(&mut connection);
    let running: Vec<_> = before.into_iter().filter(|child| is_alive(*child)).collect();
    assert!(!running.is_empty());
    drop(connection);
    eventually("the script is dead", || !running.iter().any(|child| is_alive(*child)));
}

fn the_log_tells_what_it_came_to() {
    let server = lean(expected()[0], &[]);
    ask(&mut server.connect(), &json!({ "script": "def main():\n    1 / 0" }), SERVER_SENT);
    let line = server.log().wait_for(|line| line.contains("/execute"), Duration::from_secs(10)).expect("a line");
    assert!(line.contains("status=422") && line.contains("code=\"exception\"") && line.contains("run_ms="), "{line}");
}
