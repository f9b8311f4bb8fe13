//! What must be refused of the calls that are allowed by their arguments, for each argument. Written from what the kernel
//! would do with it, and on purpose not from the policy: a rule that became too wide does not take these with it.

use crate::compiler::{Filter, VARIANTS};
use crate::fates::{Call, Mode, fates};
use crate::{Test, Verdict, test};
use libc::{EACCES, ENOSYS, ENOTTY, EPERM};
use mayfly::jail::filter::{BENEATH, FULL, Fate, Policy};
use mayfly::sys::beneath;

/// One system call that is allowed with some arguments.
struct Refusals {
    name: &'static str,
    number: libc::c_long,
    errno: i32,
    /// The arguments that must not pass, under every policy.
    never: fn() -> Vec<[u64; 6]>,
    /// How much of each argument that matters the kernel reads. Of an int it reads the lower half, so that whatever
    /// is in the upper one must change nothing.
    width: Width,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Int,
    Long,
}

/// An address like any other, above those that the policy `beneath` refuses whatever is asked.
const ANYTHING: u64 = 0x1000_0000;

const REFUSALS: &[Refusals] = &[
    Refusals { name: "mmap", number: libc::SYS_mmap, errno: EPERM, never: mmap, width: Width::Long },
    Refusals { name: "mprotect", number: libc::SYS_mprotect, errno: EPERM, never: mprotect, width: Width::Long },
    Refusals { name: "mremap", number: libc::SYS_mremap, errno: EPERM, never: mremap, width: Width::Long },
    Refusals { name: "futex", number: libc::SYS_futex, errno: ENOSYS, never: futex, width: Width::Int },
    Refusals { name: "clone", number: libc::SYS_clone, errno: EPERM, never: clone, width: Width::Long },
    Refusals {
        name: "sched_getaffinity",
        number: libc::SYS_sched_getaffinity,
        errno: ENOSYS,
        never: || first([1, 2, -1]),
        width: Width::Int,
    },
    Refusals { name: "clock_gettime", number: libc::SYS_clock_gettime, errno: EPERM, never: clocks, width: Width::Int },
    Refusals { name: "clock_getres", number: libc::SYS_clock_getres, errno: EPERM, never: clocks, width: Width::Int },
    Refusals {
        name: "clock_nanosleep",
        number: libc::SYS_clock_nanosleep,
        errno: EPERM,
        // The processor clocks, those since boot, and those that wake a machine.
        never: || [clocks(), first([2, 3, 4, 7, 8, 9, 11])].concat(),
        width: Width::Int,
    },
    Refusals { name: "fcntl", number: libc::SYS_fcntl, errno: EPERM, never: fcntl, width: Width::Int },
    Refusals { name: "fcntl-flags", number: libc::SYS_fcntl, errno: EPERM, never: file_flags, width: Width::Int },
    Refusals { name: "ioctl", number: libc::SYS_ioctl, errno: ENOTTY, never: ioctl, width: Width::Int },
    Refusals {
        name: "socketpair",
        number: libc::SYS_socketpair,
        errno: EPERM,
        // No family, IPv4, IPv6, netlink, packet, TIPC, AF_ALG, vsock, XDP.
        never: || [0, 2, 10, 16, 17, 30, 38, 40, 44, -1].map(|family| [int(family), 1, 0, ANYTHING, 0, 0]).into(),
        width: Width::Int,
    },
    Refusals {
        name: "socketpair-flags",
        number: libc::SYS_socketpair,
        errno: EPERM,
        // Any bit that is no type, SOCK_NONBLOCK or SOCK_CLOEXEC.
        never: || {
            let others = (3..32).map(|bit| 1 << bit).filter(|bit| ![0x800, 0x8_0000].contains(bit));
            others.flat_map(|bit| [1 | bit, 1 | 0x8_0800 | bit]).map(|kind| [1, kind, 0, ANYTHING, 0, 0]).collect()
        },
        width: Width::Int,
    },
    Refusals { name: "sendto", number: libc::SYS_sendto, errno: EPERM, never: sendto_flags, width: Width::Int },
    Refusals {
        name: "sendto-address",
        number: libc::SYS_sendto,
        errno: EPERM,
        never: || each_bit().map(|address| [0, ANYTHING, 1, 0, address, 16]).collect(),
        width: Width::Long,
    },
    Refusals {
        name: "recvfrom",
        number: libc::SYS_recvfrom,
        errno: EPERM,
        // Out-of-band, a look ahead, the real length, ancillary data, the error queue, descriptors closed on exec, zero copy.
        never: || {
            [0x1, 0x2, 0x20, 0x8, 0x2000, 0x4000_0000, 0x0400_0000].map(|flags| [0, ANYTHING, 1, flags, 0, 0]).into()
        },
        width: Width::Int,
    },
];

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for policy in VARIANTS {
        for refusals in REFUSALS {
            let name = format!("refusals::{}::{}", policy.name, refusals.name);
            tests.push(test(name, || refused(&policy.filter.to_vec(), refusals)));
        }
        tests.push(test(format!("refusals::{}::openat", policy.name), || open_refused(policy.name, policy.filter)));
        tests.push(test(format!("refusals::{}::locks", policy.name), || locks(policy)));
    }
    tests.push(test("refusals::beneath::terms", || terms_refused(BENEATH.filter)));
    tests.extend(CHANGES.map(|name| {
        test(format!("refusals::beneath::{name}-of-the-terms"), move || changes_refused(BENEATH.filter, name))
    }));
    tests
}

/// The tests that this filter, in place of the policy's own, makes fail.
pub fn red(filter: &Filter, policy: &str) -> Vec<String> {
    let refusals = REFUSALS.iter().map(|refusals| (refusals.name, refused(filter, refusals)));
    let mut verdicts: Vec<(String, Verdict)> =
        refusals.chain([("openat", open_refused(policy, filter))]).map(|(name, red)| (name.to_owned(), red)).collect();
    if policy == BENEATH.name {
        verdicts.push(("terms".to_owned(), terms_refused(filter)));
        verdicts.extend(CHANGES.map(|name| (format!("{name}-of-the-terms"), changes_refused(filter, name))));
    }
    verdicts.into_iter().filter(|(_, verdict)| verdict.is_err()).map(|(name, _)| format!("refusals: {name}")).collect()
}

fn refused(filter: &Filter, refusals: &Refusals) -> Verdict {
    let mut all = (refusals.never)();
    if refusals.width == Width::Int {
        let upper = |args: &[u64; 6]| args.map(|arg| if arg == ANYTHING { arg } else { arg ^ 0xffff_ffff_0000_0000 });
        all.extend(all.iter().map(upper).collect::<Vec<_>>());
    }
    expect(filter, refusals.number, &all, Fate::Errno(refusals.errno))
}

fn expect(filter: &[libc::sock_filter], number: libc::c_long, arguments: &[[u64; 6]], fate: Fate) -> Verdict {
    let calls: Vec<_> = arguments.iter().map(|args| Call::new(number, *args)).collect();
    let met = fates(Mode::Witnessed, &[filter.to_vec()], &calls)?;
    let wrong: Vec<_> = calls
        .iter()
        .zip(met)
        .filter(|(_, met)| *met != fate)
        .map(|(call, met)| format!("{:x?}: {met:?}", call.args))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn each_bit() -> impl Iterator<Item = u64> {
    (0..u64::BITS).map(|bit| 1 << bit)
}

/// An int in a register, the upper half of which nobody reads.
fn int(value: i32) -> u64 {
    u32::from_ne_bytes(value.to_ne_bytes()).into()
}

/// These as the first argument.
fn first<const N: usize>(values: [i32; N]) -> Vec<[u64; 6]> {
    values.iter().map(|value| [int(*value), ANYTHING, ANYTHING, ANYTHING, 0, 0]).collect()
}

const READ: u64 = 1;
const WRITE: u64 = 2;
const EXEC: u64 = 4;

fn mmap() -> Vec<[u64; 6]> {
    const SHARED: u64 = 1;
    const PRIVATE: u64 = 2;
    const FIXED: u64 = 0x10;
    const ANONYMOUS: u64 = 0x20;
    const HUGETLB: u64 = 0x40000;
    let map = |protection, flags| [0, ANYTHING, protection, flags, 5, 0];
    let mut all = Vec::new();
    // Writable and executable, from nowhere and from a file; executable from nowhere.
    for flags in [PRIVATE, SHARED, PRIVATE | FIXED] {
        for protection in [READ | WRITE | EXEC, WRITE | EXEC] {
            all.extend([map(protection, flags), map(protection, flags | ANONYMOUS)]);
        }
        all.extend([map(READ | EXEC, flags | ANONYMOUS), map(EXEC, flags | ANONYMOUS)]);
        // Huge pages, which the machine has a fixed number of.
        for protection in [0, READ, READ | WRITE, READ | EXEC] {
            all.extend([map(protection, flags | HUGETLB), map(protection, flags | ANONYMOUS | HUGETLB)]);
        }
    }
    // Shared memory of no file, whose pages no limit counts, by both names of it, with any other flag.
    for kind in [SHARED, SHARED | PRIVATE] {
        for more in each_bit().chain([0]) {
            all.extend([0, READ, READ | WRITE, READ | EXEC].map(|with| map(with, kind | ANONYMOUS | more)));
        }
    }
    // Any other bit of the protection, PROT_SEM and PROT_GROWSDOWN among them, in both halves. One is aarch64's PROT_BTI.
    for bit in each_bit().filter(|bit| READ | WRITE | EXEC != *bit | (READ | WRITE | EXEC) & !bit) {
        all.extend([map(READ | WRITE | bit, PRIVATE | ANONYMOUS), map(READ | WRITE | bit, SHARED)]);
        if bit != 0x10 {
            all.push(map(READ | EXEC | bit, PRIVATE));
        }
    }
    all
}

fn mprotect() -> Vec<[u64; 6]> {
    let others = each_bit().filter(|bit| *bit > WRITE);
    others.flat_map(|bit| [0, READ, READ | WRITE].map(|with| [ANYTHING, ANYTHING, bit | with, 0, 0, 0])).collect()
}

fn mremap() -> Vec<[u64; 6]> {
    const MAYMOVE: u64 = 1;
    let moved = |flags| [ANYTHING, ANYTHING, ANYTHING, flags, ANYTHING, 0];
    let others = each_bit().filter(|bit| *bit != MAYMOVE);
    others.flat_map(|bit| [moved(bit), moved(bit | MAYMOVE)]).chain([moved(0)]).collect()
}

fn futex() -> Vec<[u64; 6]> {
    const PRIVATE: u64 = 0x80;
    const REALTIME: u64 = 0x100;
    let on = |operation| [ANYTHING, operation, 1, 0, 0, 0];
    let mut all = Vec::new();
    // FD, REQUEUE, CMP_REQUEUE, WAKE_OP, LOCK_PI, UNLOCK_PI, TRYLOCK_PI, WAKE_BITSET, WAIT_REQUEUE_PI, CMP_REQUEUE_PI, LOCK_PI2
    // and what may come.
    for command in [2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 0x7f] {
        all.extend([on(command), on(command | PRIVATE), on(command | PRIVATE | REALTIME)]);
    }
    // Waking who waits on a shared page.
    all.extend([on(1), on(1 | REALTIME), on(1 | PRIVATE | REALTIME)]);
    // Flags that do not exist.
    for bit in (9..32).map(|bit| 1 << bit) {
        all.extend([on(bit), on(bit | PRIVATE | 1), on(bit | PRIVATE | 9)]);
    }
    all
}

/// `pthread_create`'s flags with any one bit more or less, and what makes processes and namespaces.
fn clone() -> Vec<[u64; 6]> {
    const THREAD: u64 = 0x3d_0f00;
    const SIGCHLD: u64 = 17;
    const NAMESPACES: [u64; 8] =
        [0x80, 0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
    let cloned = |flags| [flags, ANYTHING, 0, 0, 0, 0];
    let nearly = each_bit().map(|bit| cloned(THREAD ^ bit));
    let namespaces = NAMESPACES.iter().map(|namespace| cloned(namespace | SIGCHLD));
    nearly.chain(namespaces).chain([cloned(0), cloned(SIGCHLD), cloned(0x4100 | SIGCHLD)]).collect()
}

/// Clocks of other processes and of devices, and those that may come.
fn clocks() -> Vec<[u64; 6]> {
    let processor_time_of = |process: i32| !process << 3 | 2;
    let device = |descriptor: i32| !descriptor << 3 | 3;
    let thread_of = |thread: i32| !thread << 3 | 6;
    first([
        processor_time_of(1),
        processor_time_of(2),
        processor_time_of(0),
        thread_of(1),
        device(0),
        device(3),
        -1,
        16,
        17,
        0x100,
        i32::MAX,
        i32::MIN,
    ])
}

fn fcntl() -> Vec<[u64; 6]> {
    const OTHERS: [u64; 28] = [
        0,    // F_DUPFD
        5,    // F_GETLK
        7,    // F_SETLKW
        8,    // F_SETOWN: whom SIGIO goes to
        9,    // F_GETOWN
        10,   // F_SETSIG
        11,   // F_GETSIG
        15,   // F_SETOWN_EX
        16,   // F_GETOWN_EX
        17,   // F_GETOWNER_UIDS
        36,   // F_OFD_GETLK
        37,   // F_OFD_SETLK
        38,   // F_OFD_SETLKW
        1024, // F_SETLEASE
        1025, // F_GETLEASE
        1026, // F_NOTIFY
        1027, // F_DUPFD_QUERY
        1028, // F_CREATED_QUERY
        1029, // F_CANCELLK
        1031, // F_SETPIPE_SZ
        1032, // F_GETPIPE_SZ
        1033, // F_ADD_SEALS
        1034, // F_GET_SEALS
        1035, // F_GET_RW_HINT
        1036, // F_SET_RW_HINT
        1037, // F_GET_FILE_RW_HINT
        1038, // F_SET_FILE_RW_HINT
        1039, // F_GETDELEG
    ];
    let bits = (0..32).map(|bit| 1 << bit).filter(|bit| ![1, 2, 4].contains(bit));
    OTHERS.into_iter().chain(bits).flat_map(|command| [ANYTHING, 0].map(|arg| [5, command, arg, 0, 0, 0])).collect()
}

/// A file's flags other than those that Python sets, and those that the kernel leaves as they are: `O_DIRECT`, `O_NOATIME` and
/// `O_ASYNC` among them.
fn file_flags() -> Vec<[u64; 6]> {
    const APPEND: i32 = libc::O_APPEND;
    const NONBLOCK: i32 = libc::O_NONBLOCK;
    // The kernel's own, which it adds to what a program asks for; glibc's is 0.
    const LARGEFILE: i32 = if cfg!(target_arch = "aarch64") { 0x2_0000 } else { 0x8000 };
    const KEPT: [i32; 6] =
        [libc::O_ACCMODE, LARGEFILE, libc::O_DIRECTORY, libc::O_NOFOLLOW, libc::O_CLOEXEC, libc::O_TMPFILE];
    let harmless = KEPT.iter().fold(APPEND | NONBLOCK, |all, one| all | one);
    let others = (0..32).map(|bit| 1 << bit).filter(|bit| harmless & bit == 0);
    let set = |flags: i32| [5, libc::F_SETFL.unsigned_abs().into(), int(flags), 0, 0, 0];
    others.flat_map(|bit| [set(bit), set(bit | NONBLOCK), set(bit | NONBLOCK | LARGEFILE | libc::O_RDWR)]).collect()
}

fn ioctl() -> Vec<[u64; 6]> {
    const FIONBIO: u64 = 0x5421;
    const OTHERS: [u64; 12] = [
        0x5401,      // TCGETS
        0x5402,      // TCSETS
        0x540e,      // TIOCSCTTY
        0x5412,      // TIOCSTI: types into a terminal
        0x541c,      // TIOCLINUX: pastes into a console
        0x541b,      // FIONREAD
        0x5452,      // FIOASYNC
        0x8905,      // SIOCATMARK
        0x8915,      // SIOCGIFADDR
        0x4004_9409, // FICLONE
        0x4008_6602, // FS_IOC_SETFLAGS
        0xc020_660b, // FS_IOC_FIEMAP
    ];
    let nearly = (0..32).map(|bit| FIONBIO ^ 1 << bit);
    OTHERS.into_iter().chain(nearly).map(|request| [5, request, ANYTHING, 0, 0, 0]).collect()
}

/// All but `MSG_DONTWAIT` and `MSG_NOSIGNAL`; `MSG_OOB` is the first.
fn sendto_flags() -> Vec<[u64; 6]> {
    let others = (0..32).map(|bit| 1 << bit).filter(|bit| ![0x40, 0x4000].contains(bit));
    others.flat_map(|bit| [bit, bit | 0x40, bit | 0x4000]).map(|flags| [5, ANYTHING, 1, flags, 0, 0]).collect()
}

/// What a file must not be opened for.
fn open_refused(policy: &str, filter: &[libc::sock_filter]) -> Verdict {
    let open = |flags: i32| [int(libc::AT_FDCWD), ANYTHING, int(flags), 0o600, 0, 0];
    let path_only = [libc::O_PATH, libc::O_PATH | libc::O_DIRECTORY, libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC];
    let to_change = [
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_CREAT,
        libc::O_TRUNC,
        libc::O_CREAT | libc::O_EXCL,
        libc::O_TMPFILE,
        libc::O_TMPFILE | libc::O_RDWR,
        libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC,
        libc::O_WRONLY | libc::O_APPEND,
    ];
    // Those that nobody asks for: what a read waits for the disk by, what has a signal sent, what leaves no trace.
    let unlisted = [
        libc::O_WRONLY | libc::O_RDWR,
        libc::O_DIRECT,
        libc::O_DIRECT | libc::O_CLOEXEC,
        libc::O_DIRECT | libc::O_RDWR | libc::O_CREAT,
        libc::O_DSYNC,
        libc::O_SYNC,
        libc::O_SYNC | libc::O_WRONLY,
        libc::O_SYNC & !libc::O_DSYNC,
        libc::O_ASYNC,
        libc::O_NOATIME,
        0o4,
        0o10,
        0o20,
        0o40,
        1 << 23,
        1 << 24,
        1 << 30,
        i32::MIN,
    ];
    let to_read = [libc::O_RDONLY, libc::O_RDONLY | libc::O_CLOEXEC, libc::O_DIRECTORY];
    let refused: &[&[i32]] = match policy {
        "full" => &[&path_only, &unlisted],
        "read_only" | "beneath" => &[&path_only, &unlisted, &to_change],
        _ => &[&path_only, &unlisted, &to_change, &to_read],
    };
    let all = |flags: &[i32]| {
        let lower: Vec<_> = flags.iter().copied().map(open).collect();
        let upper = lower
            .iter()
            .map(|args| args.map(|arg| if arg == ANYTHING { arg } else { arg | 0xffff_ffff_0000_0000 }))
            .collect();
        [lower, upper].concat()
    };
    expect(filter, libc::SYS_openat, &all(&refused.concat()), Fate::Errno(EACCES))?;
    if policy == BENEATH.name {
        expect(filter, libc::SYS_openat, &all(&to_read), Fate::Trap)?;
        let about = [[int(libc::AT_FDCWD), ANYTHING, ANYTHING, 0, 0, 0], [0, ANYTHING, ANYTHING, 0x1000, 0, 0]];
        expect(filter, libc::SYS_newfstatat, &about, Fate::Trap)?;
    }
    Ok(())
}

/// `sizeof(struct open_how)`.
const SIZE: u64 = 0x18;

/// `openat2` on any terms but those that nobody can change.
fn terms_refused(filter: &[libc::sock_filter]) -> Verdict {
    let on = |terms: u64, size: u64| [int(libc::AT_FDCWD), ANYTHING, terms, size, 0, 0];
    // Which of the four sets it is are two bits.
    let elsewhere = each_bit().filter(|bit| ![0x20, 0x40].contains(bit)).map(|bit| on(LAID_DOWN ^ bit, SIZE));
    let longer = each_bit().map(|bit| on(LAID_DOWN, SIZE ^ bit));
    let others = [on(0, SIZE), on(ANYTHING, SIZE), on(LAID_DOWN + 0x80, SIZE), on(LAID_DOWN, 0), on(LAID_DOWN, 4096)];
    let all: Vec<_> = elsewhere.chain(longer).chain(others).collect();
    expect(filter, libc::SYS_openat2, &all, Fate::Errno(EACCES))
}

/// Whatever would change what is mapped where the terms are. A range that holds them begins with them or below.
fn changes_refused(filter: &[libc::sock_filter], name: &str) -> Verdict {
    const FIXED: u64 = 0x10;
    const PRIVATE_ANONYMOUS: u64 = 0x22;
    const LONG: u64 = 1 << 46;
    let (number, with): (_, fn(u64, u64) -> [u64; 6]) = match name {
        "mmap" => (libc::SYS_mmap, |at, long| [at, long, READ | WRITE, PRIVATE_ANONYMOUS | FIXED, u64::MAX, 0]),
        "munmap" => (libc::SYS_munmap, |at, long| [at, long, 0, 0, 0, 0]),
        "mprotect" => (libc::SYS_mprotect, |at, long| [at, long, READ | WRITE, 0, 0, 0]),
        _ => (libc::SYS_mremap, |at, long| [at, long, 0x2000, 1, 0, 0]),
    };
    let mut all = Vec::new();
    for at in [0, 0x1000, 0x1_0000, LAID_DOWN - 0x1000, LAID_DOWN, LAID_DOWN + 0x20, 0x1f_ffff] {
        all.extend([0x1000, 0x20_0000, LONG, u64::MAX].map(|long| with(at, long)));
        if name != "mmap" {
            // aarch64 takes the upper byte for a tag; mmap alone does not.
            all.extend([with(at | 0x0100_0000_0000_0000, 0x1000), with(at | 0xff00_0000_0000_0000, 0x1000)]);
        }
    }
    expect(filter, number, &all, Fate::Errno(EPERM))
}

const CHANGES: [&str; 4] = ["mmap", "munmap", "mprotect", "mremap"];

const LAID_DOWN: u64 = beneath::TERMS as u64;

/// The one lock that is answered, and only where a job has files of its own.
fn locks(policy: &Policy) -> Verdict {
    let fate = if policy.name == FULL.name { Fate::Errno(0) } else { Fate::Errno(EPERM) };
    let lock = [5, libc::F_SETLK.unsigned_abs().into(), ANYTHING, 0, 0, 0];
    expect(policy.filter, libc::SYS_fcntl, &[lock], fate)?;
    expect(policy.filter, libc::SYS_flock, &[[5, 2, 0, 0, 0, 0], [5, 6, 0, 0, 0, 0]], Fate::Errno(EPERM))
}
