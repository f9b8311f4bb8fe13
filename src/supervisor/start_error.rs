//! Why the supervisor can't start, in a sentence for whoever started it.
//!
//! Runs in the supervisor, at its start. Nothing has been served then, and nothing is.

use crate::survey::isolation::Attempt;
use std::fmt;
use std::io;

/// Why the supervisor can't start.
#[derive(Debug)]
pub enum StartError {
    /// A thread could not be made.
    Thread(io::Error),
    /// The jail root's manifest can't be read.
    Manifest(io::Error),
    /// The program and the jail root belong to different `CPython`s: extension modules would not load.
    Mismatch {
        /// The program's.
        linked: String,
        /// The jail root's.
        root: String,
    },
    /// No level that was asked for is available: what was tried.
    Isolation(Vec<Attempt>),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "can't start a thread: {error}"),
            Self::Manifest(error) => {
                write!(f, "can't read the jail root's mayfly.json: {error}; run `make build` to make a new jail root")
            }
            Self::Mismatch { linked, root } => write!(
                f,
                "this program embeds CPython {linked}, but the jail root was made for {root}; run `make build` to rebuild both"
            ),
            Self::Isolation(attempts) => {
                f.write_str("this machine doesn't provide the isolation asked for")?;
                for attempt in attempts {
                    if let Err(why) = &attempt.result {
                        write!(f, "; {}: {why}", attempt.level)?;
                    }
                }
                f.write_str("; run `mayfly doctor` for what to change")
            }
        }
    }
}

impl std::error::Error for StartError {}
