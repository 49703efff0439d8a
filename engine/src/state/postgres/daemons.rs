//! Daemons as rows: who is there, who is the dispatcher, and what they say to each other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::keeper::Renewed;
use super::queue::wake::{ADOPTED, ASKED, PEERS, notify};
use super::store::{PostgresState, attempt, text, write};
use super::suspects::end_lapsed;
use crate::model::{StageResult, WorkerSettings};
use crate::postgres::{Arg, Transaction};
use crate::state::daemons::{Daemon, DaemonRow, Daemons, LiveEvents, Shown, Standing};
use crate::state::fence::{Fence, Lease, Term};
use crate::state::queue::{Generation, unique_id};

/// How long the dispatcher's lease is valid without renewal, unless other leases are shorter. The daemon that has it ends
/// its runs by itself, so it may be taken over sooner than they.
const LONGEST_LAPSE: Duration = Duration::from_secs(20);
/// The role in the table of leases.
const ROLE: &str = "dispatcher";
/// A daemon that was not seen for this long is gone.
const GONE: &str = "1 minute";
/// Its row is kept for this long.
const FORGOTTEN: &str = "1 day";
/// Answers are kept for this long, and so are the events of ended runs.
const KEPT: &str = "10 minutes";

#[async_trait]
impl Daemons for PostgresState {
    async fn enter_daemon(&self, daemon: &Daemon) -> StageResult<()> {
        let sql = format!(
            "WITH gone AS (DELETE FROM daemons WHERE seen < now() - interval '{FORGOTTEN}' AND id <> $1)
             INSERT INTO daemons (id, label, version) VALUES ($1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET seen = now()"
        );
        let args: [&dyn Arg; 3] = [&daemon.id, &daemon.label, &env!("CARGO_PKG_VERSION")];
        attempt!(self, "record a daemon", self.begin_without_lease(), tx => tx.run(&sql, &args).await?)
            .map(drop)
    }

    async fn leave_daemon(&self, daemon: &str) -> StageResult<()> {
        self.rows("delete a daemon", "DELETE FROM daemons WHERE id = $1", &[&daemon]).await.map(drop)
    }

    async fn list_daemons(&self) -> StageResult<Vec<DaemonRow>> {
        let sql = format!(
            "SELECT id, label, version, since, seen, EXISTS (
                 SELECT 1 FROM dispatcher JOIN leases USING (epoch)
                 WHERE dispatcher.daemon = daemons.id AND until > now())
             FROM daemons WHERE seen > now() - interval '{GONE}' ORDER BY since, id"
        );
        let rows = self.rows("list daemons", &sql, &[]).await?;
        let daemon = |row: &crate::postgres::Row| DaemonRow {
            id: row.get(0),
            label: row.get(1),
            version: row.get(2),
            since: row.get(3),
            seen: row.get(4),
            dispatcher: row.get(5),
        };
        Ok(rows.iter().map(daemon).collect())
    }

    async fn lead(&self) -> StageResult<Option<Lease>> {
        let WorkerSettings { lease, renew, grace, stuck, .. } = *self.leases.lock();
        let lapse = lease.min(LONGEST_LAPSE);
        let number = self.draw_epoch().await?;
        let mut sent = Instant::now();
        let taken: StageResult<Option<i64>> = attempt!(self, "take the lease of the dispatcher", self.begin_without_lease(), tx => {
            sent = Instant::now();
            end_lapsed(&tx).await?;
            let row = tx.row(
                "INSERT INTO leases (projects, role, process, lapse, until, epoch)
                 VALUES ('{}', $1, $2, make_interval(secs => $3), now() + make_interval(secs => $3), $4)
                 ON CONFLICT (role) WHERE role IS NOT NULL DO UPDATE SET until = excluded.until
                     WHERE leases.epoch = excluded.epoch RETURNING epoch",
                &[&ROLE, &i64::from(std::process::id()), &lapse.as_secs_f64(), &number],
            ).await?;
            row.map(|row| row.get(0))
        });
        let Some(epoch) = taken? else { return Ok(None) };
        let term = Term::new(sent + lapse, grace.min(lapse / 4), stuck);
        let renewed = Renewed { epoch, term: term.clone(), lapse, renew, waits: true };
        let kept = self
            .keep(renewed)
            .map_err(|failure| self.tries("take the lease of the dispatcher").error(failure))?;
        Ok(Some(Lease::new(Fence { epoch }, Some(term), Arc::new(kept))))
    }

    async fn show(&self, fence: Fence, daemon: &str, shown: &str) -> StageResult<()> {
        let shown = text(shown);
        write!(self, fence, "show the state of the projects", tx => {
            tx.run(
                "INSERT INTO dispatcher (daemon, epoch, shown) VALUES ($1, $2, $3)
                 ON CONFLICT (one) DO UPDATE SET daemon = $1, epoch = $2, shown = $3, shown_at = now()",
                &[&daemon, &fence.epoch, &shown],
            ).await?;
            notify(&tx, PEERS).await?;
        })
    }

    async fn shown(&self) -> StageResult<Option<Shown>> {
        let sql = "SELECT daemon, shown, EXISTS (
                 SELECT 1 FROM leases WHERE leases.epoch = dispatcher.epoch AND until > now()) FROM dispatcher";
        let rows = self.rows("read the state of the projects", sql, &[]).await?;
        let shown = |row: &crate::postgres::Row| Shown {
            daemon: row.get(0),
            content: row.get(1),
            is_led: row.get(2),
        };
        Ok(rows.first().map(shown))
    }

    async fn ask(&self, content: &str) -> StageResult<i64> {
        let (key, content) = (unique_id(), text(content));
        attempt!(self, "ask the dispatcher", self.begin_without_lease(), tx => {
            // It is there already if the answer to an attempt was lost.
            let sql = "INSERT INTO requests (key, content) VALUES ($1, $2)
                 ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id";
            let row = tx.row(sql, &[&key, &content]).await?;
            notify(&tx, ASKED).await?;
            row.map_or(0, |row| row.get(0))
        })
    }

    async fn asked(&self) -> StageResult<Vec<(i64, String)>> {
        let sql = "SELECT id, content FROM requests WHERE answer IS NULL ORDER BY id";
        let rows = self.rows("read requests to the dispatcher", sql, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn answer_request(&self, fence: Fence, id: i64, answer: Option<&str>) -> StageResult<()> {
        let answer = answer.map(text);
        let old =
            format!("DELETE FROM requests WHERE answer IS NOT NULL AND asked_at < now() - interval '{KEPT}'");
        write!(self, fence, "answer a request", tx => {
            match &answer {
                Some(answer) => tx.run("UPDATE requests SET answer = $2 WHERE id = $1", &[&id, answer]).await?,
                None => tx.run("DELETE FROM requests WHERE id = $1", &[&id]).await?,
            };
            tx.run(&old, &[]).await?;
            notify(&tx, PEERS).await?;
        })
    }

    async fn answer_to(&self, id: i64) -> StageResult<Option<String>> {
        let sql = "SELECT answer FROM requests WHERE id = $1 AND answer IS NOT NULL";
        let rows = self.rows("read the answer of the dispatcher", sql, &[&id]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn withdraw(&self, id: i64) -> StageResult<bool> {
        let sql = "DELETE FROM requests WHERE id = $1 AND answer IS NULL RETURNING id";
        Ok(!self.rows("withdraw a request", sql, &[&id]).await?.is_empty())
    }

    async fn put_events(
        &self,
        fence: Fence,
        events: Vec<(String, String)>,
        active: Vec<String>,
    ) -> StageResult<()> {
        let (runs, events): (Vec<String>, Vec<String>) =
            events.into_iter().map(|(run, events)| (text(&run), text(&events))).unzip();
        let old = format!("DELETE FROM live_events WHERE at < now() - interval '{KEPT}' AND run <> ALL ($1)");
        write!(self, fence, "store events of runs", tx => {
            tx.run("INSERT INTO live_events (run, events) SELECT * FROM unnest($1::text[], $2::text[])", &[&runs, &events])
                .await?;
            tx.run(&old, &[&active]).await?;
            notify(&tx, PEERS).await?;
        })
    }

    async fn events_after(&self, after: i64) -> StageResult<Vec<LiveEvents>> {
        let sql = "SELECT id, run, events FROM live_events WHERE id > $1 ORDER BY id LIMIT 1000";
        let rows = self.rows("read events of runs", sql, &[&after]).await?;
        Ok(rows
            .iter()
            .map(|row| LiveEvents { id: row.get(0), run: row.get(1), events: row.get(2) })
            .collect())
    }

    async fn adopt(&self, fence: Fence, generation: &Generation, insist: bool) -> StageResult<Standing> {
        let number = self.store_generation(generation).await?;
        write!(self, fence, "adopt a configuration", tx => {
            match standing(&tx, &generation.digest).await? {
                Standing::Older(newest) if !insist => Standing::Older(newest),
                Standing::Newest(number) => Standing::Newest(number),
                Standing::New | Standing::Older(_) => {
                    let sql = "UPDATE generations SET adopted = nextval('adoptions') WHERE number = $1";
                    tx.run(sql, &[&number]).await?;
                    notify(&tx, ADOPTED).await?;
                    Standing::Newest(number)
                }
            }
        })
    }

    async fn standing(&self, digest: &str) -> StageResult<Standing> {
        attempt!(self, "compare the configuration", self.snapshot(), tx => standing(&tx, digest).await?)
    }

    async fn answers_to_generation(&self, number: i64) -> StageResult<Vec<(String, Option<String>)>> {
        let sql = format!(
            "SELECT label, refused FROM generation_answers JOIN workers ON workers.id = worker
             WHERE generation = $1 AND seen > now() - interval '{GONE}' ORDER BY since, id"
        );
        let rows = self.rows("read workers' answers", &sql, &[&number]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    fn requests(&self) -> watch::Receiver<u64> {
        self.wake.asked(&self.pool)
    }

    fn peers(&self) -> watch::Receiver<u64> {
        self.wake.peers(&self.pool)
    }
}

async fn standing(tx: &Transaction, digest: &str) -> Result<Standing, crate::postgres::Failure> {
    let row = tx
        .row(
            "SELECT own.number, own.adopted IS NOT NULL, newest.number
             FROM (SELECT number, adopted FROM generations WHERE digest = $1) AS own
             FULL JOIN (SELECT number FROM generations WHERE adopted IS NOT NULL ORDER BY adopted DESC LIMIT 1) AS newest
             ON TRUE",
            &[&digest],
        )
        .await?;
    let Some(row) = row else { return Ok(Standing::New) };
    let (own, newest): (Option<i64>, Option<i64>) = (row.get(0), row.get(2));
    Ok(match (own, newest) {
        (Some(own), Some(newest)) if own == newest => Standing::Newest(own),
        (Some(_), Some(newest)) if row.get::<_, Option<bool>>(1) == Some(true) => Standing::Older(newest),
        _ => Standing::New,
    })
}
