//! A program: the script run as `python3 main.py` runs it, up to and with what Python does at its end.
//!
//! Runs in the child, inside the jail, attached to the interpreter. The reply comes after the last step of the end, so that threads,
//! exit handlers and buffers have their say within the script's limits. Exit status and value are the script's claims.

use super::captured::Captured;
use super::encode::{self, Encoded, Reading, Stop};
use super::{execute, report};
use crate::outcome::Exit;
use crate::value::Token;
use crate::wire::{JobFrame, Phase, Raised, Reply};
use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PyRecursionError, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyModule, PyString, PyTuple};

/// Flags of `compile`: give the syntax tree; let `await` stand outside of functions; what `from __future__` may have set.
const ONLY_TREE: i32 = 0x400;
const TOP_LEVEL_AWAIT: i32 = 0x2000;
const FUTURE: i32 = 0x1fe_0000;

/// The flag of code that is a coroutine.
const COROUTINE: i32 = 0x80;

/// What the last expression came to.
#[derive(Default)]
struct Last {
    tokens: Vec<Token>,
    notes: String,
}

/// A program that raised, and where.
struct Failed {
    phase: Phase,
    error: PyErr,
}

/// Runs the job's script as a program, with `input` on its stdin. `home` is the directory with its main.py, where there is one.
pub(super) fn run(
    py: Python<'_>,
    captured: &Captured,
    job: &JobFrame,
    input: &str,
    home: Option<&str>,
    make_room: &dyn Fn(),
) -> Reply {
    let path = home.map_or_else(|| super::SCRIPT.to_owned(), |home| format!("{home}/{}", super::SCRIPT));
    // A zygote's children have it on; an interpreter of its own has it off from its start.
    // SAFETY: attached to the interpreter.
    unsafe { ffi::PyGC_Enable() };
    let mut last = Last::default();
    let mut module = None;
    let ran = attempt(py, captured, job, input, (&path, home), &mut module, &mut last);
    let (mut exit, raised) = match ran {
        Ok(()) => (Exit::Code(0), None),
        Err(failed) => ended_by(py, captured, failed, make_room),
    };
    if !finish(py, captured, module) && matches!(exit, Exit::Code(_)) {
        // As CPython does where it could not write its last output.
        exit = Exit::Code(120);
    }
    if last.tokens.is_empty() {
        last.tokens.push(Token::Null);
    }
    Reply::Ended { value: last.tokens, notes: last.notes, exit, raised }
}

fn attempt<'py>(
    py: Python<'py>,
    captured: &Captured,
    job: &JobFrame,
    input: &str,
    (path, home): (&str, Option<&str>),
    module: &mut Option<Bound<'py, PyModule>>,
    last: &mut Last,
) -> Result<(), Failed> {
    let running = |error| Failed { phase: Phase::Run, error };
    execute::prepare(py, captured, job, input).map_err(running)?;
    let program = &captured.program;
    let argv: Vec<&str> = job.manner.argv.iter().map(String::as_str).collect();
    if home.is_none() {
        execute::remember_lines(py, captured, &execute::text_of(&job.script), path).map_err(running)?;
    }
    let codes = compile(py, captured, job.script.as_bytes(), path);
    let needs_loop = codes.as_ref().is_ok_and(|codes| codes.iter().any(|code| flags_of(code) & COROUTINE != 0));
    let event_loop = if needs_loop { Some(program.event_loop.call0(py).map_err(running)?) } else { None };
    let made = program.begin.bind(py).call1((path, home, argv)).map_err(running)?;
    let made = made.cast_into::<PyModule>().map_err(|error| running(error.into()))?;
    let names = made.dict();
    *module = Some(made);
    let codes = codes.map_err(|error| Failed { phase: Phase::Compile, error })?;
    let has_value = codes.len() > 1;
    let value = if let Some(event_loop) = event_loop {
        let codes = PyTuple::new(py, codes).map_err(running)?;
        program.run_awaiting.bind(py).call1((event_loop, codes, names)).map_err(|error| {
            trim(py, &error, path);
            running(error)
        })?
    } else {
        let mut value = py.None().into_bound(py);
        for code in codes {
            // SAFETY: `code` is a code object, as `compile` gives, and `names` a dict.
            value = unsafe {
                let value = ffi::PyEval_EvalCode(code.as_ptr(), names.as_ptr(), names.as_ptr());
                Bound::from_owned_ptr_or_err(py, value)
            }
            .map_err(running)?;
        }
        value
    };
    if has_value && !value.is_none() {
        read(captured, &value, job, last);
    }
    Ok(())
}

/// Reads the value of the last expression. What is no JSON is `null`, and a note says so: none of the script's code runs for it that
/// would not run outside.
fn read(captured: &Captured, value: &Bound<'_, PyAny>, job: &JobFrame, last: &mut Last) {
    let room = usize::try_from(job.result_bytes).unwrap_or(usize::MAX);
    let why = match encode::encode(&captured.simplify, value, room, Reading::First) {
        Ok(Encoded { tokens, notes }) => {
            (last.tokens, last.notes) = (tokens, notes);
            return;
        }
        Err(Stop::NeedsScript) => "it can only be read by running code of the script".to_owned(),
        Err(Stop::TooLarge(_)) => "it is larger than allowed".to_owned(),
        Err(Stop::NotSerializable { path, problem }) => format!("{path} is {problem}"),
        Err(Stop::Memory) => "no memory is left to encode it".to_owned(),
    };
    last.notes = format!("result: the value of the last expression is left out: {why}").replace('\n', " ");
}

/// The code of the script: of all but its last statement and of that, where it is an expression; else of all in one.
fn compile<'py>(py: Python<'py>, captured: &Captured, source: &[u8], path: &str) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let compile = captured.compile.bind(py);
    let source = PyBytes::new(py, source);
    let whole = |source: &Bound<'py, PyBytes>| {
        compile.call1((source, path, "exec", TOP_LEVEL_AWAIT, true)).map(|code| vec![code])
    };
    match split(py, captured, &source, path) {
        // The tree of what nests deeply can't be made, where the code can.
        Err(error) if error.is_instance_of::<PyRecursionError>(py) || error.is_instance_of::<PyMemoryError>(py) => {
            whole(&source)
        }
        other => other,
    }
}

fn split<'py>(
    py: Python<'py>,
    captured: &Captured,
    source: &Bound<'py, PyBytes>,
    path: &str,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let compile = captured.compile.bind(py);
    let program = &captured.program;
    let tree = compile.call1((source, path, "exec", ONLY_TREE, true))?;
    let body = tree.getattr("body")?.cast_into::<PyList>()?;
    let expression = match body.len() {
        0 => None,
        length => Some(body.get_item(length - 1)?).filter(|last| last.get_type().is(&program.expression_statement)),
    };
    let value = expression.map(|statement| statement.getattr("value")).transpose()?;
    let is_docstring = |value: &Bound<'py, PyAny>| {
        body.len() == 1
            && value.get_type().is(&program.constant)
            && value.getattr("value").is_ok_and(|it| it.is_instance_of::<PyString>())
    };
    let Some(value) = value.filter(|value| !is_docstring(value)) else {
        return Ok(vec![compile.call1((tree, path, "exec", TOP_LEVEL_AWAIT, true))?]);
    };
    body.del_item(body.len() - 1)?;
    let first = compile.call1((tree, path, "exec", TOP_LEVEL_AWAIT, true))?;
    let flags = TOP_LEVEL_AWAIT | flags_of(&first) & FUTURE;
    let expression = program.expression.bind(py).call1((value,))?;
    let last = compile.call1((expression, path, "eval", flags, true))?;
    Ok(vec![first, last])
}

fn flags_of(code: &Bound<'_, PyAny>) -> i32 {
    code.getattr("co_flags").and_then(|flags| flags.extract()).unwrap_or(0)
}

/// Takes the frames of the event loop off a traceback: it begins in the script.
fn trim(py: Python<'_>, error: &PyErr, path: &str) {
    let mut entry = error.traceback(py).map(Bound::into_any);
    while let Some(here) = entry {
        let file = here.getattr("tb_frame").and_then(|frame| frame.getattr("f_code")?.getattr("co_filename"));
        if file.is_ok_and(|file| file.extract::<String>().is_ok_and(|file| file == path)) {
            let _ = error.value(py).call_method1("with_traceback", (here,));
            return;
        }
        entry = here.getattr("tb_next").ok().filter(|next| !next.is_none());
    }
}

/// What an exception comes to that nobody caught: it is printed as Python prints it, and told.
fn ended_by(py: Python<'_>, captured: &Captured, failed: Failed, make_room: &dyn Fn()) -> (Exit, Option<Raised>) {
    let Failed { phase, error } = failed;
    if error.is_instance_of::<PySystemExit>(py) {
        let code = captured.program.exit_code.bind(py).call1((error.value(py),)).and_then(|code| code.extract());
        return (Exit::Code(code.unwrap_or(1)), None);
    }
    let is_interrupt = error.get_type(py).is(py.get_type::<PyKeyboardInterrupt>());
    let room = report::before_room(py, &error);
    make_room();
    error.clone_ref(py).print_and_set_sys_last_vars(py);
    let hooks = report::calm(py);
    let raised = report::of_program(py, &captured.describe, phase, error, room);
    hooks.restore(py);
    let exit = if is_interrupt { Exit::Signal(libc::SIGINT) } else { Exit::Code(1) };
    (exit, Some(raised))
}

/// What `CPython` does at its end, in its order: wait for threads, run exit handlers, flush, take the program's module apart, flush
/// again. Says whether all output was written.
fn finish(py: Python<'_>, captured: &Captured, module: Option<Bound<'_, PyModule>>) -> bool {
    let modules = captured.modules.bind(py);
    if let Ok(Some(threading)) = modules.get_item("threading")
        && let Err(error) = threading.call_method0("_shutdown")
    {
        error.write_unraisable(py, Some(&threading));
    }
    let _ = captured.program.run_exit_handlers.call0(py);
    let is_written = flush(py, captured, ["stdout", "stderr"]);
    let system = captured.system.bind(py);
    for name in ["last_type", "last_value", "last_traceback", "last_exc"] {
        if system.contains(name).unwrap_or(false) {
            let _ = system.set_item(name, py.None());
        }
    }
    for (name, first) in [("stdout", "__stdout__"), ("stderr", "__stderr__")] {
        if let Ok(Some(stream)) = system.get_item(first) {
            let _ = system.set_item(name, stream);
        }
    }
    if let Some(module) = module {
        take_apart(py, modules, module);
    }
    flush(py, captured, ["__stdout__", "__stderr__"]) && is_written
}

/// Lets go of the program's module, so that `__del__` methods of what it holds run, as they do at the end of Python.
fn take_apart(py: Python<'_>, modules: &Bound<'_, PyDict>, module: Bound<'_, PyModule>) {
    let _ = modules.set_item("__main__", py.None());
    let reference = pyo3::types::PyWeakrefReference::new(&module);
    drop(module);
    // SAFETY: attached to the interpreter. The script may have turned it off, and Python's end collects all the same.
    unsafe {
        ffi::PyGC_Enable();
        ffi::PyGC_Collect();
    }
    let Ok(reference) = reference else { return };
    let Some(module) = pyo3::types::PyWeakrefMethods::upgrade(&reference) else { return };
    let Ok(module) = module.cast_into::<PyModule>() else { return };
    // Somebody holds it: its names go first with one underscore, then all others.
    let names = module.dict();
    for is_private in [true, false] {
        for name in names.keys() {
            let Ok(text) = name.extract::<String>() else { continue };
            let has_one = text.starts_with('_') && !text.starts_with("__");
            if has_one == is_private && text != "__builtins__" {
                let _ = names.set_item(name, py.None());
            }
        }
    }
}

/// Flushes two streams of `sys`; a failure of the first alone counts, and is told.
fn flush(py: Python<'_>, captured: &Captured, names: [&str; 2]) -> bool {
    let mut is_written = true;
    for (number, name) in names.into_iter().enumerate() {
        let Ok(Some(stream)) = captured.system.bind(py).get_item(name) else { continue };
        let is_closed = || stream.getattr("closed").and_then(|closed| closed.is_truthy()).unwrap_or(false);
        if stream.is_none() || is_closed() {
            continue;
        }
        if let Err(error) = stream.call_method0("flush") {
            is_written = false;
            if number == 0 {
                error.write_unraisable(py, Some(&stream));
            }
        }
    }
    is_written
}
