//! Figures of retrieval quality over ranked files. Pure.

use serde::{Deserialize, Serialize};

/// Where the answers of one question were found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measured {
    /// The rank of each expected answer among the files found, from 1; `None`: not found.
    pub ranks: Vec<Option<usize>>,
    /// True if one of the five matches that `query` shows is an answer.
    pub shown: bool,
}

impl Measured {
    fn best(&self) -> Option<usize> {
        self.ranks.iter().flatten().min().copied()
    }

    /// 1 / the rank of the first answer, 0 if there is none.
    pub fn reciprocal(&self) -> f64 {
        self.best().map_or(0.0, |rank| 1.0 / float(rank))
    }

    fn recall(&self, most: usize) -> f64 {
        let found = self.ranks.iter().flatten().filter(|rank| **rank <= most).count();
        if self.ranks.is_empty() { 0.0 } else { float(found) / float(self.ranks.len()) }
    }
}

/// Means over questions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Mean reciprocal rank of the first file that is an answer.
    pub mrr: f64,
    /// Half the width of the 95 % confidence interval of `mrr`.
    pub mrr_interval: f64,
    /// Mean share of the expected answers among the first file found.
    pub recall_at_1: f64,
    /// The same among the first five files.
    pub recall_at_5: f64,
    /// The same among the first ten files.
    pub recall_at_10: f64,
    /// Share of questions with an answer among the five matches shown.
    pub hit_at_5: f64,
}

impl Figures {
    /// The figures of questions.
    pub fn of(all: &[Measured]) -> Self {
        let count = float(all.len().max(1));
        let mean = |value: &dyn Fn(&Measured) -> f64| all.iter().map(value).sum::<f64>() / count;
        let mrr = mean(&Measured::reciprocal);
        let variance = mean(&|one| (one.reciprocal() - mrr).powi(2));
        Self {
            mrr,
            mrr_interval: 1.96 * (variance / count).sqrt(),
            recall_at_1: mean(&|one| one.recall(1)),
            recall_at_5: mean(&|one| one.recall(5)),
            recall_at_10: mean(&|one| one.recall(10)),
            hit_at_5: mean(&|one| f64::from(u8::from(one.shown))),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of questions and ranks")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_means_over_questions() {
        let of = |ranks: &[Option<usize>], shown| Measured { ranks: ranks.to_vec(), shown };
        let figures = Figures::of(&[of(&[Some(1), Some(7)], true), of(&[Some(2)], true), of(&[None], false)]);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(figures.mrr, 0.5));
        assert!(close(figures.recall_at_1, 0.5 / 3.0));
        assert!(close(figures.recall_at_5, 1.5 / 3.0));
        assert!(close(figures.recall_at_10, 2.0 / 3.0));
        assert!(close(figures.hit_at_5, 2.0 / 3.0));
        assert!(figures.mrr_interval > 0.0);
        assert_eq!(Figures::of(&[]), Figures::default());
    }
}
