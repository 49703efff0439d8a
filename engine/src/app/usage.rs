//! What projects did over time: runs, durations, texts, tokens, cost, errors, and how far they were behind.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Days, NaiveDate, Utc};
use serde::Serialize;

use super::{App, AppError, AppResult, check_declared};
use crate::model::{Outcome, StageResult};
use crate::state::{Measure, SumOver, USAGE_DAYS, UsageAmount, UsageQuery, day_of, quantile};

/// Which usage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageRequest {
    /// The first day (UTC); `None`: 29 days before the last one.
    pub since: Option<NaiveDate>,
    /// The last day (UTC); `None`: today.
    pub until: Option<NaiveDate>,
    /// The project; `None`: all.
    pub project: Option<String>,
}

/// Usage by day and by project.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct UsageView {
    /// The first day (UTC).
    #[schema(value_type = String, format = Date)]
    pub since: NaiveDate,
    /// The last day (UTC).
    #[schema(value_type = String, format = Date)]
    pub until: NaiveDate,
    /// All days together.
    pub total: UsageFigures,
    /// Every day from the first to the last one.
    pub days: Vec<DayUsage>,
    /// The projects that did anything, by name.
    pub projects: Vec<ProjectUsage>,
}

/// What was done on a day.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DayUsage {
    /// The day (UTC).
    #[schema(value_type = String, format = Date)]
    pub day: NaiveDate,
    /// What was done.
    #[serde(flatten)]
    pub figures: UsageFigures,
}

/// What a project did.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ProjectUsage {
    /// The project.
    pub project: String,
    /// What it did.
    #[serde(flatten)]
    pub figures: UsageFigures,
}

/// What was done in some time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct UsageFigures {
    /// Runs that ended.
    pub runs: u64,
    /// Of these, runs that failed.
    pub failed_runs: u64,
    /// Texts sent to embedders.
    pub texts: u64,
    /// Texts whose vector was in the cache.
    pub cached: u64,
    /// Tokens of the texts sent.
    pub tokens: u64,
    /// Price of the tokens, in the currency of `price_per_million_tokens`.
    pub price: f64,
    /// Durations of the runs; `None`: none ended.
    pub run_seconds: Option<Quantiles>,
    /// How far projects were behind their repositories, sampled every five minutes; `None`: there is no sample.
    pub behind_seconds: Option<Quantiles>,
    /// Failures, by the stage that reported them.
    pub errors: BTreeMap<String, u64>,
}

/// The median and the 95th percentile of a time in seconds, exact within a fifth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Quantiles {
    /// Half of the times are shorter.
    pub p50: f64,
    /// 95 of 100 are shorter.
    pub p95: f64,
}

impl App {
    /// Usage by day and by project.
    pub async fn usage(&self, request: &UsageRequest, now: DateTime<Utc>) -> AppResult<UsageView> {
        let until = request.until.unwrap_or_else(|| now.date_naive());
        let since = request.since.unwrap_or_else(|| until.checked_sub_days(Days::new(29)).unwrap_or(until));
        if since > until || (until - since).num_days() > USAGE_DAYS {
            let message = format!("`since` is at most {USAGE_DAYS} days before `until`");
            return Err(AppError::Invalid(message));
        }
        let query = UsageQuery {
            since: day_number(since),
            until: day_number(until),
            projects: self.usage_projects(request.project.as_deref()).await?,
            measure: None,
            over: SumOver::Projects,
        };
        let by_day = self.state.usage(&query).await?;
        let by_project = self.state.usage(&UsageQuery { over: SumOver::Days, ..query }).await?;
        let mut days: BTreeMap<i64, Vec<&UsageAmount>> = BTreeMap::new();
        for amount in &by_day {
            days.entry(amount.day).or_default().push(amount);
        }
        let mut projects: BTreeMap<&str, Vec<&UsageAmount>> = BTreeMap::new();
        for amount in &by_project {
            projects.entry(&amount.project).or_default().push(amount);
        }
        let day = |day: NaiveDate| DayUsage {
            day,
            figures: figures(days.get(&day_number(day)).into_iter().flatten().copied()),
        };
        let project = |(project, amounts): (&str, Vec<&UsageAmount>)| ProjectUsage {
            project: project.to_owned(),
            figures: figures(amounts.into_iter()),
        };
        Ok(UsageView {
            since,
            until,
            total: figures(by_day.iter()),
            days: since.iter_days().take_while(|day| *day <= until).map(day).collect(),
            projects: projects.into_iter().map(project).collect(),
        })
    }

    /// What each project cost since the first of this month (UTC), as far as it cost anything.
    pub async fn cost_this_month(&self, now: DateTime<Utc>) -> StageResult<BTreeMap<String, f64>> {
        let today = now.date_naive();
        let query = UsageQuery {
            since: day_number(today.with_day(1).unwrap_or(today)),
            until: day_number(today),
            projects: None,
            measure: Some(Measure::Price),
            over: SumOver::Days,
        };
        let sums = self.state.usage(&query).await?;
        let own = sums.into_iter().filter(|sum| self.access.has_project(&sum.project));
        Ok(own.map(|sum| (sum.project, sum.amount as f64 / 1e6)).collect())
    }

    /// The projects of a query; `None`: all.
    async fn usage_projects(&self, project: Option<&str>) -> AppResult<Option<Vec<String>>> {
        if let Some(name) = project {
            let names = vec![name.to_owned()];
            check_declared(&self.config, &names, &self.access)?;
            return Ok(Some(names));
        }
        if self.access.is_whole() {
            return Ok(None);
        }
        let recorded = self.state.projects().await?.into_iter().map(|project| project.name);
        Ok(Some(recorded.filter(|name| self.access.has_project(name)).collect()))
    }
}

fn day_number(day: NaiveDate) -> i64 {
    day_of(day.and_time(chrono::NaiveTime::MIN).and_utc())
}

fn figures<'a>(amounts: impl Iterator<Item = &'a UsageAmount>) -> UsageFigures {
    let mut figures = UsageFigures::default();
    let mut millionths = 0;
    let (mut runs, mut behind) = (BTreeMap::new(), BTreeMap::new());
    for UsageAmount { measure, amount, .. } in amounts {
        let n = amount.unsigned_abs();
        match measure {
            Measure::Runs(outcome) => {
                figures.runs += n;
                figures.failed_runs += if *outcome == Outcome::Failed { n } else { 0 };
            }
            Measure::Duration(bucket) => *runs.entry(*bucket).or_default() += *amount,
            Measure::Behind(bucket) => *behind.entry(*bucket).or_default() += *amount,
            Measure::Texts => figures.texts += n,
            Measure::Cached => figures.cached += n,
            Measure::Tokens => figures.tokens += n,
            Measure::Price => millionths += *amount,
            Measure::Errors(stage) => *figures.errors.entry(stage.clone()).or_default() += n,
        }
    }
    figures.price = millionths as f64 / 1e6;
    figures.run_seconds = quantiles(&runs);
    figures.behind_seconds = quantiles(&behind);
    figures
}

fn quantiles(buckets: &BTreeMap<u32, i64>) -> Option<Quantiles> {
    Some(Quantiles { p50: quantile(buckets, 0.5)?, p95: quantile(buckets, 0.95)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::bucket;

    #[test]
    fn amounts_become_figures() {
        let amount = |measure, amount| UsageAmount { day: 0, project: String::new(), measure, amount };
        let amounts = [
            amount(Measure::Runs(Outcome::Done), 19),
            amount(Measure::Runs(Outcome::Failed), 1),
            amount(Measure::Duration(bucket(1.0)), 18),
            amount(Measure::Duration(bucket(60.0)), 2),
            amount(Measure::Price, 1_500_000),
            amount(Measure::Tokens, 70),
            amount(Measure::Errors("model".into()), 2),
        ];
        let found = figures(amounts.iter());
        assert_eq!((found.runs, found.failed_runs, found.tokens, found.texts), (20, 1, 70, 0));
        assert!((found.price - 1.5).abs() < 1e-9, "{}", found.price);
        let run = found.run_seconds.expect("runs");
        assert!((0.8..1.25).contains(&run.p50) && (48.0..75.0).contains(&run.p95), "{run:?}");
        assert_eq!((found.behind_seconds, found.errors.get("model")), (None, Some(&2)));
        assert_eq!(day_number(NaiveDate::from_ymd_opt(1970, 1, 2).expect("a day")), 1);
    }
}
