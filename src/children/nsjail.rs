//! nsjail around a cold child: the command that starts it, and what nsjail says when that fails.
//!
//! Runs in the supervisor. The policy is `seccomp/nsjail.cfg`, built into the program; what depends on the machine (the jail
//! root, ids, sizes) is filled in here. Our own limits and filter are applied inside as well. Nothing of a request comes
//! near nsjail: neither its configuration nor its log.

use super::command::ENVIRONMENT;
use crate::handover::{self, CONFIGURATION, PROGRAM};
use crate::jail::{Plan, TMP_INODES, slot_id};
use crate::sys::{self, Ended, How};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

/// The policy, with words between @ to fill in.
const POLICY: &str = include_str!("../../seccomp/nsjail.cfg");

/// How much of what one nsjail says is kept, in bytes.
const MAX_COMPLAINTS: usize = 4096;

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

    /// The command for one child under `plan`, with the ids of `slot`, and what will be complained about.
    ///
    /// # Errors
    /// When there are no descriptors or no memory left, or no /proc.
    pub fn command(&self, plan: &Plan, slot: u32) -> io::Result<(Command, Complaints)> {
        let (complaints, stderr) = Complaints::listen()?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(format!("/proc/self/fd/{CONFIGURATION}"));
        // A group of its own, by which `reap_left_behind` finds what is left of it.
        command.env_clear().process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        sys::pass(&mut command, &open_path("/proc", libc::O_DIRECTORY)?, handover::PROC)?;
        sys::pass(&mut command, &in_memory(&configuration(plan, slot)?)?, CONFIGURATION)?;
        // Not by its path, where a newer one may lie by now.
        sys::pass(&mut command, &open_path("/proc/self/exe", 0)?, PROGRAM)?;
        sys::sacrifice(&mut command);
        Ok((command, complaints))
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
    let (user, group) = slot_id(plan, slot).map_or_else(|| (geteuid().as_raw(), getegid().as_raw()), |id| (id, id));
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

/// What an nsjail, and the program in it before it had descriptors of its own, complained about.
#[derive(Debug)]
pub struct Complaints {
    text: Arc<Mutex<Vec<u8>>>,
    read: JoinHandle<()>,
}

impl Complaints {
    /// Gives the end that nsjail writes to.
    fn listen() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut ours = pipe::Receiver::from_owned_fd(ours)?;
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let read = tokio::spawn(async move {
            let mut chunk = vec![0; 1024];
            // Until its end, so that nsjail never waits for a reader.
            while let Ok(length @ 1..) = ours.read(&mut chunk).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_COMPLAINTS.saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..length.min(room)]);
            }
        });
        Ok((Self { text, read }, theirs))
    }

    /// All of them in one line, when there was an error among them; waits until nsjail is gone, for a moment.
    pub async fn told(self) -> Option<String> {
        /// A killed process is gone in well under this.
        const PATIENCE: Duration = Duration::from_millis(500);
        let _ = tokio::time::timeout(PATIENCE, self.read).await;
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        in_one_line(&String::from_utf8_lossy(&text))
    }
}

/// nsjail begins a line with its level, the time and a pid in brackets, and the place in its source. What else comes is the
/// dynamic loader's or the interpreter's. Warnings alone are no reason: nsjail warns of a script that the filter killed, too.
fn in_one_line(text: &str) -> Option<String> {
    let lines = || text.lines().filter(|line| !line.starts_with("[I]") && !line.starts_with("[D]") && !line.is_empty());
    if lines().all(|line| line.starts_with("[W]")) {
        return None;
    }
    let essence = |line: &str| -> String {
        let place = if line.starts_with('[') { line.split_once("():") } else { None };
        let told = place.and_then(|(_, rest)| rest.split_once(' ')).map_or(line, |(_, told)| told);
        told.chars().filter(|letter| !letter.is_control()).collect()
    };
    Some(lines().map(essence).collect::<Vec<_>>().join("; "))
}

/// Reaps an nsjail that was killed or is ending, and its child `inside`, and tells how the child ended; `None` while one of them
/// has not.
///
/// An nsjail that ended by itself has reaped its child. At the end of one that was killed, the kernel kills the child, and
/// the supervisor inherits it (`PR_SET_CHILD_SUBREAPER`).
///
/// # Errors
/// `ECHILD` when `nsjail` is no child of this process, or when both are reaped.
pub fn try_reap(nsjail: Pid, inside: Pid) -> Result<Option<Ended>, Errno> {
    match sys::try_reap(nsjail) {
        Ok(None) => Ok(None),
        Ok(Some(ended)) => match ended.how {
            How::Exited(_) => Ok(Some(child_end(ended))),
            How::Signalled(_) => match sys::try_reap(inside) {
                Err(_) => Ok(Some(ended)),
                not_yet_or_gone => not_yet_or_gone,
            },
        },
        // It was reaped at an earlier look, and its child had not ended then.
        Err(_) => sys::try_reap(inside),
    }
}

/// Reaps what a killed nsjail left behind while its child had no session of its own yet, and so was in its process group.
///
/// The kernel kills that child, or it finds that nobody waits for it, and ends; what is not gone yet is found as a stray.
pub fn reap_left_behind(nsjail: Pid) {
    while let Ok(Some(_)) = sys::try_reap(Pid::from_raw(-nsjail.as_raw())) {}
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
    use crate::jail::Ids;

    #[test]
    fn every_word_to_fill_in_is_known() {
        let plan = crate::jail::Plan {
            level: crate::level::Level::Nsjail,
            root: PathBuf::from("/a \"b\"\\c\n"),
            stdlib: PathBuf::from("/usr/lib/python3.11"),
            packages: Some(PathBuf::from("/packages of mine")),
            ids: Ids::Range { first: 1000, count: 10 },
            counting: crate::jail::Counting::Alone,
            paths: crate::jail::Paths { chroot: false, landlock: false, beneath: false },
            parentage: crate::jail::Parentage::Sibling,
            joining: crate::jail::Joining::No,
            tmp_bytes: 4096,
            tmp_inodes: Some(TMP_INODES),
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
        assert!(POLICY.contains(&format!("pass_fd: {}\n", handover::PROC)));
    }

    #[test]
    fn complaints_become_one_line() {
        let told = "[W][2026-01-01T00:00:00+0000][1] mountPt():220 mount('/a' -> '/b'): Permission denied\n\
                    [I][2026-01-01T00:00:00+0000][1] main():1 started\n\
                    [E][2026-01-01T00:00:00+0000][1] initCloneNs():380 Failed\n\
                    child: error while loading shared libraries\n";
        let expected = "mount('/a' -> '/b'): Permission denied; Failed; child: error while loading shared libraries";
        assert_eq!(in_one_line(told).as_deref(), Some(expected));
        assert_eq!(in_one_line(&told[..told.find("[I]").unwrap()]), None);
        assert_eq!(in_one_line(""), None);
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
