//! The isolation levels, from the strongest that needs privileges to the one that runs anywhere.
//!
//! Used in every process. A level is chosen once, at start, and never gets weaker.

use std::fmt;

/// An isolation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Level {
    /// Namespaces, own root, and all of `Seccomp`.
    Full,
    /// No namespaces: filter, limits and what path policy the kernel grants.
    Seccomp,
    /// nsjail around a cold child.
    Nsjail,
}

impl Level {
    /// As it stands in settings, answers and headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Seccomp => "seccomp",
            Self::Nsjail => "nsjail",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
