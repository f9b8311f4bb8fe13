//! One log line for each request, whatever became of it, but for health checks that find all well.
//!
//! Runs in the supervisor. A line says who asked for what, what became of it and where the time went. It must never
//! hold a script, its input or its output; what a client chose itself is fit for a log before it comes here.

use super::pieces::Ending;
use crate::client::Client;
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
    /// Some place asks every few seconds, for as long as the server runs.
    pub(super) is_health_check: bool,
    pub(super) bytes_in: usize,
    /// Counted as they go, where the answer is sent in pieces.
    pub(super) bytes_out: usize,
    client: Client,
    started: Instant,
    status: u16,
    code: &'static str,
    timing: Option<Spent>,
}

/// Where an execution's time went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent {
    /// As the supervisor measured it.
    pub timing: Timing,
    /// Writing the answer.
    pub encode: Duration,
}

impl Line {
    /// A request begins.
    pub(super) fn begin(
        id: HeaderValue,
        method: &Method,
        route: &'static str,
        client: Client,
        isolation: &'static str,
    ) -> Self {
        Self {
            client,
            id,
            method: known_method(method),
            route,
            isolation,
            is_health_check: false,
            bytes_in: 0,
            started: Instant::now(),
            status: CLIENT_LEFT,
            code: "client_left",
            timing: None,
            bytes_out: 0,
        }
    }

    /// The answer is ready, `size` bytes of it; `code` is a word for what it says. One in pieces, of which no size is known, is
    /// not ready before its end.
    pub(super) fn answer(
        &mut self,
        status: StatusCode,
        code: &'static str,
        timing: Option<Spent>,
        size: Option<usize>,
    ) {
        let Some(size) = size else { return };
        self.bytes_out = size;
        self.end(Ending { status: status.as_u16(), code, spent: timing });
    }

    /// What an answer came to.
    pub(super) fn end(&mut self, Ending { status, code, spent }: Ending) {
        self.status = status;
        self.code = code;
        self.timing = spent;
    }
}

impl Line {
    /// A health check that finds all well.
    fn says_nothing(&self) -> bool {
        self.is_health_check && self.status == StatusCode::OK.as_u16()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.says_nothing() {
            return;
        }
        let spent = |of: fn(&Spent) -> Duration| self.timing.as_ref().map(|spent| milliseconds(of(spent)));
        tracing::info!(
            id = self.id.to_str().unwrap_or("-"),
            client = %self.client.address,
            proxy = self.client.proxy.map(tracing::field::display),
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
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
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
