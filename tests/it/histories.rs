//! Random histories: whatever happens to repositories, configuration, services and the process, the
//! next clean run ends with the index of a fresh build; no text is paid for twice, and of an embedder
//! that is free nothing is cached; no wanted file is ever without vectors; and then there is nothing
//! left to do.

mod history;
mod steps;

use proptest::prelude::*;

use crate::support::lab::{Fault, On};
use crate::support::postgres::Postgres;
use history::{Place, check_history, check_history_in, check_history_of_free};
use steps::{Step, steps};

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, max_shrink_iters: 3000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_ends_in_the_index_of_a_build_from_nothing(steps in prop::collection::vec(steps(), 1..25)) {
        check_history(steps)?;
    }
}

/// Half of the histories.
fn half() -> ProptestConfig {
    let ProptestConfig { cases, .. } = config();
    ProptestConfig { cases: cases.div_ceil(2), ..config() }
}

proptest! {
    #![proptest_config(half())]

    #[test]
    fn any_history_ends_so_with_an_embedder_that_is_free(steps in prop::collection::vec(steps(), 1..25)) {
        check_history_of_free(steps)?;
    }
}

/// A fraction of the histories: real transactions take their time.
fn few() -> ProptestConfig {
    let ProptestConfig { cases, .. } = config();
    ProptestConfig { cases: cases.div_ceil(40), max_shrink_iters: 200, ..config() }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn any_history_ends_so_with_a_ledger_in_a_database(steps in prop::collection::vec(steps(), 1..25)) {
        if let Some(server) = Postgres::start() {
            check_history_in(Place::Database(server), steps)?;
        }
    }
}

fn apply(fault: Option<Fault>) -> Step {
    Step::Apply { fault, full: false, prune: false }
}

/// A run with another chunk size is killed, and the chunk size is reverted.
#[test]
fn an_edit_of_the_chunk_size_killed_and_undone() {
    let kill = Fault::Kill { on: On::Delete, nth: 1, after: true };
    let steps = vec![
        apply(Some(Fault::Kill { on: On::Upsert, nth: 2, after: false })),
        Step::Undone { edit: Box::new(Step::ChunkSize(1)), fault: kill },
        apply(None),
    ];
    for _ in 0..200 {
        check_history(steps.clone()).expect("the index of a build from nothing");
    }
}

/// Killed when only the head under its new name was recorded, then without commits for a while: the
/// records exist only under the old name.
#[test]
fn a_renamed_repository_killed_and_emptied_keeps_its_files() {
    let steps = vec![
        apply(None),
        Step::Rename { repo: 0, name: 1 },
        apply(Some(Fault::Kill { on: On::Upsert, nth: 1, after: false })),
        Step::Empty { repo: 0 },
        apply(None),
        Step::Empty { repo: 0 },
    ];
    check_history(steps).expect("no file without vectors");
}
