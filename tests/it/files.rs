//! Files that a request brings: they are there before the script runs, and what can't be there is refused before it does.
//!
//! Runs in every place: where a run has no directory of its own, the refusal is what is tested.

use crate::contract::{Test, in_every_place};
use driver::places::Place;
use driver::server::Server;
use libtest_mimic::Trial;
use serde_json::{Value, json};

pub fn trials() -> Vec<Trial> {
    let tests: &[(&str, Test)] = &[
        ("files_are_there_as_they_were_sent", files_are_there_as_they_were_sent),
        ("the_script_is_a_file_beside_them", the_script_is_a_file_beside_them),
        ("what_was_sent_can_be_imported", what_was_sent_can_be_imported),
        ("a_file_named_as_a_module_of_ours_is_not_ours", a_file_named_as_a_module_of_ours_is_not_ours),
        ("a_program_finds_them_as_a_function_does", a_program_finds_them_as_a_function_does),
        ("a_file_s_name_disturbs_nothing_else", a_file_s_name_disturbs_nothing_else),
        ("files_stand_beside_stdin", files_stand_beside_stdin),
        ("without_files_the_directory_is_empty", without_files_the_directory_is_empty),
        ("wrong_files_are_told", wrong_files_are_told),
        ("as_many_and_as_large_as_allowed", as_many_and_as_large_as_allowed),
        ("capabilities_tell_beforehand", capabilities_tell_beforehand),
        ("files_of_one_run_are_gone_in_the_next", files_of_one_run_are_gone_in_the_next),
    ];
    in_every_place("files", SETTINGS, tests)
}

const SETTINGS: &[(&str, &str)] = &[
    ("MAYFLY_PRELOAD", ""),
    ("MAYFLY_FILES", "20"),
    ("MAYFLY_FILES_DEPTH", "3"),
    ("MAYFLY_FILE_BYTES", "600000"),
    ("MAYFLY_FILES_BYTES", "1000000"),
];

/// What level seccomp answers to whoever sends files.
const NO_PLACE: &str = "'files' needs a directory that only this run can write to, and isolation level seccomp has none; levels full \
                        and nsjail have one (`mayfly doctor` says what this machine lacks for them)";

/// The script gives this result; or the refusal where there is no place for files.
#[track_caller]
fn gives(server: &Server, place: Place, request: &Value, expected: &Value) {
    if place.has_tmp() {
        server.check_request(request, 200, &json!({ "result": expected }));
    } else {
        server.execute(request).is_error(400, NO_PLACE);
    }
}

fn files_are_there_as_they_were_sent(server: &Server, place: Place) {
    let script = "import os\ndef main():\n    found = {}\n    for folder, _, names in os.walk('.'):\n        for name in names:\n            \
                  path = os.path.join(folder, name)[2:]\n            found[path] = list(open(path, 'rb').read())\n    \
                  del found['main.py']\n    return found";
    let files = json!({
        "a.txt": "é\u{0}\n", "./d//e/f": { "base64": "/wD+" }, "d/unpadded": { "base64": "AA" }, "empty": "", "stdin": "x",
        "né \n": "y",
    });
    let expected = json!({
        "a.txt": [195, 169, 0, 10], "d/e/f": [255, 0, 254], "d/unpadded": [0], "empty": [], "stdin": [120], "né \n": [121],
    });
    gives(server, place, &json!({ "script": script, "files": files }), &expected);
}

fn the_script_is_a_file_beside_them(server: &Server, place: Place) {
    let script = "import inspect, os, sys\ndef main():\n    text = open(__file__).read()\n    \
                  return [inspect.getsource(main) in text, os.getcwd(), sys.path[0], sorted(os.listdir())]\n";
    let expected = json!([true, "/tmp", "/tmp", ["a", "main.py"]]);
    gives(server, place, &json!({ "script": script, "files": { "a": "" } }), &expected);
}

fn what_was_sent_can_be_imported(server: &Server, place: Place) {
    let script = "import os, pickle, helper, package.part, statistics\ndef main():\n    \
                  again = pickle.loads(pickle.dumps(helper.Thing()))\n    \
                  return [helper.twice(21), package.part.NAME, type(again).__module__, statistics.MINE, \
                  [name for _, folders, _ in os.walk('.') for name in folders]]";
    let files = json!({
        "helper.py": "class Thing: pass\ndef twice(x):\n    return 2 * x\n",
        "package/__init__.py": "", "package/part.py": "NAME = __name__\n", "statistics.py": "MINE = True\n",
    });
    let expected = json!([42, "package.part", "helper", true, ["package"]]);
    gives(server, place, &json!({ "script": script, "files": files }), &expected);
}

/// What runs after the script, to await or to describe, is the library's.
fn a_file_named_as_a_module_of_ours_is_not_ours(server: &Server, place: Place) {
    let taken: &str = "raise SystemExit('taken')\n";
    let names = ["asyncio", "json", "traceback", "linecache", "tokenize", "re", "ast", "_colorize"];
    let files: Value =
        names.iter().map(|name| (format!("{name}.py"), taken.into())).collect::<serde_json::Map<_, _>>().into();
    let awaited = json!({ "script": "async def main():\n    return 1", "files": files });
    gives(server, place, &awaited, &json!(1));
    let raises = json!({ "script": "def main():\n    return 1 / 0", "files": files });
    let answer = server.execute(&raises);
    if place.has_tmp() {
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("exception")), "{}", answer.text());
        assert!(answer.json()["exception"]["traceback"].as_str().is_some_and(|text| text.contains("return 1 / 0")));
    } else {
        answer.is_error(400, NO_PLACE);
    }
}

fn a_program_finds_them_as_a_function_does(server: &Server, place: Place) {
    let script = "import os, sys, helper\nprint(__name__, sys.argv, sys.path.count('/tmp'))\nassert 'print(__name__' in open(__file__).read()\n\
                  [helper.total(open('data.csv')), sorted(os.listdir('.'))]";
    let files = json!({ "data.csv": "a,1\nb,2\n", "helper.py": "def total(lines):\n    return sum(int(line[2]) for line in lines)\n" });
    let request = json!({ "script": script, "mode": "program", "argv": ["x"], "files": files, "include": ["stdout"] });
    if !place.has_tmp() {
        return server.execute(&request).is_error(400, NO_PLACE);
    }
    let expected = json!({
        "result": [3, ["data.csv", "helper.py", "main.py"]], "exit": { "code": 0, "signal": null },
        "stdout": "__main__ ['main.py', 'x'] 1\n",
    });
    server.check_request(&request, 200, &expected);
}

fn a_file_s_name_disturbs_nothing_else(server: &Server, place: Place) {
    if !place.has_tmp() {
        return;
    }
    let answers = |request: Value, expected: Value| server.check_request(&request, 200, &expected);
    // A directory without __init__.py stands behind a module of its name.
    let script = "import uuid\ndef main():\n    return uuid.UUID(int=1)";
    answers(
        json!({ "script": script, "files": { "uuid/list.csv": "" } }),
        json!({ "result": "00000000-0000-0000-0000-000000000001" }),
    );
    let script = "import random\ndef main():\n    return random.x";
    answers(json!({ "script": script, "files": { "random.py": "x = 1" }, "seed": 3 }), json!({ "result": 1 }));
    let script = "async def f():\n    return 1\nawait f()";
    answers(
        json!({ "script": script, "files": { "selectors.py": "x = 1" }, "mode": "program" }),
        json!({ "result": 1, "exit": { "code": 0, "signal": null } }),
    );
    let script = "import atexit\n@atexit.register\ndef last():\n    import helper\n1 / 0";
    let request =
        json!({ "script": script, "files": { "helper.py": "print('h')" }, "mode": "program", "include": ["stdout"] });
    let answer = server.execute(&request);
    assert_eq!((answer.status, &answer.json()["stdout"]), (422, &json!("h\n")), "{}", answer.text());
}

fn files_stand_beside_stdin(server: &Server, place: Place) {
    let script = "import os\ndef main():\n    return [input(), sorted(os.listdir())]";
    let request = json!({ "script": script, "stdin": "line\n", "files": { "stdin": "other" } });
    gives(server, place, &request, &json!(["line", ["main.py", "stdin"]]));
}

fn without_files_the_directory_is_empty(server: &Server, place: Place) {
    let script = "import os, sys\ndef main():\n    return [os.path.exists('main.py'), '/tmp' in sys.path]";
    for files in [json!(null), json!({})] {
        server.check_request(&json!({ "script": script, "files": files }), 200, &json!({ "result": [false, false] }));
    }
    if place.has_tmp() {
        server.check("import os\ndef main():\n    return os.listdir()", &json!([]));
    }
}

fn wrong_files_are_told(server: &Server, place: Place) {
    let refused = |files: &str, expected: &str| {
        let body = format!(r#"{{"script": "def main():\n    open('/tmp/never')", "files": {files}}}"#);
        let headers = [("Content-Type", "application/json")];
        server.connect().request("POST", "/execute", &headers, body.as_bytes()).is_error(400, expected);
    };
    // What is no such field is told at every level.
    refused("[]", "'files' must be an object of paths");
    refused(r#""a""#, "'files' must be an object of paths");
    refused(r#"{"a": 1}"#, "'files': 'a' must be a string, or an object with its bytes as 'base64'");
    refused(r#"{"a": {}}"#, "'files': 'a' must be a string, or an object with its bytes as 'base64'");
    refused(r#"{"a": {"base64": 5}}"#, "'files': 'a' must be a string, or an object with its bytes as 'base64'");
    refused(r#"{"a": {"base64": "", "mode": 1}}"#, "Unknown field 'files.*.mode'; known fields are base64");
    refused(r#"{"a": {"base64": "A*=="}}"#, "'files': 'a' is no base64: Invalid symbol 42, offset 1.");
    refused(r#"{"a": "\ud800"}"#, "'files': 'a' holds a lone surrogate escape such as \\ud800, which is no character");
    refused(
        r#"{"\ud800": "a"}"#,
        "'files' holds a name with a lone surrogate escape such as \\ud800, which is no character",
    );
    if !place.has_tmp() {
        refused(r#"{"a": ""}"#, NO_PLACE);
        return;
    }
    for (files, expected) in [
        (r#"{"": ""}"#, "'' is an empty name"),
        (r#"{"a\u0000b": ""}"#, "'a\\u{0}b' holds a NUL character"),
        (r#"{"/etc/x": ""}"#, "'/etc/x' is an absolute path; paths are relative to the working directory"),
        (r#"{"a/../../x": ""}"#, "'a/../../x' has '..' in it; a path leads down from the working directory"),
        (r#"{"a/": ""}"#, "'a/' ends in '/', and only files can be sent; their directories are made"),
        (r#"{"a/b/c/d": ""}"#, "'a/b/c/d' is too deep: the maximum is 3 names"),
        (r#"{"main.py": ""}"#, "'main.py' is the script's own name"),
        (r#"{"a": "", "a": ""}"#, "'a' is given more than once"),
        (r#"{"a": "", "a/b": ""}"#, "'a' is both a file and, for 'a/b', a directory"),
    ] {
        refused(files, &format!("'files': {expected}"));
    }
}

fn as_many_and_as_large_as_allowed(server: &Server, place: Place) {
    let script =
        "import os\ndef main():\n    return sum(os.path.getsize(name) for name in os.listdir() if name != 'main.py')";
    let send = |files: Vec<(String, usize)>| {
        let files: serde_json::Map<String, Value> =
            files.into_iter().map(|(name, size)| (name, "x".repeat(size).into())).collect();
        json!({ "script": script, "files": files })
    };
    let many = |count: usize| send((0..count).map(|number| (number.to_string(), 1)).collect());
    gives(server, place, &many(20), &json!(20));
    let large = |one: usize, other: usize| send(vec![("a".to_owned(), one), ("b".to_owned(), other)]);
    gives(server, place, &large(600_000, 400_000), &json!(1_000_000));
    if place.has_tmp() {
        server.execute(&many(21)).is_error(400, "'files' holds too many files: the maximum is 20");
        let sentence = "'files': 'a' is too large: the maximum is 600000 bytes";
        server.execute(&large(600_001, 0)).is_error(400, sentence);
        let sentence = "'files' is too large: the maximum is 1000000 bytes for all files together";
        server.execute(&large(600_000, 400_001)).is_error(400, sentence);
    }
}

fn capabilities_tell_beforehand(server: &Server, place: Place) {
    let mut files = server.get("/capabilities").json()["files"].clone();
    let why = files.as_object_mut().expect("an object").remove("why");
    let expected = json!({
        "all_bytes": 1_000_000, "count": 20, "depth": 3, "each_bytes": 600_000, "granted": place.has_tmp(),
    });
    assert_eq!(files, expected);
    assert_eq!(why, (!place.has_tmp()).then(|| NO_PLACE.into()));
}

fn files_of_one_run_are_gone_in_the_next(server: &Server, place: Place) {
    let script = "import os\ndef main():\n    return sorted(os.listdir())";
    for name in ["one", "two"] {
        let request = json!({ "script": script, "files": { name: "secret" } });
        gives(server, place, &request, &json!(["main.py", name]));
    }
}
