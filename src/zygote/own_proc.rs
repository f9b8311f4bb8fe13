//! What a process can read of itself in /proc when /proc is out of sight: through a directory opened before.
//!
//! Runs in the zygote, and in a cold child before it is jailed. The descriptor is closed with all others when the child is.

use crate::config::Level;
use crate::jail::Plan;
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// The number that nsjail hands a directory of /proc over as: inside it there is none.
pub const PASSED: i32 = 4;

/// A directory of /proc.
#[derive(Debug)]
pub struct OwnProc(OwnedFd);

impl OwnProc {
    /// Opens it, or takes over the one that was handed in.
    ///
    /// # Errors
    /// `ENOENT`, `EACCES` where there is no /proc.
    pub fn open(plan: &Plan) -> Result<Self, Errno> {
        if plan.level == Level::Nsjail {
            return sys::inherited(PASSED).map(Self);
        }
        open("/proc", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map(Self)
    }

    fn read(&self, name: &str) -> Option<String> {
        let fd = openat(&self.0, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// A field of `self/stat` by its number in `proc_pid_stat(5)`; only those after the command's name.
    fn stat_field(&self, number: usize) -> Option<u64> {
        let text = self.read("self/stat")?;
        let (_, from_state) = text.rsplit_once(") ")?;
        from_state.split(' ').nth(number.checked_sub(3)?)?.parse().ok()
    }

    /// How many threads this process has.
    #[must_use]
    pub fn threads(&self) -> Option<u64> {
        self.stat_field(20)
    }

    /// This process's address space, in bytes.
    #[must_use]
    pub fn address_space(&self) -> Option<u64> {
        self.stat_field(23)
    }

    /// Whether writable memory would be shared with a child.
    #[must_use]
    pub fn shares_memory(&self) -> Option<bool> {
        let text = self.read("self/maps")?;
        let mut rights = text.lines().filter_map(|line| line.split(' ').nth(1));
        Some(rights.any(|rights| rights.contains('w') && rights.ends_with('s')))
    }
}
