//! A component's file is replaced while the real program uses it: the current run continues with the
//! component it started with, or is stopped and planned again; nothing is lost or mixed, and the next
//! plan says why files are chunked again. An unchanged component is not compiled twice.

use std::collections::BTreeSet;
use std::path::Path;

use reposync::chunk::component::Lock;
use reposync::config::{self, Need};
use reposync::factory::StageFactory;
use reposync::model::EventSink;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::component::Fixture;
use crate::support::daemon::{API, Daemon};
use crate::support::git_repo::GitRepo;
use crate::support::http::{Fault, Gate};
use crate::support::local::{Local, STAGES, project};
use crate::support::services::Services;
use crate::support::world::World;

/// Installs the component of the stage `notes`, made of this fixture.
fn install(world: &World, fixture: &str) {
    // Written to another file and renamed: no reader sees half a file.
    world.write("plugins/notes.new", Fixture::new(fixture).build());
    std::fs::rename(world.path("plugins/notes.new"), world.path("plugins/notes.wasm")).expect("renamed");
}

/// The services, and a configuration that sends Markdown files through the component.
fn services() -> (Services, GitRepo) {
    let services = Services::start();
    install(&services.world, "lines");
    let component = services.world.path("plugins/notes.wasm");
    let file = services.file().replace("\"github\", \"prose\"", "\"github\", \"notes\", \"prose\"");
    services.world.config(&format!(
        "{file}\n{API}\n[stages.notes]\nkind = \"wasm\"\ncomponent = \"{}\"\nmatch = [\"**/*.md\"]\n",
        component.display()
    ));
    let files =
        [("a.md", "one\ntwo\n"), ("b.md", "three\nfour\n")].map(|(path, text)| (path, text.to_owned()));
    let repo = services.repository("api", &files);
    (services, repo)
}

/// Blocks the request for `b.md`, so that a run pauses between the two files.
fn hold_second_file(services: &Services, repo: &GitRepo) -> Gate {
    let gate = Gate::default();
    let blob = format!("/git/blobs/{}", repo.sha("HEAD:b.md"));
    services.github.fail(&blob, 1, Fault::Gate(gate.clone()));
    gate
}

/// Paths and texts of what is indexed.
fn indexed(services: &Services) -> BTreeSet<(String, String)> {
    let facts = services.index().into_values().map(|(_, facts)| facts);
    facts
        .map(|facts| {
            let text = |key: &str| facts[key].as_str().expect(key).trim_end().to_owned();
            (text("file_path"), text("text"))
        })
        .collect()
}

fn texts(expected: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    expected.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect()
}

const BY_LINES: [(&str, &str); 4] = [("a.md", "one"), ("a.md", "two"), ("b.md", "three"), ("b.md", "four")];
const WHOLE: [(&str, &str); 2] = [("a.md", "one\ntwo"), ("b.md", "three\nfour")];

fn locked(world: &World) -> String {
    let lock = Lock::read(&world.path("reposync.lock")).expect("readable").expect("a lock");
    lock.components[0].name.clone()
}

#[test]
fn a_run_goes_on_with_the_component_it_began_with() {
    let (services, repo) = services();
    let gate = hold_second_file(&services, &repo);
    let mut run = services.world.spawn(&["apply", "--json"]);
    gate.until_reached();
    run.until("the vectors of the first file", |_| !services.ada.calls().is_empty());
    install(&services.world, "whole");
    gate.open();
    run.wait().exits(0);
    assert_eq!(indexed(&services), texts(&BY_LINES), "both files by the old component");
    assert_eq!(locked(&services.world), "lines");

    let plan = services.world.ok(&["plan"]).stdout;
    assert!(plan.contains("chunker lines 1.0.0 -> whole 1.0.0: 2 files to chunk again"), "{plan}");
    let refused = services.world.run(&["apply", "--locked"]).exits(1);
    assert!(refused.stderr.contains("is whole 1.0.0 with sha256"), "{}", refused.stderr);
    assert_eq!(services.apply(&[]).exits(0).count("files_changed"), 2);
    assert_eq!(indexed(&services), texts(&WHOLE));
    assert_eq!(locked(&services.world), "whole");
    services.assert_as_fresh();
}

#[test]
fn the_daemon_stops_the_run_and_plans_it_anew() {
    let (services, repo) = services();
    let gate = hold_second_file(&services, &repo);
    let mut daemon = Daemon::start(&services.world);
    gate.until_reached();
    daemon.until("the vectors of the first file", |_| !services.ada.calls().is_empty());
    let began = daemon.project("handbook")["running"].clone();
    install(&services.world, "whole");
    daemon.until("the new component", |daemon| daemon.reloads("applied") == 1);
    daemon.until_runs(2);
    // The blocked call belongs to the run that was stopped: nothing may wait for it.
    gate.open();
    assert_eq!(daemon.triggers(), ["start", "edit"]);
    let first = daemon.get(&format!("/runs/{}", began.as_str().expect("a run"))).is(200).json();
    assert_eq!(first["outcome"], "interrupted", "{first}");
    assert_eq!(daemon.runs()[0]["outcome"], "done", "{:?}", daemon.runs());
    assert_eq!(indexed(&services), texts(&WHOLE), "no record of the old component is left");

    let plan = services.world.ok(&["plan"]).stdout;
    assert!(plan.contains("Nothing to do"), "{plan}");
    daemon.stop().exits(0);
    let log = logged(&services.world);
    assert!(log.contains("`handbook` planned again (component)"), "{log}");
    services.assert_as_fresh();
}

/// The content of the log files in `logs`.
fn logged(world: &World) -> String {
    let files = std::fs::read_dir(world.path("logs")).expect("logs");
    files.map(|file| std::fs::read_to_string(file.expect("an entry").path()).expect("text")).collect()
}

/// The compiled components in the cache, with metadata that changes if a file is replaced.
#[cfg(unix)]
fn compiled(world: &World) -> BTreeSet<(String, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let entries = |folder: &Path| -> Vec<_> {
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect()
    };
    entries(&world.path(".cache/reposync/components"))
        .into_iter()
        .flat_map(|engine| entries(&engine.path()))
        .map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            (name, file.metadata().expect("a file").ino())
        })
        .collect()
}

#[test]
#[cfg(unix)]
fn an_unchanged_component_is_compiled_once_whatever_is_reloaded() {
    let local = Local::new();
    install(&local.world, "lines");
    let wasm = "kind = \"wasm\"\ncomponent = \"plugins/notes.wasm\"\nmatch = [\"**\"]";
    let file = |more: &str| {
        let text = project(&format!("{more}\n{API}"));
        let text = text.replace("kind = \"sentence\"\nmax_chunk_size = 200\nchunk_overlap = 0", wasm);
        format!("[engine]\nlog_dir = \"logs\"\n{text}")
    };
    let compilations = || logged(&local.world).matches("component compiled").count();
    local.config(&file(""));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    let kept = compiled(&local.world);
    assert_eq!(kept.len(), 2, "{kept:?}");

    // Edits that run the project again, and the same bytes written again.
    for n in 0..3 {
        local.config(&file(&format!("exclude_patterns = [\"none-{n}/**\"]")));
        daemon.post("/reload", &json!({})).is(200);
        install(&local.world, "lines");
        daemon.post("/reload", &json!({})).is(200);
    }
    daemon.until("the runs' end", |daemon| daemon.runs().iter().all(|run| run["status"] == "finished"));
    assert!(daemon.reloads("applied") >= 3);
    daemon.stop().exits(0);
    assert_eq!((compilations(), compiled(&local.world)), (1, kept.clone()));

    // The next process does not compile it either; it does compile another component.
    let mut daemon = Daemon::start(&local.world);
    daemon.until("its run", |daemon| daemon.triggers().last().is_some_and(|trigger| trigger == "start"));
    install(&local.world, "whole");
    daemon.post("/reload", &json!({})).is(200);
    daemon.stop().exits(0);
    assert_eq!(compilations(), 2);
    assert!(compiled(&local.world).is_superset(&kept));
}

#[tokio::test]
async fn what_is_replaced_between_two_looks_is_refused() {
    let local = Local::new();
    install(&local.world, "lines");
    let stage = "[stages.notes]\nkind = \"wasm\"\ncomponent = \"plugins/notes.wasm\"\n";
    local.config(&format!(
        "{STAGES}{stage}\n[projects.docs]\npipeline = [\"local\", \"notes\", \"model\", \"index\"]\n\
         repositories = [\"docs\"]\n"
    ));
    let config = config::load(&local.world.path("reposync.toml"), &Need::enabled()).expect("a good file");
    let factory = StageFactory::new(CancellationToken::new(), EventSink::none());
    // Components for `reposync.lock` are loaded before the projects.
    let lock = factory.components(&config).expect("loads");
    assert_eq!(lock, factory.components(&config).expect("loads again"));
    install(&local.world, "whole");
    let project = factory.candidates(&config, &[]).remove(0).project;
    let error = project.err().expect("another component").one_line();
    assert!(error.contains("was replaced while it was being loaded"), "{error}");
    // The next generation loads its components again.
    assert!(factory.next(&config).candidates(&config, &[]).remove(0).project.is_ok());
}
