//! What a run came to, decided from what the supervisor knows: how it stopped the child, or how the child ended.
//!
//! Runs in the supervisor. The child's word counts for the value or the exception, and for nothing else.

use super::hint::{Place, hint};
use crate::jail::MAX_THREADS;
use crate::job::Limits;
use crate::outcome::{Cause, Code, Failure, Outcome};
use crate::size::ByteSize;
use crate::sys::{Ended, How};
use crate::value::Value;
use crate::wire::{Phase, Reply};
use nix::sys::signal::Signal;
use std::time::Duration;

/// How a run stopped.
#[derive(Debug)]
pub enum Stop {
    /// A whole reply came.
    Reply(Reply),
    /// Something came that is no reply.
    Forged,
    /// The channel was closed while the child lived on.
    Silent,
    /// The child ended without a reply.
    Ended(Ended),
    /// The wall clock ran out; killed.
    WallClock,
    /// The processor time ran out; killed.
    Cpu,
    /// It held more memory than its limit; killed.
    Memory,
    /// It had too many threads; killed.
    Threads,
    /// The outputs passed what is even discarded; killed.
    Flood,
}

/// Whether the script of a child that ended like this may run once more: somebody killed it who is neither the supervisor nor its own
/// CPU limit, so the kernel, short of memory, or a person; and it had little memory, so if it was the kernel then because of others.
/// Whom the kernel chose for what he had gets no second turn to take it.
#[must_use]
pub fn may_run_again(stop: &Stop, limits: &Limits, cpu_seconds: u64, cpu: Duration, memory: u64) -> bool {
    const KILL: i32 = Signal::SIGKILL as i32;
    let was_killed = matches!(stop, Stop::Ended(Ended { how: How::Signalled(KILL), .. }));
    was_killed && cpu.as_secs() + 1 < cpu_seconds && memory < limits.memory.0 / 2
}

fn failed(code: Code, message: impl Into<String>) -> Outcome {
    Outcome::Failed(Failure { code, message: message.into(), exception: None, advice: None })
}

/// The outcome of a run under `limits` that stopped like this. `cpu_seconds` is the `RLIMIT_CPU` it ran under, `cpu` what it used.
#[must_use]
pub fn decide(stop: Stop, limits: &Limits, place: &Place, cpu_seconds: u64, cpu: Duration) -> Outcome {
    match stop {
        Stop::Reply(reply) => from_reply(reply, limits, place),
        Stop::Forged => failed(
            Code::ResultNotSerializable,
            "the script wrote to its result channel itself, so there is no result; return a value from main() instead",
        ),
        Stop::Silent => failed(
            Code::ResultNotSerializable,
            "the script closed its result channel, so there is no result; return a value from main() instead",
        ),
        Stop::WallClock => {
            failed(Code::Timeout, format!("the script ran longer than {} ms and was stopped", limits.wall.as_millis()))
        }
        Stop::Cpu => over_cpu(limits),
        Stop::Memory => over_memory(limits),
        Stop::Threads => {
            failed(Code::Blocked, format!("the script had more than {MAX_THREADS} threads at once and was stopped"))
        }
        Stop::Flood => failed(
            Code::OutputLimit,
            format!(
                "the script wrote more than {} of output and was stopped",
                crate::size::ByteSize(super::output::FLOOD)
            ),
        ),
        Stop::Ended(ended) => from_end(ended, limits, cpu_seconds, cpu),
    }
}

fn over_cpu(limits: &Limits) -> Outcome {
    failed(
        Code::CpuLimit,
        format!("the script used more than {} ms of processor time and was stopped", limits.cpu.as_millis()),
    )
}

/// As the supervisor saw it.
fn over_memory(limits: &Limits) -> Outcome {
    failed(
        Code::MemoryLimit,
        format!("the script needed more memory than its limit of {} (limits.memory_mb)", limits.memory),
    )
}

/// The kernel ends nobody for passing `RLIMIT_AS`: it refuses memory. So this was the machine's, or its container's.
fn machine_out_of_memory(peak: u64, limits: &Limits) -> Outcome {
    let held = peak / ByteSize::mebibytes(1).0;
    let held = if held == 0 { String::new() } else { format!(" while the script held {held}MB") };
    failed(
        Code::MemoryLimit,
        format!(
            "the server's machine ran out of memory{held}, below the script's own limit of {} (limits.memory_mb); use less, or try again later",
            limits.memory
        ),
    )
}

fn from_reply(reply: Reply, limits: &Limits, place: &Place) -> Outcome {
    match reply {
        Reply::Value(tokens, notes) => match Value::try_from(tokens) {
            Ok(value) => Outcome::Returned(value, notes_of(&notes)),
            Err(malformed) => failed(Code::ResultNotSerializable, format!("the result is malformed: {malformed}")),
        },
        Reply::TooLarge(least) => failed(Code::ResultTooLarge, too_large(least, place.result)),
        // No function ends so, and what a program says is taken apart in `exit`.
        Reply::Ended { .. } => failed(Code::ResultNotSerializable, "the result is malformed"),
        Reply::NotSerializable { path, problem } => failed(Code::ResultNotSerializable, format!("{path} is {problem}")),
        Reply::Raised { phase, cause, exception } => {
            let out_of_memory = matches!(cause, Cause::Memory { .. });
            let code = match phase {
                Phase::NoMain => Code::NoMain,
                Phase::Compile if !out_of_memory => Code::SyntaxError,
                Phase::Exit => Code::Exited,
                Phase::Compile | Phase::Run if out_of_memory => Code::MemoryLimit,
                Phase::Compile | Phase::Run => Code::Exception,
            };
            let message = match (phase, exception.message.is_empty()) {
                (Phase::NoMain | Phase::Exit, _) => exception.message.clone(),
                (_, true) => format!("{}{}", exception.kind, hint(&cause, limits, place)),
                (_, false) => format!("{}: {}{}", exception.kind, exception.message, hint(&cause, limits, place)),
            };
            let exception = (phase != Phase::NoMain).then_some(exception);
            Outcome::Failed(Failure { code, message, exception, advice: None })
        }
    }
}

/// A result of `least` bytes or more, as the child says; the limit is `most`.
fn too_large(least: u64, most: ByteSize) -> String {
    let takes = if least > most.0 { format!("takes {least} bytes or more") } else { "is too large".to_owned() };
    format!("the result {takes} as JSON, the limit is {most} (the server's MAYFLY_RESULT_BYTES); return less of it")
}

/// The lines of a child's notes, as many and as long as an honest child writes.
fn notes_of(text: &str) -> Vec<String> {
    const MOST: usize = 9;
    const LONGEST: usize = 800;
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.take(MOST).map(|line| line.chars().take(LONGEST).collect()).collect()
}

fn from_end(ended: Ended, limits: &Limits, cpu_seconds: u64, cpu: Duration) -> Outcome {
    let number = match ended.how {
        How::Exited(status) => {
            let message = format!("the script's process ended with status {status} before there was a result");
            return failed(Code::Exited, message);
        }
        How::Signalled(number) => number,
    };
    match Signal::try_from(number) {
        Ok(Signal::SIGSYS) => {
            failed(Code::Blocked, "the script made a system call that is never allowed and was stopped")
        }
        Ok(Signal::SIGXCPU) => over_cpu(limits),
        // The kernel's hard limit counts whole seconds of all threads.
        Ok(Signal::SIGKILL) if cpu.as_secs() + 1 >= cpu_seconds => over_cpu(limits),
        // Nobody but the kernel, short of memory, kills a child that the supervisor did not.
        Ok(Signal::SIGKILL) => machine_out_of_memory(ended.peak_memory, limits),
        Ok(signal @ (Signal::SIGSEGV | Signal::SIGBUS)) => failed(
            Code::Crashed,
            format!("the interpreter crashed ({signal}): too deep a recursion in C code, or a bad memory access"),
        ),
        // No instruction but that of `os.abort` (`python/refuse.rs`) raises it.
        Ok(Signal::SIGTRAP) => failed(Code::Crashed, "the script aborted its own process (os.abort)"),
        Ok(signal) => failed(Code::Crashed, format!("the interpreter crashed ({signal})")),
        Err(_) => failed(Code::Crashed, format!("the interpreter crashed (signal {number})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Token;

    fn limits() -> Limits {
        Limits {
            wall: Duration::from_secs(5),
            cpu: Duration::from_secs(5),
            memory: ByteSize::mebibytes(256),
            output: ByteSize(65536),
        }
    }

    fn ended(how: How) -> Stop {
        Stop::Ended(Ended { how, cpu: Duration::ZERO, peak_memory: 0, minor_faults: 0 })
    }

    #[track_caller]
    fn check(stop: Stop, cpu: Duration, expected: Code) {
        let place = Place { tmp: None, tmp_files: 0, threads: 0, result: ByteSize(1000) };
        match decide(stop, &limits(), &place, 6, cpu) {
            Outcome::Failed(failure) => assert_eq!(failure.code, expected),
            Outcome::Returned(value, _) => panic!("returned {value:?}"),
        }
    }

    #[test]
    fn signals_are_told_apart_by_what_is_known() {
        let none = Duration::ZERO;
        check(ended(How::Signalled(31)), none, Code::Blocked);
        check(ended(How::Signalled(9)), none, Code::MemoryLimit);
        check(ended(How::Signalled(9)), Duration::from_secs(6), Code::CpuLimit);
        check(ended(How::Signalled(11)), none, Code::Crashed);
        check(ended(How::Signalled(5)), none, Code::Crashed);
        check(ended(How::Exited(0)), none, Code::Exited);
        check(Stop::WallClock, none, Code::Timeout);
        check(Stop::Silent, none, Code::ResultNotSerializable);
    }

    #[test]
    fn notes_are_few_and_short() {
        let reply = Reply::Value(vec![Token::Null], "x".repeat(10_000) + &"\ny".repeat(5000));
        let place = Place { tmp: None, tmp_files: 0, threads: 0, result: ByteSize(1000) };
        let Outcome::Returned(_, notes) = from_reply(reply, &limits(), &place) else { panic!("null is a value") };
        assert_eq!((notes.len(), notes[0].len(), notes[8].as_str()), (9, 800, "y"));
    }

    #[test]
    fn only_who_had_little_runs_again() {
        let killed = ended(How::Signalled(9));
        let again = |stop: &Stop, cpu: u64, mebibytes: u64| {
            may_run_again(stop, &limits(), 6, Duration::from_secs(cpu), ByteSize::mebibytes(mebibytes).0)
        };
        assert!(again(&killed, 0, 0) && again(&killed, 4, 127));
        assert!(!again(&killed, 0, 128), "it is large");
        assert!(!again(&killed, 5, 0), "its processor time may be over");
        assert!(!again(&Stop::Memory, 0, 0) && !again(&ended(How::Signalled(11)), 0, 0));
    }

    #[test]
    fn a_result_too_large_is_told_with_its_size_and_the_limit() {
        let most = ByteSize::mebibytes(1);
        assert_eq!(
            too_large(5_242_882, most),
            "the result takes 5242882 bytes or more as JSON, the limit is 1MB (the server's MAYFLY_RESULT_BYTES); return less of it"
        );
        // A child may say anything.
        assert!(too_large(3, most).starts_with("the result is too large as JSON, the limit is 1MB"));
    }

    #[test]
    fn a_malformed_value_is_no_result() {
        check(
            Stop::Reply(Reply::Value(vec![Token::List(3)], String::new())),
            Duration::ZERO,
            Code::ResultNotSerializable,
        );
    }
}
