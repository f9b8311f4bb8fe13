//! The one job, step by step: compile, run the script's body, call `main()`, await it, encode, flush.
//!
//! Runs in the child, inside the jail, attached to the interpreter. On the way of a script that succeeds there is no
//! Python code of ours, and nothing that the script made is released: the process ends with the reply.

use super::captured::{Captured, Output};
use super::encode::{self, Encoded, Reading, Stop, TOO_DEEP};
use super::{SCRIPT, decode, path, report};
use crate::outcome::{Cause, Exception};
use crate::wire::{JobFrame, Phase, Reply};
use pyo3::exceptions::PySyntaxError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyModule, PyString};
use std::borrow::Cow;

/// The name of the script's module.
///
/// Not `__main__`: Mayfly calls `main()` itself, and a script that ends in `if __name__ == "__main__": sys.exit(main())`
/// would else run twice, or end before it was called. `__main__` names the same module for those that look it up.
const MODULE: &str = "main";

/// What a run leaves behind. Whoever drops it may run code of the script's.
pub(super) struct Remains<'py> {
    pub(super) module: Option<Bound<'py, PyModule>>,
    result: Option<Bound<'py, PyAny>>,
    settled: Option<Bound<'py, PyAny>>,
}

impl Remains<'_> {
    /// Keeps everything for ever.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

/// Runs the job, with `input` on its stdin. `make_room` frees the memory that was set aside for a failure's description.
pub(super) fn execute<'py>(
    py: Python<'py>,
    captured: &Captured,
    job: &JobFrame,
    input: &str,
    make_room: &dyn Fn(),
) -> (Reply, Remains<'py>) {
    let mut remains = Remains { module: None, result: None, settled: None };
    let reply = match attempt(py, captured, job, input, &mut remains, make_room) {
        Ok(reply) => reply,
        Err(Failed::Compile(error)) => report::while_compiling(py, &captured.describe, error, make_room),
        Err(Failed::Run(error)) => report::while_running(py, &captured.describe, error, make_room),
        Err(Failed::NoMain(message)) => no_main(message),
    };
    // Output that nobody asked for is not worth writing.
    if job.captured {
        flush(py, captured);
    }
    (reply, remains)
}

enum Failed {
    Compile(PyErr),
    Run(PyErr),
    NoMain(String),
}

fn attempt<'py>(
    py: Python<'py>,
    captured: &Captured,
    job: &JobFrame,
    input: &str,
    remains: &mut Remains<'py>,
    make_room: &dyn Fn(),
) -> Result<Reply, Failed> {
    prepare(py, captured, job, input).map_err(Failed::Run)?;
    let source = &text_of(&job.script);
    let (globals, module) = new_module(py, captured, source).map_err(Failed::Run)?;
    remains.module = Some(module);
    let code = compile(py, captured, source).map_err(Failed::Compile)?;
    // SAFETY: `code` is a code object, as `compile` in "exec" mode gives, and `globals` a dict.
    let body = unsafe {
        let value = ffi::PyEval_EvalCode(code.as_ptr(), globals.as_ptr(), globals.as_ptr());
        Bound::from_owned_ptr_or_err(py, value)
    };
    body.map_err(Failed::Run)?;
    let main = find_main(&globals, job.manner.function())?;
    let result = call(py, captured, &main, job).map_err(Failed::Run)?;
    let room = usize::try_from(job.result_bytes).unwrap_or(usize::MAX);
    let mut encoded = encode::encode(&captured.simplify, &result, room, Reading::First);
    if matches!(encoded, Err(Stop::NeedsScript)) {
        match captured.simplify.settle.bind(py).call1((&result, room)) {
            Ok(settled) => {
                encoded = encode::encode(&captured.simplify, &settled, room, Reading::AfterScript);
                remains.settled = Some(settled);
            }
            Err(error) if error.is_instance(py, captured.simplify.too_large.bind(py)) => {
                encoded = Err(Stop::TooLarge(report::least_of(&error, py)));
            }
            Err(error) => return Err(Failed::Run(error)),
        }
    }
    remains.result = Some(result);
    Ok(match encoded {
        Ok(Encoded { tokens, notes }) => Reply::Value(tokens, notes),
        // Only what nests too deep to be settled still needs it.
        Err(Stop::NeedsScript) => {
            Reply::NotSerializable { path: path::write([].into_iter()), problem: TOO_DEEP.to_owned() }
        }
        Err(Stop::TooLarge(least)) => Reply::TooLarge(least as u64),
        Err(Stop::NotSerializable { path, problem }) => Reply::NotSerializable { path, problem },
        Err(Stop::Memory) => {
            make_room();
            report::result_too_large_for_memory()
        }
    })
}

/// What every script finds when it begins: its streams, its environment, its seeds.
pub(super) fn prepare(py: Python<'_>, captured: &Captured, job: &JobFrame, input: &str) -> PyResult<()> {
    if job.captured {
        captured.flush_by_line.call0(py)?;
    }
    if !input.is_empty() {
        give_input(py, captured, input.as_bytes())?;
    }
    if !job.manner.env.is_empty() || job.manner.seed.is_some() {
        let env: Vec<_> = job.manner.env.iter().map(|(name, value)| (name, value)).collect();
        captured.surround.call1(py, (env, job.manner.seed))?;
    }
    Ok(())
}

/// Has `sys.stdin` read descriptor 0; where that is closed, as it could not hold all of the input, a copy of it.
fn give_input(py: Python<'_>, captured: &Captured, input: &[u8]) -> PyResult<()> {
    if captured.set_input.call1(py, (input.len(),)).is_ok() {
        return Ok(());
    }
    let copy = PyBytes::new_with(py, input.len(), |bytes| {
        bytes.copy_from_slice(input);
        Ok(())
    })?;
    captured.set_input.call1(py, (input.len(), copy)).map(drop)
}

/// A script as Python reads it from a file: without a byte order mark, and each line ends in `\n`.
pub(super) fn text_of(script: &str) -> Cow<'_, str> {
    let text = script.strip_prefix('\u{feff}').unwrap_or(script);
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() }
}

/// Its lines, the last with an end, too: that is where Python counts the carets of a traceback from. Other characters that
/// Unicode takes for the end of a line are part of one.
fn lines_of(text: &str) -> Vec<Cow<'_, str>> {
    let mut lines: Vec<Cow<'_, str>> = text.split_inclusive('\n').map(Cow::from).collect();
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
        last.to_mut().push('\n');
    }
    lines
}

/// A module for the script, in `sys.modules` for all who look a class or a function up by its module: `pickle`,
/// `dataclasses`, `typing`, `doctest`.
fn new_module<'py>(
    py: Python<'py>,
    captured: &Captured,
    source: &str,
) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyModule>)> {
    let module = PyModule::new(py, MODULE)?;
    let globals = module.dict();
    globals.set_item(pyo3::intern!(py, "__builtins__"), &captured.builtins)?;
    globals.set_item(pyo3::intern!(py, "__file__"), SCRIPT)?;
    let modules = captured.modules.bind(py);
    modules.set_item(pyo3::intern!(py, "__main__"), &module)?;
    modules.set_item(pyo3::intern!(py, "main"), &module)?;
    remember_lines(py, captured, source, SCRIPT)?;
    Ok((globals, module))
}

/// For tracebacks and `inspect.getsource`, where there is no file to read the lines from.
pub(super) fn remember_lines(py: Python<'_>, captured: &Captured, source: &str, path: &str) -> PyResult<()> {
    let lines = PyList::empty(py);
    for line in lines_of(source) {
        lines.append(PyString::from_bytes(py, line.as_bytes())?)?;
    }
    captured.source_lines.bind(py).set_item(path, (source.len(), py.None(), lines, path))
}

fn compile<'py>(py: Python<'py>, captured: &Captured, source: &str) -> PyResult<Bound<'py, PyAny>> {
    if let Some(position) = source.find('\0') {
        // Releases of CPython differ in what they raise here.
        let before = &source[..position];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let place = (SCRIPT, line, column, None::<String>);
        return Err(PySyntaxError::new_err(("source code cannot contain null bytes", place)));
    }
    // From text, not bytes: a coding cookie means nothing. `dont_inherit`, as there is no code of ours to inherit from.
    let text = PyString::from_bytes(py, source.as_bytes())?;
    captured.compile.bind(py).call1((text, SCRIPT, "exec", 0, true))
}

/// The function that is to be called; nearly always `main`.
fn find_main<'py>(globals: &Bound<'py, PyDict>, name: &str) -> Result<Bound<'py, PyAny>, Failed> {
    let py = globals.py();
    let main = if name == MODULE { globals.get_item(pyo3::intern!(py, MODULE)) } else { globals.get_item(name) };
    let main = main.map_err(Failed::Run)?;
    let Some(main) = main else {
        return Err(Failed::NoMain(format!("the script defines no function {name}()")));
    };
    if main.is_callable() {
        return Ok(main);
    }
    let kind = main.get_type().name().map(|kind| kind.to_string_lossy().into_owned()).unwrap_or_default();
    Err(Failed::NoMain(format!("{name} is of type {kind}, and must be a function")))
}

fn call<'py>(
    py: Python<'py>,
    captured: &Captured,
    main: &Bound<'py, PyAny>,
    job: &JobFrame,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = decode::positional(py, &job.args)?;
    let keywords = decode::keywords(py, &job.kwargs)?;
    let result = main.call(arguments, keywords.as_ref())?;
    let is_coroutine = is_coroutine(&result);
    if is_coroutine || is_awaitable(&result) {
        return captured.await_to_the_end.bind(py).call1((result, is_coroutine));
    }
    Ok(result)
}

fn is_coroutine(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: compares the type of a live object.
    unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) != 0 }
}

/// Whether `await object` would be tried by Python, read from the type without running any code.
fn is_awaitable(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object has a type, and the type's table of async methods is null or lives as long as the type.
    unsafe {
        let methods = (*object.get_type_ptr()).tp_as_async;
        !methods.is_null() && (*methods).am_await.is_some()
    }
}

fn no_main(message: String) -> Reply {
    let exception = Exception {
        kind: "NameError".to_owned(),
        traceback: format!("NameError: {message}\n"),
        message,
        line: None,
        column: None,
    };
    Reply::Raised { phase: Phase::NoMain, cause: Cause::Script, exception }
}

/// Writes out what the streams hold back: the ones the script has now, then the first ones.
///
/// A script may have wrapped them, closed them, or put anything in their place; that loses output, and only that.
pub(super) fn flush(py: Python<'_>, captured: &Captured) {
    let first = [(&captured.stdout, pyo3::intern!(py, "stdout")), (&captured.stderr, pyo3::intern!(py, "stderr"))];
    let flush = pyo3::intern!(py, "flush");
    for (Output { stream, buffer }, name) in first {
        if let Ok(Some(current)) = captured.system.bind(py).get_item(name)
            && !current.is(stream)
        {
            let _ = current.call_method0(flush);
        }
        if stream.bind(py).call_method0(flush).is_err() {
            // Detached, as it is for those who write bytes.
            let _ = buffer.bind(py).call_method0(flush);
        }
    }
}
