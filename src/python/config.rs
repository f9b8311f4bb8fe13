//! Brings `CPython` up: an isolated configuration in which everything is said and nothing is looked up.
//!
//! Runs in a zygote, or in a cold child, once. Nothing of the machine it runs on may have a say: no environment
//! variable, no `pyvenv.cfg`, no `site`, no current directory on the path.

use super::{PythonError, Setup};
use pyo3::ffi;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

/// What `sys.executable` says. No such file is in the jail; programs that only look at its directory still work.
const EXECUTABLE: &str = "/usr/bin/python3";

/// Where Python believes itself to be installed.
const HOME: &str = "/usr";

/// Initialises the embedded interpreter. The calling thread becomes its main thread, and is attached from then on.
///
/// # Errors
/// [`PythonError::Start`] with `CPython`'s own words. The process can't try again.
pub(super) fn initialise(setup: &Setup) -> Result<(), PythonError> {
    let mut preconfig = MaybeUninit::<ffi::PyPreConfig>::uninit();
    // SAFETY: the function fills in the whole struct, and needs no initialised interpreter.
    let mut preconfig = unsafe {
        ffi::PyPreConfig_InitIsolatedConfig(preconfig.as_mut_ptr());
        preconfig.assume_init()
    };
    preconfig.utf8_mode = 1;
    // SAFETY: `preconfig` is complete, and no other call into CPython came before.
    check(unsafe { ffi::Py_PreInitialize(&raw const preconfig) })?;

    let mut config = Config::isolated();
    config.numbers();
    config.set(|c| &raw mut c.program_name, EXECUTABLE)?;
    config.set(|c| &raw mut c.executable, EXECUTABLE)?;
    config.set(|c| &raw mut c.base_executable, EXECUTABLE)?;
    config.set(|c| &raw mut c.home, HOME)?;
    config.set(|c| &raw mut c.stdlib_dir, &setup.stdlib)?;
    config.append(|c| &raw mut c.argv, super::SCRIPT)?;
    config.append(|c| &raw mut c.module_search_paths, &setup.stdlib)?;
    config.append(|c| &raw mut c.module_search_paths, &format!("{}/lib-dynload", setup.stdlib))?;
    for directory in &setup.packages {
        config.append(|c| &raw mut c.module_search_paths, directory)?;
    }
    config.0.module_search_paths_set = 1;
    // SAFETY: `config` is complete; CPython copies what it keeps.
    check(unsafe { ffi::Py_InitializeFromConfig(&raw const config.0) })
}

/// A `PyConfig` that is cleared when it goes out of scope.
struct Config(ffi::PyConfig);

impl Config {
    fn isolated() -> Self {
        let mut config = MaybeUninit::<ffi::PyConfig>::uninit();
        // SAFETY: the function fills in the whole struct; CPython is pre-initialised.
        unsafe {
            ffi::PyConfig_InitIsolatedConfig(config.as_mut_ptr());
            Self(config.assume_init())
        }
    }

    /// The settings that are numbers. Most are what the isolated configuration has anyway; they are repeated because
    /// the jail's behaviour depends on them.
    fn numbers(&mut self) {
        let config = &mut self.0;
        config.isolated = 1;
        config.use_environment = 0;
        config.user_site_directory = 0;
        config.site_import = 0;
        config.safe_path = 1;
        config.parse_argv = 0;
        config.pathconfig_warnings = 0;
        // A signal's default is what the supervisor relies on; a handler in the zygote would be in every child.
        config.install_signal_handlers = 0;
        config.faulthandler = 0;
        config.write_bytecode = 0;
        // Each zygote draws its own hash seed.
        config.use_hash_seed = 0;
        // runner.py replaces the streams by its own, so CPython need not touch C's.
        config.configure_c_stdio = 0;
        config.buffered_stdio = 1;
    }

    fn set(
        &mut self,
        field: impl FnOnce(&mut ffi::PyConfig) -> *mut *mut libc::wchar_t,
        text: &str,
    ) -> Result<(), PythonError> {
        let text = CString::new(text).map_err(|_| PythonError::Start("a path holds a null byte".into()))?;
        let field = field(&mut self.0);
        // SAFETY: `field` points into `self.0`, which is initialised, and `text` ends with a null byte.
        check(unsafe { ffi::PyConfig_SetBytesString(&raw mut self.0, field, text.as_ptr()) })
    }

    fn append(
        &mut self,
        list: impl FnOnce(&mut ffi::PyConfig) -> *mut ffi::PyWideStringList,
        text: &str,
    ) -> Result<(), PythonError> {
        let mut wide: Vec<libc::wchar_t> = Vec::with_capacity(text.len() + 1);
        for character in text.chars() {
            let unit = libc::wchar_t::try_from(u32::from(character))
                .map_err(|_| PythonError::Start("a path holds an odd character".into()))?;
            wide.push(unit);
        }
        wide.push(0);
        let list = list(&mut self.0);
        // SAFETY: `list` points into `self.0`, `wide` ends with a zero, and CPython copies it.
        check(unsafe { ffi::PyWideStringList_Append(list, wide.as_ptr()) })
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: `self.0` was initialised by `isolated`, and nothing keeps a pointer into it.
        unsafe { ffi::PyConfig_Clear(&raw mut self.0) };
    }
}

fn check(status: ffi::PyStatus) -> Result<(), PythonError> {
    // SAFETY: the function only looks at the struct it is given by value.
    if unsafe { ffi::PyStatus_Exception(status) } == 0 {
        return Ok(());
    }
    if status.err_msg.is_null() {
        return Err(PythonError::Start("CPython gave no reason".into()));
    }
    // SAFETY: a status's message is a static string of CPython's, or null.
    let reason = unsafe { CStr::from_ptr(status.err_msg) };
    Err(PythonError::Start(reason.to_string_lossy().into_owned()))
}
