//! From a request to an answer.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::answer::{Answer, Found, More, number};
use super::group::{Group, groups};
use super::neighbours;
use super::parse::{Parsed, parse};
use super::request::Request;
use crate::model::{ErrorKind, StageError, StageResult, Vector};
use crate::rank::{
    Candidates, Mode, PerFile, Ranked, Weights, Words, is_identifier, last_part, limit_per_file, rank,
    snippet,
};
use crate::store::Search;
use crate::sync::ProjectSearch;

/// How many of the nearest, and of the best by words, are ranked at least.
const DEPTH: usize = 100;
/// Lines of a snippet.
const LINES: usize = 6;

/// Searches projects, which are ranked together.
pub async fn search(projects: &[ProjectSearch], request: &Request) -> StageResult<Answer> {
    let asked = Asked::new(request)?;
    let groups = groups(projects);
    let mut vectors: HashMap<String, Vector> = HashMap::new();
    let mut results: Vec<(String, Weights, Candidates)> = Vec::new();
    for group in &groups {
        let identity = group.embedder.identity().to_string();
        // Stages of one model may mark queries differently.
        let asked_as = format!("{identity}\0{}", group.embedder.query_input(&asked.text));
        if request.mode != Mode::Keyword && !vectors.contains_key(&asked_as) {
            vectors.insert(asked_as.clone(), group.embedder.embed_one(&asked.text).await?);
        }
        let mut weights = group.store.weights().in_mode(request.mode);
        weights.penalties = request.penalties.unwrap_or(weights.penalties);
        weights.without = request.without;
        let found = asked.search(group, vectors.get(&asked_as), &weights, request).await?;
        // Vectors of one model are on one scale, wherever they are stored.
        match results.iter_mut().find(|(other, ..)| *other == identity) {
            Some((_, _, candidates)) => candidates.add(found),
            None => results.push((identity, weights, found)),
        }
    }
    let mut answer = Answer::default();
    if results.len() > 1 {
        answer.notes.push(
            "the projects use different embedding models: scores are compared as shares of the best of each"
                .to_owned(),
        );
    }
    let tests = asked.selection_asks_for_tests();
    let mut ranked: Vec<Ranked> = Vec::new();
    for (_, weights, mut candidates) in results {
        answer.notes.append(&mut candidates.notes);
        ranked.extend(rank(&asked.words, candidates, &weights, tests));
    }
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.candidate.id.cmp(&b.candidate.id)));
    if let Some(symbol) = &asked.symbol {
        // Stable: definitions keep their order, as do all others.
        ranked.sort_by_key(|one| !defines(one, symbol));
    }
    let kept = limit_per_file(ranked, request.per_file);
    let page = kept.into_iter().skip(request.offset).take(request.top_k);
    answer.matches = page.map(|one| asked.found(one, request)).collect();
    if request.offset == 0 && request.mode != Mode::Keyword {
        let floor = groups
            .iter()
            .map(|group| group.embedder.weak_below())
            .reduce(|a, b| if a == b { a } else { None });
        answer.weak = is_weak(&answer.matches, asked.words.list().len(), floor.flatten());
    }
    if answer.matches.is_empty()
        && request.offset == 0
        && let Some(filters) = asked.parsed.selection.describe()
    {
        answer.notes.push(format!("no match passes the filters: {filters}"));
    }
    neighbours::add(projects, request, &mut answer.matches).await?;
    Ok(answer)
}

/// A request, understood.
struct Asked {
    text: String,
    words: Arc<Words>,
    symbol: Option<String>,
    parsed: Parsed,
}

impl Asked {
    fn new(request: &Request) -> StageResult<Self> {
        let parsed = parse(&request.text, &request.selection);
        let given = request.symbol.clone().or_else(|| parsed.symbol.clone());
        let mut text = parsed.text.clone();
        if text.trim().is_empty() {
            // A symbol alone is also what is looked for by words and meaning.
            text = given.clone().unwrap_or_default();
        }
        if text.trim().is_empty() {
            return Err(StageError::new(
                "query",
                ErrorKind::BadInput,
                "the query has no words, only filters",
            )
            .hint("describe what to look for, or name a symbol: `sym:NAME`"));
        }
        let symbol =
            given.or_else(|| is_identifier(&text).then(|| text.trim().trim_end_matches("()").to_owned()));
        let words = Arc::new(Words::new(&text));
        Ok(Self { text, words, symbol, parsed })
    }

    fn selection_asks_for_tests(&self) -> bool {
        self.parsed.selection.asks_for_tests()
    }

    async fn search(
        &self,
        group: &Group,
        vector: Option<&Vector>,
        weights: &Weights,
        request: &Request,
    ) -> StageResult<Candidates> {
        let wanted = request.top_k.saturating_add(request.offset);
        let search = Search {
            scopes: group.scopes.clone(),
            vector: vector.filter(|_| weights.vectors > 0.0).cloned(),
            words: (weights.words > 0.0).then(|| Arc::clone(&self.words)),
            selection: self.parsed.selection.clone(),
            filter: request.filter.clone(),
            symbol: self.symbol.clone(),
            depth: DEPTH.max(wanted.saturating_mul(2)),
        };
        group.store.search(&search).await
    }

    fn found(&self, one: PerFile, request: &Request) -> Found {
        let PerFile { shown: Ranked { candidate, score, terms }, hidden } = one;
        let start = number(&candidate.metadata, "start_line").unwrap_or_default();
        let more = hidden.iter().map(|hidden| {
            let line = |key| number(&hidden.candidate.metadata, key).unwrap_or_default();
            More { start_line: line("start_line"), end_line: line("end_line"), score: hidden.score }
        });
        Found {
            snippet: snippet(&self.words, candidate.text("text"), start, LINES),
            more: more.collect(),
            id: candidate.id,
            score,
            similarity: candidate.cosine,
            bm25: candidate.bm25,
            metadata: candidate.metadata,
            neighbours: Vec::new(),
            expanded: None,
            terms: request.explain.then(|| serde_json::to_value(terms).unwrap_or(Value::Null)),
        }
    }
}

fn defines(ranked: &Ranked, symbol: &str) -> bool {
    let name = ranked.candidate.text("name");
    let kind = ranked.candidate.text("kind");
    // A section of a document names a topic; only code defines a symbol.
    kind != "section" && !name.is_empty() && last_part(name) == last_part(symbol) && name.ends_with(symbol)
}

/// Calibrated on 160 questions without an answer and 160 with one, over eight repositories and the
/// built-in model: 88 % of the former are below the model's floor and below this share of words, 4 % of
/// the latter.
const FEW_WORDS: f64 = 0.4;

/// True if nothing is found that answers better than what is found for a question without an answer:
/// all matches are below the floor of the embedder, and none has many words of the query.
fn is_weak(matches: &[Found], words: usize, floor: Option<f64>) -> bool {
    let Some(floor) = floor else { return false };
    #[expect(clippy::cast_precision_loss, reason = "counts of words")]
    let few = |found: &Found| found.snippet.words as f64 / words.max(1) as f64 <= FEW_WORDS;
    let near = |found: &Found| found.similarity.is_none_or(|similarity| similarity >= floor);
    !matches.is_empty() && !matches.iter().any(|found| near(found) || !few(found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(similarity: f64, words: usize) -> Found {
        serde_json::from_value(json!({
            "id": "", "score": 0.5, "similarity": similarity, "metadata": {},
            "snippet": {"lines": [], "words": words, "before": 0, "after": 0},
        }))
        .expect("a match")
    }

    #[test]
    fn weak_is_what_is_neither_near_nor_has_the_words() {
        let floor = Some(0.35);
        assert!(is_weak(&[found(0.3, 1), found(0.2, 2)], 5, floor));
        assert!(!is_weak(&[found(0.3, 1), found(0.4, 0)], 5, floor), "one is near");
        assert!(!is_weak(&[found(0.3, 1), found(0.2, 3)], 5, floor), "one has the words");
        assert!(!is_weak(&[], 5, floor), "nothing found is said in other words");
        assert!(!is_weak(&[found(0.1, 0)], 5, None), "no floor is known for the model");
    }
}
