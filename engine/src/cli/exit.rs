//! Exit codes, as documented in `--help` and the README.

use std::process::ExitCode;

use crate::model::Outcome;
use crate::plan::Plan;

/// The exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// A project failed, a saved plan or `--locked` was refused, or another run holds the ledger.
    Failed,
    /// The command line or the file is invalid.
    Invalid,
    /// No project failed, but something else failed, was withheld, or differs.
    Partial,
    /// Interrupted.
    Interrupted,
}

impl Exit {
    /// Every code, in order.
    pub(crate) const ALL: [Self; 5] =
        [Self::Done, Self::Failed, Self::Invalid, Self::Partial, Self::Interrupted];

    /// The numeric exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Invalid => 2,
            Self::Partial => 3,
            Self::Interrupted => 130,
        }
    }

    /// The meaning in one sentence.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Done, or nothing to do.",
            Self::Failed => {
                "A project failed, a saved plan or `--locked` was refused, another run is in progress, or a \
                 service refused (`validate --online`)."
            }
            Self::Invalid => "The command line or `reposync.toml` is invalid.",
            Self::Partial => {
                "No project failed, but a repository, file or text failed, a guard \
                 withheld something, `verify` found differences, `status --check` found a project that is \
                 behind or partial, `query` found nothing indexed, or `eval` is below `--min-mrr`."
            }
            Self::Interrupted => "Interrupted; the next run continues.",
        }
    }

    /// The exit status of a run.
    pub(crate) fn of_run(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Partial => Self::Partial,
            Outcome::Failed => Self::Failed,
            Outcome::Interrupted => Self::Interrupted,
        }
    }

    /// The exit status of a plan that was printed.
    pub(crate) fn of_plan(plan: &Plan) -> Self {
        if plan.projects.iter().any(|project| project.error.is_some()) {
            Self::Failed
        } else if plan.projects.iter().any(|project| !project.failures.is_empty()) {
            Self::Partial
        } else {
            Self::Done
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Exit statuses of `plan --detailed-exitcode`, as in Terraform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detailed {
    /// Nothing to do.
    NoChanges,
    /// Any error, including an invalid file or command line.
    Error,
    /// There are changes to apply.
    Changes,
}

impl Detailed {
    /// Every code, in order.
    pub(crate) const ALL: [Self; 3] = [Self::NoChanges, Self::Error, Self::Changes];

    /// The numeric exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::NoChanges => 0,
            Self::Error => 1,
            Self::Changes => 2,
        }
    }

    /// The meaning in one sentence.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::NoChanges => "No changes.",
            Self::Error => "Any error, including an invalid `reposync.toml`.",
            Self::Changes => "There are changes to apply.",
        }
    }

    /// The exit status of a plan that was printed.
    pub(crate) fn of_plan(plan: &Plan) -> Self {
        if Exit::of_plan(plan) != Exit::Done {
            Self::Error
        } else if plan.is_empty() {
            Self::NoChanges
        } else {
            Self::Changes
        }
    }
}

/// The table for `--help`.
pub(crate) fn help_table() -> String {
    table("Exit codes:", &Exit::ALL.map(|exit| (exit.code(), exit.meaning())))
}

/// The table for `plan --help`.
pub(crate) fn detailed_help_table() -> String {
    table("With --detailed-exitcode:", &Detailed::ALL.map(|exit| (exit.code(), exit.meaning())))
}

/// One code per row, with continuation lines indented.
fn table(heading: &str, rows: &[(u8, &str)]) -> String {
    const WIDTH: usize = 72;
    let mut table = format!("{heading}\n");
    for (code, meaning) in rows {
        let mut line = format!("  {code:>3} ");
        for word in meaning.split(' ') {
            if line.len() + 1 + word.len() > 7 + WIDTH {
                table.push_str(&line);
                table.push('\n');
                line = " ".repeat(6);
            }
            line.push(' ');
            line.push_str(word);
        }
        table.push_str(&line);
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_as_documented() {
        insta::assert_snapshot!(help_table(), @"
        Exit codes:
            0  Done, or nothing to do.
            1  A project failed, a saved plan or `--locked` was refused, another run is
               in progress, or a service refused (`validate --online`).
            2  The command line or `reposync.toml` is invalid.
            3  No project failed, but a repository, file or text failed, a guard
               withheld something, `verify` found differences, `status --check` found a
               project that is behind or partial, `query` found nothing indexed, or
               `eval` is below `--min-mrr`.
          130  Interrupted; the next run continues.
        ");
        insta::assert_snapshot!(detailed_help_table(), @"
        With --detailed-exitcode:
            0  No changes.
            1  Any error, including an invalid `reposync.toml`.
            2  There are changes to apply.
        ");
    }

    #[test]
    fn the_readme_quotes_every_code() {
        let readme = include_str!("../../../README.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(readme.contains(&row), "the README lacks the row {row}");
        }
        for exit in Detailed::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(readme.contains(&row), "the README lacks the row {row}");
        }
    }

    #[test]
    fn a_run_ends_with_its_worst_outcome() {
        for (outcome, code) in
            [(Outcome::Done, 0), (Outcome::Partial, 3), (Outcome::Failed, 1), (Outcome::Interrupted, 130)]
        {
            assert_eq!(Exit::of_run(outcome).code(), code);
        }
    }
}
