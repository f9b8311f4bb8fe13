//! `POST /execute`: from a request's headers and body to an answer.
//!
//! Runs in the supervisor. Checks come cheapest first, and none of a body is read before its headers are known to be
//! right. It must never run a job whose request was not read to its end.

use super::answer::Answer;
use super::body::{self, Bodies, BodyFault};
use super::encode::{Encoded, encode};
use super::line::{Line, Spent};
use super::presence::Presence;
use super::{Front, request};
use crate::service::Service;
use crate::value::Token;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use hyper::{HeaderMap, Request, StatusCode, Version};
use std::mem::size_of;
use std::sync::Arc;
use tokio::time::Instant;

/// Serves one request.
pub(super) async fn execute<S: Service>(
    front: &Front<S>,
    presence: &Arc<Presence>,
    request: Request<Incoming>,
    line: &mut Line,
) -> Answer {
    let settings = &front.settings;
    if let Err((status, code, message)) = check_headers(request.headers()) {
        return Answer::error(status, code, message).unread();
    }
    let bodies = if request.version() == Version::HTTP_2 { Bodies::Many } else { Bodies::One };
    let read = body::read(request.into_body(), settings.body_size, settings.body_time, &front.budget, bodies);
    let body = match read.await {
        Ok(body) => body,
        Err(BodyFault::TooLarge) => {
            let message = format!("Request body too large. Max size allowed is {}.", settings.body_size);
            return Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message).unread();
        }
        Err(BodyFault::TooSlow) => {
            let message = "Request body took too long to arrive";
            return Answer::error(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message).unread();
        }
        Err(BodyFault::Broken) => {
            let message = "Malformed request: the body ended early or its chunks are malformed";
            return Answer::error(StatusCode::BAD_REQUEST, "malformed", message).unread();
        }
        Err(BodyFault::NoRoom) => return no_room().unread(),
    };
    line.bytes_in = body.len();
    let job = match request::parse(&body, settings) {
        Ok(job) => job,
        Err(request::Wrong(sentence)) => return Answer::error(StatusCode::BAD_REQUEST, "wrong_request", &sentence),
    };
    // Many small arguments are far larger as tokens than as text.
    let tokens = job.args.tokens().len() + job.kwargs.tokens().len();
    let _held = front.budget.count(body.len() + tokens * size_of::<Token>());
    drop(body);

    let Some(mut busy) = presence.begin() else { return no_room() };
    let include = job.include;
    match front.service.run(job).await {
        Err(refusal) => Answer::refusal(&refusal),
        Ok(report) => {
            let begun = Instant::now();
            let Encoded { status, code, body } =
                encode(&report, include, settings.result_size, front.service.isolation());
            let mut answer = Answer::new(status, code, body);
            answer.held = front.budget.count(answer.body.capacity());
            if answer.held.is_some() && !front.budget.has_room() {
                // The script has run, and nothing of it is left: it can run again.
                return no_room();
            }
            answer.spent = Some(Spent { timing: report.timing, encode: begun.elapsed() });
            busy.deliver(begun + settings.body_time);
            answer.busy = Some(busy);
            answer
        }
    }
}

fn no_room() -> Answer {
    let message = "too many large requests and answers are in memory; try again in a second";
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, "no_room", message)
}

/// The only expectation there is, and JSON in UTF-8 as it is; else the answer's status, its word for the log, its text.
fn check_headers(headers: &HeaderMap) -> Result<(), (StatusCode, &'static str, &'static str)> {
    let unsupported = |message| Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    if headers.get_all(EXPECT).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        let message = "Expect other than '100-continue' is not supported";
        return Err((StatusCode::EXPECTATION_FAILED, "expectation_failed", message));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let is_json = |value: &[u8]| std::str::from_utf8(value).is_ok_and(is_json_in_utf8);
    if !matches!((types.next(), types.next()), (Some(only), None) if is_json(only.as_bytes())) {
        return unsupported("Content-Type must be application/json");
    }
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return unsupported("Content-Encoding is not supported; send the body as it is");
    }
    Ok(())
}

/// `application/json`, with any parameters but a charset that isn't UTF-8.
fn is_json_in_utf8(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
                charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_utf8_is_the_only_content_type() {
        for fit in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; profile=x",
            "application/json;",
        ] {
            assert!(is_json_in_utf8(fit), "{fit}");
        }
        for unfit in ["", "text/plain", "application/jsonp", "text/json", "application/json; charset=utf-16", "*/*"] {
            assert!(!is_json_in_utf8(unfit), "{unfit}");
        }
    }
}
