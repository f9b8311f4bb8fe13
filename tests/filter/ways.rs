//! The classic ways round a filter, each closed: the calls it would take, made in earnest under the filter alone, and a
//! second time on top of a witness, which can't mistake the kernel's own refusal for the filter's.
//!
//! `seccomp/README.md` says of each what it is; `tests/attacks` tries them from Python, over HTTP, in the whole jail.

use crate::child::{self, PATIENT, Sheet};
use crate::compiler::VARIANTS;
use crate::fates::{Call, Mode, fates};
use crate::{Test, Verdict, needs, test};
use libc::{EACCES, ENOSYS, ENOTTY, EPERM};
use mayfly::jail::filter::{self, FULL, Fate, Policy};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

const REFUSED: Fate = Fate::Errno(EPERM);

struct Way {
    name: &'static str,
    calls: &'static [(Step, Fate)],
}

/// A system call by its name in `seccomp/syscalls.tsv`.
type Step = (&'static str, [u64; 6]);

const ALL_BITS: u64 = u64::MAX;

const WAYS: &[Way] = &[
    Way {
        name: "io_uring",
        calls: &[
            (("io_uring_setup", [8, 0, 0, 0, 0, 0]), REFUSED),
            (("io_uring_enter", [5, 1, 1, 0, 0, 0]), REFUSED),
            (("io_uring_register", [5, 0, 0, 0, 0, 0]), REFUSED),
            (("io_setup", [8, 0, 0, 0, 0, 0]), REFUSED),
            (("io_submit", [0, 1, 0, 0, 0, 0]), REFUSED),
        ],
    },
    Way {
        name: "splice",
        calls: &[
            (("splice", [0, 0, 1, 0, 1, 0]), REFUSED),
            (("tee", [0, 1, 1, 0, 0, 0]), REFUSED),
            (("vmsplice", [1, 0, 0, 0, 0, 0]), REFUSED),
            (("sendfile", [1, 0, 0, 1, 0, 0]), REFUSED),
            (("copy_file_range", [0, 0, 1, 0, 1, 0]), REFUSED),
        ],
    },
    Way {
        name: "memfd",
        calls: &[
            (("memfd_create", [0, 0, 0, 0, 0, 0]), REFUSED),
            (("memfd_secret", [0, 0, 0, 0, 0, 0]), REFUSED),
            (("execveat", [5, 0, 0, 0, 0x1000, 0]), REFUSED),
            (("execve", [0, 0, 0, 0, 0, 0]), REFUSED),
        ],
    },
    Way {
        name: "userfaultfd",
        calls: &[
            (("userfaultfd", [0, 0, 0, 0, 0, 0]), Fate::Kill),
            (("userfaultfd", [1, 0, 0, 0, 0, 0]), Fate::Kill),
            (("bpf", [0, 0, 0, 0, 0, 0]), Fate::Kill),
            (("perf_event_open", [0, 0, ALL_BITS, ALL_BITS, 0, 0]), Fate::Kill),
        ],
    },
    Way {
        name: "pkey",
        calls: &[
            (("pkey_alloc", [0, 0, 0, 0, 0, 0]), REFUSED),
            (("pkey_free", [1, 0, 0, 0, 0, 0]), REFUSED),
            (("pkey_mprotect", [0x1000, 0x1000, 7, ALL_BITS, 0, 0]), REFUSED),
        ],
    },
    Way {
        name: "executable-memory-by-another-door",
        calls: &[
            (("remap_file_pages", [0x1000, 0x1000, 0, 0, 0, 0]), REFUSED),
            (("shmat", [0, 0, 0o100_000, 0, 0, 0]), REFUSED),
            (("personality", [0x040_0000, 0, 0, 0, 0, 0]), REFUSED),
            (("personality", [0xffff_ffff, 0, 0, 0, 0, 0]), REFUSED),
            (("map_shadow_stack", [0, 0x1000, 1, 0, 0, 0]), REFUSED),
        ],
    },
    Way {
        name: "clone3",
        calls: &[
            (("clone3", [0, 0, 0, 0, 0, 0]), Fate::Errno(ENOSYS)),
            (("clone3", [0, 88, 0, 0, 0, 0]), Fate::Errno(ENOSYS)),
        ],
    },
    Way {
        name: "namespaces",
        calls: &[
            (("unshare", [0x1000_0000, 0, 0, 0, 0, 0]), Fate::Kill),
            (("setns", [0, 0, 0, 0, 0, 0]), Fate::Kill),
            (("mount", [0, 0, 0, 0, 0, 0]), Fate::Kill),
            (("fsopen", [0, 0, 0, 0, 0, 0]), Fate::Kill),
            (("open_tree", [ALL_BITS, 0, 1, 0, 0, 0]), Fate::Kill),
            (("move_mount", [ALL_BITS, 0, ALL_BITS, 0, 0, 0]), Fate::Kill),
            (("pivot_root", [0, 0, 0, 0, 0, 0]), Fate::Kill),
            (("chroot", [0, 0, 0, 0, 0, 0]), Fate::Kill),
        ],
    },
    Way {
        name: "vsock",
        calls: &[(("socket", [40, 1, 0, 0, 0, 0]), REFUSED), (("socketpair", [40, 1, 0, 0, 0, 0]), REFUSED)],
    },
    Way {
        name: "af_alg",
        calls: &[(("socket", [38, 5, 0, 0, 0, 0]), REFUSED), (("socketpair", [38, 5, 0, 0, 0, 0]), REFUSED)],
    },
    Way {
        name: "sockets",
        calls: &[
            (("socket", [1, 1, 0, 0, 0, 0]), REFUSED),
            (("socket", [2, 1, 0, 0, 0, 0]), REFUSED),
            (("socket", [10, 2, 0, 0, 0, 0]), REFUSED),
            (("socket", [16, 3, 0, 0, 0, 0]), REFUSED),
            (("socket", [17, 3, 0, 0, 0, 0]), REFUSED),
            (("connect", [3, 0, 0, 0, 0, 0]), REFUSED),
            (("accept4", [3, 0, 0, 0, 0, 0]), REFUSED),
        ],
    },
    Way {
        name: "descriptors-over-a-socket",
        calls: &[
            (("sendmsg", [3, 0, 0, 0, 0, 0]), REFUSED),
            (("sendmmsg", [3, 0, 1, 0, 0, 0]), REFUSED),
            (("recvmsg", [3, 0, 0, 0, 0, 0]), REFUSED),
            (("recvmmsg", [3, 0, 1, 0, 0, 0]), REFUSED),
            (("pidfd_getfd", [3, 0, 0, 0, 0, 0]), Fate::Kill),
        ],
    },
    Way {
        name: "keyrings",
        calls: &[
            (("keyctl", [0, ALL_BITS - 2, 0, 0, 0, 0]), Fate::Kill),
            (("add_key", [0, 0, 0, 0, ALL_BITS - 2, 0]), Fate::Kill),
            (("request_key", [0, 0, 0, 0, 0, 0]), Fate::Kill),
        ],
    },
    Way {
        name: "file-locks",
        calls: &[
            (("flock", [0, 6, 0, 0, 0, 0]), REFUSED),
            (("fcntl", [0, 5, 0, 0, 0, 0]), REFUSED),
            (("fcntl", [0, 7, 0, 0, 0, 0]), REFUSED),
            (("fcntl", [0, 37, 0, 0, 0, 0]), REFUSED),
            (("fcntl", [0, 38, 0, 0, 0, 0]), REFUSED),
            (("fcntl", [0, 1024, 0, 0, 0, 0]), REFUSED),
            (("fcntl", [0, 1026, 0, 0, 0, 0]), REFUSED),
        ],
    },
    Way {
        name: "system-v",
        calls: &[
            (("shmget", [0, 4096, 0o1600, 0, 0, 0]), REFUSED),
            (("shmctl", [0, 0, 0, 0, 0, 0]), REFUSED),
            (("semget", [0, 1, 0o1600, 0, 0, 0]), REFUSED),
            (("semop", [0, 0, 0, 0, 0, 0]), REFUSED),
            (("msgget", [0, 0o1600, 0, 0, 0, 0]), REFUSED),
            (("msgsnd", [0, 0, 0, 0, 0, 0]), REFUSED),
            (("msgrcv", [0, 0, 0, 0, 0, 0]), REFUSED),
        ],
    },
    Way {
        name: "posix-queues",
        calls: &[(("mq_open", [0, 0o102, 0o600, 0, 0, 0]), REFUSED), (("mq_unlink", [0, 0, 0, 0, 0, 0]), REFUSED)],
    },
    Way {
        name: "tiocsti",
        calls: &[
            (("ioctl", [0, 0x5412, 0, 0, 0, 0]), Fate::Errno(ENOTTY)),
            (("ioctl", [0, 0xffff_ffff_0000_5412, 0, 0, 0, 0]), Fate::Errno(ENOTTY)),
            (("ioctl", [0, 0x541c, 0, 0, 0, 0]), Fate::Errno(ENOTTY)),
        ],
    },
    Way {
        name: "page-cache",
        calls: &[
            (("mincore", [0x1000, 0x1000, 0, 0, 0, 0]), REFUSED),
            (("cachestat", [0, 0, 0, 0, 0, 0]), Fate::Errno(EACCES)),
            (("readahead", [0, 0, 4096, 0, 0, 0]), Fate::Errno(ENOSYS)),
            (("fadvise64", [0, 0, 0, 4, 0, 0]), Fate::Errno(ENOSYS)),
        ],
    },
    Way {
        name: "file-handles",
        calls: &[
            (("open_by_handle_at", [0, 0, 0, 0, 0, 0]), Fate::Kill),
            (("name_to_handle_at", [ALL_BITS, 0, 0, 0, 0, 0]), Fate::Kill),
            (("openat2", [ALL_BITS, 0, 0, 24, 0, 0]), Fate::Errno(EACCES)),
        ],
    },
    Way {
        name: "other-processes",
        calls: &[
            (("ptrace", [0, 0, 0, 0, 0, 0]), Fate::Kill),
            (("process_vm_readv", [1, 0, 0, 0, 0, 0]), Fate::Kill),
            (("process_vm_writev", [1, 0, 0, 0, 0, 0]), Fate::Kill),
            (("process_madvise", [0, 0, 0, 0, 0, 0]), Fate::Kill),
            (("kcmp", [1, 1, 0, 0, 0, 0]), Fate::Kill),
            (("pidfd_open", [1, 0, 0, 0, 0, 0]), REFUSED),
            (("kill", [1, 0, 0, 0, 0, 0]), REFUSED),
            (("tgkill", [1, 1, 0, 0, 0, 0]), REFUSED),
        ],
    },
    Way {
        name: "its-own-privileges",
        calls: &[
            // PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_MM, PR_SET_NO_NEW_PRIVS, PR_SET_SYSCALL_USER_DISPATCH.
            (("prctl", [4, 1, 0, 0, 0, 0]), REFUSED),
            (("prctl", [22, 0, 0, 0, 0, 0]), REFUSED),
            (("prctl", [35, 0, 0, 0, 0, 0]), REFUSED),
            (("prctl", [38, 0, 0, 0, 0, 0]), REFUSED),
            (("prctl", [59, 0, 0, 0, 0, 0]), REFUSED),
            (("seccomp", [2, 0, 0, 0, 0, 0]), REFUSED),
            (("prlimit64", [0, 7, 0, 0, 0, 0]), REFUSED),
            (("setrlimit", [7, 0, 0, 0, 0, 0]), REFUSED),
            (("setresuid", [0, 0, 0, 0, 0, 0]), REFUSED),
            (("setgroups", [0, 0, 0, 0, 0, 0]), REFUSED),
            (("capset", [0, 0, 0, 0, 0, 0]), REFUSED),
            (("landlock_restrict_self", [0, 0, 0, 0, 0, 0]), REFUSED),
        ],
    },
];

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for policy in VARIANTS {
        for way in WAYS {
            tests.push(test(format!("ways::{}::{}", policy.name, way.name), || closed(policy, way)));
        }
        tests.push(test(format!("ways::{}::no-id-is-told", policy.name), || no_id_is_told(policy)));
    }
    tests.push(test("ways::full::a-lock-that-is-answered-is-none", a_lock_that_is_answered_is_none));
    tests
}

/// Not all names have a number on every architecture.
fn number(name: &str) -> Option<u64> {
    let table = include_str!("../../seccomp/syscalls.tsv");
    let column = if cfg!(target_arch = "x86_64") { 1 } else { 2 };
    let line = table.lines().map(|line| line.split('\t').collect::<Vec<_>>()).find(|fields| fields[0] == name);
    line.unwrap_or_else(|| panic!("{name} is no system call"))[column].parse().ok()
}

fn closed(policy: &Policy, way: &Way) -> Verdict {
    let there: Vec<_> = way
        .calls
        .iter()
        .filter_map(|((name, args), fate)| Some((*name, Call { number: number(name)?, args: *args }, *fate)))
        .collect();
    let calls: Vec<_> = there.iter().map(|(_, call, _)| *call).collect();
    for mode in [Mode::Witnessed, Mode::Alone] {
        for ((name, call, expected), met) in there.iter().zip(fates(mode, &[policy.filter.to_vec()], &calls)?) {
            if met != *expected {
                return Err(format!("{name} {:x?}: {met:?}, not {expected:?}", call.args));
            }
        }
    }
    Ok(())
}

/// libc has no way to say that these failed: it hands on the error number as if it were an id. EPERM makes it -1, which no
/// user, group or process has, and which Python shows as -1. `umask`, which can't fail either, says 0.
fn no_id_is_told(policy: &'static Policy) -> Verdict {
    let (_, verdict) = child::run(PATIENT, Sheet::new(), || {
        filter::install(policy).map_err(|errno| errno.to_string())?;
        // SAFETY: none of them takes an argument.
        let told = unsafe { [libc::getuid(), libc::geteuid(), libc::getgid(), libc::getegid()] };
        // SAFETY: as above.
        let (parent, mask) = unsafe { (libc::getppid(), libc::umask(0)) };
        if told == [u32::MAX; 4] && parent == -1 && mask == 0 {
            Ok(())
        } else {
            Err(format!("{told:?}, {parent}, {mask}"))
        }
    });
    verdict.unwrap_or(Err("it came to no verdict".to_owned()))
}

/// The answer to `F_SETLK` at level full costs the kernel nothing, and no other process can see it.
fn a_lock_that_is_answered_is_none() -> Verdict {
    let words = |error: std::io::Error| error.to_string();
    fs::write("database", "0123456789").map_err(words)?;
    let (mut locked, told) = child::pipe()?;
    let (go, let_go) = child::pipe()?;
    let open = || File::options().read(true).write(true).open("database");
    // Opened by each for itself: closing any descriptor of a file ends all of a process's locks on it.
    let pid = child::fork(PATIENT, Sheet::new(), move || {
        let (file, mut told, mut go) = (open().map_err(words)?, told, go);
        filter::install(&FULL).map_err(|errno| errno.to_string())?;
        let whole = needs::write_lock();
        // SAFETY: the kernel would read one flock.
        let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const whole) };
        told.write_all(&[u8::from(answer == 0)]).map_err(words)?;
        go.read_exact(&mut [0]).map_err(words)
    });
    let mut answered = [0];
    locked.read_exact(&mut answered).map_err(words)?;
    let file = open().map_err(words)?;
    let mut whole = needs::write_lock();
    // SAFETY: the kernel reads and writes one flock.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut whole) };
    drop(let_go);
    mayfly::sys::reap(pid).map_err(|errno| errno.to_string())?;
    match (answered, asked, i32::from(whole.l_type)) {
        ([1], 0, libc::F_UNLCK) => Ok(()),
        other => Err(format!("{other:?}, with a lock of {}", whole.l_pid)),
    }
}
