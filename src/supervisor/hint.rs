//! What the sentence about an exception adds: what ran out, or what the jail refused and what works instead.
//!
//! Runs in the supervisor. The child says which function failed, and that is hostile text: it only chooses among the sentences
//! here. Python's own words are never looked at, so that no sentence is added to an error that a script made up.

use crate::job::Limits;
use crate::outcome::Cause;
use crate::size::ByteSize;
use nix::errno::Errno;

/// What scripts find where they run, as far as hints name it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The size of the private /tmp, or `None` where there is none.
    pub tmp: Option<ByteSize>,
    /// The most files in it.
    pub tmp_files: u64,
    /// The most threads.
    pub threads: u64,
    /// The largest result.
    pub result: ByteSize,
}

/// The addition, in parentheses and after a space, or nothing.
#[must_use]
pub fn hint(cause: &Cause, limits: &Limits, place: &Place) -> String {
    let text = match cause {
        Cause::Script => None,
        Cause::Memory { asked } => Some(memory(*asked, limits)),
        // On their way to a process these ask for a pipe.
        Cause::Call { inside, errno: libc::EPERM, .. }
            if inside.starts_with("subprocess.") || inside.starts_with("multiprocessing.popen") =>
        {
            Some(PROCESSES.to_owned())
        }
        Cause::Call { name, inside, errno } => {
            let errno = Errno::from_raw(*errno);
            of_call(name, errno, place).or_else(|| of_call(inside, errno, place)).or_else(|| of_error(errno, place))
        }
    };
    text.map_or_else(String::new, |text| format!(" ({text})"))
}

fn memory(asked: u64, limits: &Limits) -> String {
    let mebibytes = asked / ByteSize::mebibytes(1).0;
    let asked = if mebibytes == 0 { String::new() } else { format!("{mebibytes}MB were asked for, ") };
    format!("memory ran out: {asked}the limit is {}; limits.memory_mb sets it", limits.memory)
}

/// By the function's name, as Python modules give it.
fn of_call(name: &str, errno: Errno, place: &Place) -> Option<String> {
    const FILES: [&str; 9] = [
        "io.open",
        "_io.open",
        "_io.FileIO",
        "posix.open",
        "posix.mkdir",
        "posix.rename",
        "posix.replace",
        "posix.remove",
        "posix.unlink",
    ];
    let (module, function) = name.split_once('.')?;
    let refused = matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS | Errno::EROFS);
    let sentence = match (module, function) {
        ("_thread", "start_new_thread" | "start_joinable_thread") => {
            return Some(format!(
                "a script can have {} threads at once, its first included, and no setting changes that",
                place.threads
            ));
        }
        ("parser", "stack") => "the source is nested too deeply to be compiled",
        ("ctypes", "CFUNCTYPE") => "4,096 callbacks of C code can exist at once",
        ("tempfile", "_get_default_tempdir") if place.tmp.is_none() => NO_FILES,
        ("_sqlite3" | "sqlite3", "connect") if place.tmp.is_none() => {
            "no file can be written at this isolation level; connect to \":memory:\""
        }
        ("_socket" | "socket", _) | ("urllib", "request.urlopen") => "there is no network here",
        ("posix", "getloadavg") => "the machine's load is not told here",
        ("_multiprocessing", "SemLock") => {
            "there is one process here, and no semaphore between processes; the locks of threading work"
        }
        ("_posixshmem", _) => {
            "there is one process here, and no memory between processes; a bytearray serves all threads"
        }
        _ if !refused => return None,
        ("_posixsubprocess", _) => PROCESSES,
        ("posix", "pipe" | "pipe2") => {
            "pipes can't be made here; queue.Queue and socket.socketpair pass data between threads, and \
             concurrent.futures.ThreadPoolExecutor has a pool of them"
        }
        ("posix", call) if PROCESS_CALLS.contains(&call) => PROCESSES,
        ("_signal" | "signal", "setitimer" | "alarm") => {
            "there are no timers by signal here; threading.Timer works, and limits.wall_ms ends a script"
        }
        ("_signal" | "signal", _) => "scripts can't handle signals here",
        ("posix", "symlink" | "link") => "scripts can't make links here; copy the file",
        ("posix", "mkfifo" | "mknod") => "scripts can't make named pipes here; queue.Queue passes data between threads",
        ("posix", "chown" | "lchown" | "fchown") => "a file's owner can't be changed here",
        ("posix", "statvfs" | "fstatvfs") => {
            return Some(place.tmp.map_or_else(
                || "the room on a file system is not told here".to_owned(),
                |size| format!("the room on a file system is not told here; /tmp holds {size}"),
            ));
        }
        ("posix", "readlink") => "links can't be read here",
        ("posix", "listdir" | "scandir" | "stat" | "lstat") => "this path is not the script's to see",
        ("resource", _) => "the request's limits are the script's; they can't be read or set from inside",
        ("fcntl", "flock" | "lockf" | "fcntl") => "files can't be locked here, and no other process can open them",
        ("fcntl", "ioctl") => "there is no device here",
        ("mmap", "mmap") => "memory can't be shared or executed here; a private mapping works",
        ("select", _) => "select.poll works here",
        _ if FILES.contains(&name) => {
            return Some(place.tmp.map_or(NO_FILES, |_| "files can be written in /tmp only").to_owned());
        }
        _ => return None,
    };
    Some(sentence.to_owned())
}

const PROCESSES: &str = "scripts can't start or signal processes here";

const NO_FILES: &str = "no file can be written at this isolation level; io.BytesIO and io.StringIO hold data in memory";

const PROCESS_CALLS: [&str; 17] = [
    "fork",
    "forkpty",
    "fork1",
    "posix_spawn",
    "posix_spawnp",
    "execv",
    "execve",
    "system",
    "kill",
    "killpg",
    "wait",
    "wait3",
    "wait4",
    "waitpid",
    "waitid",
    "pidfd_open",
    "openpty",
];

/// By the error alone, where it means one limit only.
fn of_error(errno: Errno, place: &Place) -> Option<String> {
    match (errno, place.tmp) {
        (Errno::ENOSPC | Errno::EFBIG, Some(size)) => Some(format!(
            "/tmp holds at most {size} and {} files; the server's MAYFLY_TMP_MB sets the size",
            place.tmp_files
        )),
        (Errno::EMFILE, _) => Some(format!(
            "a script can have {} files open at once, and no setting changes that",
            crate::jail::OPEN_FILES
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMITS: Limits = Limits {
        wall: Duration::from_secs(5),
        cpu: Duration::from_secs(5),
        memory: ByteSize::mebibytes(256),
        output: ByteSize(65536),
    };

    fn of(cause: &Cause, tmp: Option<ByteSize>) -> String {
        hint(cause, &LIMITS, &Place { tmp, tmp_files: 1024, threads: 64, result: ByteSize::mebibytes(1) })
    }

    #[test]
    fn a_hint_is_of_the_call_and_its_error() {
        let call = |name: &str, inside: &str, errno: Errno| Cause::Call {
            name: name.to_owned(),
            inside: inside.to_owned(),
            errno: errno as i32,
        };
        let tmp = Some(ByteSize::mebibytes(16));
        assert!(of(&call("fcntl.flock", "", Errno::EPERM), tmp).contains("locked"));
        // What failed for a reason of its own is not the jail's.
        assert_eq!(of(&call("fcntl.flock", "", Errno::EBADF), tmp), "");
        assert_eq!(of(&call("io.open", "", Errno::ENOENT), tmp), "");
        assert_eq!(of(&call("io.open", "", Errno::EROFS), tmp), " (files can be written in /tmp only)");
        assert!(of(&call("io.open", "", Errno::EACCES), None).contains("isolation level"));
        assert_eq!(
            of(&call("io.open", "", Errno::ENOSPC), tmp),
            " (/tmp holds at most 16MB and 1024 files; the server's MAYFLY_TMP_MB sets the size)"
        );
        assert_eq!(of(&call("raise", "socket.create_connection", Errno::EPERM), tmp), " (there is no network here)");
        assert!(of(&call("posix.pipe", "subprocess.Popen._get_handles", Errno::EPERM), tmp).contains("processes"));
        assert!(of(&call("posix.pipe", "", Errno::EPERM), tmp).contains("pipes"));
        assert_eq!(of(&call("", "", Errno::EPERM), tmp), "");
        // A child may say anything.
        assert_eq!(of(&call("a.b.c", "d", Errno::EPERM), tmp), "");
        assert_eq!(of(&Cause::Script, tmp), "");
    }

    #[test]
    fn memory_names_the_limit_and_what_was_asked_for() {
        let asked = |asked| of(&Cause::Memory { asked }, None);
        assert_eq!(asked(0), " (memory ran out: the limit is 256MB; limits.memory_mb sets it)");
        let three = " (memory ran out: 300MB were asked for, the limit is 256MB; limits.memory_mb sets it)";
        assert_eq!(asked(300 << 20), three);
    }
}
