//! Writes the files of a job, and the source of a program, into the working directory.
//!
//! Runs in the child, in the jail, before the child has seen a byte of the script. What it says is believed for that reason. It
//! must never follow a link: nothing but these files is there.

use super::child::Inbox;
use crate::files::{DIRECTORY, SCRIPT};
use crate::jail::Plan;
use crate::sys;
use crate::wire::FileHead;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::mkdir;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What is read and written at once.
const PIECE: usize = 64 * 1024;

/// Reads the files that `heads` lists from the channel, all of them whatever happens, and writes them.
///
/// # Errors
/// The first thing that kept one from being written; `EPIPE` when the supervisor is gone.
pub(super) fn place(heads: &[FileHead], inbox: &mut Inbox, channel: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut buffer = vec![0; PIECE];
    let mut outcome = Ok(());
    for head in heads {
        let file = outcome.and_then(|()| create(&head.path));
        outcome = file.as_ref().map(drop).map_err(|errno| *errno);
        let mut left = head.bytes;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let count = inbox.take(channel, &mut buffer[..most]).ok_or(Errno::EPIPE)?;
            left -= count as u64;
            if let (Ok(file), Ok(())) = (&file, outcome) {
                outcome = sys::write_all(file, &buffer[..count]);
            }
        }
    }
    outcome
}

/// Writes a program's source into the working directory: `ENOSPC` where it is larger than /tmp.
pub(super) fn place_script(plan: &Plan, source: &[u8]) -> Result<(), Errno> {
    if source.len() as u64 > plan.tmp_bytes {
        // Files may not be longer than /tmp is large, and who tries is ended by SIGXFSZ.
        return Err(Errno::ENOSPC);
    }
    sys::write_all(&new_file(&format!("{DIRECTORY}/{SCRIPT}"))?, source)
}

fn create(path: &str) -> Result<OwnedFd, Errno> {
    for (end, _) in path.match_indices('/') {
        match mkdir(&path[..end], Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    new_file(path)
}

fn new_file(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, Mode::S_IRUSR | Mode::S_IWUSR)
}
