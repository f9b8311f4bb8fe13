//! The fields of a request that say how its script is run, as a [`Manner`].
//!
//! Runs in the supervisor; pure. What is read here is a client's secret: a sentence names the field, never what it holds.

use super::arguments;
use super::request::{Wrong, misfit, text_of, wrong};
use crate::manner::{ENTRYPOINT, Manner};
use crate::value::Token;
use serde_json::value::RawValue;

/// Reads them, in the order of the request's fields.
pub(super) fn parse([entrypoint, env, seed]: [Option<&RawValue>; 3]) -> Result<Manner, Wrong> {
    Ok(Manner { entrypoint: parse_entrypoint(entrypoint)?, env: parse_env(env)?, seed: parse_seed(seed)? })
}

fn parse_entrypoint(given: Option<&RawValue>) -> Result<String, Wrong> {
    match given {
        None => Ok(ENTRYPOINT.to_owned()),
        Some(name) if name.get().starts_with('"') => text_of("entrypoint", name),
        Some(_) => wrong("'entrypoint' must be a string"),
    }
}

fn parse_env(given: Option<&RawValue>) -> Result<Vec<(String, String)>, Wrong> {
    const NO_OBJECT: &str = "'env' must be an object of strings";
    let Some(given) = given else { return Ok(Vec::new()) };
    if !given.get().starts_with('{') {
        return wrong(NO_OBJECT);
    }
    let value = arguments::read(given.get()).map_err(|unfit| misfit("env", &unfit))?;
    let mut env = Vec::new();
    let mut texts = value.tokens().iter().skip(1);
    while let Some(name) = texts.next() {
        let (Token::Str(name), Some(Token::Str(text))) = (name, texts.next()) else { return wrong(NO_OBJECT) };
        env.push((name.clone(), text.clone()));
    }
    Ok(env)
}

fn parse_seed(given: Option<&RawValue>) -> Result<Option<u32>, Wrong> {
    let Some(text) = given.map(RawValue::get) else { return Ok(None) };
    let is_whole = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(seed) if is_whole => Ok(Some(seed)),
        _ => wrong(format!("'seed' must be a whole number from 0 to {}", u32::MAX)),
    }
}
