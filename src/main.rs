//! The program: command line in, exit status out. All else is in the library.

fn main() {
    std::process::exit(mayfly::cli::run(std::env::args_os()));
}
