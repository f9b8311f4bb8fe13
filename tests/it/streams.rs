//! What a script finds as its standard input, output and error: streams that can be taken apart as those of plain Python can.
//!
//! The same in every place, and whether the interpreter was warm or not.

use crate::Trial;
use crate::contract::{in_every_place, named};
use crate::levels::Place;
use crate::server::Server;
use serde_json::json;

pub fn trials() -> Vec<Trial> {
    let tests = named![output_can_be_taken_apart, output_of_a_stream_taken_off_arrives];
    let warm = in_every_place("streams", &[("MAYFLY_PRELOAD", "")], &tests);
    let cold = in_every_place("streams-cold", &[("MAYFLY_PRELOAD", ""), ("MAYFLY_START", "cold")], &tests);
    warm.into_iter().chain(cold).collect()
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
