//! What can go wrong, each with its cause and its remedy: the text of `docs/errors.md`.
//!
//! Plain words, in every process. A variant is a row of a table here, so none exists without its text. It must never decide what went
//! wrong: who finds it names the row.

mod refused;

pub use self::refused::Refused;

/// An enum whose variants each have a word, a cause and a remedy.
macro_rules! kinds {
    ($(#[$about:meta])* $name:ident { $($variant:ident $word:literal $cause:literal $remedy:literal;)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $cause] $variant,)*
        }

        impl $name {
            /// All of them, in the order of the page.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Word, cause, remedy.
            fn row(self) -> [&'static str; 3] {
                match self {
                    $(Self::$variant => [$word, $cause, $remedy],)*
                }
            }

            /// As it stands in an answer.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                self.row()[0]
            }

            /// What led to it.
            #[must_use]
            pub fn cause(self) -> &'static str {
                self.row()[1]
            }

            /// What to do.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                self.row()[2]
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

kinds! {
    /// How a script failed: the `code` of a 422 answer.
    Code {
        SyntaxError "syntax_error"
            "The script does not compile."
            "Correct the line and the column that `exception` names. `hint` says what to do about usual mistakes.";
        NoMain "no_main"
            "The script defines no callable `main`, or none of the name that `entrypoint` gives."
            "Put the program into `def main():` at the top level of the script and return the result, or name another function in `entrypoint`.";
        Exception "exception"
            "The script's body or `main()` raised."
            "Read `exception`: its `line` is the line of `main.py`. If the jail refused something, `error` says in parentheses what works instead.";
        Exited "exited"
            "The script raised `SystemExit` or ended its own process."
            "Return from `main()` instead of calling `exit()`, `sys.exit()` or `os._exit()`.";
        Timeout "timeout"
            "The run took longer than `limits.wall_ms`. Sleeping and waiting count."
            "Do less, or raise `limits.wall_ms`; `MAYFLY_MAX_WALL_MS` sets its maximum.";
        CpuLimit "cpu_limit"
            "All threads together took more processor time than `limits.cpu_ms`."
            "Do less, or raise `limits.cpu_ms`; `MAYFLY_MAX_CPU_MS` sets its maximum.";
        MemoryLimit "memory_limit"
            "Memory was refused, as a `MemoryError` or otherwise. Or the server's machine ran out of it, which `error` then says."
            "Hold less at once, or raise `limits.memory_mb`; `MAYFLY_MAX_MEMORY_MB` sets its maximum. If the machine ran out, send the request again.";
        OutputLimit "output_limit"
            "The script wrote more output than is read and discarded: 64 MiB."
            "Print less. Return what is needed from `main()`.";
        ResultTooLarge "result_too_large"
            "The result is larger as JSON than the server allows."
            "Return less of it. `MAYFLY_RESULT_BYTES` sets the limit.";
        ResultNotSerializable "result_not_serializable"
            "The result holds something that has no form in JSON, or two keys that become the same text. Or the script wrote to its reply."
            "Convert what stands at the path that `error` names, as `result.rows[3].ts`. docs/api.md lists the values that there are.";
        Blocked "blocked"
            "The script made a system call that is never allowed. Or it had too many threads, where the kernel can't refuse the next one."
            "Leave out what starts processes, debugs, mounts or loads code into the kernel. Use 64 threads at most, the first included.";
        Crashed "crashed"
            "A signal ended the interpreter: a fault in native code, recursion that is too deep, or `os.abort()`."
            "`error` names the signal. Recurse less deeply. Look at what the script calls in C, through `ctypes` for example.";
    }
}

kinds! {
    /// A change to a script that a program can make: the `kind` of a `fix`.
    FixKind {
        Fence "fence"
            "a line of a chat answer that marks where code begins or ends: three backticks or tildes"
            "It is empty: remove the line.";
        Install "install"
            "a command that installs a package, as `!pip install numpy`"
            "It is empty: remove the line.";
        Shell "shell"
            "a shell command of a notebook, as `!ls`"
            "It is empty: remove the line.";
        Magic "magic"
            "a command of a notebook, as `%matplotlib`"
            "It is empty: remove the line.";
        Print "print"
            "a print statement of Python 2"
            "Put it in the place of the line.";
        Guard "guard"
            "a block under `if __name__ == \"__main__\":` and no `main`"
            "Put it in the place of the line.";
        RenameMain "rename_main"
            "one function whose name is almost `main`, and no `main`"
            "Put it in the place of the line.";
        Import "import"
            "a word before a dot that is the name of a module, or `np` or `pd`, and that is not defined when the line runs"
            "Add it at the top. If a variable of that name was meant, define the variable instead.";
        Name "name"
            "a word that is not defined when the line runs, and elsewhere in the script, or among Python's own names, a word that is almost the same"
            "Write it instead of the word, if it is what was meant and is defined there.";
    }
}
