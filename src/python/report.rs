//! Describes a failure for the client: what was raised, where, and Python's own traceback of it.
//!
//! Runs in the child, after the script. The describing is done by python/runner.py, which the script may have broken;
//! so there is always an answer, if need be one that names only the exception's type.

use super::{closures, memory};
use crate::outcome::{Cause, Exception};
use crate::wire::{Phase, Raised, Reply};
use pyo3::exceptions::{
    PyBaseException, PyImportError, PyMemoryError, PyOSError, PyRuntimeError, PySystemError, PySystemExit,
};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::mem::MaybeUninit;

/// The recursion limit while a failure is described: `CPython`'s default, whatever the script made of it.
const RECURSION_LIMIT: i32 = 1000;

/// What `describe` of python/runner.py answers.
type Description = (String, String, Option<u32>, Option<u32>, String);

/// What a failure is described with.
#[derive(Debug)]
pub(super) struct Describe {
    /// `describe` of python/runner.py.
    pub(super) function: Py<PyAny>,
    /// `cause` of python/causes.py.
    pub(super) cause: Py<PyAny>,
    /// Whether the jail root is the root, so that /tmp is the script's own.
    pub(super) has_own_root: bool,
}

/// The reply for an exception that came from compiling the script. `make_room` frees what was set aside for describing it.
///
/// `CPython` 3.11 reports source that nests too deep for its parser as a `MemoryError`, so it counts as one only where memory
/// was refused.
pub(super) fn while_compiling(py: Python<'_>, describe: &Describe, error: PyErr, make_room: &dyn Fn()) -> Reply {
    let is_memory_error = error.is_instance_of::<PyMemoryError>(py);
    let refused = before_room(py, &error).refused;
    make_room();
    let mut exception = describe_it(py, describe, &error.into_value(py));
    if is_memory_error && exception.message.is_empty() && refused.is_none() {
        "the source is nested too deeply to be compiled".clone_into(&mut exception.message);
        exception.traceback = format!("{}: {}\n", exception.kind, exception.message);
    }
    Reply::Raised { phase: Phase::Compile, cause: cause_of_refusal(refused), exception }
}

/// The reply for an exception that came from the script's body, or from `main()`.
pub(super) fn while_running(py: Python<'_>, describe: &Describe, error: PyErr, make_room: &dyn Fn()) -> Reply {
    let phase = if error.is_instance_of::<PySystemExit>(py) { Phase::Exit } else { Phase::Run };
    let room = before_room(py, &error);
    make_room();
    let error = error.into_value(py);
    let exception = describe_it(py, describe, &error);
    let cause = cause_of(py, describe, &error, &exception, room.had_no_stack);
    // It holds the frames of the script, and with them all it had.
    std::mem::forget(error);
    Reply::Raised { phase, cause, exception }
}

/// What must be known of a failure before the memory that was set aside is free.
#[derive(Clone, Copy)]
pub(super) struct BeforeRoom {
    had_no_stack: bool,
    refused: Option<u64>,
}

pub(super) fn before_room(py: Python<'_>, error: &PyErr) -> BeforeRoom {
    let is_runtime_error = error.is_instance_of::<PyRuntimeError>(py);
    BeforeRoom {
        had_no_stack: is_runtime_error && !memory::is_there_room(memory::THREAD_STACK),
        refused: memory::refused().filter(|_| error.is_instance_of::<PyMemoryError>(py)),
    }
}

/// What a program raised and did not catch, once it was printed. The exception is let go of.
pub(super) fn of_program(py: Python<'_>, describe: &Describe, phase: Phase, error: PyErr, room: BeforeRoom) -> Raised {
    let error = error.into_value(py);
    let exception = describe_it(py, describe, &error);
    let cause = match phase {
        Phase::Compile => cause_of_refusal(room.refused),
        _ => cause_of(py, describe, &error, &exception, room.had_no_stack),
    };
    Raised { phase, cause, exception }
}

fn cause_of_refusal(refused: Option<u64>) -> Cause {
    refused.map_or(Cause::Script, |asked| Cause::Memory { asked })
}

/// Names for what fails with a `MemoryError` though memory is there.
const ALL_CALLBACKS: &str = "ctypes.CFUNCTYPE";
const PARSER: &str = "parser.stack";

/// Why it was raised. Where a function failed that leaves Python, python/causes.py knows which.
fn cause_of(
    py: Python<'_>,
    describe: &Describe,
    error: &Py<PyBaseException>,
    exception: &Exception,
    had_no_stack: bool,
) -> Cause {
    let error = error.bind(py);
    let is_memory_error = error.is_instance_of::<PyMemoryError>();
    let is_import_error = error.is_instance_of::<PyImportError>();
    let may_have_one = is_memory_error
        || is_import_error
        || error.is_instance_of::<PyOSError>()
        || error.is_instance_of::<PyRuntimeError>()
        || error.is_instance_of::<PySystemError>()
        || exception.kind.starts_with("sqlite3.");
    if !may_have_one {
        return Cause::Script;
    }
    let refused = memory::refused();
    let known: Option<(String, String, i32)> =
        describe.cause.bind(py).call1((error,)).and_then(|answer| answer.extract()).ok();
    let (name, inside, errno) = known.unwrap_or_default();
    let is_its_own = name == "raise" && inside.is_empty();
    let other = |name: &str| Cause::Call { name: name.to_owned(), inside: String::new(), errno: 0 };
    let is_memory = match (name.as_str(), refused) {
        _ if is_memory_error && closures::were_used_up() => return other(ALL_CALLBACKS),
        // The parser, at source that nests too deeply.
        ("builtins.eval" | "builtins.exec" | "builtins.compile", None) if is_memory_error => return other(PARSER),
        ("raise", None) if is_memory_error => false,
        _ if is_memory_error => true,
        ("_thread.start_new_thread" | "_thread.start_joinable_thread", _) => had_no_stack,
        // The loader's only words for it. What lies in /tmp may not be executed at all.
        _ if exception.message.contains("failed to map segment from shared object") => {
            !(describe.has_own_root && exception.message.starts_with("/tmp/"))
        }
        // CPython loses the exception where it has no memory for a traceback.
        (_, Some(_)) if error.is_instance_of::<PySystemError>() => true,
        _ => errno == libc::ENOMEM && !is_its_own,
    };
    if is_memory {
        return Cause::Memory { asked: refused.unwrap_or(0) };
    }
    if is_its_own || is_import_error && exception.kind == "ModuleNotFoundError" {
        return Cause::Script;
    }
    Cause::Call { name, inside, errno }
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

/// The reply when a program's source can't be written where it has to be.
#[must_use]
pub fn no_room_for_the_script() -> Reply {
    let message = "main.py does not fit in the script's /tmp";
    let exception = Exception {
        kind: "OSError".to_owned(),
        traceback: format!("OSError: {message}\n"),
        message: message.to_owned(),
        line: None,
        column: None,
    };
    Reply::Raised { phase: Phase::Run, cause: Cause::Script, exception }
}

fn no_memory(message: &str) -> Reply {
    let exception = Exception {
        kind: "MemoryError".to_owned(),
        traceback: format!("MemoryError: {message}\n"),
        message: message.to_owned(),
        line: None,
        column: None,
    };
    Reply::Raised { phase: Phase::Run, cause: Cause::Memory { asked: 0 }, exception }
}

fn describe_it(py: Python<'_>, describe: &Describe, error: &Py<PyBaseException>) -> Exception {
    calm(py);
    // A second attempt: a signal that came before `calm` is handled by the script's own code at the next occasion.
    let described = ask(py, &describe.function, error).or_else(|_| ask(py, &describe.function, error));
    match described {
        Ok((kind, message, line, column, traceback)) => Exception { kind, message, line, column, traceback },
        Err(_) => bare(error.bind(py)),
    }
}

fn ask(py: Python<'_>, describe: &Py<PyAny>, value: &Py<PyBaseException>) -> PyResult<Description> {
    describe.bind(py).call1((value,))?.extract()
}

/// What the script may have set for this thread.
pub(super) struct Hooks {
    recursion_limit: i32,
    signals: SignalMask,
}

impl Hooks {
    /// Gives them back to the script, whose code is to run again. Its tracing stays off.
    pub(super) fn restore(&self, _attached: Python<'_>) {
        // SAFETY: sets a field of the interpreter's state; this thread is attached.
        unsafe { ffi::Py_SetRecursionLimit(self.recursion_limit) };
        self.signals.restore();
    }
}

/// Takes the script's hooks off this thread, before Python code of ours runs: its tracing, its signal handlers, and
/// the recursion limit it may have set. Returns them.
pub(super) fn calm(_attached: Python<'_>) -> Hooks {
    // SAFETY: reads a field of the interpreter's state; this thread is attached.
    let hooks = Hooks { recursion_limit: unsafe { ffi::Py_GetRecursionLimit() }, signals: SignalMask::now() };
    // SAFETY: these three set fields of the state of this thread, which is attached.
    unsafe {
        ffi::Py_SetRecursionLimit(RECURSION_LIMIT);
        ffi::PyEval_SetTrace(None, std::ptr::null_mut());
        ffi::PyEval_SetProfile(None, std::ptr::null_mut());
    }
    SignalMask::all().restore();
    hooks
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

/// How many bytes the value takes at least, as python/values.py says where it raises `TooLarge`; or 0.
pub(super) fn least_of(too_large: &PyErr, py: Python<'_>) -> usize {
    too_large.value(py).getattr("args").and_then(|args| args.get_item(0)?.extract()).unwrap_or(0)
}

/// The exception's type, read without running any Python.
fn bare(value: &Bound<'_, PyBaseException>) -> Exception {
    // SAFETY: a type object always has a name, which lives as long as the type, and `value` holds its type.
    let name = unsafe { CStr::from_ptr((*value.get_type_ptr()).tp_name) };
    let kind = name.to_string_lossy().into_owned();
    let traceback = format!("{kind}\n");
    Exception { kind, message: String::new(), line: None, column: None, traceback }
}
