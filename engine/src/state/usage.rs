//! What each project did on each day: runs, durations, texts, tokens, cost, errors, and how far it was behind.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::{Outcome, ProjectReport, Report, StageResult};

/// For how many days usage is kept.
pub const USAGE_DAYS: i64 = 400;
/// Seconds at the lower end of bucket 1; all shorter times are in bucket 0.
const FIRST: f64 = 0.125;
/// The last bucket, for everything above about 40 years.
const LAST: u32 = 64;

/// Amounts by project, day (UTC) and measure. [`super::History::finish_run`] adds those of a run.
#[async_trait]
pub trait Usage {
    /// Adds amounts to those that are recorded, and deletes what is older than [`USAGE_DAYS`] days. Needs no lease.
    async fn add_usage(&self, amounts: Vec<UsageAmount>, now: DateTime<Utc>) -> StageResult<()>;

    /// Sums of amounts.
    async fn usage(&self, query: &UsageQuery) -> StageResult<Vec<UsageAmount>>;
}

/// An amount of a project on a day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageAmount {
    /// The day, in days since 1970.
    pub day: i64,
    /// The project.
    pub project: String,
    /// What is measured.
    pub measure: Measure,
    /// The amount.
    pub amount: i64,
}

/// Which amounts to sum up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// The first day, in days since 1970.
    pub since: i64,
    /// The last day.
    pub until: i64,
    /// Only these projects; `None`: all.
    pub projects: Option<Vec<String>>,
    /// Only this measure; `None`: all.
    pub measure: Option<Measure>,
    /// What the sums are over.
    pub over: SumOver,
}

/// What sums of amounts are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SumOver {
    /// The projects: a sum for each day, with an empty project.
    Projects,
    /// The days: a sum for each project, with the day `since`.
    Days,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Runs that ended so.
    Runs(Outcome),
    /// Runs whose duration is in this bucket; see [`bucket`].
    Duration(u32),
    /// Texts sent to the embedder.
    Texts,
    /// Texts whose vector was in the cache.
    Cached,
    /// Tokens of the texts sent.
    Tokens,
    /// Price of the tokens, in millionths of the currency of `price_per_million_tokens`.
    Price,
    /// Failures that this stage reported.
    Errors(String),
    /// Samples of the time by which the project was behind its repositories, in this bucket.
    Behind(u32),
}

const OUTCOMES: [Outcome; 4] = [Outcome::Done, Outcome::Partial, Outcome::Failed, Outcome::Interrupted];

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs(outcome) => write!(f, "runs:{}", outcome.as_str()),
            Self::Duration(bucket) => write!(f, "duration:{bucket}"),
            Self::Texts => f.write_str("texts"),
            Self::Cached => f.write_str("cached"),
            Self::Tokens => f.write_str("tokens"),
            Self::Price => f.write_str("price"),
            Self::Errors(stage) => write!(f, "errors:{stage}"),
            Self::Behind(bucket) => write!(f, "behind:{bucket}"),
        }
    }
}

impl FromStr for Measure {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        Ok(match name {
            "runs" => Self::Runs(OUTCOMES.into_iter().find(|outcome| outcome.as_str() == value).ok_or(())?),
            "duration" => Self::Duration(value.parse().map_err(drop)?),
            "behind" => Self::Behind(value.parse().map_err(drop)?),
            "errors" => Self::Errors(value.to_owned()),
            "texts" => Self::Texts,
            "cached" => Self::Cached,
            "tokens" => Self::Tokens,
            "price" => Self::Price,
            _ => return Err(()),
        })
    }
}

/// The day of a moment, in days since 1970.
pub fn day_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(86_400)
}

/// The bucket of a time in seconds. A bucket's upper end is 1.41 times its lower end.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; saturates")]
pub fn bucket(seconds: f64) -> u32 {
    if seconds < FIRST { 0 } else { ((2.0 * (seconds / FIRST).log2()) as u32).saturating_add(1).min(LAST) }
}

/// A time in the middle of a bucket, in seconds.
fn middle(bucket: u32) -> f64 {
    if bucket == 0 { 0.0 } else { FIRST * ((f64::from(bucket) - 0.5) / 2.0).exp2() }
}

/// The time below which this share of the samples is; `None`: there is no sample.
pub fn quantile(buckets: &BTreeMap<u32, i64>, share: f64) -> Option<f64> {
    let total: i64 = buckets.values().sum();
    let mut below = 0;
    for (bucket, samples) in buckets {
        below += samples;
        if below as f64 >= share * total as f64 && below > 0 {
            return Some(middle(*bucket));
        }
    }
    None
}

/// The amounts of a run, in order, each measure of a project once.
pub(super) fn amounts_of(report: &Report, now: DateTime<Utc>) -> Vec<UsageAmount> {
    let mut sums: BTreeMap<(&str, Measure), i64> = BTreeMap::new();
    for part in &report.projects {
        for (measure, amount) in amounts_of_project(part, report.seconds) {
            *sums.entry((&part.project, measure)).or_default() += amount;
        }
    }
    let amount = |((project, measure), amount): ((&str, Measure), i64)| UsageAmount {
        day: day_of(now),
        project: project.to_owned(),
        measure,
        amount,
    };
    sums.into_iter().filter(|(_, amount)| *amount > 0).map(amount).collect()
}

fn amounts_of_project(part: &ProjectReport, seconds: f64) -> Vec<(Measure, i64)> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    let price = (part.counts.price * 1e6).round() as i64;
    let mut amounts = vec![
        (Measure::Runs(part.outcome), 1),
        (Measure::Duration(bucket(seconds)), 1),
        (Measure::Texts, count(part.counts.texts_embedded)),
        (Measure::Cached, count(part.counts.texts_cached)),
        (Measure::Tokens, count(part.counts.tokens)),
        (Measure::Price, price),
    ];
    let failures = part.failures.iter().chain(&part.error);
    amounts.extend(failures.map(|failure| (Measure::Errors(failure.stage.clone()), 1)));
    amounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_read_as_they_are_written() {
        for measure in [
            Measure::Runs(Outcome::Interrupted),
            Measure::Duration(7),
            Measure::Texts,
            Measure::Cached,
            Measure::Tokens,
            Measure::Price,
            Measure::Errors("a:b".into()),
            Measure::Behind(0),
        ] {
            assert_eq!(measure.to_string().parse(), Ok(measure.clone()), "{measure}");
        }
        for unknown in ["", "runs:odd", "duration:x", "later"] {
            assert_eq!(unknown.parse::<Measure>(), Err(()), "{unknown}");
        }
    }

    #[test]
    fn a_bucket_holds_what_is_near_its_middle() {
        for seconds in [0.2, 1.0, 59.0, 3600.0, 86_400.0 * 365.0] {
            let shown = middle(bucket(seconds));
            assert!((0.8..1.25).contains(&(shown / seconds)), "{seconds} is shown as {shown}");
        }
        assert_eq!((bucket(0.0), middle(0), bucket(f64::MAX)), (0, 0.0, LAST));
        let buckets = BTreeMap::from([(0, 90), (10, 9), (20, 1)]);
        assert_eq!(quantile(&buckets, 0.5), Some(0.0));
        assert_eq!(quantile(&buckets, 0.95), Some(middle(10)));
        assert_eq!(quantile(&buckets, 1.0), Some(middle(20)));
        assert_eq!(quantile(&BTreeMap::new(), 0.5), None);
    }
}
