//! What the protocols need of whoever runs scripts, and all that they know of it.
//!
//! Called in the supervisor process. Nothing here knows of processes, jails or Python, nor of any protocol.

use crate::capabilities::Capabilities;
use crate::client::Client;
use crate::events::Listener;
use crate::job::Job;
use crate::outcome::{Refusal, Report};
use std::future::Future;

/// Whoever runs scripts.
pub trait Service: Send + Sync + 'static {
    /// Runs one job for `client`; `listener` hears what happens meanwhile. Dropping the future means that the client went away: the child is killed, its place is free.
    ///
    /// # Errors
    /// The job was not run, or not to its end: see [`Refusal`].
    fn run(
        &self,
        job: Job,
        client: Client,
        listener: &mut dyn Listener,
    ) -> impl Future<Output = Result<Report, Refusal>> + Send;

    /// Whether a script posted now would be run: an interpreter is warm and the service is not draining.
    fn ready(&self) -> bool;

    /// Whether the service works at all; `false` asks the platform to restart it, and is said only where a restart would help: what
    /// starts or reaps processes is gone, every place is held by a process that does not end, or no child could be made for half a
    /// minute. That none can be made just now is [`Service::ready`]'s to tell.
    fn alive(&self) -> bool;

    /// The body of `GET /capabilities`.
    fn capabilities(&self) -> Capabilities;

    /// The isolation level in force; it never changes after start.
    fn isolation(&self) -> &'static str;
}
