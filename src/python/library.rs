//! Parts of the standard library that are to work otherwise in the jail than they would outside.
//!
//! Runs in a zygote or a cold child, before any script. A script that misses one of these finds out by itself.

use super::Setup;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyCFunction, PyDict, PyTuple};

/// Where the jail root is no root of its own, time zones are looked for in it all the same.
pub(super) fn find_time_zones(py: Python<'_>, setup: &Setup) -> PyResult<()> {
    let Some((root, _)) = setup.stdlib.split_once("/usr/lib/").filter(|(root, _)| !root.is_empty()) else {
        return Ok(());
    };
    let places = (format!("{root}/usr/share/zoneinfo"),);
    let named = [("to", places)].into_py_dict(py)?;
    py.import("zoneinfo")?.getattr("reset_tzpath")?.call((), Some(&named)).map(drop)
}

/// Has event loops wait by `poll`: `selectors` chose `epoll` when it was imported, outside the filter that refuses it.
pub(super) fn use_poll(py: Python<'_>) -> PyResult<()> {
    let loaded = py.import("sys")?.getattr("modules")?;
    let selectors = loaded.get_item("selectors")?;
    selectors.setattr("DefaultSelector", selectors.getattr("PollSelector")?)
}

/// Lets a script interrupt itself: `_thread.interrupt_main` raises `KeyboardInterrupt` in the main thread, and needs no signal for it.
/// The handler is none that `asyncio` knows, which would replace it, and the filter refuses that; to the system SIGINT stays as it was.
pub(super) fn let_interrupt(py: Python<'_>) -> PyResult<()> {
    let interrupt = |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
        Err(PyKeyboardInterrupt::new_err(()))
    };
    let handler = PyCFunction::new_closure(py, Some(c"interrupted"), None, interrupt)?;
    let outcome = py.import("_signal")?.call_method1("signal", (libc::SIGINT, handler)).map(drop);
    // SAFETY: the default needs no code of this process.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    outcome
}

/// Has `threadpoolctl` ask the loader which libraries there are: where the root stays the machine's, it found `/proc` when it was
/// imported, and no script does.
pub(super) fn do_without_proc(py: Python<'_>) -> PyResult<()> {
    let loaded = py.import("sys")?.getattr("modules")?;
    loaded.get_item("threadpoolctl")?.setattr("_HAS_PROCFS", false)
}
