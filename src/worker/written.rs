//! The pages that a zygote's children write to: found out, and copied before a child's job comes.
//!
//! Learnt in the zygote; [`Written::take`] is for a new child. A child copies each page that it writes to, by a fault, and most
//! of those pages are the same in every child: reference counts of what every script uses, the interpreter's variables, the top
//! of the heap. The kernel copies them during the clone where it lets the zygote pin them; else each child writes to them
//! after its jail is complete.

use super::own_proc::{Mapping, OwnProc};
use crate::python::Interpreter;
use crate::sys;
use crate::sys::memory::{self, Access};
use crate::sys::pins::Pins;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// The pages that a child writes to before and while it runs an ordinary script.
#[derive(Debug, Default)]
pub struct Written {
    pages: Vec<Range<usize>>,
    /// Pins them, and those that ordinary scripts of a preloaded package write to.
    pins: Option<Pins>,
}

impl Written {
    /// Finds them out, and has them copied by the clone where that can be had.
    pub fn learn(own_proc: &OwnProc, interpreter: &Interpreter, pins: Option<Pins>) -> Self {
        let Ok(written) = scout(own_proc, interpreter, None) else { return Self::default() };
        let pages = ranges(&written);
        let pins = pins.filter(|pins| {
            let common = common_to_pairs(own_proc, interpreter).unwrap_or_default();
            let all = ranges(&union(&written, &common));
            make_own(&all).is_ok() && (pins.hold(&all).is_ok() || pins.hold(&pages).is_ok())
        });
        Self { pages, pins }
    }

    /// Whether they are known: not where the kernel does not tell of pages, as gVisor.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.pages.is_empty()
    }

    /// Whether the clone copies them.
    #[must_use]
    pub fn are_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Makes them this child's own.
    pub fn take(&self) {
        for range in &self.pages {
            memory::touch(range);
        }
    }
}

/// The pages that both scripts of a pair write to: a package's own, rather than one script's.
fn common_to_pairs(own_proc: &OwnProc, interpreter: &Interpreter) -> Result<Vec<usize>, Errno> {
    let mut all = Vec::new();
    for [one, other] in interpreter.pairs() {
        let (one, other) = (scout(own_proc, interpreter, Some(one))?, scout(own_proc, interpreter, Some(other))?);
        let common: Vec<usize> = one.into_iter().filter(|page| other.binary_search(page).is_ok()).collect();
        all = union(&all, &common);
    }
    Ok(all)
}

/// In order, each once.
fn union(one: &[usize], other: &[usize]) -> Vec<usize> {
    let mut all = [one, other].concat();
    all.sort_unstable();
    all.dedup();
    all
}

/// Pages in order, those side by side as one range.
fn ranges(pages: &[usize]) -> Vec<Range<usize>> {
    let size = memory::page_size();
    let neighbours = pages.chunk_by(|page, next| page + size == *next);
    neighbours.filter_map(|run| Some(*run.first()?..run.last()? + size)).collect()
}

/// Takes these pages out of the huge pages they lie in: what is written to while another process shares it is copied, and a pin
/// holds the whole of a huge page.
fn make_own(ranges: &[Range<usize>]) -> Result<(), Errno> {
    let (wait, go) = pipe2(OFlag::O_CLOEXEC)?;
    let Some(other) = sys::bare_fork()? else {
        drop(go);
        let _ = read(&wait, &mut [0]);
        sys::exit_now(0)
    };
    ranges.iter().for_each(memory::touch);
    drop(go);
    sys::reap(other).map(drop)
}

/// The pages that a child writes to which runs an ordinary script and `then` another, in order: a copy of this process does what
/// a child does, and looks which pages are its own then.
fn scout(own_proc: &OwnProc, interpreter: &Interpreter, then: Option<&str>) -> Result<Vec<usize>, Errno> {
    const NUMBER: usize = size_of::<usize>();
    let mappings = own_proc.mappings().ok_or(Errno::ENOENT)?;
    let (told, tell) = pipe2(OFlag::O_CLOEXEC)?;
    let Some(scout) = interpreter.fork(sys::bare_fork)? else {
        drop(told);
        if interpreter.reseed().is_ok() {
            interpreter.try_out(then);
            let _ = tell_own_pages(own_proc, &mappings, &tell);
        }
        sys::exit_now(0)
    };
    drop(tell);
    let mut bytes = Vec::new();
    let heard = File::from(told).read_to_end(&mut bytes);
    sys::reap(scout)?;
    heard.map_err(|_| Errno::EIO)?;
    // This process has come a little further since the copy was made. What it gave back, children don't have.
    let mappings = own_proc.mappings().ok_or(Errno::ENOENT)?;
    let is_there = |page: &usize| {
        let mut writable = mappings.iter().filter(|mapping| mapping.access() == Some(Access::ReadWrite));
        writable.any(|mapping| mapping.range.contains(page))
    };
    let pages = bytes.chunks_exact(NUMBER).map(|chunk| usize::from_ne_bytes(chunk.try_into().unwrap_or_default()));
    Ok(pages.filter(is_there).collect())
}

/// Writes the addresses of pages that are this process's own to `tell`, in order. It allocates nothing: what it wrote to would be
/// among them.
fn tell_own_pages(own_proc: &OwnProc, mappings: &[Mapping], tell: &OwnedFd) -> Result<(), Errno> {
    for mapping in mappings.iter().filter(|mapping| mapping.access() == Some(Access::ReadWrite)) {
        // So few bytes are written whole or not at all.
        own_proc.each_own_page(&mapping.range, |page| write(tell, &page.to_ne_bytes()).map(drop))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_side_by_side_are_one_range() {
        let size = memory::page_size();
        let pages = union(&[size, 2 * size, 7 * size], &[2 * size, 3 * size]);
        assert_eq!(pages, [size, 2 * size, 3 * size, 7 * size]);
        assert_eq!(ranges(&pages), [size..4 * size, 7 * size..8 * size]);
        assert!(ranges(&[]).is_empty());
    }
}
