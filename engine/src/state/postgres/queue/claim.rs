//! Workers' side of the queue: claims, results, units that go back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::keeper::Renewed;
use super::super::store::{PostgresState, attempt, text, write};
use super::super::suspects::suspect;
use super::seconds;
use super::wake::{ENDED, READY, notify};
use crate::model::StageResult;
use crate::postgres::{Failure, Row, Transaction};
use crate::state::fence::{Fence, Lease, Term};
use crate::state::queue::{ClaimedUnit, PutBack, UnitClaim, unique_id};

/// The pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

impl PostgresState {
    /// Claims units, after those of workers that died were put back.
    pub(super) async fn claim_units(&self, claim: &UnitClaim) -> StageResult<Vec<ClaimedUnit>> {
        let mut sent = Instant::now();
        let (call, mut is_repeated) = (format!("{} {}", claim.worker.id, unique_id()), false);
        let taken: StageResult<Vec<Row>> = attempt!(self, "claim units", self.begin_without_lease(), tx => {
            sent = Instant::now();
            let taken = if std::mem::replace(&mut is_repeated, true) {
                taken_before(&tx, &call, claim).await?
            } else {
                Vec::new()
            };
            if taken.is_empty() {
                put_back_lapsed(&tx, claim).await?;
                take(&tx, &call, claim).await?
            } else {
                taken
            }
        });
        let until = sent + claim.lease;
        taken?.iter().map(|row| self.claimed(row, until, claim)).collect()
    }

    fn claimed(&self, row: &Row, until: Instant, claim: &UnitClaim) -> StageResult<ClaimedUnit> {
        let epoch = row.get("epoch");
        let (lapse, renew) = (claim.lease, claim.renew);
        let term = Term::new(until, claim.grace, claim.stuck);
        // A process that does not even begin loses the unit, too.
        term.moved();
        let renewed = Renewed { epoch, term: term.clone(), lapse, renew, waits: false };
        let kept = self.keep(renewed).map_err(|failure| self.tries("claim units").error(failure))?;
        Ok(ClaimedUnit {
            id: row.get("id"),
            run: row.get("run"),
            project: row.get("project"),
            repository: row.get("repository"),
            generation: row.get("generation"),
            task: row.get("task"),
            lease: Lease::new(Fence { epoch }, Some(term), Arc::new(kept)),
        })
    }

    /// Ends a unit with its result.
    pub(super) async fn finish_unit(&self, fence: Fence, result: &str) -> StageResult<()> {
        write!(self, fence, "finish a unit", tx => {
            tx.run(
                "UPDATE units SET state = 'done', result = $2, epoch = NULL, changed_at = now() WHERE epoch = $1",
                &[&fence.epoch, &result],
            )
            .await?;
            end(&tx, fence, ENDED).await?;
        })
    }

    /// Puts a unit back, or lets it die.
    pub(super) async fn put_unit_back(&self, fence: Fence, why: PutBack) -> StageResult<()> {
        write!(self, fence, "put a unit back", tx => {
            match &why {
                PutBack::Unfinished => {
                    let sql = "UPDATE units SET state = 'ready', attempts = attempts - 1, epoch = NULL,
                             changed_at = now() WHERE epoch = $1";
                    tx.run(sql, &[&fence.epoch]).await?;
                }
                PutBack::Failed { reason, after, attempts } => {
                    fail(&tx, fence, reason, *after, *attempts).await?;
                }
            }
            end(&tx, fence, READY).await?;
            notify(&tx, ENDED).await?;
        })
    }
}

/// Units whose leases lapsed, or were dropped without a word, are ready again, or dead.
async fn put_back_lapsed(tx: &Transaction, claim: &UnitClaim) -> Result<(), Failure> {
    // A lease that is locked belongs to a transaction that is still open: it is held.
    let sql = format!(
        "WITH lapsed AS (
             DELETE FROM leases WHERE epoch IN (
                 SELECT epoch FROM leases WHERE unit IS NOT NULL AND until <= now() - make_interval(secs => $1)
                 FOR UPDATE SKIP LOCKED)
             RETURNING epoch),
         suspected AS ({}),
         counted AS (UPDATE takeovers SET n = n + (SELECT count(*) FROM lapsed) WHERE EXISTS (SELECT 1 FROM lapsed))
         UPDATE units SET state = CASE WHEN attempts >= $2 THEN 'dead' ELSE 'ready' END, epoch = NULL,
             changed_at = now(), reason = 'its worker ended or lost its connection',
             history = history || jsonb_build_object('at', now(), 'worker', coalesce(worker, ''), 'reason',
                 'the worker ended or lost its connection')
         WHERE state = 'running' AND NOT EXISTS (
             SELECT 1 FROM leases WHERE leases.epoch = units.epoch AND leases.epoch NOT IN (SELECT epoch FROM lapsed))",
        suspect("epoch IN (SELECT epoch FROM lapsed)")
    );
    let put_back = tx.run(&sql, &[&seconds(claim.grace), &limit(claim.attempts)]).await?;
    if put_back > 0 {
        notify(tx, ENDED).await?;
    }
    Ok(())
}

/// What an earlier attempt of the same call has taken, if the answer to it was lost.
async fn taken_before(tx: &Transaction, call: &str, claim: &UnitClaim) -> Result<Vec<Row>, Failure> {
    // The transaction of the earlier attempt may still be at its end: waits for it.
    tx.batch("LOCK TABLE leases IN SHARE ROW EXCLUSIVE MODE").await?;
    tx.rows(
        "WITH own AS (
             UPDATE leases SET until = now() + make_interval(secs => $2) WHERE claim = $1 RETURNING epoch)
         SELECT id, run, project, repository, generation, task, epoch FROM units JOIN own USING (epoch)
         WHERE state = 'running' ORDER BY id",
        &[&call, &seconds(claim.lease)],
    )
    .await
}

/// Takes ready units, with a lease on each. `call`: by which they are known again.
async fn take(tx: &Transaction, call: &str, claim: &UnitClaim) -> Result<Vec<Row>, Failure> {
    let (run, project) = claim.of.clone().unzip();
    // The first unit of each project is found by the index, one project after the other, and further ones only as far as
    // they are taken: a claim does not read the whole queue. A worker leaves alone what a program of another version wrote,
    // and what it cannot build.
    tx.rows(
        "WITH RECURSIVE queued AS (
             (SELECT project, id FROM units WHERE state = 'ready' ORDER BY project, id LIMIT 1)
             UNION ALL
             SELECT next.* FROM queued CROSS JOIN LATERAL (
                 SELECT project, id FROM units WHERE state = 'ready' AND project > queued.project
                 ORDER BY project, id LIMIT 1) AS next),
         turns AS MATERIALIZED (
             SELECT project FROM queued LEFT JOIN (
                 SELECT project, count(*) AS n FROM units WHERE state = 'running' GROUP BY project
             ) AS busy USING (project)
             WHERE $6::text IS NULL OR project = $6 ORDER BY coalesce(n, 0), queued.id),
         wanted AS MATERIALIZED (
             SELECT found.id FROM turns CROSS JOIN LATERAL (
                 SELECT id FROM units
                 WHERE state = 'ready' AND units.project = turns.project AND not_before <= now()
                     AND CASE WHEN $5::text IS NOT NULL THEN run = $5 ELSE
                         generation IN (SELECT number FROM generations WHERE version = $4)
                         AND generation NOT IN (
                             SELECT generation FROM generation_answers WHERE worker = $2 AND refused IS NOT NULL) END
                 ORDER BY id FOR UPDATE SKIP LOCKED) AS found
             LIMIT $1),
         claimed AS (
             UPDATE units SET state = 'running', attempts = attempts + 1, epoch = nextval('epochs'),
                 worker = $3, changed_at = now(), progress = NULL
             FROM wanted
             WHERE units.id = wanted.id
             RETURNING units.id, run, project, repository, generation, task, units.epoch),
         leased AS (
             INSERT INTO leases (epoch, projects, unit, process, until, lapse, claim)
             SELECT epoch, '{}', id, $7, now() + make_interval(secs => $8), make_interval(secs => $8), $9 FROM claimed)
         SELECT * FROM claimed ORDER BY id",
        &[
            &i64::try_from(claim.units).unwrap_or(i64::MAX),
            &claim.worker.id,
            &claim.worker.label,
            &claim.worker.version,
            &run,
            &project,
            &i64::from(std::process::id()),
            &seconds(claim.lease),
            &call,
        ],
    )
    .await
}

/// A failed attempt: the unit is ready again later, or dead.
async fn fail(
    tx: &Transaction,
    fence: Fence,
    reason: &str,
    after: Option<Duration>,
    attempts: u32,
) -> Result<(), Failure> {
    let reason = text(reason);
    tx.run(
        "UPDATE units SET state = CASE WHEN attempts >= $4 THEN 'dead' ELSE 'ready' END, epoch = NULL,
             changed_at = now(), reason = $2,
             not_before = now() + make_interval(secs => coalesce($3, least($5 * 2 ^ (attempts - 1), $6))),
             history = history || jsonb_build_object('at', now(), 'worker', coalesce(worker, ''), 'reason', $2)
         WHERE epoch = $1",
        &[
            &fence.epoch,
            &reason,
            &after.map(seconds),
            &limit(attempts),
            &seconds(FIRST_PAUSE),
            &seconds(LONGEST_PAUSE),
        ],
    )
    .await?;
    Ok(())
}

/// Ends the lease of a unit, and wakes those who wait.
async fn end(tx: &Transaction, fence: Fence, wakes: &str) -> Result<(), Failure> {
    tx.run("DELETE FROM leases WHERE epoch = $1", &[&fence.epoch]).await?;
    notify(tx, wakes).await
}

fn limit(attempts: u32) -> i32 {
    i32::try_from(attempts).unwrap_or(i32::MAX)
}
