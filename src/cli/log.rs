//! The log: to stderr, for people or as JSON lines.

use crate::config::LogForm;
use std::io::IsTerminal;
use tracing::Level;

/// Starts logging. Only the server speaks of what goes well; the other commands say their piece on stdout.
pub fn start(form: LogForm, command: &str) {
    let level = if command == "serve" { Level::INFO } else { Level::ERROR };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    match form {
        LogForm::Text => builder.init(),
        LogForm::Json => builder.json().flatten_event(true).init(),
    }
}
