//! Turns the keys of a dict into text, and refuses a dict in which two become the same.
//!
//! Runs in the child, attached to the interpreter, while a result is encoded. A key is the text of what stands for the same thing
//! as a value; like a value, no key is read by code of the script.

use super::encode::{Encoder, MOST_HOPS, Reading, Stop, exact};
use super::open::{Open, release};
use crate::value::Token;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use std::collections::TryReserveError;

/// What is known of the keys of a dict that is being read.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Where in the tokens its map begins.
    pub(super) start: usize,
    /// The token of the key that came last.
    pub(super) last: usize,
    /// How many were no text.
    pub(super) odd: u32,
    /// How many of these were whole numbers.
    pub(super) whole: u32,
}

/// Two keys of a dict that became the same text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Same<'t> {
    pub(super) text: &'t str,
    /// Where in the dict they are.
    pub(super) positions: (usize, usize),
}

impl Keys {
    /// Two of `length` keys that became the same text.
    pub(super) fn same<'t>(&self, tokens: &'t [Token], length: u32) -> Result<Option<Same<'t>>, TryReserveError> {
        let mut texts = Vec::new();
        texts.try_reserve_exact(length as usize)?;
        let mut rest = tokens.get(self.start + 1..).unwrap_or_default().iter();
        for position in 0..length as usize {
            let Some(Token::Str(key)) = rest.next() else { break };
            texts.push((key.as_str(), position));
            skip(&mut rest);
        }
        texts.sort_unstable();
        let same = texts.windows(2).find(|pair| pair[0].0 == pair[1].0);
        Ok(same.map(|pair| Same { text: pair[0].0, positions: (pair[0].1, pair[1].1) }))
    }
}

/// Passes over one value.
fn skip<'t>(tokens: &mut impl Iterator<Item = &'t Token>) {
    let mut left: u64 = 1;
    while left > 0 {
        left -= 1;
        match tokens.next() {
            Some(Token::List(length)) => left += u64::from(*length),
            Some(Token::Map(length)) => left += 2 * u64::from(*length),
            Some(_) => {}
            None => return,
        }
    }
}

impl<'py> Encoder<'_, 'py> {
    /// A dict's key that is text.
    pub(super) fn text_key(&mut self, key: &Bound<'py, PyString>) -> Result<(), Stop> {
        self.key_follows();
        let text = self.text(key)?;
        self.push(Token::Str(text))
    }

    /// Any other key: the text of what stands for the same thing as a value.
    pub(super) fn odd_key(&mut self, key: &Bound<'py, PyAny>) -> Result<(), Stop> {
        self.key_follows();
        let text = match self.plain_key(key.as_borrowed())? {
            Some(text) => text,
            None => self.simplified_key(key)?,
        };
        if let Some(Open::Dict { keys, .. }) = self.open.last_mut() {
            keys.odd += 1;
            keys.whole += u32::from(key.is_exact_instance_of::<PyInt>());
        }
        self.charge(text.len() + 2)?;
        self.push(Token::Str(text))
    }

    fn simplified_key(&mut self, key: &Bound<'py, PyAny>) -> Result<String, Stop> {
        let mut simpler = key.clone();
        for _ in 0..MOST_HOPS {
            let borrowed = simpler.as_borrowed();
            let is_plain = exact::<PyTuple>(borrowed).is_some()
                || exact::<PyList>(borrowed).is_some()
                || exact::<PyDict>(borrowed).is_some()
                || exact::<PyBytes>(borrowed).is_some();
            if is_plain {
                break;
            }
            let next = match self.simplified(&simpler) {
                Ok(next) => next,
                Err(Stop::NeedsScript) if self.reading == Reading::First => return Err(Stop::NeedsScript),
                Err(Stop::NotSerializable { .. } | Stop::NeedsScript) => break,
                Err(stop) => return Err(stop),
            };
            release(std::mem::replace(&mut simpler, next));
            if let Some(text) = self.plain_key(simpler.as_borrowed())? {
                release(simpler);
                return Ok(text);
            }
        }
        Err(self.refuse_key(key))
    }

    /// A key of an exact type that has a text, as `json.dumps` writes it.
    fn plain_key(&mut self, key: Borrowed<'_, 'py, PyAny>) -> Result<Option<String>, Stop> {
        Ok(if let Some(text) = exact::<PyString>(key) {
            Some(self.text(&text)?)
        } else if let Some(number) = exact::<PyFloat>(key) {
            Some(float_key(&number))
        } else if let Some(number) = exact::<PyInt>(key) {
            Some(match number.extract::<i64>() {
                Ok(number) => number.to_string(),
                Err(_) => self.digits(&number)?,
            })
        } else if let Some(truth) = exact::<PyBool>(key) {
            Some(if truth.is_true() { "true".to_owned() } else { "false".to_owned() })
        } else {
            key.is_none().then(|| "null".to_owned())
        })
    }

    /// Notes that the next token is the key of the dict that is being read.
    fn key_follows(&mut self) {
        let token = self.tokens.len();
        if let Some(Open::Dict { keys, .. }) = self.open.last_mut() {
            keys.last = token;
        }
    }

    /// Refuses a dict, read to its end, two keys of which became the same text. Keys that are all text, or all whole numbers, can't.
    pub(super) fn compare_keys(&mut self, py: Python<'py>) -> Result<(), Stop> {
        let Some(Open::Dict { dict, length, keys, .. }) = self.open.last() else { return Ok(()) };
        if keys.odd == 0 || keys.whole == *length {
            return Ok(());
        }
        let Some(Same { text, positions }) = keys.same(&self.tokens, *length)? else { return Ok(()) };
        let problem = keys_at(dict, positions)
            .and_then(|(first, second)| self.simplify.problem_of_pair.bind(py).call1((text, first, second)))
            .map_or_else(|_| String::new(), |problem| problem.to_string());
        if let Some(Open::Dict { keys, .. }) = self.open.last_mut() {
            keys.last = usize::MAX;
        }
        Err(self.refuse_here(&problem))
    }

    fn refuse_key(&self, key: &Bound<'py, PyAny>) -> Stop {
        let problem = self.simplify.problem_of_key.bind(key.py()).call1((key,));
        self.refuse_here(
            &problem.map_or_else(|_| "a dict with a key that is no text".to_owned(), |text| text.to_string()),
        )
    }
}

/// The keys at two positions of a dict.
fn keys_at<'py>(
    dict: &Bound<'py, PyDict>,
    (first, second): (usize, usize),
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let keys = dict.keys();
    Ok((keys.get_item(first)?, keys.get_item(second)?))
}

fn float_key(number: &Bound<'_, PyFloat>) -> String {
    let value = number.value();
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        number.repr().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_of_the_same_text_are_found_past_nested_values() {
        let text = |text: &str| Token::Str(text.to_owned());
        let nested = [Token::Map(1), text("b"), Token::List(2), text("a"), Token::Null];
        let whole = |last: &str| {
            let start = [Token::List(1), Token::Map(3), text("a")];
            let end = [text("b"), Token::Null, text(last), Token::Int(1)];
            start.into_iter().chain(nested.clone()).chain(end).collect::<Vec<_>>()
        };
        let keys = Keys { start: 1, ..Keys::default() };
        assert_eq!(keys.same(&whole("c"), 3), Ok(None));
        assert_eq!(keys.same(&whole("a"), 3), Ok(Some(Same { text: "a", positions: (0, 2) })));
    }
}
