//! From a search to its candidates: the nearest, the best by words, and definitions of a symbol.

use std::collections::{BTreeSet, HashMap};

use rusqlite::Transaction;
use serde_json::{Map, Value};

use crate::model::Match;
use crate::rank::{Candidate, Candidates, Scale, last_part};
use crate::store::{Filter, Query, Search, Selection, Selector};

use super::database::Database;
use super::failed::Failed;
use super::files::{Considered, Passes};
use super::lexical::{self, Lexical};
use super::namespaces::known_namespace;
use super::read::metadata;
use super::scan::{Asked, Near, Scanned};
use super::write::check_dimension;

/// What a search finds. `outdated`: why the index still has version 1, whose words differ and which
/// has no numbers of files.
pub(super) fn search(
    database: &Database,
    transaction: &Transaction<'_>,
    search: &Search,
    selector: &Selector,
    filter: &Filter,
    outdated: Option<&str>,
) -> Result<Candidates, Failed> {
    let numbered = outdated.is_none();
    let considered = if numbered {
        Considered::new(transaction, &search.scopes, selector, filter)?
    } else {
        Considered::unnumbered(transaction, &search.scopes)?
    };
    let asked = search.vector.as_deref().and_then(Asked::new);
    if let (Some(_), Some(vector)) = (&asked, &search.vector) {
        check_dimension(database, transaction, vector.len())?;
    }
    let mut rows = Rows {
        transaction,
        search,
        selector,
        filter,
        considered: &considered,
        numbered,
        read: HashMap::new(),
    };

    // The best by words are looked for while vectors are scanned.
    let by_words = |rows: &mut Rows<'_>| -> Result<_, Failed> {
        let Some(words) = search.words.as_deref().filter(|_| numbered) else { return Ok(None) };
        let lexical = Lexical::new(transaction, &considered.namespaces, words)?;
        let best = lexical.candidates(transaction, search.depth, |row| rows.passes(row))?;
        Ok(Some((lexical, best)))
    };
    let (scanned, by_words) = match &asked {
        Some(asked) => {
            let meanwhile = || by_words(&mut rows);
            let (scanned, by_words) =
                Scanned::new(database, transaction, asked, &considered, numbered, meanwhile)?;
            (Some(scanned), by_words)
        }
        None => (None, by_words(&mut rows)?),
    };

    let mut chosen: HashMap<i64, Option<f32>> = HashMap::new();
    if let (Some(asked), Some(scanned)) = (&asked, &scanned) {
        for (row, cosine) in rows.nearest(asked, scanned, search.depth)? {
            chosen.insert(row, Some(cosine));
        }
    }
    if let Some(symbol) = search.symbol.as_deref().filter(|_| numbered) {
        for row in lexical::named(transaction, &considered.namespaces, symbol)? {
            if rows.passes(row)? && rows.defines(row, symbol) {
                chosen.entry(row).or_default();
            }
        }
    }
    let mut scores = HashMap::new();
    if let Some((lexical, best)) = by_words {
        let scored: BTreeSet<i64> = best.into_iter().chain(chosen.keys().copied()).collect();
        scores = lexical.scores(database, transaction, &scored)?;
        for row in rows.best(&scores, search.depth)? {
            chosen.entry(row).or_default();
        }
    }
    let mut list = Vec::with_capacity(chosen.len());
    for (row, cosine) in chosen {
        let near = scanned.as_ref().and_then(|scanned| scanned.find(row));
        let cosine = match (cosine, near, &asked) {
            (Some(cosine), ..) => Some(cosine),
            (None, Some(near), _) if near.slack == 0.0 => Some(near.cosine),
            (None, Some(near), Some(asked)) => asked.exact(transaction, near.row)?,
            _ => None,
        };
        let file = near.and_then(|near| scanned.as_ref()?.file(near.file as usize)).filter(|_| numbered);
        let Some(Stored { id, metadata }) = rows.take(row)? else { continue };
        list.push(Candidate {
            id,
            metadata,
            cosine: cosine.map(f64::from),
            file_cosine: file,
            bm25: scores.get(&row).copied().unwrap_or(0.0),
        });
    }
    let mut scale = scanned.as_ref().map(Scanned::scale).unwrap_or_default();
    if let Some(chunks) = &mut scale.chunks {
        // By codes the maximum is known to within a bound; that of the candidates is exact.
        let nearest = list.iter().filter_map(|one| one.cosine).fold(f64::NEG_INFINITY, f64::max);
        chunks.max = if nearest.is_finite() { nearest } else { chunks.max };
    }
    let scale = Scale { files: scale.files.filter(|_| numbered), ..scale };
    let notes = outdated.map(|why| {
        format!(
            "`{}` was written by RepoSync 0.1 and cannot be upgraded ({why}): words are not searched, and \
             results are ranked by vector alone; run `reposync apply` where the file can be written",
            database.path().display()
        )
    });
    Ok(Candidates { list, scale, notes: notes.into_iter().collect() })
}

/// The nearest records of a namespace.
pub(super) fn query(
    database: &Database,
    transaction: &Transaction<'_>,
    namespace: &str,
    query: &Query,
    filter: &Filter,
    numbered: bool,
) -> Result<Vec<Match>, Failed> {
    let Some(number) = known_namespace(transaction, namespace)? else { return Ok(Vec::new()) };
    let Some(asked) = Asked::new(&query.vector) else { return Ok(Vec::new()) };
    check_dimension(database, transaction, query.vector.len())?;
    let considered = Considered::whole(transaction, number, numbered)?;
    let (scanned, ()) = Scanned::new(database, transaction, &asked, &considered, numbered, || Ok(()))?;
    let search = Search {
        scopes: Vec::new(),
        vector: None,
        words: None,
        selection: Selection::default(),
        filter: None,
        symbol: None,
        depth: query.top_k,
    };
    let selector = search.selection.selector(database.stage())?;
    let mut rows = Rows {
        transaction,
        search: &search,
        selector: &selector,
        filter,
        considered: &considered,
        numbered: true,
        read: HashMap::new(),
    };
    let mut matches = Vec::new();
    for (row, cosine) in rows.nearest(&asked, &scanned, query.top_k)? {
        if let Some(Stored { id, metadata }) = rows.take(row)? {
            matches.push(Match { id, score: f64::from(cosine), metadata });
        }
    }
    Ok(matches)
}

/// A record without its vector.
struct Stored {
    id: String,
    metadata: Map<String, Value>,
}

/// Reads and filters records; each is read once.
struct Rows<'a> {
    transaction: &'a Transaction<'a>,
    search: &'a Search,
    selector: &'a Selector,
    filter: &'a Filter,
    considered: &'a Considered,
    numbered: bool,
    /// `None`: does not pass.
    read: HashMap<i64, Option<Stored>>,
}

impl Rows<'_> {
    /// The nearest rows that pass, best first. Equal cosines are ordered by id, so that results do not
    /// depend on the order of writes.
    fn nearest(
        &mut self,
        asked: &Asked<'_>,
        scanned: &Scanned,
        most: usize,
    ) -> Result<Vec<(i64, f32)>, Failed> {
        let mut found: Vec<(f32, i64)> = Vec::new();
        // The lowest of the best `most` found: what cannot reach it is not compared exactly.
        let mut floor = f32::NEG_INFINITY;
        for near in scanned.by_promise() {
            if found.len() >= most && near.cosine + near.slack < floor {
                break;
            }
            if !self.passes_near(&near)? {
                continue;
            }
            let cosine = if near.slack == 0.0 {
                Some(near.cosine)
            } else {
                asked.exact(self.transaction, near.row)?
            };
            let Some(cosine) = cosine else { continue };
            let at = found.partition_point(|(other, _)| *other >= cosine);
            found.insert(at, (cosine, near.row));
            if let Some((lowest, _)) = most.checked_sub(1).and_then(|last| found.get(last)) {
                floor = *lowest;
                // Equal ones stay until they are ordered by id.
                let keep = found.partition_point(|(other, _)| *other >= floor);
                found.truncate(keep);
            }
        }
        let mut ordered = Vec::with_capacity(found.len());
        for (cosine, row) in found {
            ordered.push((cosine, self.id(row)?, row));
        }
        ordered.sort_by(|(a, id, _), (b, other, _)| b.total_cmp(a).then_with(|| id.cmp(other)));
        ordered.truncate(most);
        Ok(ordered.into_iter().map(|(cosine, _, row)| (row, cosine)).collect())
    }

    /// The best rows by words that pass.
    fn best(&mut self, scores: &HashMap<i64, f64>, most: usize) -> Result<Vec<i64>, Failed> {
        let mut order: Vec<(f64, i64)> = scores.iter().map(|(row, score)| (*score, *row)).collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let mut found: Vec<(f64, i64)> = Vec::new();
        for (score, row) in order {
            if found.len() >= most && found.last().is_none_or(|last| score < last.0) {
                break;
            }
            if self.passes(row)? {
                found.push((score, row));
            }
        }
        let mut ordered = Vec::with_capacity(found.len());
        for (score, row) in found {
            ordered.push((score, self.id(row)?, row));
        }
        ordered.sort_by(|(a, id, _), (b, other, _)| b.total_cmp(a).then_with(|| id.cmp(other)));
        ordered.truncate(most);
        Ok(ordered.into_iter().map(|(.., row)| row).collect())
    }

    fn passes_near(&mut self, near: &Near) -> Result<bool, Failed> {
        match self.considered.passes(near.file) {
            Passes::None => Ok(false),
            Passes::All => Ok(true),
            Passes::Some => self.passes(near.row),
        }
    }

    fn passes(&mut self, row: i64) -> Result<bool, Failed> {
        Ok(self.read(row)?.is_some())
    }

    fn id(&mut self, row: i64) -> Result<String, Failed> {
        Ok(self.read(row)?.map(|stored| stored.id.clone()).unwrap_or_default())
    }

    fn take(&mut self, row: i64) -> Result<Option<Stored>, Failed> {
        self.read(row)?;
        Ok(self.read.remove(&row).flatten())
    }

    fn defines(&mut self, row: i64, symbol: &str) -> bool {
        let name = self.read.get(&row).and_then(|stored| stored.as_ref()?.metadata.get("name")?.as_str());
        name.is_some_and(|name| last_part(name) == last_part(symbol))
    }

    /// The record of a row, if it passes.
    fn read(&mut self, row: i64) -> Result<Option<&Stored>, Failed> {
        if !self.read.contains_key(&row) {
            let stored = self.read_new(row)?;
            self.read.insert(row, stored);
        }
        Ok(self.read.get(&row).and_then(Option::as_ref))
    }

    fn read_new(&self, row: i64) -> Result<Option<Stored>, Failed> {
        let file = if self.numbered && !self.search.scopes.is_empty() {
            let mut select = self.transaction.prepare_cached("SELECT file FROM vectors WHERE row = ?1")?;
            let mut rows = select.query([row])?;
            let Some(found) = rows.next()? else { return Ok(None) };
            self.considered.passes(found.get(0)?)
        } else {
            Passes::Some
        };
        if file == Passes::None {
            return Ok(None);
        }
        let mut select =
            self.transaction.prepare_cached("SELECT id, facts, text FROM records WHERE row = ?1")?;
        let mut rows = select.query([row])?;
        let Some(found) = rows.next()? else { return Ok(None) };
        let facts = found.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let metadata = metadata(facts, found.get(2)?);
        let passes = file == Passes::All
            || (self.filter.matches(&metadata)
                && self.selector.passes(&metadata)
                && (self.search.scopes.is_empty() || self.is_in_scope(&metadata)));
        Ok(if passes { Some(Stored { id: found.get(0)?, metadata }) } else { None })
    }

    /// True if the record belongs to a project that is searched in its namespace.
    fn is_in_scope(&self, metadata: &Map<String, Value>) -> bool {
        let project = metadata.get("project").and_then(Value::as_str).unwrap_or_default();
        self.search.scopes.iter().any(|scope| scope.project == project)
    }
}
