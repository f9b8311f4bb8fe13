//! What a process can read of itself in /proc when /proc is out of sight: through a directory opened before.
//!
//! Used in the zygote, and in a cold child before it is jailed. The descriptor is closed with all others when the child is. What is
//! found here proves something to the rest of `sys` ([`Alone`], [`Mappings`]), so nothing else may make such a value.

use super::descriptors::HandedIn;
use super::memory::{self, Access};
use crate::handover;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::Read;
use std::ops::{Deref, Range};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// A directory of /proc.
#[derive(Debug)]
pub struct OwnProc(OwnedFd);

impl OwnProc {
    /// Takes over the one that nsjail handed in: inside it there is no /proc.
    ///
    /// # Errors
    /// `EBADF` when none was.
    pub fn handed_in(handed_in: &mut HandedIn) -> Result<Self, Errno> {
        handed_in.take(handover::PROC).map(Self)
    }

    /// Opens it.
    ///
    /// # Errors
    /// `ENOENT`, `EACCES` where there is no /proc.
    pub fn open() -> Result<Self, Errno> {
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

    /// Whether this process is alone; `None` also where the kernel does not tell.
    #[must_use]
    pub fn alone(&self) -> Option<Alone> {
        let threads = self.stat_field(20)?;
        (threads == 1 && !self.shares_memory()?).then_some(Alone(()))
    }

    /// This process's address space, in bytes.
    #[must_use]
    pub fn address_space(&self) -> Option<u64> {
        self.stat_field(23)
    }

    /// How much memory is this process's own or may become so without growing its address space, in bytes: all that is mapped and is
    /// no file's, or private and can be written to.
    #[must_use]
    pub fn own_memory(&self) -> Option<u64> {
        let may_be_own = |one: &&Mapping| !one.is_of_file() || one.access() == Some(Access::ReadWrite);
        let sizes = self.mappings()?.iter().filter(may_be_own).map(|one| one.range.len()).sum::<usize>();
        u64::try_from(sizes).ok()
    }

    /// Whether memory that can be written to would be shared with a child.
    fn shares_memory(&self) -> Option<bool> {
        let text = self.read("self/maps")?;
        let mut rights = text.lines().filter_map(|line| line.split(' ').nth(1));
        Some(rights.any(|rights| rights.contains('w') && rights.ends_with('s')))
    }

    /// What is mapped in this process, in the order of addresses.
    #[must_use]
    pub fn mappings(&self) -> Option<Mappings> {
        self.read("self/maps")?.lines().map(Mapping::parse).collect::<Option<_>>().map(Mappings)
    }

    /// How many pages of `range` are in memory.
    ///
    /// # Errors
    /// `ENOENT`, `EACCES` where the kernel does not tell.
    pub fn present(&self, range: &Range<usize>) -> Result<usize, Errno> {
        let mut count = 0;
        self.each_page(range, |_, entry| {
            count += usize::from(entry & PRESENT != 0);
            Ok(())
        })?;
        Ok(count)
    }

    /// Calls `found` with the address of each page of `range` that is in memory, is no file's, and is mapped by no other
    /// process.
    ///
    /// # Errors
    /// As [`Self::present`], and those of `found`, which end it.
    pub fn each_own_page(
        &self,
        range: &Range<usize>,
        mut found: impl FnMut(usize) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let is_own = |entry: u64| entry & (PRESENT | OF_FILE | EXCLUSIVE) == PRESENT | EXCLUSIVE;
        self.each_page(range, |address, entry| if is_own(entry) { found(address) } else { Ok(()) })
    }

    /// The pages of `range` with what the kernel tells of each (`Documentation/admin-guide/mm/pagemap.rst`).
    fn each_page(
        &self,
        range: &Range<usize>,
        mut visit: impl FnMut(usize, u64) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        const ENTRY: usize = 8;
        /// On the stack, so that looking changes little of what is looked at.
        const AT_ONCE: usize = 256;
        let page = memory::page_size();
        let file =
            openat(&self.0, "self/pagemap", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map(File::from)?;
        let mut entries = [0; AT_ONCE * ENTRY];
        for first in range.clone().step_by(AT_ONCE * page) {
            let count = AT_ONCE.min((range.end - first) / page);
            let bytes = &mut entries[..count * ENTRY];
            file.read_exact_at(bytes, (first / page * ENTRY) as u64).map_err(|_| Errno::EIO)?;
            for (number, entry) in bytes.chunks_exact(ENTRY).enumerate() {
                visit(first + number * page, u64::from_ne_bytes(entry.try_into().unwrap_or_default()))?;
            }
        }
        Ok(())
    }
}

/// The bits of an entry of /proc/self/pagemap.
const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;

/// Proof that this process has one thread, and shares no memory that it could write to. It holds as long as whoever has it starts no
/// thread.
#[derive(Debug)]
pub struct Alone(());

impl Alone {
    /// What stands for the proof where a test build leaves the check out; nothing elsewhere.
    #[must_use]
    pub fn pretended() -> Option<Self> {
        cfg!(feature = "fault-injection").then_some(Self(()))
    }
}

/// Proof of what is mapped in this process: everything, in the order of addresses. It holds as long as whoever has it gives back no
/// memory that is in it.
#[derive(Debug)]
pub struct Mappings(Vec<Mapping>);

impl Deref for Mappings {
    type Target = [Mapping];

    fn deref(&self) -> &[Mapping] {
        &self.0
    }
}

#[cfg(test)]
impl Mappings {
    /// Of no process.
    pub(crate) fn of_lines(lines: &[&str]) -> Self {
        Self(lines.iter().map(|line| Mapping::parse(line).expect("a line of maps")).collect())
    }
}

/// A line of /proc/self/maps.
#[derive(Debug)]
pub struct Mapping {
    range: Range<usize>,
    /// As `rw-p`.
    rights: String,
    /// Where in the file it begins.
    offset: usize,
    /// Device and inode: the same in all mappings of one file.
    pub file: String,
    /// The file's path, `[heap]`, or nothing.
    pub name: String,
}

impl Mapping {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let rights = fields.next()?.to_owned();
        let (offset, device, inode) = (fields.next()?, fields.next()?, fields.next()?);
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some(Self {
            range: address(start)?..address(end)?,
            rights,
            offset: address(offset)?,
            file: format!("{device} {inode}"),
            name: fields.next().unwrap_or_default().trim().to_owned(),
        })
    }

    /// Its addresses.
    #[must_use]
    pub fn range(&self) -> &Range<usize> {
        &self.range
    }

    /// What can be done with it; `None` for none of the usual three, and for memory that is shared.
    #[must_use]
    pub fn access(&self) -> Option<Access> {
        match self.rights.as_str() {
            "r--p" => Some(Access::Read),
            "rw-p" => Some(Access::ReadWrite),
            "r-xp" => Some(Access::ReadExecute),
            _ => None,
        }
    }

    /// Whether `next` begins where this ends, and shows the same file.
    #[must_use]
    pub fn is_followed_by(&self, next: &Self) -> bool {
        self.is_of_file() && self.file == next.file && self.range.end == next.range.start
    }

    /// Whether `next` also shows what comes next in the file, as two parts of one segment do.
    #[must_use]
    pub fn goes_on_in(&self, next: &Self) -> bool {
        self.is_followed_by(next) && self.offset + self.range.len() == next.offset
    }

    /// Whether it shows a file.
    #[must_use]
    pub fn is_of_file(&self) -> bool {
        self.name.starts_with('/')
    }

    /// Whether it is memory for objects: the C heap, or memory of no file and no other purpose.
    #[must_use]
    pub fn is_heap(&self) -> bool {
        self.access() == Some(Access::ReadWrite) && matches!(self.name.as_str(), "" | "[heap]")
    }
}
