//! The handler that the policy `beneath` rests its convenience on: what libc asks for is answered as the kernel would.

use crate::child::{self, PATIENT, Sheet};
use crate::{Test, Verdict, test};
use mayfly::jail::filter::{self, BENEATH};
use mayfly::sys::{self, HandedIn, beneath};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, fstat, lstat, stat};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

pub fn tests() -> Vec<Test> {
    vec![
        test("beneath::answers-as-the-kernel-would", answers_as_the_kernel_would),
        test("beneath::is-not-put-off-by-renames", is_not_put_off_by_renames),
        test("beneath::leads-nowhere-else", leads_nowhere_else),
    ]
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// `tree/file` of four bytes, `tree/below/up`, a link to it by `..`, and `tree/out`, an absolute link; then the child, in `tree`.
fn in_a_tree(act: fn() -> Verdict) -> Verdict {
    fs::create_dir_all("tree/below").map_err(words)?;
    fs::write("tree/file", "four").map_err(words)?;
    symlink("../file", "tree/below/up").map_err(words)?;
    symlink("/etc/passwd", "tree/out").map_err(words)?;
    let (how, verdict) = child::run(PATIENT, Sheet::new(), || {
        std::env::set_current_dir("tree").map_err(words)?;
        beneath::lay_down_terms().map_err(words)?;
        beneath::answer(Vec::new()).map_err(words)?;
        filter::install(&BENEATH).map_err(words)?;
        act()
    });
    verdict.unwrap_or(Err(format!("it came to no verdict: {how:?}")))
}

fn is(what: &str, holds: bool) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

fn opened(path: &str, flags: OFlag) -> Result<std::os::fd::OwnedFd, Errno> {
    open(path, flags, Mode::empty())
}

fn answers_as_the_kernel_would() -> Verdict {
    in_a_tree(|| {
        let read = OFlag::O_RDONLY;
        for path in ["file", "/file", "below/up", "/below/../file", "../../file"] {
            let file = opened(path, read).map_err(|errno| format!("{path}: {errno}"))?;
            is("another size", fstat(&file).map_err(words)?.st_size == 4)?;
            is("another size by its path", stat(path).map_err(words)?.st_size == 4)?;
        }
        is("the working directory is not the root", stat(".").map(|s| s.st_ino) == stat("/").map(|s| s.st_ino))?;
        let refused = [
            ("nothing", opened("nothing", read).err(), Errno::ENOENT),
            ("an empty path", opened("", read).err(), Errno::ENOENT),
            ("a file as a directory", opened("file", OFlag::O_DIRECTORY).err(), Errno::ENOTDIR),
            ("below a file", opened("file/x", read).err(), Errno::ENOTDIR),
            ("a link that is not followed", opened("below/up", OFlag::O_NOFOLLOW).err(), Errno::ELOOP),
            ("a link itself", lstat("below/up").err(), Errno::ELOOP),
            ("a long name", stat(Path::new(&"x".repeat(300))).err(), Errno::ENAMETOOLONG),
            ("a closed descriptor", HandedIn::once().and_then(|mut all| all.take(99).err()), Errno::EBADF),
            ("writing", opened("file", OFlag::O_RDWR).err(), Errno::EACCES),
        ];
        for (what, errno, expected) in refused {
            is(&format!("{what}: {errno:?}"), errno == Some(expected))?;
        }
        Ok(())
    })
}

/// The kernel gives up where `..` is followed while something is renamed, whatever it is: then it is asked again.
fn is_not_put_off_by_renames() -> Verdict {
    fs::create_dir("one").map_err(words)?;
    let renaming = child::fork(PATIENT, Sheet::new(), || {
        loop {
            fs::rename("one", "other").and_then(|()| fs::rename("other", "one")).map_err(words)?;
        }
    });
    let verdict = in_a_tree(|| {
        for _ in 0..20_000 {
            opened("below/up", OFlag::O_RDONLY).map_err(words)?;
        }
        Ok(())
    });
    kill(renaming, Signal::SIGKILL).map_err(words)?;
    sys::reap(renaming).map_err(words)?;
    verdict
}

fn leads_nowhere_else() -> Verdict {
    in_a_tree(|| {
        for path in ["/etc/passwd", "../../../../../../etc/passwd", "out", "/proc/self/status", "/dev/null"] {
            is(&format!("{path} can be opened"), opened(path, OFlag::O_RDONLY).err() == Some(Errno::ENOENT))?;
            is(&format!("{path} is known"), stat(path).err() == Some(Errno::ENOENT))?;
        }
        Ok(())
    })
}
