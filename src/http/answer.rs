//! What is sent back: a status, a body, and the headers that every answer has.
//!
//! Runs in the supervisor. Text from a request or a script goes into a body only, never into a header.

use super::body::{Body, Content};
use super::budget::Held;
use super::gate::Signals;
use super::line::{Line, Spent};
use super::pieces::Source;
use super::presence::{Busy, Delivery};
use crate::errors::Refused;
use bytes::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Response, StatusCode};
use std::sync::Arc;

/// The header with a request's id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const ISOLATION: HeaderName = HeaderName::from_static("mayfly-isolation");
const HINT: HeaderName = HeaderName::from_static("mayfly-hint");
/// Asks nginx, and what follows its example, to hand on each piece as it comes.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const JSON: &str = "application/json";
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How many seconds a refused client is asked to wait.
const RETRY: &str = "1";

/// An answer, before it becomes HTTP.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// A word for the log.
    pub code: &'static str,
    /// What its body is.
    pub content_type: &'static str,
    /// For 405: the methods of this path.
    pub allow: Option<&'static str>,
    /// The isolation level, where a script runs under it.
    pub isolation: Option<&'static str>,
    /// What to do, where the body has a fixed form that leaves no room for it.
    pub hint: Option<&'static str>,
    /// For an execution that came to an outcome.
    pub spent: Option<Spent>,
    content: Given,
    /// Whether the request was read to its end, so that the connection can carry another.
    pub(super) is_read: bool,
    /// Set for an execution: held until the client has taken the answer.
    pub(super) busy: Option<Busy>,
    /// Until when the client must have taken it.
    pub(super) delivery: Option<Delivery>,
    /// What its memory counts for, its stream's included.
    pub(super) held: [Option<Held>; 2],
}

enum Given {
    Whole(Vec<u8>),
    Pieces(Source),
}

impl Answer {
    /// A whole answer, in JSON.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, body: Vec<u8>) -> Self {
        Self::with(status, code, JSON, Given::Whole(body))
    }

    pub(super) fn in_pieces(content_type: &'static str, source: Source) -> Self {
        Self::with(StatusCode::OK, "ok", content_type, Given::Pieces(source))
    }

    fn with(status: StatusCode, code: &'static str, content_type: &'static str, content: Given) -> Self {
        let (allow, isolation, hint) = (None, None, None);
        let (spent, busy, delivery, held) = (None, None, None, [None, None]);
        Self { status, code, content_type, allow, isolation, hint, spent, content, is_read: true, busy, delivery, held }
    }

    /// `{"error": …}` and nothing else, with the sentence as it stands in the table.
    #[must_use]
    pub fn refused(refused: Refused) -> Self {
        Self::refused_with(refused, refused.form())
    }

    /// The same, with a sentence of that form.
    #[must_use]
    pub fn refused_with(refused: Refused, sentence: &str) -> Self {
        debug_assert!(refused.fits(sentence), "{refused:?}: {sentence}");
        Self::new(status_of(refused), refused.word(), error_body(sentence))
    }

    /// 503: too much is held for other clients.
    #[must_use]
    pub fn no_room() -> Self {
        Self::refused(Refused::NoRoom)
    }

    /// The request was not read to its end.
    #[must_use]
    pub fn unread(mut self) -> Self {
        self.is_read = false;
        self
    }

    /// How many bytes it has, where that is known beforehand.
    pub(super) fn size(&self) -> Option<usize> {
        match &self.content {
            Given::Whole(body) => Some(body.len()),
            Given::Pieces(_) => None,
        }
    }

    /// How much memory it takes; pieces are counted as they come.
    pub(super) fn size_in_memory(&self) -> Option<usize> {
        match &self.content {
            Given::Whole(body) => Some(body.capacity()),
            Given::Pieces(_) => None,
        }
    }
}

/// What the response needs to know besides its answer.
pub(super) struct Sending {
    pub(super) id: HeaderValue,
    /// Whether the connection ends with this answer.
    pub(super) close: bool,
    /// Whether the request was HEAD: headers as for GET, and no body.
    pub(super) head_only: bool,
}

/// The answer as HTTP. The request's line is written when its body is at its end.
pub(super) fn respond(answer: Answer, sending: Sending, line: Line, signals: Arc<Signals>) -> Response<Body> {
    let length = answer.size();
    let content = match answer.content {
        _ if sending.head_only => Content::Whole(None),
        Given::Whole(body) => {
            let (delivery, busy, held) = (answer.delivery, answer.busy, answer.held);
            let is_watched = delivery.is_some() || busy.is_some() || held.iter().any(Option::is_some);
            let watched = |body| Bytes::from_owner(Delivered { body, _delivery: delivery, _busy: busy, _held: held });
            Content::Whole(Some(if is_watched { watched(body) } else { body.into() }))
        }
        Given::Pieces(source) => Content::Pieces(source),
    };
    let is_live = matches!(content, Content::Pieces(_));
    let mut response = Response::new(Body::new(content, line, signals));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    // One allocation for what is inserted here and what hyper adds.
    headers.reserve(12);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(REQUEST_ID, sending.id);
    if let Some(level) = answer.isolation {
        headers.insert(ISOLATION, HeaderValue::from_static(level));
    }
    if let Some(timing) = answer.spent.as_ref().and_then(server_timing) {
        headers.insert(SERVER_TIMING, timing);
    }
    if let Some(hint) = answer.hint {
        headers.insert(HINT, HeaderValue::from_static(hint));
    }
    if let Some(methods) = answer.allow {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    if is_live {
        headers.insert(BUFFERING, HeaderValue::from_static("no"));
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
struct Delivered {
    body: Vec<u8>,
    _delivery: Option<Delivery>,
    _busy: Option<Busy>,
    _held: [Option<Held>; 2],
}

impl AsRef<[u8]> for Delivered {
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

/// The status of an answer, as hyper has it.
#[must_use]
pub fn status_of(refused: Refused) -> StatusCode {
    // Every row of the table has a status that there is.
    StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// `{"error": message}`.
#[must_use]
pub fn error_body(message: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(message.len() + 16);
    body.extend_from_slice(b"{\"error\":");
    write_text(&mut body, message);
    body.push(b'}');
    body
}

/// Appends `text` as a JSON string.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing text to a Vec can't fail.
    let _ = serde_json::to_writer(out, text);
}

/// A whole HTTP/1.1 error response as bytes, for where hyper has no request to answer. The connection closes after it.
pub(super) fn raw_error(refused: Refused, id: &HeaderValue) -> Vec<u8> {
    let (status, body) = (status_of(refused), error_body(refused.form()));
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
