//! `plugin add`, `outdated` and `update`: components by address, file or name, as stages of the file.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::args::{AddArgs, OutdatedArgs, UpdateArgs};
use super::blocking::blocking;
use super::builtin;
use super::edit::{Edited, Written};
use super::workbench::size;
use crate::chunk::component::{
    Address, ComponentHost, ComponentInfo, Folders, Location, Lock, LockedComponent, write_whole,
};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::Exit;
use crate::cli::output::{Output, escape};
use crate::config::{self, Config, Need};
use crate::factory::fetcher;
use crate::model::StageResult;

/// The prefix of components that come with RepoSync.
const BUILTIN: &str = "builtin:";

/// The folder, next to the file, for components that come with RepoSync.
const FOLDER: &str = "plugins";

/// The file and what comes with it.
struct Project {
    config: Config,
    need: Need,
    host: ComponentHost,
    out: Output,
}

impl Project {
    fn of(context: &Context) -> Result<Self, CommandError> {
        let need = Need::enabled().only(&[]);
        let config = context.load_to_read(&need)?;
        let engine = &config.engine;
        let host = ComponentHost::new(&Folders::of_user(engine.compiled_cache.clone(), &engine.cache))?;
        Ok(Self { config, need: context.need(&need), host, out: context.out.clone() })
    }

    fn folder(&self) -> &Path {
        self.config.path.parent().unwrap_or(Path::new("."))
    }

    /// Shows the edits, checks the file as it will be, and writes it.
    fn finish(&self, edited: &Edited) -> Result<(), CommandError> {
        let style = &self.out.error_style;
        config::parse_str(&self.config.path, &edited.text(), &self.need).map_err(|problems| {
            CommandError::rendered(Exit::Invalid, problems.render(style.color(), style.width))
        })?;
        self.out.data(&edited.diff(&self.out.style))?;
        edited.write(&self.config.path)
    }

    /// Records a component in `reposync.lock`.
    fn lock(&self, info: &ComponentInfo, location: &Location) -> Result<(), CommandError> {
        let file = self.config.path.with_file_name("reposync.lock");
        let shown = || format!("`{}`", file.display());
        let lock = Lock::read(&file).with_context(|| format!("cannot read {}", shown()))?.unwrap_or_default();
        let new = LockedComponent::of(info, location, self.folder());
        let others = lock.components.into_iter().filter(|old| old.path != new.path);
        let lock = Lock::of(others.chain([new.clone()]));
        Ok(lock.write(&file).with_context(|| format!("cannot write {}", shown()))?)
    }

    fn locked(&self, location: &Location) -> Option<String> {
        let lock = Lock::read(&self.config.path.with_file_name("reposync.lock")).ok()??;
        lock.digest_of(location, self.folder()).map(str::to_owned)
    }

    /// What an address names now.
    fn now(&self, stage: &str, address: &str, sha256: Option<&str>) -> StageResult<(ComponentInfo, PathBuf)> {
        let fetched = fetcher(&self.config).get(stage, address, sha256)?;
        Ok((self.host.describe_file(stage, &fetched.file)?, fetched.file))
    }
}

/// Adds a component.
pub(super) async fn add(context: &Context, args: AddArgs) -> CommandResult {
    let project = Project::of(context)?;
    blocking(move || {
        let (info, component, pin) = obtained(&project, &args)?;
        let stage = args.stage.clone().unwrap_or_else(|| info.name.clone());
        let mut edited = Edited::read(&project.config.path)?;
        let sha256 = pin.then(|| info.sha256.clone());
        edited.set(&Written { stage: stage.clone(), component: component.clone(), sha256 })?;
        let location = Location::of(&component);
        project.out.data(&described(&info, &component))?;
        project.finish(&edited)?;
        if component.starts_with("oci://") {
            project.lock(&info, &location)?;
        }
        let used = project.config.projects.iter().any(|project| project.chunkers.contains(&stage));
        if !used {
            project.out.message(&format!(
                "next: put \"{}\" into the `pipeline` of a project, in front of the chunkers that take the same files\n",
                escape(&stage)
            ));
        }
        Ok(Exit::Done)
    })
    .await
}

/// The component: its description, the value of `component`, and whether the stage pins its digest.
fn obtained(project: &Project, args: &AddArgs) -> Result<(ComponentInfo, String, bool), CommandError> {
    let text = args.component.as_str();
    let expected = args.sha256.as_deref().map(str::to_ascii_lowercase);
    if let Some(name) = text.strip_prefix(BUILTIN) {
        let bytes = builtin::read(name)?;
        let file = project.folder().join(FOLDER).join(format!("{name}.wasm"));
        std::fs::create_dir_all(project.folder().join(FOLDER))
            .and_then(|()| write_whole(&file, &bytes))
            .with_context(|| format!("failed to write `{}`", file.display()))?;
        let info = project.host.describe_file("plugin", &file)?;
        checked(&info, expected.as_deref())?;
        return Ok((info, format!("{FOLDER}/{name}.wasm"), true));
    }
    match Location::of(text) {
        Location::Remote(address) => {
            Address::parse(&address).map_err(|objection| {
                CommandError::invalid(format!("`{address}`: {}", objection.message)).hint(objection.hint)
            })?;
            let (info, _) = project.now("plugin", &address, expected.as_deref())?;
            let is_pinned = !address.starts_with("oci://") || expected.is_some();
            Ok((info, address, is_pinned))
        }
        Location::File(path) => {
            let whole = std::path::absolute(&path).context("failed to resolve the path")?;
            let info = project.host.describe_file("plugin", &whole)?;
            checked(&info, expected.as_deref())?;
            let folder = project.folder();
            let relative = whole.strip_prefix(folder).unwrap_or(&whole);
            let relative = relative.to_str().ok_or_else(|| {
                CommandError::invalid(format!("the path `{}` is not UTF-8", path.display()))
            })?;
            Ok((info, relative.replace('\\', "/"), expected.is_some()))
        }
    }
}

fn checked(info: &ComponentInfo, expected: Option<&str>) -> Result<(), CommandError> {
    match expected {
        Some(expected) if expected != info.sha256 => Err(CommandError::invalid(format!(
            "the component has the sha256 {}, and {expected} was expected",
            info.sha256
        ))),
        _ => Ok(()),
    }
}

fn described(info: &ComponentInfo, component: &str) -> String {
    let imports = if info.imports.is_empty() { "nothing".to_owned() } else { info.imports.join(", ") };
    let keys = info.config_schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
    let keys: Vec<&str> = keys.into_iter().flat_map(|keys| keys.keys()).map(String::as_str).collect();
    let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    format!(
        "{} from `{}`\n  {}\n  size     {}\n  sha256   {}\n  imports  {}\n  config   {}\n\n",
        escape(&info.label()),
        escape(component),
        escape(&info.summary),
        size(info.bytes),
        info.sha256,
        escape(&imports),
        escape(&keys),
    )
}

/// A component with an address, and what the address names now.
#[derive(Serialize)]
struct Compared {
    stage: String,
    component: String,
    /// The digest in use: that of the stage, else that of `reposync.lock`.
    sha256: Option<String>,
    /// What the address names now.
    available: Option<ComponentInfo>,
    /// Why that is not known.
    error: Option<String>,
}

impl Compared {
    fn is_outdated(&self) -> bool {
        self.available.as_ref().is_some_and(|info| self.sha256.as_ref() != Some(&info.sha256))
    }
}

/// Compares the components of these stages (all if there are none) with what their addresses name now.
fn compared(project: &Project, edited: &Edited, stages: &[String]) -> Result<Vec<Compared>, CommandError> {
    let all: Vec<Written> =
        edited.components().into_iter().filter(|written| written.component.contains("://")).collect();
    if let Some(unknown) = stages.iter().find(|name| !all.iter().any(|written| written.stage == **name)) {
        return Err(CommandError::invalid(format!("no stage `{unknown}` has a component with an address"))
            .hint("`component` must be an https or oci address"));
    }
    let chosen = all.into_iter().filter(|written| stages.is_empty() || stages.contains(&written.stage));
    Ok(chosen
        .map(|Written { stage, component, sha256 }| {
            let sha256 = sha256.or_else(|| project.locked(&Location::of(&component)));
            let (available, error) = match project.now(&stage, &component, None) {
                Ok((info, _)) => (Some(info), None),
                Err(error) => (None, Some(error.one_line())),
            };
            Compared { stage, component, sha256, available, error }
        })
        .collect())
}

/// Shows which components have newer versions.
pub(super) async fn outdated(context: &Context, args: OutdatedArgs) -> CommandResult {
    let project = Project::of(context)?;
    blocking(move || {
        let edited = Edited::read(&project.config.path)?;
        let compared = compared(&project, &edited, &[])?;
        if args.json {
            project.out.json(&serde_json::json!({ "components": compared }))?;
        } else {
            let lines: String = compared.iter().map(line).collect();
            let none = "no stage has a component with an address\n";
            project.out.data(if lines.is_empty() { none } else { &lines })?;
        }
        Ok(if compared.iter().any(|one| one.error.is_some()) { Exit::Failed } else { Exit::Done })
    })
    .await
}

fn line(compared: &Compared) -> String {
    let state = match (&compared.available, &compared.error) {
        (Some(info), _) if compared.is_outdated() => {
            let before = compared.sha256.as_deref().map_or("nothing", short);
            format!("{before} -> {} ({})", short(&info.sha256), info.label())
        }
        (Some(info), _) => format!("current ({})", info.label()),
        (None, error) => format!("unknown: {}", error.as_deref().unwrap_or_default()),
    };
    format!("{}: {}\n  {}\n", escape(&compared.stage), escape(&state), escape(&compared.component))
}

/// The beginning of a digest.
fn short(sha256: &str) -> &str {
    &sha256[..sha256.len().min(12)]
}

/// Takes up what the addresses name now: digests in the file, and in `reposync.lock`.
pub(super) async fn update(context: &Context, args: UpdateArgs) -> CommandResult {
    let project = Project::of(context)?;
    blocking(move || {
        let edited = Edited::read(&project.config.path)?;
        let compared = compared(&project, &edited, &args.stages)?;
        let mut failed = false;
        for one in &compared {
            project.out.data(&line(one))?;
            failed |= one.error.is_some();
            let Some(info) = one.available.as_ref().filter(|_| one.is_outdated()) else { continue };
            let is_locked = one.component.starts_with("oci://");
            // Each stage is an edit of its own, so that its diff is short.
            let mut edited = Edited::read(&project.config.path)?;
            let pinned = edited.components().into_iter().find(|written| written.stage == one.stage);
            if !is_locked || pinned.is_some_and(|written| written.sha256.is_some()) {
                let (stage, component) = (one.stage.clone(), one.component.clone());
                edited.set(&Written { stage, component, sha256: Some(info.sha256.clone()) })?;
                project.finish(&edited)?;
            }
            if is_locked {
                project.lock(info, &Location::of(&one.component))?;
            }
        }
        Ok(if failed { Exit::Failed } else { Exit::Done })
    })
    .await
}
