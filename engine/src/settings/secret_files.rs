//! Restricts which files `${file:…}` may read. A configuration decides what is read and where it is
//! sent, so one from a third party must not reach beyond its own folder and the folders meant for
//! secrets.

use std::io;
use std::path::{Path, PathBuf};

use super::env::Env;

/// Further folders, separated as in `PATH`; same as `--secrets-dir`.
pub(crate) const SECRETS_DIRS: &str = "REPOSYNC_SECRETS_DIRS";
/// The folder of a unit's credentials, set by systemd.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The folder in which Docker, Podman and Kubernetes mount secrets.
const RUN_SECRETS: &str = "/run/secrets";
/// Maximum size of a file. A key has a few KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The folders from which files may be read, recursively.
pub(crate) struct SecretFolders {
    /// The folder of the configuration, to which relative paths refer.
    folder: PathBuf,
    /// All allowed folders with symbolic links resolved; missing ones are left out.
    allowed: Vec<PathBuf>,
}

impl SecretFolders {
    /// Allows the folder of the configuration, the platform's folders for secrets, and those in
    /// `named`.
    pub(crate) fn new(folder: &Path, named: &[PathBuf], env: &Env) -> Self {
        let mut candidates = vec![folder.to_owned(), RUN_SECRETS.into()];
        candidates.extend(env(CREDENTIALS_DIRECTORY).map(PathBuf::from));
        candidates.extend(named.iter().cloned());
        if let Some(list) = env(SECRETS_DIRS) {
            candidates.extend(std::env::split_paths(&list));
        }
        let given = candidates.iter().filter(|folder| !folder.as_os_str().is_empty());
        let allowed = given.filter_map(|folder| folder.canonicalize().ok()).collect();
        Self { folder: folder.to_owned(), allowed }
    }

    /// Reads a file. The error is a reason and a hint.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, (String, String)> {
        let relative = || "the path is relative to the folder of the configuration file".to_owned();
        let failed = |error: io::Error| (error.to_string(), relative());
        // Symbolic links are resolved first, since one inside the folder may lead out of it.
        let real = self.folder.join(path).canonicalize().map_err(failed)?;
        if !self.allowed.iter().any(|folder| real.starts_with(folder)) {
            let why = "it is outside the folders that secrets may be read from".to_owned();
            let hint = format!(
                "put it below the configuration's folder or {RUN_SECRETS}, or allow its folder with `--secrets-dir DIR` or {SECRETS_DIRS}"
            );
            return Err((why, hint));
        }
        let metadata = real.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(("it is not a file".to_owned(), relative()));
        }
        if metadata.len() > MAX_BYTES {
            return Err((
                "it is larger than 1 MiB".to_owned(),
                "name the file of one key or token".to_owned(),
            ));
        }
        std::fs::read(&real).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_below_the_folders_for_secrets_alone() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |path: &str| root.path().join(path);
        for folder in ["project/keys", "named", "credentials", "listed", "elsewhere"] {
            std::fs::create_dir_all(at(folder)).expect("made");
            std::fs::write(at(folder).join("key"), folder).expect("written");
        }
        let credentials = at("credentials").to_str().expect("UTF-8").to_owned();
        let listed = std::env::join_paths([at("missing"), at("listed")]).expect("a list");
        let listed = listed.to_str().expect("UTF-8").to_owned();
        let env = move |name: &str| match name {
            CREDENTIALS_DIRECTORY => Some(credentials.clone()),
            SECRETS_DIRS => Some(listed.clone()),
            _ => None,
        };
        let folders = SecretFolders::new(&at("project"), &[at("named")], &env);
        let read = |path: &Path| folders.read(path.to_str().expect("UTF-8"));
        assert_eq!(folders.read("keys/key").expect("below"), b"project/keys");
        for folder in ["named", "credentials", "listed"] {
            assert_eq!(read(&at(folder).join("key")).expect(folder), folder.as_bytes());
            assert!(folders.read(&format!("../{folder}/key")).is_ok(), "{folder}");
        }
        for outside in ["../elsewhere/key", "keys/../../elsewhere/key"] {
            let (why, hint) = folders.read(outside).expect_err(outside);
            assert!(why.contains("outside") && hint.contains("--secrets-dir"), "{outside}: {why}");
        }
        assert!(folders.read("keys").expect_err("a folder").0.contains("not a file"));
        assert!(folders.read("keys/none").is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("elsewhere/key"), at("project/link")).expect("made");
            assert!(folders.read("link").expect_err("leads out").0.contains("outside"));
            // Kubernetes links `key` to `..data/key`, and `..data` to another folder next to it.
            std::os::unix::fs::symlink("keys/key", at("project/inside")).expect("made");
            assert_eq!(folders.read("inside").expect("stays inside"), b"project/keys");
        }
    }

    #[test]
    fn a_key_is_not_large() {
        let root = tempfile::tempdir().expect("a folder");
        let file = std::fs::File::create(root.path().join("large")).expect("made");
        file.set_len(MAX_BYTES + 1).expect("grown");
        let folders = SecretFolders::new(root.path(), &[], &|_| None);
        assert!(folders.read("large").expect_err("too large").0.contains("1 MiB"));
    }
}
