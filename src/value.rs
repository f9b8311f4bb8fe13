//! The value that `main()` returned, or that a client gave as an argument: a flat list of tokens.
//!
//! Used on both sides of the wire. A value travels in pre-order (`List(2)`, first, second), never as a
//! recursive type: neither decoding nor printing recurses, so a hostile frame can't exhaust a stack.
//! `Value` exists only validated; JSON is written from it in one pass and under a size limit.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The deepest nesting of lists and maps that a value may have.
pub const MAX_DEPTH: usize = 128;

/// The most digits an integer may have, `CPython`'s own default limit for printing one
/// (`sys.int_info.default_max_str_digits`).
pub const MAX_DIGITS: usize = 4300;

/// One piece of a value, in pre-order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Token {
    /// JSON `null`.
    Null,
    /// JSON `true` or `false`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// Any other integer, as decimal digits with an optional leading minus.
    BigInt(String),
    /// A float; NaN and the infinities are printed as `null`.
    Float(f64),
    /// Text.
    Str(String),
    /// Bytes, printed as base64 with padding (RFC 4648 §4).
    Bytes(Vec<u8>),
    /// A list; that many values follow.
    List(u32),
    /// A map; that many pairs follow, each a `Str` and a value.
    Map(u32),
}

impl Token {
    /// What it takes besides itself.
    fn size_on_heap(&self) -> usize {
        match self {
            Self::BigInt(text) | Self::Str(text) => block(text.capacity()),
            Self::Bytes(bytes) => block(bytes.capacity()),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::List(_) | Self::Map(_) => 0,
        }
    }
}

/// What glibc's allocator takes for `bytes`: a word more, in sixteens, 32 at least (malloc.c, `request2size`).
fn block(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// Why a list of tokens is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The list ends inside a container, or is empty.
    Truncated,
    /// Tokens follow the value's end.
    Trailing,
    /// Containers nest deeper than [`MAX_DEPTH`].
    TooDeep,
    /// A map's key is not text.
    KeyNotText,
    /// A `BigInt` that is not an optional minus and 1 to [`MAX_DIGITS`] digits.
    NotAnInteger,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the value ends too early",
            Self::Trailing => "tokens follow the value",
            Self::TooDeep => "the value nests too deep",
            Self::KeyNotText => "a map's key is not text",
            Self::NotAnInteger => "an integer is not written in digits",
        })
    }
}

impl std::error::Error for Malformed {}

/// The JSON text would be larger than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// A well-formed value.
#[derive(Debug, Clone, PartialEq)]
pub struct Value(Vec<Token>);

/// What an open container still expects.
enum Open {
    List(u32),
    Key(u32),
    MapValue(u32),
}

impl TryFrom<Vec<Token>> for Value {
    type Error = Malformed;

    fn try_from(tokens: Vec<Token>) -> Result<Self, Malformed> {
        let mut open: Vec<Open> = Vec::new();
        let mut rest = tokens.iter();
        loop {
            let token = rest.next().ok_or(Malformed::Truncated)?;
            if let Some(Open::Key(left)) = open.last_mut() {
                let Token::Str(_) = token else {
                    return Err(Malformed::KeyNotText);
                };
                let left = *left;
                open.pop();
                open.push(Open::MapValue(left));
                continue;
            }
            match token {
                Token::BigInt(digits) => check_digits(digits)?,
                Token::List(length) => open.push(Open::List(*length)),
                Token::Map(length) => open.push(Open::Key(*length)),
                _ => {}
            }
            if open.len() > MAX_DEPTH {
                return Err(Malformed::TooDeep);
            }
            let entered = matches!(token, Token::List(_) | Token::Map(_));
            close_complete(&mut open, entered, |_| {});
            if open.is_empty() {
                break;
            }
        }
        if rest.next().is_some() {
            return Err(Malformed::Trailing);
        }
        Ok(Self(tokens))
    }
}

/// Counts a value against its container, and closes every container that is complete, from the inside out.
///
/// `entered` says that the token just read opened a container instead of ending a value. Returns whether a value
/// ended in a container that stays open, so that another follows.
fn close_complete(open: &mut Vec<Open>, entered: bool, mut on_close: impl FnMut(&Open)) -> bool {
    let mut ended = !entered;
    while let Some(top) = open.last_mut() {
        if ended {
            match top {
                Open::List(left) | Open::Key(left) => *left -= 1,
                Open::MapValue(left) => *top = Open::Key(*left - 1),
            }
        }
        let (Open::List(left) | Open::Key(left) | Open::MapValue(left)) = top;
        if *left > 0 {
            return ended;
        }
        on_close(top);
        open.pop();
        ended = true;
    }
    false
}

fn check_digits(text: &str) -> Result<(), Malformed> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let fits = (1..=MAX_DIGITS).contains(&digits.len());
    let no_leading_zero = digits.len() == 1 || !digits.starts_with('0');
    if fits && no_leading_zero && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err(Malformed::NotAnInteger)
    }
}

impl Value {
    /// An empty list: the arguments of a call without any.
    #[must_use]
    pub fn empty_list() -> Self {
        Self(vec![Token::List(0)])
    }

    /// An empty map: the keyword arguments of a call without any.
    #[must_use]
    pub fn empty_map() -> Self {
        Self(vec![Token::Map(0)])
    }

    /// The tokens, in pre-order.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.0
    }

    /// How much memory it takes, in bytes, its texts' blocks on the heap and whatever room they have to spare included.
    #[must_use]
    pub fn size_in_memory(&self) -> usize {
        self.0.capacity() * size_of::<Token>() + self.0.iter().map(Token::size_on_heap).sum::<usize>()
    }

    /// Whether it takes more than `bytes`; found without looking at all of a large one.
    #[must_use]
    pub fn is_larger_than(&self, bytes: usize) -> bool {
        let mut left = bytes;
        let mut fits = |size: usize| left.checked_sub(size).inspect(|rest| left = *rest).is_some();
        !(fits(self.0.capacity() * size_of::<Token>()) && self.0.iter().all(|token| fits(token.size_on_heap())))
    }

    /// Appends the value as JSON text to `out`; at most `limit` bytes are added.
    ///
    /// # Errors
    /// [`TooLarge`] as soon as the text passes `limit`; `out` then holds a part of it.
    pub fn write_json(&self, out: &mut Vec<u8>, limit: usize) -> Result<(), TooLarge> {
        let end = out.len().saturating_add(limit);
        let mut open: Vec<Open> = Vec::new();
        for token in &self.0 {
            if let Some(Open::Key(left)) = open.last_mut() {
                let left = *left;
                if let Token::Str(key) = token {
                    write_text(out, key, end)?;
                }
                out.push(b':');
                open.pop();
                open.push(Open::MapValue(left));
                continue;
            }
            let mut entered = false;
            match token {
                Token::Null => out.extend_from_slice(b"null"),
                Token::Bool(true) => out.extend_from_slice(b"true"),
                Token::Bool(false) => out.extend_from_slice(b"false"),
                Token::Int(number) => write_display(out, *number),
                Token::BigInt(digits) => out.extend_from_slice(digits.as_bytes()),
                Token::Float(number) => write_float(out, *number),
                Token::Str(text) => write_text(out, text, end)?,
                Token::Bytes(bytes) => write_base64(out, bytes, end)?,
                Token::List(length) => {
                    out.push(b'[');
                    open.push(Open::List(*length));
                    entered = true;
                }
                Token::Map(length) => {
                    out.push(b'{');
                    open.push(Open::Key(*length));
                    entered = true;
                }
            }
            let more = close_complete(&mut open, entered, |closed| {
                out.push(if matches!(closed, Open::List(_)) { b']' } else { b'}' });
            });
            if more {
                out.push(b',');
            }
            if out.len() > end {
                return Err(TooLarge);
            }
        }
        Ok(())
    }
}

fn write_display(out: &mut Vec<u8>, number: i64) {
    use std::io::Write;
    // Writing to a Vec can't fail.
    let _ = write!(out, "{number}");
}

fn write_float(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        let _ = serde_json::to_writer(out, &number);
    } else {
        out.extend_from_slice(b"null");
    }
}

fn write_text(out: &mut Vec<u8>, text: &str, end: usize) -> Result<(), TooLarge> {
    if out.len().saturating_add(text.len()) > end {
        return Err(TooLarge);
    }
    let _ = serde_json::to_writer(out, text);
    Ok(())
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8], end: usize) -> Result<(), TooLarge> {
    use base64::Engine;
    if out.len().saturating_add(bytes.len() / 3 * 4) > end {
        return Err(TooLarge);
    }
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(tokens: Vec<Token>) -> String {
        let value = Value::try_from(tokens).expect("well-formed");
        let mut out = Vec::new();
        value.write_json(&mut out, 1 << 20).expect("small");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    fn text(text: &str) -> Token {
        Token::Str(text.to_owned())
    }

    #[test]
    fn containers_nest_and_close() {
        let tokens = vec![
            Token::Map(3),
            text("a"),
            Token::List(2),
            Token::Int(-1),
            Token::List(0),
            text("b\"\n"),
            Token::Map(0),
            text("c"),
            Token::Map(1),
            text("d"),
            Token::Float(1.5),
        ];
        assert_eq!(json(tokens), r#"{"a":[-1,[]],"b\"\n":{},"c":{"d":1.5}}"#);
    }

    #[test]
    fn scalars_print_as_json() {
        assert_eq!(json(vec![Token::Null]), "null");
        assert_eq!(json(vec![Token::Float(f64::NAN)]), "null");
        assert_eq!(json(vec![Token::Float(1.0)]), "1.0");
        assert_eq!(json(vec![Token::Bytes(vec![0, 255])]), "\"AP8=\"");
        assert_eq!(json(vec![Token::BigInt("-12345678901234567890".into())]), "-12345678901234567890");
    }

    #[test]
    fn malformed_lists_are_refused() {
        let cases = [
            (vec![], Malformed::Truncated),
            (vec![Token::List(2), Token::Null], Malformed::Truncated),
            (vec![Token::List(u32::MAX), Token::Null], Malformed::Truncated),
            (vec![Token::Null, Token::Null], Malformed::Trailing),
            (vec![Token::Map(1), Token::Int(1), Token::Null], Malformed::KeyNotText),
            (vec![Token::BigInt("1e9".into())], Malformed::NotAnInteger),
            (vec![Token::BigInt("-".into())], Malformed::NotAnInteger),
            (vec![Token::BigInt("007".into())], Malformed::NotAnInteger),
            (vec![Token::BigInt("9".repeat(MAX_DIGITS + 1))], Malformed::NotAnInteger),
            (vec![Token::List(1); MAX_DEPTH + 1], Malformed::TooDeep),
        ];
        for (tokens, expected) in cases {
            assert_eq!(Value::try_from(tokens), Err(expected));
        }
    }

    #[test]
    fn the_size_limit_holds_while_writing() {
        let value = Value::try_from(vec![Token::Str("x".repeat(100))]).expect("well-formed");
        assert_eq!(value.write_json(&mut Vec::new(), 50), Err(TooLarge));
        assert_eq!(value.write_json(&mut Vec::new(), 102), Ok(()));
    }

    fn token() -> impl Strategy<Value = Token> {
        prop_oneof![
            Just(Token::Null),
            any::<bool>().prop_map(Token::Bool),
            any::<i64>().prop_map(Token::Int),
            any::<f64>().prop_map(Token::Float),
            ".{0,8}".prop_map(Token::Str),
            proptest::collection::vec(any::<u8>(), 0..8).prop_map(Token::Bytes),
            (0u32..4).prop_map(Token::List),
            (0u32..4).prop_map(Token::Map),
            "-?[0-9]{1,30}".prop_map(Token::BigInt),
        ]
    }

    proptest! {
        #[test]
        fn whatever_validates_prints_as_json(tokens in proptest::collection::vec(token(), 0..40)) {
            if let Ok(value) = Value::try_from(tokens) {
                let mut out = Vec::new();
                if value.write_json(&mut out, 1 << 16).is_ok() {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_value_counts_what_it_takes() {
        let of = |tokens: Vec<Token>| Value::try_from(tokens).expect("a value");
        let many = of([vec![Token::List(1000)], vec![Token::Str("x".to_owned()); 1000]].concat());
        // Each text of one letter has a block of 32 bytes besides its token.
        assert!(many.size_in_memory() >= 1000 * (size_of::<Token>() + 32));
        assert!(many.is_larger_than(40_000) && !many.is_larger_than(many.size_in_memory()));
        let mut roomy = vec![Token::Null];
        roomy.reserve(5000);
        assert!(of(roomy).size_in_memory() >= 5000 * size_of::<Token>(), "room to spare takes memory too");
    }
}
