//! Whom the kernel kills when memory runs out: scripts first, then children that wait for a job, then zygotes, and the supervisor last.
//!
//! Runs in the zygote. What it sets is inherited by a clone, so children get theirs at no cost of their own; the supervisor sets that of
//! a script that has run for a while.

use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The file of the process that opens it (`proc_pid_oom_score_adj(5)`): how many thousandths of all memory it counts as having
/// besides what it has.
const FILE: &str = "/proc/self/oom_score_adj";

/// The zygote's value: far above that of everything else on a machine.
const ZYGOTE: i32 = 400;

/// The most that there is.
const MOST: i32 = 1000;

/// A zygote's place among the victims.
#[derive(Debug)]
pub struct Victim {
    /// Later it could not be opened: it belongs to root once the process can't be traced. nsjail's process has none; there nsjail itself
    /// is the victim.
    file: Option<File>,
    own: i32,
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EINVAL as i32))
}

impl Victim {
    /// While /proc is in sight.
    pub(super) fn open() -> Result<Self, Errno> {
        let file = match File::options().read(true).write(true).open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { file: None, own: MOST }),
            file => file.map_err(|error| errno(&error))?,
        };
        let mut text = [0; 16];
        let length = file.read_at(&mut text, 0).map_err(|error| errno(&error))?;
        let given = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse::<i32>().ok());
        Ok(Self { file: Some(file), own: given.ok_or(Errno::EINVAL)? })
    }

    fn set(&self, value: i32) -> Result<(), Errno> {
        self.file
            .as_ref()
            .map_or(Ok(()), |file| file.write_all_at(value.to_string().as_bytes(), 0).map_err(|error| errno(&error)))
    }

    /// This process goes before the supervisor.
    pub(super) fn prefer_zygote(&mut self) -> Result<(), Errno> {
        // Whoever started the server may have chosen a higher one, and only a privilege goes below that.
        self.own = self.own.max(ZYGOTE);
        self.set(self.own)
    }

    /// What is cloned from now on goes before this process.
    ///
    /// # Errors
    /// None is known for raising it.
    pub fn prefer_clones(&self) -> Result<(), Errno> {
        self.set(self.own.midpoint(MOST))
    }

    /// What was cloned keeps its place; this process has its own again.
    pub fn spare_zygote(&self) {
        // At worst it goes with its children.
        let _ = self.set(self.own);
    }
}
