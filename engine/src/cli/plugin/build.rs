//! `plugin build`: a project's folder into a component that has been checked.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::toolchain::{self, Built};
use super::workbench::{folders, settings, size, time};
use super::{BuildArgs, Language};
use crate::chunk::component::{ComponentHost, ComponentInfo, WIT};
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::Exit;
use crate::cli::output::{Output, escape};

/// The world of `wit/chunker.wit`.
pub(super) const WORLD: &str = "chunker-plugin";

/// Runs the command. Blocks.
pub(super) fn run(out: &Output, args: &BuildArgs) -> CommandResult {
    let dir = args
        .dir
        .canonicalize()
        .with_context(|| format!("failed to open the folder `{}`", args.dir.display()))?;
    let language = detect(&dir).ok_or_else(|| {
        CommandError::invalid(format!("`{}` holds no chunker", args.dir.display())).hint(
            "a project has a `Cargo.toml`, `chunker.js`, `chunker.py` or `chunker.c`; `reposync plugin new` makes one",
        )
    })?;
    let scratch = Scratch::new()?;
    std::fs::write(scratch.path().join("chunker.wit"), WIT).context("failed to write the contract")?;
    out.message(&format!("building `{}` ({})\n", escape(&args.dir.display().to_string()), named(language)));
    let component = match toolchain::build(language, &dir, scratch.path())? {
        Built::Component(bytes) => bytes,
        Built::Module(bytes) => component_of(bytes)?,
    };
    let candidate = scratch.path().join("component.wasm");
    std::fs::write(&candidate, &component).context("failed to write the component")?;
    let (info, compiled) = checked(&candidate)?;
    let target = args.out.clone().unwrap_or_else(|| args.dir.join(format!("{}.wasm", info.name)));
    install(&candidate, &target)?;
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

fn named(language: Language) -> &'static str {
    match language {
        Language::Rust => "Rust",
        Language::Js => "JavaScript",
        Language::Python => "Python",
        Language::C => "C",
    }
}

/// The file that holds the chunker says the language.
fn detect(dir: &Path) -> Option<Language> {
    [
        ("Cargo.toml", Language::Rust),
        ("chunker.js", Language::Js),
        ("chunker.py", Language::Python),
        ("chunker.c", Language::C),
    ]
    .into_iter()
    .find(|(file, _)| dir.join(file).is_file())
    .map(|(_, language)| language)
}

/// A core module into a component. Modules of C carry no contract; they are of this program's.
fn component_of(mut module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    if !module.windows(CONTRACT_SECTION.len()).any(|window| window == CONTRACT_SECTION) {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("chunker.wit", WIT)?;
        let world = resolve.select_world(&[package], Some(WORLD))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .context("failed to make a component of the module")
}

/// How the sections begin in which a module carries its contract.
const CONTRACT_SECTION: &[u8] = b"component-type";

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

/// Puts the finished component in its place, whole.
fn install(candidate: &Path, target: &Path) -> anyhow::Result<()> {
    let part = target.with_extension(format!("part-{}", std::process::id()));
    std::fs::copy(candidate, &part)
        .and_then(|_| std::fs::rename(&part, target))
        .with_context(|| format!("failed to write `{}`", target.display()))
}

/// A folder of this build's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("reposync-build-{}", std::process::id()));
        std::fs::create_dir_all(&path).context("failed to make a temporary folder")?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunkers_file_says_the_language() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(detect(dir.path()), None);
        for (file, language) in [
            ("chunker.c", Language::C),
            ("chunker.py", Language::Python),
            ("chunker.js", Language::Js),
            ("Cargo.toml", Language::Rust),
        ] {
            std::fs::write(dir.path().join(file), "").expect("written");
            assert_eq!(detect(dir.path()), Some(language));
        }
    }

    #[test]
    fn a_module_without_the_contracts_exports_is_no_component() {
        let module = wat::parse_str("(module)").expect("good text");
        let error = component_of(module).expect_err("nothing is exported");
        insta::assert_snapshot!(error, @"failed to make a component of the module");
    }
}
