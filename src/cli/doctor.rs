//! `mayfly doctor`: which isolation levels this machine provides, what is missing, and what to change.

use super::exit;
use crate::children::cgroups::{Cgroups, Refused};
use crate::children::launcher::Launcher;
use crate::children::reaper::Reaper;
use crate::children::slots::Slots;
use crate::config::Config;
use crate::jail::Plan;
use crate::layer::Layer;
use crate::level::Level;
use crate::log;
use crate::survey::isolation::{Attempt, Tools};
use crate::survey::layers::{Finding, Missing, layers};
use crate::survey::manifest::Manifest;
use crate::survey::remedy::Surroundings;
use serde_json::{Map, Value, json};
use std::io::Write;

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table.
    Table,
    /// One JSON object.
    Json,
}

pub fn run(config: &Config, form: Form) -> i32 {
    let (attempts, cgroups) = match attempts(config) {
        Ok(found) => found,
        Err(error) => {
            log::fatal(&error.to_string());
            return exit::SOFTWARE;
        }
    };
    let text = match form {
        Form::Json => format!("{}\n", describe(&attempts, &cgroups)),
        Form::Table => table(&attempts, &cgroups),
    };
    // A reader that stopped reading has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if best(&attempts).is_some() { exit::OK } else { exit::UNAVAILABLE }
}

/// What was tried, with the control groups for it or why there are none.
type Found = (Vec<Attempt>, Result<Cgroups, Refused>);

fn attempts(config: &Config) -> std::io::Result<Found> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        crate::sys::adopt_orphans()?;
        let manifest = Manifest::read(config)?;
        let cgroups = Cgroups::prepare();
        let slots = Slots::new(cgroups.as_ref().ok().cloned());
        let (launcher, reaper) = (Launcher::start()?, Reaper::start()?);
        let tools = Tools { config, manifest: &manifest, launcher: &launcher, reaper: &reaper, slots: &slots };
        let mut attempts = Vec::new();
        for level in [Level::Full, Level::Seccomp, Level::Nsjail] {
            attempts.push(tools.attempt(level).await);
        }
        if let Ok(cgroups) = &cgroups {
            cgroups.remove();
        }
        Ok((attempts, cgroups))
    })
}

/// The level that `auto` takes.
fn best(attempts: &[Attempt]) -> Option<(Level, &Plan)> {
    attempts
        .iter()
        .filter(|attempt| attempt.level != Level::Nsjail)
        .find_map(|attempt| Some((attempt.level, attempt.result.as_ref().ok()?)))
}

fn describe(attempts: &[Attempt], cgroups: &Result<Cgroups, Refused>) -> Value {
    let surroundings = Surroundings::here();
    let state = |attempt: &Attempt| match &attempt.result {
        Ok(plan) => {
            let layers: Map<String, Value> = layers(plan, attempts, cgroups)
                .iter()
                .map(|finding| (finding.layer.as_str().to_owned(), describe_layer(finding, &surroundings)))
                .collect();
            json!({ "granted": true, "layers": layers })
        }
        Err(why) => json!({ "granted": false, "why": why.to_string(), "remedy": surroundings.for_level(why) }),
    };
    let levels: Map<String, Value> =
        attempts.iter().map(|attempt| (attempt.level.as_str().to_owned(), state(attempt))).collect();
    json!({ "isolation": best(attempts).map(|(level, _)| level.as_str()), "levels": levels })
}

fn describe_layer(finding: &Finding<'_>, surroundings: &Surroundings) -> Value {
    match &finding.missing {
        None => json!({ "granted": true }),
        Some(why) => {
            let remedy = remedy(finding.layer, why, surroundings);
            json!({ "granted": false, "why": why.to_string(), "remedy": remedy })
        }
    }
}

/// Only what the machine refuses can be changed.
fn remedy(layer: Layer, why: &Missing<'_>, surroundings: &Surroundings) -> Option<&'static str> {
    if why.is_refused() { surroundings.for_layer(layer) } else { None }
}

fn table(attempts: &[Attempt], cgroups: &Result<Cgroups, Refused>) -> String {
    let surroundings = Surroundings::here();
    let mut lines = vec![match best(attempts) {
        Some((level, _)) => format!("On this machine MAYFLY_ISOLATION=auto means level {level}.\n\n"),
        None => "Neither full nor seccomp is available on this machine: MAYFLY_ISOLATION=auto does not start.\n\n"
            .to_owned(),
    }];
    for attempt in attempts {
        let level = attempt.level.as_str();
        match &attempt.result {
            Ok(plan) => {
                lines.push(format!("{level:<8} available\n"));
                lines.extend(layers(plan, attempts, cgroups).iter().map(|finding| line(finding, &surroundings)));
            }
            Err(why) => {
                lines.push(format!("{level:<8} not available: {why}\n"));
                if let Some(remedy) = surroundings.for_level(why) {
                    lines.push(format!("    to change that: {remedy}\n"));
                }
            }
        }
    }
    lines.concat()
}

fn line(finding: &Finding<'_>, surroundings: &Surroundings) -> String {
    let name = finding.layer.as_str();
    let Some(why) = &finding.missing else { return format!("    {name:<20} in force\n") };
    if !why.is_refused() {
        return format!("    {name:<20} {why}\n");
    }
    match remedy(finding.layer, why, surroundings) {
        Some(remedy) => format!("    {name:<20} missing: {why}\n{:<25}to change that: {remedy}\n", ""),
        None => format!("    {name:<20} missing: {why}\n"),
    }
}
