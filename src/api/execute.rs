//! `POST /execute`: from a request's headers and body to an answer.
//!
//! Runs in the supervisor. Checks come cheapest first, and none of a body is read before its headers are known to be
//! right. It must never run a job whose request was not read to its end.

use super::Api;
use super::aside::LARGE;
use super::live;
use super::native::encode::{Encoded, encode};
use super::native::request;
use crate::errors::Refused;
use crate::events::Nobody;
use crate::http::{Answer, BodyFault, Exchange, Spent, error_body, status_of};
use crate::job::{Include, Job};
use crate::outcome::{Captured, Outcome, Refusal, Report};
use crate::service::Service;
use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use hyper::{HeaderMap, StatusCode};
use std::time::Instant;

/// Serves one request.
pub(super) async fn execute<S: Service>(api: &Api<S>, exchange: &mut Exchange) -> Answer {
    if let Err(refused) = check_headers(exchange.headers()) {
        return Answer::refused(refused).unread();
    }
    let body = match exchange.read_body(api.settings.body_size).await {
        Ok(body) => body,
        Err(fault) => return not_read(fault, api),
    };
    let job = match parse(api, &body).await {
        Ok(job) => job,
        Err(wrong) => {
            let mut answer = Answer::refused_with(wrong.refused, &wrong.sentence);
            answer.hint = wrong.hint();
            return answer;
        }
    };
    // The job, and the frame in which it goes to the child: about as large as the body, in a buffer that doubles as it grows.
    let room = exchange.hold(job.size_in_memory() + 2 * body.len());
    drop(body);

    if !exchange.begin() {
        return Answer::no_room();
    }
    if let Some(form) = live::asked_for(exchange.headers()) {
        return live::answer(api, exchange, job, room, form).await;
    }
    let include = job.include();
    match api.service.run(job, exchange.client(), &mut Nobody).await {
        Err(refusal) => refused(&refusal),
        Ok(report) => {
            let Ran { status, code, body, spent } = ran(api, report, include).await;
            let mut answer = Answer::new(status, code, body);
            answer.spent = spent;
            answer
        }
    }
}

/// What a run came to, as it is answered.
pub(super) struct Ran {
    pub(super) status: StatusCode,
    /// A word for the log.
    pub(super) code: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) spent: Option<Spent>,
}

/// A script ran.
pub(super) async fn ran<S: Service>(api: &Api<S>, report: Report, include: Include) -> Ran {
    let begun = Instant::now();
    let timing = report.timing;
    let Encoded { status, code, body } = encoded(api, report, include).await;
    Ran { status, code, body, spent: Some(Spent { timing, encode: begun.elapsed() }) }
}

/// None ran, which is ours to answer for.
pub(super) fn not_run(refusal: &Refusal) -> Ran {
    let (refused, body) = (refusal.refused(), error_body(&refusal.to_string()));
    Ran { status: status_of(refused), code: refused.word(), body, spent: None }
}

/// The same as an answer of its own.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    let Ran { status, code, body, .. } = not_run(refusal);
    Answer::new(status, code, body)
}

/// Reads a body as a job.
async fn parse<S: Service>(api: &Api<S>, body: &Bytes) -> Result<Job, request::Wrong> {
    let bounds = api.settings.bounds;
    if body.len() <= LARGE {
        return request::parse(body, &bounds);
    }
    let body = body.clone();
    api.aside.run(move || request::parse(&body, &bounds)).await
}

/// Writes a report as an answer's body; the report is gone then.
async fn encoded<S: Service>(api: &Api<S>, report: Report, include: Include) -> Encoded {
    let (size, isolation) = (api.settings.result_size, api.service.isolation());
    let is_large = is_large(&report);
    let encode = move || encode(&report, include, size, isolation);
    if is_large { api.aside.run(encode).await } else { encode() }
}

/// Whether it takes long to write.
fn is_large(report: &Report) -> bool {
    let is_long = |output: &Option<Captured>| output.as_ref().is_some_and(|output| output.kept.len() > LARGE);
    let is_large = match &report.outcome {
        Outcome::Returned(value, _) => value.is_larger_than(LARGE),
        Outcome::Failed(_) => false,
    };
    is_large || is_long(&report.stdout) || is_long(&report.stderr)
}

fn not_read<S>(fault: BodyFault, api: &Api<S>) -> Answer {
    let answer = match fault {
        BodyFault::TooLarge => {
            let message = format!("Request body too large. Max size allowed is {}.", api.settings.body_size);
            Answer::refused_with(Refused::BodyTooLarge, &message)
        }
        BodyFault::TooSlow => Answer::refused(Refused::BodyTooSlow),
        BodyFault::Broken => Answer::refused(Refused::BrokenBody),
        BodyFault::NoRoom => Answer::no_room(),
    };
    answer.unread()
}

/// The only expectation there is, and JSON in UTF-8 as it is; else the answer.
fn check_headers(headers: &HeaderMap) -> Result<(), Refused> {
    if headers.get_all(EXPECT).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refused::Expectation);
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let is_json = |value: &[u8]| std::str::from_utf8(value).is_ok_and(is_json_in_utf8);
    if !matches!((types.next(), types.next()), (Some(only), None) if is_json(only.as_bytes())) {
        return Err(Refused::NotJsonType);
    }
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refused::Encoded);
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
