//! The body of `POST /execute` as a [`Job`], or one sentence that says what is wrong with it.
//!
//! Runs in the supervisor; pure. Checks come in a fixed order, so that a request that is wrong in two ways always gets
//! the same sentence: JSON, script, unknown and repeated fields, then the other fields as they are listed in [`FIELDS`].

use super::arguments::{self, Unfit};
use super::files;
use super::manner;
use super::rows;
use crate::errors::Refused;
use crate::job::{self, Asked, Bounds, Draft, Include, Job, Limit};
use crate::value::Value;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The fields of a request.
const FIELDS: [&str; 12] =
    ["script", "args", "kwargs", "stdin", "limits", "include", "files", "mode", "entrypoint", "argv", "env", "seed"];
/// The fields of `limits`.
const LIMITS: [&str; 4] = ["wall_ms", "cpu_ms", "memory_mb", "output_bytes"];
/// The words of `include`.
const INCLUDE: [&str; 4] = ["stdout", "stderr", "usage", "isolation"];

/// A request that can't be run: the sentence of its 400, and the row that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The row.
    pub refused: Refused,
    /// Of the row's form.
    pub sentence: Cow<'static, str>,
}

impl Wrong {
    /// The sentence as the row has it, or with what belongs into it.
    pub(super) fn new(refused: Refused, sentence: impl Into<Cow<'static, str>>) -> Self {
        let sentence = sentence.into();
        debug_assert!(refused.fits(&sentence), "{refused:?}: {sentence}");
        Self { refused, sentence }
    }

    /// What to do, where the sentence, which is fixed, does not say it.
    pub fn hint(&self) -> Option<&'static str> {
        (self.refused == Refused::ScriptTooLarge).then_some(
            "MAYFLY_SCRIPT_BYTES sets the largest script; data goes into args, kwargs or stdin, not into the script",
        )
    }
}

impl From<job::Wrong> for Wrong {
    fn from(wrong: job::Wrong) -> Self {
        Self::new(rows::of_job(&wrong), wrong.to_string())
    }
}

/// A sentence that stands as it is.
pub(super) fn refused<T>(refused: Refused) -> Result<T, Wrong> {
    Err(Wrong::new(refused, refused.form()))
}

pub(super) fn wrong<T>(refused: Refused, sentence: String) -> Result<T, Wrong> {
    Err(Wrong::new(refused, sentence))
}

/// Reads a request's body.
pub fn parse(body: &[u8], bounds: &Bounds) -> Result<Job, Wrong> {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => {
            let sentence = format!("Request body is not valid UTF-8 (at byte {})", error.valid_up_to());
            return wrong(Refused::NotUtf8, sentence);
        }
    };
    let fields: Object<'_, { FIELDS.len() }> = parse_object(text)?;
    let [script, args, kwargs, stdin, limits, include, files, manner @ ..] = fields.values;
    let script = parse_script(script, bounds)?;
    fields.others.check("", &FIELDS)?;
    let [args, kwargs, stdin, limits, include, files] = [args, kwargs, stdin, limits, include, files].map(present);
    let draft = Draft {
        script,
        args: parse_arguments("args", args, Value::empty_list, Refused::ArgsNoList)?,
        kwargs: parse_arguments("kwargs", kwargs, Value::empty_map, Refused::KwargsNoObject)?,
        stdin: parse_stdin(stdin)?,
        limits: parse_limits(limits, bounds)?,
        include: parse_include(include)?,
        files: files::parse(files)?,
        manner: manner::parse(manner.map(present))?,
    };
    Ok(Job::new(draft, bounds)?)
}

pub(super) fn parse_object<'a, const N: usize>(text: &'a str) -> Result<Object<'a, N>, Wrong>
where
    Object<'a, N>: Fields,
{
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => Wrong::new(Refused::NoObject, Refused::NoObject.form()),
        _ if text.trim().is_empty() => Wrong::new(Refused::Empty, Refused::Empty.form()),
        _ => {
            let sentence = format!("Request body is not valid JSON: {error}{}", not_a_number(text, &error));
            Wrong::new(Refused::NotJson, sentence)
        }
    })
}

/// What Python's `json.dumps` writes for numbers that JSON lacks, where the parser stopped at one.
fn not_a_number(text: &str, error: &serde_json::Error) -> &'static str {
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    // The parser names the first letter, or the one after a minus.
    let from = error.column().saturating_sub(2);
    let rest = line.get(from..).unwrap_or_default().trim_start_matches([':', ',', '[', ' ', '-']);
    if ["NaN", "Infinity"].iter().any(|number| rest.starts_with(number)) {
        " (JSON has no NaN and no Infinity; send null, or a string that the script gives to float())"
    } else {
        ""
    }
}

/// A field that is there: clients in Go, Java and TypeScript write the ones that are not set as `null`.
fn present(given: Option<&RawValue>) -> Option<&RawValue> {
    given.filter(|value| value.get() != "null")
}

fn parse_script(script: Option<&RawValue>, bounds: &Bounds) -> Result<String, Wrong> {
    let Some(script) = script else { return refused(Refused::NoScript) };
    if !script.get().starts_with('"') {
        return refused(Refused::ScriptNoText);
    }
    let script = text_of("script", script)?;
    // Before the other fields are looked at, so that this is the sentence whatever else is wrong.
    bounds.check_script(&script)?;
    Ok(script)
}

pub(super) fn text_of(name: &str, literal: &RawValue) -> Result<String, Wrong> {
    match arguments::read_text(literal.get()) {
        Ok(text) => Ok(text.into_owned()),
        Err(unfit) => Err(misfit(name, &unfit)),
    }
}

pub(super) fn misfit(name: &str, unfit: &Unfit) -> Wrong {
    Wrong::new(rows::of_unfit(unfit), format!("'{name}' {unfit}"))
}

fn parse_arguments(
    name: &'static str,
    given: Option<&RawValue>,
    absent: fn() -> Value,
    otherwise: Refused,
) -> Result<Value, Wrong> {
    let opens_with = if otherwise == Refused::ArgsNoList { '[' } else { '{' };
    match given {
        None => Ok(absent()),
        Some(given) if given.get().starts_with(opens_with) => {
            arguments::read(given.get()).map_err(|unfit| misfit(name, &unfit))
        }
        Some(_) => refused(otherwise),
    }
}

fn parse_stdin(stdin: Option<&RawValue>) -> Result<String, Wrong> {
    match stdin {
        None => Ok(String::new()),
        Some(stdin) if stdin.get().starts_with('"') => text_of("stdin", stdin),
        Some(_) => refused(Refused::StdinNoText),
    }
}

fn parse_limits(given: Option<&RawValue>, bounds: &Bounds) -> Result<Asked, Wrong> {
    let Some(given) = given else { return Ok(Asked::default()) };
    if !given.get().starts_with('{') {
        return refused(Refused::LimitsNoObject);
    }
    let fields: Object<'_, { LIMITS.len() }> = parse_object(given.get())?;
    fields.others.check("limits.", &LIMITS)?;
    let [wall, cpu, memory, output] = fields.values.map(present);
    let number = |limit, given| parse_number(limit, given, bounds);
    let asked = Asked {
        wall_ms: number(Limit::Wall, wall)?,
        cpu_ms: number(Limit::Cpu, cpu)?,
        memory_mb: number(Limit::Memory, memory)?,
        output_bytes: number(Limit::Output, output)?,
    };
    Ok(asked)
}

/// A limit as a whole number that it may be, so that the first one that is wrong is the one that is named.
fn parse_number(limit: Limit, given: Option<&RawValue>, bounds: &Bounds) -> Result<Option<u64>, Wrong> {
    let Some(text) = given.map(RawValue::get) else { return Ok(None) };
    let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_whole {
        return Err(job::Wrong::LimitNotInRange(limit, bounds.range(limit)).into());
    }
    // More digits than fit a u64 are above any maximum.
    let number = text.parse().unwrap_or(u64::MAX);
    bounds.check_limit(limit, number)?;
    Ok(Some(number))
}

fn parse_include(given: Option<&RawValue>) -> Result<Include, Wrong> {
    let mut include = Include::default();
    let Some(given) = given else { return Ok(include) };
    let Ok(words) = serde_json::from_str::<Vec<Cow<'_, str>>>(given.get()) else {
        let sentence = format!("'include' must be a list of strings; known ones are {}", INCLUDE.join(", "));
        return wrong(Refused::IncludeNoList, sentence);
    };
    for word in words {
        match word.as_ref() {
            "stdout" => include.stdout = true,
            "stderr" => include.stderr = true,
            "usage" => include.usage = true,
            "isolation" => include.isolation = true,
            unknown => {
                let known = INCLUDE.join(", ");
                let sentence = format!("Unknown word {} in 'include'; known ones are {known}", shown(unknown));
                return wrong(Refused::UnknownInclude, sentence);
            }
        }
    }
    Ok(include)
}

/// A name from a client, in quotes and short enough for a sentence.
fn shown(name: &str) -> String {
    const LONGEST: usize = 40;
    match name.char_indices().nth(LONGEST) {
        None => format!("'{name}'"),
        Some((end, _)) => format!("'{}…'", &name[..end]),
    }
}

/// An object whose fields are known by name, each as the text it was written as.
pub(super) struct Object<'a, const N: usize> {
    pub(super) values: [Option<&'a RawValue>; N],
    pub(super) others: Others,
}

/// What an object holds besides one value for each known field.
#[derive(Default)]
pub(super) struct Others {
    repeated: Option<&'static str>,
    /// The first few, which are enough for a sentence.
    unknown: Vec<String>,
}

impl Others {
    pub(super) fn check(&self, prefix: &str, known: &[&str]) -> Result<(), Wrong> {
        if let Some(name) = self.repeated {
            return wrong(Refused::FieldTwice, format!("'{prefix}{name}' is given more than once"));
        }
        if self.unknown.is_empty() {
            return Ok(());
        }
        let unknown: Vec<String> = self.unknown.iter().map(|name| shown(&format!("{prefix}{name}"))).collect();
        let noun = if unknown.len() == 1 { "field" } else { "fields" };
        let sentence = format!("Unknown {noun} {}; known fields are {}", unknown.join(", "), known.join(", "));
        wrong(Refused::UnknownField, sentence)
    }
}

/// Which fields an object has.
pub(super) trait Fields {
    const NAMES: &'static [&'static str];
}

impl Fields for Object<'_, { FIELDS.len() }> {
    const NAMES: &'static [&'static str] = &FIELDS;
}

impl Fields for Object<'_, { LIMITS.len() }> {
    const NAMES: &'static [&'static str] = &LIMITS;
}

impl Fields for Object<'_, { files::BYTES.len() }> {
    const NAMES: &'static [&'static str] = &files::BYTES;
}

impl<'de: 'a, 'a, const N: usize> Deserialize<'de> for Object<'a, N>
where
    Self: Fields,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor::<N>(Self::NAMES))
    }
}

struct ObjectVisitor<const N: usize>(&'static [&'static str]);

impl<'de, const N: usize> Visitor<'de> for ObjectVisitor<N> {
    type Value = Object<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        /// How many unknown names a sentence holds.
        const NAMED: usize = 5;
        let mut object = Object { values: [None; N], others: Others::default() };
        while let Some(Name(name)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            if let Some(index) = self.0.iter().position(|known| *known == name) {
                if object.values[index].replace(value).is_some() {
                    object.others.repeated = Some(self.0[index]);
                }
            } else if object.others.unknown.len() < NAMED {
                object.others.unknown.push(name.into_owned());
            }
        }
        Ok(object)
    }
}

/// A field's name, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
