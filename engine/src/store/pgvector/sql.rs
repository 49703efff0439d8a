//! Statements that are put together from parts.

use crate::postgres::Arg;

/// A statement with its parameters.
#[derive(Default)]
pub(super) struct Sql {
    text: String,
    args: Vec<Box<dyn Arg>>,
}

impl Sql {
    /// Appends text.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a parameter and returns its placeholder.
    pub(super) fn arg(&mut self, value: impl Arg + 'static) -> String {
        self.args.push(Box::new(value));
        format!("${}", self.args.len())
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn args(&self) -> Vec<&dyn Arg> {
        self.args.iter().map(|arg| &**arg).collect()
    }
}
