//! What a run would have to pay for, and whether the spending guard withholds it.

use std::sync::Arc;

use super::bill::{Bill, Sent};
use super::count::{Count, count_exactly};
use super::project_run::ProjectRun;
use crate::model::{GuardKind, StageResult, Withheld};
pub(crate) use crate::plan::Budget;
use crate::plan::{Exceeded, RepositoryTask, Spending, Write};
use crate::state::ProjectState;

/// Bytes of text in a chunk where the project has none to compare with; see `estimate`.
const BYTES_PER_CHUNK: f64 = 900.0;
/// How far the count from sizes may be below the true one, for chunks much smaller than before.
const MARGIN: f64 = 8.0;

/// What the guard compares with: how the project stood before the run's first write. Nothing limits an embedder that
/// is free.
pub(crate) fn budget(run: &ProjectRun, before: &ProjectState) -> Budget {
    if run.project.embedder().is_free() {
        return Budget { chunks: None, max_cost: None };
    }
    let chunks = Some(before.vectors).filter(|chunks| before.first_run_over && *chunks > 0);
    Budget { chunks, max_cost: run.project.max_cost }
}

/// Decides whether the embeddings of these repositories are withheld. Contents are read and cut
/// only where their sizes do not already show that no bound is exceeded; equal texts and texts in
/// the vector cache cost nothing.
pub(crate) async fn decide(
    run: &Arc<ProjectRun>,
    works: &[RepositoryTask],
    budget: Budget,
) -> StageResult<Decision> {
    let guard = run.options.spending;
    let mut decision = Decision::default();
    if guard.is_idle(budget) || guard.exceeded(most(run, works), budget).is_none() {
        return Ok(decision);
    }
    let mut sent = Sent::default();
    let mut bill = Bill::new(run, &mut sent);
    for work in works {
        let mut part = if run.dry { bill.part() } else { bill.beside() };
        let counted = count_exactly(run, work, &mut part).await?;
        let part = part.into_part();
        bill.add(&part.estimate);
        if run.dry {
            decision.counts.push((work.repository().to_owned(), (counted, part)));
        }
    }
    let estimate = bill.total(run);
    let new = Spending { texts: estimate.texts, price: estimate.price };
    decision.withheld = guard.exceeded(new, budget).map(|bound| withheld(run, new, budget, bound));
    Ok(decision)
}

/// What the guard found.
#[derive(Default)]
pub(crate) struct Decision {
    /// What it withholds.
    pub(crate) withheld: Option<Withheld>,
    /// For a plan: the bill of each repository, where contents had to be read.
    pub(crate) counts: Vec<(String, Count)>,
}

/// More than the run can cost, from sizes alone.
fn most(run: &ProjectRun, works: &[RepositoryTask]) -> Spending {
    // Also what only moves: its vectors may have been dropped from the cache.
    let writes = || works.iter().flat_map(|work| &work.diff.writes);
    let bytes: u64 = writes().map(size).sum();
    let (known_bytes, known_chunks) = writes()
        .filter(|write| write.vectors_before > 0)
        .fold((0, 0), |(bytes, chunks), write| (bytes + size(write), chunks + write.vectors_before));
    let per_byte = match known_bytes {
        0 => 1.0 / BYTES_PER_CHUNK,
        bytes => (known_chunks as f64 / bytes as f64).max(1.0 / BYTES_PER_CHUNK),
    };
    let files = writes().count() as f64;
    let texts = (bytes as f64 * per_byte * MARGIN + files).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, far below 2^63")]
    let texts = texts as u64;
    // No token is shorter than a byte; overlap and context repeat text.
    let price = 2.0 * bytes as f64 * run.project.embedder().price_per_million_tokens() / 1e6;
    Spending { texts, price }
}

fn size(write: &Write) -> u64 {
    write.desired.entry.size.unwrap_or_default()
}

fn withheld(run: &ProjectRun, new: Spending, budget: Budget, bound: Exceeded) -> Withheld {
    let price = if new.price > 0.0 { format!(" at a price of {:.2}", new.price) } else { String::new() };
    let why = match bound {
        Exceeded::Ratio => format!(
            "more than `max_new_texts_ratio` ({}) of the project's {} chunks",
            run.options.spending.max_new_texts_ratio,
            budget.chunks.unwrap_or_default()
        ),
        Exceeded::Cost => format!("more than `max_cost` ({:.2})", budget.max_cost.unwrap_or_default()),
    };
    let message = format!(
        "spending guard: this run would embed {} texts{price}, {why}; nothing is embedded, the index keeps what it \
         holds. To allow it: `reposync apply --allow-cost` (daemon: POST /sync {{\"allow_cost\": true}})",
        new.texts
    );
    Withheld { guard: GuardKind::Spending, amount: new.texts, message }
}
