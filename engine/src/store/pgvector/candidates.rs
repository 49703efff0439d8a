//! From a search to its candidates: the nearest, the best by words, and definitions of a symbol.

use std::collections::{BTreeMap, HashMap};

use crate::model::Match;
use crate::postgres::Transaction;
use crate::rank::{Candidate, Candidates, FILE_CHUNKS, Scale, Span, file_cosine, last_part};
use crate::store::{Filter, Query, Search, Selector};

use super::condition::{Considered, chunk_conditions, has_chunk_conditions, projects_of};
use super::database::{Database, Failed};
use super::documents::metadata;
use super::names::Part;
use super::schema;
use super::settings::Index;
use super::sql::Sql;
use super::tables::Tables;
use super::words::{Size, Weighed};

/// Maximum number of definitions of a symbol.
const MOST_NAMED: i64 = 2000;
/// How many vectors a scan of the graph keeps at least; more find the nearest more surely.
const KEPT: usize = 200;
/// The most that pgvector takes.
const MOST_KEPT: usize = 1000;

/// A namespace of a search.
struct Searched {
    part: Part,
    considered: Considered,
    size: Size,
    /// The mean cosine of the sample.
    mean: Option<f64>,
}

/// What chunks must pass, besides the filters by file.
struct Asked<'a> {
    tables: Tables,
    vector: Option<Vec<f32>>,
    selector: Option<&'a Selector>,
    filter: &'a Filter,
    depth: usize,
}

/// A chunk that was found, by namespace and row.
type Key = (i32, i64);

/// What a search finds.
pub(super) async fn search(
    db: &Database,
    search: &Search,
    selector: &Selector,
    filter: &Filter,
) -> Result<Candidates, Failed> {
    let Some(tables) = schema::tables(db).await? else { return Ok(Candidates::default()) };
    let vector = search.vector.as_deref().and_then(unit);
    if let Some(vector) = &vector {
        schema::fits(db, tables, vector.len())?;
    }
    let asked = Asked { tables, vector, selector: Some(selector), filter, depth: search.depth };
    let transaction = begin(db, search.depth).await?;
    let namespaces = namespaces(db, &transaction, search, selector, asked.vector.as_deref()).await?;
    let mut chosen: BTreeMap<Key, Option<f64>> = BTreeMap::new();
    // Filters by chunk leave the scale as it is, since the embedded store measures whole files.
    let mut is_whole = !has_chunk_conditions(Some(selector), filter);
    let mut nearest = Vec::new();
    for one in &namespaces {
        let found = asked.nearest(db, &transaction, one).await?;
        is_whole &= found.len() < asked.depth;
        nearest.extend(found.into_iter().map(|(row, cosine)| ((one.part.number, row), cosine)));
    }
    nearest.sort_by(|(a, near), (b, far)| far.total_cmp(near).then_with(|| a.cmp(b)));
    for (key, cosine) in nearest.into_iter().take(search.depth) {
        chosen.insert(key, Some(cosine));
    }
    let size = namespaces.iter().fold(Size::default(), |sum, one| Size {
        chunks: sum.chunks + one.size.chunks,
        tokens: sum.tokens + one.size.tokens,
    });
    let numbers = namespaces.iter().map(|one| one.part.number).collect();
    let words = match &search.words {
        Some(words) => Weighed::new(db, &transaction, words, numbers, size).await?,
        None => None,
    };
    // From here on every table has an index for what is asked. The planner underestimates the cost of comparing words.
    transaction.batch("SET LOCAL enable_seqscan = off").await?;
    if let Some(words) = &words {
        let mut best = Vec::new();
        for one in &namespaces {
            let found = asked.by_words(db, &transaction, one, words).await?;
            best.extend(found.into_iter().map(|(row, score)| ((one.part.number, row), score)));
        }
        best.sort_by(|(a, better), (b, worse)| worse.total_cmp(better).then_with(|| a.cmp(b)));
        for (key, _) in best.into_iter().take(search.depth) {
            chosen.entry(key).or_default();
        }
    }
    if let Some(symbol) = search.symbol.as_deref().map(last_part).filter(|symbol| !symbol.is_empty()) {
        for one in &namespaces {
            for row in asked.named(db, &transaction, one, symbol).await? {
                chosen.entry((one.part.number, row)).or_default();
            }
        }
    }
    let mut list = Vec::with_capacity(chosen.len());
    for one in &namespaces {
        let rows = chosen.keys().filter(|(number, _)| *number == one.part.number);
        let rows: Vec<i64> = rows.map(|(_, row)| *row).collect();
        list.extend(asked.read(&transaction, one, rows, words.as_ref()).await?);
    }
    transaction.commit().await?;
    list.sort_by(|a, b| a.id.cmp(&b.id));
    let scale = if asked.vector.is_none() {
        Scale::default()
    } else if is_whole {
        whole_scale(&list)
    } else {
        sampled_scale(&list, &namespaces)
    };
    Ok(Candidates { list, scale, notes: Vec::new() })
}

/// The nearest records of a namespace.
pub(super) async fn query(
    db: &Database,
    namespace: &str,
    query: &Query,
    filter: &Filter,
) -> Result<Vec<Match>, Failed> {
    let Some(tables) = schema::tables(db).await? else { return Ok(Vec::new()) };
    schema::fits(db, tables, query.vector.len())?;
    let (Some(part), Some(vector)) = (schema::part(db, namespace).await?, unit(&query.vector)) else {
        return Ok(Vec::new());
    };
    let asked = Asked { tables, vector: Some(vector), selector: None, filter, depth: query.top_k };
    let transaction = begin(db, query.top_k).await?;
    let one = Searched { part, considered: Considered::all(), size: Size::default(), mean: None };
    let nearest = asked.nearest(db, &transaction, &one).await?;
    let rows = nearest.into_iter().map(|(row, _)| row).collect();
    let list = asked.read(&transaction, &one, rows, None).await?;
    transaction.commit().await?;
    let mut matches: Vec<Match> = list
        .into_iter()
        .map(|one| Match { id: one.id, score: one.cosine.unwrap_or_default(), metadata: one.metadata })
        .collect();
    matches.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    Ok(matches)
}

/// Begins to read. Iterative scans go on until enough records pass the filters.
async fn begin(db: &Database, depth: usize) -> Result<Transaction, Failed> {
    let kept = (2 * depth).clamp(KEPT, MOST_KEPT);
    let sql = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
         SET LOCAL jit = off;
         SET LOCAL hnsw.iterative_scan = strict_order;
         SET LOCAL hnsw.ef_search = {kept}"
    );
    Ok(db.pool.begin(&sql).await?)
}

/// The namespaces of a search that exist.
async fn namespaces(
    db: &Database,
    transaction: &Transaction,
    search: &Search,
    selector: &Selector,
    vector: Option<&[f32]>,
) -> Result<Vec<Searched>, Failed> {
    let mut sql = Sql::default();
    let mean = match vector {
        // The product with the mean of unit vectors is the mean of the cosines. pgvector negates products.
        Some(vector) => format!("-(mean <#> {}::vector)", sql.arg(vector.to_vec())),
        None => "NULL::double precision".to_owned(),
    };
    let names: Vec<String> = search.scopes.iter().map(|scope| scope.namespace.clone()).collect();
    let names = sql.arg(names);
    let table = db.names.namespaces();
    sql.push(&format!(
        "SELECT number, name, chunks, tokens, {mean} FROM {table} WHERE name = ANY({names}) ORDER BY number"
    ));
    let mut found = Vec::new();
    for row in transaction.rows(sql.text(), &sql.args()).await? {
        let part = db.names.part(row.get(0));
        let projects = projects_of(search, row.get(1));
        let considered = Considered::new(db, transaction, &part, projects, selector).await?;
        let size = Size { chunks: row.get(2), tokens: row.get(3) };
        found.push(Searched { part, considered, size, mean: row.get(4) });
    }
    Ok(found)
}

impl Asked<'_> {
    /// The nearest rows with their cosines, best first.
    async fn nearest(
        &self,
        db: &Database,
        transaction: &Transaction,
        one: &Searched,
    ) -> Result<Vec<(i64, f64)>, Failed> {
        let Some(vector) = &self.vector else { return Ok(Vec::new()) };
        let compares_all = db.index == Index::None || one.considered.is_small();
        let found = self.scan(db, transaction, one, vector, compares_all).await?;
        let is_filtered = one.considered.is_partial() || has_chunk_conditions(self.selector, self.filter);
        if compares_all || found.len() >= self.depth || !is_filtered {
            return Ok(found);
        }
        // The scan of the graph ends after a number of rows, whether enough of them passed or not.
        self.scan(db, transaction, one, vector, true).await
    }

    async fn scan(
        &self,
        db: &Database,
        transaction: &Transaction,
        one: &Searched,
        vector: &[f32],
        compares_all: bool,
    ) -> Result<Vec<(i64, f64)>, Failed> {
        let Part { records, vectors, .. } = &one.part;
        let mut sql = Sql::default();
        let placeholder = sql.arg(vector.to_vec());
        let exact = format!("(v.v <=> {placeholder}::vector)");
        // No index is built on a sum.
        let order = if compares_all { format!("{exact} + 0.0") } else { self.tables.distance(&placeholder) };
        let files = one.considered.condition(db, &one.part, &mut sql, "v.file");
        let chunks = chunk_conditions(&mut sql, self.selector, self.filter);
        let join =
            if chunks.is_empty() { String::new() } else { format!("JOIN {records} AS r ON r.row = v.row") };
        sql.push(&format!(
            "SELECT v.row, 1 - {exact} FROM {vectors} AS v {join} WHERE true{files}{chunks}
             ORDER BY {order} LIMIT {}",
            self.depth
        ));
        let rows = transaction.rows(sql.text(), &sql.args()).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The best rows by words with their scores, best first.
    async fn by_words(
        &self,
        db: &Database,
        transaction: &Transaction,
        one: &Searched,
        words: &Weighed,
    ) -> Result<Vec<(i64, f64)>, Failed> {
        let mut sql = Sql::default();
        let score = words.score(&mut sql);
        let has = words.condition(&mut sql);
        let files = one.considered.condition(db, &one.part, &mut sql, "w.file");
        let chunks = chunk_conditions(&mut sql, self.selector, self.filter);
        let join = if chunks.is_empty() {
            String::new()
        } else {
            format!("JOIN {} AS r ON r.row = w.row", one.part.records)
        };
        sql.push(&format!(
            "SELECT w.row, {score} AS score FROM {} AS w {join} WHERE {has}{files}{chunks}
             ORDER BY score DESC, w.row LIMIT {}",
            one.part.words, self.depth
        ));
        let rows = transaction.rows(sql.text(), &sql.args()).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Rows that define a symbol.
    async fn named(
        &self,
        db: &Database,
        transaction: &Transaction,
        one: &Searched,
        symbol: &str,
    ) -> Result<Vec<i64>, Failed> {
        let mut sql = Sql::default();
        let symbol = sql.arg(symbol.to_owned());
        let files = one.considered.condition(db, &one.part, &mut sql, "r.file");
        let chunks = chunk_conditions(&mut sql, self.selector, self.filter);
        sql.push(&format!(
            "SELECT r.row FROM {} AS r WHERE r.symbol = {symbol}{files}{chunks} LIMIT {MOST_NAMED}",
            one.part.records
        ));
        let rows = transaction.rows(sql.text(), &sql.args()).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Reads rows, with their exact cosines and their scores by words.
    async fn read(
        &self,
        transaction: &Transaction,
        one: &Searched,
        rows: Vec<i64>,
        words: Option<&Weighed>,
    ) -> Result<Vec<Candidate>, Failed> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let Part { records, vectors, words: table, .. } = &one.part;
        let mut sql = Sql::default();
        let cosine = match &self.vector {
            Some(vector) => format!("1 - (v.v <=> {}::vector)", sql.arg(vector.clone())),
            None => "NULL::double precision".to_owned(),
        };
        let score = words.map_or_else(|| "NULL::double precision".to_owned(), |words| words.score(&mut sql));
        let rows = sql.arg(rows);
        sql.push(&format!(
            "SELECT r.id, r.facts::text, r.text, {cosine}, {score}
             FROM {records} AS r JOIN {vectors} AS v ON v.row = r.row LEFT JOIN {table} AS w ON w.row = r.row
             WHERE r.row = ANY({rows})"
        ));
        let rows = transaction.rows(sql.text(), &sql.args()).await?;
        let candidates = rows.iter().map(|row| Candidate {
            id: row.get(0),
            metadata: metadata(row.get(1), row.get(2)),
            cosine: row.get(3),
            file_cosine: None,
            bm25: row.get::<_, Option<f64>>(4).unwrap_or_default(),
        });
        Ok(candidates.collect())
    }
}

/// The scale where every chunk that passes is a candidate.
fn whole_scale(list: &[Candidate]) -> Scale {
    let mut files: HashMap<(&str, &str, &str), Vec<f64>> = HashMap::new();
    for one in list {
        files.entry(one.file()).or_default().extend(one.cosine);
    }
    let measures = files.into_values().filter_map(|mut cosines| {
        cosines.sort_by(|a, b| b.total_cmp(a));
        cosines.truncate(FILE_CHUNKS);
        file_cosine(&cosines)
    });
    Scale { files: Span::of(measures), chunks: Span::of(list.iter().filter_map(|one| one.cosine)) }
}

/// The scale by the means of samples. Files are measured over the candidates.
fn sampled_scale(list: &[Candidate], namespaces: &[Searched]) -> Scale {
    let max = list.iter().filter_map(|one| one.cosine).fold(f64::NEG_INFINITY, f64::max);
    let spans = namespaces.iter().filter_map(|one| {
        let count = u64::try_from(one.size.chunks).ok()?;
        Some(Span { mean: one.mean?, max, count })
    });
    Scale { chunks: spans.reduce(Span::and).filter(|_| max.is_finite()), files: None }
}

/// The vector with length 1; `None` for a vector without a direction.
fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "back to the precision of the components")]
    let scaled = || vector.iter().map(|x| (f64::from(*x) / length) as f32).collect();
    (length > 0.0 && length.is_finite()).then(scaled)
}
