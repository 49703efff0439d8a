//! `plugin build`: a project's folder, or a core module, into a component that has been checked.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;

use super::BuildArgs;
use super::encode;
use super::toolchain::{Built, Entry, Toolchain, WORLD};
use super::workbench::{folders, private_folder, settings, size, time};
use crate::chunk::component::{ComponentHost, ComponentInfo, WIT, write_whole};
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::Exit;
use crate::cli::output::{Output, escape};

/// A component that is ready: a new one to be put in its place, or one that is there already.
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
    let (Ready::New(component) | Ready::Kept(component)) = &ready;
    let (info, compiled) = checked(component)?;
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

/// Builds the project with its language's tool, or keeps the component that was built of the same.
fn from_project(out: &Output, args: &BuildArgs, scratch: &Path) -> Result<Ready, CommandError> {
    let dir = args
        .dir
        .canonicalize()
        .with_context(|| format!("failed to open the folder `{}`", args.dir.display()))?;
    let shown = args.dir.display().to_string();
    let entry = Entry::of(&dir).ok_or_else(|| {
        CommandError::invalid(format!("`{shown}` holds no chunker")).hint(
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
            "kept `{}`: sources, tools and libraries are those it was built from (`--force` builds it anew)\n",
            escape(&kept.display().to_string())
        ));
        return Ok(Ready::Kept(kept));
    }
    out.message(&format!("building `{}` ({})\n", escape(&shown), entry.language()));
    if let Some(note) = toolchain.note(&dir) {
        out.message(&format!("{}\n", escape(&note)));
    }
    std::fs::write(scratch.join("chunker.wit"), WIT).context("failed to write the contract")?;
    let mut component = match toolchain.build(&dir, scratch)? {
        Built::Component(bytes) => bytes,
        Built::Module(bytes) => encode::component_of(bytes)?,
    };
    if let Some(record) = record {
        record.append(&mut component);
    }
    candidate(&component, scratch).map(Ready::New)
}

/// Makes a component of a core module that another tool has built.
fn from_module(module: &Path, scratch: &Path) -> Result<Ready, CommandError> {
    let shown = module.display().to_string();
    let bytes = std::fs::read(module).with_context(|| format!("failed to read `{shown}`"))?;
    encode::check_module(&shown, &bytes)?;
    let component = encode::component_of(bytes).map_err(|error| {
        CommandError::from(error).hint(format!(
            "`{shown}` has to export the functions of the world `{WORLD}` as the canonical ABI names them, beside \
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

/// What the component says of itself, and how long it took to compile.
fn checked(component: &Path) -> Result<(ComponentInfo, String), CommandError> {
    // Described, not configured: it may not take an empty configuration.
    let host = ComponentHost::new(&folders())?;
    let begun = Instant::now();
    let info = host.describe("plugin", &settings(component, "{}")?)?;
    let took = if host.compilations() == 0 {
        "at once: this very component was compiled before".to_owned()
    } else {
        format!("in {}", time(begun.elapsed()))
    };
    Ok((info, took))
}

/// Puts the finished component in its place. A file that holds the same bytes is left as it is.
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
