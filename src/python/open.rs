//! A container whose parts are being encoded, and how to let go of it.
//!
//! Runs in the child, attached to the interpreter. Whenever Python code runs between two parts, another thread may
//! change the container: its size is compared each time, and no part is used that is not there.

use super::keys::Keys;
use super::path::Place;
use crate::value::Token;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// A container that is being read. It owns a reference, so that no thread can take the container away.
pub(super) enum Open<'py> {
    List { list: Bound<'py, PyList>, next: usize, length: u32 },
    Tuple { tuple: Bound<'py, PyTuple>, next: usize, length: u32 },
    Dict { dict: Bound<'py, PyDict>, position: ffi::Py_ssize_t, left: u32, length: u32, keys: Keys },
}

/// What a container has next. The items are borrowed from it, and stay alive until Python code runs again.
pub(super) enum Next<'a, 'py> {
    Item(Borrowed<'a, 'py, PyAny>),
    Pair(Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>),
    End,
    /// Its size is no longer what it was.
    Changed,
}

impl<'py> Open<'py> {
    /// What comes next.
    ///
    /// # Safety
    /// What it gives is used only as long as no Python code has run, and as long as the container is open.
    pub(super) unsafe fn next<'a>(&mut self, py: Python<'py>) -> Next<'a, 'py> {
        match self {
            Self::List { list, length, .. } if list.len() != *length as usize => Next::Changed,
            Self::List { next, length, .. } | Self::Tuple { next, length, .. } if *next == *length as usize => {
                Next::End
            }
            Self::List { list, next, .. } => {
                // SAFETY: `next` is below the length, which was compared just above, and an index fits `Py_ssize_t`.
                let item = unsafe { ffi::PyList_GET_ITEM(list.as_ptr(), (*next).cast_signed()) };
                *next += 1;
                // SAFETY: the list holds the item, and keeps it until Python code runs again.
                Next::Item(unsafe { Borrowed::from_ptr(py, item) })
            }
            Self::Tuple { tuple, next, .. } => {
                // SAFETY: `next` is below the tuple's length, which never changes.
                let item = unsafe { ffi::PyTuple_GET_ITEM(tuple.as_ptr(), (*next).cast_signed()) };
                *next += 1;
                // SAFETY: the tuple holds the item.
                Next::Item(unsafe { Borrowed::from_ptr(py, item) })
            }
            Self::Dict { dict, length, .. } if dict.len() != *length as usize => Next::Changed,
            Self::Dict { dict, position, left, .. } => {
                let (mut key, mut item) = (std::ptr::null_mut(), std::ptr::null_mut());
                // SAFETY: `dict` is a dict; any position is checked against its entries by the function itself.
                let more =
                    unsafe { ffi::PyDict_Next(dict.as_ptr(), &raw mut *position, &raw mut key, &raw mut item) != 0 };
                match (more, *left) {
                    (false, 0) => Next::End,
                    (false, _) | (true, 0) => Next::Changed,
                    (true, _) => {
                        *left -= 1;
                        // SAFETY: the dict holds key and item, and keeps them until Python code runs again.
                        unsafe { Next::Pair(Borrowed::from_ptr(py, key), Borrowed::from_ptr(py, item)) }
                    }
                }
            }
        }
    }

    /// Where in this container the part is that was handed out last.
    pub(super) fn place<'t>(&self, tokens: &'t [Token]) -> Place<'t> {
        match self {
            Self::List { next, .. } | Self::Tuple { next, .. } => Place::Index(next.saturating_sub(1)),
            Self::Dict { keys, .. } => match tokens.get(keys.last) {
                Some(Token::Str(key)) => Place::Key(key),
                _ => Place::Here,
            },
        }
    }

    /// Closes the container.
    pub(super) fn release(self) {
        match self {
            Self::List { list, .. } => release(list.into_any()),
            Self::Tuple { tuple, .. } => release(tuple.into_any()),
            Self::Dict { dict, .. } => release(dict.into_any()),
        }
    }
}

/// Gives a reference back where that frees nothing, and keeps it for ever where it is the last one: freeing something
/// of the script's may run its code.
pub(super) fn release(object: Bound<'_, PyAny>) {
    // SAFETY: reads the count of a live object.
    if unsafe { ffi::Py_REFCNT(object.as_ptr()) } > 1 {
        drop(object);
    } else {
        std::mem::forget(object);
    }
}
