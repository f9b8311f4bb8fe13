//! Writes one file for each kind of frame into the directory named by the first argument, for fuzzing to start from.

#[expect(dead_code, reason = "only the encoding half is used")]
#[path = "../../src/manner.rs"]
mod manner;
#[expect(dead_code, reason = "only the encoding half is used")]
#[path = "../../src/outcome.rs"]
mod outcome;
#[expect(dead_code, reason = "only the encoding half is used")]
#[path = "../../src/size.rs"]
mod size;
#[expect(dead_code, reason = "only the encoding half is used")]
#[path = "../../src/value.rs"]
mod value;
#[expect(dead_code, reason = "only the encoding half is used")]
#[path = "../../src/wire.rs"]
mod wire;

use manner::Manner;
use outcome::{Cause, Exception, Exit};
use std::path::PathBuf;
use value::Token;
use wire::{Down, Hello, JobFrame, Phase, Reply, Up};

fn text(text: &str) -> Token {
    Token::Str(text.to_owned())
}

fn main() -> std::io::Result<()> {
    let directory = PathBuf::from(std::env::args_os().nth(1).expect("a directory"));
    std::fs::create_dir_all(&directory)?;
    let exception = Exception {
        kind: "ValueError".to_owned(),
        message: "é".to_owned(),
        line: Some(3),
        column: None,
        traceback: "Traceback (most recent call last):\n".to_owned(),
    };
    let scalars = vec![
        Token::List(9),
        Token::Null,
        Token::Bool(true),
        Token::Int(-70_000),
        Token::BigInt("-123456789012345678901234567890".to_owned()),
        Token::Float(2.5),
        Token::Float(f64::NAN),
        text("a\"\\\n\u{1f98b}"),
        Token::Bytes(vec![0, 255]),
        Token::Int(i64::MIN),
    ];
    let nested = vec![Token::Map(2), text("a"), Token::List(2), Token::Map(0), Token::List(0), text("b"), Token::Map(1), text("c"), Token::Null];
    let deep = (0..value::MAX_DEPTH).map(|_| Token::List(1)).chain([Token::Null]).collect();
    let raised = |phase| Reply::Raised { phase, cause: Cause::Script, exception: exception.clone() };
    let hello = |hello| wire::encode(&Up::Hello(hello));
    let done = |reply| wire::encode(&Up::Done(reply));
    let job = JobFrame {
        script: "def main(x):\n    return x\n".to_owned(),
        args: scalars.clone(),
        kwargs: nested.clone(),
        result_bytes: 1 << 20,
        captured: true,
        manner: Manner { env: vec![("NAME".to_owned(), "value".to_owned())], seed: Some(42), ..Manner::default() },
    };
    let frames = [
        ("ready", hello(Hello::Ready { cpu_ns: 12_345_678, own: 23_456_789 })),
        ("failed", hello(Hello::Failed { step: 36, errno: 22 })),
        ("verified", hello(Hello::Verified { failed: 0 })),
        ("scalars", done(Reply::Value(scalars, "note\n".to_owned()))),
        ("nested", done(Reply::Value(nested, "note\n".to_owned()))),
        ("deep", done(Reply::Value(deep, "note\n".to_owned()))),
        ("compile", done(raised(Phase::Compile))),
        ("exit", done(raised(Phase::Exit))),
        ("refused", done(Reply::NotSerializable { path: "result.rows[3]".to_owned(), problem: "a set".to_owned() })),
        ("too-large", done(Reply::TooLarge(2_000_000))),
        ("ended", done(Reply::Ended { value: vec![Token::Null], notes: String::new(), exit: Exit::Code(3), raised: None })),
        ("job", wire::encode(&Down::Job(job))),
        ("input", wire::encode(&Down::Input("line\n".to_owned()))),
    ];
    for (name, frame) in frames {
        std::fs::write(directory.join(name), frame.expect("small"))?;
    }
    Ok(())
}
