//! Has functions fail that would be refused without a word: the C library hands on no error for them.
//!
//! Runs in a zygote or a cold child, before anything is imported. What is put in their place is no Python function, so that
//! a traceback ends where the script called it. It is a courtesy, and no wall: the filter refuses what they would do.

use pyo3::exceptions::PyPermissionError;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};
use std::ffi::CStr;

/// Replaces `os.system`, which would tell of a shell that can't be found, and `signal.alarm`, which would never ring.
pub(super) fn aloud(py: Python<'_>) -> PyResult<()> {
    let system = refusing(py, c"system", "scripts can't start processes here")?;
    for module in ["os", "posix"] {
        py.import(module)?.setattr("system", &system)?;
    }
    // The module `signal` takes its names from here when it is imported.
    let alarm = refusing(py, c"alarm", "scripts can't handle signals here")?;
    py.import("_signal")?.setattr("alarm", alarm)
}

fn refusing<'py>(py: Python<'py>, name: &'static CStr, why: &'static str) -> PyResult<Bound<'py, PyCFunction>> {
    let raise = move |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
        Err(PyPermissionError::new_err((libc::EPERM, why)))
    };
    PyCFunction::new_closure(py, Some(name), None, raise)
}
