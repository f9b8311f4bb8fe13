//! What becomes of a system call under a filter: asked of the kernel, by making it.

use crate::child::{self, Sheet};
use crate::compiler::Filter;
use mayfly::jail::filter::Fate;
use mayfly::sys::{self, How};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// A call as it is made: the number register in full, and all arguments.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: u64,
    pub args: [u64; 6],
}

impl Call {
    /// A call by libc's name of its number.
    pub const fn new(number: libc::c_long, args: [u64; 6]) -> Self {
        Self { number: u64::from_ne_bytes(number.to_ne_bytes()), args }
    }
}

/// How calls are tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With no witness, as in the jail: what it allows is executed. Only for calls that are refused.
    Alone,
    /// After a witness, an older filter that answers every call with an error number of its own. Of two errors the kernel
    /// takes the newer filter's, and of an error and a permission the error: what the newer one allows, and that only,
    /// gets the witness's answer. So nothing is executed and nothing can be mistaken.
    Witnessed,
}

/// No errno that the kernel knows, and small enough to be one.
const WITNESS: i32 = 4000;

/// On the sheet: executed, or would have been.
const ALLOWED: u64 = u64::MAX;

/// On the sheet: the handler was called.
const TRAPPED: u64 = u64::MAX - 1;

/// Where a child's handler writes to, and what its call's place is.
static SHEET: AtomicPtr<Sheet> = AtomicPtr::new(null_mut());
static PLACE: AtomicUsize = AtomicUsize::new(0);

/// Tells the calls that the filter hands to a handler from those it kills for: only the first get here.
fn hear_of_traps(sheet: &'static Sheet) -> Result<(), String> {
    extern "C" fn write_down(_signal: libc::c_int) {
        // SAFETY: it was stored below, and is never unmapped.
        unsafe { &*SHEET.load(Ordering::Relaxed) }.answer(PLACE.load(Ordering::Relaxed), TRAPPED);
        // Under most policies a handler has no way back.
        child::die()
    }
    SHEET.store(std::ptr::from_ref(sheet).cast_mut(), Ordering::Relaxed);
    // SAFETY: the handler stores a number and ends the process.
    let before = unsafe { libc::signal(libc::SIGSYS, write_down as *const () as libc::sighandler_t) };
    if before == libc::SIG_ERR { Err("no handler for SIGSYS".to_owned()) } else { Ok(()) }
}

/// What became of each call under filters installed in this order. A new child is forked where a call ended the last.
pub fn fates(mode: Mode, filters: &[Filter], calls: &[Call]) -> Result<Vec<Fate>, String> {
    let sheet = Sheet::new();
    let mut fates = Vec::with_capacity(calls.len());
    while fates.len() < calls.len() {
        let rest = &calls[fates.len()..];
        let (how, words) = child::run(child::PATIENT, sheet, || {
            hear_of_traps(sheet)?;
            if mode == Mode::Witnessed {
                sys::install_filter(&witness()).map_err(|errno| format!("the witness is refused: {errno}"))?;
            }
            for filter in filters {
                sys::install_filter(filter).map_err(|errno| format!("the filter is refused: {errno}"))?;
            }
            for (index, call) in rest.iter().enumerate() {
                PLACE.store(index, Ordering::Relaxed);
                sheet.answer(index, make(call));
            }
            match mode {
                Mode::Alone => Ok(()),
                Mode::Witnessed => child::die(),
            }
        });
        let answers: Vec<_> =
            (0..rest.len()).map(|index| sheet.take(index)).take_while(|answer| *answer != 0).collect();
        fates.extend(answers.iter().map(|answer| match *answer {
            ALLOWED => Fate::Allow,
            TRAPPED => Fate::Trap,
            refused => Fate::Errno(i32::try_from(refused - 1).expect("written below")),
        }));
        if answers.last() == Some(&TRAPPED) {
            continue;
        }
        match (how, words, rest.get(answers.len())) {
            (How::Signalled(libc::SIGSYS), _, Some(_)) => fates.push(Fate::Kill),
            (How::Signalled(libc::SIGILL), _, None) if mode == Mode::Witnessed => {}
            (How::Exited(0), Some(Ok(())), None) if mode == Mode::Alone => {}
            (_, Some(Err(words)), _) => return Err(words),
            (how, _, call) => return Err(format!("the child ended by {how:?} at {call:x?}")),
        }
    }
    Ok(fates)
}

/// Makes the call, and writes down what it came to as a sheet has it: one more than the errno, so that 1 is success.
fn make(call: &Call) -> u64 {
    match raw(call) {
        Err(WITNESS) => ALLOWED,
        Err(errno) => u64::from(errno.unsigned_abs()) + 1,
        // Answered with 0, or, without a witness, executed: who asks knows which of the two it can be.
        Ok(0) => 1,
        Ok(_) => ALLOWED,
    }
}

/// Makes the call: what it returned, or the error number.
pub fn raw(call: &Call) -> Result<i64, i32> {
    let number = libc::c_long::from_ne_bytes(call.number.to_ne_bytes());
    let args = &call.args;
    // SAFETY: callers pass calls that a filter refuses, or whose arguments are sound for the kernel.
    let result = unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) };
    if result == -1 { Err(nix::errno::Errno::last_raw()) } else { Ok(result) }
}

/// Refuses all but the installation of another filter.
fn witness() -> Filter {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let refused = libc::SECCOMP_RET_ERRNO | WITNESS.unsigned_abs();
    let seccomp = u32::try_from(libc::SYS_seccomp).expect("a small number");
    vec![
        instruction(LOAD, 0, 0, 0),
        instruction(JUMP_IF_EQUAL, 0, 3, seccomp),
        instruction(LOAD, 0, 0, 16),
        instruction(JUMP_IF_EQUAL, 0, 1, libc::SECCOMP_SET_MODE_FILTER),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(RETURN, 0, 0, refused),
    ]
}
