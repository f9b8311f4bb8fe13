//! The HTTP front: connections and their deadlines, routes, request → [`Job`], report → response.
//!
//! Runs in the supervisor process only. It knows JSON requests and hyper, and nobody else does; it knows nothing of
//! processes, jails or Python, and reaches them through [`Service`] alone. A client is a stranger: every byte is
//! checked, counted and waited for under a deadline before anything is done with it.
//!
//! The way of one request over HTTP/1.1:
//!
//! ```text
//! socket → listen (cap, evict) → connection (which protocol?) → gate (head + framing: strict, one at a time)
//!        → hyper → routes → body (size, deadline) → request (JSON → Job) → Service → answer (Report → bytes) → socket
//! ```
//!
//! HTTP/2 takes the same way; there hyper and h2 do the framing and the gate only moves bytes.
//!
//! A client that goes away, or that shuts down its sending side, drops the future of [`Service::run`]: TCP shows
//! both as the same end of input. What a wrong request gets is in `docs/api.md`.

mod answer;
mod arguments;
mod body;
mod budget;
mod connection;
mod deadline;
mod encode;
mod execute;
mod framing;
mod gate;
mod head;
mod line;
mod listen;
mod presence;
mod request;
mod request_id;
mod routes;

use crate::job::{ByteSize, Job, Limits};
use crate::service::Service;
use budget::Budget;
use request_id::RequestIds;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the front holds clients to. Every value comes from `config`.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Limits of a job that asks for none.
    pub limits: Limits,
    /// The most a job may ask for.
    pub maxima: Limits,
    /// Largest script, in bytes of UTF-8.
    pub script_size: ByteSize,
    /// Largest result, as JSON.
    pub result_size: ByteSize,
    /// Largest request body, as sent.
    pub body_size: ByteSize,
    /// How much of large requests (parsed) and large answers may be in memory at once, all clients together. Above
    /// it a request gets 503 with Retry-After.
    pub held_size: ByteSize,
    /// Open connections. At the cap one in 32 of them is closed for new ones, those that waited longest for their clients.
    pub connections: usize,
    /// For a new connection's first byte, and then for all of a request's head from its first byte on.
    pub header_time: Duration,
    /// For a request's whole body, and for the client to take its whole answer.
    pub body_time: Duration,
    /// For the next request of a connection that had one.
    pub idle_time: Duration,
    /// From shutdown until the requests still in flight are given up.
    pub drain_time: Duration,
}

/// Reads a request body as a job, the one way there is: `mayfly run` takes it too.
///
/// # Errors
/// One sentence that says what is wrong with it.
pub fn job_from_json(body: &[u8], settings: &HttpSettings) -> Result<Job, String> {
    request::parse(body, settings).map_err(|wrong| wrong.0.into_owned())
}

/// What every connection shares.
struct Front<S> {
    service: Arc<S>,
    settings: Arc<HttpSettings>,
    budget: Arc<Budget>,
    ids: RequestIds,
    /// Turns true at shutdown, once.
    draining: watch::Receiver<bool>,
}

/// Serves until `shutdown` ends, then drains: no new connections, requests in flight are finished, each answer says
/// that its connection closes, and what is left after the drain time is cut off. The caller owns port and lifetime;
/// dropping this future cuts everything off at once.
pub async fn serve<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    settings: Arc<HttpSettings>,
    shutdown: impl Future<Output = ()>,
) {
    let (drain, draining) = watch::channel(false);
    let budget = Arc::new(Budget::new(settings.held_size));
    let front = Arc::new(Front { service, settings, budget, ids: RequestIds::new(), draining });
    listen::run(listener, front, drain, shutdown).await;
}
