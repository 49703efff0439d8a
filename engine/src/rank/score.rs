//! The score of a candidate: a weighted sum of terms, less penalties.

use serde::{Deserialize, Serialize};

use super::candidate::{Candidate, Candidates};
use super::penalty::{self, Penalties};
use super::words::Words;
use super::{definitions, names, phrases, similar};

const WORDS: f64 = 1.0;
const CHUNK: f64 = 0.5;
const FILE: f64 = 0.4;
const PATH: f64 = 0.3;
const NAME: f64 = 0.2;
const ADJACENT: f64 = 0.2;
const DEFINES: f64 = 1.0;
const PENALTY: f64 = 0.3;

/// What a query ranks by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Words and vectors.
    #[default]
    Hybrid,
    /// Words alone.
    Keyword,
    /// Vectors alone.
    Semantic,
}

/// How much the terms count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Factor of the terms by vectors; 0 leaves them out.
    pub vectors: f64,
    /// Factor of the terms by words; 0 leaves them out.
    pub words: f64,
    /// Whether tests and files of low value score less.
    pub penalties: bool,
    /// Terms to leave out, by their letter, to measure what they are worth.
    pub without: &'static str,
}

impl Default for Weights {
    fn default() -> Self {
        Self { vectors: 1.0, words: 1.0, penalties: true, without: "" }
    }
}

impl Weights {
    /// The weights of a mode.
    #[must_use]
    pub fn in_mode(self, mode: Mode) -> Self {
        match mode {
            Mode::Hybrid => self,
            Mode::Keyword => Self { vectors: 0.0, words: 1.0, ..self },
            Mode::Semantic => Self { vectors: 1.0, words: 0.0, ..self },
        }
    }

    fn of(&self, letter: char, weight: f64) -> f64 {
        let factor = if matches!(letter, 'c' | 'f') { self.vectors } else { self.words };
        if self.without.contains(letter) { 0.0 } else { weight * factor }
    }
}

/// The terms of a score, each 0 to 1 (`chunk` and `file` are negative below the mean, and small where not even the
/// nearest chunk is near).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Terms {
    /// BM25, as a share of the query's best.
    pub words: f64,
    /// The chunk's cosine between mean (0) and maximum (1).
    pub chunk: f64,
    /// The same of the mean of the file's three best cosines.
    pub file: f64,
    /// Share of the query's words that the path has.
    pub path: f64,
    /// Share of the words of the file's name that the query has.
    pub name: f64,
    /// Share of neighbouring words of the query that stand side by side.
    pub adjacent: f64,
    /// 1 where the chunk defines an identifier that the query names.
    pub defines: f64,
    /// 1 for a test.
    pub test: f64,
    /// 1 for a file of low value.
    pub low: f64,
}

/// A candidate with its score.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// The candidate.
    pub candidate: Candidate,
    /// The score. 1 is a chunk that is first by every term but the definition.
    pub score: f64,
    /// What it consists of.
    pub terms: Terms,
}

/// Ranks candidates, best first. `tests`: a filter asks for tests. Equal scores are ordered by id, so
/// that the order does not depend on the store.
pub fn rank(words: &Words, candidates: Candidates, weights: &Weights, tests: bool) -> Vec<Ranked> {
    let Candidates { mut list, scale, .. } = candidates;
    let scale = similar::complete(&mut list, scale);
    let best = list.iter().map(|one| one.bm25).fold(0.0, f64::max);
    let whole = [('b', WORDS), ('c', CHUNK), ('f', FILE), ('p', PATH), ('n', NAME), ('a', ADJACENT)];
    let whole: f64 = whole.iter().map(|(letter, weight)| weights.of(*letter, *weight)).sum();
    let trust = scale.chunks.map_or(0.0, |chunks| similar::trust(chunks.max));
    let place = |span: Option<super::Span>, value: Option<f64>| match (span, value) {
        (Some(span), Some(value)) => span.place(value) * trust,
        _ => 0.0,
    };
    let mut ranked: Vec<Ranked> = list
        .into_iter()
        .map(|candidate| {
            let Penalties { test, low } = penalty::of(words, &candidate, tests);
            let flag = |holds: bool| if holds { 1.0 } else { 0.0 };
            let terms = Terms {
                words: if best > 0.0 { candidate.bm25 / best } else { 0.0 },
                chunk: place(scale.chunks, candidate.cosine),
                file: place(scale.files, candidate.file_cosine),
                path: names::path_share(words, &candidate),
                name: names::name_share(words, &candidate),
                adjacent: phrases::adjacency(words, &candidate),
                defines: flag(definitions::defines(words, &candidate)),
                test: flag(weights.penalties && test),
                low: flag(weights.penalties && low),
            };
            Ranked { score: score(&terms, weights, whole), terms, candidate }
        })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.candidate.id.cmp(&b.candidate.id)));
    ranked
}

fn score(terms: &Terms, weights: &Weights, whole: f64) -> f64 {
    let sum = weights.of('b', WORDS) * terms.words
        + weights.of('c', CHUNK) * terms.chunk
        + weights.of('f', FILE) * terms.file
        + weights.of('p', PATH) * terms.path
        + weights.of('n', NAME) * terms.name
        + weights.of('a', ADJACENT) * terms.adjacent
        + weights.of('d', DEFINES) * terms.defines
        - PENALTY * (terms.test + terms.low);
    if whole > 0.0 { sum / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Scale, Span};
    use super::*;

    fn candidate(id: &str, path: &str, text: &str, cosine: f64, bm25: f64) -> Candidate {
        let metadata = json!({"project": "p", "repository": "acme/api", "file_path": path, "text": text});
        let metadata = metadata.as_object().expect("an object").clone();
        Candidate { id: id.into(), metadata, cosine: Some(cosine), file_cosine: Some(cosine), bm25 }
    }

    fn ids(query: &str, list: Vec<Candidate>, weights: &Weights) -> String {
        let chunks = Span::of(list.iter().filter_map(|one| one.cosine));
        let scale = Scale { chunks, files: chunks };
        let candidates = Candidates { list, scale, notes: Vec::new() };
        let ranked = rank(&Words::new(query), candidates, weights, false);
        ranked.into_iter().map(|one| one.candidate.id).collect()
    }

    #[test]
    fn first_by_every_term_is_one() {
        let mut best = candidate("a", "retry.rs", "retry", 0.9, 8.0);
        best.metadata.insert("repository".into(), "retry/policy".into());
        best.metadata.insert("text".into(), "retry policy".into());
        best.metadata.insert("file_path".into(), "retry_policy.rs".into());
        let list = vec![best, candidate("b", "x.rs", "", 0.1, 0.0)];
        let chunks = Span::of([0.9, 0.1]);
        let candidates = Candidates { list, scale: Scale { chunks, files: chunks }, notes: Vec::new() };
        let ranked = rank(&Words::new("retry policy"), candidates, &Weights::default(), false);
        assert!((ranked[0].score - 1.0).abs() < 1e-12, "{:?}", ranked[0]);
    }

    #[test]
    fn words_decide_where_nothing_is_near() {
        let list = || {
            vec![
                candidate("a", "zh/retry.md", "当服务返回限流错误时", -0.04, 6.6),
                candidate("b", "other/18.md", "Some English words", 0.08, 0.0),
            ]
        };
        assert_eq!(ids("限流错误", list(), &Weights::default()), "ab");
        assert_eq!(ids("限流错误", list(), &Weights::default().in_mode(Mode::Semantic)), "ba");
    }

    #[test]
    fn path_and_repository_count() {
        let list = || {
            vec![
                candidate("a", "src/a.rs", "text", 0.5, 1.0),
                candidate("b", "src/upload.rs", "text", 0.5, 1.0),
            ]
        };
        assert_eq!(ids("upload", list(), &Weights::default()), "ba");
        let without = Weights { without: "pn", ..Weights::default() };
        assert_eq!(ids("upload", list(), &without), "ab");
    }

    #[test]
    fn tests_and_changelogs_come_last_unless_they_are_asked_for() {
        let list = || {
            vec![
                candidate("a", "tests/store.rs", "delete", 0.5, 1.0),
                candidate("b", "CHANGELOG.md", "delete", 0.5, 1.0),
                candidate("c", "src/keep.rs", "delete", 0.5, 1.0),
            ]
        };
        assert_eq!(ids("delete", list(), &Weights::default()), "cab");
        let off = Weights { penalties: false, ..Weights::default() };
        assert_eq!(ids("delete", list(), &off), "abc");
        assert_eq!(ids("test delete", list(), &Weights { without: "pn", ..Weights::default() }), "acb");
    }

    #[test]
    fn a_definition_is_first() {
        let mut definition = candidate("d", "src/z.rs", "fn parse_header", 0.4, 1.0);
        definition.metadata.insert("kind".into(), "function".into());
        definition.metadata.insert("name".into(), "http::parse_header".into());
        let list = vec![candidate("u", "src/parse.rs", "parse header", 0.4, 1.5), definition];
        assert_eq!(ids("parse_header", list.clone(), &Weights::default()), "du");
        assert_eq!(ids("parse_header", list, &Weights { without: "d", ..Weights::default() }), "ud");
    }

    #[test]
    fn modes_leave_terms_out() {
        let list = || vec![candidate("v", "a.rs", "x", 0.9, 0.0), candidate("w", "b.rs", "word", 0.1, 5.0)];
        let in_mode = |mode| ids("word", list(), &Weights::default().in_mode(mode));
        assert_eq!(in_mode(Mode::Semantic), "vw");
        assert_eq!(in_mode(Mode::Keyword), "wv");
    }

    proptest! {
        /// A higher value of a term never lowers the score; a penalty never raises it.
        #[test]
        fn scores_rise_with_terms(values in proptest::array::uniform9(0.0f64..1.0), at in 0usize..9, more in 0.0f64..1.0) {
            let terms = |v: [f64; 9]| Terms {
                words: v[0], chunk: v[1], file: v[2], path: v[3], name: v[4], adjacent: v[5], defines: v[6],
                test: v[7], low: v[8],
            };
            let of = |v| score(&terms(v), &Weights::default(), 2.6);
            let mut higher = values;
            higher[at] += more;
            if at < 7 {
                prop_assert!(of(higher) >= of(values));
            } else {
                prop_assert!(of(higher) <= of(values));
            }
        }

        /// Whatever the order of the candidates, the ranking is the same and complete.
        #[test]
        fn ranking_ignores_the_order_of_candidates(cosines in proptest::collection::vec(0.0f64..1.0, 1..12), rotate in 0usize..12) {
            let list: Vec<Candidate> = cosines
                .iter()
                .enumerate()
                .map(|(n, cosine)| candidate(&format!("{n:02}"), "x", "word", *cosine, (n % 3) as f64))
                .collect();
            let mut other = list.clone();
            let length = other.len();
            other.rotate_left(rotate % length);
            let first = ids("word", list, &Weights::default());
            prop_assert_eq!(first.len(), 2 * length);
            prop_assert_eq!(first, ids("word", other, &Weights::default()));
        }
    }
}
