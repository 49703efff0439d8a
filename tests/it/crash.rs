//! The write protocol converges after a kill at any step: the real program is killed while the store
//! has received a write, or has applied it without answering. The next run ends with the index of a
//! fresh build, without orphans or missing records, and pays again only for calls that were in flight.

use crate::support::git_repo::GitRepo;
use crate::support::http::Fault;
use crate::support::services::Services;

fn services() -> (Services, GitRepo) {
    let services = Services::start();
    let repo = services.with_pages("api", 12);
    (services, repo)
}

/// Runs `apply` and kills it at the `nth` write of a kind (`upsert`, `delete`).
fn kill_at(services: &Services, write: &str, nth: usize, fault: Fault) {
    let store = &services.pinecone.server;
    for _ in 1..nth {
        store.fail(&format!("/vectors/{write}"), Fault::None);
    }
    store.fail(&format!("/vectors/{write}"), fault);
    let mut running = services.world.spawn(&["apply"]);
    running.until("the write", |_| store.faults_left() == 0);
    running.signal("KILL");
    assert_eq!(running.wait().code, None, "killed");
}

/// The next run completes the index.
fn converges(services: &Services, what: &str) {
    services.apply(&[]).exits(0);
    // Files whose vectors were cached are written while the four edited ones are being embedded.
    let (texts, times) = services.paid();
    assert!(times - texts <= 4, "{what}: only texts in flight are paid for again, not {times} for {texts}");
    services.world.ok(&["verify"]);
    services.assert_as_fresh();
    let again = services.apply(&[]).exits(0);
    assert_eq!(again.counts(["vectors_written", "vectors_deleted"]), [0, 0], "{what}");
}

/// Edits four files, moves two, removes three.
fn edit(services: &Services, repo: &GitRepo) {
    for n in 0..4 {
        repo.write(&format!("docs/page-{n}.md"), format!("Page {n} in other words.\n"));
    }
    repo.git(&["mv", "docs/page-4.md", "moved-4.md"]);
    repo.git(&["mv", "docs/page-5.md", "moved-5.md"]);
    repo.git(&["rm", "-q", "docs/page-6.md", "docs/page-7.md", "docs/page-8.md"]);
    services.push("api", repo);
}

/// Restores the files that were indexed first.
fn undo(services: &Services, repo: &GitRepo) {
    repo.git(&["reset", "-q", "--hard", "HEAD~1"]);
    services.pushed("api");
}

#[test]
fn a_first_run_killed_at_its_upsert() {
    for fault in [Fault::Hang, Fault::AnswerHeld] {
        let (services, _repo) = services();
        let what = format!("{fault:?}");
        kill_at(&services, "upsert", 1, fault);
        converges(&services, &what);
    }
}

#[test]
fn a_later_run_killed_at_any_write() {
    for (write, nth) in [("upsert", 1), ("delete", 1), ("delete", 2)] {
        for (fault, name) in [(Fault::Hang, "received"), (Fault::AnswerHeld, "done")] {
            let (services, repo) = services();
            services.apply(&[]).exits(0);
            edit(&services, &repo);
            kill_at(&services, write, nth, fault);
            converges(&services, &format!("{write} {nth} {name}"));
        }
    }
}

/// Records that the killed run deleted are wanted again.
#[test]
fn a_run_killed_at_any_write_and_its_edit_undone() {
    for (write, nth) in [("upsert", 1), ("delete", 1), ("delete", 2)] {
        for (fault, name) in [(Fault::Hang, "received"), (Fault::AnswerHeld, "done")] {
            let (services, repo) = services();
            services.apply(&[]).exits(0);
            edit(&services, &repo);
            kill_at(&services, write, nth, fault);
            undo(&services, &repo);
            converges(&services, &format!("{write} {nth} {name}, undone"));
        }
    }
}

/// A file that turned binary has nothing to upsert, only records to delete.
#[test]
fn a_delete_without_an_upsert_killed_and_undone() {
    let (services, repo) = services();
    services.apply(&[]).exits(0);
    repo.write("docs/page-0.md", b"\0binary");
    services.push("api", &repo);
    kill_at(&services, "delete", 1, Fault::AnswerHeld);
    undo(&services, &repo);
    converges(&services, "binary, undone");
}

#[test]
fn a_move_to_another_namespace_killed_at_any_write() {
    for (write, back) in [("upsert", false), ("delete", false), ("upsert", true), ("delete", true)] {
        let (services, _repo) = services();
        services.apply(&[]).exits(0);
        let file = services.file();
        services.world.config(&file.replace("namespace = \"handbook\"", "namespace = \"manual\""));
        kill_at(&services, write, 1, Fault::AnswerHeld);
        if back {
            services.world.config(&file);
            converges(&services, &format!("{write}, and back"));
            assert_eq!(services.pinecone.ids("manual"), [""; 0]);
        } else {
            services.apply(&[]).exits(0);
            services.world.ok(&["verify"]);
            assert_eq!(
                (services.pinecone.ids("handbook").len(), services.pinecone.ids("manual").len()),
                (0, 12)
            );
            services.world.config(&file);
            converges(&services, &format!("{write}, and later back"));
        }
    }
}

/// A project is taken out of the file, its removal is killed, and the project is put back.
#[test]
fn a_pruned_project_killed_and_put_back() {
    let (services, _repo) = services();
    services.apply(&[]).exits(0);
    let file = services.file();
    let other = file.replace("[projects.handbook]", "[projects.other]").replace("\"handbook\"", "\"other\"");
    services.world.config(&other);
    services.apply(&[]).exits(0);
    services.pinecone.server.fail("/vectors/delete", Fault::AnswerHeld);
    let mut running = services.world.spawn(&["apply", "--prune"]);
    running.until("the delete", |_| services.pinecone.server.faults_left() == 0);
    running.signal("KILL");
    running.wait();
    assert_eq!(services.index().len(), 0);
    services.world.config(&file);
    converges(&services, "put back");
}

/// The ledger is lost, and the run that adopts the store is killed at its first write.
#[test]
fn an_adoption_killed_at_its_first_write() {
    for write in ["upsert", "delete"] {
        let (services, repo) = services();
        services.apply(&[]).exits(0);
        edit(&services, &repo);
        for name in ["state.db", "state.db-wal", "state.db-shm"] {
            drop(std::fs::remove_file(services.world.path(&format!(".reposync/{name}"))));
        }
        kill_at(&services, write, 1, Fault::AnswerHeld);
        converges(&services, &format!("adoption, {write}"));
    }
}
