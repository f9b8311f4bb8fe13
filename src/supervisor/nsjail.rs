//! nsjail around a cold child: the command that starts it, and what nsjail says when that fails.
//!
//! Runs in the supervisor. The policy is `seccomp/nsjail.cfg`, built into the program; what depends on the machine (the jail
//! root, ids, sizes) is filled in here. Our own limits and filter are applied inside as well. Nothing of a request comes
//! near nsjail: neither its configuration nor its log.

use crate::jail::{Plan, TMP_INODES, slot_id};
use crate::sys::{self, Ended, How};
use crate::zygote::handle::ENVIRONMENT;
use crate::zygote::own_proc;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Pid, getegid, geteuid, pipe2};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

/// The policy, with words between @ to fill in.
const POLICY: &str = include_str!("../../seccomp/nsjail.cfg");

/// The number under which nsjail reads its configuration.
const CONFIGURATION: i32 = 5;

/// The number under which it finds the program; `seccomp/nsjail.cfg` names it.
const PROGRAM: i32 = 6;

/// How much of what one nsjail says is read; what follows is thrown away.
const MAX_LOG: u64 = 8 * 1024;

/// An nsjail that can be run.
#[derive(Debug, Clone)]
pub struct Wrapper {
    program: PathBuf,
}

impl Wrapper {
    /// The first `nsjail` on PATH that can be executed.
    #[must_use]
    pub fn find() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let executable = |program: &Path| nix::unistd::access(program, nix::unistd::AccessFlags::X_OK).is_ok();
        std::env::split_paths(&path)
            .map(|directory| directory.join("nsjail"))
            .find(|program| program.is_file() && executable(program))
            .map(|program| Self { program })
    }

    /// The command for one child under `plan`, with the ids of `slot`. What nsjail complains about goes to the log.
    ///
    /// # Errors
    /// When there are no descriptors or no memory left, or no /proc.
    pub fn command(&self, plan: &Plan, slot: u32) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(format!("/proc/self/fd/{CONFIGURATION}"));
        // A group of its own, by which `reap_left_behind` finds what is left of it.
        command.env_clear().process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(listen()?);
        sys::pass(&mut command, &open_path("/proc", libc::O_DIRECTORY)?, own_proc::PASSED)?;
        sys::pass(&mut command, &in_memory(&configuration(plan, slot)?)?, CONFIGURATION)?;
        // Not by its path, where a newer one may lie by now.
        sys::pass(&mut command, &open_path("/proc/self/exe", 0)?, PROGRAM)?;
        sys::sacrifice(&mut command);
        Ok(command)
    }
}

fn open_path(path: &str, flags: i32) -> io::Result<OwnedFd> {
    Ok(File::options().read(true).custom_flags(flags).open(path)?.into())
}

fn in_memory(text: &str) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"nsjail.cfg", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    Ok(file.into())
}

/// The policy with this machine's particulars.
fn configuration(plan: &Plan, slot: u32) -> io::Result<String> {
    let (user, group) =
        slot_id(plan, slot).map_or_else(|| (geteuid().as_raw(), getegid().as_raw()), |id| (id, id));
    let mut text = POLICY
        .replace("@UID@", &user.to_string())
        .replace("@GID@", &group.to_string())
        .replace("@ROOT@", &quoted(&plan.root)?)
        .replace("@TMP_BYTES@", &plan.tmp_bytes.to_string())
        .replace("@TMP_INODES@", &plan.tmp_inodes.unwrap_or(TMP_INODES).to_string());
    if let Some(packages) = &plan.packages {
        let source = quoted(packages)?;
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "mount {{ src: \"{source}\" dst: \"/packages\" is_bind: true rw: false nosuid: true nodev: true }}"
        );
    }
    for (name, value) in ENVIRONMENT {
        let _ = writeln!(text, "envar: \"{name}={value}\"");
    }
    Ok(text)
}

/// A path as the inside of a string in protobuf's text format.
fn quoted(path: &Path) -> io::Result<String> {
    let text = path
        .to_str()
        .ok_or_else(|| io::Error::other(format!("{} is not UTF-8, which nsjail needs", path.display())))?;
    Ok(text.chars().fold(String::new(), |mut quoted, letter| {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_ascii_control() => {
                let _ = write!(quoted, "\\{:03o}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
        quoted
    }))
}

/// Where nsjail writes its log to; what matters of it goes to ours.
fn listen() -> io::Result<OwnedFd> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    // nsjail shall wait when the pipe is full, not lose a line.
    nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty()))?;
    let ours = pipe::Receiver::from_owned_fd(ours)?;
    tokio::spawn(async move {
        let mut lines = BufReader::new(ours.take(MAX_LOG)).lines();
        let mut warnings = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            match worth(&line) {
                Worth::Nothing => {}
                // A script that the filter kills makes nsjail warn, and that is nobody's business but the script's.
                Worth::OnlyBeforeAnError => warnings.push(line),
                Worth::All => {
                    for said in warnings.drain(..).chain([line]) {
                        let printable: String = said.chars().filter(|letter| !letter.is_control()).collect();
                        tracing::error!("nsjail: {printable}");
                    }
                }
            }
        }
        // Until its end, so that nsjail never waits for a reader.
        let mut rest = lines.into_inner().into_inner().into_inner();
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    });
    Ok(theirs)
}

enum Worth {
    Nothing,
    OnlyBeforeAnError,
    All,
}

/// nsjail begins a line with its level in brackets. What else comes is the dynamic loader's or the interpreter's, from before the
/// child had descriptors of its own, and tells why it could not start.
fn worth(line: &str) -> Worth {
    match line.as_bytes() {
        [] | [b'[', b'D' | b'I', b']', ..] => Worth::Nothing,
        [b'[', b'W', b']', ..] => Worth::OnlyBeforeAnError,
        _ => Worth::All,
    }
}

/// Reaps an nsjail that was killed or is ending, and its child `inside`, and tells how the child ended.
///
/// An nsjail that ended by itself has reaped its child. At the end of one that was killed, the kernel kills the child, and
/// the supervisor inherits it (`PR_SET_CHILD_SUBREAPER`).
///
/// # Errors
/// `ECHILD` when it is no child of this process, or already reaped.
pub fn reap(nsjail: Pid, inside: Pid) -> Result<Ended, Errno> {
    let ended = sys::reap(nsjail)?;
    match ended.how {
        How::Exited(_) => Ok(child_end(ended)),
        How::Signalled(_) => sys::reap(inside).or(Ok(ended)),
    }
}

/// Reaps what a killed nsjail left behind while its child had no session of its own yet, and so was in its process group.
///
/// The kernel kills that child, or it finds that nobody waits for it, and ends.
pub fn reap_left_behind(nsjail: Pid) {
    while sys::reap(Pid::from_raw(-nsjail.as_raw())).is_ok() {}
}

/// How a child ended, told from how its nsjail ended: with the child's own status, or with 128 and the signal's number.
///
/// A script that ends its process with such a status can so take the blame for a signal that it never got, and gains nothing.
fn child_end(ended: Ended) -> Ended {
    match ended.how {
        How::Exited(status @ 129..=192) => Ended { how: How::Signalled(status - 128), ..ended },
        How::Exited(_) | How::Signalled(_) => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_word_to_fill_in_is_known() {
        let plan = crate::jail::Plan {
            level: crate::config::Level::Nsjail,
            root: PathBuf::from("/a \"b\"\\c\n"),
            stdlib: PathBuf::from("/usr/lib/python3.11"),
            packages: Some(PathBuf::from("/packages of mine")),
            ids: Ids::Range { first: 1000, count: 10 },
            paths: crate::jail::Paths { chroot: false, landlock: false },
            parentage: crate::jail::Parentage::Sibling,
            tmp_bytes: 4096,
            tmp_inodes: Some(TMP_INODES),
            #[cfg(feature = "fault-injection")]
            faults: crate::fault::Faults::default(),
        };
        let text = configuration(&plan, 2).unwrap();
        let settings = || text.lines().filter(|line| !line.starts_with('#'));
        assert!(settings().all(|line| !line.contains('@')), "{text}");
        assert!(text.contains(r#"src: "/a \"b\"\\c\012" dst: "/""#), "{text}");
        assert!(text.contains(r#"src: "/packages of mine" dst: "/packages""#), "{text}");
        assert!(text.contains(r#"outside_id: "1003""#), "{text}");
    }

    #[test]
    fn the_numbers_in_the_policy_are_the_ones_passed() {
        assert!(POLICY.contains(&format!("path: \"/proc/self/fd/{PROGRAM}\"")));
        assert!(POLICY.contains(&format!("pass_fd: {}\n", own_proc::PASSED)));
    }

    #[test]
    fn signals_come_as_a_status() {
        let ended = |how| Ended { how, cpu: Duration::ZERO, peak_memory: 0, minor_faults: 0 };
        let how = |status| child_end(ended(How::Exited(status))).how;
        assert_eq!(how(159), How::Signalled(31));
        assert_eq!(how(3), How::Exited(3));
        assert_eq!(how(255), How::Exited(255));
    }
}
