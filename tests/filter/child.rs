//! A forked child, and the memory it reports by: a child under a filter that may be wrong has no call to rely on.

use crate::Verdict;
use mayfly::sys::{self, How};
use nix::unistd::Pid;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The most answers that one child gives.
const ANSWERS: usize = 16_384;

/// The longest words that a child leaves, in bytes.
const WORDS: usize = 512;

/// What a child leaves behind: numbers, or a verdict in words.
#[repr(C)]
pub struct Sheet {
    answers: [AtomicU64; ANSWERS],
    /// 0: no verdict; 1: good; otherwise one more than the length of the words.
    verdict: AtomicUsize,
    words: [AtomicU64; WORDS / 8],
}

impl Sheet {
    /// An empty one, shared with every child forked from here on.
    pub fn new() -> &'static Self {
        // SAFETY: a new mapping overlaps nothing.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Self>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert!(address != libc::MAP_FAILED, "no memory to share with children");
        // SAFETY: the mapping is aligned to a page, as long as the type, zeroed, which is a valid value of each field, and is
        // never unmapped. What others write to it at the same time are atomics.
        unsafe { &*address.cast::<Self>() }
    }

    /// Writes an answer; 0 stands for none.
    pub fn answer(&self, index: usize, answer: u64) {
        self.answers[index].store(answer, Ordering::Release);
    }

    /// An answer, 0 where there is none. It is gone after this.
    pub fn take(&self, index: usize) -> u64 {
        self.answers[index].swap(0, Ordering::Acquire)
    }

    fn conclude(&self, verdict: &Verdict) {
        let length = match verdict {
            Ok(()) => 0,
            Err(words) => {
                for (slot, piece) in self.words.iter().zip(words.as_bytes().chunks(8)) {
                    let mut bytes = [0; 8];
                    bytes[..piece.len()].copy_from_slice(piece);
                    slot.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
                }
                words.len().clamp(1, WORDS)
            }
        };
        self.verdict.store(length + 1, Ordering::Release);
    }

    /// The verdict, if the child came to one. It is gone after this.
    fn take_verdict(&self) -> Option<Verdict> {
        let length = self.verdict.swap(0, Ordering::Acquire).checked_sub(1)?;
        if length == 0 {
            return Some(Ok(()));
        }
        let bytes: Vec<u8> = self.words.iter().flat_map(|slot| slot.load(Ordering::Relaxed).to_le_bytes()).collect();
        Some(Err(String::from_utf8_lossy(&bytes[..length]).into_owned()))
    }
}

/// How long a child may take. A thread that can't end spins, a lock that is never given sleeps.
#[derive(Clone, Copy)]
pub struct Patience {
    pub cpu: Duration,
    pub wall: Duration,
}

/// For what ends by itself, on a machine that is busy with something else.
pub const PATIENT: Patience = Patience { cpu: Duration::from_secs(10), wall: Duration::from_secs(60) };

/// For what is expected to fail, perhaps by never ending. Nothing that works takes a tenth of it.
pub const IMPATIENT: Patience = Patience { cpu: Duration::from_millis(300), wall: Duration::from_secs(3) };

/// Forks a child that runs `body` and ends with status 0. The caller has to [`sys::reap`] it.
pub fn fork(patience: Patience, sheet: &Sheet, body: impl FnOnce() -> Verdict) -> Pid {
    // SAFETY: this process has one thread, so the child may do whatever it likes.
    match unsafe { libc::fork() } {
        -1 => panic!("no more processes: {}", nix::errno::Errno::last()),
        0 => {
            limit(libc::ITIMER_REAL, patience.wall);
            limit(libc::ITIMER_PROF, patience.cpu);
            // A panic must not unwind into what the parent is doing.
            let verdict = catch_unwind(AssertUnwindSafe(body));
            sheet.conclude(&verdict.unwrap_or_else(|_| Err("it panicked".to_owned())));
            sys::exit_now(0)
        }
        pid => Pid::from_raw(pid),
    }
}

/// Runs `body` in a child and waits for it. `None` in place of a verdict: it came to none.
pub fn run(patience: Patience, sheet: &Sheet, body: impl FnOnce() -> Verdict) -> (How, Option<Verdict>) {
    let pid = fork(patience, sheet, body);
    let how = sys::reap(pid).expect("a child can be waited for").how;
    (how, sheet.take_verdict())
}

/// The default action of either timer's signal ends the process, whatever the filter says by then.
fn limit(timer: libc::c_int, after: Duration) {
    let value = libc::timeval {
        tv_sec: libc::time_t::try_from(after.as_secs()).expect("some seconds"),
        tv_usec: libc::suseconds_t::from(after.subsec_micros()),
    };
    let once = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: value };
    // SAFETY: the kernel reads one itimerval and writes none.
    let set = unsafe { libc::setitimer(timer, &raw const once, std::ptr::null_mut()) };
    assert!(set == 0, "a timer is refused");
}

/// The reading and the writing end of a pipe.
pub fn pipe() -> Result<(File, File), String> {
    let (reader, writer) = nix::unistd::pipe().map_err(|errno| format!("no pipe: {errno}"))?;
    Ok((File::from(reader), File::from(writer)))
}

/// Ends the process without a system call.
pub fn die() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it traps, and the default action of the signal ends the process.
    unsafe {
        std::arch::asm!("ud2", options(noreturn))
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("udf #0", options(noreturn))
    }
}
