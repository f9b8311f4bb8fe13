//! A child as the supervisor holds it: its process, its channel, its outputs.
//!
//! Runs in the supervisor. Whoever drops a child kills it; every child is reaped.

use super::reaper::Reaper;
use super::slots::Slot;
use super::zygote::Newborn;
use crate::job::Limits;
use crate::sys::{self, Ended};
use crate::wire::{self, Hello};
use nix::errno::Errno;
use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::Pid;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
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
    reaper: Reaper,
    channel: AsyncFd<OwnedFd>,
    /// Read end of its stdout, in blocking mode as it came.
    pub stdout: Option<OwnedFd>,
    /// Read end of its stderr.
    pub stderr: Option<OwnedFd>,
    /// Processor time it had used when it was ready.
    pub cpu_at_ready: Duration,
    /// The memory limit it was made with, in bytes on top of the zygote's.
    pub memory: u64,
    /// Its `RLIMIT_CPU`, in seconds.
    pub cpu_seconds: u64,
    /// The zygote's address space, in bytes.
    pub address_space: u64,
}

/// Why a child never became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StillBorn {
    /// A step of its jail failed: index and error number, as it said.
    Jail(u16, i32),
    /// It ended, or said something else.
    Silent,
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.kill();
            self.reaper.bury_child(self.pid, self.inside, slot);
        }
    }
}

impl Child {
    /// Takes a newborn child over.
    ///
    /// # Errors
    /// When the event loop takes no more descriptors; the child is killed.
    pub fn new(newborn: Newborn, slot: Slot, reaper: Reaper) -> io::Result<Self> {
        let Newborn { pid, inside, channel, stdout, stderr } = newborn;
        reaper.expect(pid);
        match sys::watch(channel, Interest::READABLE | Interest::WRITABLE) {
            Ok(channel) => Ok(Self {
                pid,
                inside,
                killed: false,
                slot: Some(slot),
                reaper,
                channel,
                stdout: Some(stdout),
                stderr: Some(stderr),
                cpu_at_ready: Duration::ZERO,
                memory: 0,
                cpu_seconds: 0,
                address_space: 0,
            }),
            Err((_, error)) => {
                let _ = kill(pid, Signal::SIGKILL);
                reaper.bury_child(pid, inside, slot);
                Err(error)
            }
        }
    }

    /// Waits for its first words.
    ///
    /// # Errors
    /// See [`StillBorn`].
    pub async fn hello(&mut self) -> Result<Hello, StillBorn> {
        let mut received = Vec::with_capacity(MAX_HELLO);
        let payload = loop {
            if self.receive(&mut received, wire::HEADER + MAX_HELLO).await.unwrap_or(0) == 0 {
                return Err(StillBorn::Silent);
            }
            let Some(header) = received.first_chunk() else { continue };
            let length = wire::payload_length(*header, MAX_HELLO).map_err(|_| StillBorn::Silent)?;
            if received.len() >= wire::HEADER + length {
                break &received[wire::HEADER..];
            }
        };
        match wire::decode(payload).map_err(|_| StillBorn::Silent)? {
            Hello::Failed { step, errno } => Err(StillBorn::Jail(step, errno)),
            Hello::Ready { cpu_ns } => {
                self.cpu_at_ready = Duration::from_nanos(cpu_ns);
                Ok(Hello::Ready { cpu_ns })
            }
            hello @ Hello::Verified { .. } => Ok(hello),
        }
    }

    /// Makes a ready child fit other limits, from outside; its own filter refuses it to change them.
    ///
    /// # Errors
    /// `EPERM` where the kernel does not let the supervisor; a child made with these limits will do.
    pub fn adjust(&mut self, limits: &Limits, cpu_seconds: u64) -> Result<(), Errno> {
        if limits.memory.0 != self.memory {
            let address_space = self.address_space.saturating_add(limits.memory.0);
            sys::set_limit_of(self.pid, Resource::RLIMIT_AS, address_space)?;
            self.memory = limits.memory.0;
        }
        if cpu_seconds > self.cpu_seconds {
            sys::set_limit_of(self.pid, Resource::RLIMIT_CPU, cpu_seconds)?;
            self.cpu_seconds = cpu_seconds;
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

    /// Receives what there is and appends it, so that `received` holds at most `most` bytes; 0 is the end.
    ///
    /// # Errors
    /// What `recv(2)` gives.
    pub async fn receive(&self, received: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        /// What one call asks for at first; a large reply doubles it.
        const CHUNK: usize = 4096;
        let filled = received.len();
        let room = CHUNK.max(filled).min(most.saturating_sub(filled));
        received.resize(filled + room, 0);
        let result = self
            .channel
            .async_io(Interest::READABLE, |fd| {
                Ok(recv(fd.as_raw_fd(), &mut received[filled..], MsgFlags::MSG_DONTWAIT)?)
            })
            .await;
        received.truncate(filled + result.as_ref().copied().unwrap_or(0));
        result
    }

    /// Processor time used since it was ready; `None` when the kernel does not tell.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        sys::cpu_time_of(self.inside.unwrap_or(self.pid)).map(|used| used.saturating_sub(self.cpu_at_ready))
    }

    /// How many threads it has; `None` when the kernel does not tell.
    #[must_use]
    pub fn threads(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.inside.unwrap_or(self.pid))).ok()?;
        // After the name, which may hold anything: the state is the first field, the number of threads the eighteenth.
        stat.rsplit_once(')')?.1.split_whitespace().nth(17)?.parse().ok()
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

    /// Reaps the child, which was killed or has ended, and tells how.
    pub async fn end(mut self) -> Option<Ended> {
        let slot = self.slot.take()?;
        let (reaper, pid) = (self.reaper.clone(), self.pid);
        reaper.await_child(pid, self.inside, slot).await
    }
}
