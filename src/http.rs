//! The HTTP front: connections, their deadlines, what they may hold, and one exchange of request and answer after the other.
//!
//! Runs in the supervisor process only. It knows hyper, and nobody else does but `api`, which answers; it knows nothing of jobs,
//! protocols, processes or Python, and reaches them through [`Handler`] alone. A client is a stranger: every byte is checked,
//! counted and waited for under a deadline before anything is done with it.
//!
//! The way of one request over HTTP/1.1:
//!
//! ```text
//! socket → listen (cap, evict) → connection (which protocol?) → gate (head + framing: strict, one at a time)
//!        → hyper → exchange → Handler → Answer → body (whole, or in pieces) → socket
//! ```
//!
//! HTTP/2 takes the same way; there hyper and h2 do the framing and the gate only moves bytes.
//!
//! A client that goes away, or that shuts down its sending side, drops the future of [`Handler::handle`], or the answer that is
//! still being sent: TCP shows both as the same end of input. What a wrong request gets is in `docs/api.md`.

mod answer;
mod body;
mod budget;
mod connection;
mod deadline;
mod exchange;
mod framing;
mod gate;
mod head;
mod line;
mod listen;
mod pieces;
mod presence;
mod received;
mod request_id;
#[cfg(test)]
mod tests;

pub use self::answer::{Answer, error_body, status_of, write_text};
pub use self::exchange::{Exchange, Room};
pub use self::line::{Spent, milliseconds};
pub use self::pieces::{Ending, Full, Pieces};
pub use self::received::BodyFault;

use self::budget::Budget;
use self::request_id::RequestIds;
use crate::hosts::Hosts;
use crate::proxies::Proxies;
use crate::size::ByteSize;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How much memory one request over HTTP/2 takes at least, for whoever decides how many there may be.
pub const STREAM: ByteSize = ByteSize(budget::STREAM as u64);

/// Whoever answers requests: the protocols.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Dropping the future means that the client went away.
    fn handle(&self, exchange: &mut Exchange) -> impl Future<Output = Answer> + Send;

    /// What a path is called in the log: one of a few names, or `-`, and never a client's own words.
    fn route(&self, path: &str) -> &'static str;

    /// Whether a path is a health check, which is answered under any name: platforms ask under names of their own, and it tells
    /// nothing but that the server is there.
    fn is_health_check(&self, path: &str) -> bool;

    /// The isolation level in force, for the log; it never changes after start.
    fn isolation(&self) -> &'static str;
}

/// What the front holds clients to. Every value comes from `config`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The names that are answered to, and the web pages that may post.
    pub hosts: Hosts,
    /// Those whose word on who asks is taken.
    pub proxies: Proxies,
    /// How much of large requests (parsed) and large answers may be in memory at once, all clients together. Above
    /// it a request gets 503 with Retry-After.
    pub held_size: ByteSize,
    /// Requests that one connection of HTTP/2 may have at once.
    pub streams: u32,
    /// Open connections. At the cap one in 32 of them is closed for new ones, those that waited longest for their clients.
    pub connections: usize,
    /// For a new connection's first byte, and then for all of a request's head from its first byte on.
    pub header_time: Duration,
    /// For a request's whole body, and for the client to take its whole answer, or the next piece of it.
    pub body_time: Duration,
    /// For the next request of a connection that had one.
    pub idle_time: Duration,
    /// From shutdown until the requests still in flight are given up.
    pub drain_time: Duration,
}

/// What every connection shares.
struct Front<H> {
    handler: Arc<H>,
    settings: Arc<Settings>,
    budget: Arc<Budget>,
    ids: RequestIds,
    /// Turns true at shutdown, once.
    draining: watch::Receiver<bool>,
}

/// Serves until `shutdown` ends, then drains: no new connections, requests in flight are finished, each answer says
/// that its connection closes, and what is left after the drain time is cut off. The caller owns port and lifetime;
/// dropping this future cuts everything off at once.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    settings: Arc<Settings>,
    shutdown: impl Future<Output = ()>,
) {
    let (drain, draining) = watch::channel(false);
    let budget = Arc::new(Budget::new(settings.held_size));
    let front = Arc::new(Front { handler, settings, budget, ids: RequestIds::new(), draining });
    listen::run(listener, front, drain, shutdown).await;
}
