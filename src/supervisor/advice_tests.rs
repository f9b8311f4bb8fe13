//! What is said about which script, and that a child's claims choose nothing but a sentence.

use super::*;
use crate::outcome::Exception;

fn advice(script: &str, code: Code, kind: &str, message: &str, line: Option<u32>) -> Option<Advice> {
    let modules = ["numpy", "pandas"].map(str::to_owned).into();
    let exception =
        Exception { kind: kind.to_owned(), message: message.to_owned(), line, column: None, traceback: String::new() };
    let failure = Failure { code, message: String::new(), exception: Some(exception), advice: None };
    of(&failure, Sent { script, stdin: "", calls_main: true, passes: "args", modules: &modules })
}

#[track_caller]
fn fixed(advice: Option<Advice>, kind: &str, line: u32, suggestion: &str) {
    let fix = advice.and_then(|advice| advice.fix).expect("a fix");
    assert_eq!((fix.kind.as_str(), fix.line, fix.suggestion.as_str()), (kind, line, suggestion));
}

#[test]
fn lines_no_python_has_are_to_be_removed() {
    let syntax = |script, line| advice(script, Code::SyntaxError, "SyntaxError", "invalid syntax", Some(line));
    fixed(syntax("\n```python\ndef main():\n    return 1\n```", 2), "fence", 2, "");
    fixed(syntax("def main():\n    return 1\n```\n", 3), "fence", 3, "");
    fixed(syntax("!pip install numpy\n", 1), "install", 1, "");
    fixed(syntax("%pip install numpy\r\n", 1), "install", 1, "");
    fixed(syntax("pip install numpy\n", 1), "install", 1, "");
    fixed(syntax("x = 1\n!ls -l\n", 2), "shell", 2, "");
    fixed(syntax("%matplotlib inline\n", 1), "magic", 1, "");
    assert_eq!(syntax("x = (1\n!= 2) +\n", 2), None);
    assert_eq!(syntax("x = = 1\n", 1), None);
    // A child may name any line.
    assert_eq!(syntax("x = = 1\n", 0), None);
    assert_eq!(syntax("x = = 1\n", u32::MAX), None);
}

#[test]
fn a_print_statement_becomes_a_call() {
    let message = "Missing parentheses in call to 'print'. Did you mean print(...)?";
    let print = |script| advice(script, Code::SyntaxError, "SyntaxError", message, Some(2));
    fixed(print("def main():\n    print \"a\", 1\n"), "print", 2, "    print(\"a\", 1)");
    for unclear in ["    print \"a\",", "    print >>f, 1", "    print 1 # one"] {
        let script = format!("def main():\n{unclear}\n");
        let said = advice(&script, Code::SyntaxError, "SyntaxError", message, Some(2)).expect("a sentence");
        assert_eq!(said.fix, None, "{unclear}");
    }
}

#[test]
fn who_has_no_main_learns_what_to_write() {
    let none = |script| advice(script, Code::NoMain, "NameError", "", None);
    fixed(none("def Main(a, b=1):\n    return 1\n"), "rename_main", 1, "def main(a, b=1):");
    fixed(none("import os\nasync def mian():\n    return 1\n"), "rename_main", 2, "async def main():");
    fixed(none("def run():\n    pass\nif __name__ == \"__main__\":\n    run()\n"), "guard", 3, "def main():");
    for script in ["", "print(1)\n", "class A:\n    def main(self):\n        pass\n", "def solve():\n    pass\n"] {
        let said = none(script).expect("a sentence");
        assert!(said.hint.contains("main()") && said.fix.is_none(), "{said:?}");
    }
}

#[test]
fn names_are_close_or_left_alone() {
    let name = |script, name: &str, line| {
        advice(script, Code::Exception, "NameError", &format!("name '{name}' is not defined"), Some(line))
    };
    fixed(name("def main():\n    return math.pi\n", "math", 2), "import", 2, "import math");
    fixed(name("def main():\n    return np.pi\n", "np", 2), "import", 2, "import numpy as np");
    fixed(name("def main():\n    total = 1\n    return totl\n", "totl", 3), "name", 3, "total");
    fixed(name("def main(values):\n    return vlaues\n", "vlaues", 2), "name", 2, "values");
    fixed(name("def main():\n    return pritn(1)\n", "pritn", 2), "name", 2, "print");
    fixed(name("def main():\n    return true\n", "true", 2), "name", 2, "True");
    assert_eq!(name("def main():\n    return quantity\n", "quantity", 2), None);
    // Two are as close.
    assert_eq!(name("def main(cat, car):\n    return cax\n", "cax", 2), None);
    // It doesn't stand there.
    assert_eq!(name("def main():\n    return 1\n", "math", 2), None);
    assert_eq!(name("def main():\n    return math.pi\n", "math", 99), None);
}

#[test]
fn a_package_that_is_not_there_has_the_others_named() {
    let module = |name: &str| {
        let message = format!("No module named '{name}'");
        advice("", Code::Exception, "ModuleNotFoundError", &message, None).map(|advice| advice.hint)
    };
    let said = module("requests").expect("a sentence");
    assert!(said.starts_with("requests is not installed") && said.ends_with("there are numpy, pandas"), "{said}");
    assert!(module("nunpy").is_some_and(|said| said.ends_with("; did you mean numpy?")));
    assert!(module("maths").is_some_and(|said| said.ends_with("; did you mean math?")));
    assert_eq!(module("numpy.nothing"), None);
    assert_eq!(module("a b"), None);
    assert_eq!(module(&"x".repeat(1000)), None);
}
