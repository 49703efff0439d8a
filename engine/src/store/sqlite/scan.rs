//! Comparing a query with every vector, on all cores.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::rank::{FILE_CHUNKS, Scale, Span, file_cosine};

use super::codes::{QueryCode, block_of};
use super::database::Database;
use super::failed::Failed;
use super::files::{Considered, Passes};
use super::namespaces::rows_of;
use super::parallel::{ROWS_PER_PART, spread};
use super::vector::{dot, norm};

/// The query's vector, as it is compared.
pub(super) struct Asked<'a> {
    vector: &'a [f32],
    length: f32,
    code: QueryCode,
}

impl<'a> Asked<'a> {
    /// `None` for a vector without a direction.
    pub(super) fn new(vector: &'a [f32]) -> Option<Self> {
        let length = norm(vector)?;
        Some(Self { vector, length, code: QueryCode::new(vector, length) })
    }

    /// The cosine of a stored vector.
    fn cosine(&self, norm: f32, stored: &[u8]) -> f32 {
        dot(stored, self.vector) / (norm * self.length)
    }

    /// The exact cosine of a row; `None` if it is gone.
    pub(super) fn exact(&self, connection: &Connection, row: i64) -> Result<Option<f32>, Failed> {
        let mut select = connection.prepare_cached("SELECT norm, vector FROM vectors WHERE row = ?1")?;
        let cosine =
            select.query_row([row], |stored| Ok(self.cosine(stored.get(0)?, stored.get_ref(1)?.as_blob()?)));
        Ok(cosine.optional()?)
    }
}

/// A row with its cosine, exact to within `slack`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near {
    pub(super) row: i64,
    pub(super) file: u32,
    pub(super) cosine: f32,
    pub(super) slack: f32,
}

/// The cosines of all rows of the files that pass.
pub(super) struct Scanned {
    /// In order of rows, as they were scanned: each part holds higher rows than the one before.
    parts: Vec<Vec<Near>>,
    /// By file number: the best cosines, best first.
    best: Vec<[f32; FILE_CHUNKS]>,
}

/// A range of rows, read from vectors or from codes.
#[derive(Debug, Clone, Copy)]
struct Part {
    coded: bool,
    first: i64,
    last: i64,
}

impl Scanned {
    /// Compares all rows. `meanwhile` runs in the caller's thread while others scan.
    pub(super) fn new<M>(
        database: &Database,
        connection: &Connection,
        asked: &Asked<'_>,
        considered: &Considered,
        numbered: bool,
        meanwhile: impl FnOnce() -> Result<M, Failed>,
    ) -> Result<(Self, M), Failed> {
        let parts = parts(connection, &considered.namespaces, numbered)?;
        let work = |connection: &Connection, part| scan(connection, asked, considered, part, numbered);
        let (mut parts, other) = spread(database, connection, parts, work, meanwhile)?;
        parts.retain(|rows| !rows.is_empty());
        parts.sort_unstable_by_key(|rows| rows[0].row);
        let mut best = vec![[f32::NEG_INFINITY; FILE_CHUNKS]; considered.end()];
        for near in parts.iter().flatten() {
            insert(&mut best[near.file as usize], near.cosine);
        }
        Ok((Self { parts, best }, other))
    }

    /// Mean and maximum over chunks and over files.
    pub(super) fn scale(&self) -> Scale {
        let files = (0..self.best.len()).filter_map(|file| self.file(file));
        Scale {
            chunks: Span::of(self.parts.iter().flatten().map(|near| f64::from(near.cosine))),
            files: Span::of(files),
        }
    }

    /// The mean of the best cosines of a file.
    pub(super) fn file(&self, file: usize) -> Option<f64> {
        let best = self.best.get(file)?.map(f64::from);
        let known = best.iter().take_while(|cosine| cosine.is_finite()).count();
        file_cosine(&best[..known])
    }

    /// The row's entry, if its file passes.
    pub(super) fn find(&self, row: i64) -> Option<&Near> {
        let part = self.parts.partition_point(|rows| rows[0].row <= row).checked_sub(1)?;
        let rows = &self.parts[part];
        rows.binary_search_by_key(&row, |near| near.row).ok().map(|at| &rows[at])
    }

    /// All rows by what their cosine may be at most, highest first.
    pub(super) fn by_promise(&self) -> impl Iterator<Item = Near> + '_ {
        let mut heap: BinaryHeap<Promise> = (0u32..)
            .zip(&self.parts)
            .flat_map(|(part, rows)| {
                (0u32..).zip(rows).map(move |(at, near)| Promise { most: near.cosine + near.slack, part, at })
            })
            .collect();
        std::iter::from_fn(move || heap.pop().map(|one| self.parts[one.part as usize][one.at as usize]))
    }
}

/// Inserts a cosine into a list that is sorted from high to low.
fn insert(best: &mut [f32; FILE_CHUNKS], cosine: f32) {
    let mut carried = cosine;
    for place in best {
        if carried > *place {
            std::mem::swap(place, &mut carried);
        }
    }
}

/// What a row's cosine may be at most; ordered by that, then by lower row.
struct Promise {
    most: f32,
    part: u32,
    at: u32,
}

impl PartialEq for Promise {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Promise {}

impl Ord for Promise {
    fn cmp(&self, other: &Self) -> Ordering {
        self.most.total_cmp(&other.most).then_with(|| (other.part, other.at).cmp(&(self.part, self.at)))
    }
}

impl PartialOrd for Promise {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The rows of the namespaces, in parts.
fn parts(connection: &Connection, namespaces: &[i64], numbered: bool) -> Result<Vec<Part>, Failed> {
    let mut parts = Vec::new();
    for namespace in namespaces {
        let (mut first, last) = rows_of(*namespace);
        let highest: Option<i64> = connection
            .prepare_cached("SELECT max(row) FROM vectors WHERE row BETWEEN ?1 AND ?2")?
            .query_row([first, last], |row| row.get(0))?;
        let Some(last) = highest else { continue };
        let coded = numbered
            && connection
                .prepare_cached("SELECT coded FROM namespaces WHERE number = ?1")?
                .query_row([namespace], |row| row.get(0))?;
        while first <= last {
            // The first row of a namespace begins a block of codes, and so does that of each part.
            let end = (first + ROWS_PER_PART - 1).min(last);
            parts.push(Part { coded, first, last: end });
            first = end + 1;
        }
    }
    Ok(parts)
}

fn scan(
    connection: &Connection,
    asked: &Asked<'_>,
    considered: &Considered,
    part: Part,
    numbered: bool,
) -> Result<Vec<Near>, Failed> {
    if part.coded {
        scan_codes(connection, asked, considered, part)
    } else {
        scan_vectors(connection, asked, considered, part, numbered)
    }
}

fn scan_vectors(
    connection: &Connection,
    asked: &Asked<'_>,
    considered: &Considered,
    part: Part,
    numbered: bool,
) -> Result<Vec<Near>, Failed> {
    let mut select = connection.prepare_cached(if numbered {
        "SELECT row, file, norm, vector FROM vectors WHERE row BETWEEN ?1 AND ?2"
    } else {
        "SELECT row, 0, norm, vector FROM vectors WHERE row BETWEEN ?1 AND ?2"
    })?;
    let mut rows = select.query(params![part.first, part.last])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let file = row.get(1)?;
        if considered.passes(file) == Passes::None {
            continue;
        }
        let stored = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        found.push(Near { row: row.get(0)?, file, cosine: asked.cosine(row.get(2)?, stored), slack: 0.0 });
    }
    Ok(found)
}

fn scan_codes(
    connection: &Connection,
    asked: &Asked<'_>,
    considered: &Considered,
    part: Part,
) -> Result<Vec<Near>, Failed> {
    let mut select =
        connection.prepare_cached("SELECT block, code FROM codes WHERE block BETWEEN ?1 AND ?2")?;
    let mut blocks = select.query(params![block_of(part.first), block_of(part.last)])?;
    let mut found = Vec::new();
    while let Some(row) = blocks.next()? {
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let Some(coded) = asked.code.compare(row.get(0)?, bytes) else { continue };
        let passing = coded.filter(|one| considered.passes(one.file) != Passes::None);
        found.extend(passing.map(|one| Near {
            row: one.row,
            file: one.file,
            cosine: one.cosine,
            slack: one.slack,
        }));
    }
    Ok(found)
}
