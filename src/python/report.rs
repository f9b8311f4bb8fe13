//! Describes a failure for the client: what was raised, where, and Python's own traceback of it.
//!
//! Runs in the child, after the script. The describing is done by python/runner.py, which the script may have broken;
//! so there is always an answer, if need be one that names only the exception's type.

use crate::outcome::Exception;
use crate::wire::{Phase, Reply};
use pyo3::exceptions::{PyBaseException, PyMemoryError, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::mem::MaybeUninit;

/// The recursion limit while a failure is described: `CPython`'s default, whatever the script made of it.
const RECURSION_LIMIT: i32 = 1000;

/// What `describe` of python/runner.py answers.
type Description = (String, String, Option<u32>, Option<u32>, String);

/// The reply for an exception that came from compiling the script.
///
/// `CPython` 3.11 reports source that nests too deep for its parser as a `MemoryError`, so whether memory is short is
/// found by asking for some.
pub(super) fn while_compiling(py: Python<'_>, describe: &Py<PyAny>, error: PyErr) -> Reply {
    let is_memory_error = error.is_instance_of::<PyMemoryError>(py);
    let out_of_memory = is_memory_error && Vec::<u8>::new().try_reserve_exact(1 << 20).is_err();
    let mut exception = describe_it(py, describe, error);
    if is_memory_error && exception.message.is_empty() {
        "the source is nested too deeply to be compiled".clone_into(&mut exception.message);
        exception.traceback = format!("{}: {}\n", exception.kind, exception.message);
    }
    Reply::Raised { phase: Phase::Compile, out_of_memory, exception }
}

/// The reply for an exception that came from the script's body, or from `main()`.
pub(super) fn while_running(py: Python<'_>, describe: &Py<PyAny>, error: PyErr) -> Reply {
    let phase = if error.is_instance_of::<PySystemExit>(py) { Phase::Exit } else { Phase::Run };
    let out_of_memory = error.is_instance_of::<PyMemoryError>(py);
    Reply::Raised { phase, out_of_memory, exception: describe_it(py, describe, error) }
}

/// The reply when a result could not be held in memory a second time, encoded.
pub(super) fn result_too_large_for_memory() -> Reply {
    no_memory("no memory is left to encode the result")
}

/// The reply when the job itself can't be held in memory.
#[must_use]
pub fn no_memory_for_the_job() -> Reply {
    no_memory("the script's arguments and input alone need more memory than its limit")
}

fn no_memory(message: &str) -> Reply {
    let exception = Exception {
        kind: "MemoryError".to_owned(),
        traceback: format!("MemoryError: {message}\n"),
        message: message.to_owned(),
        line: None,
        column: None,
    };
    Reply::Raised { phase: Phase::Run, out_of_memory: true, exception }
}

fn describe_it(py: Python<'_>, describe: &Py<PyAny>, error: PyErr) -> Exception {
    calm(py);
    let value = error.into_value(py);
    // A second attempt: a signal that came before `calm` is handled by the script's own code at the next occasion.
    let described = ask(py, describe, &value).or_else(|_| ask(py, describe, &value));
    let exception = match described {
        Ok((kind, message, line, column, traceback)) => Exception { kind, message, line, column, traceback },
        Err(_) => bare(value.bind(py)),
    };
    // It holds the frames of the script, and with them all it had.
    std::mem::forget(value);
    exception
}

fn ask(py: Python<'_>, describe: &Py<PyAny>, value: &Py<PyBaseException>) -> PyResult<Description> {
    describe.bind(py).call1((value,))?.extract()
}

/// Takes the script's hooks off this thread, before Python code of ours runs: its tracing, its signal handlers, and
/// the recursion limit it may have set.
pub(super) fn calm(_attached: Python<'_>) {
    // SAFETY: these three set fields of the state of this thread, which is attached.
    unsafe {
        ffi::Py_SetRecursionLimit(RECURSION_LIMIT);
        ffi::PyEval_SetTrace(None, std::ptr::null_mut());
        ffi::PyEval_SetProfile(None, std::ptr::null_mut());
    }
    SignalMask::all().restore();
}

/// Which signals a thread holds back.
pub(super) struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// This thread's mask.
    pub(super) fn now() -> Self {
        let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the mask is filled in first, so that it is whole even if the second call failed, which it can't.
        unsafe {
            libc::sigemptyset(mask.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), mask.as_mut_ptr());
            Self(mask.assume_init())
        }
    }

    /// Every signal that can be held back. A fault of the process's own ends it all the same, and so does SIGKILL.
    fn all() -> Self {
        let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the function fills in the whole set.
        unsafe {
            libc::sigfillset(mask.as_mut_ptr());
            Self(mask.assume_init())
        }
    }

    /// Makes this the thread's mask.
    pub(super) fn restore(&self) {
        // SAFETY: the set is whole, and a thread may set its mask at any time.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// The exception's type, read without running any Python.
fn bare(value: &Bound<'_, PyBaseException>) -> Exception {
    // SAFETY: a type object always has a name, which lives as long as the type, and `value` holds its type.
    let name = unsafe { CStr::from_ptr((*value.get_type_ptr()).tp_name) };
    let kind = name.to_string_lossy().into_owned();
    let traceback = format!("{kind}\n");
    Exception { kind, message: String::new(), line: None, column: None, traceback }
}
