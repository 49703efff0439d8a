//! Terms by names: the words of the path, and those of the file's name.

use super::candidate::Candidate;
use super::text::{searchable, words};
use super::words::Words;

/// Share of the query's words that repository and path have.
pub(super) fn path_share(words: &Words, candidate: &Candidate) -> f64 {
    let (_, repository, path) = candidate.file();
    let mut found = vec![false; words.list().len()];
    for part in [repository, path] {
        for word in self::words(&searchable(part)) {
            if let Some(at) = words.find(word) {
                found[at] = true;
            }
        }
    }
    share(found.iter().filter(|found| **found).count(), found.len())
}

/// Share of the words of the file's name (without its extension) that the query has.
pub(super) fn name_share(words: &Words, candidate: &Candidate) -> f64 {
    let (_, _, path) = candidate.file();
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    };
    let form = searchable(name);
    let (mut found, mut all) = (0, 0);
    for word in self::words(&form) {
        all += 1;
        found += usize::from(words.find(word).is_some());
    }
    share(found, all)
}

#[expect(clippy::cast_precision_loss, reason = "counts of words")]
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(repository: &str, path: &str) -> Candidate {
        let metadata = json!({"repository": repository, "file_path": path});
        let metadata = metadata.as_object().expect("an object").clone();
        Candidate { id: String::new(), metadata, cosine: None, file_cosine: None, bm25: 0.0 }
    }

    #[test]
    fn repository_and_path_are_searched() {
        let words = Words::new("retry the upload in handbook");
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(path_share(&words, &at("acme/handbook", "src/net/retries.rs")), 2.0 / 3.0));
        assert!(close(path_share(&words, &at("acme/api", "uploadRetry.ts")), 2.0 / 3.0));
        assert!(close(name_share(&words, &at("", "src/net/retries.rs")), 1.0));
        assert!(close(name_share(&words, &at("", "net/retry_policy.rs")), 0.5));
        assert!(close(name_share(&words, &at("", ".retry")), 1.0));
        assert!(close(name_share(&words, &at("", "")), 0.0));
        assert!(close(path_share(&Words::new("?"), &at("a", "b")), 0.0));
    }
}
