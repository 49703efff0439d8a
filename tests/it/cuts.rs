//! Connections to the database that break, or whose answers are lost, at any answer of the server during a run; and a
//! database that falls silent. Whatever happens to the run, the next one completes the index, and nothing is deleted by
//! accident.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::cutting::{Cut, Cutting};
use crate::support::git_repo::GitRepo;
use crate::support::openai::Options;
use crate::support::pinecone::Content;
use crate::support::shop::{ALONE, Index, SHORT, Shop};
use crate::support::world::Ran;

/// Cases side by side where every answer is cut: most of a run that is cut is waiting.
const SIDES: usize = 4;

/// A run, to be repeated from the same state.
struct Case {
    shop: Shop,
    proxy: Cutting,
    /// Of the state before the run: the database, and the index.
    before: (String, Content),
    /// The index of a build from nothing.
    wanted: Index,
    /// Paths that are in the index before and after the run.
    kept: BTreeSet<String>,
    workers: &'static str,
}

impl Case {
    /// The first run.
    fn first(workers: &'static str) -> Option<Self> {
        let shop = Shop::open(workers, Options::default())?;
        shop.pages(3, 3);
        Some(Self::over(shop, workers))
    }

    /// A run that adds, changes, moves and removes files.
    fn later(workers: &'static str) -> Option<Self> {
        let shop = Shop::open("", Options::default())?;
        shop.pages(2, 2);
        let pages: Vec<_> =
            (0..6).map(|n| (format!("page-{n}.md"), format!("What guide {n} says.\n"))).collect();
        let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
        let repo = shop.services.repository("guide", &pages);
        shop.apply().wait().exits(0);
        edit(&shop, &repo);
        Some(Self::over(shop, workers))
    }

    fn over(shop: Shop, workers: &'static str) -> Self {
        let proxy = Cutting::start(&shop.url);
        let (wanted, held) = (shop.fresh(), paths(&shop.services.index()));
        let kept = paths(&wanted).intersection(&held).cloned().collect();
        let before = (shop.url.clone(), shop.services.pinecone.content());
        Self { shop, proxy, before, wanted, kept, workers }
    }

    /// The state before the run, in a database of its own.
    fn restored(&mut self) {
        let (from, copy) = (name_of(&self.before.0), format!("{}_copy", name_of(&self.before.0)));
        self.shop.server.sql("postgres", &format!("DROP DATABASE IF EXISTS {copy} WITH (FORCE)"));
        self.shop.server.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {from}"));
        self.shop.url = self.shop.server.url(&copy);
        self.shop.services.pinecone.restore(&self.before.1);
        self.shop.config(&self.proxy.url(&self.shop.url), self.workers);
    }

    /// The number of answers in an undisturbed run.
    fn answers(&mut self) -> usize {
        self.restored();
        self.proxy.arm(Cut::Never);
        self.run().exits(0);
        self.converges("not cut");
        let answers = self.proxy.seen();
        assert!(answers > 50, "only {answers} answers in a run");
        answers
    }

    /// The run; where workers work, with one that is started again whenever it ends.
    fn run(&self) -> Ran {
        let url = self.proxy.url(&self.shop.url);
        let start = || self.shop.begin_worker(&url, "one", &[]);
        let mut worker = self.workers.contains("local = false").then(start);
        self.shop.apply().wait_while(|| {
            if let Some(worker) = &mut worker
                && worker.has_ended()
            {
                *worker = start();
            }
        })
    }

    /// Runs with this cut; false: the run ended before.
    fn cut(&mut self, cut: Cut) -> bool {
        self.restored();
        self.proxy.arm(cut);
        let ran = self.run();
        let has_cut = self.proxy.has_cut();
        self.proxy.arm(Cut::Never);
        let what = format!("{cut:?}");
        assert!(!ran.stderr.contains("panicked"), "{what}\n{}", ran.stderr);
        assert_eq!(ran.code, Some(0), "{what}\n{}\n{}", ran.stdout, ran.stderr);
        self.nothing_is_lost(&what);
        self.converges(&what);
        has_cut
    }

    /// Panics unless what was in the index and is wanted is there.
    fn nothing_is_lost(&self, what: &str) {
        let held = paths(&self.shop.services.index());
        let lost: Vec<_> = self.kept.difference(&held).collect();
        assert!(lost.is_empty(), "{what}: {lost:?} left the search");
    }

    /// The next run completes the index, and leaves nothing to do.
    fn converges(&self, what: &str) {
        let world = &self.shop.services.world;
        self.shop.config(&self.shop.url, SHORT);
        let report = world.run(&["apply", "--json", "--wait"]).exits(0).json();
        assert_eq!(report["outcome"], "done", "{what}: {report}");
        world.ok(&["verify"]);
        assert_eq!(self.shop.services.index(), self.wanted, "{what}");
        let report = self.shop.services.apply(&[]).exits(0);
        assert_eq!(report.counts(["vectors_written", "vectors_deleted"]), [0, 0], "{what}");
    }

    /// Cuts at some answers, the connection broken after one, the answer lost at the next.
    fn at_some(&mut self, number: usize) {
        let answers = self.answers();
        for k in 1..=number {
            let n = answers * k / (number + 1);
            let cut = if k % 2 == 0 { Cut::After(n) } else { Cut::Answer(n) };
            assert!(self.cut(cut), "{cut:?} of {answers}");
        }
    }
}

/// Breaks the connection after every answer, and loses every one, in several databases side by side;
/// `REPOSYNC_CUTS_STEP`: only at every n-th.
fn everywhere(make: impl Fn() -> Option<Case> + Sync) {
    let step = std::env::var("REPOSYNC_CUTS_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(1);
    let (next, tried, cuts) = (AtomicUsize::new(1), AtomicUsize::new(0), AtomicUsize::new(0));
    let side = || {
        let Some(mut case) = make() else { return };
        let answers = case.answers();
        loop {
            let n = next.fetch_add(step, Ordering::Relaxed);
            if n > answers {
                return;
            }
            for cut in [Cut::After(n), Cut::Answer(n)] {
                tried.fetch_add(1, Ordering::Relaxed);
                cuts.fetch_add(usize::from(case.cut(cut)), Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| (0..SIDES).for_each(|_| drop(scope.spawn(side))));
    let (tried, cuts) = (tried.into_inner(), cuts.into_inner());
    assert!(cuts * 2 >= tried, "only {cuts} of {tried} runs were cut");
    drop(writeln!(std::io::stderr(), "cut {cuts} times"));
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().expect("a name")
}

fn edit(shop: &Shop, repo: &GitRepo) {
    repo.write("page-0.md", "Guide 0 in other words.\n").write("new.md", "What is new.\n");
    repo.git(&["mv", "page-1.md", "moved.md"]);
    repo.git(&["rm", "-q", "page-2.md", "page-3.md"]);
    shop.services.push("guide", repo);
}

fn paths(index: &Index) -> BTreeSet<String> {
    let path = |metadata: &serde_json::Map<String, serde_json::Value>| {
        format!(
            "{}/{}",
            metadata["repository"].as_str().expect("text"),
            metadata["file_path"].as_str().expect("text")
        )
    };
    index.values().map(|(_, metadata)| path(metadata)).collect()
}

#[test]
fn a_connection_that_breaks_during_a_first_run() {
    let Some(mut case) = Case::first(SHORT) else { return };
    case.at_some(3);
}

#[test]
fn a_connection_that_breaks_during_a_later_run() {
    let Some(mut case) = Case::later(SHORT) else { return };
    case.at_some(4);
}

#[test]
fn a_connection_that_breaks_while_a_worker_works() {
    let Some(mut case) = Case::later(ALONE) else { return };
    case.at_some(3);
}

#[test]
#[ignore = "long: .ci/long"]
fn a_first_run_cut_at_every_answer() {
    everywhere(|| Case::first(SHORT));
}

#[test]
#[ignore = "long: .ci/long"]
fn a_later_run_cut_at_every_answer() {
    everywhere(|| Case::later(SHORT));
}

#[test]
#[ignore = "long: .ci/long"]
fn a_worker_cut_at_every_answer() {
    everywhere(|| Case::later(ALONE));
}

/// The run sends nothing more to the store once its lease may have ended; another one completes the index meanwhile,
/// and what the first one still writes is refused.
#[test]
fn a_database_that_falls_silent_during_a_run() {
    let Some(mut case) = Case::later(SHORT) else { return };
    let n = case.answers() / 2;
    case.restored();
    case.proxy.arm(Cut::Silence(n));
    let mut run = case.shop.apply();
    run.until("silence", |_| case.proxy.has_cut());
    run.until("the end of its leases", |_| {
        case.shop.sql("SELECT count(*) FROM leases WHERE until > now()") == "0"
    });
    case.nothing_is_lost("silence");
    case.converges("silence");
    case.proxy.end();
    let ran = run.wait().exits(1);
    assert!(ran.stderr.contains("taken over by another process"), "{}", ran.stderr);
    assert_eq!(case.shop.services.index(), case.wanted, "the first run wrote after the second");
    case.shop.services.world.ok(&["verify"]);
}
