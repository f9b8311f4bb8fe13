//! What a client sees: routes, headers, the fields of a request, and what a wrong one is told.
//!
//! The contract does not depend on the isolation level, so every test runs in every place.

use crate::group::Group;
use driver::client::Answer;
use driver::places::{Place, expected};
use driver::server::Server;
use libtest_mimic::Trial;
use serde_json::{Value, json};

pub type Test = fn(&Server, Place);

/// Test functions by name.
macro_rules! named {
    ($($name:ident),+ $(,)?) => { [$((stringify!($name), $name as crate::contract::Test)),+] };
}
pub(crate) use named;

/// A group of these tests for every place.
pub fn in_every_place(room: &str, settings: &[(&str, &str)], tests: &[(&'static str, Test)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for place in expected() {
        let group = Group::new(format!("{room}::{}", place.as_str()), place.needs(), place.setup(settings));
        trials.extend(tests.iter().map(|(name, test)| {
            let test = *test;
            group.trial(name, move |server| test(server, place))
        }));
        trials.push(group.last());
    }
    trials
}

pub fn trials() -> Vec<Trial> {
    in_every_place(
        "contract",
        &[("MAYFLY_PRELOAD", "")],
        &named![
            a_result_stands_alone,
            the_three_known_sentences,
            the_largest_script_runs,
            unknown_fields_are_named,
            wrong_fields_are_told,
            null_counts_as_absent,
            a_body_that_is_no_json_is_told_where,
            limits_beyond_the_maximum_are_refused,
            what_include_asks_for_is_there,
            nothing_is_included_unasked,
            arguments_arrive_as_they_are,
            stdin_is_what_was_sent,
            async_main_is_awaited,
            routes_answer,
            head_is_get_without_a_body,
            other_paths_are_404,
            other_methods_are_405_with_allow,
            other_content_types_are_415,
            encoded_bodies_are_415,
            every_answer_has_the_common_headers,
            a_request_id_is_echoed_or_made,
            an_execution_tells_its_times_and_level,
            one_connection_carries_many_requests,
            pipelined_requests_are_answered_in_order,
            expect_100_continue_works,
            chunked_bodies_are_read,
            version_is_told,
            capabilities_are_complete,
            text_of_a_script_never_becomes_a_header,
        ],
    )
}

const HELLO: &str = "def main():\n    return {'msg': 'hello'}";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn post(server: &Server, body: &[u8]) -> Answer {
    server.connect().request("POST", "/execute", &[JSON], body)
}

fn a_result_stands_alone(server: &Server, _: Place) {
    let answer = server.execute(&json!({ "script": HELLO }));
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"result":{"msg":"hello"}}"#));
    let null = server.execute(&json!({ "script": "def main():\n    pass" }));
    assert_eq!((null.status, null.text().as_str()), (200, r#"{"result":null}"#));
}

fn the_three_known_sentences(server: &Server, _: Place) {
    const MISSING: &str = "Missing 'script' in request";
    const NO_STRING: &str = "'script' must be a string and included in the request";
    const TOO_LARGE: &str = "Script too large. Max size allowed is 10KB.";
    for request in [json!({}), json!({ "code": "x" }), json!({ "args": [], "Script": HELLO, "limits": 5 })] {
        server.execute(&request).is_error(400, MISSING);
    }
    for script in [json!(1), json!(null), json!(true), json!([HELLO]), json!({}), json!(1.5)] {
        server.execute(&json!({ "script": script })).is_error(400, NO_STRING);
    }
    for script in ["#".repeat(10_241), "é".repeat(5_121), "😀".repeat(2_561)] {
        let answer = server.execute(&json!({ "script": script }));
        answer.is_error(400, TOO_LARGE);
        let hint = answer.header("mayfly-hint").expect("it says what to do");
        for piece in ["MAYFLY_SCRIPT_BYTES", "args", "stdin"] {
            assert!(hint.contains(piece), "{hint}");
        }
    }
    assert_eq!(server.execute(&json!({})).header("mayfly-hint"), None);
}

fn the_largest_script_runs(server: &Server, _: Place) {
    for padding in ["#", "é"] {
        let room = 10_240 - HELLO.len() - 2;
        let script = format!("{HELLO}\n#{}", padding.repeat(room / padding.len()));
        assert!(script.len() > 10_238, "{}", script.len());
        server.check(&script, &json!({ "msg": "hello" }));
    }
}

fn unknown_fields_are_named(server: &Server, _: Place) {
    let known =
        "known fields are script, args, kwargs, stdin, limits, include, files, mode, entrypoint, argv, env, seed";
    let one = json!({ "script": HELLO, "timeout": 5 });
    server.execute(&one).is_error(400, &format!("Unknown field 'timeout'; {known}"));
    let two = json!({ "script": HELLO, "language": "python", "timeout": 5 });
    server.execute(&two).is_error(400, &format!("Unknown fields 'language', 'timeout'; {known}"));
    let limit = json!({ "script": HELLO, "limits": { "wall": 5 } });
    let known = "known fields are wall_ms, cpu_ms, memory_mb, output_bytes";
    server.execute(&limit).is_error(400, &format!("Unknown field 'limits.wall'; {known}"));
}

fn wrong_fields_are_told(server: &Server, _: Place) {
    let cases = [
        (json!({ "args": {} }), "'args' must be a list"),
        (json!({ "args": {} }), "'args' must be a list"),
        (
            json!({ "include": [null] }),
            "'include' must be a list of strings; known ones are stdout, stderr, usage, isolation",
        ),
        (json!({ "kwargs": [] }), "'kwargs' must be an object"),
        (json!({ "stdin": 5 }), "'stdin' must be a string"),
        (json!({ "limits": [] }), "'limits' must be an object"),
        (
            json!({ "include": "stdout" }),
            "'include' must be a list of strings; known ones are stdout, stderr, usage, isolation",
        ),
        (
            json!({ "include": ["stdin"] }),
            "Unknown word 'stdin' in 'include'; known ones are stdout, stderr, usage, isolation",
        ),
    ];
    for (mut request, sentence) in cases {
        request["script"] = HELLO.into();
        server.execute(&request).is_error(400, sentence);
    }
}

fn null_counts_as_absent(server: &Server, _: Place) {
    let limits = json!({ "wall_ms": null, "cpu_ms": null, "memory_mb": null, "output_bytes": null });
    for limits in [json!(null), limits] {
        let request = json!({
            "script": "import sys\ndef main(*a, **k):\n    return [a, k, sys.stdin.read()]",
            "args": null, "kwargs": null, "stdin": null, "limits": limits, "include": null, "entrypoint": null, "env": null,
            "seed": null,
        });
        let answer = server.execute(&request);
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"result":[[],{},""]}"#));
    }
    for (body, sentence) in [
        (&br#"{"script": null}"#[..], "'script' must be a string and included in the request"),
        (br#"{"script": "", "args": null, "args": []}"#, "'args' is given more than once"),
        (
            br#"{"script": "", "other": null}"#,
            "Unknown field 'other'; known fields are script, args, kwargs, stdin, limits, include, files, mode, entrypoint, argv, env, seed",
        ),
    ] {
        let answer = post(server, body);
        assert_eq!((answer.status, answer.json()), (400, json!({ "error": sentence })));
    }
}

fn a_body_that_is_no_json_is_told_where(server: &Server, _: Place) {
    post(server, b"").is_error(400, "Request body is empty; expected a JSON object");
    post(server, b"[]").is_error(400, "Request body must be a JSON object");
    post(server, b"\"script\"").is_error(400, "Request body must be a JSON object");
    let answer = post(server, b"{\n \"script\": x}");
    answer.is_error(400, "Request body is not valid JSON: expected value at line 2 column 12");
    let answer = post(server, b"{\"script\": \"\xff\"}");
    answer.is_error(400, "Request body is not valid UTF-8 (at byte 12)");
    for body in ["script=x", "{\"script\": \"x\"", "{'script': 'x'}", "\u{feff}{}", "{\"script\": NaN}"] {
        let answer = post(server, body.as_bytes());
        assert_eq!((answer.status, answer.json().as_object().map(serde_json::Map::len)), (400, Some(1)), "{body}");
    }
}

fn limits_beyond_the_maximum_are_refused(server: &Server, _: Place) {
    let maxima = [("wall_ms", 60_000), ("cpu_ms", 60_000), ("memory_mb", 1024), ("output_bytes", 1_048_576)];
    for (name, most) in maxima {
        let ask = |value: Value| server.execute(&json!({ "script": HELLO, "limits": { name: value } }));
        assert_eq!(ask(json!(most)).status, 200, "{name} at its maximum");
        for value in [json!(most + 1), json!(1_000_000_000_000_u64)] {
            ask(value).is_error(400, &format!("'limits.{name}' is too large: the maximum is {most}"));
        }
        let least = u64::from(name != "output_bytes");
        for value in [json!(-1), json!(1.5), json!("5"), json!(true), json!([5])] {
            ask(value).is_error(400, &format!("'limits.{name}' must be a whole number from {least} to {most}"));
        }
    }
    let huge = br#"{"script": "x", "limits": {"wall_ms": 1e12}}"#;
    assert_eq!(post(server, huge).status, 400);
}

fn what_include_asks_for_is_there(server: &Server, place: Place) {
    let script = "import sys\ndef main():\n    print('out')\n    print('err', file=sys.stderr)\n    return 1";
    let answer =
        server.execute(&json!({ "script": script, "include": ["stdout", "stderr", "usage", "isolation"] })).json();
    let told = (&answer["result"], &answer["stdout"], &answer["stderr"], &answer["isolation"]);
    assert_eq!(told, (&json!(1), &json!("out\n"), &json!("err\n"), &json!(place.level())));
    let usage = answer["usage"].as_object().expect("usage");
    assert_eq!(usage.keys().collect::<Vec<_>>(), ["cpu_ms", "peak_memory_mb", "wall_ms"]);
    for (name, number) in usage {
        let number = number.as_f64().expect("a number");
        assert!(number > 0.0 && number < 60_000.0, "{name} is {number}");
    }
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(5), "{answer}");
    let failed = server
        .execute(&json!({ "script": "def main():\n    print('so far')\n    1 / 0", "include": ["stdout"] }))
        .json();
    assert_eq!((&failed["stdout"], &failed["code"]), (&json!("so far\n"), &json!("exception")));
}

fn nothing_is_included_unasked(server: &Server, _: Place) {
    let script = "def main():\n    print('x' * 100000)\n    return 1";
    server.check_request(&json!({ "script": script }), 200, &json!({ "result": 1 }));
    server.check_request(&json!({ "script": script, "include": [] }), 200, &json!({ "result": 1 }));
}

fn arguments_arrive_as_they_are(server: &Server, _: Place) {
    let script = "def main(*args, **kwargs):\n    return [list(args), kwargs, [type(arg).__name__ for arg in args]]";
    let body = br#"{"args": [1, -1.0, 1e2, 123456789012345678901234567890, "\u00e9\ud83d\ude00", [null, true], {"k": {}}], "kwargs": {"a": 1, "b-c": 2},
        "script": "#;
    let body = [body.as_slice(), Value::from(script).to_string().as_bytes(), b"}"].concat();
    let answer = post(server, &body);
    let expected = concat!(
        r#"{"result":[[1,-1.0,100.0,123456789012345678901234567890,"é😀",[null,true],{"k":{}}],{"a":1,"b-c":2},"#,
        r#"["int","float","float","int","str","list","dict"]]}"#
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, expected));
}

fn stdin_is_what_was_sent(server: &Server, _: Place) {
    let script =
        "import sys\ndef main():\n    return [input(), sys.stdin.readline(), sys.stdin.read(), sys.stdin.read()]";
    let answer = server.execute(&json!({ "script": script, "stdin": "one\ntwo\nthr\u{e9}e\n4" })).json();
    assert_eq!(answer, json!({ "result": ["one", "two\n", "thr\u{e9}e\n4", ""] }));
    let failed = server.check_fails("def main():\n    return input()", "exception");
    assert_eq!(failed["exception"]["type"], "EOFError");
}

fn async_main_is_awaited(server: &Server, _: Place) {
    let script = "import asyncio\nasync def main(x):\n    await asyncio.sleep(0.01)\n    return x * 2";
    server.check_request(&json!({ "script": script, "args": [21] }), 200, &json!({ "result": 42 }));
}

fn routes_answer(server: &Server, _: Place) {
    for path in ["/healthz", "/livez"] {
        assert_eq!((server.get(path).status, server.get(path).json()), (200, json!({ "status": "alive" })), "{path}");
    }
    assert_eq!((server.get("/readyz").status, server.get("/readyz").json()), (200, json!({ "status": "ready" })));
    assert_eq!(server.get("/healthz?probe=1").status, 200);
    let mut connection = server.connect();
    let answer = connection.request("GET", "http://somewhere/healthz", &[], b"");
    assert_eq!(answer.status, 200, "absolute form");
}

fn head_is_get_without_a_body(server: &Server, _: Place) {
    for path in ["/healthz", "/livez", "/readyz", "/version", "/capabilities"] {
        let (get, head) = (server.get(path), server.connect().request("HEAD", path, &[], b""));
        assert_eq!((head.status, head.header("content-length")), (get.status, get.header("content-length")), "{path}");
    }
}

fn other_paths_are_404(server: &Server, _: Place) {
    let sentence = "No such path. There are POST /execute and GET /healthz, /livez, /readyz, /version, /capabilities.";
    for path in ["/", "/execute/", "/Execute", "/execut", "/healthz/x", "//execute", "/../execute"] {
        server.get(path).is_error(404, sentence);
        server.connect().request("POST", path, &[JSON], b"{}").is_error(404, sentence);
    }
}

fn other_methods_are_405_with_allow(server: &Server, _: Place) {
    let methods = ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"];
    for method in methods {
        let answer = server.connect().request(method, "/execute", &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method} /execute");
    }
    for path in ["/healthz", "/livez", "/readyz", "/version", "/capabilities"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = server.connect().request(method, path, &[], b"");
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
            answer.is_error(405, "Method not allowed here. Allowed: GET, HEAD.");
        }
    }
}

fn other_content_types_are_415(server: &Server, _: Place) {
    let body = json!({ "script": HELLO }).to_string();
    for fit in ["application/json", "Application/JSON; charset=utf-8", "application/json; charset=\"UTF-8\""] {
        assert_eq!(
            server.connect().request("POST", "/execute", &[("Content-Type", fit)], body.as_bytes()).status,
            200,
            "{fit}"
        );
    }
    for unfit in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonp",
        "text/json",
    ] {
        let answer = server.connect().request("POST", "/execute", &[("Content-Type", unfit)], body.as_bytes());
        answer.is_error(415, "Content-Type must be application/json");
    }
    server
        .connect()
        .request("POST", "/execute", &[], body.as_bytes())
        .is_error(415, "Content-Type must be application/json");
}

fn encoded_bodies_are_415(server: &Server, _: Place) {
    for encoding in ["gzip", "deflate", "br", "identity, gzip"] {
        let answer = server.connect().request("POST", "/execute", &[JSON, ("Content-Encoding", encoding)], b"{}");
        answer.is_error(415, "Content-Encoding is not supported; send the body as it is");
    }
}

fn every_answer_has_the_common_headers(server: &Server, _: Place) {
    let answers = [
        server.execute(&json!({ "script": HELLO })),
        server.execute(&json!({ "script": "1 / 0" })),
        server.execute(&json!({})),
        server.get("/healthz"),
        server.get("/capabilities"),
        server.get("/nowhere"),
        server.connect().request("PUT", "/execute", &[], b""),
    ];
    for answer in answers {
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
        assert!(answer.header("date").is_some(), "{answer:?}");
        assert!(answer.header("retry-after").is_none(), "{answer:?}");
    }
}

fn a_request_id_is_echoed_or_made(server: &Server, _: Place) {
    let ask = |id: &str| {
        let answer = server.connect().request("GET", "/healthz", &[("X-Request-Id", id)], b"");
        answer.header("x-request-id").expect("an id").to_owned()
    };
    for fit in ["a", "7b1a-42", "x/y:z=1", &"i".repeat(128)] {
        assert_eq!(ask(fit), fit);
    }
    for unfit in ["", "two words", "caf\u{e9}", &"i".repeat(129)] {
        let made = ask(unfit);
        assert!(made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{unfit:?} became {made:?}");
    }
    assert_ne!(ask(""), ask(""));
}

fn an_execution_tells_its_times_and_level(server: &Server, place: Place) {
    for script in [HELLO, "def main():\n    1 / 0"] {
        let answer = server.execute(&json!({ "script": script }));
        assert_eq!(answer.header("mayfly-isolation"), Some(place.level()));
        let timing = answer.header("server-timing").expect("times").to_owned();
        let names: Vec<&str> =
            timing.split(", ").filter_map(|part| part.split_once(";dur=").map(|(name, _)| name)).collect();
        assert_eq!(names, ["queue", "start", "run", "encode"], "{timing}");
        let times: Vec<f64> = timing.split(", ").filter_map(|part| part.split_once(";dur=")?.1.parse().ok()).collect();
        assert!(times.len() == 4 && times.iter().all(|time| (0.0..60_000.0).contains(time)), "{timing}");
    }
    assert_eq!(server.execute(&json!({})).header("mayfly-isolation"), Some(place.level()));
    assert_eq!(server.get("/healthz").header("mayfly-isolation"), None);
}

fn one_connection_carries_many_requests(server: &Server, _: Place) {
    let mut connection = server.connect();
    for number in 0..20 {
        let request = match number % 4 {
            0 => json!({ "script": "def main():\n    1 / 0" }),
            1 => json!({}),
            _ => json!({ "script": "def main(x):\n    return x", "args": [number] }),
        };
        let answer = connection.execute(&request);
        let expected = [422, 400, 200, 200][number % 4];
        assert_eq!(answer.status, expected, "{}", answer.text());
        if expected == 200 {
            assert_eq!(answer.json(), json!({ "result": number }));
        }
    }
}

fn pipelined_requests_are_answered_in_order(server: &Server, _: Place) {
    let mut connection = server.connect();
    let mut bytes = Vec::new();
    for number in 0..6 {
        let script =
            format!("import time\ndef main():\n    time.sleep({})\n    return {number}", 0.02 * f64::from(6 - number));
        let body = json!({ "script": script }).to_string();
        let length = body.len();
        let head = format!(
            "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(body.as_bytes());
    }
    connection.send(&bytes).expect("sent");
    for number in 0..6 {
        assert_eq!(connection.answer().expect("an answer").json(), json!({ "result": number }));
    }
}

fn expect_100_continue_works(server: &Server, _: Place) {
    let body = json!({ "script": HELLO }).to_string();
    let mut connection = server.connect();
    let head = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes()).expect("sent");
    assert_eq!(connection.interim().expect("an interim answer").status, 100);
    connection.send(body.as_bytes()).expect("sent");
    assert_eq!(connection.answer().expect("an answer").json(), json!({ "result": { "msg": "hello" } }));
    let refused = server.connect().request("POST", "/execute", &[JSON, ("Expect", "miracles")], body.as_bytes());
    assert_eq!(refused.status, 417);
}

fn chunked_bodies_are_read(server: &Server, _: Place) {
    let body = json!({ "script": HELLO }).to_string();
    let mut connection = server.connect();
    connection.send(b"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
    for piece in body.as_bytes().chunks(7) {
        connection.send(format!("{:x}\r\n", piece.len()).as_bytes()).expect("sent");
        connection.send(piece).expect("sent");
        connection.send(b"\r\n").expect("sent");
    }
    connection.send(b"0\r\n\r\n").expect("sent");
    assert_eq!(connection.answer().expect("an answer").json(), json!({ "result": { "msg": "hello" } }));
}

fn version_is_told(server: &Server, _: Place) {
    assert_eq!(server.get("/version").json(), json!({ "name": "mayfly", "version": env!("CARGO_PKG_VERSION") }));
}

fn capabilities_are_complete(server: &Server, place: Place) {
    let told = server.get("/capabilities").json();
    assert_eq!(told["isolation"], place.level());
    let layers = told["layers"].as_object().expect("layers");
    for layer in ["no-new-privileges", "seccomp-filter", "resource-limits"] {
        assert_eq!(layers[layer]["granted"], true, "{layer} is never optional");
    }
    for (name, layer) in layers {
        assert!(layer["granted"] == true || layer["why"].is_string(), "{name}: {layer}");
    }
    let expected = json!({ "wall_ms": 5000, "cpu_ms": 5000, "memory_mb": 256, "output_bytes": 65536 });
    assert_eq!(told["limits"], expected);
    let expected = json!({ "wall_ms": 60000, "cpu_ms": 60000, "memory_mb": 1024, "output_bytes": 1_048_576 });
    assert_eq!(told["maxima"], expected);
    server.check("import platform\ndef main():\n    return platform.python_version()", &told["python"]);
}

fn text_of_a_script_never_becomes_a_header(server: &Server, _: Place) {
    let script = "class Evil(Exception):\n    pass\nEvil.__name__ = Evil.__qualname__ = 'X\\r\\nSet-Cookie: a=b'\n\
                  def main():\n    raise Evil('y\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\n')";
    let answer = server.execute(&json!({ "script": script, "include": ["stdout"] }));
    assert_eq!((answer.status, answer.header("set-cookie")), (422, None));
    let names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    let known = [
        "cache-control",
        "content-length",
        "content-type",
        "date",
        "mayfly-isolation",
        "server-timing",
        "x-request-id",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
}
