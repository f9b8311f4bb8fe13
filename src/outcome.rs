//! What became of a run, as the supervisor decides it.
//!
//! Used in the supervisor only. A script's failure is an [`Outcome`], never an error of ours; what keeps Mayfly from
//! running a script at all is a [`Refusal`]. The two must never share a type.

use crate::errors::Refused;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub use crate::errors::{Code, FixKind};

/// A Python exception, as the child describes it: a client sees it, nothing of ours depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// The class's name, as `ZeroDivisionError` or `json.decoder.JSONDecodeError`.
    pub kind: String,
    /// `str(exception)`.
    pub message: String,
    /// The line of `main.py` it came from, counted from 1.
    pub line: Option<u32>,
    /// For a `SyntaxError`: the column, counted from 1.
    pub column: Option<u32>,
    /// The traceback as Python prints it, with no frame of ours.
    pub traceback: String,
}

/// Why an exception was raised, as far as the child can tell. A claim like all it says: it chooses a code between a script's own
/// failures and the words of a hint, and nothing else depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The script's own affair.
    Script,
    /// Memory was refused.
    Memory {
        /// How many bytes were asked for at the last; 0 where that is not known.
        asked: u64,
    },
    /// A function that leaves Python failed.
    Call {
        /// As `fcntl.flock`: the module's name first. Empty where it isn't known.
        name: String,
        /// The library's function that called it; empty where the script did.
        inside: String,
        /// The system's error number, or 0.
        errno: i32,
    },
}

/// What to do about a failure, from the script itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// One sentence.
    pub hint: String,
    /// A change that the script's words suggest.
    pub fix: Option<Fix>,
}

/// A change to a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What kind of change.
    pub kind: FixKind,
    /// The line of the script that it is about, from 1.
    pub line: u32,
    /// What to write; what it takes the place of follows from `kind`.
    pub suggestion: String,
}

/// A script's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub code: Code,
    /// One sentence for a person: what happened and, where it helps, what to do.
    pub message: String,
    /// Set where Python raised.
    pub exception: Option<Exception>,
    /// Set where there is something to say about the script.
    pub advice: Option<Advice>,
}

/// What `main()` came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// `main()` returned this; and what was changed on the way to JSON, as sentences for a person.
    Returned(Value, Vec<String>),
    /// The script failed.
    Failed(Failure),
}

/// One of the two output streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// What was kept.
    pub kept: Vec<u8>,
    /// How many bytes the script wrote in all.
    pub total: u64,
}

/// What a run used, as the kernel counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// From job sent to reply.
    pub wall: Duration,
    /// Processor time of the child, user and system, from job to end.
    pub cpu: Duration,
    /// Most memory resident at once, the shared pages of the warm interpreter included, in bytes.
    pub peak_memory: u64,
}

/// Where a request's time went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Waiting for a place among the running scripts.
    pub queue: Duration,
    /// Waiting for a ready child.
    pub start: Duration,
    /// Handing it the job, and the script, until the reply is received.
    pub run: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With this status.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

/// All that is known of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What `main()` came to.
    pub outcome: Outcome,
    /// Where the time went.
    pub timing: Timing,
    /// Present where the script was run as a program.
    pub exit: Option<Exit>,
    /// Present when the job asked for it.
    pub stdout: Option<Captured>,
    /// Present when the job asked for it.
    pub stderr: Option<Captured>,
    /// Present when the job asked for it.
    pub usage: Option<Usage>,
}

/// Why a script was not run: ours to answer for, 503, and safe to send again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Running and queue are full. Answer 503 with Retry-After.
    QueueFull,
    /// The service is shutting down. Answer 503 with Retry-After; another instance will serve.
    Draining,
    /// It ran, and was ended for the service's own end. Answer 503 with Retry-After; another instance will serve.
    GivenUp,
    /// No zygote could make a child in time. Answer 503 with Retry-After; the supervisor is replacing it.
    NoZygote,
    /// The machine, or the container, is short of memory. Answer 503 with Retry-After; it ends with the scripts that have the memory.
    NoMemory,
    /// The job could not be written for its child. Answer 503; the script never ran. It is logged.
    NotTold,
    /// The files of the job could not be written for its script. Answer 503; the script never ran. It is logged.
    Files,
    /// A step of the jail failed. Answer 503; the script never ran.
    Jail {
        /// The step's name.
        step: &'static str,
        /// The system's error number.
        errno: i32,
    },
}

impl Refusal {
    /// Its row among the answers.
    #[must_use]
    pub fn refused(&self) -> Refused {
        match self {
            Self::QueueFull => Refused::QueueFull,
            Self::Draining => Refused::Draining,
            Self::GivenUp => Refused::GivenUp,
            Self::NoZygote => Refused::NoZygote,
            Self::NoMemory => Refused::NoMemory,
            Self::NotTold => Refused::NotTold,
            Self::Files => Refused::Files,
            Self::Jail { .. } => Refused::Jail,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.refused().form())
    }
}

impl std::error::Error for Refusal {}
