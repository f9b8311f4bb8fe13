//! A [`Report`] as the JSON body of its answer.
//!
//! Runs in the supervisor. The result is written straight from its tokens under the size limit; no tree is built.
//! What is here came from a script: it is text to be escaped, and never decides a status by itself.

use crate::fault::supervisor_leaves_out;
use crate::http::{milliseconds, write_text};
use crate::job::Include;
use crate::layer::Layer;
use crate::outcome::{Advice, Captured, Code, Exception, Exit, Failure, Outcome, Report};
use crate::size::ByteSize;
use hyper::StatusCode;
use nix::sys::signal::Signal;
use std::io::Write;

/// A body with its status and, for the log, the word for it.
pub struct Encoded {
    pub status: StatusCode,
    pub code: &'static str,
    pub body: Vec<u8>,
}

/// Writes the body: the result or the failure, and what else the client asked for.
pub fn encode(report: &Report, include: Include, size: ByteSize, isolation: &'static str) -> Encoded {
    let size = if supervisor_leaves_out(Layer::ResultCap) { ByteSize(u64::MAX) } else { size };
    let mut body = Vec::with_capacity(512);
    let failed = match &report.outcome {
        Outcome::Failed(failure) => Some((failure.code, write_failure(&mut body, failure))),
        Outcome::Returned(value, _) => {
            body.extend_from_slice(b"{\"result\":");
            value.write_json(&mut body, size.as_usize()).is_err().then(|| {
                body = Vec::with_capacity(512);
                let message = format!(
                    "the result is larger than {size} as JSON (the server's MAYFLY_RESULT_BYTES); return less of it"
                );
                let failure = Failure { code: Code::ResultTooLarge, message, exception: None, advice: None };
                (failure.code, write_failure(&mut body, &failure))
            })
        }
    };
    if let (Outcome::Returned(_, notes), None) = (&report.outcome, &failed) {
        write_notes(&mut body, notes);
    }
    write_included(&mut body, report, include, isolation);
    body.push(b'}');
    match failed {
        None => Encoded { status: StatusCode::OK, code: "ok", body },
        Some((code, ())) => Encoded { status: StatusCode::UNPROCESSABLE_ENTITY, code: code.as_str(), body },
    }
}

/// Only where something was changed on the way.
fn write_notes(body: &mut Vec<u8>, notes: &[String]) {
    let mut separator: &[u8] = b",\"notes\":[";
    for note in notes {
        body.extend_from_slice(separator);
        write_text(body, note);
        separator = b",";
    }
    if !notes.is_empty() {
        body.push(b']');
    }
}

fn write_failure(body: &mut Vec<u8>, failure: &Failure) {
    body.extend_from_slice(b"{\"error\":");
    write_text(body, &failure.message);
    body.extend_from_slice(b",\"code\":");
    write_text(body, failure.code.as_str());
    if let Some(exception) = &failure.exception {
        write_exception(body, exception);
    }
    if let Some(advice) = &failure.advice {
        write_advice(body, advice);
    }
}

fn write_advice(body: &mut Vec<u8>, advice: &Advice) {
    body.extend_from_slice(b",\"hint\":");
    write_text(body, &advice.hint);
    if let Some(fix) = &advice.fix {
        body.extend_from_slice(b",\"fix\":{\"kind\":");
        write_text(body, fix.kind.as_str());
        write(body, format_args!(",\"line\":{},\"suggestion\":", fix.line));
        write_text(body, &fix.suggestion);
        body.push(b'}');
    }
}

fn write_exception(body: &mut Vec<u8>, exception: &Exception) {
    body.extend_from_slice(b",\"exception\":{\"type\":");
    write_text(body, &exception.kind);
    body.extend_from_slice(b",\"message\":");
    write_text(body, &exception.message);
    match exception.line {
        Some(line) => write(body, format_args!(",\"line\":{line}")),
        None => body.extend_from_slice(b",\"line\":null"),
    }
    if let Some(column) = exception.column {
        write(body, format_args!(",\"column\":{column}"));
    }
    body.extend_from_slice(b",\"traceback\":");
    write_text(body, &exception.traceback);
    body.push(b'}');
}

fn write_included(body: &mut Vec<u8>, report: &Report, include: Include, isolation: &'static str) {
    let streams = [("stdout", include.stdout, &report.stdout), ("stderr", include.stderr, &report.stderr)];
    let nothing = Captured::default();
    match report.exit {
        Some(Exit::Code(code)) => write(body, format_args!(",\"exit\":{{\"code\":{code},\"signal\":null}}")),
        Some(Exit::Signal(number)) => {
            let name =
                Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string());
            write(body, format_args!(",\"exit\":{{\"code\":null,\"signal\":\"{name}\"}}"));
        }
        None => {}
    }
    for (name, wanted, captured) in streams {
        if wanted {
            write(body, format_args!(",\"{name}\":"));
            write_text(body, &text_of(captured.as_ref().unwrap_or(&nothing)));
        }
    }
    if include.usage {
        let usage = report.usage.unwrap_or_default();
        let (wall, cpu) = (milliseconds(usage.wall), milliseconds(usage.cpu));
        let peak = tenths_of_mebibytes(usage.peak_memory);
        write(body, format_args!(",\"usage\":{{\"wall_ms\":{wall},\"cpu_ms\":{cpu},\"peak_memory_mb\":{peak}}}"));
    }
    if include.isolation {
        write(body, format_args!(",\"isolation\":\"{isolation}\""));
    }
    let mut separator = ",\"truncated\":{";
    for (name, wanted, captured) in streams {
        if let Some(captured) = captured
            && wanted
            && is_truncated(captured)
        {
            let (kept, total) = (captured.kept.len(), captured.total);
            write(body, format_args!("{separator}\"{name}\":{{\"kept\":{kept},\"total\":{total}}}"));
            separator = ",";
        }
    }
    if separator == "," {
        body.push(b'}');
    }
}

fn is_truncated(captured: &Captured) -> bool {
    (captured.kept.len() as u64) < captured.total
}

/// Output as text: bytes that are no UTF-8 become U+FFFD, except that a character cut in two by the cap is left out.
fn text_of(captured: &Captured) -> std::borrow::Cow<'_, str> {
    let mut kept = captured.kept.as_slice();
    if is_truncated(captured)
        && let Err(error) = std::str::from_utf8(kept)
        && error.error_len().is_none()
    {
        kept = &kept[..error.valid_up_to()];
    }
    String::from_utf8_lossy(kept)
}

#[expect(clippy::cast_precision_loss, reason = "tenths of a MiB of any memory fit a float's 53 bits")]
fn tenths_of_mebibytes(bytes: u64) -> f64 {
    (bytes / (1024 * 1024 / 10)) as f64 / 10.0
}

fn write(body: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec can't fail.
    let _ = body.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Timing, Usage};
    use crate::value::{Token, Value};
    use std::time::Duration;

    fn report(outcome: Outcome) -> Report {
        Report { outcome, timing: Timing::default(), exit: None, stdout: None, stderr: None, usage: None }
    }

    fn returned(token: Token) -> Report {
        report(Outcome::Returned(Value::try_from(vec![token]).expect("a scalar"), Vec::new()))
    }

    fn text(encoded: Encoded) -> (u16, &'static str, String) {
        (encoded.status.as_u16(), encoded.code, String::from_utf8(encoded.body).expect("JSON is UTF-8"))
    }

    #[test]
    fn a_result_stands_alone_unless_more_was_asked_for() {
        let mut report = returned(Token::Int(1));
        report.stdout = Some(Captured { kept: b"hi".to_vec(), total: 2 });
        let encoded = text(encode(&report, Include::default(), ByteSize(10), "full"));
        assert_eq!(encoded, (200, "ok", r#"{"result":1}"#.to_owned()));
    }

    #[test]
    fn what_was_asked_for_follows_the_result() {
        let mut report = returned(Token::Null);
        report.stdout = Some(Captured { kept: "a\u{e9}".as_bytes()[..2].to_vec(), total: 30 });
        report.stderr = Some(Captured { kept: vec![0xff], total: 1 });
        report.usage = Some(Usage {
            wall: Duration::from_micros(1500),
            cpu: Duration::from_micros(20),
            peak_memory: 3 * 1024 * 1024 / 2,
        });
        let include = Include { stdout: true, stderr: true, usage: true, isolation: true };
        let (_, _, body) = text(encode(&report, include, ByteSize(10), "full"));
        let expected = concat!(
            r#"{"result":null,"stdout":"a","stderr":""#,
            "\u{fffd}",
            r#"","usage":{"wall_ms":1.5,"cpu_ms":0.02,"peak_memory_mb":1.5},"isolation":"full","#,
            r#""truncated":{"stdout":{"kept":2,"total":30}}}"#
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn notes_follow_the_result() {
        let value = Value::try_from(vec![Token::Float(f64::INFINITY)]).expect("a scalar");
        let report = report(Outcome::Returned(value, vec!["result: inf written as null".to_owned(), "\"".to_owned()]));
        let (_, _, body) = text(encode(&report, Include::default(), ByteSize(10), "full"));
        assert_eq!(body, r#"{"result":null,"notes":["result: inf written as null","\""]}"#);
    }

    #[test]
    fn both_streams_can_be_truncated() {
        let mut report = returned(Token::Null);
        report.stdout = Some(Captured { kept: vec![], total: 1 });
        report.stderr = Some(Captured { kept: vec![], total: 2 });
        let include = Include { stdout: true, stderr: true, ..Include::default() };
        let (_, _, body) = text(encode(&report, include, ByteSize(10), "full"));
        assert!(
            body.ends_with(r#""truncated":{"stdout":{"kept":0,"total":1},"stderr":{"kept":0,"total":2}}}"#),
            "{body}"
        );
    }

    #[test]
    fn a_result_over_the_limit_is_a_failure_and_nothing_of_it_is_sent() {
        let report = returned(Token::Str("x".repeat(2000)));
        let (status, code, body) = text(encode(&report, Include::default(), ByteSize(1024), "full"));
        assert_eq!((status, code), (422, "result_too_large"));
        let expected = r#"{"error":"the result is larger than 1KB as JSON (the server's MAYFLY_RESULT_BYTES); return less of it","code":"result_too_large"}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn an_exception_is_described() {
        let exception = Exception {
            kind: "SyntaxError".to_owned(),
            message: "a \"quoted\"\nword".to_owned(),
            line: Some(3),
            column: Some(7),
            traceback: "Traceback".to_owned(),
        };
        let failure = |exception| Failure { code: Code::Exception, message: "m".to_owned(), exception, advice: None };
        let failed = |exception| report(Outcome::Failed(failure(exception)));
        let (status, code, body) =
            text(encode(&failed(Some(exception.clone())), Include::default(), ByteSize(10), "full"));
        assert_eq!((status, code), (422, "exception"));
        let expected = concat!(
            r#"{"error":"m","code":"exception","exception":{"type":"SyntaxError","#,
            r#""message":"a \"quoted\"\nword","line":3,"column":7,"traceback":"Traceback"}}"#
        );
        assert_eq!(body, expected);
        let bare = Exception { line: None, column: None, ..exception };
        let (_, _, body) = text(encode(&failed(Some(bare)), Include::default(), ByteSize(10), "full"));
        assert!(body.contains(r#""line":null,"traceback""#), "{body}");
    }
}
