//! The best by words are those of scoring every record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::{Connection, Transaction};

use super::super::database::Database;
use super::super::lexical::Lexical;
use super::super::{codes::Large, schema, words};
use super::record;
use crate::rank::Words;
use crate::store::searched::Searched;

const FIRST: i64 = 1 << 40;

/// A word; the lower its rank, the more frequent [`rank`] makes it.
fn word(rank: usize) -> String {
    const SYLLABLES: [&str; 6] = ["ba", "do", "ki", "lu", "mo", "zu"];
    format!("{}{}k", SYLLABLES[rank / 6 % 6], SYLLABLES[rank % 6])
}

fn sentence(ranks: &[usize]) -> String {
    ranks.iter().map(|rank| word(*rank)).collect::<Vec<_>>().join(" ")
}

/// Ranks as frequent as those of words in a language.
fn rank() -> impl Strategy<Value = usize> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    (0.0f64..1.0).prop_map(|x| 36f64.powf(x) as usize - 1)
}

fn index(connection: &mut Connection, texts: impl Iterator<Item = String>) -> Transaction<'_> {
    let transaction = connection.transaction().expect("begin");
    schema::create(&transaction).expect("created");
    for (row, text) in (FIRST..).zip(texts) {
        let record = record("id", [1.0, 0.0], &text);
        words::insert(&transaction, row, &Searched::of_written(&record.metadata)).expect("inserted");
    }
    transaction
}

fn database() -> Arc<Database> {
    Database::new("index".into(), "nowhere.db".into(), Large::default())
}

/// The scores of all rows that have a word.
fn all(transaction: &Transaction<'_>, words: &Words) -> BTreeMap<i64, f64> {
    let any: Vec<String> = words.list().iter().map(|word| format!("\"{}\"", word.text)).collect();
    let mut select = transaction
        .prepare("SELECT rowid, -bm25(words, 3.0, 3.0, 2.0, 1.0) FROM words WHERE words MATCH ?1")
        .expect("prepared");
    let rows = select.query_map([any.join(" OR ")], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("scores")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_better_is_left_out(
        texts in proptest::collection::vec(proptest::collection::vec(rank(), 1..12), 1..150),
        query in proptest::collection::vec(rank(), 1..6),
        wanted in 1usize..12,
        withheld in 2i64..6,
    ) {
        let mut connection = Connection::open_in_memory().expect("opened");
        let transaction = index(&mut connection, texts.iter().map(|ranks| sentence(ranks)));
        let words = Words::new(&sentence(&query));
        let scores = all(&transaction, &words);
        let passes = |row: i64| row % withheld != 0;
        let mut best: Vec<(f64, i64)> =
            scores.iter().filter(|(row, _)| passes(**row)).map(|(row, score)| (*score, *row)).collect();
        best.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let floor = best.get(wanted - 1).map_or(0.0, |(score, _)| *score);
        best.retain(|(score, _)| *score >= floor);

        let lexical = Lexical::new(&transaction, &[1], &words).expect("counted");
        let found = lexical.candidates(&transaction, wanted, |row| Ok(passes(row))).expect("found");
        let found: BTreeSet<i64> = found.into_iter().collect();
        for (score, row) in best {
            prop_assert!(found.contains(&row), "{row} with {score}");
        }
        // Rows without a word get no score, all others exactly that of ranking everything.
        let asked: BTreeSet<i64> = found.into_iter().chain([FIRST, FIRST + 1]).collect();
        let scored = lexical.scores(&database(), &transaction, &asked).expect("scored");
        for row in asked {
            prop_assert_eq!(scored.get(&row), scores.get(&row));
        }
    }
}

#[test]
fn a_frequent_word_is_not_ranked_by() {
    let mut connection = Connection::open_in_memory().expect("opened");
    let text = |n: usize| match n % 50 {
        0 => "common rare",
        1..20 => "common",
        _ => "other",
    };
    let transaction = index(&mut connection, (0..1000).map(|n| text(n).to_owned()));
    let lexical = Lexical::new(&transaction, &[1], &Words::new("a common rare")).expect("counted");
    let found = lexical.candidates(&transaction, 10, |_| Ok(true)).expect("found");
    assert_eq!(found.len(), 20, "those with the rare word, of 400 with the common one");
    // Where none of these passes, the common one counts.
    let found = lexical.candidates(&transaction, 10, |row| Ok(row % 50 != FIRST % 50)).expect("found");
    assert_eq!(found.len(), 400, "all that may be among the best");
}
