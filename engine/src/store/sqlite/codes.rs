//! Vectors as 8-bit codes, in blocks, for namespaces so large that a scan of all components takes
//! long.
//!
//! A code gives the cosine to within a bound that is stored with it. A query ranks by codes and
//! compares exactly those that may be among the nearest, so the result is that of an exact scan.

use std::collections::BTreeSet;

use rusqlite::{Transaction, params};

use super::failed::Failed;
use super::namespaces::rows_of;
use super::vector::decode;

/// A block holds 2^6 successive rows.
const BLOCK_SHIFT: u32 = 6;
/// How many records make a namespace large. Codes cost a quarter of the vectors' size and pay only
/// where a scan takes long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Large {
    /// A namespace with more records gets codes.
    pub(super) above: i64,
    /// A namespace with fewer records loses them.
    pub(super) below: i64,
}

impl Default for Large {
    fn default() -> Self {
        Self { above: 20_000, below: 10_000 }
    }
}

/// Bytes before each code: slot in the block, file, scale, error.
const HEAD: usize = 13;
/// The largest component of a query's code. With 8-bit codes, sums of 4,096 products fit 32 bits.
const QUERY_MAX: f32 = 2047.0;

/// The block of a row.
pub(super) fn block_of(row: i64) -> i64 {
    row >> BLOCK_SHIFT
}

/// Brings the codes of a namespace up to date after rows in `blocks` changed.
pub(super) fn refresh(
    transaction: &Transaction<'_>,
    namespace: i64,
    blocks: &BTreeSet<i64>,
    large: Large,
) -> Result<(), Failed> {
    let (records, coded): (i64, bool) = transaction
        .prepare_cached("SELECT records, coded FROM namespaces WHERE number = ?1")?
        .query_row([namespace], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (first, last) = rows_of(namespace);
    let mut set = transaction.prepare_cached("UPDATE namespaces SET coded = ?2 WHERE number = ?1")?;
    match (coded, records) {
        (true, records) if records < large.below => {
            transaction.execute(
                "DELETE FROM codes WHERE block BETWEEN ?1 AND ?2",
                [block_of(first), block_of(last)],
            )?;
            set.execute(params![namespace, false])?;
        }
        (true, _) => {
            for block in blocks {
                write_block(transaction, *block)?;
            }
        }
        (false, records) if records > large.above => {
            let highest: Option<i64> = transaction.query_row(
                "SELECT max(row) FROM vectors WHERE row BETWEEN ?1 AND ?2",
                [first, last],
                |row| row.get(0),
            )?;
            for block in block_of(first)..=block_of(highest.unwrap_or(first)) {
                write_block(transaction, block)?;
            }
            set.execute(params![namespace, true])?;
        }
        (false, _) => {}
    }
    Ok(())
}

fn write_block(transaction: &Transaction<'_>, block: i64) -> Result<(), Failed> {
    let first = block << BLOCK_SHIFT;
    let last = first + (1 << BLOCK_SHIFT) - 1;
    let mut select = transaction
        .prepare_cached("SELECT row, file, norm, vector FROM vectors WHERE row BETWEEN ?1 AND ?2")?;
    let mut rows = select.query([first, last])?;
    let mut bytes = Vec::new();
    while let Some(row) = rows.next()? {
        let vector = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let slot = u8::try_from(row.get::<_, i64>(0)? - first).expect("a block has 64 rows");
        encode(slot, row.get(1)?, row.get(2)?, &decode(vector), &mut bytes);
    }
    if bytes.is_empty() {
        transaction.prepare_cached("DELETE FROM codes WHERE block = ?1")?.execute([block])?;
    } else {
        transaction
            .prepare_cached(
                "INSERT INTO codes (block, code) VALUES (?1, ?2)
                 ON CONFLICT (block) DO UPDATE SET code = excluded.code",
            )?
            .execute(params![block, bytes])?;
    }
    Ok(())
}

fn encode(slot: u8, file: u32, norm: f32, vector: &[f32], out: &mut Vec<u8>) {
    let largest = vector.iter().fold(0f32, |largest, x| largest.max(x.abs())) / norm;
    let scale = largest / 127.0;
    let start = out.len();
    out.push(slot);
    out.extend_from_slice(&file.to_le_bytes());
    out.extend_from_slice(&scale.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let mut square = 0f64;
    for x in vector {
        let unit = x / norm;
        #[expect(clippy::cast_possible_truncation, reason = "within -127 to 127")]
        let code = (unit / scale).round().clamp(-127.0, 127.0) as i8;
        square += (f64::from(unit) - f64::from(scale) * f64::from(code)).powi(2);
        out.extend_from_slice(&code.to_le_bytes());
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounded up")]
    let error = (square.sqrt() as f32).next_up();
    out[start + 9..start + HEAD].copy_from_slice(&error.to_le_bytes());
}

/// A row's cosine as far as its code tells it.
pub(super) struct Coded {
    pub(super) row: i64,
    pub(super) file: u32,
    pub(super) cosine: f32,
    /// The exact cosine differs from `cosine` by at most this.
    pub(super) slack: f32,
}

/// A query as integers.
pub(super) struct QueryCode {
    code: Vec<i16>,
    scale: f32,
    error: f32,
    rounding: f32,
}

impl QueryCode {
    /// `length` is the norm of the vector.
    pub(super) fn new(vector: &[f32], length: f32) -> Self {
        let largest = vector.iter().fold(0f32, |largest, x| largest.max(x.abs())) / length;
        let scale = largest / QUERY_MAX;
        let mut square = 0f64;
        let code = vector.iter().map(|x| {
            let unit = x / length;
            let code = (unit / scale).round().clamp(-QUERY_MAX, QUERY_MAX);
            square += (f64::from(unit) - f64::from(scale) * f64::from(code)).powi(2);
            #[expect(clippy::cast_possible_truncation, reason = "within -2047 to 2047")]
            {
                code as i16
            }
        });
        let code = code.collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounded up")]
        Self {
            code,
            scale,
            error: (square.sqrt() as f32).next_up(),
            // The exact cosine is itself computed in single precision, in sixteen sums.
            rounding: (vector.len() as f32 / 16.0 + 16.0) * f32::EPSILON,
        }
    }

    /// The rows of a block; `None` if the block does not have the query's dimension.
    pub(super) fn compare<'a>(
        &'a self,
        block: i64,
        bytes: &'a [u8],
    ) -> Option<impl Iterator<Item = Coded> + 'a> {
        let size = HEAD + self.code.len();
        if !bytes.len().is_multiple_of(size) {
            return None;
        }
        Some(bytes.chunks_exact(size).map(move |entry| {
            let (head, code) = entry.split_at(HEAD);
            let four = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
            let (scale, error) = (f32::from_le_bytes(four(5)), f32::from_le_bytes(four(9)));
            #[expect(
                clippy::cast_precision_loss,
                reason = "below 2^24 times a small factor; covered by `rounding`"
            )]
            let product = product(code, &self.code) as f32;
            Coded {
                row: (block << BLOCK_SHIFT) + i64::from(head[0]),
                file: u32::from_le_bytes(four(1)),
                cosine: scale * self.scale * product,
                slack: error * (1.0 + self.error) + self.error + self.rounding,
            }
        }))
    }
}

fn product(code: &[u8], query: &[i16]) -> i64 {
    const GROUP: usize = 4096;
    code.chunks(GROUP)
        .zip(query.chunks(GROUP))
        .map(|(code, query)| {
            let products = code.iter().zip(query).map(|(a, b)| i32::from(a.cast_signed()) * i32::from(*b));
            i64::from(products.sum::<i32>())
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::vector::norm;
    use super::*;

    proptest! {
        #[test]
        fn the_bound_holds(
            vector in proptest::collection::vec(-1.0f32..1.0, 1..80),
            seed in proptest::collection::vec(-1.0f32..1.0, 80),
            large in 1.0f32..1000.0,
        ) {
            let mut vector = vector;
            vector[0] *= large; // codes are worst where one component is much larger than the others
            let query = &seed[..vector.len()];
            let (Some(length), Some(size)) = (norm(query), norm(&vector)) else { return Ok(()) };
            let mut bytes = Vec::new();
            encode(7, 300, size, &vector, &mut bytes);
            let code = QueryCode::new(query, length);
            let found: Vec<Coded> = code.compare(2, &bytes).expect("of one dimension").collect();
            let exact: f64 = vector.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let exact = exact / (f64::from(size) * f64::from(length));
            prop_assert_eq!((found[0].row, found[0].file), (2 * 64 + 7, 300));
            let difference = (f64::from(found[0].cosine) - exact).abs();
            prop_assert!(difference <= f64::from(found[0].slack), "{} > {}", difference, found[0].slack);
        }
    }

    #[test]
    fn sums_of_long_vectors_fit() {
        let code = vec![127u8; 10_000];
        let query = vec![2047i16; 10_000];
        assert_eq!(product(&code, &query), 127 * 2047 * 10_000);
    }
}
