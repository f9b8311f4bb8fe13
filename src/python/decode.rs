//! Makes Python objects of a job's arguments.
//!
//! Runs in the child. The tokens were validated by the supervisor and crossed only our own socket, yet nothing here
//! recurses or trusts a length: a malformed list is an error, not a crash. Nor does anything panic where memory runs out, as
//! `PyO3`'s own constructors do: the script is told of its limit.

use crate::value::{MAX_DEPTH, Token};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

/// A container that still expects values.
enum Open<'py> {
    List { list: Bound<'py, PyList>, left: u32 },
    Map { dict: Bound<'py, PyDict>, left: u32, key: Option<Bound<'py, PyString>> },
}

/// The positional arguments of `main`.
pub(super) fn positional<'py>(py: Python<'py>, tokens: &[Token]) -> PyResult<Bound<'py, PyTuple>> {
    if matches!(tokens, [] | [Token::List(0)]) {
        return Ok(PyTuple::empty(py));
    }
    let list = value(py, tokens)?.cast_into::<PyList>()?;
    // SAFETY: the list lives; the result is a new reference or null.
    let tuple = unsafe { owned(py, ffi::PyList_AsTuple(list.as_ptr())) }?;
    Ok(tuple.cast_into()?)
}

/// The keyword arguments of `main`, when there are any.
pub(super) fn keywords<'py>(py: Python<'py>, tokens: &[Token]) -> PyResult<Option<Bound<'py, PyDict>>> {
    if matches!(tokens, [] | [Token::Map(0)]) {
        return Ok(None);
    }
    Ok(Some(value(py, tokens)?.cast_into::<PyDict>()?))
}

/// A new reference that a function of the interpreter's gave, or the exception that it raised instead.
///
/// # Safety
/// `object` is a new reference, or null with an exception set.
unsafe fn owned(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: the caller says so.
    unsafe { Bound::from_owned_ptr_or_err(py, object) }
}

fn value<'py>(py: Python<'py>, tokens: &[Token]) -> PyResult<Bound<'py, PyAny>> {
    let malformed = || PyValueError::new_err("the arguments are malformed");
    let mut open: Vec<Open<'py>> = Vec::new();
    for token in tokens {
        if let (Some(Open::Map { key: key @ None, .. }), Token::Str(text)) = (open.last_mut(), token) {
            *key = Some(PyString::from_bytes(py, text.as_bytes())?);
            continue;
        }
        let mut done = match token {
            Token::List(left) => {
                // SAFETY: the result is a new reference or null.
                let list = unsafe { owned(py, ffi::PyList_New(0)) }?.cast_into()?;
                open.push(Open::List { list, left: *left });
                None
            }
            Token::Map(left) => {
                // SAFETY: the result is a new reference or null.
                let dict = unsafe { owned(py, ffi::PyDict_New()) }?.cast_into()?;
                open.push(Open::Map { dict, left: *left, key: None });
                None
            }
            scalar => Some(leaf(py, scalar)?),
        };
        if open.len() > MAX_DEPTH {
            return Err(malformed());
        }
        // Hand the finished value to its container, and close every container that is complete.
        loop {
            match open.last_mut() {
                None => {
                    return done.ok_or_else(malformed);
                }
                Some(Open::List { list, left }) => {
                    if let Some(item) = done.take() {
                        list.append(item)?;
                        *left = left.checked_sub(1).ok_or_else(malformed)?;
                    }
                    if *left > 0 {
                        break;
                    }
                    done = Some(list.clone().into_any());
                }
                Some(Open::Map { dict, left, key }) => {
                    if let Some(item) = done.take() {
                        dict.set_item(key.take().ok_or_else(malformed)?, item)?;
                        *left = left.checked_sub(1).ok_or_else(malformed)?;
                    }
                    if *left > 0 {
                        break;
                    }
                    done = Some(dict.clone().into_any());
                }
            }
            open.pop();
        }
    }
    Err(malformed())
}

fn leaf<'py>(py: Python<'py>, token: &Token) -> PyResult<Bound<'py, PyAny>> {
    Ok(match token {
        Token::Bool(truth) => truth.into_pyobject(py)?.to_owned().into_any(),
        // SAFETY: the result is a new reference or null.
        Token::Int(number) => unsafe { owned(py, ffi::PyLong_FromLongLong(*number)) }?,
        Token::BigInt(digits) => {
            py.get_type::<pyo3::types::PyInt>().call1((PyString::from_bytes(py, digits.as_bytes())?,))?
        }
        // SAFETY: the result is a new reference or null.
        Token::Float(number) => unsafe { owned(py, ffi::PyFloat_FromDouble(*number)) }?,
        Token::Str(text) => PyString::from_bytes(py, text.as_bytes())?.into_any(),
        Token::Bytes(bytes) => PyBytes::new_with(py, bytes.len(), |copy| {
            copy.copy_from_slice(bytes);
            Ok(())
        })?
        .into_any(),
        Token::Null | Token::List(_) | Token::Map(_) => py.None().into_bound(py),
    })
}
