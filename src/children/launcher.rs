//! Starts processes, all of them from one thread, and moves processes into control groups, which takes too long for others.
//!
//! Runs in the supervisor. What it starts is killed when it is dropped here, and reaped.

use super::cgroups::Cgroup;
use super::reaper::Reaper;
use crate::sys;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Starts processes from one thread that lives as long as the supervisor: the kernel kills a zygote and its
/// children when the *thread* that is their parent ends (`PR_SET_PDEATHSIG(2const)`).
#[derive(Debug, Clone)]
pub struct Launcher {
    orders: std::sync::mpsc::Sender<Work>,
    thread: Arc<JoinHandle<()>>,
}

enum Work {
    Launch(Box<Launch>),
    Place { pid: Pid, group: Arc<Cgroup>, done: oneshot::Sender<io::Result<()>> },
}

struct Launch {
    command: Command,
    control: OwnedFd,
    group: Option<Arc<Cgroup>>,
    started: oneshot::Sender<io::Result<Process>>,
    reaper: Reaper,
}

impl Launcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start() -> io::Result<Self> {
        let (orders, incoming) = std::sync::mpsc::channel::<Work>();
        let thread = std::thread::Builder::new().name("launcher".to_owned()).spawn(move || {
            for work in incoming {
                match work {
                    Work::Launch(launch) => launch.carry_out(),
                    Work::Place { pid, group, done } => drop(done.send(group.take_in(pid))),
                }
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

    /// Starts a process, and puts it into `group` before it is told anything.
    pub(super) async fn launch(
        &self,
        command: Command,
        control: OwnedFd,
        group: Option<Arc<Cgroup>>,
        reaper: Reaper,
    ) -> io::Result<Process> {
        let (started, answer) = oneshot::channel();
        self.carry_out(Work::Launch(Box::new(Launch { command, control, group, started, reaper })), answer).await
    }

    /// Puts a process into a control group. Whoever waits holds it, so that it is not reaped meanwhile.
    pub(super) async fn place(&self, pid: Pid, group: Arc<Cgroup>) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.carry_out(Work::Place { pid, group, done }, answer).await
    }

    async fn carry_out<T>(&self, work: Work, answer: oneshot::Receiver<io::Result<T>>) -> io::Result<T> {
        let gone = || io::Error::other("the launcher thread ended");
        self.orders.send(work).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Launch {
    fn carry_out(self) {
        let Self { command, control, group, started, reaper } = self;
        let process = sys::spawn_with_control(command, control).and_then(|pid| {
            reaper.expect(pid);
            let process = Process { pid, reaper };
            group.map_or(Ok(()), |group| group.take_in(pid))?;
            Ok(process)
        });
        // When nobody waits any more, this drops it.
        let _ = started.send(process);
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
