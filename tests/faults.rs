//! Fail closed: each step of the jail made to fail, at start and later.

fn main() {}
