//! How a script is run: the function that is called, its environment, its seeds.
//!
//! In every place, and in processes of their own too: what a client says of the environment must reach the script and no program
//! that is executed on the way.

use crate::contract::{Test, in_every_place, named};
use driver::places::Place;
use driver::server::Server;
use libtest_mimic::Trial;
use serde_json::{Value, json};

pub fn trials() -> Vec<Trial> {
    let tests: [(&'static str, Test); 11] = named![
        the_function_that_is_named_is_called,
        a_function_that_is_not_there_is_told,
        variables_are_in_the_environment,
        no_variable_stays_behind,
        no_variable_reaches_a_program,
        wrong_manners_are_told,
        nothing_is_logged,
        a_seed_gives_the_same_numbers,
        a_program_has_a_result_and_an_exit,
        limits_hold_to_the_last_thread,
        auto_calls_a_main_that_is_there,
    ];
    let mut trials = in_every_place(
        "manner",
        &[("MAYFLY_PRELOAD", ""), ("MAYFLY_ENV_COUNT", "4"), ("MAYFLY_ARGV_COUNT", "4")],
        &tests,
    );
    let cold =
        [("MAYFLY_START", "cold"), ("MAYFLY_PRELOAD", ""), ("MAYFLY_ENV_COUNT", "4"), ("MAYFLY_ARGV_COUNT", "4")];
    trials.extend(in_every_place("manner::cold", &cold, &tests));
    trials
}

fn the_function_that_is_named_is_called(server: &Server, _: Place) {
    let script = "def main():\n    return 'main'\n\ndef größe(a, *, b):\n    return [a, b]\n\nasync def later():\n    return 5\n";
    let call = |name: &str| json!({ "script": script, "entrypoint": name });
    server.check_request(&call("main"), 200, &json!({ "result": "main" }));
    server.check_request(&call("later"), 200, &json!({ "result": 5 }));
    let mut request = call("größe");
    request["args"] = json!([1]);
    request["kwargs"] = json!({ "b": 2 });
    server.check_request(&request, 200, &json!({ "result": [1, 2] }));
}

fn a_function_that_is_not_there_is_told(server: &Server, _: Place) {
    let told = |script: &str, error: &str| {
        let answer = server.execute(&json!({ "script": script, "entrypoint": "solve" }));
        assert_eq!((answer.status, answer.json()), (422, json!({ "error": error, "code": "no_main" })));
    };
    told("def main():\n    return 1", "the script defines no function solve()");
    told("solve = 5", "solve is of type int, and must be a function");
}

fn variables_are_in_the_environment(server: &Server, _: Place) {
    let script = "import os\nimport time\nHERE = os.environ['API_URL']\n\ndef main():\n    return [HERE, os.getenv('EMPTY'), time.timezone]";
    let env = json!({ "API_URL": "http://ü=1\n", "EMPTY": "", "TZ": "XYZ+5" });
    let request = json!({ "script": script, "env": env });
    server.check_request(&request, 200, &json!({ "result": ["http://ü=1\n", "", 18000] }));
}

fn no_variable_stays_behind(server: &Server, _: Place) {
    let script = "import os\ndef main():\n    return [os.environ.get('TOKEN'), os.environ.get('TZ')]";
    let with = json!({ "script": script, "env": { "TOKEN": "x", "TZ": "UTC" } });
    let bare = server.execute(&json!({ "script": script })).json();
    for _ in 0..3 {
        server.check_request(&with, 200, &json!({ "result": ["x", "UTC"] }));
        assert_eq!(server.execute(&json!({ "script": script })).json(), bare);
    }
    assert_eq!(bare["result"][0], Value::Null);
}

/// The loader says on stderr that it can't load such a library, and Python would not start with such a home.
fn no_variable_reaches_a_program(server: &Server, _: Place) {
    let env = json!({
        "LD_PRELOAD": "/tmp/evil.so", "LD_LIBRARY_PATH": "/tmp", "PYTHONHOME": "/nowhere", "GLIBC_TUNABLES": "glibc.malloc.check=3",
    });
    let script = "import os\ndef main():\n    return os.environ['LD_PRELOAD']";
    let request = json!({ "script": script, "env": env, "include": ["stdout", "stderr"] });
    server.check_request(&request, 200, &json!({ "result": "/tmp/evil.so", "stdout": "", "stderr": "" }));
    for line in server.log().lines() {
        assert!(!line.contains("evil.so"), "{line}");
    }
}

fn wrong_manners_are_told(server: &Server, _: Place) {
    let name = "'entrypoint' must be the name of a function, as \"main\"";
    let for_program = "'argv' is for a program, and a function is called; use 'args' or mode \"program\"";
    let whole = "'seed' must be a whole number from 0 to 4294967295";
    let cases = [
        (json!({ "mode": "script" }), "'mode' must be one of function, program, auto"),
        (json!({ "mode": 5 }), "'mode' must be one of function, program, auto"),
        (json!({ "argv": "a" }), "'argv' must be a list of strings"),
        (json!({ "argv": [5] }), "'argv' must be a list of strings"),
        (json!({ "argv": [["a"]] }), "'argv' must be a list of strings"),
        (json!({ "argv": ["a"] }), for_program),
        (json!({ "mode": "auto", "argv": ["a"] }), for_program),
        (
            json!({ "mode": "program", "argv": ["a\0"] }),
            "'argv' holds a null character, which the system takes for an end",
        ),
        (json!({ "mode": "program", "argv": ["a", "", "", "", ""] }), "'argv' has too many entries: the maximum is 4"),
        (
            json!({ "mode": "program", "argv": ["x".repeat(65_537)] }),
            "'argv' is too large: the maximum is 64KB for all of it",
        ),
        (
            json!({ "mode": "program", "entrypoint": "main" }),
            "'entrypoint' is for a function, and a program calls none; use 'argv', 'stdin' or mode \"function\"",
        ),
        (
            json!({ "mode": "program", "args": [1] }),
            "'args' is for a function, and a program calls none; use 'argv', 'stdin' or mode \"function\"",
        ),
        (
            json!({ "mode": "program", "kwargs": { "a": 1 } }),
            "'kwargs' is for a function, and a program calls none; use 'argv', 'stdin' or mode \"function\"",
        ),
        (json!({ "entrypoint": 5 }), "'entrypoint' must be a string"),
        (json!({ "entrypoint": "" }), name),
        (json!({ "entrypoint": "os.system" }), name),
        (json!({ "entrypoint": "main()" }), name),
        (json!({ "env": ["A=1"] }), "'env' must be an object of strings"),
        (json!({ "env": { "A": 1 } }), "'env' must be an object of strings"),
        (json!({ "env": { "A": null } }), "'env' must be an object of strings"),
        (json!({ "env": { "": "x" } }), "'env' has an empty name"),
        (json!({ "env": { "A=B": "x" } }), "'env' has a name with '=', which the system takes for its end"),
        (json!({ "env": { "A\0": "x" } }), "'env' holds a null character, which the system takes for an end"),
        (json!({ "env": { "A": "\0" } }), "'env' holds a null character, which the system takes for an end"),
        (
            json!({ "env": { "A": "", "B": "", "C": "", "D": "", "E": "" } }),
            "'env' has too many entries: the maximum is 4",
        ),
        (json!({ "env": { "A": "x".repeat(65_536) } }), "'env' is too large: the maximum is 64KB for all of it"),
        (json!({ "seed": -1 }), whole),
        (json!({ "seed": 4_294_967_296_u64 }), whole),
        (json!({ "seed": 1.5 }), whole),
        (json!({ "seed": "1" }), whole),
        (json!({ "seed": true }), whole),
    ];
    for (mut request, sentence) in cases {
        request["script"] = "def main():\n    return 1".into();
        server.execute(&request).is_error(400, sentence);
    }
    let answer = server.connect().request(
        "POST",
        "/execute",
        &[("Content-Type", "application/json")],
        br#"{"script": "", "env": {"A": "\ud800"}}"#,
    );
    answer.is_error(400, "'env' holds a lone surrogate escape such as \\ud800, which is no character");
}

fn nothing_is_logged(server: &Server, _: Place) {
    let secret = "secret-of-a-client";
    for script in ["def main():\n    return 1", "def main():\n    1 / 0"] {
        let request = json!({ "script": script, "env": { "NAME_OF_IT": secret } });
        server.execute(&request);
    }
    server.execute(&json!({ "script": "x", "env": { secret: 5 } })).is_error(400, "'env' must be an object of strings");
    for line in server.log().lines() {
        assert!(!line.contains(secret) && !line.contains("NAME_OF_IT"), "{line}");
    }
}

fn a_seed_gives_the_same_numbers(server: &Server, place: Place) {
    let script = "import random\ndef main():\n    return [random.random(), random.Random(42).random()]";
    let draw = |seed: Value| server.execute(&json!({ "script": script, "seed": seed })).json()["result"].clone();
    let first = draw(json!(42));
    assert_eq!(first[0], first[1], "the numbers are those of random.seed(42)");
    assert_eq!((draw(json!(42)), draw(json!(0)) == draw(json!(1))), (first, false));
    assert_ne!(draw(json!(null)), draw(json!(null)));
    let can_import = server.execute(&json!({ "script": "import numpy\ndef main():\n    return 1" })).status == 200;
    assert!(can_import || !place.has_tmp(), "numpy is in the jail root");
    if can_import {
        let script = "import importlib\ndef main():\n    np = importlib.import_module('num' + 'py')\n    return np.random.rand()";
        let request = json!({ "script": script, "seed": 42 });
        server.check_request(&request, 200, &json!({ "result": 0.374_540_118_847_362_5 }));
    }
}

fn a_program_has_a_result_and_an_exit(server: &Server, _: Place) {
    let run = |script: &str| server.execute(&json!({ "script": script, "mode": "program" }));
    let ended = |script: &str, body: Value| {
        let answer = run(script);
        assert_eq!((answer.status, answer.json()), (200, body), "{script}");
    };
    let exit = |code: u8| json!({ "code": code, "signal": null });
    ended("x = 20\n{'x': x + 1}", json!({ "result": { "x": 21 }, "exit": exit(0) }));
    ended("x = 5", json!({ "result": null, "exit": exit(0) }));
    ended("import sys\nsys.exit(3)", json!({ "result": null, "exit": exit(3) }));
    ended("import os\nos._exit(4)", json!({ "result": null, "exit": exit(4) }));
    ended(
        "import asyncio\nasync def f():\n    return 5\nx = await f()\nawait asyncio.sleep(0)\nx + await f()",
        json!({ "result": 10, "exit": exit(0) }),
    );
    let odd = run("object()").json();
    assert_eq!((&odd["result"], &odd["exit"]), (&Value::Null, &exit(0)));
    assert!(odd["notes"][0].as_str().is_some_and(|note| note.contains("left out")), "{odd}");
    let failed = run("1 / 0");
    let told = failed.json();
    assert_eq!((failed.status, &told["code"], &told["exit"]), (422, &json!("exception"), &exit(1)));
    assert_eq!(told["exception"]["line"], 1);
    let broken = run("x = (").json();
    assert_eq!((&broken["code"], &broken["exit"]), (&json!("syntax_error"), &exit(1)));
    let awaited = run("async def f():\n    1 / 0\nawait f()").json();
    let traceback = awaited["exception"]["traceback"].as_str().expect("a traceback").to_owned();
    assert!(!traceback.contains("asyncio") && !traceback.contains("mayfly"), "{traceback}");
}

fn limits_hold_to_the_last_thread(server: &Server, _: Place) {
    let endless = [
        "print('so far')\nwhile True:\n    pass",
        "import atexit\nprint('so far')\ndef f():\n    while True:\n        pass\natexit.register(f)",
        "import threading, time\nprint('so far')\nthreading.Thread(target=time.sleep, args=(600,)).start()",
        "class A:\n    def __del__(self):\n        while True:\n            pass\nprint('so far')\na = A()",
    ];
    for script in endless {
        let limits = json!({ "wall_ms": 400, "cpu_ms": 5000 });
        let request = json!({ "script": script, "mode": "program", "limits": limits, "include": ["stdout"] });
        let answer = server.execute(&request);
        let told = answer.json();
        assert_eq!((answer.status, &told["code"], &told["stdout"]), (422, &json!("timeout"), &json!("so far\n")));
        assert_eq!(told["exit"], json!({ "code": null, "signal": "SIGKILL" }));
    }
}

fn auto_calls_a_main_that_is_there(server: &Server, _: Place) {
    let auto = |script: &str| server.execute(&json!({ "script": script, "mode": "auto" })).json();
    assert_eq!(auto("def main():\n    return 5"), json!({ "result": 5 }));
    assert_eq!(auto("x = 5\nx"), json!({ "result": 5, "exit": { "code": 0, "signal": null } }));
    let named = json!({ "script": "def solve(x):\n    return x", "mode": "auto", "entrypoint": "solve", "args": [7] });
    server.check_request(&named, 200, &json!({ "result": 7 }));
}
