//! Accepts connections, keeps their number below the cap, and drains them at the end.
//!
//! Runs in the supervisor, one task. It never stops accepting because of what clients do: at the cap, and when the
//! system is out of descriptors, connections that only wait for their client make room, longest wait first.

use super::answer::raw_error;
use super::presence::Presence;
use super::{Front, Handler, connection};
use crate::client::Client;
use crate::errors::Refused;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};

/// One in so many connections is closed at a time, so that looking for them costs little when thousands arrive: at the
/// cap, and when the system has no descriptor left.
const SHARE_AT_CAP: usize = 32;
const SHARE_AT_EXHAUSTION: usize = 8;

/// The pause after the system refused a connection: for what was closed to be gone, or for something to end by itself.
const CLOSING: Duration = Duration::from_millis(1);
const BACK_OFF: Duration = Duration::from_millis(10);

/// How many clients that are turned away are given time to read why, and how long.
const TURNED_AWAY: usize = 64;
const FAREWELL: Duration = Duration::from_secs(1);

/// The connections there are.
struct Open<H> {
    front: Arc<Front<H>>,
    tasks: JoinSet<()>,
    known: HashMap<Id, (Arc<Presence>, AbortHandle)>,
    turned_away: JoinSet<()>,
    warned: Option<Instant>,
}

/// Accepts until `shutdown` ends, then drains.
pub(super) async fn run<H: Handler>(
    listener: TcpListener,
    front: Arc<Front<H>>,
    drain: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let drain_time = front.settings.drain_time;
    let mut open =
        Open { front, tasks: JoinSet::new(), known: HashMap::new(), turned_away: JoinSet::new(), warned: None };
    // Given up when there is no other, to tell one client so; whoever comes next waits until it is back.
    let mut spare = None;
    let mut shutdown = pin!(shutdown);
    loop {
        spare = spare.or_else(|| listener.as_fd().try_clone_to_owned().ok());
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = open.tasks.join_next_with_id(), if !open.tasks.is_empty() => open.forget(&ended),
            Some(_) = open.turned_away.join_next(), if !open.turned_away.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => open.admit(stream, from).await,
                Err(error) if is_one_clients(&error) => {}
                Err(error) => {
                    open.warn(&error);
                    if open.evict(SHARE_AT_EXHAUSTION) > 0 {
                        sleep(CLOSING).await;
                        continue;
                    }
                    if spare.take().is_some()
                        && let Poll::Ready(Ok((stream, _))) = poll_accept_now(&listener).await
                    {
                        open.turn_away(stream);
                    }
                    sleep(BACK_OFF).await;
                }
            },
        }
    }
    // Whoever is already connected is served; then the port is free.
    while let Poll::Ready(Ok((stream, from))) = poll_accept_now(&listener).await {
        open.admit(stream, from).await;
    }
    drop((listener, spare));
    drain.send_replace(true);
    if timeout(drain_time, open.finish()).await.is_err() {
        tracing::warn!(connections = open.tasks.len(), "the drain time is over; connections are cut off");
    }
    open.tasks.shutdown().await;
}

impl<H: Handler> Open<H> {
    /// Serves a connection if there is room for it, or room can be made.
    async fn admit(&mut self, stream: TcpStream, from: SocketAddr) {
        /// How often those already accepted are let run first: some may only have to be seen to be gone.
        const TRIES: usize = 4;
        for _ in 0..TRIES {
            if self.known.len() < self.front.settings.connections || self.evict(SHARE_AT_CAP) > 0 {
                return self.serve(stream, Client::at(from.ip()));
            }
            yield_now().await;
            while let Some(ended) = self.tasks.try_join_next_with_id() {
                self.forget(&ended);
            }
        }
        self.turn_away(stream);
    }

    fn serve(&mut self, stream: TcpStream, client: Client) {
        let presence = Arc::new(Presence::new());
        let serving = connection::run(stream, client, Arc::clone(&self.front), Arc::clone(&presence));
        let task = self.tasks.spawn(serving);
        self.known.insert(task.id(), (presence, task));
    }

    fn forget(&mut self, ended: &Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.known.remove(&id);
    }

    /// Closes one in `share` connections, at least one, of those that wait longest for their clients; how many.
    fn evict(&mut self, share: usize) -> usize {
        let mut waiting: Vec<_> =
            self.known.iter().filter_map(|(id, (presence, _))| Some((presence.waiting_since()?, *id))).collect();
        let wanted = (self.known.len() / share).max(1).min(waiting.len());
        if wanted < waiting.len() {
            waiting.select_nth_unstable_by_key(wanted, |(since, _)| *since);
        }
        let mut evicted = 0;
        for (_, id) in &waiting[..wanted] {
            if self.known.get(id).is_some_and(|(presence, _)| presence.evict())
                && let Some((_, task)) = self.known.remove(id)
            {
                task.abort();
                evicted += 1;
            }
        }
        evicted
    }

    /// Every connection is busy: says so, and closes.
    fn turn_away(&mut self, mut stream: TcpStream) {
        if self.turned_away.len() >= TURNED_AWAY {
            return;
        }
        let answer = self.too_many();
        self.turned_away.spawn(async move {
            let farewell = async {
                stream.write_all(&answer).await?;
                stream.shutdown().await?;
                // Closing with unread input would reset the connection before the client has read the answer.
                let mut dropped = [0; 1024];
                while stream.read(&mut dropped).await? > 0 {}
                io::Result::Ok(())
            };
            // Whatever goes wrong here, the client is gone.
            let _ = timeout(FAREWELL, farewell).await;
        });
    }

    fn too_many(&self) -> Vec<u8> {
        raw_error(Refused::TooManyConnections, &self.front.ids.make())
    }

    /// Says why connections are not accepted, once a second at most.
    fn warn(&mut self, error: &io::Error) {
        if self.warned.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            tracing::warn!(%error, connections = self.known.len(), "can't accept a connection");
            self.warned = Some(Instant::now());
        }
    }

    /// Waits for every connection to end.
    async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Accepts a connection if there is one already.
async fn poll_accept_now(listener: &TcpListener) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await
}

/// Whether accepting failed for the one client only (accept(2): errors that were pending on the new socket).
fn is_one_clients(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::WouldBlock
            | ErrorKind::PermissionDenied
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
    )
}
