//! Terms by vectors: the chunk's cosine, and the best cosines of its file.

use std::collections::HashMap;

use super::candidate::{Candidate, Scale, Span};

/// How many of a file's best chunks count for the file.
pub const FILE_CHUNKS: usize = 3;
/// What a missing chunk of a file counts, as a share of the last that exists.
const MISSING: f64 = 0.8;

/// Up to this cosine the nearest of many unrelated texts comes by chance: the cosines of random vectors of 256
/// dimensions have a standard deviation of 1/16.
const CHANCE: f64 = 0.1;
/// What cosines by chance still count, so that they keep an order.
const LEAST: f64 = 0.05;

/// How much the terms by vectors count in a search, 0 to 1: less where not even the nearest chunk is near. A model
/// that knows no word of the query, such as one in a language it did not learn, would otherwise outrank the words.
pub(super) fn trust(nearest: f64) -> f64 {
    ((nearest - CHANCE) / CHANCE).clamp(LEAST, 1.0)
}

/// The measure of a file: the mean of its best cosines, given best first and at most
/// [`FILE_CHUNKS`]. `None` without a cosine.
pub(crate) fn file_cosine(best: &[f64]) -> Option<f64> {
    let mut last = *best.first()?;
    let mut sum = 0.0;
    for at in 0..FILE_CHUNKS {
        last = best.get(at).copied().unwrap_or(last * MISSING);
        sum += last;
    }
    #[expect(clippy::cast_precision_loss, reason = "three")]
    Some(sum / FILE_CHUNKS as f64)
}

/// The scale of a search. Where the store did not measure files, that is done over the candidates;
/// where it did not compare all chunks, their mean is estimated from the candidates, which are the
/// nearest: as far below the farthest of them as that is below the nearest.
pub(super) fn complete(candidates: &mut [Candidate], scale: Scale) -> Scale {
    let mut best: HashMap<(String, String, String), Vec<f64>> = HashMap::new();
    if candidates.iter().any(|one| one.cosine.is_some() && one.file_cosine.is_none()) {
        let key = |one: &Candidate| {
            let (project, repository, path) = one.file();
            (project.to_owned(), repository.to_owned(), path.to_owned())
        };
        for one in candidates.iter() {
            best.entry(key(one)).or_default().extend(one.cosine);
        }
        for cosines in best.values_mut() {
            cosines.sort_by(|a, b| b.total_cmp(a));
            cosines.truncate(FILE_CHUNKS);
        }
        for one in candidates.iter_mut().filter(|one| one.file_cosine.is_none()) {
            one.file_cosine = best.get(&key(one)).and_then(|cosines| file_cosine(cosines));
        }
    }
    let chunks = scale.chunks.or_else(|| estimate(candidates.iter().filter_map(|one| one.cosine)));
    let files = scale.files.or_else(|| estimate(candidates.iter().filter_map(|one| one.file_cosine)));
    Scale { chunks, files }
}

fn estimate(cosines: impl Iterator<Item = f64> + Clone) -> Option<Span> {
    let least = cosines.clone().fold(f64::INFINITY, f64::min);
    let span = Span::of(cosines)?;
    Some(Span { mean: 2.0 * least - span.max, ..span })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_by_chance_hardly_count() {
        for (nearest, expected) in [(-0.2, LEAST), (0.08, LEAST), (0.15, 0.5), (0.2, 1.0), (0.9, 1.0)] {
            assert!((trust(nearest) - expected).abs() < 1e-9, "{nearest}");
        }
    }

    #[test]
    fn missing_chunks_count_less_than_the_last() {
        let close = |a: Option<f64>, b: f64| (a.expect("a cosine") - b).abs() < 1e-12;
        assert!(close(file_cosine(&[0.9, 0.6, 0.3]), 0.6));
        assert!(close(file_cosine(&[0.9, 0.6]), (0.9 + 0.6 + 0.48) / 3.0));
        assert!(close(file_cosine(&[1.0]), (1.0 + 0.8 + 0.64) / 3.0));
        assert_eq!(file_cosine(&[]), None);
    }
}
