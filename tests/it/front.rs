//! The HTTP front under clients that are slow, large, malformed or many. What `tests/attacks` holds as exchanges is not
//! repeated here; these need a server with times and sizes of its own.

use driver::client::Connection;
use driver::lone_tests;
use driver::server::{PATIENCE, Server, eventually};
use driver::tests;
use libtest_mimic::Trial;
use serde_json::json;
use std::io::Read;
use std::time::{Duration, Instant};

pub fn trials() -> Vec<Trial> {
    let mut trials = tests![
        a_silent_connection_is_closed,
        slow_headers_are_408,
        a_slow_body_is_408,
        a_body_cut_short_runs_nothing,
        an_idle_connection_is_closed,
        large_headers_are_431,
        a_large_body_is_413,
        a_large_chunked_body_is_413,
        a_client_that_does_not_take_its_answer_is_closed,
        malformed_heads_are_400_and_closed,
        other_versions_and_codings_are_refused,
        connections_have_a_cap,
        http2_serves_the_same_contract,
        sizes_are_settings,
        memory_comes_back_after_a_flood,
        names_and_origins_are_settings,
        http2_names_count_too,
        http2_clients_are_named_by_proxies_too,
        health_is_told_under_any_name,
    ];
    trials.extend(lone_tests![health_answers_while_scripts_run]);
    trials
}

const HELLO: &str = r#"{"script": "def main():\n    return 1"}"#;

fn quick(settings: &[(&str, &str)]) -> Server {
    let mut all = vec![("MAYFLY_PRELOAD", ""), ("MAYFLY_READY", "2")];
    all.extend_from_slice(settings);
    Server::start(&all)
}

#[track_caller]
fn passed_between(began: Instant, least: u64, most: u64) {
    let took = began.elapsed().as_millis();
    assert!(u128::from(least) <= took && took <= u128::from(most), "after {took} ms, not {least} to {most}");
}

fn a_silent_connection_is_closed() {
    let server = quick(&[("MAYFLY_HEADER_MS", "300")]);
    let began = Instant::now();
    assert!(server.connect().is_closed_within(Duration::from_secs(10)));
    passed_between(began, 250, 5000);
}

fn slow_headers_are_408() {
    let server = quick(&[("MAYFLY_HEADER_MS", "400")]);
    for start in ["P", "POST /execute HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let mut connection = server.connect();
        connection.send(start.as_bytes()).expect("sent");
        let began = Instant::now();
        // A byte now and then does not help.
        let mut trickle = Connection::open(server.address()).expect("a connection");
        trickle.send(start.as_bytes()).expect("sent");
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(50));
            trickle.send(b"x").expect("sent");
        }
        for mut slow in [connection, trickle] {
            let answer = slow.answer().expect("an answer");
            answer.is_error(408, "Request headers took too long to arrive");
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(slow.is_closed_within(Duration::from_secs(5)));
        }
        passed_between(began, 350, 5000);
    }
}

fn head(length: usize) -> String {
    format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

fn a_slow_body_is_408() {
    let server = quick(&[("MAYFLY_BODY_MS", "400")]);
    let mut connection = server.connect();
    connection.send(head(HELLO.len()).as_bytes()).expect("sent");
    let began = Instant::now();
    for byte in HELLO.bytes().take(5) {
        connection.send(&[byte]).expect("sent");
        std::thread::sleep(Duration::from_millis(40));
    }
    let answer = connection.answer().expect("an answer");
    answer.is_error(408, "Request body took too long to arrive");
    passed_between(began, 350, 5000);
    assert!(connection.is_closed_within(Duration::from_secs(5)));
}

fn a_body_cut_short_runs_nothing() {
    let server = quick(&[]);
    let mut connection = server.connect();
    connection.send(head(HELLO.len() + 5).as_bytes()).expect("sent");
    connection.send(HELLO.as_bytes()).expect("sent");
    connection.half_close();
    let mut rest = Vec::new();
    let _ = connection.stream().read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("result"), "{}", String::from_utf8_lossy(&rest));
}

fn an_idle_connection_is_closed() {
    let server = quick(&[("MAYFLY_IDLE_MS", "300")]);
    let mut connection = server.connect();
    assert_eq!(connection.request("GET", "/healthz", &[], b"").status, 200);
    let began = Instant::now();
    assert!(connection.is_closed_within(Duration::from_secs(10)));
    passed_between(began, 250, 5000);
}

fn large_headers_are_431() {
    let server = quick(&[]);
    let large = "x".repeat(17 * 1024);
    let many: Vec<(String, String)> = (0..101).map(|number| (format!("X-{number}"), "y".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for headers in [&[("X-Large", large.as_str())][..], &many] {
        let mut connection = server.connect();
        let answer = connection.request("GET", "/healthz", headers, b"");
        answer.is_error(431, "Request headers too large");
        assert!(connection.is_closed_within(Duration::from_secs(5)));
    }
    let fits = "x".repeat(15 * 1024);
    assert_eq!(server.connect().request("GET", "/healthz", &[("X-Large", &fits)], b"").status, 200);
}

fn a_large_body_is_413() {
    let server = quick(&[]);
    let sentence = "Request body too large. Max size allowed is 2MB.";
    // Refused by what it announces, before a byte of it is sent.
    let mut connection = server.connect();
    connection.send(head(10 << 30).as_bytes()).expect("sent");
    connection.answer().expect("an answer").is_error(413, sentence);
    assert!(connection.is_closed_within(Duration::from_secs(5)));
    let body = vec![b' '; (2 << 20) + 1];
    let answer = server.connect().request("POST", "/execute", &[("Content-Type", "application/json")], &body);
    answer.is_error(413, sentence);
    let mut fits = HELLO.as_bytes().to_vec();
    fits.resize(2 << 20, b' ');
    let answer = server.connect().request("POST", "/execute", &[("Content-Type", "application/json")], &fits);
    assert_eq!((answer.status, answer.json()), (200, json!({ "result": 1 })));
}

fn a_large_chunked_body_is_413() {
    let server = quick(&[]);
    let mut connection = server.connect();
    connection.send(b"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
    let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 65536], b"\r\n"].concat();
    // The server answers and closes while the client still sends.
    for _ in 0..40 {
        if connection.send(&chunk).is_err() {
            break;
        }
    }
    connection.answer().expect("an answer").is_error(413, "Request body too large. Max size allowed is 2MB.");
}

fn a_client_that_does_not_take_its_answer_is_closed() {
    let server = quick(&[("MAYFLY_BODY_MS", "500"), ("MAYFLY_RESULT_BYTES", "33554432")]);
    let mut connection = server.connect();
    // A slow machine must not meet the time limit first.
    let limits = json!({ "wall_ms": 60_000, "cpu_ms": 60_000 });
    let request = json!({ "script": "def main():\n    return 'x' * 30_000_000", "limits": limits }).to_string();
    connection.send(head(request.len()).as_bytes()).expect("sent");
    connection.send(request.as_bytes()).expect("sent");
    let line = server.log().wait_for(|line| line.contains("/execute"), PATIENCE).expect("a line");
    assert!(line.contains("status=200"), "{line}");
    std::thread::sleep(Duration::from_secs(2));
    let mut taken = Vec::new();
    let _ = connection.stream().read_to_end(&mut taken);
    assert!(taken.len() < 30_000_000, "the whole answer came after all");
}

fn malformed_heads_are_400_and_closed() {
    let server = quick(&[]);
    let cases = [
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n",
        "GET /healthz HTTP/1.1\nHost: x\n\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "G\0T /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}hello over TLS\r\n\r\n",
    ];
    for case in cases {
        let mut connection = server.connect();
        // What follows must not be read as a request of its own.
        connection.send(format!("{case}GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).expect("sent");
        let answer = connection.answer().unwrap_or_else(|error| panic!("{case:?}: {error}"));
        assert_eq!(answer.status, 400, "{case:?}: {}", answer.text());
        let body = answer.json();
        assert!(body["error"].is_string() && body.as_object().map(serde_json::Map::len) == Some(1), "{case:?}: {body}");
        assert_eq!(answer.header("connection"), Some("close"), "{case:?}");
        assert!(connection.is_closed_within(Duration::from_secs(5)), "{case:?}");
    }
}

fn other_versions_and_codings_are_refused() {
    let server = quick(&[]);
    let ask = |text: &str| {
        let mut connection = server.connect();
        connection.send(text.as_bytes()).expect("sent");
        connection.answer().expect("an answer").status
    };
    assert_eq!(ask("GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n"), 505);
    assert_eq!(ask("POST /execute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n"), 501);
    assert_eq!(ask("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n"), 405);
    assert_eq!(
        ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        200
    );
    assert_eq!(ask("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
}

fn connections_have_a_cap() {
    let server = quick(&[("MAYFLY_CONNECTIONS", "8")]);
    // Idle ones make room for new ones; the server goes on serving.
    let idle: Vec<Connection> = (0..40).map(|_| server.connect()).collect();
    for _ in 0..10 {
        assert_eq!(server.get("/healthz").status, 200);
    }
    drop(idle);
    // Busy ones do not: the ninth is told to come again.
    let sleeper = json!({ "script": "import time\ndef main():\n    time.sleep(1.5)\n    return 1" }).to_string();
    let mut busy: Vec<Connection> = (0..8).map(|_| server.connect()).collect();
    for connection in &mut busy {
        connection.send(head(sleeper.len()).as_bytes()).expect("sent");
        connection.send(sleeper.as_bytes()).expect("sent");
    }
    std::thread::sleep(Duration::from_millis(400));
    let answer = server.connect().answer().expect("an answer");
    answer.is_error(503, "too many connections; try again in a second");
    assert!(answer.header("retry-after").is_some());
    for mut connection in busy {
        assert_eq!(connection.answer().expect("an answer").json(), json!({ "result": 1 }));
    }
}

/// The smallest HTTP/2 client: prior knowledge, one request, literal headers without compression. The body of the answer.
fn ask_http2(server: &Server, fields: &[(&str, &str)]) -> String {
    let mut connection = server.connect();
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut headers = Vec::new();
    let usual = [(":method", "POST"), (":scheme", "http"), (":path", "/execute")];
    for (name, value) in usual.iter().chain(fields).chain(&[("content-type", "application/json")]) {
        headers.extend([0, u8::try_from(name.len()).expect("short")]);
        headers.extend_from_slice(name.as_bytes());
        headers.push(u8::try_from(value.len()).expect("short"));
        headers.extend_from_slice(value.as_bytes());
    }
    let bytes = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, b""),
        frame(1, 4, 1, &headers),
        frame(0, 1, 1, HELLO.as_bytes()),
    ];
    connection.send(&bytes.concat()).expect("sent");
    let mut body = Vec::new();
    let mut stream = connection.stream();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).expect("a frame");
        let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).expect("a payload");
        let (kind, flags, number) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        if kind == 0 && number == 1 {
            body.extend_from_slice(&payload);
            if flags & 1 != 0 {
                break;
            }
        }
        assert_ne!(kind, 7, "the server went away: {}", String::from_utf8_lossy(&payload));
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn http2_serves_the_same_contract() {
    let server = quick(&[]);
    assert_eq!(ask_http2(&server, &[(":authority", "localhost")]), r#"{"result":1}"#);
}

fn http2_clients_are_named_by_proxies_too() {
    let ask = |proxies: &str, wanted: &str| {
        let server = quick(&[("MAYFLY_PROXIES", proxies)]);
        let fields =
            [(":authority", "localhost"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(ask_http2(&server, &fields), r#"{"result":1}"#);
        let line = server.log().wait_for(|line| line.contains(wanted), PATIENCE);
        assert!(line.is_some(), "{wanted}: {:?}", server.log().lines());
    };
    ask("127.0.0.0/8", "client=198.51.100.1 proxy=127.0.0.1 ");
    ask("10.0.0.0/8", "client=127.0.0.1 method");
}

const WRONG_HOST: &str =
    "this server does not answer to that host name; MAYFLY_HOSTS lists the names that it answers to";
const FOREIGN: &str = "a web page of another origin may not post here; MAYFLY_HOSTS lists the origins that may";

fn http2_names_count_too() {
    let server = quick(&[]);
    let says = |fields: &[(&str, &str)], sentence: &str| {
        assert_eq!(ask_http2(&server, fields), json!({ "error": sentence }).to_string(), "{fields:?}");
    };
    says(&[(":authority", "evil.example")], WRONG_HOST);
    says(&[(":authority", "localhost"), ("host", "evil.example")], WRONG_HOST);
    says(&[("host", "evil.example")], WRONG_HOST);
    says(&[(":authority", "localhost"), ("origin", "http://evil.example")], FOREIGN);
    assert_eq!(ask_http2(&server, &[(":authority", "localhost"), ("origin", "http://localhost")]), r#"{"result":1}"#);
}

fn names_and_origins_are_settings() {
    let asked = |server: &Server, host: &str, origin: Option<&str>| {
        let mut connection = server.connect();
        let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
        let head = head(HELLO.len()).replace("Host: localhost\r\n", &format!("Host: {host}\r\n{origin}"));
        connection.send(format!("{head}{HELLO}").as_bytes()).expect("sent");
        let answer = connection.answer().expect("an answer");
        match answer.status {
            200 => assert_eq!(answer.json(), json!({ "result": 1 })),
            421 => answer.is_error(421, WRONG_HOST),
            _ => answer.is_error(403, FOREIGN),
        }
        answer.status
    };
    let server = quick(&[("MAYFLY_HOSTS", "mayfly.example, *.svc.example, https://page.example")]);
    for (host, origin, status) in [
        ("localhost:8080", None, 200),
        ("127.0.0.1:8080", Some("http://127.0.0.1:8080"), 200),
        ("[::1]:8080", None, 200),
        ("mayfly.example", Some("https://mayfly.example"), 200),
        ("a.svc.example:80", Some("https://page.example"), 200),
        ("svc.example", None, 421),
        ("page.example", Some("https://page.example"), 421),
        ("mayfly.example", Some("https://other.example"), 403),
        ("localhost:8080", Some("null"), 403),
    ] {
        assert_eq!(asked(&server, host, origin), status, "{host} {origin:?}");
    }
    let line = server.log().wait_for(|line| line.contains("code=\"wrong_host\""), PATIENCE);
    assert!(line.is_some(), "a refusal has its line");
    // HTTP/1.0 may leave the name out.
    let mut connection = server.connect();
    let old = head(HELLO.len()).replace("1.1\r\nHost: localhost", "1.0");
    connection.send(format!("{old}{HELLO}").as_bytes()).expect("sent");
    let mut text = String::new();
    connection.stream().read_to_string(&mut text).expect("an answer");
    assert!(text.ends_with(r#"{"result":1}"#), "{text}");
    let open = quick(&[("MAYFLY_HOSTS", "*")]);
    assert_eq!(asked(&open, "evil.example", Some("null")), 200);
}

fn health_is_told_under_any_name() {
    let server = quick(&[]);
    let asked = |path: &str| {
        let mut connection = server.connect();
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: probe.example\r\n\r\n").as_bytes()).expect("sent");
        connection.answer().expect("an answer").status
    };
    assert_eq!(["/healthz", "/livez", "/readyz", "/version", "/capabilities"].map(asked), [200, 200, 200, 421, 421]);
}

/// Requests over HTTP/2 whose answers nobody takes.
fn memory_comes_back_after_a_flood() {
    const STREAMS: u32 = 64;
    let server = quick(&[]);
    for _ in 0..20 {
        server.check("def main():\n    return 1", &1.into());
    }
    let before = server.resident();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // No room for the body of any answer; then GET /version for `localhost`, by the static table (RFC 7541, appendix A).
    bytes.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    let head = [&[0x82, 0x86, 0x04, 8][..], b"/version", &[0x01, 9], b"localhost"].concat();
    for number in 0..STREAMS {
        bytes.extend([0, 0, u8::try_from(head.len()).expect("short"), 1, 5]);
        bytes.extend((2 * number + 1).to_be_bytes());
        bytes.extend_from_slice(&head);
    }
    let mut flood: Vec<Connection> = (0..300).map(|_| server.connect()).collect();
    for connection in &mut flood {
        // The server may have closed it: that is one way not to hold anything.
        let _ = connection.send(&bytes);
    }
    // All is answered, and held, when it grows no more.
    let mut last = 0;
    while last < server.resident() {
        last = server.resident();
        std::thread::sleep(Duration::from_millis(500));
    }
    drop(flood);
    eventually("the memory is back", || server.resident() < before + 20 * 1024);
}

fn sizes_are_settings() {
    let server =
        quick(&[("MAYFLY_SCRIPT_BYTES", "1000"), ("MAYFLY_BODY_BYTES", "3000"), ("MAYFLY_RESULT_BYTES", "100")]);
    let answer = server.execute(&json!({ "script": "#".repeat(1001) }));
    answer.is_error(400, "Script too large. Max size allowed is 1000 bytes.");
    let answer = server.execute(&json!({ "script": "#".repeat(3000) }));
    answer.is_error(413, "Request body too large. Max size allowed is 3000 bytes.");
    server.check("def main():\n    return 'x' * 98", &"x".repeat(98).into());
    server.check_fails("def main():\n    return 'x' * 99", "result_too_large");
}

fn health_answers_while_scripts_run() {
    let server = quick(&[("MAYFLY_CONCURRENCY", "8")]);
    let burner = json!({ "script": "while True:\n    pass", "limits": { "wall_ms": 2500, "cpu_ms": 60000 } });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| server.execute(&burner));
        }
        std::thread::sleep(Duration::from_millis(300));
        let mut times: Vec<Duration> = (0..20)
            .map(|_| {
                let began = Instant::now();
                assert_eq!(server.get("/healthz").status, 200);
                let took = began.elapsed();
                std::thread::sleep(Duration::from_millis(30));
                took
            })
            .collect();
        times.sort();
        assert!(times[18] < Duration::from_millis(500), "health took {times:?}");
    });
}
