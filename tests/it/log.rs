//! The log costs nobody anything: whoever reads it, or doesn't, and whatever strangers send.
//!
//! Each test starts a server of its own, whose stderr is what the test makes of it.

use crate::group::{CANARY, CANARY_ANSWER};
use driver::client::Connection;
use driver::server::{PATIENCE, Server, Setup, eventually};
use driver::tests;
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};

pub fn trials() -> Vec<Trial> {
    tests![
        a_reader_that_stops_costs_lines,
        a_reader_that_is_gone_costs_lines,
        a_full_disk_costs_lines,
        no_other_crate_speaks_of_a_strangers_frames,
        a_flood_of_one_kind_is_counted_and_not_written,
        each_run_has_a_line,
        health_checks_that_find_all_well_are_silent,
        a_package_that_warns_leaves_the_log_json,
        numbers_are_numbers,
        a_start_that_fails_says_so_in_the_logs_form,
    ]
}

/// More lines than a pipe and the server's own buffers take.
const MANY: usize = 12_000;

/// A server whose log goes somewhere else; ended when dropped.
struct Started {
    process: Child,
    address: SocketAddr,
}

impl Started {
    fn with_log(log: Stdio) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let setup = Setup::new(&[("MAYFLY_PRELOAD", ""), ("MAYFLY_LISTEN", &free.to_string())]);
        let process = setup.command(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().expect("the program starts");
        let started = Self { process, address: free };
        eventually("the server is ready", || {
            Connection::open(free)
                .is_ok_and(|mut connection| connection.request("GET", "/readyz", &[], b"").status == 200)
        });
        started
    }

    /// It serves, and goes on doing so while it has very much to log.
    fn outlives_a_flood(&mut self) {
        let mut connection = Connection::open(self.address).expect("the server accepts");
        for number in 0..MANY {
            // Each a kind that is let through at a rate, and now and then a run, which always is.
            let path = ["/version", "/nosuch", "/execute"][number % 3];
            connection.request("GET", path, &[], b"");
            if number % 10 == 0 {
                let answer = connection.execute(&json!({ "script": CANARY }));
                assert_eq!(answer.json(), json!({ "result": CANARY_ANSWER }));
            }
        }
        assert_eq!(connection.request("GET", "/livez", &[], b"").status, 200);
        assert!(self.process.try_wait().expect("a child of ours").is_none(), "the server lives");
        // And it ends when it is asked to, however its log fares.
        kill(Pid::from_raw(i32::try_from(self.process.id()).expect("a process id")), Signal::SIGTERM)
            .expect("it lives");
        assert_eq!(self.process.wait().expect("a child of ours").code(), Some(0));
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn a_reader_that_stops_costs_lines() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // As small as a pipe gets, so that little is enough to fill it.
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).expect("a small pipe");
    Started::with_log(writer.into()).outlives_a_flood();
    drop(reader);
}

fn a_reader_that_is_gone_costs_lines() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut started = Started::with_log(writer.into());
    drop(reader);
    started.outlives_a_flood();
}

fn a_full_disk_costs_lines() {
    let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
    Started::with_log(full.into()).outlives_a_flood();
}

fn lean(settings: &[(&str, &str)]) -> Server {
    Server::start(&[&[("MAYFLY_PRELOAD", "")], settings].concat())
}

fn no_other_crate_speaks_of_a_strangers_frames() {
    let server = lean(&[]);
    let mut stranger = server.connect();
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for _ in 0..100 {
        // The answer to a PING that nobody sent.
        frames.extend_from_slice(b"\0\0\x08\x06\x01\0\0\0\0unasked!");
    }
    // One that is asked for, whose answer shows that the others were read.
    frames.extend_from_slice(b"\0\0\x08\x06\0\0\0\0\0answered");
    stranger.send(&frames).expect("sent");
    let mut read = Vec::new();
    while !read.windows(8).any(|piece| piece == b"answered") {
        let mut piece = [0; 1024];
        let length = stranger.stream().read(&mut piece).expect("an answer");
        assert!(length > 0, "the connection ended");
        read.extend_from_slice(&piece[..length]);
    }
    server.check(CANARY, &json!(CANARY_ANSWER));
    server.log().wait_for(|line| line.contains("/execute"), PATIENCE).expect("the line of the last request");
    let lines = server.log().lines();
    let strange: Vec<_> = lines.iter().filter(|line| line.contains("PING") || line.contains("ping")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

fn a_flood_of_one_kind_is_counted_and_not_written() {
    const FLOOD: usize = 3000;
    let server = lean(&[("MAYFLY_LOG", "json")]);
    let mut connection = server.connect();
    for _ in 0..FLOOD {
        assert_eq!(connection.request("GET", "/nosuch", &[], b"").status, 404);
    }
    let written = || -> (usize, u64) {
        let lines: Vec<Value> =
            server.log().lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let left_out = lines.iter().filter(|line| line["kind"] == "request not_found");
        (
            lines.iter().filter(|line| line["code"] == "not_found").count(),
            left_out.map(|line| line["lines"].as_u64().expect("a number")).sum(),
        )
    };
    eventually("each line is written or counted", || {
        let (lines, left_out) = written();
        lines + usize::try_from(left_out).expect("a count") == FLOOD
    });
    let (_, left_out) = written();
    assert!(left_out > 0, "a flood is not written line by line");
}

fn each_run_has_a_line() {
    const RUNS: usize = 400;
    let server = lean(&[]);
    let mut connection = server.connect();
    for _ in 0..RUNS {
        assert_eq!(connection.execute(&json!({ "script": CANARY })).status, 200);
    }
    let runs = || server.log().lines().iter().filter(|line| line.contains("run_ms=")).count();
    eventually("each run has its line", || runs() == RUNS);
}

fn health_checks_that_find_all_well_are_silent() {
    let server = lean(&[]);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(server.get(path).status, 200);
    }
    server.connect().request("POST", "/readyz", &[], b"");
    server.log().wait_for(|line| line.contains("status=405"), PATIENCE).expect("one that is wrong has a line");
    let lines = server.log().lines();
    assert!(lines.iter().any(|line| line.contains("route=\"/version\"")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("z\" status=200")), "{lines:?}");
}

/// What a package writes to stderr while it is imported, and where its server logs.
fn with_a_package(source: &str, then: impl FnOnce(Server)) {
    let home = std::env::temp_dir().join(format!("mayfly-warning-{}", std::process::id()));
    std::fs::create_dir_all(&home).expect("a directory");
    std::fs::write(home.join("warning.py"), source).expect("a file");
    let path = home.display().to_string();
    then(Server::start(&[("MAYFLY_PRELOAD", "warning"), ("MAYFLY_PACKAGES", &path), ("MAYFLY_LOG", "json")]));
    std::fs::remove_dir_all(home).expect("our own directory");
}

fn a_package_that_warns_leaves_the_log_json() {
    let source = "import sys, warnings\nwarnings.warn('all is \"old\"\\x1b[31m')\nprint('x' * 5000, file=sys.stderr)\n";
    with_a_package(source, |server| {
        server.log().wait_for(|line| line.contains("xxx"), PATIENCE).expect("the package's second line");
        for line in server.log().lines() {
            assert!(line.len() < 2000, "{} bytes", line.len());
            let _: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        let line = server.log().wait_for(|line| line.contains("all is"), PATIENCE).expect("its warning");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["level"], "WARN", "{line}");
        assert!(line["text"].as_str().is_some_and(|text| text.contains("all is \"old\"")), "{line}");
    });
}

fn numbers_are_numbers() {
    let server = lean(&[("MAYFLY_LOG", "json")]);
    let line = server.log().wait_for(|line| line.contains("\"warm\",\"zygote\""), PATIENCE).expect("a line");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert!(line["ms"].is_u64(), "{line}");
}

fn a_start_that_fails_says_so_in_the_logs_form() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = Setup::new(&[("MAYFLY_LOG", "json"), ("MAYFLY_LISTEN", &address)]).run(&["serve"]);
    assert_eq!(output.status.code(), Some(78));
    let lines: Vec<String> = BufReader::new(&output.stderr[..]).lines().map(|line| line.expect("text")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line: Value = serde_json::from_str(&lines[0]).unwrap_or_else(|error| panic!("{error}: {lines:?}"));
    assert!(line["message"].as_str().is_some_and(|message| message.contains(&address)), "{line}");
}
