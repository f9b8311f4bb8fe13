//! The fields of a request that say how its script is run, as a [`Manner`].
//!
//! Runs in the supervisor; pure. What is read here is a client's secret: a sentence names the field, never what it holds.

use super::arguments;
use super::request::{Wrong, misfit, refused, text_of, wrong};
use crate::errors::Refused;
use crate::manner::{Manner, Mode};
use crate::value::Token;
use serde_json::value::RawValue;

/// Reads them, in the order of the request's fields.
pub(super) fn parse([mode, entrypoint, argv, env, seed]: [Option<&RawValue>; 5]) -> Result<Manner, Wrong> {
    Ok(Manner {
        mode: parse_mode(mode)?,
        entrypoint: parse_entrypoint(entrypoint)?,
        argv: parse_argv(argv)?,
        env: parse_env(env)?,
        seed: parse_seed(seed)?,
    })
}

fn parse_mode(given: Option<&RawValue>) -> Result<Mode, Wrong> {
    let Some(given) = given else { return Ok(Mode::default()) };
    let name: Option<String> = serde_json::from_str(given.get()).ok();
    match Mode::ALL.into_iter().find(|mode| name.as_deref() == Some(mode.as_str())) {
        Some(mode) => Ok(mode),
        None => {
            wrong(Refused::ModeUnknown, format!("'mode' must be one of {}", Mode::ALL.map(Mode::as_str).join(", ")))
        }
    }
}

fn parse_argv(given: Option<&RawValue>) -> Result<Vec<String>, Wrong> {
    let Some(given) = given else { return Ok(Vec::new()) };
    if !given.get().starts_with('[') {
        return refused(Refused::ArgvNoTexts);
    }
    let value = arguments::read(given.get()).map_err(|unfit| misfit("argv", &unfit))?;
    let texts = value.tokens().iter().skip(1).map(|token| match token {
        Token::Str(text) => Ok(text.clone()),
        _ => refused(Refused::ArgvNoTexts),
    });
    texts.collect()
}

fn parse_entrypoint(given: Option<&RawValue>) -> Result<Option<String>, Wrong> {
    match given {
        None => Ok(None),
        Some(name) if name.get().starts_with('"') => text_of("entrypoint", name).map(Some),
        Some(_) => refused(Refused::EntrypointNoText),
    }
}

fn parse_env(given: Option<&RawValue>) -> Result<Vec<(String, String)>, Wrong> {
    let Some(given) = given else { return Ok(Vec::new()) };
    if !given.get().starts_with('{') {
        return refused(Refused::EnvNoTexts);
    }
    let value = arguments::read(given.get()).map_err(|unfit| misfit("env", &unfit))?;
    let mut env = Vec::new();
    let mut texts = value.tokens().iter().skip(1);
    while let Some(name) = texts.next() {
        let (Token::Str(name), Some(Token::Str(text))) = (name, texts.next()) else {
            return refused(Refused::EnvNoTexts);
        };
        env.push((name.clone(), text.clone()));
    }
    Ok(env)
}

fn parse_seed(given: Option<&RawValue>) -> Result<Option<u32>, Wrong> {
    let Some(text) = given.map(RawValue::get) else { return Ok(None) };
    let is_whole = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(seed) if is_whole => Ok(Some(seed)),
        _ => wrong(Refused::SeedNoNumber, format!("'seed' must be a whole number from 0 to {}", u32::MAX)),
    }
}
