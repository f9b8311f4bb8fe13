//! A number of bytes, and how it is written.
//!
//! Used in every process.

use serde::{Deserialize, Serialize};
use std::fmt;

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
