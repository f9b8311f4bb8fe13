//! The command line: arguments → [`Config`] → command → exit status.
//!
//! Runs in every process of Mayfly, as the first thing. Flags are made from the table of settings, so that each setting
//! has one name, one default and one description.

mod doctor;
mod give_back;
mod healthcheck;
mod layers;
mod run;
mod serve;

use crate::config::{Config, ConfigError, Group, LogForm, Range, SETTINGS, Subcommand};
use crate::log;
use clap::{Arg, ArgMatches, Command};
use std::collections::HashMap;
use std::ffi::OsString;
use tracing::Level;

/// Exit statuses, as `sysexits.h` has them where it has one.
pub mod exit {
    /// Done.
    pub const OK: i32 = 0;
    /// `mayfly run`: the script failed. `mayfly healthcheck`: not healthy.
    pub const FAILED: i32 = 1;
    /// The command line is wrong.
    pub const USAGE: i32 = 2;
    /// `EX_UNAVAILABLE`: no isolation level is available on this machine.
    pub const UNAVAILABLE: i32 = 69;
    /// `EX_SOFTWARE`: Mayfly itself failed.
    pub const SOFTWARE: i32 = 70;
    /// `EX_CONFIG`: a setting does not fit, or asks for something that this machine doesn't provide.
    pub const CONFIG: i32 = 78;
    /// As `timeout(1)`: the time limit passed.
    pub const TIMEOUT: i32 = 124;
    /// As shells have it: this and a signal's number, for a program that the signal ended.
    pub const SIGNALLED: i32 = 128;
}

/// Adds the flags of the settings that do something in this command, each group below a heading of its own.
fn settings(command: Command, subcommand: Subcommand) -> Command {
    let used = |group: Group| {
        SETTINGS.iter().filter(move |setting| setting.group == group && setting.used_by.contains(&subcommand))
    };
    Group::ALL.into_iter().flat_map(used).fold(command, |command, setting| {
        let range = match setting.range {
            Range::Number { least, most: u64::MAX } => format!("{least} or more; "),
            Range::Number { least, most } => format!("{least} to {most}; "),
            _ => String::new(),
        };
        command.arg(
            Arg::new(setting.name)
                .long(setting.flag())
                .value_name(setting.range.placeholder())
                .help(format!("{} [{}; {range}default: {}]", setting.about, setting.name, setting.default))
                .help_heading(setting.group.as_str()),
        )
    })
}

fn command_line() -> Command {
    let serve = Command::new("serve").about("Serve POST /execute over HTTP");
    let run = Command::new("run")
        .about("Run one script in the same jail: its output as it comes, then its result as a line of JSON")
        .after_help(
            "Standard input that is a file, a pipe or a socket is read to its end before the script starts, whether the \
             script reads it or not; with --stdin /dev/null it is left alone.\n\n\
             Exit status: 0 if main() returned, 1 if the script failed, 124 at a time limit, 130 at Ctrl-C.",
        )
        .arg(Arg::new("FILE").required(true).help("the script; - reads it from standard input"))
        .arg(Arg::new("args").long("args").value_name("JSON").help("positional arguments of main(): a JSON list"))
        .arg(Arg::new("kwargs").long("kwargs").value_name("JSON").help("keyword arguments of main(): a JSON object"))
        .arg(
            Arg::new("stdin")
                .long("stdin")
                .value_name("FILE")
                .help("file that the script reads as its stdin, instead of what is piped in"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(clap::ArgAction::SetTrue)
                .help("print the whole answer as JSON instead: result or error, stdout, stderr, usage, isolation"),
        );
    let doctor = Command::new("doctor")
        .about("Show which isolation levels this machine provides, what is missing, and what to change")
        .after_help("Exit status: 0 if full or seccomp is available, 69 if neither is.")
        .arg(Arg::new("json").long("json").action(clap::ArgAction::SetTrue).help("print JSON"));
    let healthcheck = Command::new("healthcheck")
        .about("Ask the server on this machine whether it is ready")
        .after_help("Exit status: 0 if it is ready, 1 if not.");
    Command::new("mayfly")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs untrusted Python over HTTP: a warm CPython forked into a prepared jail, one child per request")
        .after_help("Every setting is a flag and an environment variable; the flag wins.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(settings(serve, Subcommand::Serve))
        .subcommand(settings(run, Subcommand::Run))
        .subcommand(settings(doctor, Subcommand::Doctor))
        .subcommand(settings(healthcheck, Subcommand::Healthcheck))
        .subcommand(Command::new("zygote").hide(true))
        .subcommand(Command::new("child").hide(true))
        .subcommand(Command::new("layers").hide(true))
}

/// Runs the command that `arguments` name and returns the exit status.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    let matches = match command_line().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return error.exit_code();
        }
    };
    match matches.subcommand() {
        Some(("zygote" | "child", _)) => crate::worker::zygote::run(),
        Some(("layers", _)) => layers::run(),
        Some((name, given)) => match config(given) {
            Ok(config) => {
                // Only the server speaks of what goes well; the other commands say their piece on stdout.
                let (form, level) =
                    if name == "serve" { (config.log, Level::INFO) } else { (LogForm::Text, Level::WARN) };
                if let Err(error) = log::start(form, level) {
                    log::fatal(&format!("no log can be kept: {error}"));
                    return exit::SOFTWARE;
                }
                let status = match name {
                    "serve" => serve::run(config),
                    "run" => run::run(config, given),
                    "doctor" if given.get_flag("json") => doctor::run(&config, doctor::Form::Json),
                    "doctor" => doctor::run(&config, doctor::Form::Table),
                    _ => healthcheck::run(&config),
                };
                log::end();
                status
            }
            Err(error) => {
                log::fatal(&error.to_string());
                exit::CONFIG
            }
        },
        None => exit::USAGE,
    }
}

fn config(given: &ArgMatches) -> Result<Config, ConfigError> {
    let flags: HashMap<&str, String> =
        SETTINGS.iter().filter_map(|setting| Some((setting.name, flag(given, setting.name)?))).collect();
    Config::read(&|name| flags.get(name).cloned().or_else(|| std::env::var(name).ok()))
}

/// What a setting's flag was given; nothing where the command has no such flag.
fn flag(given: &ArgMatches, name: &str) -> Option<String> {
    given.try_get_one::<String>(name).ok().flatten().cloned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command_line().debug_assert();
    }
}
