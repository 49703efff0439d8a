//! The guards: nothing is deleted by accident, and nothing is paid for unasked.

/// Removals of at most this many vectors are never withheld.
const SMALL_REMOVAL: u64 = 100;
/// Runs that embed at most this many texts are never withheld for their share of the project.
const SMALL_EMBEDDING: u64 = 10_000;

/// The deletion guard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// Share of a project's vectors that may go in one run, 0 to 1.
    pub max_delete_ratio: f64,
    /// `--allow-deletes`.
    pub allow_deletes: bool,
}

impl Guard {
    /// Whether removals are withheld. `leaving`: vectors of files that leave the index without a successor;
    /// `total`: vectors of the project before the run.
    pub fn withholds(&self, leaving: u64, total: u64) -> bool {
        !self.allow_deletes
            && leaving > SMALL_REMOVAL
            && leaving as f64 > self.max_delete_ratio * total as f64
    }
}

/// The spending guard: withholds a run's embeddings when they are a large share of the project, or
/// cost more than the project may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpendingGuard {
    /// Texts that one run may embed, as a share of the project's chunks before the run, 0 to 1.
    pub max_new_texts_ratio: f64,
    /// `--allow-cost`.
    pub allow_cost: bool,
}

/// What the spending guard compares with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Chunks of the project before the run; `None` until a run of the project came to its end and left any, since
    /// the share of a first run says nothing, and where embedding is free.
    pub chunks: Option<u64>,
    /// `max_cost` of the project, in the currency of `price_per_million_tokens`.
    pub max_cost: Option<f64>,
}

/// What a run would have to pay for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spending {
    /// Texts to embed, after cache hits.
    pub texts: u64,
    /// Their price, in the currency of `price_per_million_tokens`.
    pub price: f64,
}

/// Which bound a run's embeddings exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// `[engine].max_new_texts_ratio`.
    Ratio,
    /// `max_cost` of the project.
    Cost,
}

impl SpendingGuard {
    /// The bound that `new` exceeds; `None`: the run may embed.
    pub fn exceeded(&self, new: Spending, budget: Budget) -> Option<Exceeded> {
        if self.allow_cost {
            return None;
        }
        if budget.max_cost.is_some_and(|most| new.price > most) {
            return Some(Exceeded::Cost);
        }
        let share = |chunks: u64| new.texts as f64 > self.max_new_texts_ratio * chunks as f64;
        (new.texts > SMALL_EMBEDDING && budget.chunks.is_some_and(share)).then_some(Exceeded::Ratio)
    }

    /// True where no run can exceed a bound, so that nothing needs to be counted beforehand.
    pub fn is_idle(&self, budget: Budget) -> bool {
        self.allow_cost || (budget.chunks.is_none() && budget.max_cost.is_none())
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

    #[test]
    fn embeddings_are_withheld_beyond_the_ratio_and_ten_thousand() {
        let guard = SpendingGuard { max_new_texts_ratio: 0.5, allow_cost: false };
        let texts = |texts, chunks| {
            guard.exceeded(Spending { texts, price: 0.0 }, Budget { chunks: Some(chunks), max_cost: None })
        };
        assert_eq!(texts(10_000, 10_000), None, "ten thousand are never too many");
        assert_eq!(texts(10_001, 20_002), None, "half of the project");
        assert_eq!(texts(10_001, 20_000), Some(Exceeded::Ratio));
        let first = Budget { chunks: None, max_cost: None };
        assert_eq!(guard.exceeded(Spending { texts: 1 << 40, price: 1e9 }, first), None);
        assert!(guard.is_idle(first));
    }

    #[test]
    fn a_cost_is_withheld_on_first_runs_too() {
        let guard = SpendingGuard { max_new_texts_ratio: 1.0, allow_cost: false };
        for chunks in [None, Some(1000)] {
            let budget = Budget { chunks, max_cost: Some(2.0) };
            let cost = |price| guard.exceeded(Spending { texts: 1, price }, budget);
            assert_eq!((cost(2.0), cost(2.01)), (None, Some(Exceeded::Cost)));
            assert!(!guard.is_idle(budget));
            let allowed = SpendingGuard { allow_cost: true, ..guard };
            assert_eq!(allowed.exceeded(Spending { texts: 1, price: 9.0 }, budget), None);
        }
    }
}
