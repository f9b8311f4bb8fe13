//! `mayfly doctor`: which isolation this machine grants, what is missing, and what would grant it.

use super::exit;
use crate::config::{Config, Level};
use crate::supervisor::capabilities::{Manifest, layers};
use crate::supervisor::isolation::{Attempt, Tools};
use crate::supervisor::reaper::Reaper;
use crate::supervisor::slots::Slots;
use crate::zygote::handle::Launcher;
use serde_json::json;

pub fn run(config: Config, as_json: bool) -> i32 {
    let attempts = match attempts(&config) {
        Ok(attempts) => attempts,
        Err(error) => {
            eprintln!("mayfly: {error}");
            return exit::SOFTWARE;
        }
    };
    let granted = attempts.iter().find_map(|attempt| Some((attempt.level, attempt.result.as_ref().ok()?)));
    if as_json {
        println!("{}", describe(&attempts));
    } else {
        print_table(&attempts);
    }
    if granted.is_some() { exit::OK } else { exit::UNAVAILABLE }
}

fn attempts(config: &Config) -> std::io::Result<Vec<Attempt>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        crate::sys::adopt_orphans()?;
        let (launcher, reaper, slots) = (Launcher::start()?, Reaper::start()?, Slots::default());
        let manifest = Manifest::read(config)?;
        let tools = Tools { config, manifest: &manifest, launcher: &launcher, reaper: &reaper, slots: &slots };
        let mut attempts = Vec::new();
        for level in [Level::Full, Level::Seccomp, Level::Nsjail] {
            attempts.push(tools.attempt(level).await);
        }
        Ok(attempts)
    })
}

fn describe(attempts: &[Attempt]) -> serde_json::Value {
    let levels: serde_json::Map<String, serde_json::Value> = attempts
        .iter()
        .map(|attempt| {
            let state = match &attempt.result {
                Ok(plan) => {
                    let layers: serde_json::Map<String, serde_json::Value> = layers(plan, attempts)
                        .into_iter()
                        .map(|layer| {
                            (
                                layer.name.to_owned(),
                                layer
                                    .missing
                                    .map_or(json!({"granted": true}), |why| json!({"granted": false, "why": why})),
                            )
                        })
                        .collect();
                    json!({ "granted": true, "layers": layers })
                }
                Err(why) => json!({ "granted": false, "why": why.to_string() }),
            };
            (attempt.level.as_str().to_owned(), state)
        })
        .collect();
    let best = attempts.iter().find(|attempt| attempt.result.is_ok()).map(|attempt| attempt.level.as_str());
    json!({ "isolation": best, "levels": levels })
}

fn print_table(attempts: &[Attempt]) {
    for attempt in attempts {
        match &attempt.result {
            Ok(plan) => {
                println!("level {:<8} granted", attempt.level.as_str());
                for layer in layers(plan, attempts) {
                    match layer.missing {
                        None => println!("    {:<20} in force", layer.name),
                        Some(why) => println!("    {:<20} no: {why}", layer.name),
                    }
                }
            }
            Err(why) => println!("level {:<8} refused: {why}", attempt.level.as_str()),
        }
    }
}
