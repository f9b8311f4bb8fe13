//! A JSON value of the request, as the tokens of a [`Value`].
//!
//! Runs in the supervisor; pure. The text was found to be JSON before it comes here; this reads it once, without
//! recursion, as Python's own `json` module would: integers keep every digit, and of equal keys the last one counts.

use crate::value::{MAX_DEPTH, MAX_DIGITS, Malformed, Token, Value};
use std::borrow::Cow;

/// Why a value of valid JSON can't be given to a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Lists and objects nest deeper than [`MAX_DEPTH`].
    TooDeep,
    /// An integer has more than [`MAX_DIGITS`] digits.
    TooManyDigits,
    /// A number with a fraction or an exponent is beyond what a float holds.
    OutOfRange,
    /// Half of a surrogate pair, as `"\ud800"`, which is no character.
    LoneSurrogate,
    /// Not reached with valid JSON.
    Malformed,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooDeep => write!(f, "nests deeper than {MAX_DEPTH} levels"),
            Self::TooManyDigits => write!(f, "holds an integer of more than {MAX_DIGITS} digits"),
            Self::OutOfRange => f.write_str("holds a number that is out of range for a float"),
            Self::LoneSurrogate => f.write_str("holds a lone surrogate escape such as \\ud800, which is no character"),
            Self::Malformed => f.write_str("is malformed"),
        }
    }
}

impl From<Malformed> for Unfit {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::TooDeep => Self::TooDeep,
            _ => Self::Malformed,
        }
    }
}

/// A list or an object that is not closed yet.
struct Open {
    /// Where its token is.
    at: usize,
    count: u32,
    /// Whether the next string is a key.
    key_next: bool,
}

/// Reads `json`, which is one complete JSON value.
pub(super) fn read(json: &str) -> Result<Value, Unfit> {
    let mut reader = Reader { json, position: 0, tokens: Vec::new(), open: Vec::new() };
    while let Some(byte) = json.as_bytes().get(reader.position) {
        reader.step(*byte)?;
    }
    Ok(Value::try_from(reader.tokens)?)
}

/// The text of a JSON string literal, quotes included.
pub(super) fn read_text(literal: &str) -> Result<Cow<'_, str>, Unfit> {
    match literal.get(1..literal.len().saturating_sub(1)) {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        // Nothing else of a literal that is valid JSON can fail.
        _ => serde_json::from_str(literal).map(Cow::Owned).map_err(|_| Unfit::LoneSurrogate),
    }
}

struct Reader<'a> {
    json: &'a str,
    position: usize,
    tokens: Vec<Token>,
    open: Vec<Open>,
}

impl Reader<'_> {
    fn step(&mut self, byte: u8) -> Result<(), Unfit> {
        match byte {
            b'{' | b'[' => self.enter(byte == b'{')?,
            b'}' | b']' => self.leave()?,
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.scalar(Token::Bool(true), "true".len()),
            b'f' => self.scalar(Token::Bool(false), "false".len()),
            b'n' => self.scalar(Token::Null, "null".len()),
            _ => {
                if let (b',', Some(open)) = (byte, self.open.last_mut()) {
                    open.key_next = matches!(self.tokens[open.at], Token::Map(_));
                }
                self.position += 1;
            }
        }
        Ok(())
    }

    fn scalar(&mut self, token: Token, length: usize) {
        if let Some(open) = self.open.last_mut() {
            // A map counts its keys, and a value follows each.
            let is_map_value = !open.key_next && matches!(self.tokens[open.at], Token::Map(_));
            open.count += u32::from(!is_map_value);
            open.key_next = false;
        }
        self.tokens.push(token);
        self.position += length;
    }

    fn enter(&mut self, is_map: bool) -> Result<(), Unfit> {
        if self.open.len() == MAX_DEPTH {
            return Err(Unfit::TooDeep);
        }
        let at = self.tokens.len();
        self.scalar(if is_map { Token::Map(0) } else { Token::List(0) }, 1);
        self.open.push(Open { at, count: 0, key_next: is_map });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Unfit> {
        let closed = self.open.pop().ok_or(Unfit::Malformed)?;
        if let Token::Map(length) | Token::List(length) = &mut self.tokens[closed.at] {
            *length = closed.count;
        }
        self.position += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Unfit> {
        let rest = &self.json.as_bytes()[self.position..];
        let mut length = 1;
        loop {
            match rest.get(length).ok_or(Unfit::Malformed)? {
                b'"' => break,
                b'\\' => length += 2,
                _ => length += 1,
            }
        }
        length += 1;
        let literal = &self.json[self.position..self.position + length];
        let text = read_text(literal)?.into_owned();
        self.scalar(Token::Str(text), length);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Unfit> {
        let rest = &self.json[self.position..];
        let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.bytes().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        let text = &rest[..length];
        let token = if text.contains(['.', 'e', 'E']) {
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Token::Float(number),
                _ => return Err(Unfit::OutOfRange),
            }
        } else if let Ok(number) = text.parse() {
            Token::Int(number)
        } else if text.trim_start_matches('-').len() <= MAX_DIGITS {
            Token::BigInt(text.to_owned())
        } else {
            return Err(Unfit::TooManyDigits);
        };
        self.scalar(token, length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again(json: &str) -> String {
        let mut out = Vec::new();
        read(json).expect("fit").write_json(&mut out, 1 << 20).expect("small");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn values_keep_their_shape() {
        let cases = [
            ("[]", "[]"),
            ("{}", "{}"),
            (r#" [ 1 , [ 2.5 , { "a" : [ ] , "b" : { } } ] , "x" ] "#, r#"[1,[2.5,{"a":[],"b":{}}],"x"]"#),
            (r#"{"a":true,"b":false,"c":null}"#, r#"{"a":true,"b":false,"c":null}"#),
            (r#"{"k":{"k":{"k":[{}]}},"l":"]}\"\\"}"#, r#"{"k":{"k":{"k":[{}]}},"l":"]}\"\\"}"#),
            (r#"["\u00e9\ud83d\ude00"]"#, "[\"\u{e9}\u{1f600}\"]"),
            ("[-0, 1E2, -1.5e-3]", "[0,100.0,-0.0015]"),
            (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
            ("7", "7"),
        ];
        for (given, expected) in cases {
            assert_eq!(again(given), expected, "{given}");
        }
    }

    #[test]
    fn integers_keep_every_digit() {
        for digits in ["9223372036854775807", "9223372036854775808", "-123456789012345678901234567890"] {
            assert_eq!(again(digits), digits);
        }
        assert_eq!(again(&"9".repeat(MAX_DIGITS)), "9".repeat(MAX_DIGITS));
        assert_eq!(read(&"9".repeat(MAX_DIGITS + 1)), Err(Unfit::TooManyDigits));
    }

    #[test]
    fn what_no_script_could_be_given_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(Unfit::TooDeep));
        assert_eq!(read(&nested(1_000_000)), Err(Unfit::TooDeep));
        assert_eq!(read("[1e400]"), Err(Unfit::OutOfRange));
        assert_eq!(read(r#"["\ud800"]"#), Err(Unfit::LoneSurrogate));
        assert_eq!(read(r#"[{"\udc00x":1}]"#), Err(Unfit::LoneSurrogate));
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            ".{0,6}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
                proptest::collection::hash_map(".{0,4}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_comes_out_as_it_went_in(value in json()) {
            for text in [value.to_string(), format!("{value:#}")] {
                let out: serde_json::Value = serde_json::from_str(&again(&text)).expect("JSON");
                prop_assert_eq!(&out, &value);
            }
        }
    }
}
