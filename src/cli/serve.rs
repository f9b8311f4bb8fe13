//! `mayfly serve`: the service, from start to drained.

use super::exit;
use crate::api::{self, Api};
use crate::children::cgroups::Cgroups;
use crate::config::{Config, SETTINGS, StartPath};
use crate::http;
use crate::log;
use crate::machine;
use crate::service::Service;
use crate::size::ByteSize;
use crate::supervisor::{StartError, Supervisor};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// How long what still works aside, for nobody, may take at the end.
const END_TIME: Duration = Duration::from_secs(1);

pub fn run(config: Config) -> i32 {
    crate::sys::memory::give_back_large_blocks();
    // Children and zygotes need the other half of the cores; and with fewer threads fewer must be woken for one request.
    let threads = machine::cores().div_ceil(2);
    match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        // As a task of its own, so that no request has to cross from this thread to a worker.
        Ok(runtime) => match runtime.block_on(runtime.spawn(serve(config))) {
            Ok((status, cgroups)) => {
                // Ends who keeps zygotes and children, and so those.
                runtime.shutdown_timeout(END_TIME);
                if let Some(cgroups) = cgroups {
                    cgroups.remove();
                }
                status
            }
            Err(error) => {
                log::fatal(&error.to_string());
                exit::SOFTWARE
            }
        },
        Err(error) => {
            log::fatal(&format!("can't start the server's threads: {error}"));
            exit::SOFTWARE
        }
    }
}

/// The front's part of the settings.
fn front(config: &Config) -> http::Settings {
    /// A quarter of the memory may hold requests and answers; and never less than two of each.
    const SHARE: u64 = 4;
    let least = 2 * (config.body_size.0 + config.result_size.0);
    let held = machine::memory().map_or(least, |ByteSize(all)| (all / SHARE).max(least));
    // At most half of it goes to requests over HTTP/2 for being there at all.
    let wanted = connections(config);
    let (connections, streams) = machine::streams(ByteSize(held / 2), http::STREAM, wanted);
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            "memory allows fewer connections; lower MAYFLY_CONNECTIONS or give more memory"
        );
    }
    http::Settings {
        hosts: config.hosts.clone(),
        proxies: config.proxies.clone(),
        held_size: ByteSize(held),
        connections,
        streams,
        header_time: config.header_time,
        body_time: config.body_time,
        idle_time: config.idle_time,
        // It runs until the answers are out to whoever was given up.
        drain_time: config.drain_time + FAREWELL,
    }
}

/// The protocols' part of them.
fn protocols(config: &Config) -> api::Settings {
    api::Settings {
        bounds: config.bounds(),
        body_size: config.body_size,
        result_size: config.result_size,
        large_at_once: machine::cores(),
    }
}

/// How many clients may be connected at once: as many as the settings say, and no more than leave descriptors for the children.
fn connections(config: &Config) -> usize {
    /// Its channel, its two outputs and its control group, and one while it is made.
    const OF_A_CHILD: usize = 5;
    /// The log, the event loop, the zygotes, clients that are turned away.
    const OWN: usize = 128;
    let children = config.concurrency + 2 * config.ready;
    let room = raise_open_files().saturating_sub(OWN + OF_A_CHILD * children).max(1);
    if room < config.connections {
        tracing::warn!(
            connections = room,
            wanted = config.connections,
            "the limit of open files allows fewer connections; raise it (ulimit -n) or lower MAYFLY_CONNECTIONS"
        );
    }
    room.min(config.connections)
}

/// Many systems start programs with a soft limit of 1,024 that any process may raise to the hard one. Zygotes and children set
/// their own. Returns what it is then.
fn raise_open_files() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return usize::MAX };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    usize::try_from(raised).unwrap_or(usize::MAX)
}

/// For the clients whose scripts were given up to take that answer.
const FAREWELL: Duration = Duration::from_millis(500);

/// Connections that may wait to be accepted: a burst of clients beyond it would wait a second to try again.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Until it is told to end, and has: its exit status, and the control groups to remove.
async fn serve(config: Config) -> (i32, Option<Cgroups>) {
    // Before anything else: to process 1, as which this runs in a container, a signal that nothing handles does nothing.
    let mut ends = Ends::watch();
    let listener = match listen(config.listen) {
        Ok(listener) => listener,
        Err(error) => {
            let address = config.listen;
            log::fatal(&format!("can't listen on {address}: {error}; choose another with --listen or MAYFLY_LISTEN"));
            return (exit::CONFIG, None);
        }
    };
    let address = listener.local_addr().unwrap_or(config.listen);
    let (settings, mut protocols) = (Arc::new(front(&config)), protocols(&config));
    let started = tokio::select! {
        started = Supervisor::start(config) => started,
        () = ends.come() => {
            tracing::info!("stopped while starting");
            return (exit::OK, None);
        }
    };
    let supervisor = match started {
        Ok(supervisor) => Arc::new(supervisor),
        Err(error) => {
            log::fatal(&error.to_string());
            let status = match error {
                StartError::Thread(_) => exit::SOFTWARE,
                StartError::Manifest(_) | StartError::Mismatch { .. } | StartError::Isolation(_) => exit::CONFIG,
            };
            return (status, None);
        }
    };
    if !Service::capabilities(&*supervisor).files.granted {
        protocols.bounds.files.room = None;
    }
    announce(&supervisor, address);
    let (begin, drains) = oneshot::channel();
    let drain_time = supervisor.config().drain_time;
    let shutdown = {
        let supervisor = Arc::clone(&supervisor);
        async move {
            ends.come().await;
            let running = supervisor.drain();
            let at_most_ms = u64::try_from(drain_time.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(
                running,
                at_most_ms,
                "draining: requests that run are finished, new ones are refused; a second signal ends this at once"
            );
            let _ = begin.send(ends);
        }
    };
    tokio::spawn(super::give_back::after_bursts());
    let cgroups = supervisor.cgroups();
    let given_up = give_up(Arc::clone(&supervisor), drains, drain_time);
    let api = Arc::new(Api::new(supervisor, protocols));
    tokio::select! {
        () = http::serve(listener, api, settings, shutdown) => {}
        () = given_up => {}
    }
    tracing::info!("drained");
    (exit::OK, cgroups)
}

/// Once the drain has begun, gives up what still runs when its time is over, or at a second signal. Ends when the clients have had
/// time to take that answer.
async fn give_up(supervisor: Arc<Supervisor>, drains: oneshot::Receiver<Ends>, drain_time: Duration) {
    let Ok(mut ends) = drains.await else { return pending().await };
    tokio::select! {
        () = ends.come() => tracing::warn!("a second signal: scripts that still run are ended, and their requests refused"),
        () = sleep(drain_time) => {
            tracing::warn!("the drain time is over: scripts that still run are ended, and their requests refused");
        }
    }
    supervisor.give_up();
    sleep(FAREWELL).await;
}

/// The first line of the log: what runs here, and what is missing.
fn announce(supervisor: &Supervisor, address: SocketAddr) {
    let refused: Vec<String> = supervisor.refused().map(|(level, why)| format!("{level} ({why})")).collect();
    let config = supervisor.config();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        python = supervisor.manifest().python,
        isolation = supervisor.level().as_str(),
        refused = if refused.is_empty() { "none".to_owned() } else { refused.join("; ") },
        start = match config.start {
            StartPath::Warm => "warm",
            StartPath::Cold => "cold",
        },
        own_ids = supervisor.has_own_ids(),
        own_cgroup = supervisor.has_own_cgroups(),
        concurrency = config.concurrency,
        "mayfly serves on http://{address}"
    );
    for name in misspelt() {
        tracing::warn!(name, "no such setting; is the name misspelt?");
    }
    if !refused.is_empty() {
        tracing::warn!("a stronger isolation level is not available; run `mayfly doctor` for what to change");
    }
}

/// What looks like a setting in the environment and is none. Kubernetes and Docker describe a service named `mayfly` to others by
/// `MAYFLY_SERVICE_…` and `MAYFLY_PORT…`; `make` takes `MAYFLY_PYTHON`.
fn misspelt() -> Vec<String> {
    let is_others = |name: &str| {
        ["MAYFLY_SERVICE_", "MAYFLY_PORT", "MAYFLY_PYTHON"].iter().any(|start| name.starts_with(start))
            || crate::fault::reads(name)
    };
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names
        .filter(|name| name.starts_with("MAYFLY_") && !is_others(name))
        .filter(|name| !SETTINGS.iter().any(|setting| setting.name == name))
        .collect()
}

/// The signals that ask the server to end.
struct Ends(Option<(Signal, Signal)>);

impl Ends {
    fn watch() -> Self {
        Self(signal(SignalKind::terminate()).ok().zip(signal(SignalKind::interrupt()).ok()))
    }

    /// Returns when one has come.
    async fn come(&mut self) {
        match &mut self.0 {
            Some((terminate, interrupt)) => {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            }
            None => std::future::pending().await,
        }
    }
}
