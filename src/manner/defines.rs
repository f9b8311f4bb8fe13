//! Whether a script defines a function at its top level, as its text says.
//!
//! Runs in the supervisor, on a client's text. It reads as far as strings, comments and brackets go, and compiles nothing; a wrong
//! answer runs a script in the other mode, and nothing else.

/// Whether a line that begins at the margin defines `name`: by `def`, `async def`, or as a `lambda`.
pub(super) fn defines(script: &str, name: &str) -> bool {
    let text = script.strip_prefix('\u{feff}').unwrap_or(script);
    let mut at = 0;
    let mut is_line_start = true;
    let mut depth = 0_usize;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        if std::mem::take(&mut is_line_start) && depth == 0 && defines_here(rest, name) {
            return true;
        }
        match next {
            '\n' => is_line_start = true,
            '#' => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            '"' | '\'' => {
                at += end_of_string(rest, next);
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            // What follows a backslash at a line's end is the same line.
            '\\' => {
                at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                continue;
            }
            _ => {}
        }
        at += next.len_utf8();
    }
    false
}

fn defines_here(line: &str, name: &str) -> bool {
    let word = |text: &str, word: &str| {
        let rest = text.strip_prefix(word)?;
        (!rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
            .then(|| rest.trim_start_matches([' ', '\t']).to_owned())
    };
    // A definition's first words are near.
    let line = line.lines().next().unwrap_or_default();
    let function = word(line, "async").unwrap_or_else(|| line.to_owned());
    if word(&function, "def").and_then(|rest| word(&rest, name)).is_some() {
        return true;
    }
    let assigned = word(line, name).filter(|rest| rest.starts_with('=') && !rest.starts_with("=="));
    assigned.is_some_and(|rest| word(rest[1..].trim_start(), "lambda").is_some())
}

/// The length of a string literal whose quote comes first; one that is not closed ends with its line.
fn end_of_string(text: &str, quote: char) -> usize {
    let long = quote.to_string().repeat(3);
    let (open, close) = if text.starts_with(&long) { (3, long.as_str()) } else { (1, &long[..1]) };
    let mut at = open;
    while let Some(next) = text[at..].chars().next() {
        match next {
            '\\' => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            '\n' if open == 1 => return at,
            _ if text[at..].starts_with(close) => return at + close.len(),
            _ => at += next.len_utf8(),
        }
    }
    at.min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn definitions_at_the_margin_count() {
        for script in [
            "def main():\n    pass",
            "\u{feff}import os\n\n@cache\ndef\tmain (x):\n    pass",
            "x = '''\ntext'''\nasync  def main(): pass",
            "main = lambda: 5",
            "s = \"it's\" # don't\r\ndef main(): pass",
            "x = [\n1,\n]\ndef main(): pass",
            "broken = 'a\ndef main(): pass",
        ] {
            assert!(defines(script, "main"), "{script}");
        }
    }

    #[test]
    fn nothing_else_does() {
        for script in [
            "",
            "print('def main')",
            "'''\ndef main():\n'''",
            "r\"\"\"\\\ndef main():\n\"\"\"",
            "# def main():",
            "class A:\n    def main(self): pass",
            "if x:\n    def main(): pass",
            "def mainly(): pass",
            "x = [\ndef main(): pass",
            "x = 5 \\\ndef main(): pass",
            "main = 5",
            "main == lambda: 5",
            "main()",
        ] {
            assert!(!defines(script, "main"), "{script}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[\"'\\\\#\n(){}a-d é=:]{0,60}") {
            let _ = defines(&text, "d");
        }
    }
}
