//! What a client asked for, validated: a `Job` that exists can be run.
//!
//! Built in the supervisor by `http` and by `mayfly run`. It must never hold anything that was not checked against
//! the server's settings.

use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `count` mebibytes (1,048,576 bytes each).
    #[must_use]
    pub const fn mebibytes(count: u64) -> Self {
        Self(count * 1024 * 1024)
    }

    /// As an index or a length; saturates on a platform whose `usize` is smaller.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that divides the number: `10KB`, `2MB`, `1000 bytes` (a KB is 1,024 bytes).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MB: u64 = 1024 * 1024;
        match self.0 {
            0 => f.write_str("0 bytes"),
            bytes if bytes % MB == 0 => write!(f, "{}MB", bytes / MB),
            bytes if bytes % 1024 == 0 => write!(f, "{}KB", bytes / 1024),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// What one run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the moment the child is handed its job to its reply.
    pub wall: Duration,
    /// Processor time of all the child's threads together, over the same span.
    pub cpu: Duration,
    /// Address space on top of what the warm interpreter has when the child is made.
    pub memory: ByteSize,
    /// How much of stdout and of stderr is kept, each.
    pub output: ByteSize,
}

/// What the response holds besides the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Include {
    /// The text written to stdout.
    pub stdout: bool,
    /// The text written to stderr.
    pub stderr: bool,
    /// Times and peak memory.
    pub usage: bool,
    /// The isolation level the script ran under.
    pub isolation: bool,
}

/// One run: a script and what it is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Python source text, at most the configured number of bytes.
    pub script: String,
    /// Positional arguments of `main`: a list.
    pub args: Value,
    /// Keyword arguments of `main`: a map.
    pub kwargs: Value,
    /// What `sys.stdin` yields.
    pub stdin: String,
    /// Within the server's maxima.
    pub limits: Limits,
    /// What else the client wants to see.
    pub include: Include,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_in_the_largest_whole_unit() {
        assert_eq!(ByteSize(10_240).to_string(), "10KB");
        assert_eq!(ByteSize::mebibytes(2).to_string(), "2MB");
        assert_eq!(ByteSize(1000).to_string(), "1000 bytes");
        assert_eq!(ByteSize(0).to_string(), "0 bytes");
    }
}
