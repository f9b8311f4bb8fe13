//! The HTTP front under clients that are slow, large, malformed or many. What `tests/attacks` holds as exchanges is not
//! repeated here; these need a server with times and sizes of its own.

use driver::client::Connection;
use driver::lone_tests;
use driver::server::{PATIENCE, Server};
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
    for start in ["P", "POST /execute HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
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
    format!("POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
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
    connection.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
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
        "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "POST /execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
        "GET /healthz HTTP/1.1\nHost: x\n\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "G\0T /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}hello over TLS\r\n\r\n",
    ];
    for case in cases {
        let mut connection = server.connect();
        // What follows must not be read as a request of its own.
        connection.send(format!("{case}GET /version HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
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
    assert_eq!(ask("GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n"), 505);
    assert_eq!(ask("POST /execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"), 501);
    assert_eq!(ask("CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"), 405);
    assert_eq!(ask("GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), 200);
    assert_eq!(ask("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
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

/// The smallest HTTP/2 client: prior knowledge, one request, literal headers without compression.
fn http2_serves_the_same_contract() {
    let server = quick(&[]);
    let mut connection = server.connect();
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", "/execute"),
        ("content-type", "application/json"),
    ] {
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
    assert_eq!(String::from_utf8_lossy(&body), r#"{"result":1}"#);
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
