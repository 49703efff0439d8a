//! The `reposync` program.

fn main() {}
