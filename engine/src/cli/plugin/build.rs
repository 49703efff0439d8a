//! `plugin build`: builds a component from a project or a core module, and checks it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;

use super::args::BuildArgs;
use super::contract::{Contract, WORLD};
use super::encode;
use super::metadata::{Metadata, license_of};
use super::record::digest_of_sources;
use super::toolchain::{Built, Entry, Toolchain};
use super::workbench::{folders, private_folder, settings, size, time};
use crate::chunk::component::{ComponentHost, ComponentInfo, write_whole};
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::Exit;
use crate::cli::output::{Output, escape};

/// A component to check: a new one to install, or an existing one that is up to date.
enum Ready {
    New(PathBuf),
    Kept(PathBuf),
}

/// Runs the command. Blocks.
pub(super) fn run(out: &Output, args: &BuildArgs) -> CommandResult {
    let scratch = private_folder("reposync-build-")?;
    let ready = match &args.module {
        Some(module) => from_module(module, scratch.path())?,
        None => from_project(out, args, scratch.path())?,
    };
    let sources = match &args.module {
        Some(_) => None,
        None => Some(digest_of_sources(&args.dir)?),
    };
    let license = args.license.clone().or_else(|| license_of(&args.dir).filter(|_| sources.is_some()));
    let (info, compiled) = match &ready {
        Ready::Kept(component) => checked(component, None)?,
        Ready::New(component) => checked(component, Some((license, sources)))?,
    };
    let target = match &ready {
        Ready::Kept(kept) => kept.clone(),
        Ready::New(candidate) => {
            let target = args.out.clone().unwrap_or_else(|| args.dir.join(format!("{}.wasm", info.name)));
            if args.module.as_deref().is_some_and(|module| is_same_file(module, &target)) {
                return Err(CommandError::invalid(format!(
                    "`{}` is the module itself; the component would replace it",
                    target.display()
                ))
                .hint("name another file with `--out`"));
            }
            install(candidate, &target)?;
            target
        }
    };
    let imports = if info.imports.is_empty() { "nothing".to_owned() } else { info.imports.join(", ") };
    out.data(&format!(
        "{} in `{}`\n  size      {}\n  sha256    {}\n  imports   {imports}\n  compiles  {compiled}\n",
        info.label(),
        escape(&target.display().to_string()),
        size(info.bytes),
        info.sha256,
    ))?;
    Ok(Exit::Done)
}

/// Builds the project with its language's tools, unless the existing component was built from the
/// same inputs.
fn from_project(out: &Output, args: &BuildArgs, scratch: &Path) -> Result<Ready, CommandError> {
    let dir = args
        .dir
        .canonicalize()
        .with_context(|| format!("failed to open the folder `{}`", args.dir.display()))?;
    let shown = args.dir.display().to_string();
    let entry = Entry::of(&dir).ok_or_else(|| {
        CommandError::invalid(format!("`{shown}` contains no chunker")).hint(
            "a project has a `Cargo.toml`, `chunker.ts`, `chunker.js`, `chunker.py`, `chunker.cpp` or `chunker.c`; \
             `reposync plugin new` makes one; `--module FILE` takes a core module of another tool",
        )
    })?;
    let toolchain = Toolchain::find(entry, &dir)?;
    let record = toolchain.record(&dir)?;
    if !args.force
        && let Some(record) = &record
        && let Some(kept) = record.kept(&args.dir, args.out.as_deref())
    {
        out.message(&format!(
            "kept `{}`: sources, tools and libraries have not changed (`--force` rebuilds it)\n",
            escape(&kept.display().to_string())
        ));
        return Ok(Ready::Kept(kept));
    }
    out.message(&format!("building `{}` ({})\n", escape(&shown), entry.language()));
    if let Some(note) = toolchain.note(&dir) {
        out.message(&format!("{}\n", escape(&note)));
    }
    let contract = Contract::of_sources(&dir)?;
    std::fs::write(scratch.join("chunker.wit"), contract.wit).context("failed to write the contract")?;
    let mut component = match toolchain.build(&dir, scratch, contract.world)? {
        Built::Component(bytes) => bytes,
        Built::Module(bytes) => encode::component_of(bytes)?,
    };
    if let Some(record) = record {
        record.append(&mut component);
    }
    candidate(&component, scratch).map(Ready::New)
}

/// Encodes a core module that another tool built as a component.
fn from_module(module: &Path, scratch: &Path) -> Result<Ready, CommandError> {
    let shown = module.display().to_string();
    let bytes = std::fs::read(module).with_context(|| format!("failed to read `{shown}`"))?;
    encode::check_module(&shown, &bytes)?;
    let component = encode::component_of(bytes).map_err(|error| {
        CommandError::from(error).hint(format!(
            "`{shown}` must export the functions of the world `{WORLD}` with the names of the canonical ABI, and also \
             `cabi_realloc` and its memory; `reposync plugin wit` prints the contract for the bindings generator \
             of your language"
        ))
    })?;
    candidate(&component, scratch).map(Ready::New)
}

fn candidate(component: &[u8], scratch: &Path) -> Result<PathBuf, CommandError> {
    let candidate = scratch.join("component.wasm");
    std::fs::write(&candidate, component).context("failed to write the component")?;
    Ok(candidate)
}

/// Licence and digest of the sources of a new component.
type Origin = (Option<String>, Option<String>);

/// Checks the component, and writes metadata into a new one. Returns its description, and how long it
/// took to compile.
fn checked(component: &Path, origin: Option<Origin>) -> Result<(ComponentInfo, String), CommandError> {
    // Describes it without configuring it, since it may not accept an empty configuration.
    let host = ComponentHost::new(&folders())?;
    let begun = Instant::now();
    let settings = settings(component, "{}")?;
    let info = match origin {
        None => host.describe("plugin", &settings)?,
        Some((license, sources)) => {
            let extended = |info: &ComponentInfo| Metadata::of(info, license, sources.as_deref()).sections();
            let (info, bytes) = host.describe_extended("plugin", &settings, extended)?;
            std::fs::write(component, bytes).context("failed to write the component")?;
            info
        }
    };
    let took = if host.compilations() == 0 {
        "from the cache: this component was compiled before".to_owned()
    } else {
        format!("in {}", time(begun.elapsed()))
    };
    Ok((info, took))
}

/// Installs the component. A file with the same bytes is not written again.
fn install(candidate: &Path, target: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(candidate).context("failed to read the component")?;
    if std::fs::read(target).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    write_whole(target, &bytes).with_context(|| format!("failed to write `{}`", target.display()))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
