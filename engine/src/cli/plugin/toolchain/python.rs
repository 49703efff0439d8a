//! Python: componentize-py, with the libraries of the project's virtual environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::super::record::Inputs;
use super::command::{Built, missing, read, run_shown, version};
use super::locate::{folders, in_path, local};
use crate::cli::error::CommandError;

pub(in crate::cli::plugin) struct Tools {
    compiler: PathBuf,
    /// The virtual environment whose libraries the component may import; `None`: only the standard
    /// library.
    environment: Option<PathBuf>,
}

impl Tools {
    pub(super) fn find(dir: &Path) -> Result<Self, CommandError> {
        let places = [".venv/bin/componentize-py", "venv/bin/componentize-py"];
        let compiler = local(dir, &places).or_else(|| in_path("componentize-py")).ok_or_else(|| {
            missing("componentize-py, the compiler for Python components, is not installed").hint(
                "`python -m venv .venv && .venv/bin/pip install -r requirements.txt` in the project's folder, or `pip install componentize-py==0.25.1`",
            )
        })?;
        let active = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
        let environment = environment(dir, active, &compiler);
        Ok(Self { compiler, environment })
    }

    /// Describes which libraries the component may import.
    pub(super) fn note(&self, dir: &Path) -> String {
        match &self.environment {
            Some(environment) => {
                let shown = environment.strip_prefix(dir).unwrap_or(environment);
                format!("libraries are taken from the virtual environment `{}`", shown.display())
            }
            None => "no virtual environment: the component may import the standard library and the project's own modules".to_owned(),
        }
    }

    pub(super) fn inputs(&self) -> anyhow::Result<Inputs> {
        let tools = vec![version(Command::new(&self.compiler).arg("--version"), "componentize-py")?];
        let libraries = self.environment.iter().flat_map(|environment| distributions(environment)).collect();
        Ok(Inputs { tools, libraries })
    }

    pub(super) fn build(&self, dir: &Path, scratch: &Path, world: &str) -> Result<Built, CommandError> {
        // Without `VIRTUAL_ENV`, the compiler uses the libraries of the Python that is first in
        // `PATH`.
        let environment = match &self.environment {
            Some(environment) => environment.clone(),
            None => empty_environment(scratch)?,
        };
        let component = scratch.join("built.wasm");
        let mut command = Command::new(&self.compiler);
        command
            .current_dir(dir)
            .env("VIRTUAL_ENV", environment)
            .arg("-d")
            .arg(scratch.join("chunker.wit"))
            // WASI is not stubbed, so that tracebacks can be written to its standard error.
            .args(["-w", world, "componentize", "chunker", "-o"])
            .arg(&component);
        run_shown(&mut command, "componentize-py")?;
        Ok(Built::Component(read(&component)?))
    }
}

/// The project's own virtual environment, or else the active one, or else the compiler's.
fn environment(dir: &Path, active: Option<PathBuf>, compiler: &Path) -> Option<PathBuf> {
    let own = folders(dir).into_iter().flat_map(|folder| [folder.join(".venv"), folder.join("venv")]);
    let of_compiler = compiler.parent().and_then(Path::parent).map(Path::to_owned);
    own.chain(active).chain(of_compiler).find(|folder| folder.join("pyvenv.cfg").is_file())
}

/// Creates an empty environment.
fn empty_environment(scratch: &Path) -> anyhow::Result<PathBuf> {
    let environment = scratch.join("venv");
    std::fs::create_dir_all(environment.join("lib/site-packages"))
        .context("failed to make a temporary folder")?;
    Ok(environment)
}

/// The installed libraries, as `NAME-VERSION.dist-info`.
fn distributions(environment: &Path) -> Vec<String> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries(&environment.join("lib"))
        .flat_map(|python| entries(&python.path().join("site-packages")))
        .map(|library| library.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".dist-info"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(folder: &Path) -> PathBuf {
        std::fs::create_dir_all(folder.join("bin")).expect("made");
        std::fs::write(folder.join("pyvenv.cfg"), "").expect("written");
        folder.to_owned()
    }

    #[test]
    fn libraries_come_from_the_projects_environment_even_where_it_is_not_active() {
        let root = tempfile::tempdir().expect("a folder");
        let project = root.path().join("project");
        std::fs::create_dir(&project).expect("made");
        let [active, tools] = ["active", "tools"].map(|name| make(&root.path().join(name)));
        let compiler = tools.join("bin/componentize-py");
        let found =
            |active: Option<&PathBuf>, compiler: &Path| environment(&project, active.cloned(), compiler);
        assert_eq!(found(None, Path::new("/usr/bin/componentize-py")), None);
        assert_eq!(found(None, &compiler), Some(tools));
        assert_eq!(found(Some(&active), &compiler), Some(active.clone()));
        let own = make(&project.join(".venv"));
        assert_eq!(found(Some(&active), &compiler), Some(own));
    }

    #[test]
    fn installed_libraries_are_listed_with_their_versions() {
        let root = tempfile::tempdir().expect("a folder");
        let packages = root.path().join("lib/python3.11/site-packages");
        for name in ["docutils", "docutils-0.21.dist-info"] {
            std::fs::create_dir_all(packages.join(name)).expect("made");
        }
        assert_eq!(distributions(root.path()), ["docutils-0.21.dist-info"]);
    }
}
