//! Locations of the host's files. Compiled components and the key that authenticates them live in
//! the user's own folders, never in a project, because a project's folder may come from someone
//! else.

use std::path::{Path, PathBuf};

/// The folders of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Cache of compiled components (`[engine].compiled_cache`). `None`: components are compiled in
    /// memory and not cached.
    pub compiled: Option<PathBuf>,
    /// Folder of the key that authenticates compiled components. `None`: as for `compiled`.
    pub key: Option<PathBuf>,
    /// Documents on which a component failed, for replay.
    pub failed: PathBuf,
}

impl Folders {
    /// The folders of this process: compiled components in `compiled`, failed documents below
    /// `cache` (`[engine].cache`), the key in the user's state folder.
    pub fn of_user(compiled: Option<PathBuf>, cache: &Path) -> Self {
        let key = state_folder(&|name| std::env::var(name).ok());
        Self { compiled, key, failed: cache.join("failed-documents") }
    }

    /// All folders below one folder, for tests and benchmarks.
    pub fn below(folder: &Path) -> Self {
        Self {
            compiled: Some(folder.join("components")),
            key: Some(folder.join("key")),
            failed: folder.join("failed-documents"),
        }
    }
}

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The default cache of compiled components: `components` below systemd's `CacheDirectory=`,
/// `$XDG_CACHE_HOME/reposync` or `~/.cache/reposync`.
pub fn default_compiled_cache(env: Env<'_>) -> Option<PathBuf> {
    let folder = systemd(env, "CACHE_DIRECTORY").or_else(|| user(env, "XDG_CACHE_HOME", ".cache"))?;
    Some(folder.join("components"))
}

/// The folder for state that cache cleaners must not delete: systemd's `StateDirectory=`,
/// `$XDG_STATE_HOME/reposync` or `~/.local/state/reposync`.
fn state_folder(env: Env<'_>) -> Option<PathBuf> {
    systemd(env, "STATE_DIRECTORY").or_else(|| user(env, "XDG_STATE_HOME", ".local/state"))
}

/// The first folder of a colon-separated list that systemd sets for a service.
fn systemd(env: Env<'_>, name: &str) -> Option<PathBuf> {
    absolute(env(name)?.split(':').next()?)
}

fn user(env: Env<'_>, xdg: &str, below_home: &str) -> Option<PathBuf> {
    let base = env(xdg).and_then(|folder| absolute(&folder));
    let base = base.or_else(|| Some(absolute(&env("HOME")?)?.join(below_home)))?;
    Some(base.join("reposync"))
}

/// The XDG specification requires relative paths to be ignored.
fn absolute(path: &str) -> Option<PathBuf> {
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(variables: &[(&str, &str)]) -> [Option<String>; 2] {
        let env = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        [default_compiled_cache(&env), state_folder(&env)]
            .map(|folder| folder.map(|folder| folder.display().to_string()))
    }

    #[test]
    fn folders_follow_the_environment() {
        for (variables, cache, state) in [
            (&[("HOME", "/h")][..], Some("/h/.cache/reposync/components"), Some("/h/.local/state/reposync")),
            (
                &[("HOME", "/h"), ("XDG_CACHE_HOME", "/c"), ("XDG_STATE_HOME", "/s")],
                Some("/c/reposync/components"),
                Some("/s/reposync"),
            ),
            (
                &[("HOME", "/h"), ("CACHE_DIRECTORY", "/var/c:/other"), ("STATE_DIRECTORY", "/var/s")],
                Some("/var/c/components"),
                Some("/var/s"),
            ),
            (
                &[("HOME", "/h"), ("XDG_CACHE_HOME", "c")],
                Some("/h/.cache/reposync/components"),
                Some("/h/.local/state/reposync"),
            ),
            (&[("HOME", "h"), ("XDG_STATE_HOME", "")], None, None),
            (&[], None, None),
        ] {
            assert_eq!(folders(variables), [cache, state].map(|it| it.map(str::to_owned)), "{variables:?}");
        }
    }
}
