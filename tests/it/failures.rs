//! How scripts fail: each code of a 422, the limits, and what a traceback shows.

use crate::contract::{in_every_place, named};
use driver::places::Place;
use driver::server::Server;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub fn trials() -> Vec<Trial> {
    in_every_place(
        "failures",
        &[("MAYFLY_PRELOAD", "")],
        &named![
            an_exception_is_described_to_the_line,
            a_syntax_error_has_line_column_and_caret,
            causes_are_chained,
            a_traceback_shows_the_lines_that_python_shows,
            a_traceback_has_no_frame_of_ours,
            what_fails_beside_main_shows_its_lines,
            what_went_wrong_before_main_is_told_too,
            no_main_is_told,
            sys_exit_is_exited,
            leaving_the_process_is_exited,
            the_wall_clock_stops_a_sleeper,
            a_request_sets_its_own_wall_clock,
            processor_time_is_counted,
            threads_share_one_processor_time,
            memory_is_limited,
            memory_that_ran_out_is_said_whatever_python_calls_it,
            memory_that_is_there_is_not_said_to_have_run_out,
            a_request_sets_its_own_memory,
            products_that_have_no_work_buffer_end_at_once,
            a_job_that_does_not_fit_in_memory_is_told,
            a_result_that_does_not_fit_in_memory_is_told,
            output_is_cut_and_said_to_be,
            a_character_is_not_cut_in_two,
            no_output_is_kept_when_none_is_asked_for,
            a_flood_is_stopped,
            a_large_result_is_refused,
            the_largest_result_is_served,
            what_json_cannot_hold_is_named_by_its_path,
            a_forbidden_call_is_blocked,
            what_the_jail_refuses_is_told,
            a_hint_says_what_was_refused,
            a_crash_is_told,
            a_script_can_interrupt_itself,
            signals_to_itself_do_not_end_it,
            a_script_never_causes_a_5xx,
            two_scripts_do_not_meet,
            nothing_is_there_for_the_next,
        ],
    )
}

fn an_exception_is_described_to_the_line(server: &Server, _: Place) {
    let script = "def divide(a, b):\n    return a / b\n\ndef main():\n    return divide(1, 0)\n";
    let failed = server.check_fails(script, "exception");
    assert_eq!(failed["error"], "ZeroDivisionError: division by zero");
    let exception = &failed["exception"];
    assert_eq!((&exception["type"], &exception["message"]), (&json!("ZeroDivisionError"), &json!("division by zero")));
    assert_eq!(exception["line"], 2);
    let traceback = exception["traceback"].as_str().expect("text");
    let pieces = [
        "Traceback (most recent call last):\n",
        "  File \"main.py\", line 5, in main\n    return divide(1, 0)\n",
        "  File \"main.py\", line 2, in divide\n    return a / b\n",
        "ZeroDivisionError: division by zero",
    ];
    let places: Vec<_> = pieces.iter().map(|piece| traceback.find(piece)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{traceback}");
    let keys: Vec<&str> = failed.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["code", "error", "exception"]);
}

fn a_syntax_error_has_line_column_and_caret(server: &Server, _: Place) {
    let failed = server.check_fails("def main():\n    return 1 +\n", "syntax_error");
    let exception = &failed["exception"];
    assert_eq!((&exception["type"], &exception["line"]), (&json!("SyntaxError"), &json!(2)));
    assert!(exception["column"].as_u64().is_some_and(|column| column > 11), "{exception}");
    let traceback = exception["traceback"].as_str().expect("text");
    assert!(traceback.contains("File \"main.py\", line 2\n    return 1 +\n"), "{traceback}");
    assert!(traceback.lines().any(|line| line.trim() == "^"), "{traceback}");
}

fn causes_are_chained(server: &Server, _: Place) {
    let script =
        "def main():\n    try:\n        {}['k']\n    except KeyError as e:\n        raise ValueError('bad') from e\n";
    let failed = server.check_fails(script, "exception");
    let traceback = failed["exception"]["traceback"].as_str().expect("text");
    let pieces =
        ["KeyError: 'k'", "The above exception was the direct cause of the following exception:", "ValueError: bad"];
    let places: Vec<_> = pieces.iter().map(|piece| traceback.find(piece)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{traceback}");
    assert_eq!(failed["exception"]["line"], 5);
}

/// What the Python that Mayfly embeds prints when it runs `script` from a file.
fn plain_traceback(script: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let chosen = Command::new("tools/python.sh").current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("a shell");
    let python = String::from_utf8_lossy(&chosen.stdout).trim_end().to_owned();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("mayfly-plain-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a directory of our own");
    std::fs::write(folder.join("main.py"), script).expect("a file of our own");
    let run = Command::new(&python).args(["-I", "main.py"]).current_dir(&folder).output().expect("the chosen Python");
    std::fs::remove_dir_all(&folder).expect("a directory of our own");
    String::from_utf8_lossy(&run.stderr).replace(&format!("{}/", folder.display()), "")
}

fn a_traceback_shows_the_lines_that_python_shows(server: &Server, _: Place) {
    let unix = "# one\ndef half(x):\n    return 1 / x\n\nx = [half(0)]\n";
    let odd =
        "# \u{c} \u{b} \u{1c} \u{1d} \u{1e} \u{85} \u{2028} \u{2029}\n\u{c}\nname = '\u{2028}'\nx = [1 / 0]\ny = 2\n";
    let scripts = [
        unix.to_owned(),
        unix.trim_end().to_owned(),
        unix.replace('\n', "\r\n"),
        unix.trim_end().replace('\n', "\r\n"),
        unix.replace('\n', "\r"),
        unix.replacen('\n', "\r", 3),
        odd.to_owned(),
        odd.replace('\n', "\r\n"),
        format!("\u{feff}{unix}"),
        "x = 1\r\nclass Broken(Exception): pass\r\nraise Broken('a\\r\\nb')".to_owned(),
    ];
    for script in scripts {
        let failed = server.check_fails(&script, "exception");
        assert_eq!(failed["exception"]["traceback"], plain_traceback(&script), "{script:?}");
    }
    for script in ["x = 1\ny = (2 +", "# \u{2028}\r\nx = = 2\r\n", "def f():\r    return\r x = 1", "x = 1\nreturn x"] {
        let failed = server.check_fails(script, "syntax_error");
        assert_eq!(failed["exception"]["traceback"], plain_traceback(script), "{script:?}");
    }
}

fn a_traceback_has_no_frame_of_ours(server: &Server, _: Place) {
    let scripts = [
        "1 / 0",
        "def main():\n    1 / 0",
        "async def main():\n    1 / 0",
        "def main(missing):\n    pass",
        "import json\ndef main():\n    json.loads('{')",
        "def main():\n    main()",
        "import asyncio\nasync def main():\n    async with asyncio.TaskGroup() as group:\n        group.create_task(asyncio.sleep('x'))",
    ];
    for script in scripts {
        let failed = server.check_fails(script, "exception");
        let traceback = failed["exception"]["traceback"].as_str().expect("text").to_owned();
        // Where the jail root is not the script's own root, the standard library's files have the jail root's path in front.
        let without_root = traceback.replace(&server.root().display().to_string(), "");
        assert!(!without_root.to_lowercase().contains("mayfly"), "{traceback}");
        assert!(!traceback.contains("runner.py") && !traceback.contains("<string>"), "{traceback}");
    }
}

fn what_fails_beside_main_shows_its_lines(server: &Server, _: Place) {
    let thread = "import threading\ndef work(x):\n    return 1 / x\ndef main():\n    thread = threading.Thread(target=work, args=(0,), name='mine')\n    thread.start()\n    thread.join()";
    let bare = "import _thread, time\ndef work(x):\n    return 1 / x\ndef main():\n    _thread.start_new_thread(work, (0,))\n    time.sleep(0.2)";
    let finaliser = "class Broken:\n    def __del__(self):\n        return 1 / 0\ndef main():\n    Broken()";
    let cases = [
        (
            thread,
            "Exception in thread mine:\nTraceback (most recent call last):\n",
            "line 3, in work\n    return 1 / x\n           ~~^~~\n",
        ),
        (bare, "Exception ignored in thread started by", "line 3, in work\n    return 1 / x\n           ~~^~~\n"),
        (finaliser, "Exception ignored ", "line 3, in __del__\n    return 1 / 0\n           ~~^~~\n"),
    ];
    for (script, start, line) in cases {
        let answer = server.execute(&json!({ "script": script, "include": ["stderr"] })).json();
        let printed = answer["stderr"].as_str().unwrap_or_default();
        assert!(printed.starts_with(start), "{answer}");
        assert!(printed.ends_with(&format!("{line}ZeroDivisionError: division by zero\n")), "{answer}");
        assert!(!printed.contains("<mayfly>"), "{answer}");
    }
    // Its end is no failure, and a hook of the script's own is called instead.
    let script = "import sys, threading\ndef run(target):\n    thread = threading.Thread(target=target)\n    thread.start()\n    thread.join()\n\
                  def main():\n    run(sys.exit)\n    threading.excepthook = lambda failed: print(failed.exc_type.__name__, file=sys.stderr)\n    run(lambda: 1 / 0)";
    let answer = server.execute(&json!({ "script": script, "include": ["stderr"] })).json();
    assert_eq!(answer, json!({ "result": null, "stderr": "ZeroDivisionError\n" }));
}

fn what_went_wrong_before_main_is_told_too(server: &Server, _: Place) {
    let failed = server.check_fails("x = 1\nraise KeyError('early')\ndef main():\n    pass", "exception");
    assert_eq!((&failed["exception"]["type"], &failed["exception"]["line"]), (&json!("KeyError"), &json!(2)));
}

fn no_main_is_told(server: &Server, _: Place) {
    for script in ["", "x = 1", "def Main():\n    pass", "main = 5", "if __name__ == '__main__':\n    main = len"] {
        let failed = server.check_fails(script, "no_main");
        assert!(failed["error"].as_str().is_some_and(|error| error.contains("main")), "{failed}");
    }
}

fn sys_exit_is_exited(server: &Server, _: Place) {
    for script in ["import sys\ndef main():\n    sys.exit(0)", "raise SystemExit('x')", "def main():\n    exit(3)"] {
        let failed = server.check_fails(script, "exited");
        assert!(failed["error"].as_str().is_some_and(|error| error.contains("exit")), "{failed}");
    }
}

fn leaving_the_process_is_exited(server: &Server, _: Place) {
    for status in [0, 1, 70, 255] {
        let failed = server.check_fails(&format!("import os\ndef main():\n    os._exit({status})"), "exited");
        assert!(failed["error"].as_str().is_some_and(|error| error.contains(&status.to_string())), "{failed}");
    }
}

/// The answer and how long it took.
fn timed(server: &Server, request: &Value) -> (Value, Duration) {
    let began = Instant::now();
    let answer = server.execute(request);
    assert_eq!(answer.status, 422, "{}", answer.text());
    (answer.json(), began.elapsed())
}

#[track_caller]
fn lasted(took: Duration, from: u64, to: u64) {
    assert!(
        took >= Duration::from_millis(from) && took < Duration::from_millis(to),
        "took {took:?}, not {from} to {to} ms"
    );
}

fn the_wall_clock_stops_a_sleeper(server: &Server, _: Place) {
    let (failed, took) = timed(server, &json!({ "script": "import time\ndef main():\n    time.sleep(1e6)" }));
    assert_eq!(failed["code"], "timeout");
    assert_eq!(failed["error"], "the script ran longer than 5000 ms and was stopped");
    lasted(took, 5000, 8000);
}

fn a_request_sets_its_own_wall_clock(server: &Server, _: Place) {
    for body in [
        "import time\ntime.sleep(60)\ndef main():\n    pass",
        "import time\ndef main():\n    while True:\n        time.sleep(0.01)",
    ] {
        let (failed, took) = timed(server, &json!({ "script": body, "limits": { "wall_ms": 300 } }));
        assert_eq!(failed["code"], "timeout");
        assert_eq!(failed["error"], "the script ran longer than 300 ms and was stopped");
        lasted(took, 300, 3000);
    }
    let slow = "import time\ndef main():\n    time.sleep(5.5)\n    return 1";
    server.check_request(&json!({ "script": slow, "limits": { "wall_ms": 20_000 } }), 200, &json!({ "result": 1 }));
}

fn processor_time_is_counted(server: &Server, _: Place) {
    let (failed, took) =
        timed(server, &json!({ "script": "while True:\n    pass", "limits": { "cpu_ms": 300, "wall_ms": 20_000 } }));
    assert_eq!(failed["code"], "cpu_limit", "{failed}");
    assert_eq!(failed["error"], "the script used more than 300 ms of processor time and was stopped");
    lasted(took, 300, 10_000);
    // Sleeping costs none.
    let sleeper = "import time\ndef main():\n    time.sleep(0.6)\n    return 1";
    server.check_request(&json!({ "script": sleeper, "limits": { "cpu_ms": 300 } }), 200, &json!({ "result": 1 }));
}

fn threads_share_one_processor_time(server: &Server, _: Place) {
    let script = "import threading, hashlib\ndef burn():\n    while True:\n        hashlib.pbkdf2_hmac('sha256', b'x', b'y', 20000)\n\
                  def main():\n    for _ in range(3):\n        threading.Thread(target=burn).start()\n    burn()";
    let (failed, _) = timed(server, &json!({ "script": script, "limits": { "cpu_ms": 600, "wall_ms": 20_000 } }));
    assert_eq!(failed["code"], "cpu_limit", "{failed}");
}

fn memory_is_limited(server: &Server, _: Place) {
    for (script, asked) in [
        ("def main():\n    return len(bytearray(1 << 34))", "16384MB were asked for, "),
        (
            "def main():\n    held = []\n    while True:\n        held.append(bytearray(1 << 20))",
            "1MB were asked for, ",
        ),
    ] {
        let failed = server.check_fails(script, "memory_limit");
        let sentence = format!("MemoryError (memory ran out: {asked}the limit is 256MB; limits.memory_mb sets it)");
        assert_eq!(failed["error"], sentence);
        assert_eq!(failed["exception"]["message"], "");
    }
    // A script may catch it.
    let script = "def main():\n    try:\n        bytearray(1 << 34)\n    except MemoryError:\n        return 'caught'";
    server.check(script, &json!("caught"));
}

fn memory_that_ran_out_is_said_whatever_python_calls_it(server: &Server, _: Place) {
    let scripts = [
        "import mmap\ndef main():\n    return len(mmap.mmap(-1, 1 << 30))",
        "import threading, time\ndef main():\n    held = bytearray(245 << 20)\n    for _ in range(40):\n        threading.Thread(target=time.sleep, args=(9,)).start()",
        "def main():\n    return [0] * (1 << 61)",
        "import mmap\ndef main():\n    held = []\n    size = 128 << 20\n    while size > 4096:\n        try:\n            held.append(mmap.mmap(-1, size))\n        except OSError:\n            size //= 2\n    import ctypes\n    ctypes.CDLL('libcrypto.so.3')\n    import _ssl, _hashlib, _sqlite3, _decimal, _lzma, _bz2, _elementtree",
    ];
    for script in scripts {
        let failed = server.check_fails(script, "memory_limit");
        let error = failed["error"].as_str().unwrap_or_default();
        assert!(error.contains("(memory ran out") && error.contains("limits.memory_mb"), "{script}: {failed}");
    }
    let script = "import sys\nsys.setrecursionlimit(10**9)\ndef main():\n    main()";
    let limits = json!({ "memory_mb": 16, "wall_ms": 20_000, "cpu_ms": 20_000 });
    let answer = server.execute(&json!({ "script": script, "limits": limits })).json();
    assert_eq!(answer["code"], "memory_limit", "{answer}");
}

fn memory_that_is_there_is_not_said_to_have_run_out(server: &Server, place: Place) {
    let scripts = [
        ("def main():\n    raise MemoryError('mine')", "MemoryError: mine"),
        ("def main():\n    raise MemoryError", "MemoryError"),
        ("def main():\n    raise OSError(12, 'mine')", "OSError: [Errno 12] mine"),
        (
            "import threading, time\ndef main():\n    for _ in range(70):\n        threading.Thread(target=time.sleep, args=(9,)).start()",
            "RuntimeError: can't start new thread (a script can have 64 threads at once, its first included, and no setting changes that)",
        ),
        (
            "import ctypes\ndef main():\n    kind = ctypes.CFUNCTYPE(None)\n    held = [kind(print) for _ in range(5000)]",
            "MemoryError (4,096 callbacks of C code can exist at once)",
        ),
    ];
    for (script, error) in scripts {
        let answer = server.execute(&json!({ "script": script })).json();
        // Where the kernel can't count a script's own threads, the supervisor does, and stops it.
        if answer["code"] == "blocked" && error.contains("threads") && place != Place::Full {
            continue;
        }
        assert_eq!((&answer["code"], &answer["error"]), (&json!("exception"), &json!(error)), "{script}");
    }
    // The parser's stack, which later releases of CPython call by its name.
    let failed = server.check_fails("def main():\n    eval('-' * 20000 + '1')", "exception");
    let error = failed["error"].as_str().unwrap_or_default();
    assert!(
        error.starts_with("MemoryError") && error.ends_with("(the source is nested too deeply to be compiled)"),
        "{failed}"
    );
}

/// `OpenBLAS` asks again without end.
fn products_that_have_no_work_buffer_end_at_once(server: &Server, place: Place) {
    if place == Place::NoFiles {
        // Nothing can be imported there that is not preloaded.
        return;
    }
    let full = "import numpy, mmap\n\
                def main():\n    a = numpy.ones((300, 300))\n    kept = []\n    try:\n        \
                while True: kept.append(mmap.mmap(-1, 1 << 22))\n    except OSError:\n        kept.pop()\n    \
                print('so far', end='')\n    return (a @ a)[0, 0]";
    let answer = server.execute(&json!({ "script": full, "include": ["stdout"], "limits": { "memory_mb": 128 } }));
    let failed = answer.json();
    let error = failed["error"].as_str().unwrap_or_default();
    assert_eq!((answer.status, &failed["code"]), (422, &json!("memory_limit")), "{failed}");
    assert!(
        error.contains("use fewer threads or raise limits.memory_mb (memory ran out: 32MB were asked for"),
        "{error}"
    );
    assert_eq!((&failed["exception"]["line"], &failed["stdout"]), (&json!(10), &json!("so far")), "{failed}");
    // Whether buffers run out depends on how many threads multiply at once. None of them may wait for ever.
    let threads = "import numpy, threading\n\
                   def main(count):\n    a = numpy.ones((300, 300))\n    \
                   threads = [threading.Thread(target=lambda: a @ a) for _ in range(count)]\n    \
                   for thread in threads: thread.start()\n    \
                   for thread in threads: thread.join()\n    return 'done'";
    for (count, memory) in [(2, 64), (9, 64), (9, 256), (63, 256)] {
        let limits = json!({ "memory_mb": memory, "wall_ms": 30_000, "cpu_ms": 30_000 });
        let answer = server.execute(&json!({ "script": threads, "args": [count], "limits": limits }));
        let (status, body) = (answer.status, answer.json());
        assert!(status == 200 || body["code"] == "memory_limit", "{count} threads in {memory}MB: {body}");
    }
}

fn a_request_sets_its_own_memory(server: &Server, _: Place) {
    let script = "def main(megabytes):\n    return len(bytearray(megabytes << 20))";
    let ask = |memory: u64, used: u64| {
        server.execute(&json!({ "script": script, "args": [used], "limits": { "memory_mb": memory } })).json()
    };
    assert_eq!(ask(256, 300)["code"], "memory_limit");
    assert_eq!(ask(512, 300)["result"], 300 << 20);
    assert_eq!(ask(64, 100)["code"], "memory_limit");
    assert_eq!(ask(64, 30)["result"], 30 << 20);
}

fn a_job_that_does_not_fit_in_memory_is_told(server: &Server, _: Place) {
    let script = "def main(*args, **kwargs):\n    return len(args) + len(kwargs)";
    let numbers: Vec<u32> = (0..100_000).collect();
    let texts: Vec<String> = numbers[..50_000].iter().map(|number| format!("text {number}")).collect();
    let names: serde_json::Map<String, Value> = texts.iter().map(|text| (text.clone(), json!(1))).collect();
    let fields = [
        ("stdin", json!("x".repeat(1_900_000)), 0),
        ("args", json!(["x".repeat(1_900_000)]), 1),
        ("args", json!(numbers), numbers.len()),
        ("args", json!(texts), texts.len()),
        ("kwargs", json!(names), names.len()),
    ];
    for (field, value, length) in fields {
        for memory in [1, 3, 8] {
            let request = json!({ "script": script, field: value, "limits": { "memory_mb": memory } });
            let answer = server.execute(&request).json();
            let is_result = answer["result"] == json!(length);
            assert!(is_result || answer["code"] == "memory_limit", "{field}, {memory} MiB: {answer}");
            if memory == 1 {
                let sentence = "MemoryError: the script's arguments and input alone need more memory than its limit (memory ran out: the limit is 1MB; limits.memory_mb sets it)";
                assert_eq!(answer["error"], sentence, "{field}: {answer}");
            }
        }
        server.check_request(&json!({ "script": script, field: value }), 200, &json!({ "result": length }));
    }
    // At some of these sizes, which depend on the interpreter, the list fits and the tuple made of it does not.
    for length in (0..texts.len()).step_by(500) {
        let request = json!({ "script": script, "args": texts[..length], "limits": { "memory_mb": 4 } });
        let answer = server.execute(&request).json();
        let is_result = answer["result"] == json!(length);
        assert!(is_result || answer["code"] == "memory_limit", "{length} arguments: {answer}");
    }
}

fn a_result_that_does_not_fit_in_memory_is_told(server: &Server, _: Place) {
    for expression in ["list(range(50000))", "[1 << 9000] * 30", "[str(number) for number in range(50000)]"] {
        // Linked, as a list that can't grow would leave memory over.
        let script = format!(
            "result = {expression}\nheld = None\nsizes = [1 << 16, *range(8192, 0, -16)]\ndef main():\n    global held\n    \
             for size in sizes:\n        try:\n            while True:\n                held = (bytes(size), held)\n        \
             except MemoryError:\n            pass\n    return result"
        );
        let answer = server.execute(&json!({ "script": script, "limits": { "memory_mb": 24 } }));
        assert_eq!(answer.status, 422, "{expression}");
        let sentence = "MemoryError: no memory is left to encode the result (memory ran out: the limit is 24MB; limits.memory_mb sets it)";
        assert_eq!(answer.json()["error"], sentence, "{expression}");
        assert_eq!(answer.json()["code"], "memory_limit", "{expression}");
    }
    // That is another matter.
    let failed = server.check_fails("def main():\n    return 1 << 15000", "result_not_serializable");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("4300 digits")), "{failed}");
}

fn output_is_cut_and_said_to_be(server: &Server, _: Place) {
    let script = "import sys\ndef main():\n    for _ in range(3000):\n        print('x' * 99)\n    sys.stderr.write('y' * 70000)\n    return 'done'";
    let answer = server.execute(&json!({ "script": script, "include": ["stdout", "stderr"] })).json();
    assert_eq!(answer["result"], "done");
    assert_eq!(
        answer["truncated"],
        json!({ "stdout": { "kept": 65536, "total": 300_000 }, "stderr": { "kept": 65536, "total": 70_000 } })
    );
    let lengths = ["stdout", "stderr"].map(|name| answer[name].as_str().map(str::len));
    assert_eq!(lengths, [Some(65536), Some(65536)]);
    let own =
        server.execute(&json!({ "script": script, "include": ["stdout"], "limits": { "output_bytes": 10 } })).json();
    assert_eq!(
        (&own["stdout"], &own["truncated"]),
        (&json!("xxxxxxxxxx"), &json!({ "stdout": { "kept": 10, "total": 300_000 } }))
    );
    let none =
        server.execute(&json!({ "script": script, "include": ["stdout"], "limits": { "output_bytes": 0 } })).json();
    assert_eq!((&none["stdout"], &none["truncated"]["stdout"]["kept"]), (&json!(""), &json!(0)));
}

fn a_character_is_not_cut_in_two(server: &Server, _: Place) {
    let script =
        "import sys\ndef main():\n    sys.stdout.write('\u{e9}' * 20)\n    sys.stderr.buffer.write(b'a\\xffb')";
    let answer = server
        .execute(&json!({ "script": script, "include": ["stdout", "stderr"], "limits": { "output_bytes": 5 } }))
        .json();
    assert_eq!((&answer["stdout"], &answer["stderr"]), (&json!("\u{e9}\u{e9}"), &json!("a\u{fffd}b")), "{answer}");
}

fn no_output_is_kept_when_none_is_asked_for(server: &Server, _: Place) {
    let script = "def main():\n    for _ in range(200):\n        print('x' * 10000)\n    return 'done'";
    server.check(script, &json!("done"));
}

fn a_flood_is_stopped(server: &Server, _: Place) {
    let script = "import os\ndef main():\n    piece = b'x' * (1 << 20)\n    while True:\n        os.write(1, piece)";
    let answer = server.execute(
        &json!({ "script": script, "include": ["stdout"], "limits": { "wall_ms": 30_000, "cpu_ms": 30_000 } }),
    );
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("output_limit")), "{}", &answer.text()[..200]);
    assert_eq!(answer.json()["error"], "the script wrote more than 64MB of output and was stopped");
    assert_eq!(answer.json()["stdout"].as_str().map(str::len), Some(65536));
}

fn a_large_result_is_refused(server: &Server, _: Place) {
    let cases = [
        ("'x' * (1 << 20)", "the result takes 1048578 bytes or more as JSON"),
        ("list(range(600000))", "the result takes 1200001 bytes or more as JSON"),
        ("set(range(600000))", "the result takes 1200000 bytes or more as JSON"),
        ("[[0] * 1000] * 1000", "bytes or more as JSON"),
        ("{str(n): n for n in range(100000)}", "bytes or more as JSON"),
        ("__import__('itertools').count()", "the result is too large as JSON"),
    ];
    for (expression, sentence) in cases {
        let failed = server.check_fails(&format!("def main():\n    return {expression}"), "result_too_large");
        let error = failed["error"].as_str().unwrap_or_default();
        assert!(error.contains(sentence), "{failed}");
        assert!(error.ends_with("the limit is 1MB (the server's MAYFLY_RESULT_BYTES); return less of it"), "{failed}");
    }
}

fn the_largest_result_is_served(server: &Server, _: Place) {
    // Two quotes and the text are 1 MiB.
    let answer = server.execute(&json!({ "script": "def main():\n    return 'x' * ((1 << 20) - 2)" }));
    assert_eq!((answer.status, answer.body.len()), (200, (1 << 20) + r#"{"result":}"#.len()));
    server.check_fails("def main():\n    return 'x' * ((1 << 20) - 1)", "result_too_large");
}

fn what_json_cannot_hold_is_named_by_its_path(server: &Server, _: Place) {
    let script = "def main():\n    return {'rows': [1, 2, 3, {'ts': object()}]}";
    let failed = server.check_fails(script, "result_not_serializable");
    assert!(failed["error"].as_str().is_some_and(|error| error.starts_with("result.rows[3].ts is ")), "{failed}");
    server.check_fails(
        "def main():\n    deep = []\n    for _ in range(129):\n        deep = [deep]\n    return deep",
        "result_not_serializable",
    );
    server.check_fails("def main():\n    return 10 ** 4300", "result_not_serializable");
    // No path leads to a key: what is wrong with it is said of its dict.
    let keys = [
        ("10 ** 4300", "an integer of more than 4300 digits; "),
        ("'\\ud800'", "text with a lone surrogate, "),
        ("type('Name', (str,), {})('\\ud800')", "text with a lone surrogate, "),
    ];
    for (key, problem) in keys {
        let script = format!("def main():\n    return [{{'first': 1, {key}: 2, 'last': 3}}]");
        let failed = server.check_fails(&script, "result_not_serializable");
        let sentence = format!("result[0] is a dict with a key that is {problem}");
        assert!(failed["error"].as_str().is_some_and(|error| error.starts_with(&sentence)), "{failed}");
    }
    let answer =
        server.execute(&json!({ "script": "def main():\n    return [10 ** 4299, float('nan'), float('inf')]" }));
    let notes = r#""notes":["result[2]: inf written as null"]"#;
    assert_eq!(answer.text(), format!("{{\"result\":[1{},null,null],{notes}}}", "0".repeat(4299)));
}

fn a_forbidden_call_is_blocked(server: &Server, _: Place) {
    // ptrace(PTRACE_TRACEME), in both architectures' numbers.
    let script = "import ctypes, platform\ndef main():\n    number = 101 if platform.machine() == 'x86_64' else 117\n    \
                  return ctypes.CDLL(None).syscall(number, 0, 0, 0, 0)";
    let failed = server.check_fails(script, "blocked");
    assert_eq!(failed["error"], "the script made a system call that is never allowed and was stopped");
}

fn what_the_jail_refuses_is_told(server: &Server, _: Place) {
    const REFUSED: &str = "PermissionError: [Errno 1] Operation not permitted";
    const PROCESSES: &str = " (scripts can't start or signal processes here)";
    let plain = [
        ("import os\ndef main():\n    os.fork()", PROCESSES),
        ("import subprocess\ndef main():\n    subprocess.run(['echo'])", PROCESSES),
        ("import socket\ndef main():\n    socket.create_connection(('127.0.0.1', 80))", " (there is no network here)"),
        (
            "import signal\ndef main():\n    signal.signal(signal.SIGALRM, print)",
            " (scripts can't handle signals here)",
        ),
    ];
    for (script, may_not) in plain {
        let failed = server.check_fails(script, "exception");
        assert_eq!(failed["error"], format!("{REFUSED}{may_not}"), "{script:?}");
        assert_eq!(failed["exception"]["message"], "[Errno 1] Operation not permitted");
        let traceback = failed["exception"]["traceback"].as_str().expect("text");
        assert!(traceback.ends_with(&format!("{REFUSED}\n")), "{traceback}");
    }
    let nameless = [
        "import socket\ndef main():\n    socket.create_connection(('example.com', 80))",
        "import urllib.request\ndef main():\n    urllib.request.urlopen('http://example.com/')",
        "import urllib.request\ndef main():\n    urllib.request.urlopen('http://127.0.0.1/')",
    ];
    for script in nameless {
        let failed = server.check_fails(script, "exception");
        let error = failed["error"].as_str().unwrap_or_default();
        assert!(error.ends_with(" (there is no network here)"), "{failed}");
        assert!(!failed["exception"].to_string().contains("here)"), "{failed}");
    }
    // These say nothing by themselves.
    let silent = [
        ("import os\ndef main():\n    return os.system('ls')", "scripts can't start processes here"),
        ("from signal import *\ndef main():\n    return alarm(1)", "scripts can't handle signals here"),
    ];
    for (script, why) in silent {
        let failed = server.check_fails(script, "exception");
        assert_eq!(failed["error"], format!("PermissionError: [Errno 1] {why}"));
        assert_eq!(failed["exception"]["line"], 3);
        let traceback = failed["exception"]["traceback"].as_str().expect("text");
        assert!(traceback.contains("line 3, in main\n    return "), "{traceback}");
    }
    // What a script raises itself has no hint, whatever it says.
    let failed =
        server.check_fails("def main():\n    raise PermissionError(1, 'Operation not permitted')", "exception");
    assert_eq!(failed["error"], REFUSED);
    let failed =
        server.check_fails("def main():\n    raise PermissionError(1, 'Operation not permitted', 'mine')", "exception");
    assert_eq!(failed["error"], format!("{REFUSED}: 'mine'"));
}

/// Each by the function that was refused and its error: what works instead is said where something does.
fn a_hint_says_what_was_refused(server: &Server, place: Place) {
    const NO_FILES: &str = "(no file can be written at this isolation level; ";
    let anywhere = [
        ("import signal\ndef main(): signal.setitimer(signal.ITIMER_REAL, 1)", "(there are no timers by signal here; "),
        ("import os\ndef main(): os.symlink('a', 'b')", "(scripts can't make links here; "),
        ("import os\ndef main(): os.mkfifo('a')", "(scripts can't make named pipes here; "),
        ("import shutil\ndef main(): shutil.disk_usage('/')", "(the room on a file system is not told here"),
        (
            "import resource\ndef main(): resource.getrlimit(resource.RLIMIT_AS)",
            "(the request's limits are the script's; ",
        ),
        (
            "from multiprocessing.shared_memory import SharedMemory\ndef main(): SharedMemory(create=True, size=1)",
            "and no memory between processes; ",
        ),
        ("from multiprocessing.pool import ThreadPool\ndef main(): ThreadPool(2)", "(pipes can't be made here; "),
        (
            "import multiprocessing\ndef main(): multiprocessing.Process(target=print).start()",
            "(scripts can't start or signal processes here)",
        ),
        (
            "import asyncio\nasync def main(): await asyncio.create_subprocess_exec('ls')",
            "(scripts can't start or signal processes here)",
        ),
        ("import os\ndef main(): os.getloadavg()", "(the machine's load is not told here)"),
        (
            "def main(): return [open('/mayfly.json') for _ in range(100)]",
            "(a script can have 64 files open at once, and no setting changes that)",
        ),
    ];
    let with_tmp = [
        (
            "import os\ndef main():\n    open('x', 'w').close()\n    os.chown('x', 1, 1)",
            "(a file's owner can't be changed here)",
        ),
        (
            "def main(): open('big', 'wb').write(bytes(20 << 20))",
            "(/tmp holds at most 16MB and 1024 files; the server's MAYFLY_TMP_MB sets the size)",
        ),
        (
            "def main():\n    for i in range(2000): open(f'f{i}', 'w').close()",
            "(/tmp holds at most 16MB and 1024 files; the server's MAYFLY_TMP_MB sets the size)",
        ),
        ("def main(): open('/usr/x', 'w')", "(files can be written in /tmp only)"),
        ("from pathlib import Path\ndef main(): Path('/usr/x').write_text('x')", "(files can be written in /tmp only)"),
    ];
    let without = [
        ("def main(): open('a.txt', 'w')", NO_FILES),
        ("from pathlib import Path\ndef main(): Path('a').write_text('x')", NO_FILES),
        ("import tempfile\ndef main(): tempfile.mkdtemp()", NO_FILES),
        ("import sqlite3\ndef main(): sqlite3.connect('a.db')", "connect to \":memory:\")"),
    ];
    let here = if place.has_tmp() { &with_tmp[..] } else { &without[..] };
    for (script, hint) in anywhere.iter().chain(here) {
        let failed = server.check_fails(script, "exception");
        assert!(failed["error"].as_str().is_some_and(|error| error.contains(hint)), "{script}: {failed}");
        assert!(!failed["exception"].to_string().contains(hint), "{failed}");
    }
    // Failures of their own have none.
    for script in [
        "def main(): open('/nothing')",
        "import fcntl\ndef main(): fcntl.flock(60, 1)",
        "import os\ndef main():\n    try:\n        os.fork()\n    except OSError as error:\n        raise ValueError('mine') from error",
        "def main(): raise PermissionError(1, 'mine')",
    ] {
        let failed = server.check_fails(script, "exception");
        let error = failed["error"].as_str().unwrap_or_default();
        assert!(!error.contains('(') || script.contains("flock"), "{script}: {failed}");
    }
    // A script that replaces what hints are found with harms its own alone.
    let script = "import dis, gc, os, types\nfor found in gc.get_objects():\n    if type(found) is types.FunctionType and found.__code__.co_filename == '<mayfly>':\n        \
                  found.__code__ = (lambda *a, **k: ('x' * 10**6, 'y' * 10**6, 1)).__code__\ndef main(): os.fork()";
    let answer = server.execute(&json!({ "script": script }));
    assert_eq!(answer.status, 422, "{}", answer.text());
    server.check("def main():\n    return 1", &json!(1));
}

fn a_crash_is_told(server: &Server, _: Place) {
    for script in
        ["import ctypes\ndef main():\n    return ctypes.string_at(0)", "import os\ndef main():\n    os.abort()"]
    {
        let failed = server.check_fails(script, "crashed");
        let word = if script.contains("abort") { "aborted its own process" } else { "crashed (SIGSEGV)" };
        assert!(failed["error"].as_str().is_some_and(|error| error.contains(word)), "{failed}");
    }
}

fn a_script_can_interrupt_itself(server: &Server, _: Place) {
    let caught = [
        "import _thread\ndef act(): _thread.interrupt_main()",
        "import signal\ndef act(): signal.raise_signal(signal.SIGINT)",
        "import _thread, threading\ndef act(): threading.Timer(0.05, _thread.interrupt_main).start()",
        "import asyncio, _thread, threading\nasync def work():\n    threading.Timer(0.05, _thread.interrupt_main).start()\n    while True:\n        await asyncio.sleep(0.01)\ndef act(): asyncio.run(work())",
    ];
    for script in caught {
        let script = format!(
            "{script}\nimport time\ndef main():\n    try:\n        act()\n        for _ in range(1000):\n            time.sleep(0.01)\n    except KeyboardInterrupt:\n        return 'caught'"
        );
        server.check(&script, &json!("caught"));
    }
    let failed = server
        .check_fails("import _thread\ndef main():\n    _thread.interrupt_main()\n    while True: pass", "exception");
    assert_eq!(failed["exception"]["type"], "KeyboardInterrupt");
    // Others are signals, which a script has none of.
    let script = "import signal\ndef main():\n    signal.raise_signal(signal.SIGTERM)";
    assert_eq!(server.check_fails(script, "exception")["exception"]["type"], "PermissionError");
}

fn signals_to_itself_do_not_end_it(server: &Server, _: Place) {
    let script = "import os, signal\ndef main():\n    try:\n        os.kill(os.getpid(), signal.SIGKILL)\n    except PermissionError:\n        pass\n    return 'here'";
    server.check(script, &json!("here"));
}

fn a_script_never_causes_a_5xx(server: &Server, _: Place) {
    let scripts = [
        "def main(",
        "raise BaseException",
        "import os; os._exit(9)",
        "import sys; sys.stdout.close(); sys.stderr.close()",
        "import os; os.close(3)",
        "def main(): return object()",
        "import builtins; builtins.compile = None",
        "import sys; sys.modules.clear()",
        "import gc; [o.clear() for o in gc.get_objects() if type(o) is dict and o is not globals()]",
        "def main(): raise SystemExit",
        "class E(BaseException):\n    def __str__(self): raise self\ndef main(): raise E",
        "import ctypes; ctypes.string_at(1)",
        "import sys; sys.setrecursionlimit(10**9)\ndef main(): main()",
        "x = ",
        "def main(): return '\\ud800'",
    ];
    for _ in 0..2 {
        for script in scripts {
            let answer = server.execute(&json!({ "script": script, "limits": { "wall_ms": 2000 } }));
            assert!([200, 422].contains(&answer.status), "{script:?}: {} {}", answer.status, answer.text());
        }
    }
    server.check("def main():\n    return 'fine'", &json!("fine"));
}

fn two_scripts_do_not_meet(server: &Server, place: Place) {
    let script = "import os, time\ndef main(who):\n    try:\n        with open('/tmp/mine', 'w') as file:\n            file.write(who)\n    except OSError:\n        pass\n    time.sleep(0.4)\n    \
                  seen = []\n    for pid in list(range(1, 40)) + [os.getppid(), os.getpid() - 1, os.getpid() + 1]:\n        try:\n            if pid > 0 and pid != os.getpid():\n                \
                  os.kill(pid, 0)\n                seen.append(pid)\n        except (PermissionError, ProcessLookupError):\n            pass\n    \
                  try:\n        files = sorted(os.listdir('/tmp'))\n    except OSError:\n        files = []\n    text = open('/tmp/mine').read() if files else who\n    return [seen, files, text]";
    driver::trial::together(4, |number| {
        let who = format!("client {number}");
        let files = if place.has_tmp() { json!(["mine"]) } else { json!([]) };
        server.check_request(&json!({ "script": script, "args": [who] }), 200, &json!({ "result": [[], files, who] }));
    });
}

fn nothing_is_there_for_the_next(server: &Server, _: Place) {
    let leave = "import builtins, os, sys, threading, time, json\ndef main():\n    json.dumps = None\n    \
                 sys.modules['left'] = sys\n    os.environ['LEFT'] = '1'\n    threading.Thread(target=time.sleep, args=(30,)).start()\n    \
                 try:\n        open('/tmp/left', 'w').close()\n    except OSError:\n        pass\n    builtins.len = lambda x: 'poisoned'\n    return 'left'";
    let look = "import os, sys, threading, json\ndef main():\n    try:\n        files = len(os.listdir('/tmp'))\n    except OSError:\n        files = 0\n    return [len([1]), json.dumps(1), 'left' in sys.modules, 'LEFT' in os.environ, \
                threading.active_count(), os.path.exists('/tmp/left'), files]";
    for _ in 0..6 {
        server.check(leave, &json!("left"));
        server.check(look, &json!([1, "1", false, false, 1, false, 0]));
    }
}
