//! Limits how many chunks of one file are shown, so that one file does not fill the answer.

use std::collections::HashMap;

use super::score::Ranked;

/// A chunk that is shown, with the chunks of its file that are not.
#[derive(Debug, Clone)]
pub struct PerFile {
    /// The chunk.
    pub shown: Ranked,
    /// Further chunks of the same file, best first; empty for all but the file's first chunk.
    pub hidden: Vec<Ranked>,
}

/// Keeps at most `most` chunks of each file (0: all), in order.
pub fn limit_per_file(ranked: Vec<Ranked>, most: usize) -> Vec<PerFile> {
    let mut kept: Vec<PerFile> = Vec::with_capacity(ranked.len());
    let mut files: HashMap<(String, String, String), (usize, usize)> = HashMap::new();
    for one in ranked {
        let (project, repository, path) = one.candidate.file();
        if most == 0 || path.is_empty() {
            kept.push(PerFile { shown: one, hidden: Vec::new() });
            continue;
        }
        let key = (project.to_owned(), repository.to_owned(), path.to_owned());
        let (first, count) = files.entry(key).or_insert((kept.len(), 0));
        if *count < most {
            *count += 1;
            kept.push(PerFile { shown: one, hidden: Vec::new() });
        } else {
            kept[*first].hidden.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Candidate, Terms};
    use super::*;

    fn ranked(files: &[u8]) -> Vec<Ranked> {
        files
            .iter()
            .enumerate()
            .map(|(n, file)| {
                let metadata = json!({"file_path": format!("{file}.rs")});
                let metadata = metadata.as_object().expect("an object").clone();
                let candidate =
                    Candidate { id: n.to_string(), metadata, cosine: None, file_cosine: None, bm25: 0.0 };
                Ranked { candidate, score: -(n as f64), terms: Terms::default() }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_order_stays(files in proptest::collection::vec(0u8..4, 0..30), most in 0usize..4) {
            let kept = limit_per_file(ranked(&files), most);
            let all: usize = kept.iter().map(|one| 1 + one.hidden.len()).sum();
            prop_assert_eq!(all, files.len());
            prop_assert!(kept.is_sorted_by(|a, b| a.shown.score > b.shown.score));
            for file in 0u8..4 {
                let path = format!("{file}.rs");
                let shown = kept.iter().filter(|one| one.shown.candidate.text("file_path") == path).count();
                let total = files.iter().filter(|one| **one == file).collect::<Vec<_>>().len();
                prop_assert_eq!(shown, if most == 0 { total } else { total.min(most) });
                let hides = kept.iter().filter(|one| one.shown.candidate.text("file_path") == path && !one.hidden.is_empty());
                prop_assert!(hides.count() <= 1);
            }
        }
    }
}
