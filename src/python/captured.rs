//! What is needed after a script ran, taken from the interpreter before any script could replace it.
//!
//! Runs where an interpreter starts: in a zygote, or in a cold child. Sees no byte of a request.

use super::encode::Simplify;
use super::report::Describe;
use super::{Setup, private, refuse, workspace};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// A stream that a script writes to, and what is beneath it: the script may take that off.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) stream: Py<PyAny>,
    pub(super) buffer: Py<PyAny>,
}

/// What a program is run with.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) begin: Py<PyAny>,
    pub(super) event_loop: Py<PyAny>,
    pub(super) run_awaiting: Py<PyAny>,
    pub(super) exit_code: Py<PyAny>,
    /// `atexit._run_exitfuncs`.
    pub(super) run_exit_handlers: Py<PyAny>,
    /// `ast.Expr`, `ast.Expression`, `ast.Constant`.
    pub(super) expression_statement: Py<PyAny>,
    pub(super) expression: Py<PyAny>,
    pub(super) constant: Py<PyAny>,
}

/// What is needed after a script ran, taken before it could replace anything.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) program: Program,
    pub(super) describe: Describe,
    pub(super) simplify: Simplify,
    pub(super) await_to_the_end: Py<PyAny>,
    pub(super) set_input: Py<PyAny>,
    pub(super) surround: Py<PyAny>,
    pub(super) enter_directory: Py<PyAny>,
    pub(super) flush_by_line: Py<PyAny>,
    pub(super) renewals: Py<PyAny>,
    pub(super) main_thread: Py<PyAny>,
    pub(super) compile: Py<PyAny>,
    pub(super) builtins: Py<PyAny>,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    /// `sys.modules`.
    pub(super) modules: Py<PyDict>,
    /// The names of the module `sys`.
    pub(super) system: Py<PyDict>,
    /// `linecache.cache`.
    pub(super) source_lines: Py<PyAny>,
}

/// Runs the Python files and takes what they define.
pub(super) fn capture(py: Python<'_>, setup: &Setup) -> PyResult<Captured> {
    let runner = names(
        py,
        &[
            include_str!("../../python/runner.py"),
            include_str!("../../python/causes.py"),
            include_str!("../../python/surroundings.py"),
            include_str!("../../python/place.py"),
            include_str!("../../python/program.py"),
        ],
    )?;
    let values = names(
        py,
        &[
            include_str!("../../python/values.py"),
            include_str!("../../python/tables.py"),
            include_str!("../../python/settle.py"),
        ],
    )?;
    let system = py.import("sys")?.dict();
    let take = |from: &Bound<'_, PyDict>, name: &str| -> PyResult<Py<PyAny>> {
        let value = from.get_item(name)?.ok_or_else(|| pyo3::exceptions::PyKeyError::new_err(name.to_owned()))?;
        Ok(value.unbind())
    };
    refuse::aloud(py)?;
    private::anonymous_maps(py)?;
    let (stdout, stderr, beneath_stdout, beneath_stderr) = take(&runner, "prepare")?.bind(py).call0()?.extract()?;
    take(&runner, "watch_first_streams")?.bind(py).call0()?;
    workspace::watch(take(&runner, "here")?);
    let tree = py.import("_ast")?.dict();
    Ok(Captured {
        program: Program {
            begin: take(&runner, "begin")?,
            event_loop: take(&runner, "event_loop")?,
            run_awaiting: take(&runner, "run_awaiting")?,
            exit_code: take(&runner, "exit_code")?,
            run_exit_handlers: py.import("atexit")?.getattr("_run_exitfuncs")?.unbind(),
            expression_statement: take(&tree, "Expr")?,
            expression: take(&tree, "Expression")?,
            constant: take(&tree, "Constant")?,
        },
        describe: Describe {
            function: take(&runner, "describe")?,
            cause: take(&runner, "cause")?,
            has_own_root: setup.stdlib.starts_with("/usr/lib/"),
        },
        simplify: Simplify {
            function: take(&values, "simplify")?,
            settle: take(&values, "settle")?,
            refused: take(&values, "Refused")?,
            too_large: take(&values, "TooLarge")?,
            needs_script: take(&values, "NeedsScript")?,
            lost: take(&values, "lost")?.bind(py).cast::<PyList>()?.clone().unbind(),
            problem_of_key: take(&values, "problem_of_key")?,
            problem_of_pair: take(&values, "problem_of_pair")?,
            set_most_digits: take(&system, "set_int_max_str_digits")?,
        },
        await_to_the_end: take(&runner, "await_to_the_end")?,
        set_input: take(&runner, "set_input")?,
        surround: take(&runner, "surround")?,
        enter_directory: take(&runner, "enter_directory")?,
        flush_by_line: take(&runner, "flush_by_line")?,
        renewals: take(&runner, "renewals")?,
        main_thread: py.import("threading")?.call_method0("main_thread")?.unbind(),
        compile: py.import("builtins")?.getattr("compile")?.unbind(),
        builtins: py.import("builtins")?.into_any().unbind(),
        stdout: Output { stream: stdout, buffer: beneath_stdout },
        stderr: Output { stream: stderr, buffer: beneath_stderr },
        modules: take(&system, "modules")?.bind(py).cast::<PyDict>()?.clone().unbind(),
        system: system.unbind(),
        source_lines: py.import("linecache")?.getattr("cache")?.unbind(),
    })
}

/// Runs Python files of ours in one namespace, which no `import` finds.
fn names<'py>(py: Python<'py>, sources: &[&str]) -> PyResult<Bound<'py, PyDict>> {
    let builtins = py.import("builtins")?;
    let names = PyDict::new(py);
    // A copy: a script that replaces `len` in `builtins` does so for itself.
    names.set_item("__builtins__", builtins.dict().copy()?)?;
    names.set_item("__name__", "<mayfly>")?;
    for source in sources {
        let code = builtins.getattr("compile")?.call1((source, "<mayfly>", "exec", 0, true))?;
        // SAFETY: `code` is a code object, as `compile` in "exec" mode gives, and `names` a dict.
        unsafe {
            let value = ffi::PyEval_EvalCode(code.as_ptr(), names.as_ptr(), names.as_ptr());
            Bound::from_owned_ptr_or_err(py, value)?;
        }
    }
    Ok(names)
}
