//! What a script finds as its standard input, output and error: streams that can be taken apart as those of plain Python can.
//!
//! The same in every place, and whether the interpreter was warm or not.

use crate::contract::{in_every_place, named};
use driver::places::{Place, attacked, expected};
use driver::server::Server;
use driver::trial::trial;
use libtest_mimic::Trial;
use serde_json::json;

pub fn trials() -> Vec<Trial> {
    let tests = named![
        output_can_be_taken_apart,
        output_of_a_stream_taken_off_arrives,
        input_can_be_read_in_every_way,
        input_is_never_cut,
        no_input_is_an_empty_one,
    ];
    let warm = in_every_place("streams", &[("MAYFLY_PRELOAD", "")], &tests);
    let cold = in_every_place("streams-cold", &[("MAYFLY_PRELOAD", ""), ("MAYFLY_START", "cold")], &tests);
    let mut trials: Vec<Trial> = warm.into_iter().chain(cold).collect();
    if attacked().contains(&Place::NoFiles) {
        trials.push(trial("streams::no-files::input_can_be_read", input_can_be_read_without_files));
    }
    trials.push(trial("streams::input_that_does_not_fit_in_tmp", input_that_does_not_fit_in_tmp));
    trials
}

/// Runs a script for either stream, which it is given by name, and compares what was written to it.
#[track_caller]
fn check_outputs(server: &Server, script: &str, result: bool, written: &str) {
    for name in ["stdout", "stderr"] {
        let answer = server.execute(&json!({ "script": script, "args": [name], "include": [name] })).json();
        assert_eq!(answer, json!({ "result": result, name: written }), "{name}");
    }
}

fn output_can_be_taken_apart(server: &Server, _: Place) {
    let scripts = [
        "stream.reconfigure(encoding='utf-8')\n    setattr(sys, name, stream)",
        "stream.reconfigure(encoding='utf-8', errors='strict', newline='\\n', line_buffering=True)",
        "setattr(sys, name, io.TextIOWrapper(stream.buffer, encoding='utf-8'))",
        "setattr(sys, name, io.TextIOWrapper(stream.detach(), encoding='utf-8', line_buffering=True))",
        "setattr(sys, name, codecs.getwriter('utf-8')(stream.detach()))",
        "setattr(sys, name, open(stream.fileno(), 'w', encoding='utf-8', closefd=False))",
    ];
    for change in scripts {
        let script = format!(
            "import codecs, io, sys\ndef main(name):\n    stream = getattr(sys, name)\n    print('first', file=stream)\n    \
             {change}\n    print('d\u{e9}j\u{e0}', file=getattr(sys, name))\n    \
             return getattr(sys, name).seekable()"
        );
        check_outputs(server, &script, false, "first\nd\u{e9}j\u{e0}\n");
    }
}

fn output_of_a_stream_taken_off_arrives(server: &Server, _: Place) {
    let script = "import sys\ndef main(name):\n    taken = getattr(sys, name).detach()\n    taken.write(b'bytes')\n    return taken.seekable()";
    check_outputs(server, script, false, "bytes");
}

/// Ways to read all of standard input as bytes.
const WAYS: &[&str] = &[
    "sys.stdin.read().encode()",
    "sys.stdin.buffer.read()",
    "open(0).read().encode()",
    "open(0, 'rb').read()",
    "open(sys.stdin.fileno(), closefd=False, newline='').read().encode()",
    "b''.join(open(0, 'rb'))",
    "os.read(0, 1 << 22)",
    "io.BytesIO(os.read(0, os.fstat(0).st_size)).read()",
    "os.fdopen(0, 'rb', 0).read()",
    "b''.join(iter(lambda: os.read(0, 1000), b''))",
    "'\\n'.join(iter(lambda: next(lines, None), None)).encode()",
];

/// Reads standard input and tells its length and its ends.
fn reader(way: &str) -> String {
    format!(
        "import io, os, sys\nlines = (line.rstrip('\\n') for line in sys.stdin)\n\
         def main():\n    data = {way}\n    return [len(data), data[:9].decode(), data[-3:].decode()]"
    )
}

fn input_can_be_read_in_every_way(server: &Server, place: Place) {
    for way in WAYS {
        // Larger than a pipe, and than any buffer of Python's.
        let text = "3 d\u{e9}j\u{e0}\n".to_owned() + &"12 34\n".repeat(20_000) + "end";
        let expected = json!({ "result": [text.len(), "3 d\u{e9}j\u{e0}\n", "end"] });
        server.check_request(&json!({ "script": reader(way), "stdin": text }), 200, &expected);
    }
    // As everywhere, who reads by line has read ahead.
    let script = "import sys\ndef main():\n    return [input(), open(0, closefd=False).read(), sys.stdin.read(), sys.stdin.name, sys.stdin.fileno()]";
    let expected = json!({ "result": ["one", "", "two", "<stdin>", 0] });
    server.check_request(&json!({ "script": script, "stdin": "one\ntwo" }), 200, &expected);
    // Nothing is left of how it came there.
    let script = "import os\ndef main():\n    return os.listdir('/tmp')";
    server.check_request(&json!({ "script": script, "stdin": "text" }), 200, &json!({ "result": [] }));
    let script = "import sys\ndef main():\n    first = sys.stdin.read()\n    return [first, sys.stdin.seek(0), sys.stdin.read()]";
    if place.has_tmp() {
        let expected = json!({ "result": ["text", 0, "text"] });
        server.check_request(&json!({ "script": script, "stdin": "text" }), 200, &expected);
    }
}

fn input_can_be_read_without_files() {
    let server = Place::NoFiles.setup(&[("MAYFLY_PRELOAD", "")]).start();
    for way in WAYS {
        let answer = server.execute(&json!({ "script": reader(way), "stdin": "one\ntwo" })).json();
        // The C library's fstat is a call by path up to glibc 2.38.
        if way.contains("fstat") && answer["result"].is_null() {
            assert_eq!(answer["exception"]["type"], "PermissionError", "{answer}");
        } else {
            assert_eq!(answer["result"], json!([7, "one\ntwo", "two"]), "{way}: {answer}");
        }
    }
}

/// A text too large for a socket is read by `sys.stdin` all the same, and descriptor 0 says that it does not have it.
fn input_is_never_cut(server: &Server, place: Place) {
    let text = "x".repeat(1_900_000) + "end";
    let whole = json!([text.len(), "xxxxxxxxx", "end"]);
    for way in WAYS {
        let answer = server.execute(&json!({ "script": reader(way), "stdin": text })).json();
        if place.has_tmp() || way.contains("sys.stdin.read") || way.contains("buffer") || way.contains("lines") {
            assert_eq!(answer["result"], whole, "{way}: {answer}");
        } else {
            let error = answer["error"].as_str().unwrap_or_default();
            assert!(
                error.starts_with("OSError: [Errno 9] Bad file descriptor") || error.contains("fileno"),
                "{way}: {answer}"
            );
        }
    }
}

fn input_that_does_not_fit_in_tmp() {
    let text = "x".repeat(1_900_000) + "end";
    for place in expected().into_iter().filter(|place| place.has_tmp()) {
        let server = place.setup(&[("MAYFLY_PRELOAD", ""), ("MAYFLY_TMP_MB", "1")]).start();
        let request = json!({ "script": reader("sys.stdin.read().encode()"), "stdin": text });
        server.check_request(&request, 200, &json!({ "result": [text.len(), "xxxxxxxxx", "end"] }));
        let answer = server.execute(&json!({ "script": reader("open(0).read().encode()"), "stdin": text })).json();
        assert_eq!(answer["exception"]["message"], "[Errno 9] Bad file descriptor", "{answer}");
        let script = "def main():\n    open('/tmp/mine', 'w').write('x' * 1_000_000)";
        server.check_request(&json!({ "script": script, "stdin": text }), 200, &json!({ "result": null }));
    }
}

fn no_input_is_an_empty_one(server: &Server, _: Place) {
    for way in WAYS {
        server.check(&reader(way), &json!([0, "", ""]));
    }
}
