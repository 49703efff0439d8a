//! Large runs: a thousand repositories, a repository of 25,000 files, a file of one MiB in one line, a
//! hundred projects on one embedder. Each is compared with a tenth of its size to show growth in
//! memory, open files and threads. Exceeding a bound fails the benchmark.

use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Args;
use super::local::{self, BUILT_IN, CONCURRENCY, commit, configuration, page, projects, write};
use super::program::{self, Measured};
use super::repository::Repository;
use super::services::{DIMENSIONS, Services};

/// Largest allowed ratio of the memory of a run to that of a tenth of its size.
const MOST_GROWTH: f64 = 2.5;
/// Absolute limits of a run, whatever its size.
const MOST_MIB: f64 = 400.0;
const MOST_DESCRIPTORS: usize = 128;
/// Limit of threads, whatever the number of projects: each kind of blocking work has a fixed limit. In
/// addition, each core has one thread that runs tasks and one that cuts files.
const MOST_THREADS: usize = 60;

/// All cases.
pub(crate) fn measure(args: &Args) {
    let of = |size: usize| if args.quick { size.div_ceil(50) } else { size };
    println!(
        "{:<40}{:>8}{:>8}{:>8}{:>8}{:>9}{:>9}{:>9}{:>9}",
        "run", "time s", "CPU s", "MiB", "open", "threads", "files", "chunks", "embedded"
    );
    let load = Load { runtime: Runtime::new().expect("a runtime"), args };
    load.grows("repositories", of(1_000), |n| World::of(local::in_one_project(n, 3)));
    load.grows("files", of(25_000), |n| World::of(local::in_one_project(1, n)));
    load.grows("projects on one embedder", of(100), |n| load.projects(n));
    for kind in ["sentence", "markdown", "code", "wasm"] {
        load.one_line(kind);
    }
}

struct Load<'a> {
    args: &'a Args,
    runtime: Runtime,
}

/// A temporary folder to run in, with whatever must live as long.
struct World {
    folder: TempDir,
    services: Option<Services>,
}

impl World {
    fn of(folder: TempDir) -> Self {
        Self { folder, services: None }
    }
}

impl Load<'_> {
    /// Runs a case at a tenth of the size and at full size, each a second time with nothing to do.
    fn grows(&self, what: &str, size: usize, world: impl Fn(usize) -> World) {
        if !what.starts_with(&self.args.case) {
            return;
        }
        let peaks: Vec<f64> = [size.div_ceil(10), size]
            .into_iter()
            .map(|size| {
                let world = world(size);
                let first = self.run(&format!("{size} {what}: first"), &world);
                let again = self.run(&format!("{size} {what}: nothing changed"), &world);
                assert_eq!(again.count("vectors_written"), 0, "there was nothing to do");
                first.peak_mib.unwrap_or_default()
            })
            .collect();
        if peaks[0] > 0.0 {
            println!("{:<40}{:>24.2} times", "  memory, ten times the size", peaks[1] / peaks[0]);
            assert!(self.args.quick || peaks[1] < peaks[0] * MOST_GROWTH, "memory grows with the size");
        }
    }

    fn run(&self, name: &str, world: &World) -> Measured {
        let measured = program::apply(&self.args.program, world.folder.path());
        println!(
            "{name:<40}{:>8.2}{:>8}{:>8}{:>8}{:>9}{:>9}{:>9}{:>9}",
            measured.seconds,
            program::or_none(measured.cpu, 2),
            program::or_none(measured.peak_mib, 0),
            measured.descriptors,
            measured.threads,
            measured.count("files_added") + measured.count("files_unchanged"),
            measured.count("chunks"),
            measured.count("texts_embedded"),
        );
        if let Some(services) = &world.services {
            let asked = services.take_asked();
            assert!(asked.at_once <= CONCURRENCY, "{} calls were in flight at once", asked.at_once);
            assert_eq!(asked.texts, measured.count("texts_embedded"), "the report counts the texts paid for");
        }
        assert!(measured.peak_mib.is_none_or(|mib| mib < MOST_MIB), "more than {MOST_MIB} MiB");
        assert!(measured.descriptors <= MOST_DESCRIPTORS, "more than {MOST_DESCRIPTORS} open files");
        let most = MOST_THREADS + 2 * available_parallelism().map_or(2, NonZero::get);
        assert!(measured.threads <= most, "more than {most} threads");
        measured
    }

    /// This many projects with one repository each, all on one embedding service.
    fn projects(&self, count: usize) -> World {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for n in 0..count {
            let pages = (0..30).map(|file| (format!("docs/page-{file}.md"), page(n, file)));
            commit(&folder.path().join(format!("repo-{n}.git")), pages);
        }
        let commit = Repository::new(1, 100).commit();
        let services = self.runtime.block_on(Services::start(
            commit,
            Duration::from_millis(20),
            self.args.tls,
            DIMENSIONS,
        ));
        let embedder = format!(
            "kind = \"openai\"\nbase_url = \"{}/v1\"\nmodel = \"m\"\ndimensions = {DIMENSIONS}\nbatch_size = 100",
            services.url
        );
        write(folder.path(), &configuration("sentence", "", &embedder, &projects(count)));
        World { folder, services: Some(services) }
    }

    /// A file of exactly one MiB without a line end, for one chunker.
    fn one_line(&self, kind: &str) {
        let name = format!("one line of 1 MiB: {kind}");
        let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/sql.wasm");
        if !name.starts_with(&self.args.case) {
            return;
        }
        let path = if kind == "wasm" {
            "line.sql"
        } else if kind == "code" {
            "line.rs"
        } else {
            "line.md"
        };
        // No two pieces are the same: each must be embedded.
        let piece = |n: usize| match kind {
            "wasm" => format!("INSERT INTO t VALUES ({n}, 'one value after another'); "),
            "code" => format!("fn f{n}(x: u8) {{ g(x, {n}) }} "),
            _ => format!("one word after another, {n} times. "),
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut text: String = (0..1 << 15).map(piece).collect();
        text.truncate(1 << 20);
        commit(&folder.path().join("repo-0.git"), std::iter::once((path.to_owned(), text)));
        let more = if kind == "wasm" {
            format!("component = \"{}\"\nmatch = [\"**\"]", component.display())
        } else {
            String::new()
        };
        write(
            folder.path(),
            &configuration(kind, &more, BUILT_IN, &[("docs".into(), "\"repo-0.git\"".into())]),
        );
        let measured = self.run(&name, &World { folder, services: None });
        assert_eq!(measured.count("files_failed"), 0);
        assert!(measured.count("chunks") > 100, "the line was cut");
    }
}
