//! What is sent back: a status, a JSON body, and the headers that every answer has.
//!
//! Runs in the supervisor. Text from a request or a script goes into a body only, never into a header.

use super::line::Spent;
use super::presence::Busy;
use crate::outcome::Refusal;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Response, StatusCode};

/// The header with a request's id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const ISOLATION: HeaderName = HeaderName::from_static("mayfly-isolation");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How many seconds a refused client is asked to wait.
const RETRY: &str = "1";

/// An answer, before it becomes HTTP.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// A word for the log.
    pub(super) code: &'static str,
    pub(super) body: Vec<u8>,
    /// For 405: the methods of this path.
    pub(super) allow: Option<&'static str>,
    /// For an execution that came to an outcome.
    pub(super) spent: Option<Spent>,
    /// Whether the request was read to its end, so that the connection can carry another.
    pub(super) is_read: bool,
    /// Set for an execution: held until the client has taken the answer.
    pub(super) busy: Option<Busy>,
    /// What the body's memory counts for.
    pub(super) held: Option<super::budget::Held>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, code: &'static str, body: Vec<u8>) -> Self {
        Self { status, code, body, allow: None, spent: None, is_read: true, busy: None, held: None }
    }

    /// `{"error": message}` and nothing else.
    pub(super) fn error(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self::new(status, code, error_body(message))
    }

    /// 503: not the request's doing; the same request may succeed in a second.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let code = match refusal {
            Refusal::QueueFull => "queue_full",
            Refusal::Draining => "draining",
            Refusal::NoZygote => "no_zygote",
            Refusal::Jail { .. } => "jail",
        };
        Self::error(StatusCode::SERVICE_UNAVAILABLE, code, &refusal.to_string())
    }

    /// The request was not read to its end.
    pub(super) fn unread(mut self) -> Self {
        self.is_read = false;
        self
    }
}

/// What the response needs to know besides its answer.
pub(super) struct Sending {
    pub(super) id: HeaderValue,
    /// Set on `/execute`.
    pub(super) isolation: Option<&'static str>,
    /// Whether the connection ends with this answer.
    pub(super) close: bool,
    /// Whether the request was HEAD: headers as for GET, and no body.
    pub(super) head_only: bool,
}

/// The answer as HTTP.
pub(super) fn respond(answer: Answer, sending: Sending) -> Response<Full<Bytes>> {
    let length = answer.body.len();
    let body = match answer.busy {
        _ if sending.head_only => Bytes::new(),
        None => Bytes::from(answer.body),
        Some(busy) => Bytes::from_owner(Delivery { body: answer.body, _busy: busy, _held: answer.held }),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    // One allocation for what is inserted here and what hyper adds.
    headers.reserve(12);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(REQUEST_ID, sending.id);
    if let Some(level) = sending.isolation {
        headers.insert(ISOLATION, HeaderValue::from_static(level));
    }
    if let Some(timing) = answer.spent.as_ref().and_then(server_timing) {
        headers.insert(SERVER_TIMING, timing);
    }
    if let Some(methods) = answer.allow {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY));
    }
    if sending.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that keeps its request busy until hyper has written the last byte of it and lets go.
struct Delivery {
    body: Vec<u8>,
    _busy: Busy,
    _held: Option<super::budget::Held>,
}

impl AsRef<[u8]> for Delivery {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The stages in milliseconds (W3C Server Timing).
fn server_timing(spent: &Spent) -> Option<HeaderValue> {
    let part = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    let text = format!(
        "queue;dur={:.3}, start;dur={:.3}, run;dur={:.3}, encode;dur={:.3}",
        part(spent.timing.queue),
        part(spent.timing.start),
        part(spent.timing.run),
        part(spent.encode)
    );
    HeaderValue::try_from(text).ok()
}

/// `{"error": message}`.
pub(super) fn error_body(message: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(message.len() + 16);
    body.extend_from_slice(b"{\"error\":");
    write_text(&mut body, message);
    body.push(b'}');
    body
}

/// Appends `text` as a JSON string.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing text to a Vec can't fail.
    let _ = serde_json::to_writer(out, text);
}

/// A whole HTTP/1.1 error response as bytes, for where hyper has no request to answer. The connection closes after it.
pub(super) fn raw_error(status: StatusCode, message: &str, id: &HeaderValue) -> Vec<u8> {
    let body = error_body(message);
    let retry =
        if status == StatusCode::SERVICE_UNAVAILABLE { format!("retry-after: {RETRY}\r\n") } else { String::new() };
    let mut response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-request-id: {}\r\n{retry}connection: close\r\n\r\n",
        body.len(),
        id.to_str().unwrap_or("-")
    )
    .into_bytes();
    response.extend_from_slice(&body);
    response
}
