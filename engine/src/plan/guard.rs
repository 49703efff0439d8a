//! The deletion guard: nothing is deleted by accident.

/// Fewer vectors than this are never worth a question.
const SMALL: u64 = 100;

/// What the guard looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// Share of a project's vectors that may go in one run, 0 to 1.
    pub max_delete_ratio: f64,
    /// `--allow-deletes`.
    pub allow_deletes: bool,
}

impl Guard {
    /// True when removals are to be withheld: `leaving` vectors belong to files that leave the
    /// index and have no successor, out of `total` vectors of the project before the run.
    pub fn withholds(&self, leaving: u64, total: u64) -> bool {
        !self.allow_deletes && leaving > SMALL && leaving as f64 > self.max_delete_ratio * total as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_ratio_and_over_a_hundred() {
        let guard = Guard { max_delete_ratio: 0.5, allow_deletes: false };
        assert!(!guard.withholds(100, 100));
        assert!(guard.withholds(101, 101));
        assert!(!guard.withholds(500, 1000));
        assert!(guard.withholds(501, 1000));
        assert!(!Guard { allow_deletes: true, ..guard }.withholds(1000, 1000));
        assert!(!Guard { max_delete_ratio: 1.0, ..guard }.withholds(1000, 1000));
        assert!(Guard { max_delete_ratio: 0.0, ..guard }.withholds(101, 100_000));
    }
}
