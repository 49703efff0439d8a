//! Asks the questions, as `query` does, in every mode and without each term of the ranking.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measure::{Figures, Measured};
use super::questions::Question;
use crate::model::StageResult;
use crate::search::{Found, Mode, Request, search};
use crate::sync::ProjectSearch;

/// Chunks that are ranked for a question.
const DEPTH: usize = 100;
/// Matches that `query` shows, and of one file.
const SHOWN: usize = 5;
const PER_FILE: usize = 2;
/// The terms that are left out one by one: their letters, and their names in the report.
const TERMS: [(&str, &str); 7] = [
    ("b", "words"),
    ("c", "chunk vectors"),
    ("f", "file vectors"),
    ("p", "path"),
    ("n", "file name"),
    ("a", "adjacency"),
    ("d", "definitions"),
];

/// The outcome of an evaluation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// The format of the report.
    pub version: u32,
    /// What `query` does by default.
    pub figures: Figures,
    /// The figures of the other modes.
    pub modes: BTreeMap<String, Figures>,
    /// The figures without each term.
    pub without: BTreeMap<String, Figures>,
    /// Each question.
    pub questions: Vec<QuestionResult>,
}

/// The outcome for one question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuestionResult {
    /// The question.
    pub query: String,
    /// Where its answers were found.
    #[serde(flatten)]
    pub measured: Measured,
    /// The first file that was found; empty if none was.
    pub first: String,
}

/// Evaluates projects on questions.
pub async fn evaluate(projects: &[ProjectSearch], questions: &[Question]) -> StageResult<EvaluationReport> {
    let base = Request { top_k: DEPTH, per_file: 0, ..Request::new("") };
    let mut report = EvaluationReport { version: 1, ..EvaluationReport::default() };
    report.questions = ask(projects, questions, &base).await?;
    report.figures = figures(&report.questions);
    for (name, mode) in [("keyword", Mode::Keyword), ("semantic", Mode::Semantic)] {
        let asked = ask(projects, questions, &Request { mode, ..base.clone() }).await?;
        report.modes.insert(name.to_owned(), figures(&asked));
    }
    for (without, name) in TERMS {
        let asked = ask(projects, questions, &Request { without, ..base.clone() }).await?;
        report.without.insert(name.to_owned(), figures(&asked));
    }
    let asked = ask(projects, questions, &Request { penalties: Some(false), ..base.clone() }).await?;
    report.without.insert("penalties".to_owned(), figures(&asked));
    Ok(report)
}

/// The mean reciprocal rank of questions, asked as `query` does by default.
pub async fn mean_reciprocal_rank(projects: &[ProjectSearch], questions: &[Question]) -> StageResult<f64> {
    let base = Request { top_k: DEPTH, per_file: 0, ..Request::new("") };
    Ok(figures(&ask(projects, questions, &base).await?).mrr)
}

fn figures(results: &[QuestionResult]) -> Figures {
    let measured: Vec<Measured> = results.iter().map(|one| one.measured.clone()).collect();
    Figures::of(&measured)
}

async fn ask(
    projects: &[ProjectSearch],
    questions: &[Question],
    request: &Request,
) -> StageResult<Vec<QuestionResult>> {
    let mut results = Vec::with_capacity(questions.len());
    for question in questions {
        let request = Request { text: question.query.clone(), ..request.clone() };
        let answer = search(projects, &request).await?;
        results.push(judge(question, &answer.matches));
    }
    Ok(results)
}

/// Finds the answers of a question among its matches, best first.
fn judge(question: &Question, matches: &[Found]) -> QuestionResult {
    let mut files: Vec<(&str, &str)> = Vec::new();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut ranks = vec![None; question.paths.len() + question.symbols.len()];
    let (mut places, mut shown) = (0, false);
    for found in matches {
        let file = (found.text("repository"), found.text("file_path"));
        if !files.contains(&file) {
            files.push(file);
        }
        let rank = files.iter().position(|known| *known == file).map_or(files.len(), |at| at + 1);
        let expected = question.paths.iter().map(|path| is_path(path, file));
        let expected = expected.chain(question.symbols.iter().map(|symbol| is_symbol(symbol, found)));
        let mut answers = false;
        for (place, holds) in ranks.iter_mut().zip(expected) {
            answers |= holds;
            if holds && place.is_none() {
                *place = Some(rank);
            }
        }
        let count = counts.entry(file).or_default();
        *count += 1;
        if *count <= PER_FILE && places < SHOWN {
            places += 1;
            shown |= answers;
        }
    }
    let first = files.first().map(|(_, path)| (*path).to_owned()).unwrap_or_default();
    QuestionResult { query: question.query.clone(), measured: Measured { ranks, shown }, first }
}

fn is_path(expected: &str, (repository, path): (&str, &str)) -> bool {
    expected == path
        || expected
            .strip_prefix(repository)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|rest| rest == path)
}

fn is_symbol(expected: &str, found: &Found) -> bool {
    let name = found.text("name");
    name == expected || name.strip_suffix(expected).is_some_and(|rest| rest.ends_with([':', '.', '#']))
}

/// What changed between two reports on the same questions.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Comparison {
    /// Change of the mean reciprocal rank over the questions that both have.
    pub mrr: f64,
    /// Number of questions that both have.
    pub questions: usize,
    /// Questions whose answer is found earlier.
    pub better: Vec<String>,
    /// Questions whose answer is found later, or no longer.
    pub worse: Vec<String>,
}

/// Compares a report with an earlier one.
pub fn compare(before: &EvaluationReport, after: &EvaluationReport) -> Comparison {
    let old: BTreeMap<&str, f64> =
        before.questions.iter().map(|one| (one.query.as_str(), one.measured.reciprocal())).collect();
    let mut comparison = Comparison::default();
    let mut sum = 0.0;
    for one in &after.questions {
        let Some(old) = old.get(one.query.as_str()) else { continue };
        let change = one.measured.reciprocal() - old;
        sum += change;
        comparison.questions += 1;
        if change > 0.0 {
            comparison.better.push(one.query.clone());
        } else if change < 0.0 {
            comparison.worse.push(one.query.clone());
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of questions")]
    if comparison.questions > 0 {
        comparison.mrr = sum / comparison.questions as f64;
    }
    comparison
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(path: &str, name: &str) -> Found {
        serde_json::from_value(json!({
            "id": "", "score": 0.5, "metadata": {"repository": "acme/api", "file_path": path, "name": name},
        }))
        .expect("a match")
    }

    fn question(paths: &[&str], symbols: &[&str]) -> Question {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Question { query: "q".into(), paths: list(paths), symbols: list(symbols) }
    }

    #[test]
    fn ranks_are_of_files_and_shown_is_as_the_command_shows() {
        let matches = ["a", "a", "a", "b", "a", "c", "d", "e"].map(|path| found(path, "Guard::check"));
        let of = |path: &str| judge(&question(&[path], &[]), &matches).measured;
        assert_eq!(of("b"), Measured { ranks: vec![Some(2)], shown: true });
        // Shown are a, a, b, c, d.
        assert_eq!(of("acme/api/d"), Measured { ranks: vec![Some(4)], shown: true });
        assert_eq!(of("e"), Measured { ranks: vec![Some(5)], shown: false });
        assert_eq!(of("x"), Measured { ranks: vec![None], shown: false });
        assert_eq!(judge(&question(&[], &["check"]), &matches).measured.ranks, [Some(1)]);
        assert_eq!(judge(&question(&[], &["heck"]), &matches).measured.ranks, [None]);
    }

    #[test]
    fn comparisons_name_what_changed() {
        let report = |ranks: [Option<usize>; 2]| EvaluationReport {
            questions: ["p", "q"]
                .iter()
                .zip(ranks)
                .map(|(query, rank)| QuestionResult {
                    query: (*query).to_owned(),
                    measured: Measured { ranks: vec![rank], shown: false },
                    first: String::new(),
                })
                .collect(),
            ..EvaluationReport::default()
        };
        let comparison = compare(&report([Some(2), Some(1)]), &report([Some(1), None]));
        assert_eq!(
            (comparison.better, comparison.worse, comparison.questions),
            (vec!["p".into()], vec!["q".into()], 2)
        );
        assert!((comparison.mrr + 0.25).abs() < 1e-12);
    }
}
