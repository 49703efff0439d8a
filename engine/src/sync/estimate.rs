//! The bill of one repository's task: exact where contents are read, else an estimate from sizes and a
//! sample.

use std::collections::HashSet;
use std::sync::Arc;

use super::bill::Bill;
use super::count::{Count, Counted, LeftOut, count_exactly, count_files};
use super::project_run::ProjectRun;
use super::sample::{Stratum, bytes};
use super::setup::item_or_fatal;
use crate::model::{Fingerprint, GitSha, StageResult};
use crate::plan::{Estimate, Reason, RepositoryTask, Write, is_binary_by_name};

/// Bytes of text in a token, where only sizes are known: measured 3.0 to 4.3 on code and prose
/// with cl100k.
const BYTES_PER_TOKEN: f64 = 3.6;
/// Bytes in a chunk, likewise: built-in chunkers fill about two thirds of their default sizes.
const BYTES_PER_CHUNK: u64 = 900;
/// Files of each stratum that a plan reads to estimate the others.
const SAMPLE: usize = 64;
/// Files of a repository that are read at once; more might be fetched as an archive of everything.
const FEW: usize = 20;

/// Files whose contents were not read, of a project.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// Files that the index does not hold yet, or makes in another way.
    new: Stratum,
    /// Files whose content changed: most of their texts did not.
    edited: Stratum,
}

/// Adds a repository's work to the bill. Returns what only its content keeps out, if contents were read. `count`:
/// what was counted before.
pub(crate) async fn estimate(
    run: &Arc<ProjectRun>,
    task: &RepositoryTask,
    count: Option<Count>,
    exact: bool,
    bill: &mut Bill<'_>,
    samples: &mut Samples,
) -> StageResult<LeftOut> {
    if task.diff.writes.is_empty() {
        return Ok(LeftOut::new());
    }
    let counted = match count {
        Some((counted, part)) => {
            bill.add_part(part);
            counted
        }
        None if exact => count_exactly(run, task, bill).await?,
        None => {
            by_size(run, task, bill, samples).await?;
            return Ok(LeftOut::new());
        }
    };
    let Counted { left_out, failed, encoded, notes, secrets, .. } = counted;
    let repository = &task.entry.repo.name;
    run.note_files(notes);
    for (path, lines) in &encoded {
        run.stats.encoded(repository, path, lines);
    }
    bill.secrets.extend(secrets);
    for (path, reason) in &left_out {
        run.stats.skipped(repository, path, *reason);
    }
    for (path, error) in &failed {
        run.stats.failed(Some(repository), Some(path), error);
    }
    Ok(left_out)
}

/// Adds a repository's work to the bill without reading contents. Those that the index holds already, that
/// occur twice, or that are images and their like cost nothing.
async fn by_size(
    run: &Arc<ProjectRun>,
    task: &RepositoryTask,
    bill: &mut Bill<'_>,
    samples: &mut Samples,
) -> StageResult<()> {
    let size = run.project.source.sample().min(SAMPLE);
    let blobs: HashSet<GitSha> = task.diff.writes.iter().map(|write| write.desired.entry.sha).collect();
    let held = run.state.files_of_blobs(run.name(), blobs.into_iter().collect()).await?;
    let held: HashSet<(GitSha, Fingerprint)> =
        held.into_iter().filter_map(|file| Some((file.blob, file.recipe?))).collect();
    for write in &task.diff.writes {
        if is_binary_by_name(&write.desired.entry.path) {
            bill.estimate.vectors_deleted += write.vectors_before;
            continue;
        }
        let is_new = matches!(write.reason, Reason::New | Reason::Content | Reason::Recipe(_))
            && write.moved_from.is_none()
            && !held.contains(&content(write))
            && bill.sent.contents.insert(content(write));
        if !is_new {
            without_reading(run, write, &mut bill.estimate);
        } else if write.reason == Reason::Content {
            samples.edited.add(task, write, size);
        } else {
            samples.new.add(task, write, size);
        }
    }
    Ok(())
}

fn content(write: &Write) -> (GitSha, Fingerprint) {
    (write.desired.entry.sha, write.desired.recipe.clone())
}

/// A file whose texts were embedded before, or are by then: they come from the cache, or are embedded again where that
/// is free.
fn without_reading(run: &ProjectRun, write: &Write, estimate: &mut Estimate) {
    let chunks = match write.vectors_before {
        0 => bytes(write).div_ceil(BYTES_PER_CHUNK),
        vectors => vectors,
    };
    estimate.chunks += chunks;
    estimate.vectors_written += chunks;
    if run.project.embedder().is_free() {
        estimate.texts += chunks;
        estimate.tokens += tokens_of(bytes(write));
    } else {
        estimate.texts_cached += chunks;
    }
    if write.reason == Reason::Place {
        estimate.vectors_deleted += write.vectors_before;
    }
}

/// Reads the sampled files and adds the extrapolated estimate. If the source allows no sample, the estimate
/// uses sizes only.
pub(crate) async fn add_samples(
    run: &Arc<ProjectRun>,
    samples: Samples,
    bill: &mut Bill<'_>,
) -> StageResult<()> {
    for stratum in [samples.new, samples.edited] {
        let mut read = Vec::new();
        for ((repo, commit), writes) in stratum.to_read() {
            for writes in writes.chunks(FEW) {
                let mut probe = bill.beside();
                let counted = count_files(run, &repo, commit, writes, &mut probe).await;
                // A file that cannot be read now is left to the run.
                let Ok(counted) = item_or_fatal(counted)? else { continue };
                read.extend(counted.each);
            }
        }
        let estimated = stratum.estimate(&read).unwrap_or_else(|| by_bytes(&stratum));
        bill.add(&estimated);
    }
    Ok(())
}

/// The estimate for files to embed, from sizes only.
fn by_bytes(stratum: &Stratum) -> Estimate {
    let (files, bytes) = (stratum.files(), stratum.bytes());
    let chunks = bytes.div_ceil(BYTES_PER_CHUNK).max(files);
    let tokens = tokens_of(bytes);
    Estimate { chunks, texts: chunks, tokens, vectors_written: chunks, ..Estimate::default() }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, far below 2^63")]
fn tokens_of(bytes: u64) -> u64 {
    (bytes as f64 / BYTES_PER_TOKEN).ceil() as u64
}
