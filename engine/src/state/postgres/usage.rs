//! What each project did on each day.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::store::{PostgresState, attempt, text};
use crate::model::{Report, StageResult};
use crate::postgres::{Failure, Transaction};
use crate::state::usage::{SumOver, USAGE_DAYS, Usage, UsageAmount, UsageQuery, amounts_of, day_of};

/// Adds amounts, unless the run (`$5`) is recorded as finished.
const ADD: &str = "INSERT INTO usage (day, project, measure, amount)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])
     WHERE $5::text IS NULL OR EXISTS (SELECT 1 FROM runs WHERE id = $5 AND finished_at IS NULL)
     ON CONFLICT (day, project, measure) DO UPDATE SET amount = usage.amount + excluded.amount";

#[async_trait]
impl Usage for PostgresState {
    async fn add_usage(&self, mut amounts: Vec<UsageAmount>, now: DateTime<Utc>) -> StageResult<()> {
        // Transactions that add in the same order do not wait for each other in a circle.
        amounts.sort();
        attempt!(self, "record the usage", self.begin_without_lease(), tx => add(&tx, None, &amounts, now).await?)
    }

    async fn usage(&self, query: &UsageQuery) -> StageResult<Vec<UsageAmount>> {
        let columns = match query.over {
            SumOver::Projects => "day, ''",
            SumOver::Days => "$1::bigint, project",
        };
        let sql = format!(
            "SELECT {columns}, measure, sum(amount)::bigint FROM usage
             WHERE day BETWEEN $1 AND $2 AND ($3::text IS NULL OR measure = $3)
                 AND ($4::text[] IS NULL OR project = ANY ($4))
             GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        );
        let measure = query.measure.as_ref().map(ToString::to_string);
        let rows = self
            .rows("read the usage", &sql, &[&query.since, &query.until, &measure, &query.projects])
            .await?;
        // A newer program may have recorded measures that this one does not know.
        let known = rows.iter().filter_map(|row| {
            let measure = row.get::<_, &str>(2).parse().ok()?;
            Some(UsageAmount { day: row.get(0), project: row.get(1), measure, amount: row.get(3) })
        });
        Ok(known.collect())
    }
}

/// Adds the amounts of a run that ends, once.
pub(super) async fn add_run(tx: &Transaction, report: &Report, now: DateTime<Utc>) -> Result<(), Failure> {
    add(tx, Some(&report.run), &amounts_of(report, now), now).await
}

async fn add(
    tx: &Transaction,
    run: Option<&str>,
    amounts: &[UsageAmount],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let days: Vec<i64> = amounts.iter().map(|one| one.day).collect();
    let projects: Vec<String> = amounts.iter().map(|one| text(&one.project)).collect();
    let measures: Vec<String> = amounts.iter().map(|one| text(&one.measure.to_string())).collect();
    let values: Vec<i64> = amounts.iter().map(|one| one.amount).collect();
    tx.run(ADD, &[&days, &projects, &measures, &values, &run]).await?;
    let old =
        "DELETE FROM usage WHERE day < least($1, floor(extract(epoch FROM now()) / 86400)::bigint) - $2";
    tx.run(old, &[&day_of(now), &USAGE_DAYS]).await.map(drop)
}
