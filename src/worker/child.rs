//! The jailed process: enter the jail, say so, read one job, run it, reply, end.
//!
//! Runs in the child, which no request touched before and which serves none after. Whatever user code does, it does
//! after the last layer is on. The supervisor kills the child as soon as it has the reply.

use super::written::Written;
use super::{files, input};
use crate::files::DIRECTORY;
use crate::handover;
use crate::jail::{self, ChildDescriptors, JailError, Jailed, Plan, Ruleset, Step, Steps, verify};
use crate::layer::Layer;
use crate::manner::Mode;
use crate::orders::{Purpose, Spawn};
use crate::outcome::Exit;
use crate::python::{self, Interpreter, Setup};
use crate::sys::own_proc::{Alone, OwnProc};
use crate::sys::{self, OneWay};
use crate::wire::{self, Down, FileHead, Hello, JobFrame, Reply, Up, WireError};
use nix::errno::Errno;
use serde::Serialize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Exit statuses of a child that nobody killed; only the log ever sees them.
const DONE: i32 = 0;
const NO_JAIL: i32 = 70;
const NO_SUPERVISOR: i32 = 71;

/// A frame of at most this many bytes is sent and received in one call, and takes no memory but the stack's.
const SHORT: usize = 2048;

/// Which interpreter a child has.
#[derive(Debug)]
pub enum ChildInterpreter {
    /// The zygote's, as it was at the clone.
    Inherited(Box<Interpreter>),
    /// Its own, initialised in the child.
    Own {
        /// Where the standard library is.
        setup: Setup,
        /// Modules to import before the jail.
        preload: Vec<String>,
    },
    /// None: the child only verifies.
    None,
}

/// What a child has from the process it was cloned from.
#[derive(Debug)]
pub struct Base<'a> {
    /// The jail.
    pub plan: &'a Plan,
    /// The way to its own size.
    pub own_proc: &'a OwnProc,
    /// This process was made from one with a single thread.
    pub alone: &'a Alone,
    /// The zygote's size.
    pub size: Size,
    /// The pages that an ordinary script writes to.
    pub written: &'a Written,
}

/// How large an interpreter is, in bytes, before a script runs in it.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Its address space.
    pub address_space: u64,
    /// The part that is, or may become, its process's own memory.
    pub own_memory: u64,
}

/// The child's whole life.
pub fn serve(
    base: &Base<'_>,
    spawn: Spawn,
    interpreter: &ChildInterpreter,
    descriptors: ChildDescriptors,
    ruleset: Option<Ruleset>,
    one_way: &OneWay,
) -> ! {
    // A second owner, to report a step that fails after the first was moved into the jail.
    let reporter = descriptors.channel.try_clone();
    let mut size = base.size;
    let mut cpu_used = Duration::ZERO;
    let cold;
    let interpreter = match interpreter {
        ChildInterpreter::Inherited(interpreter) => Some(&**interpreter),
        ChildInterpreter::Own { setup, preload } => match start_cold(setup, preload, base) {
            Ok((interpreter, cold_size)) => {
                size = cold_size;
                cpu_used = sys::own_cpu_time();
                cold = interpreter;
                Some(&cold)
            }
            Err(error) => give_up(descriptors.channel.as_fd(), error),
        },
        ChildInterpreter::None => None,
    };
    if let Some(interpreter) = interpreter
        && !base.plan.faults.leaves_out(Layer::Reseed)
        && interpreter.reseed().is_err()
    {
        give_up(descriptors.channel.as_fd(), JailError { step: Step::Interpreter, errno: Errno::EIO as i32 });
    }
    let limits = spawn.limits(size.address_space, cpu_used);
    let jailed = match jail::enter(base.plan, spawn.slot, limits, descriptors, ruleset, one_way) {
        Ok(jailed) => jailed,
        Err(error) => report_and_give_up(&reporter, one_way, error),
    };
    match (spawn.purpose, interpreter) {
        (Purpose::Verify, _) => {
            let report = verify::escape(base.plan, &jailed);
            send(jailed.channel(), &Up::Hello(Hello::Verified { failed: report }), || ());
            // Until it is killed: what is found out about it from outside is found out while it lives.
            let _ = read(jailed.channel(), &mut [0]);
        }
        (Purpose::Job, Some(interpreter)) => serve_job(&jailed, interpreter, base, size.own_memory),
        (Purpose::Job, None) => {}
    }
    sys::exit_now(DONE)
}

fn start_cold(setup: &Setup, preload: &[String], base: &Base<'_>) -> Result<(Interpreter, Size), JailError> {
    let failed = JailError { step: Step::Interpreter, errno: Errno::ENOEXEC as i32 };
    let start = || python::start(setup).map_err(|_| Errno::ENOEXEC);
    let interpreter = Steps::new(base.plan).value(Step::Interpreter, start)?;
    // What can't be imported here, the script's own import will tell.
    let _ = interpreter.preload(preload);
    let address_space = base.own_proc.address_space().ok_or(failed)?;
    let own_memory = base.own_proc.own_memory().ok_or(failed)?;
    Ok((interpreter, Size { address_space, own_memory }))
}

/// Has a child copy, before its job comes, the pages that it will write to.
pub fn make_ready(jailed: &Jailed, interpreter: &Interpreter, written: &Written, alone: &Alone) {
    if written.is_known() {
        written.take(alone);
    } else {
        interpreter.rehearse(jailed);
    }
}

fn serve_job(jailed: &Jailed, interpreter: &Interpreter, base: &Base<'_>, own: u64) {
    make_ready(jailed, interpreter, base.written, base.alone);
    let channel = jailed.channel();
    send(channel, &Up::Hello(Hello::Ready { cpu_ns: cpu_used(), own }), || ());
    let mut inbox = Inbox::new();
    let reply = match job(&mut inbox, channel) {
        Ok((job, input, files)) => {
            if !files.is_empty() {
                interpreter.enter_directory(files.iter().map(|file| file.path.as_str()));
            }
            // Before the input, which can do without a file.
            let home = place_source(base.plan, &job, !files.is_empty());
            if !input.is_empty() {
                // Where descriptor 0 can't hold it, `sys.stdin` does without.
                let _ = input::place(base.plan, &input);
            }
            run(jailed, interpreter, job, input, home)
        }
        Err(NoJob::Memory) => python::no_memory_for_the_job(),
        Err(NoJob::Supervisor) => sys::exit_now(NO_SUPERVISOR),
    };
    // A program may have closed the channel, and ends as it would all the same.
    let status = match &reply {
        Reply::Ended { exit: Exit::Code(code), .. } => (*code).into(),
        _ => NO_SUPERVISOR,
    };
    send_or_exit(channel, &Up::Done(reply), || interpreter.make_room(), status);
    // The supervisor has what it waits for and kills this process: ending by itself would only be slower, and would let
    // the script's exit handlers run. Nothing more ever comes, so this waits, with the interpreter's lock held.
    let _ = inbox.next(channel);
}

/// Where a program's source is a file; it is among the files of a job that brought some. `None` for a function, and where there can be
/// no file.
fn place_source(plan: &Plan, job: &JobFrame, has_files: bool) -> Result<Option<&'static str>, Errno> {
    if job.manner.mode != Mode::Program || !plan.has_tmp() {
        return Ok(None);
    }
    if !has_files {
        files::place_script(plan, job.script.as_bytes())?;
    }
    Ok(Some(DIRECTORY))
}

fn run(
    jailed: &Jailed,
    interpreter: &Interpreter,
    job: JobFrame,
    input: String,
    home: Result<Option<&str>, Errno>,
) -> Reply {
    match (job.manner.mode, home) {
        (_, Err(_)) => python::no_room_for_the_script(),
        (Mode::Program, Ok(home)) => interpreter.run_program(jailed, job, input, home),
        (_, Ok(_)) => interpreter.run(jailed, job, input),
    }
}

/// Processor time so far, in nanoseconds.
fn cpu_used() -> u64 {
    u64::try_from(sys::own_cpu_time().as_nanos()).unwrap_or(u64::MAX)
}

/// The job, what the script reads from its stdin, and the files that were written for it.
fn job(inbox: &mut Inbox, channel: BorrowedFd<'_>) -> Result<(JobFrame, String, Vec<FileHead>), NoJob> {
    let mut input = Ok(String::new());
    let mut files = Vec::new();
    loop {
        // What there is no memory for is read to its end all the same: the supervisor looks for a reply when it has sent
        // everything.
        match inbox.next(channel) {
            Ok(Down::Input(text)) => input = Ok(text),
            Ok(Down::Job(job)) => return input.map(|input| (job, input, files)),
            Ok(Down::Files(heads)) => {
                let errno = files::place(&heads, inbox, channel).map_or_else(|errno| errno as i32, |()| 0);
                send(channel, &Up::Placed { errno, cpu_ns: cpu_used() }, || ());
                files = heads;
            }
            Err(NoJob::Memory) if !inbox.was_last => input = Err(NoJob::Memory),
            Err(error) => return Err(error),
        }
    }
}

/// `before_long` is called before memory is taken for a frame that needs some.
fn send<M: Serialize>(channel: BorrowedFd<'_>, message: &M, before_long: impl FnOnce()) {
    send_or_exit(channel, message, before_long, NO_SUPERVISOR);
}

/// The same; where nobody hears it, the process ends with this status.
fn send_or_exit<M: Serialize>(channel: BorrowedFd<'_>, message: &M, before_long: impl FnOnce(), status: i32) {
    let mut space = [0; SHORT];
    let long;
    let frame = if let Some(frame) = wire::encode_within(message, &mut space) {
        frame
    } else {
        before_long();
        let Ok(frame) = wire::encode(message) else { return };
        long = frame;
        &long[..]
    };
    if sys::write_all(channel, frame).is_err() {
        sys::exit_now(status);
    }
}

/// Why there is no job.
enum NoJob {
    /// The supervisor is gone.
    Supervisor,
    /// It takes more memory than it may have.
    Memory,
}

/// What has come from the supervisor and was not read yet. Short messages take no memory but the stack's.
pub(super) struct Inbox {
    space: [u8; SHORT],
    from: usize,
    to: usize,
    /// Whether the message before was the last one, the job. It can be told from its first byte, where there is no memory for it.
    was_last: bool,
}

impl Inbox {
    /// The index of `Down::Job`, as bincode writes it.
    const JOB: u8 = 1;

    fn new() -> Self {
        Self { space: [0; SHORT], from: 0, to: 0, was_last: false }
    }

    fn next(&mut self, channel: BorrowedFd<'_>) -> Result<Down, NoJob> {
        self.fill(channel, wire::HEADER + 1)?;
        let (header, start) = self.space[self.from..self.to].split_first_chunk().ok_or(NoJob::Supervisor)?;
        let length = wire::payload_length(*header, wire::MAX_FRAME).map_err(|_| NoJob::Supervisor)?;
        self.was_last = start.first() == Some(&Self::JOB);
        if wire::HEADER + length <= SHORT {
            self.fill(channel, wire::HEADER + length)?;
            let payload = &self.space[self.from + wire::HEADER..][..length];
            self.from += wire::HEADER + length;
            return wire::decode(payload).map_err(|_| NoJob::Supervisor);
        }
        let here = &start[..start.len().min(length)];
        let mut payload = Vec::new();
        if payload.try_reserve_exact(length).is_err() {
            let mut left = length - here.len();
            (self.from, self.to) = (0, 0);
            while left > 0 {
                let most = left.min(SHORT);
                left -= read(channel, &mut self.space[..most]).ok_or(NoJob::Supervisor)?;
            }
            return Err(NoJob::Memory);
        }
        payload.extend_from_slice(here);
        let mut filled = payload.len();
        self.from += wire::HEADER + filled;
        payload.resize(length, 0);
        while filled < length {
            filled += read(channel, &mut payload[filled..]).ok_or(NoJob::Supervisor)?;
        }
        wire::decode_down(&payload).map_err(|error| match error {
            WireError::Memory => NoJob::Memory,
            _ => NoJob::Supervisor,
        })
    }

    /// Reads what follows a message, at least a byte; `None` at the end and when it fails.
    pub(super) fn take(&mut self, channel: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
        if self.from == self.to {
            return read(channel, buffer);
        }
        let count = buffer.len().min(self.to - self.from);
        buffer[..count].copy_from_slice(&self.space[self.from..][..count]);
        self.from += count;
        Some(count)
    }

    /// Reads until `least` bytes are there, which fit.
    fn fill(&mut self, channel: BorrowedFd<'_>, least: usize) -> Result<(), NoJob> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.from + least > SHORT {
            self.space.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        while self.to - self.from < least {
            self.to += read(channel, &mut self.space[self.to..]).ok_or(NoJob::Supervisor)?;
        }
        Ok(())
    }
}

/// Reads what is there, at least a byte; `None` at the end and when it fails.
fn read(channel: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match nix::unistd::read(channel, buffer) {
            Ok(0) => return None,
            Ok(count) => return Some(count),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

fn give_up(channel: BorrowedFd<'_>, JailError { step, errno }: JailError) -> ! {
    send(channel, &Up::Hello(Hello::Failed { step: step.index(), errno }), || ());
    sys::exit_now(NO_JAIL)
}

/// Until the descriptors are in place, number `CONTROL` is not the child's channel.
fn report_and_give_up(reporter: &std::io::Result<OwnedFd>, one_way: &OneWay, error: JailError) -> ! {
    if error.step == Step::Descriptors
        && let Ok(channel) = reporter
    {
        give_up(channel.as_fd(), error);
    }
    match one_way.reach(handover::CONTROL) {
        Ok(channel) => give_up(channel, error),
        Err(_) => sys::exit_now(NO_JAIL),
    }
}
