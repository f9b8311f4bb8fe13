//! What must work inside: for each allowed call, and for each case under which one is allowed, something that breaks
//! without it. `mutants` takes them away one at a time to see that this is so.
//!
//! Each need prepares what it works with, lets the filter be installed, and then does what an interpreter or its libraries
//! do, through the same libc where that is what makes the call, and by number where libc would choose by its version.

use crate::child::{self, Patience, Sheet};
use crate::compiler::{Filter, VARIANTS};
use crate::fates::{Call, raw};
use crate::{Test, Verdict, test};
use libc::{c_int, c_long, c_void};
use mayfly::jail::filter::Policy;
use mayfly::sys::{self, How, beneath};
use nix::errno::Errno;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Installs the filter.
type Enter<'a> = &'a dyn Fn() -> Verdict;

/// Something a script does.
pub struct Need {
    pub name: &'static str,
    /// The policies under which it works.
    pub under: Files,
    act: fn(Enter) -> Verdict,
}

/// What of the file system a need takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Files {
    /// None but what is open.
    None,
    /// Files that can be read.
    Reading,
    /// Files of its own.
    Writing,
}

impl Files {
    /// What a policy allows.
    pub fn of(policy: &str) -> Self {
        match policy {
            "full" => Self::Writing,
            "read_only" | "beneath" => Self::Reading,
            _ => Self::None,
        }
    }
}

const fn need(under: Files, name: &'static str, act: fn(Enter) -> Verdict) -> Need {
    Need { name, under, act }
}

pub const NEEDS: &[Need] = &[
    need(Files::None, "reads its job", reads),
    need(Files::None, "prints", prints),
    need(Files::None, "closes a file", closes),
    need(Files::None, "seeks in a file", seeks),
    need(Files::None, "asks what it has open", asks_what_is_open),
    need(Files::None, "names its working directory", names_its_directory),
    need(Files::None, "gets memory for large objects", gets_memory),
    need(Files::None, "maps a file to read it", maps_a_file),
    need(Files::None, "maps a file to change it", maps_a_file_to_change_it),
    need(Files::None, "maps a library's code", maps_code),
    need(Files::None, "gives memory back", gives_memory_back),
    need(Files::None, "grows a list in place", grows_in_place),
    need(Files::None, "guards the end of a stack", guards_a_stack),
    need(Files::None, "waits for a lock", waits_for_a_lock),
    need(Files::None, "waits for a lock until a time", waits_until),
    need(Files::None, "wakes who waits for a lock", wakes),
    need(Files::None, "runs threads and joins them", runs_threads),
    need(Files::None, ENDS, ends),
    need(Files::None, "knows its process id", knows_its_id),
    need(Files::None, "counts its processors", counts_processors),
    need(Files::None, "measures processor time", measures_processor_time),
    need(Files::None, "asks how fine a clock is", asks_how_fine),
    need(Files::None, "sleeps", sleeps),
    need(Files::None, "draws random numbers", draws),
    need(Files::None, "names the machine", names_the_machine),
    need(Files::None, "copies a descriptor", copies_a_descriptor),
    need(Files::None, "asks whether a descriptor is inherited", |enter| {
        flags(enter, libc::F_GETFD, 0, libc::FD_CLOEXEC)
    }),
    need(Files::None, "sets whether a descriptor is inherited", |enter| flags(enter, libc::F_SETFD, 0, 0)),
    need(Files::None, "asks whether a descriptor blocks", |enter| flags(enter, libc::F_GETFL, 0, libc::O_NONBLOCK)),
    need(Files::None, "sets whether a descriptor blocks", |enter| flags(enter, libc::F_SETFL, 0, 0)),
    need(Files::None, "sets a socket to not block", sets_to_not_block),
    need(Files::None, "makes an event loop's sockets", makes_sockets),
    need(Files::None, "wakes an event loop", wakes_a_loop),
    need(Files::None, "hears what woke an event loop", hears),
    need(Files::None, "polls", polls),
    need(Files::Reading, "opens a file", opens),
    need(Files::Reading, "asks about a file", asks_about_a_file),
    need(Files::Reading, "lists a directory", lists),
    need(Files::Reading, "reads at a place", reads_at_a_place),
    need(Files::Writing, "makes a file", makes_a_file),
    need(Files::Writing, "opens a file for reading and writing", opens_for_both),
    need(Files::Writing, "writes at a place", writes_at_a_place),
    need(Files::Writing, "shortens a file", shortens),
    need(Files::Writing, "makes a directory", makes_a_directory),
    need(Files::Writing, "removes a directory", removes_a_directory),
    need(Files::Writing, "removes a file", removes_a_file),
    need(Files::Writing, "works in another directory", works_elsewhere),
    need(Files::Writing, "renames a file", renames),
    need(Files::Writing, "changes a file's mode", changes_a_mode),
    need(Files::Writing, "sets a file's times", sets_times),
    need(Files::Writing, "locks a database of its own", locks_a_database),
];

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for policy in VARIANTS {
        for need in NEEDS.iter().filter(|need| need.under <= Files::of(policy.name)) {
            let name = format!("needs::{}::{}", policy.name, need.name.replace(' ', "-"));
            tests.push(test(name, || works(policy, need)));
        }
    }
    tests
}

fn works(policy: &Policy, need: &Need) -> Verdict {
    met(child::PATIENT, Sheet::new(), &policy.filter.to_vec(), need)
}

/// Whether the need is met under this filter.
pub fn met(patience: Patience, sheet: &Sheet, filter: &Filter, need: &Need) -> Verdict {
    let directory = PathBuf::from(format!("need-{}", unique()));
    fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let (how, verdict) = child::run(patience, sheet, || {
        std::env::set_current_dir(&directory).map_err(|error| error.to_string())?;
        (need.act)(&|| {
            prepare()?;
            sys::install_filter(filter).map_err(|errno| format!("the filter is refused: {errno}"))
        })
    });
    fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    match verdict {
        Some(verdict) if how == How::Exited(0) || verdict.is_err() => verdict,
        Some(_) if need.name == ENDS => Err(format!("it ended by {how:?}")),
        // The rest is no matter of this need.
        Some(verdict) => verdict,
        None => Err(format!("it ended by {how:?} on the way")),
    }
}

/// What the policy `beneath` asks of the process. Under the others nothing uses it.
fn prepare() -> Verdict {
    beneath::lay_down_terms().map_err(|errno| format!("the terms: {errno}"))?;
    beneath::answer(Vec::new()).map_err(|errno| format!("the handler: {errno}"))
}

/// The one need that is about how the child ends.
const ENDS: &str = "ends while its threads run";

fn unique() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// What a call returned, as libc has it: -1 and errno.
fn done(what: &str, result: impl TryInto<c_long>) -> Result<c_long, String> {
    match result.try_into() {
        Ok(-1) => Err(format!("{what}: {}", Errno::last())),
        Ok(result) => Ok(result),
        Err(_) => Err(format!("{what}: more than a long")),
    }
}

/// A system call by its number.
fn call(what: &str, number: c_long, args: [u64; 6]) -> Result<i64, String> {
    raw(&Call::new(number, args)).map_err(|errno| format!("{what}: {}", Errno::from_raw(errno)))
}

fn is(what: &str, holds: bool) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands its error over")]
fn words(error: impl ToString) -> String {
    error.to_string()
}

fn c(path: &str) -> CString {
    CString::new(path).expect("no NUL in it")
}

/// A file with ten bytes in it, open for both.
fn file() -> Result<File, String> {
    fs::write("file", "0123456789").map_err(words)?;
    File::options().read(true).write(true).open("file").map_err(words)
}

/// A pipe with one byte in it.
fn filled_pipe() -> Result<(OwnedFd, OwnedFd), String> {
    let (reader, writer) = nix::unistd::pipe().map_err(words)?;
    nix::unistd::write(&writer, b"!").map_err(words)?;
    Ok((reader, writer))
}

fn sockets() -> Result<(OwnedFd, OwnedFd), String> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()).map_err(words)
}

fn reads(enter: Enter) -> Verdict {
    let (reader, _writer) = filled_pipe()?;
    enter()?;
    let mut byte = [0];
    nix::unistd::read(&reader, &mut byte).map_err(words)?;
    is("another byte came", byte == *b"!")
}

fn prints(enter: Enter) -> Verdict {
    let (_reader, writer) = filled_pipe()?;
    enter()?;
    is("not all was written", nix::unistd::write(&writer, b"printed") == Ok(7))
}

fn closes(enter: Enter) -> Verdict {
    let fd = std::os::fd::IntoRawFd::into_raw_fd(file()?);
    enter()?;
    // SAFETY: nothing else owns the descriptor.
    done("close", unsafe { libc::close(fd) }).map(drop)
}

fn seeks(enter: Enter) -> Verdict {
    let file = file()?;
    enter()?;
    // SAFETY: it moves a file's position.
    let at = done("lseek", unsafe { libc::lseek(file.as_raw_fd(), -3, libc::SEEK_END) })?;
    is("another place", at == 7)
}

/// glibc asks by `newfstatat` before 2.39 and by `fstat` since, which the machine's version must not decide here.
fn asks_what_is_open(enter: Enter) -> Verdict {
    let file = file()?;
    // SAFETY: all zeroes are a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    enter()?;
    let address = (&raw mut stat).expose_provenance() as u64;
    call("fstat", libc::SYS_fstat, [file.as_raw_fd().unsigned_abs().into(), address, 0, 0, 0, 0])?;
    is("another size", stat.st_size == 10)
}

fn names_its_directory(enter: Enter) -> Verdict {
    enter()?;
    let mut buffer = [0u8; 4096];
    // SAFETY: the buffer is as long as is said.
    let name = unsafe { libc::getcwd(buffer.as_mut_ptr().cast(), buffer.len()) };
    is("getcwd is refused", !name.is_null() && buffer[0] == b'/')
}

fn map(length: usize, protection: c_int, flags: c_int, fd: c_int) -> Result<*mut c_void, String> {
    // SAFETY: without MAP_FIXED a new mapping overlaps nothing.
    let address = unsafe { libc::mmap(null_mut(), length, protection, flags, fd, 0) };
    if address == libc::MAP_FAILED { Err(format!("mmap: {}", Errno::last())) } else { Ok(address) }
}

fn gets_memory(enter: Enter) -> Verdict {
    enter()?;
    let address = map(1 << 20, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    // SAFETY: the page was just mapped for writing.
    unsafe { address.cast::<u8>().write_volatile(1) };
    Ok(())
}

fn maps_a_file(enter: Enter) -> Verdict {
    let file = file()?;
    enter()?;
    let address = map(10, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd())?;
    // SAFETY: the file has ten bytes.
    is("another byte", unsafe { address.cast::<u8>().read_volatile() } == b'0')
}

fn maps_a_file_to_change_it(enter: Enter) -> Verdict {
    let file = file()?;
    enter()?;
    let address = map(10, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file.as_raw_fd())?;
    // SAFETY: the file has ten bytes.
    unsafe { address.cast::<u8>().write_volatile(b'!') };
    let mut byte = [0];
    // SAFETY: the kernel writes one byte.
    done("read", unsafe { libc::read(file.as_raw_fd(), byte.as_mut_ptr().cast(), 1) })?;
    is("the file has not changed", byte == *b"!")
}

fn maps_code(enter: Enter) -> Verdict {
    let program = File::open("/proc/self/exe").map_err(words)?;
    enter()?;
    map(4096, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE, program.as_raw_fd()).map(drop)
}

/// Lets the address space grow by this much and no more.
fn limit_memory(more: u64) -> Verdict {
    let statm = fs::read_to_string("/proc/self/statm").map_err(words)?;
    let pages: u64 = statm.split(' ').next().and_then(|size| size.parse().ok()).ok_or("no size in statm")?;
    // SAFETY: it takes a name.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let limit = pages * page.unsigned_abs() + more;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, limit, limit).map_err(words)
}

const MIB: usize = 1 << 20;

fn gives_memory_back(enter: Enter) -> Verdict {
    limit_memory(512 << 20)?;
    enter()?;
    for _ in 0..16 {
        // SAFETY: the block is given back at once, and freeing null is nothing.
        let block = unsafe {
            let block = libc::malloc(64 * MIB);
            libc::free(block);
            block
        };
        is("the memory is used up", !block.is_null())?;
    }
    Ok(())
}

fn grows_in_place(enter: Enter) -> Verdict {
    limit_memory(512 << 20)?;
    enter()?;
    // SAFETY: the block is as long as is asked for.
    let grown = unsafe {
        let block = libc::malloc(256 * MIB);
        is("no block to begin with", !block.is_null())?;
        libc::realloc(block, 384 * MIB)
    };
    is("there is no room for a second copy", !grown.is_null())
}

fn guards_a_stack(enter: Enter) -> Verdict {
    let address = map(8192, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    enter()?;
    // SAFETY: the pages are this function's own.
    done("mprotect", unsafe { libc::mprotect(address, 4096, libc::PROT_NONE) }).map(drop)
}

fn futex(word: &AtomicU32, operation: c_int, value: u32, deadline: *const libc::timespec) -> Result<i64, i32> {
    let args = [
        word.as_ptr().expose_provenance() as u64,
        operation.unsigned_abs().into(),
        value.into(),
        deadline.expose_provenance() as u64,
        0,
        u32::MAX.into(),
    ];
    raw(&Call::new(libc::SYS_futex, args))
}

/// Executed, it says that the word has changed meanwhile.
fn waits_for_a_lock(enter: Enter) -> Verdict {
    let word = AtomicU32::new(0);
    enter()?;
    for operation in [libc::FUTEX_WAIT, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG] {
        let answer = futex(&word, operation, 1, null());
        is(&format!("futex {operation:#x}: {answer:?}"), answer == Err(libc::EAGAIN))?;
    }
    Ok(())
}

/// Executed, it says that the time is over.
fn waits_until(enter: Enter) -> Verdict {
    let word = AtomicU32::new(0);
    let past = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    enter()?;
    for clock in [0, libc::FUTEX_CLOCK_REALTIME] {
        let operation = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG | clock;
        let answer = futex(&word, operation, 0, &raw const past);
        is(&format!("futex {operation:#x}: {answer:?}"), answer == Err(libc::ETIMEDOUT))?;
    }
    Ok(())
}

fn wakes(enter: Enter) -> Verdict {
    let word = AtomicU32::new(0);
    enter()?;
    let answer = futex(&word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1, null());
    is(&format!("futex: {answer:?}"), answer == Ok(0))
}

extern "C" fn count(counter: *mut c_void) -> *mut c_void {
    // SAFETY: the counter outlives the threads, which are joined.
    unsafe { &*counter.cast::<AtomicU32>() }.fetch_add(1, Ordering::Relaxed);
    null_mut()
}

fn runs_threads(enter: Enter) -> Verdict {
    let counter = AtomicU32::new(0);
    enter()?;
    for _ in 0..3 {
        let mut thread = 0;
        let argument = counter.as_ptr().cast();
        // SAFETY: `count` takes what it is given here.
        let made = unsafe { libc::pthread_create(&raw mut thread, null(), count, argument) };
        is(&format!("pthread_create: {}", Errno::from_raw(made)), made == 0)?;
        // SAFETY: the thread was just made, and is joined once.
        is("pthread_join", unsafe { libc::pthread_join(thread, null_mut()) } == 0)?;
    }
    is("not all ran", counter.load(Ordering::Relaxed) == 3)
}

/// Without `exit_group` libc ends the calling thread, and the process goes on.
fn ends(enter: Enter) -> Verdict {
    extern "C" fn outlive(_: *mut c_void) -> *mut c_void {
        // Nothing that works takes so long.
        std::thread::sleep(Duration::from_secs(2));
        child::die()
    }
    let mut thread = 0;
    // SAFETY: the thread takes no argument.
    let made = unsafe { libc::pthread_create(&raw mut thread, null(), outlive, null_mut()) };
    is(&format!("pthread_create: {}", Errno::from_raw(made)), made == 0)?;
    enter()
}

fn knows_its_id(enter: Enter) -> Verdict {
    let before = nix::unistd::getpid();
    enter()?;
    is("another id", nix::unistd::getpid() == before)
}

fn counts_processors(enter: Enter) -> Verdict {
    enter()?;
    // SAFETY: all zeroes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is as long as is said.
    done("sched_getaffinity", unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) })?;
    // SAFETY: it reads the set.
    is("no processor", unsafe { libc::CPU_COUNT(&set) } > 0)
}

fn measures_processor_time(enter: Enter) -> Verdict {
    enter()?;
    is("no time", mayfly::sys::own_cpu_time() > Duration::ZERO)
}

fn asks_how_fine(enter: Enter) -> Verdict {
    enter()?;
    let mut step = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec. No vDSO knows this clock.
    done("clock_getres", unsafe { libc::clock_getres(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut step) })?;
    is("a coarse clock", step.tv_sec == 0)
}

fn sleeps(enter: Enter) -> Verdict {
    const NAP: Duration = Duration::from_millis(2);
    enter()?;
    let nap = libc::timespec { tv_sec: 0, tv_nsec: NAP.subsec_nanos().into() };
    for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
        let before = Instant::now();
        // SAFETY: the kernel reads one timespec and writes none.
        let refused = unsafe { libc::clock_nanosleep(clock, 0, &raw const nap, null_mut()) };
        is(&format!("clock_nanosleep {clock}: {}", Errno::from_raw(refused)), refused == 0)?;
        is("it came back at once", before.elapsed() >= NAP)?;
    }
    Ok(())
}

/// By number: newer C libraries draw without a call where the vDSO can.
fn draws(enter: Enter) -> Verdict {
    enter()?;
    let mut drawn = [[0u8; 16]; 2];
    for numbers in &mut drawn {
        let address = numbers.as_mut_ptr().expose_provenance() as u64;
        is("too few", call("getrandom", libc::SYS_getrandom, [address, 16, 0, 0, 0, 0])? == 16)?;
    }
    is("the same twice", drawn[0] != drawn[1])
}

fn names_the_machine(enter: Enter) -> Verdict {
    enter()?;
    nix::sys::utsname::uname().map(drop).map_err(words)
}

fn copies_a_descriptor(enter: Enter) -> Verdict {
    let file = file()?;
    enter()?;
    // SAFETY: the new descriptor has no other owner.
    let copy = done("fcntl", unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) })?;
    is("the same", copy != c_long::from(file.as_raw_fd()))
}

fn flags(enter: Enter, command: c_int, argument: c_int, expected: c_int) -> Verdict {
    let (reader, _writer) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK).map_err(words)?;
    enter()?;
    // SAFETY: it reads or sets flags of a descriptor that is ours.
    let flags = done("fcntl", unsafe { libc::fcntl(reader.as_raw_fd(), command, argument) })?;
    is(&format!("flags {flags:#x}"), flags & !c_long::from(libc::O_LARGEFILE) == c_long::from(expected))
}

fn sets_to_not_block(enter: Enter) -> Verdict {
    let (near, _far) = sockets()?;
    enter()?;
    let on: c_int = 1;
    // SAFETY: the kernel reads one int.
    done("ioctl", unsafe { libc::ioctl(near.as_raw_fd(), libc::FIONBIO, &raw const on) })?;
    is("it would wait", nix::unistd::read(&near, &mut [0]) == Err(Errno::EAGAIN))
}

fn makes_sockets(enter: Enter) -> Verdict {
    enter()?;
    sockets().map(drop)
}

fn wakes_a_loop(enter: Enter) -> Verdict {
    let (near, _far) = sockets()?;
    enter()?;
    // SAFETY: the kernel reads one byte.
    done("send", unsafe { libc::send(near.as_raw_fd(), c"!".as_ptr().cast(), 1, libc::MSG_NOSIGNAL) }).map(drop)
}

fn hears(enter: Enter) -> Verdict {
    let (near, far) = sockets()?;
    nix::unistd::write(&far, b"!").map_err(words)?;
    enter()?;
    let mut byte = [0u8];
    // SAFETY: the kernel writes one byte.
    done("recv", unsafe { libc::recv(near.as_raw_fd(), byte.as_mut_ptr().cast(), 1, libc::MSG_DONTWAIT) })?;
    is("another byte", byte == *b"!")
}

fn polls(enter: Enter) -> Verdict {
    let (reader, _writer) = filled_pipe()?;
    enter()?;
    let mut watched = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd is given.
    is("nothing to read", done("poll", unsafe { libc::poll(&raw mut watched, 1, 0) })? == 1)
}

fn open(path: &str, flags: c_int) -> Result<c_int, String> {
    // SAFETY: the path ends with NUL, and the mode is given.
    let fd = done("open", unsafe { libc::open(c(path).as_ptr(), flags | libc::O_CLOEXEC, 0o600) })?;
    c_int::try_from(fd).map_err(words)
}

fn opens(enter: Enter) -> Verdict {
    file()?;
    enter()?;
    open("file", libc::O_RDONLY).map(drop)
}

fn asks_about_a_file(enter: Enter) -> Verdict {
    file()?;
    enter()?;
    let stat = nix::sys::stat::stat("file").map_err(words)?;
    is("another size", stat.st_size == 10)
}

fn lists(enter: Enter) -> Verdict {
    file()?;
    let directory = File::open(".").map_err(words)?;
    enter()?;
    let mut entries = [0u8; 1024];
    let args = [
        directory.as_raw_fd().unsigned_abs().into(),
        entries.as_mut_ptr().expose_provenance() as u64,
        entries.len() as u64,
        0,
        0,
        0,
    ];
    let length = call("getdents64", libc::SYS_getdents64, args)?;
    let entries = &entries[..usize::try_from(length).map_err(words)?];
    is("the file is not in it", entries.windows(4).any(|name| name == b"file"))
}

fn reads_at_a_place(enter: Enter) -> Verdict {
    let file = file()?;
    enter()?;
    let mut bytes = [0u8; 2];
    // SAFETY: the kernel writes two bytes.
    done("pread", unsafe { libc::pread(file.as_raw_fd(), bytes.as_mut_ptr().cast(), 2, 4) })?;
    is("other bytes", bytes == *b"45")
}

fn makes_a_file(enter: Enter) -> Verdict {
    enter()?;
    open("made", libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC).map(drop)
}

fn opens_for_both(enter: Enter) -> Verdict {
    enter()?;
    open("made", libc::O_RDWR | libc::O_CREAT).map(drop)
}

fn writes_at_a_place(enter: Enter) -> Verdict {
    let file = file()?;
    enter()?;
    // SAFETY: the kernel reads two bytes.
    done("pwrite", unsafe { libc::pwrite(file.as_raw_fd(), c"ab".as_ptr().cast(), 2, 4) }).map(drop)
}

fn shortens(enter: Enter) -> Verdict {
    let file = file()?;
    enter()?;
    nix::unistd::ftruncate(&file, 3).map_err(words)
}

fn makes_a_directory(enter: Enter) -> Verdict {
    enter()?;
    // SAFETY: the path ends with NUL.
    done("mkdir", unsafe { libc::mkdir(c("made").as_ptr(), 0o700) }).map(drop)
}

fn removes_a_directory(enter: Enter) -> Verdict {
    fs::create_dir("made").map_err(words)?;
    enter()?;
    // SAFETY: the path ends with NUL.
    done("rmdir", unsafe { libc::rmdir(c("made").as_ptr()) }).map(drop)
}

fn removes_a_file(enter: Enter) -> Verdict {
    file()?;
    enter()?;
    // SAFETY: the path ends with NUL.
    done("unlink", unsafe { libc::unlink(c("file").as_ptr()) }).map(drop)
}

fn works_elsewhere(enter: Enter) -> Verdict {
    fs::create_dir("made").map_err(words)?;
    enter()?;
    // SAFETY: the path ends with NUL.
    done("chdir", unsafe { libc::chdir(c("made").as_ptr()) }).map(drop)
}

fn renames(enter: Enter) -> Verdict {
    file()?;
    enter()?;
    // SAFETY: both paths end with NUL.
    done("rename", unsafe { libc::rename(c("file").as_ptr(), c("renamed").as_ptr()) }).map(drop)
}

fn changes_a_mode(enter: Enter) -> Verdict {
    file()?;
    enter()?;
    // SAFETY: the path ends with NUL.
    done("chmod", unsafe { libc::chmod(c("file").as_ptr(), 0o400) }).map(drop)
}

fn sets_times(enter: Enter) -> Verdict {
    file()?;
    enter()?;
    let times = [libc::timespec { tv_sec: 1, tv_nsec: 0 }; 2];
    // SAFETY: the path ends with NUL, and two timespecs are read.
    done("utimensat", unsafe { libc::utimensat(libc::AT_FDCWD, c("file").as_ptr(), times.as_ptr(), 0) }).map(drop)
}

/// As `SQLite` does: a lock on one byte, not waiting.
fn locks_a_database(enter: Enter) -> Verdict {
    let file = file()?;
    enter()?;
    let whole = write_lock();
    // SAFETY: the kernel would read one flock.
    done("fcntl", unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const whole) }).map(drop)
}

/// A write lock on a whole file.
pub fn write_lock() -> libc::flock {
    let kind = libc::c_short::try_from(libc::F_WRLCK).expect("a small number");
    libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 }
}
