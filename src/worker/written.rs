//! The pages that a zygote's children write to: found out, and copied before a child's job comes.
//!
//! Learnt in the zygote; [`Written::take`] is for a new child. A child copies each page that it writes to, by a fault, and most
//! of those pages are the same in every child: reference counts of what every script uses, the interpreter's variables, the top
//! of the heap. The kernel copies them during the clone where it lets the zygote pin them; else each child writes to them
//! after its jail is complete.

use crate::python::Interpreter;
use crate::sys::memory::{Access, WritablePages};
use crate::sys::own_proc::{Alone, Mappings, OwnProc};
use crate::sys::pins::Pins;
use crate::sys::{self, Cloned};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// The pages that a child writes to before and while it runs an ordinary script.
#[derive(Debug, Default)]
pub struct Written {
    pages: WritablePages,
    /// Pins them, and those that ordinary scripts of a preloaded package write to.
    pins: Option<Pins>,
}

impl Written {
    /// Finds them out, and has them copied by the clone where that can be had.
    pub fn learn(own_proc: &OwnProc, alone: &Alone, interpreter: &Interpreter, pins: Option<Pins>) -> Self {
        let Ok(written) = scout(own_proc, alone, interpreter, None) else { return Self::default() };
        let common = pins.as_ref().and_then(|_| common_to_pairs(own_proc, alone, interpreter).ok()).unwrap_or_default();
        // This process has come a little further since the copies were made. What it gave back, children don't have.
        let Some(mappings) = own_proc.mappings() else { return Self::default() };
        let pages = WritablePages::among(&written, &mappings);
        let pins = pins.filter(|pins| {
            let all = WritablePages::among(&union(&written, &common), &mappings);
            make_own(alone, &all).is_ok() && (pins.hold(&all).is_ok() || pins.hold(&pages).is_ok())
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
    pub fn take(&self, alone: &Alone) {
        self.pages.touch(alone);
    }
}

/// The pages that both scripts of a pair write to: a package's own, rather than one script's.
fn common_to_pairs(own_proc: &OwnProc, alone: &Alone, interpreter: &Interpreter) -> Result<Vec<usize>, Errno> {
    let mut all = Vec::new();
    for [one, other] in interpreter.pairs() {
        let one = scout(own_proc, alone, interpreter, Some(one))?;
        let other = scout(own_proc, alone, interpreter, Some(other))?;
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

/// Takes these pages out of the huge pages they lie in: what is written to while another process shares it is copied, and a pin
/// holds the whole of a huge page.
fn make_own(alone: &Alone, pages: &WritablePages) -> Result<(), Errno> {
    let (wait, go) = pipe2(OFlag::O_CLOEXEC)?;
    let Cloned::Parent(other) = sys::bare_fork(alone)? else {
        drop(go);
        let _ = read(&wait, &mut [0]);
        sys::exit_now(0)
    };
    pages.touch(alone);
    drop(go);
    sys::reap(other).map(drop)
}

/// The pages that a child writes to which runs an ordinary script and `then` another, in order: a copy of this process does what
/// a child does, and looks which pages are its own then.
fn scout(
    own_proc: &OwnProc,
    alone: &Alone,
    interpreter: &Interpreter,
    then: Option<&str>,
) -> Result<Vec<usize>, Errno> {
    const NUMBER: usize = size_of::<usize>();
    let mappings = own_proc.mappings().ok_or(Errno::ENOENT)?;
    let (told, tell) = pipe2(OFlag::O_CLOEXEC)?;
    let Some(scout) = interpreter.fork(|| sys::bare_fork(alone))? else {
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
    let pages = bytes.chunks_exact(NUMBER).map(|chunk| usize::from_ne_bytes(chunk.try_into().unwrap_or_default()));
    Ok(pages.collect())
}

/// Writes the addresses of pages that are this process's own to `tell`, in order. It allocates nothing: what it wrote to would be
/// among them.
fn tell_own_pages(own_proc: &OwnProc, mappings: &Mappings, tell: &OwnedFd) -> Result<(), Errno> {
    for mapping in mappings.iter().filter(|mapping| mapping.access() == Some(Access::ReadWrite)) {
        // So few bytes are written whole or not at all.
        own_proc.each_own_page(mapping.range(), |page| write(tell, &page.to_ne_bytes()).map(drop))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::union;

    #[test]
    fn pages_of_both_are_there_once() {
        assert_eq!(union(&[1, 2, 7], &[2, 3]), [1, 2, 3, 7]);
        assert!(union(&[], &[]).is_empty());
    }
}
