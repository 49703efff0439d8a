//! JavaScript and TypeScript: jco, with the QuickJS engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::super::record::Inputs;
use super::command::{Built, missing, read, run_shown, version};
use super::entry::Entry;
use super::locate::{folders, in_path, local};
use super::sourcemap;
use crate::cli::error::CommandError;

/// The files in which npm, pnpm and yarn record the contents of `node_modules`.
const INSTALLED: [&str; 3] = [".package-lock.json", ".pnpm/lock.yaml", ".yarn-state.yml"];

/// The modules that the host provides; all others are bundled into the component.
const IMPORTS: &str = "reposync:chunker/host@1.1.0,reposync:chunker/host,reposync:chunker/log@1.0.0,\
     reposync:chunker/log@1.1.0,reposync:chunker/log";

/// The compiler, and the bundler that is installed with it.
pub(in crate::cli::plugin) struct Tools {
    entry: Entry,
    jco: PathBuf,
    /// Present for TypeScript only.
    bundler: Option<PathBuf>,
}

impl Tools {
    pub(super) fn find(entry: Entry, dir: &Path) -> Result<Self, CommandError> {
        let jco = local(dir, &["node_modules/.bin/jco"]).or_else(|| in_path("jco")).ok_or_else(|| {
            missing("jco, the compiler for JavaScript components, is not installed").hint(
                "`npm install` in the project's folder, or `npm install -g @bytecodealliance/jco@1.35.0`",
            )
        })?;
        let bundler = match entry {
            Entry::TypeScript => Some(package(&jco, "rolldown/bin/cli.mjs").ok_or_else(|| {
                missing("rolldown, which compiles TypeScript to JavaScript, is not installed")
                    .hint("it is installed by `npm install @bytecodealliance/jco@1.35.0`")
            })?),
            _ => None,
        };
        Ok(Self { entry, jco, bundler })
    }

    pub(super) fn inputs(&self, dir: &Path) -> anyhow::Result<Inputs> {
        let mut tools = vec![format!("jco {}", version(Command::new(&self.jco).arg("--version"), "jco")?)];
        // jco delegates to this package, whose version it does not pin.
        tools.extend(package_version(&self.jco, "componentize-qjs"));
        if self.bundler.is_some() {
            tools.extend(package_version(&self.jco, "rolldown"));
        }
        let libraries = folders(dir)
            .into_iter()
            .flat_map(|folder| INSTALLED.map(|file| folder.join("node_modules").join(file)))
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .collect();
        Ok(Inputs { tools, libraries })
    }

    pub(super) fn build(&self, dir: &Path, scratch: &Path, world: &str) -> Result<Built, CommandError> {
        let folder = match &self.bundler {
            Some(bundler) => self.bundled(bundler, dir, scratch)?,
            None => dir.to_owned(),
        };
        let component = scratch.join("built.wasm");
        let mut command = Command::new(&self.jco);
        command
            // Relative to the folder, since stack traces contain the path as given.
            .current_dir(folder)
            .args(["componentize", Entry::JavaScript.file(), "-n", world, "-w"])
            .arg(scratch.join("chunker.wit"))
            // QuickJS is smaller than the default engine, and faster with many calls. WASI is not
            // stubbed, so that uncaught exceptions can be written to its standard error.
            .args(["--backend", "qjs", "--backend-qjs-disable-async", "-o"])
            .arg(&component);
        run_shown(&mut command, "jco")?;
        Ok(Built::Component(read(&component)?))
    }

    /// Bundles the project's TypeScript as one JavaScript file. Returns the folder of the bundle.
    fn bundled(&self, bundler: &Path, dir: &Path, scratch: &Path) -> anyhow::Result<PathBuf> {
        let folder = scratch.join("bundle");
        std::fs::create_dir(&folder).context("failed to make a temporary folder")?;
        let bundle = folder.join(Entry::JavaScript.file());
        let mut command = Command::new("node");
        command
            .arg(bundler)
            .current_dir(dir)
            .arg(self.entry.file())
            .args(["--format", "esm", "--platform", "neutral", "--sourcemap"])
            .args(["--external", IMPORTS, "--file"])
            .arg(&bundle);
        run_shown(&mut command, "rolldown")?;
        let map = read(&bundle.with_extension("js.map"))?;
        let mut source = read(&bundle)?;
        source.extend(sourcemap::statements(&String::from_utf8_lossy(&map), &folder, dir)?.into_bytes());
        std::fs::write(&bundle, source).context("failed to write the bundle")?;
        Ok(folder)
    }
}

/// Finds a file of a dependency of jco in any of the `node_modules` folders that package managers
/// use.
fn package(jco: &Path, file: &str) -> Option<PathBuf> {
    const FOLDER: &str = "node_modules";
    let program = jco.canonicalize().ok()?;
    program
        .ancestors()
        .take_while(|folder| folder.iter().any(|name| name == FOLDER))
        .map(
            |folder| {
                if folder.ends_with(FOLDER) { folder.join(file) } else { folder.join(FOLDER).join(file) }
            },
        )
        .find(|file| file.is_file())
}

/// `NAME VERSION`; `None` if the package is not installed.
fn package_version(jco: &Path, name: &str) -> Option<String> {
    let manifest = std::fs::read_to_string(package(jco, &format!("{name}/package.json"))?).ok()?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest).ok()?;
    Some(format!("{name} {}", manifest["version"].as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_from_the_program_behind_the_link() {
        let root = tempfile::tempdir().expect("a folder");
        let modules = root.path().join("node_modules");
        for folder in ["jco/dist", "jco/node_modules/componentize-qjs", "rolldown"] {
            std::fs::create_dir_all(modules.join(folder)).expect("made");
        }
        let jco = modules.join("jco/dist/jco.js");
        std::fs::write(&jco, "").expect("written");
        for (name, version) in [("rolldown", "1.3.3"), ("jco/node_modules/componentize-qjs", "0.4.5")] {
            let manifest = serde_json::json!({ "version": version }).to_string();
            std::fs::write(modules.join(name).join("package.json"), manifest).expect("written");
        }
        assert_eq!(package_version(&jco, "rolldown").as_deref(), Some("rolldown 1.3.3"));
        assert_eq!(package_version(&jco, "componentize-qjs").as_deref(), Some("componentize-qjs 0.4.5"));
        assert_eq!(package_version(&jco, "other"), None);
    }
}
