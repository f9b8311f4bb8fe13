//! Has functions fail, or do without a signal, that the filter refuses without a word or ends amiss.
//!
//! Runs in a zygote or a cold child, before anything is imported. What is put in their place is no Python function, so that
//! a traceback ends where the script called it. It is a courtesy, and no wall: the filter refuses what they would do.

use pyo3::exceptions::PyPermissionError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};
use std::ffi::CStr;

/// Replaces `os.system`, which would tell of a shell that can't be found; `signal.alarm`, which would never ring; `os.abort`, which
/// would look like a bad memory access; and `signal.raise_signal`, which raises `KeyboardInterrupt` for SIGINT as everywhere.
pub(super) fn aloud(py: Python<'_>) -> PyResult<()> {
    let system = refusing(py, c"system", "scripts can't start processes here")?;
    for module in ["os", "posix"] {
        py.import(module)?.setattr("system", &system)?;
    }
    // The module `signal` takes its names from here when it is imported.
    let alarm = refusing(py, c"alarm", "scripts can't handle signals here")?;
    let signal = py.import("_signal")?;
    signal.setattr("alarm", alarm)?;
    let kernels = signal.getattr("raise_signal")?.unbind();
    let raise = move |given: &Bound<'_, PyTuple>, named: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
        let py = given.py();
        if named.is_none() && given.len() == 1 && given.get_item(0)?.extract().ok() == Some(libc::SIGINT) {
            // SAFETY: attached to the interpreter; it marks the signal as arrived.
            unsafe { ffi::PyErr_SetInterrupt() };
            return py.check_signals();
        }
        kernels.bind(py).call(given, named).map(drop)
    };
    signal.setattr("raise_signal", PyCFunction::new_closure(py, Some(c"raise_signal"), None, raise)?)?;
    let end = |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> { abort() };
    let abort = PyCFunction::new_closure(py, Some(c"abort"), None, end)?;
    for module in ["os", "posix"] {
        py.import(module)?.setattr("abort", &abort)?;
    }
    Ok(())
}

/// Ends the process by SIGTRAP, which nothing else raises: SIGABRT takes a call that the filter refuses.
fn abort() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction ends the process, as no signal is handled in it.
    unsafe {
        std::arch::asm!("int3");
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("brk #0");
    };
    std::process::abort()
}

fn refusing<'py>(py: Python<'py>, name: &'static CStr, why: &'static str) -> PyResult<Bound<'py, PyCFunction>> {
    let raise = move |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
        Err(PyPermissionError::new_err((libc::EPERM, why)))
    };
    PyCFunction::new_closure(py, Some(name), None, raise)
}
