//! The zygote's own side: prepare, warm up, then make children on order.
//!
//! Runs in `mayfly zygote` and `mayfly child`, with one thread. It never reads anything but orders, and knows nothing of any request.

use super::child::{self, ChildInterpreter, Size};
use super::pages;
use super::written::Written;
use crate::fault::{self, Facility};
use crate::handover;
use crate::jail::{self, ChildDescriptors, Ids, JailError, Joining, Parentage, Plan, Ruleset, Step, Steps, Victim};
use crate::layer::Layer;
use crate::level::Level;
use crate::orders::{Found, MAX_PACKET, Order, Role, Spawn, Warm, Word};
use crate::python::{self, Setup};
use crate::sys::message::{self, Received};
use crate::sys::own_proc::{Alone, OwnProc};
use crate::sys::pins::Pins;
use crate::sys::{self, ByAnother, Cloned, HandedIn};
use crate::wire;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use nix::unistd::{Pid, pipe2};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// Serves orders until the supervisor goes away. The exit status only matters to a person who started it by hand.
#[must_use]
pub fn run() -> i32 {
    let handed_in = HandedIn::once();
    let Some((mut handed_in, control)) =
        handed_in.and_then(|mut all| all.take(handover::CONTROL).ok().map(|it| (all, it)))
    else {
        eprintln!("mayfly: this command is started by `mayfly serve`, not by hand");
        return 2;
    };
    let mut control = Control { socket: control, packet: vec![0; MAX_PACKET] };
    let Some(Order::Setup { plan, role }) = control.next() else { return 1 };
    if role == Role::Probe {
        return i32::from(control.say(&Word::Found(probe(&plan)), &[]).is_err());
    }
    match Zygote::start(plan, role, &mut control, &mut handed_in) {
        Ok(zygote) => zygote.serve(&mut control),
        Err(failure) => {
            let last_word = match failure {
                StartFailure::Jail(JailError { step, errno }) => Word::Failed { step: step.index(), errno },
                StartFailure::Interpreter(why) => Word::NoInterpreter { why },
            };
            let _ = control.say(&last_word, &[]);
            1
        }
    }
}

/// Why a zygote did not come to be. The process ends.
enum StartFailure {
    /// A step of the jail failed.
    Jail(JailError),
    /// The interpreter did not start: its own words.
    Interpreter(String),
}

impl From<JailError> for StartFailure {
    fn from(error: JailError) -> Self {
        Self::Jail(error)
    }
}

/// The supervisor's other end.
struct Control {
    socket: OwnedFd,
    /// Kept: filling a new one with zeros would copy a dozen pages that the last child shares.
    packet: Vec<u8>,
}

impl Control {
    /// The next order; `None` when the supervisor is gone or makes no sense.
    fn next(&mut self) -> Option<Order> {
        self.next_with_group().map(|(order, _)| order)
    }

    /// The same, with the control group that came with it.
    fn next_with_group(&mut self) -> Option<(Order, Option<OwnedFd>)> {
        loop {
            match message::wait_for(self.socket.as_raw_fd(), &mut self.packet) {
                Ok(Received { length: 0, .. }) => return None,
                Ok(mut received) => {
                    let order = wire::decode(&self.packet[..received.length]).ok()?;
                    return Some((order, received.descriptors.pop()));
                }
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    fn say(&self, word: &Word, descriptors: &[RawFd]) -> Result<(), Errno> {
        let frame = wire::encode(word).map_err(|_| Errno::EMSGSIZE)?;
        // A packet has its own boundaries, so the length prefix stays home.
        let parts = [IoSlice::new(&frame[wire::HEADER..])];
        let rights = [ControlMessage::ScmRights(descriptors)];
        let messages = if descriptors.is_empty() { &rights[..0] } else { &rights[..] };
        sendmsg::<()>(self.socket.as_raw_fd(), &parts, messages, MsgFlags::MSG_NOSIGNAL, None).map(drop)
    }
}

struct Zygote {
    plan: Plan,
    interpreter: ChildInterpreter,
    ruleset: Option<Ruleset>,
    own_proc: OwnProc,
    alone: Alone,
    thread_id: sys::ThreadIdAddress,
    warm: Warm,
    /// Memory that is a child's own, or may become so, without its script asking for any.
    own_memory: u64,
    written: Written,
    victim: Victim,
}

impl Zygote {
    fn start(plan: Plan, role: Role, control: &mut Control, handed_in: &mut HandedIn) -> Result<Self, StartFailure> {
        let fail = |step: Step| move |errno: Errno| JailError { step, errno: errno as i32 };
        let thread_id = sys::thread_id_address().map_err(fail(Step::Clone))?;
        jail::close_inherited(&plan, handed_in)?;
        let own_proc = if plan.level == Level::Nsjail { OwnProc::handed_in(handed_in) } else { OwnProc::open() };
        let own_proc = own_proc.map_err(fail(Step::Alone))?;
        // Before the user namespace, while they may be exempt from the limit of locked memory.
        let pins = if matches!(role, Role::Warm { .. }) { Pins::new().ok() } else { None };
        let victim = jail::prepare(&plan, || {
            control.say(&Word::MapIds, &[])?;
            match control.next() {
                Some(Order::IdsMapped) => Ok(()),
                _ => Err(Errno::EPERM),
            }
        })?;
        let setup = python_setup(&plan);
        let (mut warm, mut written) = (Warm::default(), Written::default());
        let interpreter = match role {
            Role::Warm { preload } => {
                // Its own failure comes with words; that of a test comes here.
                Steps::new(&plan).take(Step::Interpreter, || Ok(()))?;
                let interpreter =
                    python::start(&setup).map_err(|error| StartFailure::Interpreter(error.to_string()))?;
                warm.python = interpreter.version();
                warm.missing = interpreter
                    .preload(&preload)
                    .into_iter()
                    .filter_map(|(name, result)| result.err().map(|why| (name, why)))
                    .collect();
                interpreter.freeze().map_err(|error| StartFailure::Interpreter(error.to_string()))?;
                // One that is not alone is refused below.
                if let Some(alone) = own_proc.alone() {
                    written = pages::settle(&own_proc, &alone, &interpreter, pins);
                }
                warm.pinned = written.are_pinned();
                ChildInterpreter::Inherited(Box::new(interpreter))
            }
            Role::Cold { preload } => ChildInterpreter::Own { setup, preload },
            Role::Bare | Role::Probe => ChildInterpreter::None,
        };
        let alone = || own_proc.alone().ok_or(Errno::EBUSY);
        let alone = Steps::new(&plan).proof(Step::Alone, alone, Alone::pretended)?;
        jail::seal_zygote(&plan)?;
        let ruleset =
            plan.needs_ruleset().then(|| jail::make_ruleset(&plan)).transpose().map_err(fail(Step::Landlock))?;
        warm.address_space = own_proc.address_space().ok_or(Errno::ENOENT).map_err(fail(Step::Alone))?;
        let own_memory = own_proc.own_memory().ok_or(Errno::ENOENT).map_err(fail(Step::Alone))?;
        Ok(Self { plan, interpreter, ruleset, own_proc, alone, thread_id, warm, own_memory, written, victim })
    }

    fn serve(mut self, control: &mut Control) -> i32 {
        if control.say(&Word::Warm(self.warm.clone()), &[]).is_err() {
            return 1;
        }
        while let Some((order, group)) = control.next_with_group() {
            let Order::Spawn(spawn) = order else { return 1 };
            let said = match self.spawn(spawn, group.as_ref(), control) {
                Ok((pid, ends)) => {
                    let numbers = ends.each_ref().map(AsRawFd::as_raw_fd);
                    control.say(&Word::Spawned { pid }, &numbers)
                }
                Err(JailError { step, errno }) => control.say(&Word::Failed { step: step.index(), errno }, &[]),
            };
            if said.is_err() {
                return 1;
            }
        }
        0
    }

    /// Makes one child. In the child it does not return.
    fn spawn(
        &mut self,
        spawn: Spawn,
        group: Option<&OwnedFd>,
        control: &Control,
    ) -> Result<(i32, [OwnedFd; 3]), JailError> {
        let fail = |step: Step| move |errno: Errno| JailError { step, errno: errno as i32 };
        fault::count_child();
        let (ends, descriptors) = Steps::new(&self.plan).value(Step::Channel, channels)?;
        if self.plan.level == Level::Nsjail {
            // nsjail made this process for one child: it becomes the child itself.
            let numbers = ends.each_ref().map(AsRawFd::as_raw_fd);
            control.say(&Word::Spawned { pid: 0 }, &numbers).map_err(fail(Step::Channel))?;
            drop(ends);
            self.become_child(spawn, descriptors);
        }
        let clone = || {
            let steps = Steps::new(&self.plan);
            steps.take(Step::ChildOutOfMemoryScore, || self.victim.prefer_clones())?;
            let cloned = steps.value(Step::Clone, || self.clone_child(group));
            if !matches!(cloned, Ok(Cloned::Child(_))) {
                self.victim.spare_zygote();
            }
            cloned
        };
        let cloned = match &self.interpreter {
            ChildInterpreter::Inherited(interpreter) => interpreter.fork(clone)?,
            ChildInterpreter::Own { .. } | ChildInterpreter::None => clone()?.parent(),
        };
        let adopted = self.plan.parentage == Parentage::Adopted;
        let Some(pid) = cloned else {
            drop(ends);
            if adopted {
                // Not before its parent is the supervisor.
                let _ = nix::unistd::read(&descriptors.channel, &mut [0]);
            }
            self.become_child(spawn, descriptors)
        };
        if adopted {
            nix::unistd::write(&ends[0], &[GO]).map_err(fail(Step::Clone))?;
        }
        Ok((pid.as_raw(), ends))
    }

    /// In `group`, if that is how it comes into one.
    fn clone_child(&self, group: Option<&OwnedFd>) -> Result<Cloned<Pid>, Errno> {
        let (flags, faults) = (jail::clone_flags(&self.plan), &self.plan.faults);
        match self.plan.parentage {
            Parentage::Sibling if self.plan.joining == Joining::Cloned && !faults.leaves_out(Layer::OwnCgroup) => {
                // None came where this process may have no more descriptors.
                let group = group.ok_or(Errno::EMFILE)?;
                sys::clone_into(&self.alone, flags, self.thread_id, group.as_fd())
            }
            Parentage::Sibling => sys::clone_process(&self.alone, flags, self.thread_id),
            Parentage::Adopted => match sys::clone_by_another(&self.alone, flags, self.thread_id)? {
                Cloned::Child(new) => Ok(Cloned::Child(new)),
                Cloned::Parent(ByAnother { between, made }) => {
                    sys::reap(between)?;
                    made.map(Cloned::Parent)
                }
            },
        }
    }

    fn become_child(&mut self, spawn: Spawn, descriptors: ChildDescriptors) -> ! {
        let base = child::Base {
            plan: &self.plan,
            own_proc: &self.own_proc,
            alone: &self.alone,
            size: Size { address_space: self.warm.address_space, own_memory: self.own_memory },
            written: &self.written,
        };
        let ruleset = self.ruleset.take();
        sys::to_the_end(|one_way| child::serve(&base, spawn, &self.interpreter, descriptors, ruleset, &one_way))
    }
}

/// What tells an adopted child that its parent is the supervisor now.
const GO: u8 = 1;

/// Where the interpreter finds things, seen from inside.
fn python_setup(plan: &Plan) -> Setup {
    let below = plan.stdlib.strip_prefix("/").unwrap_or(&plan.stdlib);
    Setup {
        stdlib: plan.root_inside().join(below).display().to_string(),
        packages: vec![plan.packages_inside().display().to_string()],
    }
}

/// A child's job channel and its outputs: the supervisor's ends first, then the child's.
fn channels() -> Result<([OwnedFd; 3], ChildDescriptors), Errno> {
    let (ours, channel) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    let (read_stdout, stdout) = pipe2(OFlag::O_CLOEXEC)?;
    let (read_stderr, stderr) = pipe2(OFlag::O_CLOEXEC)?;
    Ok(([ours, read_stdout, read_stderr], ChildDescriptors { channel, stdout, stderr }))
}

/// Tries each layer that a level may have or not by itself. The process ends after it, so nothing is undone.
fn probe(plan: &Plan) -> Found {
    let landlock = jail::make_ruleset(plan).err().map(|errno| errno as i32);
    let beneath = jail::try_beneath(plan).err().map(|errno| errno as i32);
    let chroot = jail::try_chroot(plan).err().map(|errno| errno as i32);
    let ids = jail::try_ids(plan).err().map(|errno| errno as i32);
    let counted_as = if ids.is_none() { plan.ids } else { Ids::Shared };
    let counting = jail::try_counting_alone(counted_as).err().map(|errno| errno as i32);
    let lacks = |facility: Facility, refused: Option<i32>| {
        if plan.faults.lacks(facility) { Some(Errno::ENOSYS as i32) } else { refused }
    };
    let (chroot, landlock) = (lacks(Facility::Chroot, chroot), lacks(Facility::Landlock, landlock));
    Found { chroot, landlock, beneath, ids, counting }
}
