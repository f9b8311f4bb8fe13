//! `mmap.mmap(-1, …)` gives memory of the job's own: a mapping that is private, where Python's default is a shared one.
//!
//! Runs in a zygote or a cold child, before anything else is imported, and in a child when a script makes such a mapping. The
//! filter refuses anonymous memory that is shared: its pages outlive their mapping, and no limit of a process counts
//! them. A job is one process, so that a script can't tell the two kinds apart. It is a courtesy and no wall.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use std::sync::OnceLock;

/// The parameters of `mmap.mmap` that may be given by place, in its order.
const PARAMETERS: [&str; 6] = ["fileno", "length", "flags", "prot", "access", "offset"];

/// The values of `mmap.ACCESS_DEFAULT` and `mmap.ACCESS_WRITE`, which mean the same where no file is mapped.
const ACCESS_DEFAULT: i32 = 0;
const ACCESS_WRITE: i32 = 2;

/// What made a mapping before.
static ORIGINAL: OnceLock<ffi::newfunc> = OnceLock::new();

/// Has mappings of no file be private from here on. The type stays the same: its name, its subclasses and its messages.
pub(super) fn anonymous_maps(py: Python<'_>) -> PyResult<()> {
    let mmap = py.import("mmap")?.getattr("mmap")?.cast_into::<PyType>()?;
    // SAFETY: `mmap` holds a reference, and while attached to the interpreter nobody else changes a type.
    let make = unsafe { &mut (*mmap.as_type_ptr()).tp_new };
    if let Some(original) = make.replace(new)
        && ORIGINAL.set(original).is_err()
    {
        // It was replaced already, in this process or in its zygote.
        *make = Some(new);
    }
    // SAFETY: the type is a valid one, and its slots were just changed.
    unsafe { ffi::PyType_Modified(mmap.as_type_ptr()) };
    Ok(())
}

/// Takes the place of the type's `tp_new`.
unsafe extern "C" fn new(
    kind: *mut ffi::PyTypeObject,
    args: *mut ffi::PyObject,
    named: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let Some(original) = ORIGINAL.get() else { return std::ptr::null_mut() };
    // SAFETY: the interpreter calls a type's `tp_new` on a thread that is attached to it.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: it gives a tuple, which lives until the call returns.
    let given = unsafe { Borrowed::from_ptr(py, args) };
    // SAFETY: it gives a dict, which lives until the call returns, or null.
    let given_named = unsafe { Borrowed::from_ptr_or_opt(py, named) };
    match private(&given, given_named.as_deref()) {
        Ok(Some(changed)) => {
            let none = PyTuple::empty(py);
            // SAFETY: a type, a tuple and a dict are what a `tp_new` takes.
            unsafe { original(kind, none.as_ptr(), changed.as_ptr()) }
        }
        // What is given amiss, the original says better.
        // SAFETY: these are the arguments that the interpreter gave for it.
        Ok(None) | Err(_) => unsafe { original(kind, args, named) },
    }
}

/// The arguments by name, made private where no file is mapped and they would make it shared.
fn private<'py>(args: &Bound<'py, PyAny>, named: Option<&Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let args = args.cast::<PyTuple>()?;
    let all = match named {
        Some(named) => named.cast::<PyDict>()?.copy()?,
        None => PyDict::new(args.py()),
    };
    if args.len() > PARAMETERS.len() {
        return Ok(None);
    }
    for (name, value) in PARAMETERS.iter().zip(args) {
        if all.contains(name)? {
            return Ok(None);
        }
        all.set_item(name, value)?;
    }
    let number = |name: &str, default: i32| all.get_item(name)?.map_or(Ok(default), |value| value.extract());
    let (file, flags, access) = (number("fileno", 0)?, number("flags", libc::MAP_SHARED)?, number("access", 0)?);
    if file != -1 || flags & libc::MAP_TYPE != libc::MAP_SHARED || ![ACCESS_DEFAULT, ACCESS_WRITE].contains(&access) {
        return Ok(None);
    }
    if access == ACCESS_WRITE && (all.contains("flags")? || all.contains("prot")?) {
        // Python takes an access or these, and not both.
        return Ok(None);
    }
    all.set_item("access", ACCESS_DEFAULT)?;
    all.set_item("flags", flags & !libc::MAP_TYPE | libc::MAP_PRIVATE)?;
    Ok(Some(all))
}
