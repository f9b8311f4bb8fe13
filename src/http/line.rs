//! One log line for each request, whatever became of it.
//!
//! Runs in the supervisor. A line says who asked for what, what became of it and where the time went. It must never
//! hold a script, its input or its output; what a client chose itself is fit for a log before it comes here.

use crate::outcome::Timing;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use std::time::Duration;
use tokio::time::Instant;

/// The status that is logged when the client left before its answer was ready.
const CLIENT_LEFT: u16 = 499;

/// A request's line; it is written when this is dropped, so that a request that is given up has its line too.
pub(super) struct Line {
    pub(super) id: HeaderValue,
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) isolation: &'static str,
    pub(super) bytes_in: usize,
    started: Instant,
    status: u16,
    code: &'static str,
    timing: Option<Spent>,
    bytes_out: usize,
}

/// Where an execution's time went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spent {
    /// As the supervisor measured it.
    pub(super) timing: Timing,
    /// Writing the answer.
    pub(super) encode: Duration,
}

impl Line {
    /// A request begins.
    pub(super) fn begin(id: HeaderValue, method: &Method, route: &'static str, isolation: &'static str) -> Self {
        Self {
            id,
            method: known_method(method),
            route,
            isolation,
            bytes_in: 0,
            started: Instant::now(),
            status: CLIENT_LEFT,
            code: "client_left",
            timing: None,
            bytes_out: 0,
        }
    }

    /// The answer is ready; `code` is a word for what it says.
    pub(super) fn answer(&mut self, status: StatusCode, code: &'static str, timing: Option<Spent>, bytes_out: usize) {
        self.status = status.as_u16();
        self.code = code;
        self.timing = timing;
        self.bytes_out = bytes_out;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let spent = |of: fn(&Spent) -> Duration| self.timing.as_ref().map(|spent| milliseconds(of(spent)));
        tracing::info!(
            id = self.id.to_str().unwrap_or("-"),
            method = self.method,
            route = self.route,
            status = self.status,
            code = self.code,
            total_ms = milliseconds(self.started.elapsed()),
            queue_ms = spent(|spent| spent.timing.queue),
            start_ms = spent(|spent| spent.timing.start),
            run_ms = spent(|spent| spent.timing.run),
            encode_ms = spent(|spent| spent.encode),
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            isolation = self.isolation,
            "request"
        );
    }
}

/// To the microsecond.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a request fit a float's 53 bits")]
pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// A method by its name if it has one; a client may make up others.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        "PATCH" => "PATCH",
        _ => "other",
    }
}
