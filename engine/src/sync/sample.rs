//! A bill without reading everything: some files are read and counted, and the others are taken to be
//! like them, by their size.

use std::collections::BTreeMap;

use crate::model::{GitSha, RepoRef};
use crate::plan::{Estimate, RepositoryTask, Write};

/// What a file that was read comes to, with its size in bytes.
pub(crate) type Read = (u64, Estimate);

/// Files of one kind (all new, or all edited), of which a few are kept to be read.
#[derive(Debug, Default)]
pub(crate) struct Stratum {
    files: u64,
    bytes: u64,
    weight: u64,
    kept: Vec<Kept>,
    /// How many files that look alike were added, by a part of a hash; empty before the first.
    seen: Vec<u8>,
}

/// Files that look like versions of one file and are sampled together; more would leave too few different ones in a
/// sample.
const TOGETHER: u8 = 6;
/// The sizes of files that look like versions of one file differ by less than this factor.
const ALIKE: f64 = 1.25;
/// Counters of files that look alike. Others that share one are merely not sampled together.
const COUNTERS: usize = 1 << 20;
/// What a file of no bytes would weigh, in bytes: even the smallest has a text. Without it, the few small files of a
/// sample would stand for too much.
const LEAST: u64 = 500;

/// A file that may be read.
#[derive(Debug)]
struct Kept {
    /// The larger, the longer it is kept.
    key: f64,
    repo: RepoRef,
    commit: GitSha,
    write: Write,
}

impl Stratum {
    /// Adds a file. At most `size` files are kept, each with a probability in proportion to its weight
    /// (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). The random numbers come from names
    /// and sizes, so that the same files are read each time, and versions of a file in several repositories or folders
    /// (forks, bundled copies) are read together: most of their texts are the same.
    pub(crate) fn add(&mut self, task: &RepositoryTask, write: &Write, size: usize) {
        let bytes = bytes(write);
        self.files += 1;
        self.bytes += bytes;
        self.weight += weight(bytes);
        let random = (self.random(&write.desired.entry.path, bytes) as f64 + 1.0) / (u64::MAX as f64 + 2.0);
        let key = random.ln() / weight(bytes) as f64;
        let least = self.kept.iter().enumerate().min_by(|(_, a), (_, b)| a.key.total_cmp(&b.key));
        match least {
            Some((at, least)) if self.kept.len() >= size => {
                if least.key >= key {
                    return;
                }
                self.kept.swap_remove(at);
            }
            _ if size == 0 => return,
            _ => {}
        }
        let repo = task.entry.repo.clone();
        self.kept.push(Kept { key, repo, commit: task.commit, write: write.clone() });
    }

    /// The same number for up to [`TOGETHER`] files that look alike.
    fn random(&mut self, path: &str, bytes: u64) -> u64 {
        if self.seen.is_empty() {
            self.seen = vec![0; COUNTERS];
        }
        let number = |parts: &[&[u8]]| {
            let mut first = [0; 8];
            first.copy_from_slice(&blake3::hash(&parts.concat()).as_bytes()[..8]);
            u64::from_be_bytes(first)
        };
        let name = path.rsplit('/').next().unwrap_or(path).as_bytes();
        let size = ((bytes as f64).ln() / ALIKE.ln()).floor().to_le_bytes();
        let kind = number(&[&size, name]);
        let counter = &mut self.seen[usize::try_from(kind).unwrap_or_default() % COUNTERS];
        let group = *counter / TOGETHER;
        *counter = counter.wrapping_add(1);
        number(&[&[group], &size, name])
    }

    pub(crate) fn files(&self) -> u64 {
        self.files
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The files to read, by repository and commit, each sorted by path.
    pub(crate) fn to_read(&self) -> BTreeMap<(RepoRef, GitSha), Vec<Write>> {
        let mut by_repository: BTreeMap<_, Vec<Write>> = BTreeMap::new();
        for kept in &self.kept {
            by_repository.entry((kept.repo.clone(), kept.commit)).or_default().push(kept.write.clone());
        }
        for writes in by_repository.values_mut() {
            writes.sort_by(|a, b| a.desired.entry.path.cmp(&b.desired.entry.path));
        }
        by_repository
    }

    /// Estimates the whole from what the files that were read came to, each with its size. `None`: none was.
    pub(crate) fn estimate(&self, read: &[Read]) -> Option<Estimate> {
        if read.is_empty() {
            return (self.files == 0).then(Estimate::default);
        }
        let counts: [fn(&mut Estimate) -> &mut u64; 6] = [
            |estimate| &mut estimate.chunks,
            |estimate| &mut estimate.texts,
            |estimate| &mut estimate.texts_cached,
            |estimate| &mut estimate.tokens,
            |estimate| &mut estimate.vectors_written,
            |estimate| &mut estimate.vectors_deleted,
        ];
        let (counted, others) = self.split(read);
        let mut whole = Estimate::default();
        for count in counts {
            let of = |one: &Estimate| *count(&mut one.clone());
            let known: u64 = counted.iter().map(|(_, one)| of(one)).sum();
            let density =
                others.iter().map(|(bytes, one)| of(one) as f64 / weight(*bytes) as f64).sum::<f64>();
            let rest = self.weight.saturating_sub(counted.iter().map(|(bytes, _)| weight(*bytes)).sum());
            *count(&mut whole) = known + round(density / others.len().max(1) as f64 * rest as f64);
        }
        Some(whole)
    }

    /// Splits the files that were read. A file so large that every sample holds it counts once; the others stand for
    /// all files that are left. An average over all of them would give a few large files, which hold most of the
    /// bytes, the weight of as many small ones.
    fn split(&self, read: &[Read]) -> (Vec<Read>, Vec<Read>) {
        let mut others = read.to_vec();
        if read.len() as u64 == self.files {
            return (others, Vec::new());
        }
        others.sort_by_key(|(bytes, _)| *bytes);
        let (mut counted, mut rest) = (Vec::new(), self.weight);
        while let [_, .., (bytes, _)] = others.as_slice()
            && weight(*bytes) >= rest / others.len() as u64
        {
            rest = rest.saturating_sub(weight(*bytes));
            counted.extend(others.pop());
        }
        (counted, others)
    }
}

/// What a file of this size weighs in a sample.
fn weight(bytes: u64) -> u64 {
    bytes + LEAST
}

/// The size of a file; an unknown or empty one counts as a byte.
pub(crate) fn bytes(write: &Write) -> u64 {
    write.desired.entry.size.unwrap_or_default().max(1)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, far below 2^63")]
fn round(count: f64) -> u64 {
    count.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fingerprint, RepoEntry, TreeEntry};
    use crate::plan::{Desired, Reason, RepoDiff};

    fn task() -> RepositoryTask {
        let repo = RepoRef { name: "acme/api".into(), key: "1".into() };
        RepositoryTask {
            entry: RepoEntry {
                repo,
                default_branch: "main".into(),
                pushed_at: None,
                pushed_at_settled: false,
            },
            commit: GitSha([1; 20]),
            previous: None,
            basis: None,
            diff: RepoDiff::default(),
            skipped: Vec::new(),
        }
    }

    fn file(n: u32, size: u64) -> Write {
        let mut sha = [0; 20];
        sha.copy_from_slice(&blake3::hash(&n.to_be_bytes()).as_bytes()[..20]);
        let entry =
            TreeEntry { sha: GitSha(sha), size: Some(size), ..TreeEntry::of_path(&format!("{n:05}.md")) };
        let desired = Desired { entry, recipe: Fingerprint::of(["r"]) };
        Write { desired, reason: Reason::New, vectors_before: 0, is_new: true, moved_from: None }
    }

    /// Chunks of a file in this test: one for each 100 bytes, and twice as many in every third file.
    fn chunks(write: &Write) -> u64 {
        let path = &write.desired.entry.path;
        let n: u64 = path.trim_end_matches(".md").parse().expect("a number");
        bytes(write).div_ceil(100) * if n.is_multiple_of(3) { 2 } else { 1 }
    }

    #[test]
    fn a_sample_of_files_of_all_sizes_estimates_the_whole() {
        let mut stratum = Stratum::default();
        let mut all = 0;
        for n in 0..5_000 {
            // A few large files hold most of the bytes.
            let write = file(n, if n.is_multiple_of(100) { 100_000 } else { u64::from(n % 700) * 10 });
            all += chunks(&write);
            stratum.add(&task(), &write, 32);
        }
        let to_read = stratum.to_read();
        let read: Vec<(u64, Estimate)> = to_read
            .values()
            .flatten()
            .map(|write| (bytes(write), Estimate { chunks: chunks(write), ..Estimate::default() }))
            .collect();
        assert_eq!(read.len(), 32);
        let estimated = stratum.estimate(&read).expect("a sample").chunks;
        assert!(estimated * 10 < all * 13 && all * 10 < estimated * 13, "{estimated} for {all}");
    }

    #[test]
    fn files_that_hold_most_of_the_bytes_stand_for_themselves() {
        // Small files have ten times as many chunks for each byte.
        let chunks = |bytes: u64| if bytes < 10_000 { bytes / 10 } else { bytes / 100 };
        let sizes = (0..500).map(|n| if n < 8 { 1_000_000 } else { 400 + n % 7 });
        let mut stratum = Stratum::default();
        for (n, size) in (0..).zip(sizes.clone()) {
            stratum.add(&task(), &file(n, size), 32);
        }
        let to_read = stratum.to_read();
        let of = |bytes| (bytes, Estimate { chunks: chunks(bytes), ..Estimate::default() });
        let read: Vec<(u64, Estimate)> = to_read.values().flatten().map(|write| of(bytes(write))).collect();
        assert_eq!(stratum.split(&read).0.len(), 8);
        let all: u64 = sizes.map(chunks).sum();
        let estimated = stratum.estimate(&read).expect("a sample").chunks;
        assert!(estimated * 20 < all * 21 && all * 20 < estimated * 21, "{estimated} for {all}");
    }

    #[test]
    fn versions_of_a_file_are_sampled_together_and_a_common_name_does_not_fill_the_sample() {
        let mut stratum = Stratum::default();
        // Three repositories with versions of the same files.
        for version in 0..3 {
            for n in 0..1_000 {
                stratum.add(&task(), &file(n, 1_000 + version), 32);
            }
        }
        let paths = |stratum: &Stratum| {
            let mut paths: BTreeMap<String, usize> = BTreeMap::new();
            for write in stratum.to_read().values().flatten() {
                *paths.entry(write.desired.entry.path.clone()).or_default() += 1;
            }
            paths
        };
        let read = paths(&stratum);
        assert!(read.values().filter(|versions| **versions == 3).count() >= 9, "{read:?}");
        // Names that a hundred repositories have.
        let mut common = Stratum::default();
        for n in 0..1_000 {
            common.add(&task(), &file(n % 10, 1_000), 32);
            common.add(&task(), &file(1_000 + n, 1_000), 32);
        }
        let read = paths(&common);
        let of_common: usize = read.iter().filter(|(path, _)| path.starts_with("0000")).map(|(_, n)| n).sum();
        // They are half of all files.
        assert!((6..=26).contains(&of_common), "{read:?}");
    }

    #[test]
    fn few_files_are_counted_whole_and_without_a_sample_there_is_no_estimate() {
        let mut stratum = Stratum::default();
        assert_eq!(stratum.estimate(&[]), Some(Estimate::default()));
        let of = |chunks| Estimate { chunks, ..Estimate::default() };
        for n in 0..3 {
            stratum.add(&task(), &file(n, 10), 3);
        }
        assert_eq!(stratum.estimate(&[(10, of(1)), (10, of(5)), (10, of(9))]), Some(of(15)));
        assert_eq!(stratum.estimate(&[]), None);
        let mut unread = Stratum::default();
        unread.add(&task(), &file(1, 10), 0);
        assert!(unread.to_read().is_empty());
    }
}
