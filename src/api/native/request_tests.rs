//! Request bodies and what becomes of them, as a table.

use super::*;
use crate::files::{self, Caps};
use crate::job::Limits;
use crate::manner::{self, MannerBounds, Texts};
use crate::size::ByteSize;
use crate::value::Token;
use std::time::Duration;

fn bounds() -> Bounds {
    let limits = Limits {
        wall: Duration::from_secs(5),
        cpu: Duration::from_secs(5),
        memory: ByteSize::mebibytes(256),
        output: ByteSize(65_536),
    };
    let maxima = Limits {
        wall: Duration::from_secs(60),
        cpu: Duration::from_secs(60),
        memory: ByteSize::mebibytes(1024),
        output: ByteSize::mebibytes(1),
    };
    let brought = Caps { count: 10, depth: 4, each: ByteSize(1000), all: ByteSize(2000) };
    let files = files::Bounds { brought, room: Some(ByteSize::mebibytes(1)) };
    let env = Texts { count: 3, bytes: ByteSize(100) };
    Bounds { limits, maxima, script: ByteSize(10_240), files, manner: MannerBounds { argv: env, env } }
}

fn sentence(body: &str) -> String {
    match parse(body.as_bytes(), &bounds()) {
        Ok(job) => panic!("{body:?} was accepted as {job:?}"),
        Err(wrong) => wrong.sentence.into_owned(),
    }
}

fn job(body: &str) -> Job {
    parse(body.as_bytes(), &bounds()).unwrap_or_else(|wrong| panic!("{body:?} was refused: {wrong:?}"))
}

#[test]
fn the_three_known_sentences_are_to_the_letter() {
    const MISSING: &str = "Missing 'script' in request";
    const NO_STRING: &str = "'script' must be a string and included in the request";
    const TOO_LARGE: &str = "Script too large. Max size allowed is 10KB.";
    let large = |characters: &str, times: usize| format!(r#"{{"script": "{}"}}"#, characters.repeat(times));
    for body in ["{}", r#"{"code": "x"}"#, r#"{"Script": "x", "x": 1}"#, r#"{"args": 5, "limits": []}"#] {
        assert_eq!(sentence(body), MISSING, "{body}");
    }
    for value in ["1", "null", "true", "[]", "{}", "1.5", r#"["def main(): pass"]"#] {
        assert_eq!(sentence(&format!(r#"{{"x": 1, "script": {value}}}"#)), NO_STRING, "{value}");
    }
    assert_eq!(sentence(&large("x", 10_241)), TOO_LARGE);
    assert_eq!(sentence(&large("\u{e9}", 5_121)), TOO_LARGE);
    assert_eq!(sentence(&large(r"\u00e9", 5_121)), TOO_LARGE);
    assert_eq!(job(&large("x", 10_240)).script().len(), 10_240);
    assert_eq!(job(&large("\u{e9}", 5_120)).script().len(), 10_240);
    assert_eq!(job(&large(r"\n", 10_240)).script().len(), 10_240);
}

#[test]
fn the_sentence_follows_the_configured_size() {
    let bounds = Bounds { script: ByteSize::mebibytes(1), ..bounds() };
    let body = format!(r#"{{"script": "{}"}}"#, "x".repeat(1024 * 1024 + 1));
    let expected = Wrong::new(Refused::ScriptTooLarge, "Script too large. Max size allowed is 1MB.");
    assert_eq!(parse(body.as_bytes(), &bounds), Err(expected));
}

#[test]
fn what_is_not_given_is_the_default() {
    let job = job(r#"{"script": "x"}"#);
    assert_eq!(job.script(), "x");
    assert_eq!((job.args(), job.kwargs()), (&Value::empty_list(), &Value::empty_map()));
    assert_eq!((job.stdin(), job.limits()), ("", bounds().limits));
    assert_eq!(job.include(), Include::default());
}

#[test]
fn null_counts_as_absent() {
    let bare = job(r#"{"script": "x"}"#);
    let nulls = r#""args": null, "kwargs" :null, "stdin":  null , "include": null, "entrypoint": null, "env": null, "seed": null"#;
    for limits in ["null", r#"{"wall_ms": null, "cpu_ms": null, "memory_mb": null, "output_bytes": null}"#] {
        assert_eq!(job(&format!(r#"{{"script": "x", {nulls}, "limits": {limits}}}"#)), bare, "{limits}");
    }
}

#[test]
fn everything_can_be_given() {
    let job = job(concat!(
        r#"{"script": "a\"\u00e9\n\ud83d\ude00", "args": [1, 123456789012345678901234567890], "kwargs": {"k": [null]},"#,
        r#" "stdin": "in\n", "limits": {"wall_ms": 1, "cpu_ms": 60000, "memory_mb": 1024, "output_bytes": 0},"#,
        r#" "include": ["stdout", "stderr", "usage", "isolation", "stdout"]}"#
    ));
    assert_eq!(job.script(), "a\"\u{e9}\n\u{1f600}");
    let big = Token::BigInt("123456789012345678901234567890".to_owned());
    assert_eq!(job.args().tokens(), [Token::List(2), Token::Int(1), big]);
    assert_eq!(job.kwargs().tokens(), [Token::Map(1), Token::Str("k".to_owned()), Token::List(1), Token::Null]);
    assert_eq!(job.stdin(), "in\n");
    let limits = Limits {
        wall: Duration::from_millis(1),
        cpu: Duration::from_secs(60),
        memory: ByteSize::mebibytes(1024),
        output: ByteSize(0),
    };
    assert_eq!(job.limits(), limits);
    assert_eq!(job.include(), Include { stdout: true, stderr: true, usage: true, isolation: true });
}

#[test]
fn what_is_wrong_is_said() {
    let known =
        "known fields are script, args, kwargs, stdin, limits, include, files, mode, entrypoint, argv, env, seed";
    let no_number = " (JSON has no NaN and no Infinity; send null, or a string that the script gives to float())";
    let cases = [
        ("", "Request body is empty; expected a JSON object".to_owned()),
        (" \n", "Request body is empty; expected a JSON object".to_owned()),
        ("[]", "Request body must be a JSON object".to_owned()),
        ("\"script\"", "Request body must be a JSON object".to_owned()),
        ("5", "Request body must be a JSON object".to_owned()),
        ("{\n \"script\": x}", "Request body is not valid JSON: expected value at line 2 column 12".to_owned()),
        (
            "{\"script\": \"x\"} {}",
            "Request body is not valid JSON: trailing characters at line 1 column 17".to_owned(),
        ),
        (
            "{\"script\": \"x\"",
            "Request body is not valid JSON: EOF while parsing an object at line 1 column 14".to_owned(),
        ),
        ("{\"script\": NaN}", format!("Request body is not valid JSON: expected value at line 1 column 12{no_number}")),
        (
            "{\"script\": \"x\",\n\"args\": [1,-Infinity]}",
            format!("Request body is not valid JSON: invalid number at line 2 column 13{no_number}"),
        ),
        (r#"{"script": "x", "script": "y"}"#, "'script' is given more than once".to_owned()),
        (r#"{"script": "x", "a": 1}"#, format!("Unknown field 'a'; {known}")),
        (r#"{"a": 1, "script": "x", "b": 2}"#, format!("Unknown fields 'a', 'b'; {known}")),
        (
            r#"{"script": "\ud800"}"#,
            "'script' holds a lone surrogate escape such as \\ud800, which is no character".to_owned(),
        ),
        (r#"{"script": "x", "args": {}}"#, "'args' must be a list".to_owned()),
        (r#"{"script": "x", "args": [1e999]}"#, "'args' holds a number that is out of range for a float".to_owned()),
        (r#"{"script": "x", "kwargs": []}"#, "'kwargs' must be an object".to_owned()),
        (r#"{"script": "x", "stdin": 5}"#, "'stdin' must be a string".to_owned()),
        (r#"{"script": "x", "limits": 5}"#, "'limits' must be an object".to_owned()),
        (
            r#"{"script": "x", "limits": {"wall": 5}}"#,
            "Unknown field 'limits.wall'; known fields are wall_ms, cpu_ms, memory_mb, output_bytes".to_owned(),
        ),
        (
            r#"{"script": "x", "limits": {"cpu_ms": 5, "cpu_ms": 6}}"#,
            "'limits.cpu_ms' is given more than once".to_owned(),
        ),
        (
            r#"{"script": "x", "include": ["stdin"]}"#,
            "Unknown word 'stdin' in 'include'; known ones are stdout, stderr, usage, isolation".to_owned(),
        ),
        (
            r#"{"script": "x", "include": "stdout"}"#,
            "'include' must be a list of strings; known ones are stdout, stderr, usage, isolation".to_owned(),
        ),
        (r#"{"script": "x", "entrypoint": 5}"#, "'entrypoint' must be a string".to_owned()),
        (r#"{"script": "x", "env": []}"#, "'env' must be an object of strings".to_owned()),
        (r#"{"script": "x", "env": {"A": 5}}"#, "'env' must be an object of strings".to_owned()),
        (r#"{"script": "x", "env": {"A": ["b"]}}"#, "'env' must be an object of strings".to_owned()),
        (
            r#"{"script": "x", "env": {"A": "\ud800"}}"#,
            "'env' holds a lone surrogate escape such as \\ud800, which is no character".to_owned(),
        ),
        (r#"{"script": "x", "env": {"A": "\u0000"}}"#, manner::Wrong::Null("env").to_string()),
    ];
    for (body, expected) in cases {
        assert_eq!(sentence(body), expected, "{body}");
    }
}

#[test]
fn a_seed_is_a_whole_number() {
    assert_eq!(job(r#"{"script": "x", "seed": 4294967295}"#).manner().seed, Some(u32::MAX));
    for seed in ["4294967296", "-1", "-0", "1.0", "1e3", "\"5\"", "true", "[]", "{}"] {
        let body = format!(r#"{{"script": "x", "seed": {seed}}}"#);
        assert_eq!(sentence(&body), "'seed' must be a whole number from 0 to 4294967295", "{seed}");
    }
}

#[test]
fn limits_are_whole_numbers_within_the_maxima() {
    let limit = |text: &str| sentence(&format!(r#"{{"script": "x", "limits": {{"wall_ms": {text}}}}}"#));
    for text in ["60001", "1000000000000", "99999999999999999999999999"] {
        assert_eq!(limit(text), "'limits.wall_ms' is too large: the maximum is 60000", "{text}");
    }
    for text in ["0", "-1", "-0", "1.5", "1e3", "1.0", "\"5\"", "true", "[5]", "{}"] {
        assert_eq!(limit(text), "'limits.wall_ms' must be a whole number from 1 to 60000", "{text}");
    }
    let memory = r#"{"script": "x", "limits": {"memory_mb": 1025}}"#;
    assert_eq!(sentence(memory), "'limits.memory_mb' is too large: the maximum is 1024");
}

#[test]
fn names_are_cut_and_counted() {
    let body = format!(r#"{{"script": "x", "{}": 1}}"#, "\u{e9}".repeat(1000));
    assert!(sentence(&body).len() < 250);
    let many: Vec<String> = (0..1000).map(|number| format!("\"f{number}\": 1")).collect();
    let body = format!(r#"{{"script": "x", {}}}"#, many.join(","));
    assert!(sentence(&body).len() < 250);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let wrong = parse(b"{\"script\": \"\xff\"}", &bounds());
    assert_eq!(wrong, Err(Wrong::new(Refused::NotUtf8, "Request body is not valid UTF-8 (at byte 12)")));
}

#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(500_000);
    let body = format!(r#"{{"script": "x", "args": {deep}{}}}"#, "]".repeat(500_000));
    assert_eq!(sentence(&body), "'args' nests deeper than 128 levels");
    let unknown = format!(r#"{{"script": "x", "y": {deep}{}}}"#, "]".repeat(500_000));
    assert!(sentence(&unknown).starts_with("Unknown field 'y'"));
}

/// The row that no body brings about: the whole body is checked for JSON first.
const NO_BODY: Refused = Refused::MalformedValue;

#[test]
fn each_row_of_a_wrong_request_has_a_body_that_gets_it() {
    let with = |fields: &str| format!("{{\"script\": \"x\", {fields}}}").into_bytes();
    let file = |path: &str| with(&format!(r#""files": {{"{path}": ""}}"#));
    let many = (0..11).map(|number| format!(r#""{number}": """#)).collect::<Vec<_>>().join(",");
    let large = |count: usize| (0..count).map(|number| format!(r#""{number}": "{}""#, "x".repeat(900)));
    let bodies: Vec<(Refused, Vec<u8>)> = vec![
        (Refused::NotUtf8, b"{\"script\": \"\xff\"}".to_vec()),
        (Refused::Empty, b" ".to_vec()),
        (Refused::NotJson, b"{".to_vec()),
        (Refused::NoObject, b"[]".to_vec()),
        (Refused::NoScript, b"{}".to_vec()),
        (Refused::ScriptNoText, br#"{"script": 1}"#.to_vec()),
        (Refused::ScriptTooLarge, format!(r#"{{"script": "{}"}}"#, "x".repeat(10_241)).into_bytes()),
        (Refused::FieldTwice, with(r#""args": [], "args": []"#)),
        (Refused::UnknownField, with(r#""arg": [], "stdout": 1"#)),
        (Refused::ArgsNoList, with(r#""args": {}"#)),
        (Refused::KwargsNoObject, with(r#""kwargs": []"#)),
        (Refused::TooDeep, with(&format!(r#""args": {}{}"#, "[".repeat(200), "]".repeat(200)))),
        (Refused::TooManyDigits, with(&format!(r#""args": [{}]"#, "1".repeat(5000)))),
        (Refused::OutOfRange, with(r#""args": [1e400]"#)),
        (Refused::LoneSurrogate, with(r#""stdin": "\ud800""#)),
        (Refused::StdinNoText, with(r#""stdin": 1"#)),
        (Refused::LimitsNoObject, with(r#""limits": 1"#)),
        (Refused::LimitTooLarge, with(r#""limits": {"wall_ms": 60001}"#)),
        (Refused::LimitNotInRange, with(r#""limits": {"wall_ms": 0}"#)),
        (Refused::IncludeNoList, with(r#""include": "stdout""#)),
        (Refused::UnknownInclude, with(r#""include": ["time"]"#)),
        (Refused::ModeUnknown, with(r#""mode": "script""#)),
        (Refused::NotInProgram, with(r#""mode": "program", "args": [1]"#)),
        (Refused::NotInFunction, with(r#""argv": ["a"]"#)),
        (Refused::ArgvNoTexts, with(r#""argv": [1]"#)),
        (Refused::EntrypointNoText, with(r#""entrypoint": 1"#)),
        (Refused::EntrypointNoName, with(r#""entrypoint": "f()""#)),
        (Refused::EnvNoTexts, with(r#""env": {"A": 1}"#)),
        (Refused::TooManyEntries, with(r#""env": {"A": "", "B": "", "C": "", "D": ""}"#)),
        (Refused::TooLong, with(&format!(r#""env": {{"A": "{}"}}"#, "x".repeat(101)))),
        (Refused::NullCharacter, with(r#""env": {"A": "\u0000"}"#)),
        (Refused::EnvNoName, with(r#""env": {"": "1"}"#)),
        (Refused::EnvEqualsSign, with(r#""env": {"A=": "1"}"#)),
        (Refused::EnvTwice, with(r#""env": {"A": "1", "A": "2"}"#)),
        (Refused::SeedNoNumber, with(r#""seed": -1"#)),
        (Refused::FilesNoObject, with(r#""files": []"#)),
        (Refused::FilesNoCharacter, file("\\ud800")),
        (Refused::FileNoContent, with(r#""files": {"a": 1}"#)),
        (Refused::FileNoBase64, with(r#""files": {"a": {"base64": "!"}}"#)),
        (Refused::TooManyFiles, with(&format!(r#""files": {{{many}}}"#))),
        (Refused::FilesTooLarge, with(&format!(r#""files": {{{}}}"#, large(3).collect::<Vec<_>>().join(",")))),
        (Refused::FileNoName, file("")),
        (Refused::FileNul, file("\\u0000")),
        (Refused::FileAbsolute, file("/a")),
        (Refused::FileParent, file("../a")),
        (Refused::FileDirectory, file("a/")),
        (Refused::FilePathTooLong, file(&"x".repeat(256))),
        (Refused::FileTooDeep, file("a/b/c/d/e")),
        (Refused::FileIsScript, file("main.py")),
        (Refused::FileTwice, with(r#""files": {"a": "", "./a": ""}"#)),
        (Refused::FileAlsoDirectory, with(r#""files": {"a": "", "a/b": ""}"#)),
        (Refused::FileTooLarge, with(&format!(r#""files": {{"a": "{}"}}"#, "x".repeat(1001)))),
    ];
    let files = |brought, room| Bounds { files: files::Bounds { brought, room }, ..bounds() };
    let (few, lots) = (bounds().files.brought, Caps { count: 900, ..bounds().files.brought });
    let deep = (0..300).map(|number| format!(r#""{number}/a/b/c": """#)).collect::<Vec<_>>().join(",");
    let elsewhere = [
        (Refused::FilesNoPlace, file("a"), files(few, None)),
        (Refused::FilesNoRoom, with(r#""files": {"a": "x"}"#), files(few, Some(ByteSize(1)))),
        (Refused::TooManyPlaces, with(&format!(r#""files": {{{deep}}}"#)), files(lots, Some(ByteSize::mebibytes(1)))),
    ];
    let bodies = bodies.into_iter().map(|(refused, body)| (refused, body, bounds()));
    let bodies: Vec<_> = bodies.chain(elsewhere).collect();
    for (refused, body, bounds) in &bodies {
        let wrong = parse(body, bounds).expect_err("it is refused");
        assert_eq!(wrong.refused, *refused, "{}", wrong.sentence);
        assert!(refused.fits(&wrong.sentence), "{refused:?}: {}", wrong.sentence);
    }
    let rows = Refused::ALL.iter().filter(|refused| refused.word() == "wrong_request" && **refused != NO_BODY);
    let missing: Vec<_> = rows.filter(|refused| bodies.iter().all(|(other, ..)| other != *refused)).collect();
    assert!(missing.is_empty(), "no body for {missing:?}");
}
