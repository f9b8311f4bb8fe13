//! A child as the supervisor holds it: its process, its channel, its outputs.
//!
//! Runs in the supervisor. Whoever drops a child kills it; every child is reaped.

use super::launcher::Launcher;
use super::reaper::{Place, Reaper};
use super::slots::Slot;
use super::zygote::Newborn;
use crate::jail::{JailError, Step};
use crate::job::Limits;
use crate::orders::Spawn;
use crate::sys::{self, Ended};
use crate::wire::{self, Frames, Hello, Up};
use nix::errno::Errno;
use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::Pid;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The largest hello: two small integers.
const MAX_HELLO: usize = 64;

/// A child that lives.
#[derive(Debug)]
pub struct Child {
    /// The child, or its nsjail: what is killed and waited for.
    pid: Pid,
    /// At level `nsjail`: the child itself.
    inside: Option<Pid>,
    /// Whether it was killed already: once is enough.
    killed: bool,
    /// Taken when the child is handed to the reaper.
    slot: Option<Slot>,
    /// The place that its script has, until the process is gone.
    place: Option<Arc<dyn Place>>,
    reaper: Reaper,
    channel: AsyncFd<OwnedFd>,
    /// What it has said and nobody has read.
    frames: Frames,
    /// Read end of its stdout, in blocking mode as it came.
    pub stdout: Option<OwnedFd>,
    /// Read end of its stderr.
    pub stderr: Option<OwnedFd>,
    /// Processor time it had used when it was ready.
    cpu_at_ready: Duration,
    /// Memory that is its own, or may become so, without its script asking for any.
    own_memory: u64,
    made: Made,
}

/// What a child was made with, and may have been given since.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// What it may add to its interpreter's memory, in bytes.
    pub memory: u64,
    /// Its `RLIMIT_CPU`, in seconds.
    pub cpu_seconds: u64,
    /// The address space of the interpreter that it was made with, in bytes.
    pub address_space: u64,
}

impl Made {
    /// By this order, from a zygote of this size.
    #[must_use]
    pub fn by(spawn: Spawn, address_space: u64) -> Self {
        Self { memory: spawn.memory, cpu_seconds: spawn.cpu_seconds, address_space }
    }
}

/// Why a child never became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReady {
    /// A step of its jail failed, as it said.
    Jail(JailError),
    /// It ended, or said something else.
    Silent,
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.kill();
            self.reaper.reap_child_later(self.pid, self.inside, slot, self.place.take());
        }
    }
}

impl Child {
    /// Takes a newborn child over.
    ///
    /// # Errors
    /// When the event loop takes no more descriptors; the child is killed.
    pub fn new(newborn: Newborn, slot: Slot, reaper: Reaper, made: Made) -> io::Result<Self> {
        let Newborn { pid, inside, channel, stdout, stderr } = newborn;
        reaper.expect(pid);
        match sys::watch(channel, Interest::READABLE | Interest::WRITABLE) {
            Ok(channel) => Ok(Self {
                pid,
                inside,
                killed: false,
                slot: Some(slot),
                place: None,
                reaper,
                channel,
                frames: Frames::default(),
                stdout: Some(stdout),
                stderr: Some(stderr),
                cpu_at_ready: Duration::ZERO,
                own_memory: 0,
                made,
            }),
            Err((_, error)) => {
                let _ = kill(pid, Signal::SIGKILL);
                reaper.reap_child_later(pid, inside, slot, None);
                Err(error)
            }
        }
    }

    /// Waits for its first words.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn hello(&mut self) -> Result<Hello, NotReady> {
        self.frames.allow(MAX_HELLO);
        let said = self.next(0).await;
        match said {
            Ok(Up::Hello(Hello::Failed { step, errno })) => {
                Err(Step::from_index(step).map_or(NotReady::Silent, |step| NotReady::Jail(JailError { step, errno })))
            }
            Ok(Up::Hello(hello)) => {
                if let Hello::Ready { cpu_ns, own } = hello {
                    self.cpu_at_ready = Duration::from_nanos(cpu_ns);
                    self.own_memory = own;
                    if let Some(slot) = &self.slot {
                        slot.bound(self.made.memory, own).map_err(NotReady::Jail)?;
                    }
                }
                Ok(hello)
            }
            Ok(Up::Done(_) | Up::Placed { .. }) | Err(_) => Err(NotReady::Silent),
        }
    }

    /// Sees that it is in the control group of its slot, where there is one.
    ///
    /// # Errors
    /// When it is not.
    pub async fn join(&self, launcher: &Launcher) -> Result<(), JailError> {
        let failed = |errno: Errno| JailError { step: Step::Clone, errno: errno as i32 };
        let Some(slot) = &self.slot else { return Ok(()) };
        // nsjail was moved when it was started.
        if let (Some(group), None) = (slot.to_move_into(), self.inside) {
            launcher.place(self.pid, group).await.map_err(|error| failed(errno_of(&error)))?;
        }
        Ok(())
    }

    /// Whether it is in the control group of its slot; true where there is none.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.slot.as_ref().is_none_or(|slot| slot.has(self.inside.unwrap_or(self.pid)))
    }

    /// Whether the kernel killed it because it held more than its control group may; asked once.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> bool {
        self.slot.as_ref().is_some_and(Slot::ran_out_of_memory)
    }

    /// The script of a request runs in it from now on: the place is free when the process is gone.
    pub fn occupy(&mut self, place: Arc<dyn Place>) {
        self.place = Some(place);
    }

    /// It used so much processor time before its script could begin.
    pub fn has_used(&mut self, cpu: Duration) {
        self.cpu_at_ready = self.cpu_at_ready.max(cpu);
    }

    /// From now on it may say so much, in bytes.
    pub fn allow(&mut self, bytes: usize) {
        self.frames.allow(bytes);
    }

    /// The next thing that it says; a value of more than `most_tokens` tokens is not decoded.
    ///
    /// # Errors
    /// See [`Mute`].
    pub async fn next(&mut self, most_tokens: usize) -> Result<Up, Mute> {
        loop {
            if let Some(payload) = self.frames.payload().map_err(|_| Mute::Forged)? {
                let said = wire::decode_up(payload, most_tokens).map_err(|_| Mute::Forged)?;
                self.frames.taken();
                // It speaks once and then listens: what follows at once was written by somebody else.
                return if self.frames.holds_more() { Err(Mute::Forged) } else { Ok(said) };
            }
            let (buffer, room) = self.frames.buffer();
            match receive(&self.channel, buffer, room).await {
                Ok(0) | Err(_) => return Err(Mute::Closed),
                Ok(_) => {}
            }
        }
    }

    /// Makes a ready child fit other limits, from outside; its own filter refuses it to change them.
    ///
    /// # Errors
    /// `EPERM` where the kernel does not let the supervisor; a child made with these limits will do.
    pub fn adjust(&mut self, limits: &Limits, cpu_seconds: u64) -> Result<(), Errno> {
        if limits.memory.0 != self.made.memory {
            if let Some(slot) = &self.slot {
                slot.bound(limits.memory.0, self.own_memory).map_err(|error| Errno::from_raw(error.errno))?;
            }
            let address_space = self.made.address_space.saturating_add(limits.memory.0);
            sys::set_limit_of(self.pid, Resource::RLIMIT_AS, address_space)?;
            self.made.memory = limits.memory.0;
        }
        if cpu_seconds > self.made.cpu_seconds {
            sys::set_limit_of(self.pid, Resource::RLIMIT_CPU, cpu_seconds)?;
            self.made.cpu_seconds = cpu_seconds;
        }
        Ok(())
    }

    /// Sends bytes to the child, all of them.
    ///
    /// # Errors
    /// `EPIPE` when the child is gone.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let mut rest = bytes;
        // The first attempt goes straight to the socket: it nearly always takes all.
        match send(self.channel.as_raw_fd(), rest, flags) {
            Ok(sent) => rest = &rest[sent..],
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        while !rest.is_empty() {
            let sent = self.channel.async_io(Interest::WRITABLE, |fd| Ok(send(fd.as_raw_fd(), rest, flags)?)).await?;
            rest = &rest[sent..];
        }
        Ok(())
    }

    /// What the kernel tells of it. It is the child's as long as the child is held.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter { pid: self.inside.unwrap_or(self.pid), at_ready: self.cpu_at_ready, own_memory: self.own_memory }
    }

    /// Processor time it had used when it was ready: not the script's.
    #[must_use]
    pub fn cpu_at_ready(&self) -> Duration {
        self.cpu_at_ready
    }

    /// Memory that is its own, or may become so, without its script asking for any: not the script's.
    #[must_use]
    pub fn own_memory(&self) -> u64 {
        self.own_memory
    }

    /// Its `RLIMIT_CPU`, in seconds.
    #[must_use]
    pub fn cpu_seconds(&self) -> u64 {
        self.made.cpu_seconds
    }

    /// Kills the child. Its outputs and what it sent can still be read.
    pub fn kill(&mut self) {
        if !std::mem::replace(&mut self.killed, true) {
            // It can't have been reaped: only `drop` and `end` hand it to the reaper.
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }

    /// Whether the process has ended by itself, looked at without reaping it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.pid), flags), Ok(WaitStatus::StillAlive))
    }

    /// Reaps the child, which was killed or has ended, and tells how, if that is known within `patience`.
    pub async fn end(mut self, patience: Duration) -> Option<Ended> {
        let slot = self.slot.take()?;
        let (reaper, pid, place) = (self.reaper.clone(), self.pid, self.place.take());
        reaper.reap_child(pid, self.inside, slot, place, patience).await
    }
}

/// The most that `oom_score_adj` can be.
const FIRST_TO_GO: &str = "1000";

/// What the kernel tells of a child that lives.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    pid: Pid,
    at_ready: Duration,
    own_memory: u64,
}

/// What a child has at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Holds {
    /// Threads.
    pub threads: u64,
    /// Memory that is its own, with shared pages of no file and with its page tables, in bytes, beyond what its interpreter may have;
    /// `None` where the kernel does not tell (gVisor).
    pub memory: Option<u64>,
}

impl Meter {
    /// How much processor time it has used since it was ready; `None` when the kernel does not tell.
    #[must_use]
    pub fn used(self) -> Option<Duration> {
        sys::cpu_time_of(self.pid).map(|used| used.saturating_sub(self.at_ready))
    }

    /// Sets the nice value of all of its threads, and of those that they start.
    ///
    /// # Errors
    /// `EPERM` where the kernel does not let the supervisor: the child has ids of its own, and there is no `CAP_SYS_NICE`.
    pub fn set_niceness(self, niceness: i32) -> Result<(), Errno> {
        // It leads a session, and so a group, of its own (`Step::Session`).
        sys::priority::set_niceness_of_group(self.pid, niceness)
    }

    /// Sets the nice value of its session as a whole, where the kernel shares processors out by session and lets the supervisor say so.
    pub fn set_session(self, niceness: i32) {
        let _ = std::fs::write(format!("/proc/{}/autogroup", self.pid), niceness.to_string());
    }

    /// What it has now; `None` when the kernel does not tell.
    #[must_use]
    pub fn holds(self) -> Option<Holds> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let (mut threads, mut memory) = (None, None);
        for line in status.lines() {
            // The name, which is the first line's, is written with its line breaks escaped.
            let Some((name, value)) = line.split_once(':') else { continue };
            let number = || value.split_whitespace().next()?.parse::<u64>().ok();
            match name {
                "RssAnon" | "RssShmem" | "VmPTE" | "VmSwap" => {
                    memory = Some(memory.unwrap_or(0) + number()?.saturating_mul(1024));
                }
                "Threads" => threads = number(),
                _ => {}
            }
        }
        Some(Holds { threads: threads?, memory: memory.map(|all: u64| all.saturating_sub(self.own_memory)) })
    }

    /// Has the kernel kill this child before those that only wait for a job, when it must kill: where the server is root. Others may
    /// not change that of a process that can't be traced.
    pub fn offer_first(self) {
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", self.pid), FIRST_TO_GO);
    }
}

/// Why nothing comes from a child any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mute {
    /// Its end of the channel was closed: it ended, or closed it itself.
    Closed,
    /// What came is nothing that a child says.
    Forged,
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))
}

/// Receives what there is and appends it, `most` bytes at most; 0 is the end.
async fn receive(channel: &AsyncFd<OwnedFd>, received: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let filled = received.len();
    received.resize(filled + most, 0);
    let result = channel
        .async_io(Interest::READABLE, |fd| Ok(recv(fd.as_raw_fd(), &mut received[filled..], MsgFlags::MSG_DONTWAIT)?))
        .await;
    received.truncate(filled + result.as_ref().copied().unwrap_or(0));
    result
}
