//! How a script is run: which function is called, and what surroundings it finds.
//!
//! Used in the supervisor, where a request's wishes are checked, and in the child, which gets them with its job. Environment and
//! arguments are a client's secrets: nothing of them is logged, and no program is executed with them.

#[path = "manner/defines.rs"]
mod defines;

use crate::size::ByteSize;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The function that is called where a request names none.
pub const ENTRYPOINT: &str = "main";

/// What is done with a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mode {
    /// A function of it is called, and returns the result.
    #[default]
    Function,
    /// It is run as `python3 main.py` would.
    Program,
    /// The one where it defines the function, else the other. No job has it.
    Auto,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Function, Self::Program, Self::Auto];

    /// Its name in a request.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Program => "program",
            Self::Auto => "auto",
        }
    }
}

/// How a script is run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manner {
    /// What is done with it.
    pub mode: Mode,
    /// The function that is called; without it, [`ENTRYPOINT`].
    pub entrypoint: Option<String>,
    /// `sys.argv[1:]` of a program.
    pub argv: Vec<String>,
    /// Names and values that are added to the script's environment.
    pub env: Vec<(String, String)>,
    /// What `random` and `numpy.random` are seeded with.
    pub seed: Option<u32>,
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
    /// Of `argv`.
    pub argv: Texts,
    /// Of `env`.
    pub env: Texts,
}

/// Why a script is not run in such a manner. The client is told so, without any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The field is for a function, and none is called.
    NotInProgram(&'static str),
    /// The field is for a program, and a function is called.
    NotInFunction(&'static str),
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
            Self::NotInProgram(field) => {
                write!(
                    f,
                    "'{field}' is for a function, and a program calls none; use 'argv', 'stdin' or mode \"function\""
                )
            }
            Self::NotInFunction(field) => {
                write!(f, "'{field}' is for a program, and a function is called; use 'args' or mode \"program\"")
            }
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
        if !is_name(self.function()) {
            return Err(Wrong::Entrypoint);
        }
        match self.mode {
            Mode::Program if self.entrypoint.is_some() => return Err(Wrong::NotInProgram("entrypoint")),
            Mode::Function if !self.argv.is_empty() => return Err(Wrong::NotInFunction("argv")),
            _ => {}
        }
        bounds.argv.check("argv", self.argv.len(), &self.argv.iter().map(String::as_str))?;
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

    /// The function that is called.
    #[must_use]
    pub fn function(&self) -> &str {
        self.entrypoint.as_deref().unwrap_or(ENTRYPOINT)
    }

    /// Itself, with the mode that `script` is run in.
    #[must_use]
    pub fn settled(mut self, script: &str) -> Self {
        if self.mode == Mode::Auto {
            let is_function = defines::defines(script, self.function());
            self.mode = if is_function { Mode::Function } else { Mode::Program };
            if self.mode == Mode::Program {
                self.entrypoint = None;
            }
        }
        self
    }

    /// How much memory its texts take, in bytes.
    #[must_use]
    pub fn size_in_memory(&self) -> usize {
        let texts = self.env.iter().map(|(name, value)| name.capacity() + value.capacity());
        let entries = self.env.capacity() * size_of::<(String, String)>() + self.argv.capacity() * size_of::<String>();
        let argv = self.argv.iter().map(String::capacity).sum::<usize>();
        self.function().len() + entries + argv + texts.sum::<usize>()
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

    const TEXTS: Texts = Texts { count: 2, bytes: ByteSize(10) };
    const BOUNDS: MannerBounds = MannerBounds { argv: TEXTS, env: TEXTS };

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
            check(&Manner { entrypoint: Some(name.to_owned()), ..Manner::default() }, None);
        }
        let long = "f".repeat(201);
        for name in ["", "1", "a b", "a.b", "main()", "a\0", "ma-in", long.as_str()] {
            check(&Manner { entrypoint: Some(name.to_owned()), ..Manner::default() }, Wrong::Entrypoint);
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

    #[test]
    fn arguments_are_a_programs_and_bounded() {
        let with = |mode, argv: &[&str]| Manner {
            mode,
            argv: argv.iter().map(|&text| text.to_owned()).collect(),
            ..Manner::default()
        };
        check(&with(Mode::Program, &["a=b", ""]), None);
        check(&with(Mode::Function, &["a"]), Wrong::NotInFunction("argv"));
        check(&with(Mode::Program, &["", "", ""]), Wrong::TooMany("argv", 2));
        check(&with(Mode::Program, &["12345678901"]), Wrong::TooLong("argv", ByteSize(10)));
        check(&with(Mode::Program, &["a\0"]), Wrong::Null("argv"));
        let named = Manner { mode: Mode::Program, entrypoint: Some("main".to_owned()), ..Manner::default() };
        check(&named, Wrong::NotInProgram("entrypoint"));
    }

    #[test]
    fn auto_follows_the_script() {
        let auto = |script: &str| Manner { mode: Mode::Auto, ..Manner::default() }.settled(script).mode;
        assert_eq!((auto("def main(): pass"), auto("print(1)")), (Mode::Function, Mode::Program));
    }
}
