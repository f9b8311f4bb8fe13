//! Turns what `main()` returned into tokens.
//!
//! Runs in the child, attached to the interpreter. Exact built-in types are read here, without running any Python;
//! everything else goes through `simplify` of python/values.py, one object at a time. The object may be hostile, and
//! another thread may change it while `simplify` runs: no recursion, no length is trusted twice, every container is
//! held while it is read, and nothing of the script's is released, so that none of its finalisers runs.

use super::keys::Keys;
use super::open::{Next, Open, release};
use super::path;
use super::report::{self, Hooks};
use crate::value::{MAX_DEPTH, MAX_DIGITS, Token};
use pyo3::PyTypeInfo;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use std::collections::TryReserveError;
use std::fmt::Write;

pub(super) const TOO_DEEP: &str = "circular, or nested deeper than 128";

/// How often in a row `simplify` may answer with something that needs it again, as an enum's value may.
pub(super) const MOST_HOPS: usize = 8;

/// The bits of the largest integer of [`MAX_DIGITS`] digits: a longer one is not printed to find that out.
const MAX_BITS: u64 = 14_285;

/// How many changes of a result are told one by one; of the rest their number.
const MOST_NOTES: usize = 8;

/// Why there is no result.
#[derive(Debug)]
pub(super) enum Stop {
    /// A part can be read by code of the script only, by which nothing was changed yet.
    NeedsScript,
    /// Something JSON can't hold.
    NotSerializable {
        /// Where, as `result.rows[3].ts`.
        path: String,
        /// What stands there and what to do about it.
        problem: String,
    },
    /// The JSON text would be longer than allowed: so many bytes at least, or 0 where that is not known.
    TooLarge(usize),
    /// The memory limit was met.
    Memory,
}

impl From<TryReserveError> for Stop {
    fn from(_: TryReserveError) -> Self {
        Self::Memory
    }
}

/// What python/values.py and its like give: functions, and the exceptions they raise on purpose.
#[derive(Debug)]
pub(super) struct Simplify {
    pub(super) function: Py<PyAny>,
    /// Has the script's code read what only that can read.
    pub(super) settle: Py<PyAny>,
    pub(super) refused: Py<PyAny>,
    pub(super) too_large: Py<PyAny>,
    pub(super) needs_script: Py<PyAny>,
    /// What the last call lost, as notes for the client.
    pub(super) lost: Py<PyList>,
    pub(super) problem_of_key: Py<PyAny>,
    pub(super) problem_of_pair: Py<PyAny>,
    /// `sys.set_int_max_str_digits`.
    pub(super) set_most_digits: Py<PyAny>,
}

/// A result as it is sent.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) tokens: Vec<Token>,
    /// What was changed in a way that nobody expects, a line each.
    pub(super) notes: String,
}

/// Whether the script's code read already what only that can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    First,
    AfterScript,
}

/// Encodes one value; its JSON text may take `room` bytes.
///
/// # Errors
/// A [`Stop`]. At [`Stop::NeedsScript`] the script's hooks are as they were.
pub(super) fn encode(
    simplify: &Simplify,
    value: &Bound<'_, PyAny>,
    room: usize,
    reading: Reading,
) -> Result<Encoded, Stop> {
    let mut encoder = Encoder {
        simplify,
        reading,
        tokens: Vec::new(),
        allowed: room,
        room,
        open: Vec::new(),
        hooks: None,
        notes: String::new(),
        noted: 0,
    };
    let outcome = encoder.whole(value);
    if let (Err(Stop::NeedsScript), Some(hooks)) = (&outcome, &encoder.hooks) {
        hooks.restore(value.py());
    }
    outcome?;
    encoder.count_notes();
    Ok(Encoded { tokens: encoder.tokens, notes: encoder.notes })
}

pub(super) struct Encoder<'a, 'py> {
    pub(super) simplify: &'a Simplify,
    pub(super) reading: Reading,
    pub(super) tokens: Vec<Token>,
    /// Bytes that the JSON text may take.
    allowed: usize,
    /// Bytes left for it. Every token is charged what its text takes at least.
    room: usize,
    pub(super) open: Vec<Open<'py>>,
    /// The script's hooks, once they were taken off so that Python code can run without them.
    hooks: Option<Hooks>,
    notes: String,
    noted: usize,
}

impl<'py> Encoder<'_, 'py> {
    fn whole(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Stop> {
        self.value(value.as_borrowed())?;
        while let Some(top) = self.open.last_mut() {
            // SAFETY: a part is encoded at once. What of that may run Python code has a reference of its own to what it still
            // needs (`value`), and so have both parts of a pair whose key may. The container stays open until `End`.
            match unsafe { top.next(value.py()) } {
                Next::Item(item) => self.value(item)?,
                Next::Pair(key, item) => {
                    if let Some(key) = exact::<PyString>(key) {
                        self.text_key(&key)?;
                        self.value(item)?;
                    } else {
                        // Reading this key may run Python code, which may take both away from the dict.
                        let (key, item) = (key.to_owned(), item.to_owned());
                        self.odd_key(&key)?;
                        self.value(item.as_borrowed())?;
                        release(key);
                        release(item);
                    }
                }
                Next::End => {
                    self.compare_keys(value.py())?;
                    if let Some(closed) = self.open.pop() {
                        closed.release();
                    }
                }
                Next::Changed => return Err(self.refuse("an object that changed while it was read; return a copy")),
            }
        }
        Ok(())
    }

    /// Encodes a value, or opens it when it has parts.
    fn value(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Result<(), Stop> {
        if self.plain(value)? {
            return Ok(());
        }
        let mut value = value.to_owned();
        for _ in 0..MOST_HOPS {
            let simpler = self.simplified(&value)?;
            release(std::mem::replace(&mut value, simpler));
            if self.plain(value.as_borrowed())? {
                release(value);
                return Ok(());
            }
        }
        Err(self.refuse("an object that stands for another without end, as an enum member whose value is itself"))
    }

    /// Encodes a value of an exact built-in type; `false` when it is of another.
    fn plain(&mut self, value: Borrowed<'_, 'py, PyAny>) -> Result<bool, Stop> {
        if let Some(text) = exact::<PyString>(value) {
            let text = self.text(&text)?;
            self.push(Token::Str(text))?;
        } else if let Some(number) = exact::<PyInt>(value) {
            self.integer(&number)?;
        } else if let Some(number) = exact::<PyFloat>(value) {
            let number = number.value();
            self.charge(3)?;
            if number.is_infinite() {
                self.note(if number > 0.0 { "inf written as null" } else { "-inf written as null" });
            }
            self.push(Token::Float(number))?;
        } else if value.is_none() {
            self.charge(4)?;
            self.push(Token::Null)?;
        } else if let Some(truth) = exact::<PyBool>(value) {
            self.charge(4)?;
            self.push(Token::Bool(truth.is_true()))?;
        } else if let Some(dict) = exact::<PyDict>(value) {
            let length = self.enter(dict.len(), 5)?;
            let keys = Keys { start: self.tokens.len(), ..Keys::default() };
            self.push(Token::Map(length))?;
            self.open.push(Open::Dict { dict: dict.to_owned(), position: 0, left: length, length, keys });
        } else if let Some(list) = exact::<PyList>(value) {
            let length = self.enter(list.len(), 2)?;
            self.push(Token::List(length))?;
            self.open.push(Open::List { list: list.to_owned(), next: 0, length });
        } else if let Some(tuple) = exact::<PyTuple>(value) {
            let length = self.enter(tuple.len(), 2)?;
            self.push(Token::List(length))?;
            self.open.push(Open::Tuple { tuple: tuple.to_owned(), next: 0, length });
        } else if let Some(bytes) = exact::<PyBytes>(value) {
            let bytes = bytes.as_bytes();
            self.charge(bytes.len().div_ceil(3).saturating_mul(4).saturating_add(2))?;
            let mut copy = Vec::new();
            copy.try_reserve_exact(bytes.len())?;
            copy.extend_from_slice(bytes);
            self.push(Token::Bytes(copy))?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Asks Python for something simpler. Whatever was borrowed from a container before may be gone afterwards.
    pub(super) fn simplified(&mut self, value: &Bound<'py, PyAny>) -> Result<Bound<'py, PyAny>, Stop> {
        let py = value.py();
        if self.hooks.is_none() {
            self.hooks = Some(report::calm(py));
        }
        match self.simplify.function.bind(py).call1((value, self.room)) {
            Ok(simpler) => {
                self.take_lost(py);
                Ok(simpler)
            }
            Err(error) if error.is_instance(py, self.simplify.needs_script.bind(py)) => Err(Stop::NeedsScript),
            Err(error) if error.is_instance(py, self.simplify.too_large.bind(py)) => {
                Err(self.too_large(report::least_of(&error, py)))
            }
            Err(error) if error.is_instance_of::<PyMemoryError>(py) => Err(Stop::Memory),
            Err(error) if error.is_instance(py, self.simplify.refused.bind(py)) => {
                let reason = error.value(py).str().map(|text| text.to_string_lossy().into_owned());
                Err(self.refuse(&reason.unwrap_or_default()))
            }
            Err(error) => {
                let name = value.get_type().name().map(|name| name.to_string_lossy().into_owned());
                let raised = error.get_type(py).name().map(|name| name.to_string_lossy().into_owned());
                let problem = format!(
                    "a {} that can't be read: it raised {}",
                    name.unwrap_or_default(),
                    raised.unwrap_or_default()
                );
                // The exception holds frames of the script.
                std::mem::forget(error);
                Err(self.refuse(&problem))
            }
        }
    }

    /// Tells the client of a change to the value that is read right now.
    fn note(&mut self, what: &str) {
        self.noted += 1;
        if self.noted <= MOST_NOTES {
            let places = self.open.iter().map(|open| open.place(&self.tokens));
            // Writing to a String can't fail.
            let _ = writeln!(self.notes, "{}: {}", path::write(places), path::clip(what));
        }
    }

    fn count_notes(&mut self) {
        if self.noted > MOST_NOTES {
            let _ = writeln!(self.notes, "… and {} more like these", self.noted - MOST_NOTES);
        }
    }

    /// Notes what `simplify` lost.
    fn take_lost(&mut self, py: Python<'py>) {
        let lost = self.simplify.lost.bind(py);
        while !lost.is_empty() {
            let Ok(what) = lost.get_item(0) else { return };
            if lost.del_item(0).is_err() {
                return;
            }
            self.note(&what.to_string());
        }
    }

    fn integer(&mut self, number: &Bound<'py, PyInt>) -> Result<(), Stop> {
        let mut overflow = 0;
        // SAFETY: `number` is an int, so there is no conversion that could fail.
        let small = unsafe { ffi::PyLong_AsLongLongAndOverflow(number.as_ptr(), &raw mut overflow) };
        if overflow == 0 {
            self.charge(1 + small.checked_ilog10().unwrap_or(0) as usize)?;
            return self.push(Token::Int(small));
        }
        let digits = self.digits(number)?;
        self.charge(digits.len())?;
        self.push(Token::BigInt(digits))
    }

    pub(super) fn digits(&mut self, number: &Bound<'py, PyInt>) -> Result<String, Stop> {
        const TOO_LONG: &str = "an integer of more than 4300 digits; return it as text, for example hex(n)";
        let bits = number.call_method0("bit_length").and_then(|bits| bits.extract::<u64>());
        if bits.unwrap_or(u64::MAX) > MAX_BITS {
            return Err(self.refuse(TOO_LONG));
        }
        let digits = number.str().or_else(|_| {
            // The script lowered the interpreter's own limit.
            self.simplify.set_most_digits.bind(number.py()).call1((MAX_DIGITS,))?;
            number.str()
        });
        let digits = match &digits {
            Ok(digits) => digits.to_str(),
            Err(error) if error.is_instance_of::<PyMemoryError>(number.py()) => return Err(Stop::Memory),
            Err(_) => return Err(self.refuse(TOO_LONG)),
        };
        match digits {
            Ok(digits) if digits.trim_start_matches('-').len() <= MAX_DIGITS => copy_of(digits),
            Ok(_) => Err(self.refuse(TOO_LONG)),
            Err(_) => Err(Stop::Memory),
        }
    }

    /// A copy of a Python text, charged to the result.
    pub(super) fn text(&mut self, text: &Bound<'py, PyString>) -> Result<String, Stop> {
        let Ok(text) = text.to_str() else {
            return Err(
                self.refuse("text with a lone surrogate, which JSON can't hold; encode it with errors=\"replace\"")
            );
        };
        self.charge(text.len().saturating_add(2))?;
        copy_of(text)
    }

    /// Charges a container of `length` parts, each taking `least` bytes of text or more, with its brackets and commas.
    fn enter(&mut self, length: usize, least: usize) -> Result<u32, Stop> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.refuse(TOO_DEEP));
        }
        let parts = length.saturating_mul(least);
        if parts > self.room.saturating_add(1) {
            return Err(self.too_large(parts.saturating_add(1)));
        }
        self.charge(2 + length.saturating_sub(1))?;
        // A list of 100,000 numbers is one allocation then, and a list of lists is none that is too large.
        self.tokens.try_reserve(length.saturating_add(1))?;
        u32::try_from(length).map_err(|_| self.too_large(length))
    }

    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Stop> {
        self.room = self.room.checked_sub(bytes).ok_or_else(|| self.too_large(bytes))?;
        Ok(())
    }

    /// What was charged so far and `bytes` more are too much.
    fn too_large(&self, bytes: usize) -> Stop {
        Stop::TooLarge((self.allowed - self.room).saturating_add(bytes))
    }

    pub(super) fn push(&mut self, token: Token) -> Result<(), Stop> {
        self.tokens.try_reserve(1)?;
        self.tokens.push(token);
        Ok(())
    }

    /// The refusal of what is being read right now: a value, or a dict's key, which no path leads to.
    pub(super) fn refuse(&self, problem: &str) -> Stop {
        match self.open.last() {
            Some(Open::Dict { keys, .. }) if keys.last == self.tokens.len() => {
                self.refuse_here(&format!("a dict with a key that is {problem}"))
            }
            _ => self.refuse_here(problem),
        }
    }

    pub(super) fn refuse_here(&self, problem: &str) -> Stop {
        let places = self.open.iter().map(|open| open.place(&self.tokens));
        Stop::NotSerializable { path: path::write(places), problem: path::clip(problem) }
    }
}

fn copy_of(text: &str) -> Result<String, Stop> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len())?;
    copy.push_str(text);
    Ok(copy)
}

/// `value` as a `T`, when that is its very type. (`cast_exact` touches the type's reference count when it is not.)
pub(super) fn exact<'a, 'py, T: PyTypeInfo>(value: Borrowed<'a, 'py, PyAny>) -> Option<Borrowed<'a, 'py, T>> {
    if !value.is_exact_instance_of::<T>() {
        return None;
    }
    // SAFETY: the line above established the type.
    Some(unsafe { value.cast_unchecked() })
}
