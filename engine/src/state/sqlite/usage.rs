//! What each project did on each day.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params, params};

use super::store::SqliteState;
use crate::model::StageResult;
use crate::state::usage::{SumOver, USAGE_DAYS, Usage, UsageAmount, UsageQuery, day_of};

#[async_trait]
impl Usage for SqliteState {
    async fn add_usage(&self, amounts: Vec<UsageAmount>, now: DateTime<Utc>) -> StageResult<()> {
        let add = move |conn: &Connection| add(conn, &amounts, now);
        self.call(move |database| database.write("record the usage", add)).await
    }

    async fn usage(&self, query: &UsageQuery) -> StageResult<Vec<UsageAmount>> {
        let query = query.clone();
        self.read("read the usage", move |conn| sums(conn, &query)).await
    }
}

pub(super) fn add(conn: &Connection, amounts: &[UsageAmount], now: DateTime<Utc>) -> rusqlite::Result<()> {
    let mut add = conn.prepare_cached(
        "INSERT INTO usage (day, project, measure, amount) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET amount = usage.amount + excluded.amount",
    )?;
    for UsageAmount { day, project, measure, amount } in amounts {
        add.execute(params![day, project, measure.to_string(), amount])?;
    }
    conn.prepare_cached("DELETE FROM usage WHERE day < ?1")?.execute([day_of(now) - USAGE_DAYS]).map(drop)
}

fn sums(conn: &Connection, query: &UsageQuery) -> rusqlite::Result<Vec<UsageAmount>> {
    let columns = match query.over {
        SumOver::Projects => "day, ''",
        SumOver::Days => ":since, project",
    };
    let projects = query.projects.as_ref().map(|names| serde_json::to_string(names).unwrap_or_default());
    let measure = query.measure.as_ref().map(ToString::to_string);
    let mut select = conn.prepare_cached(&format!(
        "SELECT {columns}, measure, sum(amount) FROM usage
         WHERE day BETWEEN :since AND :until AND (:measure IS NULL OR measure = :measure)
             AND (:projects IS NULL OR project IN (SELECT value FROM json_each(:projects)))
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ))?;
    let mut rows = select.query(named_params! {
        ":since": query.since,
        ":until": query.until,
        ":measure": measure,
        ":projects": projects,
    })?;
    let mut sums = Vec::new();
    while let Some(row) = rows.next()? {
        // A newer program may have recorded measures that this one does not know.
        if let Ok(measure) = row.get::<_, String>(2)?.parse() {
            sums.push(UsageAmount { day: row.get(0)?, project: row.get(1)?, measure, amount: row.get(3)? });
        }
    }
    Ok(sums)
}
