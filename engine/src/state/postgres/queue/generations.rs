//! Configurations and components, as workers get them.

use super::super::store::{PostgresState, attempt, json};
use crate::model::StageResult;
use crate::postgres::{Failure, Transaction};
use crate::state::queue::Generation;

/// Bytes of a component in one row.
const PART: usize = 4 << 20;
/// Generations that are kept, besides those of units.
const KEPT: i64 = 20;

impl PostgresState {
    /// Stores a generation and its components.
    pub(in super::super) async fn store_generation(&self, generation: &Generation) -> StageResult<i64> {
        attempt!(self, "store the configuration", self.begin_without_lease(), tx => {
            match number(&tx, generation).await? {
                Some(number) => number,
                None => store(&tx, generation).await?,
            }
        })
    }

    /// A generation, with components that have no content.
    pub(super) async fn read_generation(&self, number: i64) -> StageResult<Option<Generation>> {
        let sql = "SELECT content::text FROM generations WHERE number = $1";
        let rows = self.rows("read the configuration", sql, &[&number]).await?;
        Ok(rows.first().and_then(|row| serde_json::from_str(row.get(0)).ok()))
    }

    /// The bytes of a component.
    pub(super) async fn read_component(&self, digest: &str) -> StageResult<Option<Vec<u8>>> {
        let sql = "SELECT bytes FROM component_parts WHERE digest = $1 ORDER BY part";
        let rows = self.rows("read a component", sql, &[&digest]).await?;
        let bytes: Vec<u8> = rows.iter().flat_map(|row| row.get::<_, Vec<u8>>(0)).collect();
        Ok((!rows.is_empty()).then_some(bytes))
    }

    /// Stores what a worker said of a generation.
    pub(super) async fn store_answer(
        &self,
        number: i64,
        worker: &str,
        refused: Option<String>,
    ) -> StageResult<()> {
        let sql = "INSERT INTO generation_answers (generation, worker, refused) VALUES ($1, $2, $3)
             ON CONFLICT (generation, worker) DO UPDATE SET refused = excluded.refused";
        self.rows("answer a configuration", sql, &[&number, &worker, &refused]).await.map(drop)
    }
}

async fn number(tx: &Transaction, generation: &Generation) -> Result<Option<i64>, Failure> {
    let row = tx.row("SELECT number FROM generations WHERE digest = $1", &[&generation.digest]).await?;
    Ok(row.map(|row| row.get(0)))
}

async fn store(tx: &Transaction, generation: &Generation) -> Result<i64, Failure> {
    for component in &generation.components {
        for (n, part) in component.bytes.chunks(PART).enumerate() {
            let n = i32::try_from(n).unwrap_or(i32::MAX);
            let sql = "INSERT INTO component_parts VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            tx.run(sql, &[&component.digest, &n, &part]).await?;
        }
    }
    // Another process may store the same one at this moment.
    tx.run(
        "INSERT INTO generations (digest, version, content) VALUES ($1, $2, $3::text::json) ON CONFLICT DO NOTHING",
        &[&generation.digest, &generation.version, &json(generation)],
    )
    .await?;
    let stored = number(tx, generation).await?;
    tx.run(
        "DELETE FROM generations WHERE number <= (SELECT max(number) - $1 FROM generations)
             AND number NOT IN (SELECT generation FROM units)
             AND adopted IS DISTINCT FROM (SELECT max(adopted) FROM generations)",
        &[&KEPT],
    )
    .await?;
    tx.run(
        "DELETE FROM component_parts WHERE digest NOT IN (
             SELECT component ->> 'digest'
             FROM generations, json_array_elements(content -> 'components') AS component)",
        &[],
    )
    .await?;
    stored.ok_or_else(|| Failure::Other("no number of a new configuration".into()))
}
