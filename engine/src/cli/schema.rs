//! `reposync schema`: the JSON Schema of the file for editors, with those of the components that
//! the file names.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::chunk::component::{ComponentHost, Folders, Location, Lock, default_compiled_cache};
use crate::config;
use crate::model::StageResult;

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;
use super::output::escape;

/// Runs the command. Without a file, or if a component cannot be loaded, prints the schema without
/// components.
pub(super) async fn run(context: &Context) -> CommandResult {
    let mut schema = config::schema();
    if let Ok(path) = context.config_path()
        && let Ok(text) = std::fs::read_to_string(&path)
    {
        let files = config::component_files(&text);
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        // Blocks, since components are compiled and started.
        let described = tokio::task::spawn_blocking(move || describe(&folder, files));
        for (file, described) in described.await.context("the task that describes components panicked")?? {
            match described {
                Ok(Some(config)) => config::add_component(&mut schema, &file, config),
                Ok(None) => {}
                Err(error) => context.out.message(&format!("note: {}\n", escape(&error.one_line()))),
            }
        }
    }
    context.out.json(&schema)?;
    Ok(Exit::Done)
}

/// The file of a component. One with an address is used if it is locked and was fetched: this command
/// sends no requests.
fn local(folder: &Path, component: &str) -> Option<PathBuf> {
    let location = Location::of(component);
    if location.file().is_some() {
        return Some(folder.join(component));
    }
    let lock = Lock::read(&folder.join("reposync.lock")).ok()??;
    let sha256 = lock.digest_of(&location, folder)?;
    let compiled = default_compiled_cache(&|name| std::env::var(name).ok())?;
    Some(compiled.join("downloads").join(format!("{sha256}.wasm"))).filter(|file| file.is_file())
}

type Described = (String, StageResult<Option<Value>>);

/// The schemas of components, with the paths that the file uses for them.
fn describe(folder: &Path, files: Vec<String>) -> StageResult<Vec<Described>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let compiled = default_compiled_cache(&|name| std::env::var(name).ok());
    let host = ComponentHost::new(&Folders::of_user(compiled, folder))?;
    let describe = |file: String| {
        let Some(component) = local(folder, &file) else { return (file, Ok(None)) };
        let info = host.describe_file("schema", &component);
        (file, info.map(|info| info.config_schema))
    };
    Ok(files.into_iter().map(describe).collect())
}
