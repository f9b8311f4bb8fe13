//! Build script: compiles the seccomp policies, checks the `CPython` that was chosen, and lets the program find its library.

#[path = "build/seccomp.rs"]
mod seccomp;

use std::env;
use std::path::PathBuf;

/// The `CPython`s that Mayfly is tested with.
const SUPPORTED: std::ops::RangeInclusive<u8> = 11..=14;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    seccomp::generate(&out_dir, &arch);
    segments();
    callbacks();
    python();
}

/// The program's segments begin at multiples of a huge page, so that a zygote can put each into huge pages (`zygote/pages.rs`).
fn segments() {
    println!("cargo::rustc-link-arg=-Wl,-z,max-page-size=0x200000");
}

/// Libraries are to find these in the program before their own: callbacks (`python/closures.rs`), and memory for `OpenBLAS`
/// (`python/workspace.rs`).
fn callbacks() {
    for symbol in ["ffi_closure_alloc", "ffi_closure_free", "mmap"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--undefined={symbol},--export-dynamic-symbol={symbol}");
    }
}

fn python() {
    let python = pyo3_build_config::get();
    let version = python.version();
    assert!(
        version.major == 3 && SUPPORTED.contains(&version.minor),
        "Mayfly needs CPython 3.11 to 3.14 with its shared library and headers, and found {version}: set PYO3_PYTHON to one that fits",
    );
    if !python.shared() {
        // Extension modules find the interpreter's symbols in the program itself.
        println!("cargo::rustc-link-arg=-rdynamic");
        // Debian's archive is not position-independent, and neither is its python3. What runs in a child can make any machine
        // code anyway, as the jail assumes; the heap, the stack and all libraries still lie at random addresses.
        println!("cargo::rustc-link-arg=-no-pie");
        return;
    }
    // Extension modules find the interpreter's symbols in its shared library, which may lie outside the usual places.
    if let Some(directory) = python.lib_dir().filter(|directory| !directory.starts_with("/usr/lib")) {
        println!("cargo::rustc-link-arg-bins=-Wl,-rpath,{directory}");
    }
}
