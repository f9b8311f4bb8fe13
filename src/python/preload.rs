//! What a zygote imports before it is asked to, and the script it rehearses with.
//!
//! Only names: importing is done in `python`.

/// Standard modules that every zygote has loaded.
pub(super) const STANDARD: &[&str] = &[
    "collections", "dataclasses", "datetime", "enum", "functools", "itertools", "json", "math", "random", "re", "string",
    "time", "typing",
];

/// Does what most scripts do: defines, calls, builds text, lists and dicts.
pub(super) const REHEARSAL: &str = "\
def main(count=3):
    rows = [{'number': i, 'text': f'{i}'} for i in range(count)]
    return {'rows': rows, 'sum': sum(row['number'] for row in rows), 'mean': 1.5, 'none': None}
";
