//! The program with its index in PostgreSQL, from end to end, and reading texts in bulk.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use reposync::store::{SearchScope, Selection, VectorStore as _};

use super::{fill, records, store};
use crate::support::local::{Local, STAGES};
use crate::support::pgvector;

/// A local project whose index is in this database.
fn local_with(url: &str) -> Local {
    let local = Local::new();
    let stages = STAGES
        .replace("kind = \"sqlite\"", &format!("kind = \"pgvector\"\nurl = \"{url}\"\ntable = \"docs\""));
    local.config(&format!(
        "{stages}\n[projects.docs]\npipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n"
    ));
    local
}

#[test]
fn the_program_works_on_it() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let local = local_with(&url);
    let planned = local.world.ok(&["plan"]).stdout;
    assert!(planned.contains("guide/start.md"), "{planned}");
    assert_eq!(
        server.sql(&url, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'docs%'"),
        "0",
        "a plan creates nothing"
    );
    local.apply(&[]).exits(0);
    assert!(local.world.ok(&["query", "where do I start?"]).stdout.contains("guide/start.md"));
    assert!(
        local.world.ok(&["query", "where do I start?", "--path", "!guide/**"]).stdout.contains("README.md")
    );
    assert!(local.world.ok(&["verify"]).stdout.contains("Ledger and store agree"));
    let status = local.world.ok(&["status"]).stdout;
    assert!(status.contains("pgvector:"), "{status}");
    // Missing records are found and written again.
    server.sql(&url, "DELETE FROM docs WHERE text LIKE 'Start%'");
    assert!(local.world.run(&["verify"]).stdout.contains("guide/start.md"));
    local.world.ok(&["verify", "--repair"]);
    assert!(local.world.ok(&["query", "where do I start?"]).stdout.contains("guide/start.md"));
    assert!(local.world.ok(&["verify"]).stdout.contains("Ledger and store agree"));
    // A change and a removal.
    local.repo.write("guide/start.md", "Begin elsewhere with zebras.\n");
    local.repo.git(&["rm", "-q", "guide/end.md"]);
    local.repo.commit("second");
    local.apply(&[]).exits(0);
    assert!(local.world.ok(&["query", "zebra"]).stdout.contains("guide/start.md"));
    assert_eq!(server.sql(&url, "SELECT count(*) FROM docs"), "2");
}

/// The drill of `docs/postgres.md`.
#[test]
fn a_ledger_and_an_index_of_different_age_are_reconciled() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let local = local_with(&url);
    let ids = || server.sql(&url, "SELECT string_agg(id || ' ' || md5(text), ',' ORDER BY id) FROM docs");
    let (state, backup) = (local.world.path(".reposync/state.db"), local.world.path("backup.db"));
    local.apply(&[]).exits(0);
    std::fs::copy(&state, &backup).expect("a backup");
    server.sql(&url, "CREATE TABLE old AS SELECT id FROM docs");
    local.repo.write("guide/start.md", "Begin elsewhere with zebras.\n");
    local.repo.write("new.md", "Something new about lemurs.\n");
    local.repo.git(&["rm", "-q", "guide/end.md"]);
    local.repo.commit("second");
    local.apply(&[]).exits(0);
    let current = ids();
    let repair = || {
        local.apply(&["--full"]).exits(0);
        local.world.ok(&["verify", "--repair"]);
        assert!(local.world.ok(&["verify"]).stdout.contains("Ledger and store agree"));
        assert_eq!(ids(), current);
    };
    // The ledger of the backup does not know the newer records.
    for extra in ["-wal", "-shm"] {
        drop(std::fs::remove_file(local.world.path(&format!(".reposync/state.db{extra}"))));
    }
    std::fs::copy(&backup, &state).expect("restored");
    repair();
    // The index of the backup lacks the newer records.
    server.sql(&url, "DELETE FROM docs WHERE id NOT IN (SELECT id FROM old)");
    repair();
}

#[tokio::test]
async fn texts_are_read_file_by_file_until_the_reader_has_enough() {
    let Some(server) = pgvector::server() else { return };
    let store = store(&server.database());
    let all = records(300, 4);
    fill(&store, "n", &all).await;
    let read = async |paths: &str, most: usize| {
        let found: Arc<Mutex<Vec<(String, String, usize)>>> = Arc::default();
        let sink = Arc::clone(&found);
        let visit = Box::new(move |file: reposync::store::FileTexts| {
            assert!(
                file.chunks.is_sorted_by_key(|chunk| chunk.index)
                    && file.chunks.iter().all(|one| !one.text.is_empty())
            );
            let mut sink = sink.lock().expect("no panic");
            sink.push((file.repository, file.path, file.chunks.len()));
            if sink.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let mut selection = Selection::default();
        selection.paths.add(paths);
        let scopes = ["p", "q"].map(|project| SearchScope { namespace: "n".into(), project: project.into() });
        assert!(store.texts(&scopes, &selection, visit).await.expect("texts"));
        found.lock().expect("no panic").clone()
    };
    let every = read("**", 1000).await;
    assert_eq!(every.iter().map(|(.., chunks)| chunks).sum::<usize>(), 300);
    assert!(every.len() == 8 && every.is_sorted(), "{every:?}");
    assert_eq!(read("**", 3).await, every[..3]);
    let sources: Vec<_> = every.iter().filter(|(_, path, _)| path.starts_with("src/")).cloned().collect();
    assert_eq!(read("src/**", 1000).await, sources);
}
