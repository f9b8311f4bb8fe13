//! A child that is an enemy: scripts that speak on the child's own channel, in every wrong way there is.
//!
//! The server must not abort, must not take more memory than a reply may cost, must not wait past the deadline, and must tell
//! the client something true: a value, or why there is none. Each test ends with a script that any healthy server answers; after
//! the last the server's memory, descriptors and processes are examined.

use driver::server::{Server, Setup, eventually};
use driver::trial::{self, trial};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The largest reply, in bytes: the supervisor's cap for the result size set below.
const RESULT_BYTES: u64 = 1 << 20;
const REPLY_CAP: u64 = 3 * RESULT_BYTES + 192 * 1024;

/// The most tokens that the supervisor decodes: as JSON each takes two bytes at least.
const MOST_TOKENS: u64 = RESULT_BYTES / 2 + 2;

/// What one reply may cost the server, in KiB: its bytes in a buffer that doubles while it grows, its tokens (32 bytes each, in
/// a list that doubles), and its JSON.
const COST: u64 = (REPLY_CAP * 2 + MOST_TOKENS * 32 * 2 + RESULT_BYTES * 2) / 1024;

/// How much later than the deadline an answer may come, on a machine that is busy with other tests.
const LATE: Duration = Duration::from_secs(2);

type Test = fn(&Server);

const TESTS: &[(&str, Test)] = &[
    ("garbage", garbage),
    ("garbage_after_a_true_header", garbage_after_a_true_header),
    ("lengths_beyond_the_cap", lengths_beyond_the_cap),
    ("a_length_of_zero", a_length_of_zero),
    ("the_largest_length_and_nothing_more", the_largest_length_and_nothing_more),
    ("a_frame_cut_short_and_an_end", a_frame_cut_short_and_an_end),
    ("a_frame_cut_short_and_silence", a_frame_cut_short_and_silence),
    ("half_a_header", half_a_header),
    ("bytes_after_the_frame", bytes_after_the_frame),
    ("bytes_left_over_in_the_frame", bytes_left_over_in_the_frame),
    ("byte_by_byte", byte_by_byte),
    ("byte_by_byte_without_an_end", byte_by_byte_without_an_end),
    ("messages_of_another_state", messages_of_another_state),
    ("lists_within_lists", lists_within_lists),
    ("claims_of_more_than_there_is", claims_of_more_than_there_is),
    ("text_that_is_no_text", text_that_is_no_text),
    ("numbers_that_are_none", numbers_that_are_none),
    ("notes_that_flood_the_answer", notes_that_flood_the_answer),
    ("as_many_tokens_as_fit", as_many_tokens_as_fit),
    ("as_many_tokens_as_fit_from_eight_at_once", as_many_tokens_as_fit_from_eight_at_once),
    ("silence", silence),
    ("a_closed_channel", a_closed_channel),
    ("a_channel_closed_one_way", a_channel_closed_one_way),
    ("a_channel_that_is_read", a_channel_that_is_read),
    ("both_pipes_full", both_pipes_full),
    ("both_pipes_and_the_channel_full", both_pipes_and_the_channel_full),
    ("frames_without_end", frames_without_end),
    ("two_writers", two_writers),
];

/// The one server, with what it had before the first test.
struct Host {
    server: Server,
    descriptors: usize,
    peak: u64,
}

impl Host {
    fn start() -> Self {
        let settings = [("MAYFLY_PRELOAD", ""), ("MAYFLY_RESULT_BYTES", "1048576"), ("MAYFLY_CONCURRENCY", "16")];
        let server = Setup::new(&settings).start();
        for _ in 0..8 {
            canary(&server);
        }
        std::thread::sleep(Duration::from_millis(500));
        Self { descriptors: server.descriptors(), peak: peak(&server), server }
    }
}

fn main() -> ExitCode {
    let host: Arc<OnceLock<Host>> = Arc::default();
    let trials = || {
        let of = |(name, test): &(&'static str, Test)| {
            let (host, test) = (Arc::clone(&host), *test);
            trial(*name, move || {
                let server = &host.get_or_init(Host::start).server;
                test(server);
                canary(server);
            })
        };
        TESTS.iter().map(of).collect::<Vec<Trial>>()
    };
    trial::run(2, trials, || host.get().into_iter().for_each(examine))
}

/// What is left when all is over.
fn examine(host: &Host) {
    let server = &host.server;
    canary(server);
    eventually("no zombie is left", || !server.processes().iter().any(|process| process.state == 'Z'));
    eventually("descriptors are as many as before", || server.descriptors() <= host.descriptors + 12);
    // Eight replies at once are the most that a test asks for, and two tests run at once.
    let grown = peak(server).saturating_sub(host.peak);
    println!("the server's peak memory grew by {} MiB; {} MiB are allowed", grown / 1024, COST * 9 / 1024);
    assert!(grown <= COST * 9, "the server's peak memory grew by {grown} KiB");
}

/// The most memory that was resident at once, in KiB.
fn peak(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[track_caller]
fn canary(server: &Server) {
    server.check("def main():\n    return 'alive ' + str(sum(range(10)))", &json!("alive 45"));
}

/// The attacks' own means to forge frames.
fn forge() -> String {
    let text = include_str!("attacks/preludes.toml");
    let preludes: toml::Table = text.parse().expect("TOML");
    preludes["forge"].as_str().expect("text").to_owned()
}

/// What became of a script whose `main()` has this body: the result, or the code of a failure; and how long it took.
#[track_caller]
fn run(server: &Server, body: &str, wall: u64, args: &Value) -> (Result<Value, String>, Value, Duration) {
    let indented = format!("    {}\n", body.lines().collect::<Vec<_>>().join("\n    "));
    let script = format!("{}\nimport time, threading\ndef main(*args):\n{indented}", forge());
    let request = json!({ "script": script, "args": args, "limits": { "wall_ms": wall }, "include": ["usage"] });
    let began = Instant::now();
    let answer = server.execute(&request);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(wall) + LATE, "{took:?} for a limit of {wall} ms");
    let body = answer.json();
    let log =
        || server.log().lines().into_iter().filter(|line| !line.contains(" INFO ")).collect::<Vec<_>>().join("\n");
    assert!(answer.status == 200 || answer.status == 422, "{} {}\n{}", answer.status, shortened(&answer.text()), log());
    // What the supervisor measured is believable whatever was forged.
    let wall_ms = body["usage"]["wall_ms"].as_f64().expect("a time");
    assert!(wall_ms >= 0.0 && wall_ms <= took.as_secs_f64() * 1000.0 + 1.0, "{wall_ms} ms of {took:?}");
    let outcome = if answer.status == 200 {
        Ok(body["result"].clone())
    } else {
        Err(body["code"].as_str().expect("a code").to_owned())
    };
    (outcome, body, took)
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}

/// The script fails with one of these codes.
#[track_caller]
fn fails(server: &Server, body: &str, codes: &[&str]) -> Value {
    let (outcome, answer, _) = run(server, body, 5000, &json!([]));
    assert!(outcome.as_ref().is_err_and(|code| codes.contains(&code.as_str())), "{}", shortened(&answer.to_string()));
    answer
}

/// The script fails with this code well before its time is over.
#[track_caller]
fn fails_at_once(server: &Server, body: &str, code: &str) -> Value {
    let (outcome, answer, took) = run(server, body, 20_000, &json!([]));
    assert_eq!(outcome, Err(code.to_owned()), "{}", shortened(&answer.to_string()));
    assert!(took < Duration::from_secs(8), "it took {took:?}");
    answer
}

/// The script's time passes, and it is told so.
#[track_caller]
fn times_out(server: &Server, body: &str) {
    let (outcome, answer, took) = run(server, body, 400, &json!([]));
    assert_eq!(outcome, Err("timeout".to_owned()), "{}", shortened(&answer.to_string()));
    assert_eq!(answer["error"], "the script ran longer than 400 ms and was stopped");
    assert!(took >= Duration::from_millis(400), "{took:?}");
}

const NO_RESULT: &str = "result_not_serializable";
const TOO_LARGE: &str = "result_too_large";
const FORGED: &str =
    "the script wrote to its result channel itself, so there is no result; return a value from main() instead";

fn garbage(server: &Server) {
    // Its own seed, so that each run tries other bytes; a length that happens to be allowed is waited for.
    for size in [1, 3, 4, 5, 8, 64, 4096, 4097, 100_000] {
        let body = format!("say(os.urandom({size}))\ntime.sleep(60)");
        let (outcome, answer, _) = run(server, &body, 300, &json!([]));
        assert!(
            outcome.as_ref().is_err_and(|code| code == NO_RESULT || code == "timeout"),
            "{size}: {}",
            shortened(&answer.to_string())
        );
    }
}

fn garbage_after_a_true_header(server: &Server) {
    let mut seen = 0;
    for round in 0..40 {
        let body = format!(
            "import random\nsize = random.choice([1, 2, 3, 10, 50, 1000])\nsay(frame(b'\\1' + bytes([random.choice([0, 0, 0, 1, 2, 3, 4, 255])]) + random.randbytes(size)))\ntime.sleep(60) # {round}"
        );
        let (outcome, answer, _) = run(server, &body, 2000, &json!([]));
        // A few bytes can be a value by chance.
        let told = match &outcome {
            Ok(_) => true,
            Err(code) => {
                [NO_RESULT, "result_too_large", "exception", "syntax_error", "no_main", "exited", "memory_limit"]
                    .contains(&code.as_str())
            }
        };
        assert!(told, "{}", shortened(&answer.to_string()));
        seen += usize::from(outcome == Err(NO_RESULT.to_owned()));
    }
    assert!(seen > 10, "only {seen} of 40 were refused");
}

fn lengths_beyond_the_cap(server: &Server) {
    for length in [REPLY_CAP + 1, 64 << 20, (64 << 20) + 1, 1 << 31, u64::from(u32::MAX)] {
        let body = format!("say(({length}).to_bytes(4, 'little') + b'x' * 100)\ntime.sleep(60)");
        assert_eq!(fails_at_once(server, &body, NO_RESULT)["error"], FORGED);
    }
}

fn a_length_of_zero(server: &Server) {
    assert_eq!(fails_at_once(server, "say(frame(b''))\ntime.sleep(60)", NO_RESULT)["error"], FORGED);
}

fn the_largest_length_and_nothing_more(server: &Server) {
    times_out(server, &format!("say(({REPLY_CAP}).to_bytes(4, 'little'))\ntime.sleep(60)"));
}

fn a_frame_cut_short_and_an_end(server: &Server) {
    for cut in [1, 3, 4, 5, 10] {
        let body = format!("say(frame(value(STR + text('a long enough text')))[:{cut}])\nos._exit(7)");
        let answer = fails_at_once(server, &body, "exited");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains("status 7")), "{answer}");
    }
}

fn a_frame_cut_short_and_silence(server: &Server) {
    times_out(server, "say(frame(value(STR + text('a long enough text')))[:-1])\ntime.sleep(60)");
}

fn half_a_header(server: &Server) {
    times_out(server, "say(b'\\5\\0')\ntime.sleep(60)");
}

/// Either the frame alone was seen, and counts, or what follows it too, and then nothing does.
fn bytes_after_the_frame(server: &Server) {
    let (outcome, answer, _) =
        run(server, "say(frame(value(STR + text('x'))) + b'more')\ntime.sleep(60)", 5000, &json!([]));
    assert!(outcome == Ok(json!("x")) || answer["error"] == FORGED, "{answer}");
}

fn bytes_left_over_in_the_frame(server: &Server) {
    assert_eq!(
        fails_at_once(server, "say(frame(value(STR + text('x')) + b'more'))\ntime.sleep(60)", NO_RESULT)["error"],
        FORGED
    );
    let answer =
        fails_at_once(server, "say(frame(value(STR + text('x'), STR + text('y'))))\ntime.sleep(60)", NO_RESULT);
    assert_eq!(answer["error"], "the result is malformed: tokens follow the value");
}

fn byte_by_byte(server: &Server) {
    let body = "for byte in frame(value(STR + text('y' * 3000))):\n    say(bytes([byte]))\ntime.sleep(60)";
    let (outcome, answer, _) = run(server, body, 20_000, &json!([]));
    assert_eq!(outcome, Ok(json!("y".repeat(3000))), "{}", shortened(&answer.to_string()));
}

fn byte_by_byte_without_an_end(server: &Server) {
    times_out(server, "say((1000).to_bytes(4, 'little'))\nwhile True:\n    say(b'x')\n    time.sleep(0.02)");
}

fn messages_of_another_state(server: &Server) {
    let messages = [
        // The three that a child says before its job: ready, failed, verified.
        "b'\\0\\0' + number(5)",
        "b'\\0\\0' + number(1 << 40)",
        "b'\\0\\1' + number(3) + number(10)",
        "b'\\0\\2' + number(0)",
        "b'\\0\\2' + number((1 << 32) - 1)",
        // What a child is told: its input, its job.
        "b'\\0' + text('input')",
        "b'\\1' + text('def main(): pass') + number(1) + LIST + b'\\0' + number(1) + MAP + b'\\0' + text('') + number(1 << 20) + b'\\0'",
        // No message at all.
        "b'\\1\\4'",
        "b'\\2'",
        "b'\\xff' * 9",
    ];
    for message in messages {
        fails_at_once(server, &format!("say(frame({message}))\ntime.sleep(60)"), NO_RESULT);
    }
}

fn lists_within_lists(server: &Server) {
    let deep = |depth: usize| format!("say(frame(value(*[LIST + b'\\1'] * {depth}, NULL)))\ntime.sleep(60)");
    // The deepest that is allowed is one too deep for the JSON reader of this test, with the answer around it.
    let (outcome, ..) = run(server, &deep(126), 5000, &json!([]));
    assert!(outcome.is_ok(), "{outcome:?}");
    for depth in [129, 1000, 500_000] {
        let answer = fails_at_once(server, &deep(depth), NO_RESULT);
        assert_eq!(answer["error"], "the result is malformed: the value nests too deep");
    }
    fails_at_once(server, &deep(1_000_000), TOO_LARGE);
    let maps = "say(frame(value(*[MAP + b'\\1', STR + text('k')] * 250_000, NULL)))\ntime.sleep(60)";
    fails_at_once(server, maps, NO_RESULT);
}

fn claims_of_more_than_there_is(server: &Server) {
    let claims = |tokens: u64| format!("say(frame(VALUE + number({tokens}) + NULL))\ntime.sleep(60)");
    for tokens in [2, 1000, MOST_TOKENS] {
        assert_eq!(fails_at_once(server, &claims(tokens), NO_RESULT)["error"], FORGED);
    }
    // Nobody looks whether they are there.
    for tokens in [MOST_TOKENS + 1, 1 << 32, 1 << 60, u64::MAX] {
        fails_at_once(server, &claims(tokens), TOO_LARGE);
    }
    for kind in ["STR", "BYTES", "BIGINT"] {
        let body = format!("say(frame(VALUE + number(1) + {kind} + number((1 << 62) + 5) + b'abc'))\ntime.sleep(60)");
        assert_eq!(fails_at_once(server, &body, NO_RESULT)["error"], FORGED);
    }
    for kind in ["LIST", "MAP"] {
        let body = format!("say(frame(value({kind} + number((1 << 32) - 1))))\ntime.sleep(60)");
        assert_eq!(
            fails_at_once(server, &body, NO_RESULT)["error"],
            "the result is malformed: the value ends too early"
        );
    }
}

fn text_that_is_no_text(server: &Server) {
    for bytes in ["\\xff", "\\xc0\\x80", "\\xed\\xa0\\x80", "\\xf5\\x80\\x80\\x80", "ok\\xe2\\x82"] {
        let body = format!("say(frame(value(STR + text(b'{bytes}'))))\ntime.sleep(60)");
        assert_eq!(fails_at_once(server, &body, NO_RESULT)["error"], FORGED);
        let body = format!(
            "say(frame(RAISED + b'\\1\\0' + text('E') + text(b'{bytes}') + b'\\0\\0' + text('')))\ntime.sleep(60)"
        );
        assert_eq!(fails_at_once(server, &body, NO_RESULT)["error"], FORGED);
    }
}

fn numbers_that_are_none(server: &Server) {
    for digits in ["", "-", "1e9", "0x10", "007", "1 2", "NaN", "1,\\\"forged\\\":2"] {
        let body = format!("say(frame(value(BIGINT + text('{digits}'))))\ntime.sleep(60)");
        fails_at_once(server, &body, NO_RESULT);
    }
    let long = "say(frame(value(BIGINT + text('9' * 4301))))\ntime.sleep(60)";
    fails_at_once(server, long, NO_RESULT);
}

/// Notes are an answer's only text beside a result that a child has a say in.
fn notes_that_flood_the_answer(server: &Server) {
    let many =
        "say(frame(VALUE + number(1) + NULL + text('\\n' * 9 + 'note <b>\\n' * 2000 + 'x' * 2000)))\ntime.sleep(60)";
    let (outcome, answer, _) = run(server, many, 5000, &json!([]));
    assert_eq!((outcome, &answer["notes"]), (Ok(Value::Null), &json!(vec!["note <b>"; 9])));
    let long = "say(frame(VALUE + number(1) + NULL + text('é' * 20_000)))\ntime.sleep(60)";
    let (outcome, answer, _) = run(server, long, 5000, &json!([]));
    assert_eq!((outcome, &answer["notes"]), (Ok(Value::Null), &json!(["é".repeat(800)])));
    for text in ["'x' * 200_000", "b'\\xff'"] {
        let body = format!("say(frame(VALUE + number(1) + NULL + text({text})))\ntime.sleep(60)");
        assert_eq!(fails_at_once(server, &body, NO_RESULT)["error"], FORGED);
    }
    let of_a_failure = "say(frame(value(LIST + number(1)) + text('note')))\ntime.sleep(60)";
    assert_eq!(fails_at_once(server, of_a_failure, NO_RESULT)["notes"], Value::Null);
}

/// The most that a reply can cost: tokens of one byte each, as many as are decoded.
const FULL_OF_TOKENS: &str = "count = args[0]\nsay(frame(VALUE + number(count + 1) + LIST + number(count) + NULL * count + text('')))\ntime.sleep(60)";

fn as_many_tokens_as_fit(server: &Server) {
    let before = peak(server);
    // So many are decoded, and their JSON is too large; more are not even decoded.
    for tokens in [MOST_TOKENS - 1, MOST_TOKENS, REPLY_CAP - 14] {
        let (outcome, answer, _) = run(server, FULL_OF_TOKENS, 20_000, &json!([tokens]));
        assert_eq!(outcome, Err(TOO_LARGE.to_owned()), "{}", shortened(&answer.to_string()));
    }
    let grown = peak(server).saturating_sub(before);
    println!("replies full of tokens: {} MiB", grown / 1024);
    assert!(grown <= COST * 2, "{grown} KiB for one reply");
}

fn as_many_tokens_as_fit_from_eight_at_once(server: &Server) {
    std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..8).map(|_| scope.spawn(|| run(server, FULL_OF_TOKENS, 20_000, &json!([MOST_TOKENS - 1])).0)).collect();
        for one in all {
            let outcome = one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert_eq!(outcome, Err(TOO_LARGE.to_owned()));
        }
    });
}

fn silence(server: &Server) {
    times_out(server, "time.sleep(60)");
    times_out(server, "import signal\nwhile True:\n    time.sleep(1)");
}

fn a_closed_channel(server: &Server) {
    let answer = fails_at_once(server, "for one in channels():\n    os.close(one)\ntime.sleep(60)", NO_RESULT);
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("closed its result channel")), "{answer}");
    let answer = fails_at_once(server, "os.closerange(0, 64)\ntime.sleep(60)", NO_RESULT);
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("closed its result channel")), "{answer}");
    fails_at_once(server, "os.closerange(0, 64)\nos._exit(3)", "exited");
}

fn a_channel_closed_one_way(server: &Server) {
    // Whether the filter allows shutdown or not, and which way it goes.
    for how in [0, 1, 2] {
        let body = format!(
            "import socket\ntry:\n    socket.socket(fileno=channels()[0]).shutdown({how})\nexcept OSError:\n    pass\ntime.sleep(60)"
        );
        let (outcome, answer, _) = run(server, &body, 3000, &json!([]));
        let told = [NO_RESULT, "timeout", "blocked"];
        assert!(
            outcome.as_ref().is_err_and(|code| told.contains(&code.as_str())),
            "{}",
            shortened(&answer.to_string())
        );
    }
}

fn a_channel_that_is_read(server: &Server) {
    times_out(server, "while True:\n    os.read(channels()[0], 4096)");
}

fn both_pipes_full(server: &Server) {
    let fill = "def fill(one):\n    while True:\n        os.write(one, b'x' * 65536)\n";
    let body = format!("{fill}threading.Thread(target=fill, args=(2,), daemon=True).start()\nfill(1)");
    let (outcome, answer, _) = run(server, &body, 20_000, &json!([]));
    assert!(
        outcome.as_ref().is_err_and(|code| ["output_limit", "timeout", "cpu_limit"].contains(&code.as_str())),
        "{}",
        shortened(&answer.to_string())
    );
    // With them full a result still gets through.
    let body = format!(
        "{fill}for one in (1, 2):\n    threading.Thread(target=fill, args=(one,), daemon=True).start()\ntime.sleep(0.05)\nreturn 'through'"
    );
    let (outcome, answer, _) = run(server, &body, 20_000, &json!([]));
    assert!(
        outcome == Ok(json!("through")) || outcome == Err("output_limit".to_owned()),
        "{}",
        shortened(&answer.to_string())
    );
}

fn both_pipes_and_the_channel_full(server: &Server) {
    let body = format!(
        "def fill(one, piece):\n    while True:\n        os.write(one, piece)\n\
         threading.Thread(target=fill, args=(1, b'x' * 4096), daemon=True).start()\n\
         threading.Thread(target=fill, args=(2, b'x' * 4096), daemon=True).start()\n\
         say(({REPLY_CAP}).to_bytes(4, 'little'))\nfill(channels()[0], b'x' * 1000)"
    );
    let answer = fails(server, &body, &[NO_RESULT, "output_limit", "timeout", "cpu_limit"]);
    assert!(answer["error"].is_string());
}

fn frames_without_end(server: &Server) {
    let (outcome, answer, _) =
        run(server, "one = frame(value(STR + text('x')))\nwhile True:\n    say(one)", 5000, &json!([]));
    assert!(outcome == Ok(json!("x")) || answer["error"] == FORGED, "{}", shortened(&answer.to_string()));
}

/// A thread forges while the runner replies: one of them is heard, or neither.
fn two_writers(server: &Server) {
    for _ in 0..20 {
        let body = "def other():\n    while True:\n        try:\n            say(frame(value(STR + text('thread'))))\n        except OSError:\n            return\n\
                    threading.Thread(target=other, daemon=True).start()\nreturn 'main'";
        let (outcome, answer, _) = run(server, body, 5000, &json!([]));
        let told = outcome == Ok(json!("thread")) || outcome == Ok(json!("main")) || answer["error"] == FORGED;
        assert!(told, "{}", shortened(&answer.to_string()));
    }
}
