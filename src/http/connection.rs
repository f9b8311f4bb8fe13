//! One connection, from its first byte to its last.
//!
//! Runs in the supervisor, one task each. It tells HTTP/2 from HTTP/1 by the first bytes, hands the socket to hyper
//! behind the gate, and ends what idles, stalls or outlives the server. Dropping the task closes the socket and gives
//! up whatever the client was waiting for.

use super::answer::{raw_error, status_of};
use super::exchange::Wire;
use super::gate::{DRAIN_IDLE, Gate, Signals, Times};
use super::line::Line;
use super::presence::Presence;
use super::{Front, Handler, exchange};
use crate::client::Client;
use crate::errors::Refused;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};

/// hyper's own buffer of an HTTP/1 connection, in and out. Heads are bounded by the gate.
const BUFFER: usize = 64 * 1024;

/// How much one HTTP/2 connection may ask for besides its streams: header bytes of one request (twice what is accepted, for h2 itself
/// would answer without words), body bytes not yet read of one request and of all; and how many streams it may have reset before we
/// took note (CVE-2023-44487) or made us reset (CVE-2025-8671) before it is told to go away. Of the latter a client that has not yet
/// read how many it may have can cause a hundred with one burst.
const HEADER_LIST: u32 = 32 * 1024;
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
const RESETS: usize = 20;
const CAUSED_RESETS: usize = 128;

/// How often an HTTP/2 connection is looked after.
const LOOK: Duration = Duration::from_secs(1);

/// Serves one client until it or we have enough.
pub(super) async fn run<H: Handler>(stream: TcpStream, client: Client, front: Arc<Front<H>>, presence: Arc<Presence>) {
    // An answer is one write; without this its tail could wait for the client's acknowledgement. Failing costs time only.
    let _ = stream.set_nodelay(true);
    let settings = &front.settings;
    let times = Times { header: settings.header_time, body: settings.body_time, idle: settings.idle_time };
    let signals = Arc::new(Signals::default());
    let refusing = Arc::clone(&front);
    let refuse = Box::new(move |refused: Refused| {
        let id = refusing.ids.make();
        let answer = raw_error(refused, &id);
        let mut line = Line::begin(id, &Method::default(), "-", client, refusing.handler.isolation());
        line.method = "-";
        line.answer(status_of(refused), refused.word(), None, Some(answer.len()));
        answer
    });
    let mut gate = Gate::new(stream, times, Arc::clone(&signals), refuse);
    let mut draining = front.draining.clone();
    let is_http2 = tokio::select! {
        biased;
        found = gate.is_http2() => found,
        () = drained(&mut draining) => timeout(DRAIN_IDLE, gate.is_http2()).await.unwrap_or(None),
        // Polled after the first look at the socket, and never ready.
        found = async { presence.touch(); pending().await } => found,
    };
    presence.touch();
    match is_http2 {
        None => {}
        Some(false) => serve_http1(gate, front, Wire { client, presence, signals }).await,
        Some(true) => serve_http2(gate, front, Wire { client, presence, signals }).await,
    }
}

/// Ends when the server begins to drain.
async fn drained(draining: &mut watch::Receiver<bool>) {
    // The sender lives as long as the server; without one, the server is going.
    let _ = draining.wait_for(|draining| *draining).await;
}

async fn serve_http1<H: Handler>(gate: Gate, front: Arc<Front<H>>, wire: Wire) {
    let mut draining = front.draining.clone();
    let told = Arc::clone(&wire.signals);
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, wire) = (Arc::clone(&front), wire.clone());
        async move { Ok::<_, Infallible>(exchange::run(front, wire, request).await) }
    });
    // No header timeout of hyper's: the gate shows it only heads that are complete.
    let mut builder = http1::Builder::new();
    builder.half_close(false).header_read_timeout(None).max_buf_size(BUFFER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(gate), service));
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = drained(&mut draining) => told.draining.store(true, Ordering::Relaxed),
    }
    // Answers now carry Connection: close, and the gate closes an idle connection. An error here is the client's.
    let _ = connection.await;
}

async fn serve_http2<H: Handler>(gate: Gate, front: Arc<Front<H>>, wire: Wire) {
    let mut draining = front.draining.clone();
    let idle = front.settings.idle_time;
    let (watched, streams) = (Arc::clone(&wire.presence), front.settings.streams);
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, wire) = (Arc::clone(&front), wire.clone());
        async move { Ok::<_, Infallible>(exchange::run(front, wire, request).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(streams)
        .max_header_list_size(HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(CAUSED_RESETS);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(gate), service));
    let mut look = interval(LOOK);
    let mut is_leaving = false;
    loop {
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = drained(&mut draining), if !is_leaving => {
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            now = look.tick() => {
                // A client that is asked to go need not answer.
                let idle = if is_leaving && !watched.has_something_to_take() { DRAIN_IDLE } else { idle };
                if watched.is_overdue(now) || watched.waiting_since().is_some_and(|since| is_over(since, now, idle)) {
                    return;
                }
            }
        }
    }
}

fn is_over(since: Instant, now: Instant, time: Duration) -> bool {
    now.saturating_duration_since(since) >= time
}
