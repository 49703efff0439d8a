//! Services whose state is in a PostgreSQL database, and workers on it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::openai::Options;
use super::pinecone::Pinecone;
use super::postgres::Postgres;
use super::services::{DIMENSIONS, Services};
use super::world::Running;

/// `[workers]` with a lease that lapses soon.
pub(crate) const SHORT: &str = "lease = \"3s\"\nrenew = \"500ms\"\ngrace = \"500ms\"\npoll = \"200ms\"\n";
/// The same, where only workers work.
pub(crate) const ALONE: &str =
    "local = false\nlease = \"3s\"\nrenew = \"500ms\"\ngrace = \"500ms\"\npoll = \"200ms\"\n";

/// The project's records by id: vector and metadata.
pub(crate) type Index = BTreeMap<String, (Vec<f32>, Map<String, Value>)>;

/// Services with a state in a database.
pub(crate) struct Shop {
    pub(crate) services: Services,
    pub(crate) server: &'static Postgres,
    /// The database's address.
    pub(crate) url: String,
}

impl Shop {
    /// `workers`: the table of that name. `None`: no server can be started.
    pub(crate) fn open(workers: &str, options: Options) -> Option<Self> {
        Some(Self::on(Postgres::start()?, workers, options))
    }

    /// The same with a database of this server.
    pub(crate) fn on(server: &'static Postgres, workers: &str, options: Options) -> Self {
        let shop = Self { server, url: server.database(), services: Services::with(options) };
        shop.config(&shop.url, workers);
        shop
    }

    /// Writes the configuration with the state at this address; `more`: what follows `[workers]`.
    pub(crate) fn config(&self, url: &str, more: &str) {
        self.services.world.config(&self.file(url, more));
    }

    /// The text that [`Shop::config`] writes.
    pub(crate) fn file(&self, url: &str, more: &str) -> String {
        let file = self.services.file().replace("[engine]\n", &format!("[engine]\nstate = \"{url}\"\n"));
        format!("{file}\n[workers]\n{more}")
    }

    /// Adds repositories without a text in common.
    pub(crate) fn pages(&self, repositories: usize, pages: usize) {
        different_pages(&self.services, repositories, pages);
    }

    /// A worker that is there.
    pub(crate) fn worker(&self, label: &str) -> Running {
        self.worker_at(&self.url, label, &[])
    }

    /// The same with the state at this address, and further arguments.
    pub(crate) fn worker_at(&self, url: &str, label: &str, more: &[&str]) -> Running {
        let mut worker = self.begin_worker(url, label, more);
        worker.until("that it waits", |worker| worker.stderr().contains("waits for units"));
        worker
    }

    /// A worker that has been started.
    pub(crate) fn begin_worker(&self, url: &str, label: &str, more: &[&str]) -> Running {
        self.services.world.spawn(&[&["worker", "--state", url, "--label", label], more].concat())
    }

    pub(crate) fn queue(&self) -> Value {
        self.services.world.ok(&["queue", "list", "--json"]).json()
    }

    pub(crate) fn apply(&self) -> Running {
        self.services.world.spawn(&["apply", "--json"])
    }

    /// What a statement answers in the database.
    #[track_caller]
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.server.sql(&self.url, statement)
    }

    /// What the ledger has of files, and what is open.
    pub(crate) fn ledger(&self) -> String {
        self.sql(
            "SELECT repository, file_path, status, blob_sha, last_synced_at,
                 (SELECT string_agg(id, ' ' ORDER BY id) FROM chunks WHERE file_id = files.id)
             FROM files UNION ALL
             SELECT repository, file_path, 'open', id, NULL, NULL FROM intents ORDER BY 1, 2, 3, 4",
        )
    }

    /// The index of a build from nothing, with a state in a file.
    pub(crate) fn fresh(&self) -> Index {
        let (world, other) = (&self.services.world, Pinecone::start(Some(DIMENSIONS)));
        let text = self.services.file().replace(&self.services.pinecone.server.url(), &other.server.url());
        drop(std::fs::remove_dir_all(world.path("fresh")));
        world.write("fresh/reposync.toml", text.replace(", \"team\"]", "]"));
        world.run(&["apply", "--config", "fresh/reposync.toml"]).exits(0);
        other.records("handbook")
    }

    /// Panics unless the index equals that of a build from nothing, and `verify` finds no difference.
    #[track_caller]
    pub(crate) fn assert_right(&self) {
        self.services.world.ok(&["verify"]);
        assert_eq!(self.services.index(), self.fresh());
    }
}

/// Adds repositories without a text in common.
pub(crate) fn different_pages(services: &Services, repositories: usize, pages: usize) {
    for n in 0..repositories {
        let page = |page| (format!("docs/page-{page}.md"), format!("What page {page} of book {n} says.\n"));
        let files: Vec<_> = (0..pages).map(page).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
        services.repository(&format!("repo-{n}"), &files);
    }
}

/// The counts of a report: files added, texts embedded, repositories.
pub(crate) fn counts(report: &Value) -> (u64, u64, u64) {
    let counts = &report["projects"][0]["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap_or_default();
    (count("files_added"), count("texts_embedded"), count("repositories"))
}
