//! Files on their way into a child: a frame that lists them, then what is in them, one after the other.
//!
//! Used in the supervisor and in a child. What is in a file is in no frame, so nobody holds it but the kernel on its way.

use serde::{Deserialize, Serialize};

/// A file that follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHead {
    /// Where it goes, below the working directory; the supervisor has checked it.
    pub path: String,
    /// How many bytes follow for it.
    pub bytes: u64,
}
