//! `mayfly run` beside its result: output as it comes, standard input, the whole answer, and its end by a signal.

use crate::cli::{File, said, setup};
use driver::process::Process;
use driver::server::eventually;
use driver::tests;
use libtest_mimic::Trial;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

pub fn trials() -> Vec<Trial> {
    tests![
        output_is_there_while_the_script_runs,
        all_output_comes_before_the_result,
        a_slow_reader_gets_all_of_it_and_holds_nobody_up,
        the_result_is_a_line_of_its_own,
        a_failure_is_told_after_the_output,
        what_is_piped_in_is_the_scripts_input,
        other_input_is_left_alone,
        input_that_no_request_may_have_is_refused,
        the_whole_answer_is_json,
        a_reader_that_leaves_ends_the_script,
        a_signal_ends_it_and_all_that_it_started,
        a_signal_ends_the_wait_for_input,
    ]
}

/// Limits that no test reaches.
const AMPLE: [&str; 4] = ["--wall-ms", "60000", "--cpu-ms", "60000"];

fn command(script: &File, more: &[&str]) -> Command {
    let mut command = setup().command(&[&["run", script.path()], more].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(script: &str, more: &[&str]) -> (Option<i32>, String, String) {
    said(&command(&File::new(script), more).output().expect("it starts"))
}

/// With this piped in, as `echo … | mayfly run` has it.
fn piped(script: &str, more: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let script = File::new(script);
    let mut process = command(&script, more).stdin(Stdio::piped()).spawn().expect("it starts");
    // It may end before it has read all of it.
    let _ = process.stdin.take().expect("a pipe").write_all(input);
    said(&process.wait_with_output().expect("it ends"))
}

fn line(from: impl Read) -> String {
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line).expect("a line");
    line
}

fn output_is_there_while_the_script_runs() {
    let script =
        "import sys, time\ndef main():\n    print('out')\n    print('err', file=sys.stderr)\n    time.sleep(60)";
    let script = File::new(script);
    let mut process = command(&script, &AMPLE).spawn().expect("it starts");
    let said = (line(process.stdout.take().expect("a pipe")), line(process.stderr.take().expect("a pipe")));
    assert!(process.try_wait().expect("a child of ours").is_none(), "the script sleeps");
    kill(pid(&process), Signal::SIGTERM).expect("it is there");
    assert_eq!(process.wait().expect("it ends").code(), Some(128 + Signal::SIGTERM as i32));
    assert_eq!(said, ("out\n".to_owned(), "err\n".to_owned()));
}

fn all_output_comes_before_the_result() {
    let script = "import sys\ndef main():\n    for i in range(30_000):\n        print(i)\n    sys.stdout.buffer.write(b'\\xff\\n')\n    \
                  print('last', file=sys.stderr)\n    return 'result'";
    let Output { status, stdout, stderr } = command(&File::new(script), &AMPLE).output().expect("it starts");
    let mut expected: Vec<u8> = (0..30_000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    expected.extend_from_slice(b"\xff\n\"result\"\n");
    assert!(stdout == expected, "{} of {} bytes", stdout.len(), expected.len());
    assert_eq!((status.code(), stderr.as_slice()), (Some(0), b"last\n".as_slice()));
}

fn a_slow_reader_gets_all_of_it_and_holds_nobody_up() {
    let script = "import sys\ndef main():\n    sys.stdout.write('x' * (1 << 20) + '\\n')\n    sys.stdout.flush()\n    \
                  print('written', file=sys.stderr)";
    for flags in [OFlag::empty(), OFlag::O_NONBLOCK] {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        fcntl(&writer, FcntlArg::F_SETFL(flags)).expect("a flag");
        let script = File::new(script);
        // The command, which has the pipe open too, is gone after this.
        let mut process = command(&script, &AMPLE).stdout(writer).spawn().expect("it starts");
        // Far more than a pipe holds is written, and nothing is read yet.
        assert_eq!(line(process.stderr.take().expect("a pipe")), "written\n");
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("all of it");
        assert_eq!((read.len(), &read[1 << 20..]), ((1 << 20) + 6, b"\nnull\n".as_slice()), "{flags:?}");
        assert_eq!(process.wait().expect("it ends").code(), Some(0));
    }
}

fn the_result_is_a_line_of_its_own() {
    let (status, stdout, stderr) = run("def main():\n    print('no end', end='')\n    return 1", &[]);
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), "no end\n1\n", ""));
}

fn a_failure_is_told_after_the_output() {
    let script = "import sys\ndef main():\n    print('said')\n    print('warned', end='', file=sys.stderr)\n    1 / 0";
    let (status, stdout, stderr) = run(script, &[]);
    assert_eq!((status, stdout.as_str()), (Some(1), "said\n"), "{stderr}");
    assert!(stderr.starts_with("warned\nTraceback (most recent call last):\n"), "{stderr}");
    assert!(stderr.ends_with("\nZeroDivisionError: division by zero\n"), "{stderr}");
    // A hint in the error's message, and one beside it.
    let (_, _, stderr) = run("import socket\ndef main():\n    socket.socket()", &[]);
    assert!(stderr.ends_with("Operation not permitted\n(there is no network here)\n"), "{stderr}");
    let (_, _, stderr) = run("def main():\n    input()", &[]);
    assert!(stderr.contains("\nEOFError: EOF when reading a line\ninput() reads "), "{stderr}");
}

const READER: &str = "import sys\ndef main():\n    return sys.stdin.read()";

fn what_is_piped_in_is_the_scripts_input() {
    let (status, stdout, stderr) = piped(READER, &[], "h\u{e9}llo\nyou".as_bytes());
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), "\"h\u{e9}llo\\nyou\"\n", ""));
    let input = File::new("from a file\n");
    let from_file = || std::fs::File::open(input.path()).expect("a file");
    let output = command(&File::new(READER), &[]).stdin(from_file()).output().expect("it starts");
    assert_eq!(said(&output), (Some(0), "\"from a file\\n\"\n".to_owned(), String::new()));
}

fn other_input_is_left_alone() {
    // No input: as every test that pipes none in, from /dev/null.
    assert_eq!(run(READER, &[]), (Some(0), "\"\"\n".to_owned(), String::new()));
    let named = File::new("named");
    let (status, stdout, stderr) = piped(READER, &["--stdin", named.path()], b"piped");
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), "\"named\"\n", ""));
    let (status, stdout, stderr) = piped(READER, &["--stdin", "/dev/null"], b"\xff");
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), "\"\"\n", ""));
}

fn input_that_no_request_may_have_is_refused() {
    let cases: [(&[u8], &str); 2] =
        [(&[b'x'; 101], "larger than 100 bytes (MAYFLY_BODY_BYTES)"), (b"caf\xe9", "not text in UTF-8")];
    for (input, piece) in cases {
        let (status, stdout, stderr) = piped(READER, &["--body-bytes", "100"], input);
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(piece) && stderr.contains("--stdin /dev/null"), "{stderr}");
    }
    let (status, stdout, stderr) = piped(READER, &["--body-bytes", "100"], &[b'x'; 100]);
    assert_eq!((status, stdout), (Some(0), format!("\"{}\"\n", "x".repeat(100))), "{stderr}");
}

fn the_whole_answer_is_json() {
    let whole = |script: &str, more: &[&str]| {
        let (status, stdout, stderr) = run(script, &[&["--json"], more].concat());
        assert!(stderr.is_empty() && stdout.ends_with("}\n") && stdout.lines().count() == 1, "{stdout}{stderr}");
        (status, serde_json::from_str::<Value>(&stdout).expect("JSON"))
    };
    let script =
        "import sys\ndef main():\n    print('out')\n    print('err', file=sys.stderr)\n    return [float('inf')]";
    let (status, answer) = whole(script, &[]);
    assert_eq!((status, &answer["result"]), (Some(0), &json!([null])), "{answer}");
    assert_eq!((&answer["stdout"], &answer["stderr"]), (&json!("out\n"), &json!("err\n")), "{answer}");
    assert!(answer["notes"].is_array() && answer["usage"]["wall_ms"].is_number(), "{answer}");
    assert!(answer["isolation"].is_string(), "{answer}");
    let (status, answer) = whole("def main():\n    print('x' * 100)\n    input()", &["--output-bytes", "10"]);
    assert_eq!((status, &answer["code"]), (Some(1), &json!("exception")), "{answer}");
    assert_eq!(answer["truncated"], json!({ "stdout": { "kept": 10, "total": 101 } }), "{answer}");
    assert!(answer["hint"].is_string() && answer["exception"]["traceback"].is_string(), "{answer}");
    let (status, answer) = whole("import time\ntime.sleep(60)", &["--wall-ms", "300"]);
    assert_eq!((status, &answer["code"]), (Some(124), &json!("timeout")), "{answer}");
    let (status, answer) = whole("def main():\n    return 'x' * 100", &["--result-bytes", "50"]);
    assert_eq!((status, &answer["code"]), (Some(1), &json!("result_too_large")), "{answer}");
}

/// At its limit the script would end with another status.
fn a_reader_that_leaves_ends_the_script() {
    let script = File::new("import time\ndef main():\n    while True:\n        print('y')\n        time.sleep(0.01)");
    let mut process = command(&script, &AMPLE).spawn().expect("it starts");
    assert_eq!(line(process.stdout.take().expect("a pipe")), "y\n");
    let (status, _, stderr) = said(&process.wait_with_output().expect("it ends"));
    assert_eq!((status, stderr.as_str()), (Some(1), ""));
}

fn pid(process: &Child) -> Pid {
    Pid::from_raw(process.id().cast_signed())
}

/// Those that a process has started, and those that they have.
fn started_by(process: i32) -> Vec<i32> {
    let all = Process::all();
    let mut found = vec![process];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(all.iter().filter(|one| one.parent == parent).map(|one| one.pid));
        at += 1;
    }
    found.split_off(1)
}

fn a_signal_ends_it_and_all_that_it_started() {
    let script = File::new("import time\ndef main():\n    print('here')\n    time.sleep(60)");
    let mut process = command(&script, &AMPLE).spawn().expect("it starts");
    assert_eq!(line(process.stdout.take().expect("a pipe")), "here\n");
    let started = started_by(process.id().cast_signed());
    assert!(!started.is_empty());
    kill(pid(&process), Signal::SIGINT).expect("it is there");
    let (status, _, stderr) = said(&process.wait_with_output().expect("it ends"));
    assert_eq!((status, stderr.as_str()), (Some(130), ""));
    let is_left = |pid: &i32| driver::process::is_alive(Pid::from_raw(*pid));
    eventually("all that it started is gone", || !started.iter().any(is_left));
}

/// An open pipe in which nothing comes holds it up, as long as nobody ends it.
fn a_signal_ends_the_wait_for_input() {
    let script = File::new(READER);
    let mut process = command(&script, &[]).stdin(Stdio::piped()).spawn().expect("it starts");
    let catches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it is there");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
        let caught = u64::from_str_radix(caught.trim(), 16).expect("hexadecimal digits");
        [Signal::SIGINT, Signal::SIGTERM].iter().all(|signal| caught & (1 << (*signal as i32 - 1)) != 0)
    };
    eventually("it listens for signals", catches);
    kill(pid(&process), Signal::SIGINT).expect("it is there");
    let held = process.stdin.take();
    let (status, stdout, stderr) = said(&process.wait_with_output().expect("it ends"));
    drop(held);
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(130), "", ""));
}
