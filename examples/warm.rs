//! Whether the interpreter that this program is linked with works on this processor.
//!
//! A zygote's steps and a child's, without those of the jail, so no script runs in it but the ones that a zygote rehearses with.
//! `tools/check_aarch64.sh` runs it in an emulator, which has neither namespaces nor filters. By hand:
//!
//! ```text
//! cargo run --example warm -- /usr/lib/python3.11
//! ```
//!
//! It starts and warms `CPython`, imports parts of the standard library that are machine code of their own, and makes one child by
//! the zygote's own clone. The child finds its own id where glibc keeps it, takes random state of its own, and rehearses.

use mayfly::python::{self, Setup};
use mayfly::sys;
use mayfly::sys::own_proc::{Alone, OwnProc};
use nix::sched::CloneFlags;
use std::error::Error;
use std::process::ExitCode;

/// Libraries of the standard library, which look for the interpreter's symbols in the program.
const MODULES: [&str; 4] = ["_ctypes", "_decimal", "_hashlib", "_json"];

fn main() -> ExitCode {
    match warm() {
        Ok(version) => {
            println!("CPython {version} is warm, and so is a child of it");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("warm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn warm() -> Result<String, Box<dyn Error>> {
    let stdlib = std::env::args().nth(1).ok_or("usage: warm STDLIB")?;
    let thread_id = sys::thread_id_address()?;
    let interpreter = python::start(&Setup { stdlib, packages: Vec::new() })?;
    for (module, result) in interpreter.preload(&MODULES.map(String::from)) {
        result.map_err(|why| format!("{module}: {why}"))?;
    }
    interpreter.freeze()?;
    // In an emulator /proc may show the emulator's own threads. There the example is a test build.
    let alone = OwnProc::open()?.alone().or_else(Alone::pretended).ok_or("the process is not alone")?;
    let Some(child) = interpreter.fork(|| sys::clone_process(&alone, CloneFlags::empty(), thread_id))? else {
        let is_fit = sys::thread_id_address().is_ok() && interpreter.reseed().is_ok();
        interpreter.try_out(None);
        sys::exit_now(i32::from(!is_fit))
    };
    match sys::reap(child)?.how {
        sys::How::Exited(0) => Ok(interpreter.version()),
        how => Err(format!("the child ended by {how:?}").into()),
    }
}
