//! How a program ended: its exit status or its signal, and the outcome that goes with it.
//!
//! Runs in the supervisor. The kernel's word counts before the child's; what the child says of its exit is what it could have had
//! by ending so.

use super::hint::Place;
use super::verdict::{self, Stop};
use crate::job::Limits;
use crate::manner::Mode;
use crate::outcome::{Exit, Outcome};
use crate::sys::How;
use crate::value::Token;
use crate::wire::{Raised, Reply};
use nix::sys::signal::Signal;
use std::time::Duration;

/// What a run in this mode came to, and how it ended if that was a program's. The other arguments are those of [`verdict::decide`].
#[must_use]
pub fn judge(
    mode: Mode,
    stop: Stop,
    limits: &Limits,
    place: &Place,
    cpu_seconds: u64,
    cpu: Duration,
) -> (Outcome, Option<Exit>) {
    if mode != Mode::Program {
        return (verdict::decide(stop, limits, place, cpu_seconds, cpu), None);
    }
    let (outcome, exit) = of_program(stop, limits, place, cpu_seconds, cpu);
    (outcome, Some(exit))
}

/// The outcome of a program that stopped like this, and how it ended. The arguments are those of [`verdict::decide`].
fn of_program(stop: Stop, limits: &Limits, place: &Place, cpu_seconds: u64, cpu: Duration) -> (Outcome, Exit) {
    let (reply, exit) = match stop {
        Stop::Reply(Reply::Ended { value, notes, exit, raised: None }) => (Reply::Value(value, notes), exit),
        Stop::Reply(Reply::Ended { raised: Some(Raised { phase, cause, exception }), exit, .. }) => {
            (Reply::Raised { phase, cause, exception }, exit)
        }
        // It had no memory for its job, or does not speak as a program does.
        Stop::Reply(other) => (other, Exit::Code(1)),
        Stop::Ended(ended) => {
            let exit = match ended.how {
                // `os._exit`: it is an answer, as any other exit is.
                How::Exited(status) => {
                    let exit = Exit::Code(u8::try_from(status & 0xff).unwrap_or(u8::MAX));
                    let nothing = Stop::Reply(Reply::Value(vec![Token::Null], String::new()));
                    return (verdict::decide(nothing, limits, place, cpu_seconds, cpu), exit);
                }
                // In the place of SIGABRT, which takes a call that the filter refuses (`python/refuse.rs`).
                How::Signalled(libc::SIGTRAP) => Exit::Signal(libc::SIGABRT),
                How::Signalled(number) => Exit::Signal(number),
            };
            return (verdict::decide(Stop::Ended(ended), limits, place, cpu_seconds, cpu), exit);
        }
        other => {
            let exit = Exit::Signal(Signal::SIGKILL as i32);
            return (verdict::decide(other, limits, place, cpu_seconds, cpu), exit);
        }
    };
    (verdict::decide(Stop::Reply(reply), limits, place, cpu_seconds, cpu), exit)
}
