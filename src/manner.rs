//! How a script is run: which function is called, and what surroundings it finds.
//!
//! Used in the supervisor, where a request's wishes are checked, and in the child, which gets them with its job. Environment and
//! arguments are a client's secrets: nothing of them is logged, and no program is executed with them.

use crate::size::ByteSize;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The function that is called where a request names none.
pub const ENTRYPOINT: &str = "main";

/// How a script is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// The function that is called.
    pub entrypoint: String,
    /// Names and values that are added to the script's environment.
    pub env: Vec<(String, String)>,
    /// What `random` and `numpy.random` are seeded with.
    pub seed: Option<u32>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { entrypoint: ENTRYPOINT.to_owned(), env: Vec::new(), seed: None }
    }
}

/// How many texts there may be, and how long they may be together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Texts {
    /// Entries.
    pub count: usize,
    /// Bytes of UTF-8, names included.
    pub bytes: ByteSize,
}

/// What manners are held to. Every value comes from `config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MannerBounds {
    /// Of `env`.
    pub env: Texts,
}

/// Why a script is not run in such a manner. The client is told so, without any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It can't name a function.
    Entrypoint,
    /// More entries than there may be, of the field.
    TooMany(&'static str, usize),
    /// Longer together than they may be, of the field.
    TooLong(&'static str, ByteSize),
    /// A text of the field holds a null character, which ends a text for the system.
    Null(&'static str),
    /// A name of the environment is empty.
    NoName,
    /// A name of the environment holds `=`, which ends a name for the system.
    EqualsSign,
    /// A name of the environment is given twice.
    Repeated,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entrypoint => f.write_str("'entrypoint' must be the name of a function, as \"main\""),
            Self::TooMany(field, most) => write!(f, "'{field}' has too many entries: the maximum is {most}"),
            Self::TooLong(field, most) => write!(f, "'{field}' is too large: the maximum is {most} for all of it"),
            Self::Null(field) => write!(f, "'{field}' holds a null character, which the system takes for an end"),
            Self::NoName => f.write_str("'env' has an empty name"),
            Self::EqualsSign => f.write_str("'env' has a name with '=', which the system takes for its end"),
            Self::Repeated => f.write_str("'env' has a name more than once"),
        }
    }
}

impl std::error::Error for Wrong {}

impl Manner {
    /// Checks it against the server's bounds.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self, bounds: &MannerBounds) -> Result<(), Wrong> {
        if !is_name(&self.entrypoint) {
            return Err(Wrong::Entrypoint);
        }
        let parts = self.env.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        bounds.env.check("env", self.env.len(), &parts)?;
        if self.env.iter().any(|(name, _)| name.is_empty()) {
            return Err(Wrong::NoName);
        }
        if self.env.iter().any(|(name, _)| name.contains('=')) {
            return Err(Wrong::EqualsSign);
        }
        let mut names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) { Err(Wrong::Repeated) } else { Ok(()) }
    }

    /// How much memory its texts take, in bytes.
    #[must_use]
    pub fn size_in_memory(&self) -> usize {
        let texts = self.env.iter().map(|(name, value)| name.capacity() + value.capacity());
        self.entrypoint.capacity() + self.env.capacity() * size_of::<(String, String)>() + texts.sum::<usize>()
    }
}

impl Texts {
    fn check<'a>(
        &self,
        field: &'static str,
        count: usize,
        parts: &(impl Iterator<Item = &'a str> + Clone),
    ) -> Result<(), Wrong> {
        if count > self.count {
            return Err(Wrong::TooMany(field, self.count));
        }
        if parts.clone().map(str::len).sum::<usize>() as u64 > self.bytes.0 {
            return Err(Wrong::TooLong(field, self.bytes));
        }
        if parts.clone().any(|text| text.contains('\0')) { Err(Wrong::Null(field)) } else { Ok(()) }
    }
}

/// Whether Python could have such a name for a function.
fn is_name(name: &str) -> bool {
    const LONGEST: usize = 200;
    let mut letters = name.chars();
    name.len() <= LONGEST
        && letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|next| next.is_alphanumeric() || next == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: MannerBounds = MannerBounds { env: Texts { count: 2, bytes: ByteSize(10) } };

    fn with_env(env: &[(&str, &str)]) -> Manner {
        let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Manner { env, ..Manner::default() }
    }

    #[track_caller]
    fn check(manner: &Manner, expected: impl Into<Option<Wrong>>) {
        assert_eq!(manner.check(&BOUNDS).err(), expected.into());
    }

    #[test]
    fn a_function_has_a_name() {
        for name in ["main", "_x1", "solve", "größe"] {
            check(&Manner { entrypoint: name.to_owned(), ..Manner::default() }, None);
        }
        let long = "f".repeat(201);
        for name in ["", "1", "a b", "a.b", "main()", "a\0", "ma-in", long.as_str()] {
            check(&Manner { entrypoint: name.to_owned(), ..Manner::default() }, Wrong::Entrypoint);
        }
    }

    #[test]
    fn an_environment_is_names_and_values_and_bounded() {
        check(&with_env(&[("A", "é=\n"), ("B", "")]), None);
        check(&with_env(&[("A", ""), ("B", ""), ("C", "")]), Wrong::TooMany("env", 2));
        check(&with_env(&[("A", "123456789")]), None);
        check(&with_env(&[("A", "1234567890")]), Wrong::TooLong("env", ByteSize(10)));
        check(&with_env(&[("A\0", "")]), Wrong::Null("env"));
        check(&with_env(&[("A", "\0")]), Wrong::Null("env"));
        check(&with_env(&[("", "x")]), Wrong::NoName);
        check(&with_env(&[("A=B", "x")]), Wrong::EqualsSign);
        check(&with_env(&[("A", "x"), ("A", "x")]), Wrong::Repeated);
    }
}
