//! Puts a script's own source where programs look for it: a file in the working directory.
//!
//! Runs in the child, in the jail, before the script, and only where the child has a /tmp of its own. It must never write over a file:
//! nothing but this process has been there, and what is there was put there for this run.

use crate::jail::Plan;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::write;

/// The working directory of a child that may write files.
pub const HOME: &str = "/tmp";

/// Writes `name` into the working directory, as a new file that its owner can change and all can read.
///
/// # Errors
/// What kept it from being written whole: `ENOSPC` where it is larger than /tmp.
pub fn place(plan: &Plan, name: &str, content: &[u8]) -> Result<(), Errno> {
    if content.len() as u64 > plan.tmp_bytes {
        // Files may not be longer than /tmp is large, and who tries is ended by SIGXFSZ.
        return Err(Errno::ENOSPC);
    }
    let path = format!("{HOME}/{name}");
    let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
    let file = open(path.as_str(), OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, mode)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = write(&file, rest)?;
        rest = &rest[written..];
    }
    Ok(())
}
