//! The supervisor's side of a zygote: start it, order children, notice that it is gone.
//!
//! Runs in the supervisor. A zygote runs no request's code, but it is still only believed in what it can't lie about: a
//! child it claims to have made is waited for by its pid, and an answer that is late or odd ends the zygote.

use super::cgroups::Cgroup;
use super::child::NotReady;
use super::command::command;
use super::launcher::{Launcher, Process};
use super::reaper::Reaper;
use super::slots::Slot;
use crate::jail::{Ids, JailError, Plan, Step};
use crate::level::Level;
use crate::orders::{Found, MAX_PACKET, Order, Role, Spawn, Warm, Word};
use crate::outcome::Refusal;
use crate::sys;
use crate::sys::message::{self, Received};
use crate::wire;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, setsockopt, socketpair, sockopt,
};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long a zygote may take to warm up: importing pandas from a cold disk takes seconds.
const START_TIME: Duration = Duration::from_secs(20);

/// How long a zygote may take for one child before it counts as wedged. It takes well under a millisecond, 6 ms under gVisor.
const SPAWN_TIME: Duration = Duration::from_secs(3);

/// Why there is no zygote, or no child.
#[derive(Debug)]
pub enum ZygoteError {
    /// The process could not be started. Try again after a while.
    Start(io::Error),
    /// A step of the jail failed. After a start: give up or try again later; after a spawn: the zygote is still good.
    Jail(JailError),
    /// The id map could not be written.
    IdMap(io::Error),
    /// The server has no number left for one of a child's channels; the child is killed. Try again after a while.
    Descriptors,
    /// The interpreter did not start: its own words. Trying again won't help before the jail root is mended.
    Interpreter(String),
    /// The zygote ended. Replace it.
    Gone,
    /// It did not answer in time. Replace it.
    Wedged,
    /// It answered with something else. Replace it.
    Confused,
    /// What it says it made is no child of the supervisor's. Replace it.
    NotOurs,
}

impl fmt::Display for ZygoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "can't start the zygote's process: {error}"),
            Self::Jail(error) => error.fmt(f),
            Self::IdMap(error) => write!(f, "can't write the id map of the zygote's user namespace: {error}"),
            Self::Descriptors => f.write_str(
                "the server has no descriptor left for a child's channels; raise its limit of open files (ulimit -n)",
            ),
            Self::Interpreter(why) => write!(f, "the interpreter did not start: {why}"),
            Self::Gone => f.write_str("the zygote ended"),
            Self::Wedged => f.write_str("the zygote did not answer in time"),
            Self::Confused => f.write_str("the zygote answered something that it was not asked"),
            Self::NotOurs => f.write_str("the zygote named a process that is not a child of the server"),
        }
    }
}

impl std::error::Error for ZygoteError {}

impl From<&ZygoteError> for Refusal {
    fn from(error: &ZygoteError) -> Self {
        match error {
            ZygoteError::Jail(JailError { step, errno }) => Self::Jail { step: step.as_str(), errno: *errno },
            _ => Self::NoZygote,
        }
    }
}

impl From<NotReady> for ZygoteError {
    fn from(why: NotReady) -> Self {
        match why {
            NotReady::Jail(error) => Self::Jail(error),
            NotReady::Silent => Self::Gone,
        }
    }
}

/// A child just cloned: not yet jailed, not yet trusted with a job.
#[derive(Debug)]
pub struct Newborn {
    /// To kill and to reap.
    pub pid: Pid,
    /// Under nsjail, which is what `pid` is then: the child itself, as the kernel told.
    pub inside: Option<Pid>,
    /// Job and reply.
    pub channel: OwnedFd,
    /// Read end of its stdout.
    pub stdout: OwnedFd,
    /// Read end of its stderr.
    pub stderr: OwnedFd,
}

/// A running zygote. Dropping it kills and reaps the process; its children live on.
#[derive(Debug)]
pub struct Zygote {
    /// `None` once the process has become a child itself, under nsjail.
    process: Option<Process>,
    control: AsyncFd<OwnedFd>,
    warm: Warm,
    level: Level,
}

impl Zygote {
    /// Starts a process, in `group`, and waits until it is warm.
    ///
    /// # Errors
    /// See [`ZygoteError`].
    pub async fn start(
        launcher: &Launcher,
        reaper: &Reaper,
        plan: &Plan,
        role: Role,
        command: Command,
        group: Option<Arc<Cgroup>>,
    ) -> Result<Self, ZygoteError> {
        let plan = &Plan { faults: plan.faults.for_next_zygote(), ..plan.clone() };
        let mut zygote = Self::launch(launcher, reaper, plan.level, command, group).await?;
        let warm_up = async {
            zygote.say(&Order::Setup { plan: plan.clone(), role }).await?;
            loop {
                match zygote.hear().await?.word {
                    Word::MapIds => {
                        let pid = zygote.process.as_ref().ok_or(ZygoteError::Gone)?.pid;
                        write_id_map(pid, plan.ids).map_err(ZygoteError::IdMap)?;
                        zygote.say(&Order::IdsMapped).await?;
                    }
                    Word::Warm(warm) => return Ok(warm),
                    Word::Failed { step, errno } => return Err(failed(step, errno)),
                    Word::NoInterpreter { why } => return Err(ZygoteError::Interpreter(why)),
                    _ => return Err(ZygoteError::Confused),
                }
            }
        };
        let warm = tokio::time::timeout(START_TIME, warm_up).await.map_err(|_| ZygoteError::Wedged)??;
        zygote.warm = warm;
        Ok(zygote)
    }

    /// Starts a process that tries the layers of level `seccomp` one by one, and ends.
    ///
    /// # Errors
    /// See [`ZygoteError`].
    pub async fn probe(launcher: &Launcher, reaper: &Reaper, plan: &Plan) -> Result<Found, ZygoteError> {
        let command = command(plan, &Role::Probe);
        let zygote = Self::launch(launcher, reaper, plan.level, command, None).await?;
        zygote.say(&Order::Setup { plan: plan.clone(), role: Role::Probe }).await?;
        match tokio::time::timeout(SPAWN_TIME, zygote.hear()).await {
            Ok(Ok(Said { word: Word::Found(found), .. })) => Ok(found),
            Ok(Ok(_)) => Err(ZygoteError::Confused),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ZygoteError::Wedged),
        }
    }

    async fn launch(
        launcher: &Launcher,
        reaper: &Reaper,
        level: Level,
        command: Command,
        group: Option<Arc<Cgroup>>,
    ) -> Result<Self, ZygoteError> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| ZygoteError::Start(errno.into()))?;
        if level == Level::Nsjail {
            setsockopt(&ours, sockopt::PassCred, &true).map_err(|errno| ZygoteError::Start(errno.into()))?;
        }
        let process = launcher.launch(command, theirs, group, reaper.clone()).await.map_err(ZygoteError::Start)?;
        let control = sys::watch(ours, Interest::READABLE | Interest::WRITABLE)
            .map_err(|(_, error)| ZygoteError::Start(error))?;
        Ok(Self { process: Some(process), control, warm: Warm::default(), level })
    }

    /// What it said of itself.
    #[must_use]
    pub fn warm(&self) -> &Warm {
        &self.warm
    }

    /// Orders one child and waits for it.
    ///
    /// # Errors
    /// As [`Self::newborn`].
    pub async fn spawn(&mut self, spawn: Spawn, slot: &Slot) -> Result<Newborn, ZygoteError> {
        self.order(spawn, slot).await?;
        self.newborn().await
    }

    /// Orders one child more, for `slot`; [`Self::newborn`] gives them in the order they were asked for.
    ///
    /// # Errors
    /// The zygote is to be replaced.
    pub async fn order(&self, spawn: Spawn, slot: &Slot) -> Result<(), ZygoteError> {
        self.say_with(&Order::Spawn(spawn), slot.to_clone_into()).await
    }

    /// The first child that was ordered and has not come yet.
    ///
    /// # Errors
    /// After [`ZygoteError::Jail`] and [`ZygoteError::Descriptors`] the zygote is still good, after any other it is to be
    /// replaced.
    pub async fn newborn(&mut self) -> Result<Newborn, ZygoteError> {
        let Said { word, with } =
            tokio::time::timeout(SPAWN_TIME, self.hear()).await.map_err(|_| ZygoteError::Wedged)??;
        match word {
            Word::Spawned { pid } => {
                let process = self.process.as_ref().ok_or(ZygoteError::Confused)?;
                let pid = Pid::from_raw(pid);
                if self.level != Level::Nsjail && !is_ours(pid) {
                    return Err(ZygoteError::NotOurs);
                }
                if !with.is_complete {
                    if self.level != Level::Nsjail {
                        drop(Process { pid, reaper: process.reaper.clone() });
                    }
                    return Err(ZygoteError::Descriptors);
                }
                let Ok([channel, stdout, stderr]) = <[OwnedFd; 3]>::try_from(with.descriptors) else {
                    return Err(ZygoteError::Confused);
                };
                let (pid, inside) = match self.level {
                    // The process is its own child, and the supervisor's child is nsjail.
                    Level::Nsjail => {
                        let inside = with.sender.ok_or(ZygoteError::Confused)?;
                        (self.process.take().ok_or(ZygoteError::Confused)?.release(), Some(inside))
                    }
                    Level::Full | Level::Seccomp => (pid, None),
                };
                Ok(Newborn { pid, inside, channel, stdout, stderr })
            }
            Word::Failed { step, errno } => Err(failed(step, errno)),
            _ => Err(ZygoteError::Confused),
        }
    }

    /// Returns when the zygote is gone, or speaks out of turn.
    pub async fn gone(&self) {
        // An idle zygote says nothing: whatever can be read is its end. Readiness alone may be left over from before.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        let _ = self.control.async_io(Interest::READABLE, |fd| Ok(recv(fd.as_raw_fd(), &mut [0], flags)?)).await;
    }

    async fn say(&self, order: &Order) -> Result<(), ZygoteError> {
        self.say_with(order, None).await
    }

    /// With a descriptor along.
    async fn say_with(&self, order: &Order, descriptor: Option<BorrowedFd<'_>>) -> Result<(), ZygoteError> {
        let frame = wire::encode(order).map_err(|_| ZygoteError::Confused)?;
        let packet = [IoSlice::new(&frame[wire::HEADER..])];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let number = descriptor.map(|descriptor| [descriptor.as_raw_fd()]);
        let rights = number.as_ref().map(|number| ControlMessage::ScmRights(number));
        self.control
            .async_io(Interest::WRITABLE, |fd| {
                Ok(sendmsg::<()>(fd.as_raw_fd(), &packet, rights.as_slice(), flags, None)?)
            })
            .await
            .map(drop)
            .map_err(|_| ZygoteError::Gone)
    }

    async fn hear(&self) -> Result<Said, ZygoteError> {
        let mut bytes = vec![0; MAX_PACKET];
        let received =
            self.control.async_io(Interest::READABLE, |fd| Ok(message::receive(fd.as_raw_fd(), &mut bytes)?)).await;
        match received {
            Ok(with) if with.length > 0 => {
                let word = wire::decode(&bytes[..with.length]).map_err(|_| ZygoteError::Confused)?;
                Ok(Said { word, with })
            }
            Ok(_) | Err(_) => Err(ZygoteError::Gone),
        }
    }
}

fn failed(step: u16, errno: i32) -> ZygoteError {
    Step::from_index(step).map_or(ZygoteError::Confused, |step| ZygoteError::Jail(JailError { step, errno }))
}

/// What a zygote said, and what came along. The sender is known at level `nsjail`.
struct Said {
    word: Word,
    with: Received,
}

/// Whether this is a child of the supervisor's, living or dead: nothing else may be killed on a zygote's word.
fn is_ours(pid: Pid) -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    pid.as_raw() > 0 && waitid(Id::Pid(pid), look).is_ok()
}

/// Maps the zygote's ids: a range where the server may, else its own id alone. `setgroups` is denied first, so that no
/// process inside can drop a group that a file refuses (`user_namespaces(7)`).
fn write_id_map(pid: Pid, ids: Ids) -> io::Result<()> {
    let (users, groups) = match ids {
        Ids::Range { first, count } => (format!("0 {first} {count}\n"), format!("0 {first} {count}\n")),
        Ids::Shared => (format!("0 {} 1\n", nix::unistd::geteuid()), format!("0 {} 1\n", nix::unistd::getegid())),
    };
    // Without creating it: where there is no such file, that would be refused for another reason than its absence.
    let write = |name: &str, text: &str| {
        File::options().write(true).open(format!("/proc/{pid}/{name}"))?.write_all(text.as_bytes())
    };
    match write("setgroups", "deny") {
        // gVisor has no such file, and no way for a child without capabilities to change its groups either.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => result?,
    }
    write("uid_map", &users)?;
    write("gid_map", &groups)
}
