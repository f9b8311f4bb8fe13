//! Starts processes, all of them from one thread.
//!
//! Runs in the supervisor. What it starts is killed when it is dropped here, and reaped.

use super::reaper::Reaper;
use crate::sys;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Starts processes from one thread that lives as long as the supervisor: the kernel kills a zygote and its
/// children when the *thread* that is their parent ends (`PR_SET_PDEATHSIG(2const)`).
#[derive(Debug, Clone)]
pub struct Launcher {
    orders: std::sync::mpsc::Sender<Launch>,
    thread: Arc<JoinHandle<()>>,
}

struct Launch {
    command: Command,
    control: OwnedFd,
    started: tokio::sync::oneshot::Sender<io::Result<Process>>,
    reaper: Reaper,
}

impl Launcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start() -> io::Result<Self> {
        let (orders, incoming) = std::sync::mpsc::channel::<Launch>();
        let thread = std::thread::Builder::new().name("launcher".to_owned()).spawn(move || {
            for Launch { command, control, started, reaper } in incoming {
                let process = sys::spawn_with_control(command, control).map(|pid| {
                    reaper.expect(pid);
                    Process { pid, reaper }
                });
                // When nobody waits any more, this drops it.
                let _ = started.send(process);
            }
            // All senders are gone: the supervisor is ending, and so may what it started.
        })?;
        Ok(Self { orders, thread: Arc::new(thread) })
    }

    /// Whether it can still start processes.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    pub(super) async fn launch(&self, command: Command, control: OwnedFd, reaper: Reaper) -> io::Result<Process> {
        let (started, answer) = tokio::sync::oneshot::channel();
        let gone = || io::Error::other("the launcher thread ended");
        self.orders.send(Launch { command, control, started, reaper }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A process that was started. Dropping it kills and reaps it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) reaper: Reaper,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        self.reaper.reap_later(self.pid);
    }
}

impl Process {
    /// Its pid, for one who sees to its end from here on.
    pub(super) fn release(self) -> Pid {
        let process = std::mem::ManuallyDrop::new(self);
        process.pid
    }
}
