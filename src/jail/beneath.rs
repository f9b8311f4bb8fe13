//! Paths below the jail root, for a process that can have no root directory of its own.
//!
//! Runs in the child, before the filter `beneath`, which makes it the only way; and in a probe. What confines a path, and why
//! it can't be got round, is in [`crate::sys::beneath`].

use super::Plan;
use crate::sys::beneath::{self, Below};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Lays the terms down and has the calls that libc makes answered. The working directory is the jail root already.
///
/// The interpreter was started outside, with paths that name the jail root as it is there; so does its own working directory.
/// They lead to the same places inside.
pub fn confine(plan: &Plan) -> Result<(), Errno> {
    let root = [plan.root_inside(), nix::unistd::getcwd()?];
    let mut names: Vec<Below> = root.iter().map(|path| below(path, libc::AT_FDCWD)).collect();
    if plan.packages.is_some() {
        let packages = plan.packages_inside();
        // It stays open: the next number after the channel's.
        let directory = open_directory(&packages)?;
        names.insert(0, below(&packages, directory));
    }
    beneath::lay_down_terms()?;
    beneath::answer(names)
}

/// Whether the kernel, and whatever filter is around the server, have what it takes.
pub fn attempt(plan: &Plan) -> Result<(), Errno> {
    beneath::lay_down_terms()?;
    beneath::try_in(open_directory(&plan.root)?)
}

fn open_directory(path: &Path) -> Result<i32, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?.into_raw_fd())
}

fn below(path: &Path, directory: i32) -> Below {
    // Without a slash at its end.
    let path: PathBuf = path.components().collect();
    Below { name: path.as_os_str().as_bytes().to_vec(), directory }
}
