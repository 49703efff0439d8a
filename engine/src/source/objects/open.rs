//! Opening a repository: what of it is believed, and which formats are refused and why.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix::ThreadSafeRepository;
use gix::config::Source as ConfigSource;

use super::files::{self, Odd, small_file};
use super::outside::Folders;
use crate::blocking::Runtime;
use crate::model::{ErrorKind, StageError, StageResult};
use crate::source::Limits;
use crate::source::permalink::web_page_of_remote;

/// `extensions.*` that change nothing about how objects and references are read.
const HARMLESS: [&str; 8] = [
    "compatobjectformat",
    "noop",
    "noop-v1",
    "partialclone",
    "preciousobjects",
    "relativeworktrees",
    "submodulepathconfig",
    "worktreeconfig",
];

/// How a stage reads repositories.
#[derive(Debug, Clone)]
pub(in crate::source) struct Access {
    /// The stage's name.
    pub(in crate::source) stage: String,
    pub(in crate::source) limits: Limits,
    /// Larger files are not indexed, so they need not be read either.
    pub(in crate::source) max_file_bytes: u64,
    /// Folders outside a repository from which it may borrow objects.
    pub(in crate::source) alternates: Vec<PathBuf>,
    /// The limits of blocking work.
    pub(in crate::source) runtime: Runtime,
}

/// What an opened repository is used for; decides how much one object may allocate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Purpose {
    /// References, commits and trees.
    Walk,
    /// Contents of files.
    Contents,
}

/// One opened repository. Clones share the object database's index, not its caches.
#[derive(Clone)]
pub(in crate::source) struct Reader {
    pub(in crate::source) access: Arc<Access>,
    /// What messages call the repository.
    pub(in crate::source) name: String,
    /// Its folder.
    pub(in crate::source) path: String,
    pub(in crate::source) repo: ThreadSafeRepository,
}

impl Reader {
    /// Opens a work tree, its `.git`, or a bare repository.
    ///
    /// The folder's owner does not matter: Git's `safe.directory` protects from what a repository
    /// may have executed, and nothing is executed here. The repository's configuration file is not
    /// believed either where it would change what is read: `refs/replace` is ignored, as on a
    /// server, and the bounds on memory are ours.
    pub(in crate::source) fn open(access: &Arc<Access>, path: &str, purpose: Purpose) -> StageResult<Self> {
        Self::open_named(access, path, path, purpose)
    }

    /// The same for a repository that messages call `name` instead of by its folder.
    pub(in crate::source) fn open_named(
        access: &Arc<Access>,
        name: &str,
        path: &str,
        purpose: Purpose,
    ) -> StageResult<Self> {
        let options = gix::open::Options::isolated()
            .with(gix::sec::Trust::Full)
            .filter_config_section(|section| section.source == ConfigSource::Api)
            .config_overrides([
                "core.useReplaceRefs=false".to_owned(),
                format!("gitoxide.objects.allocLimit={}", access.most_allocated(purpose)),
            ]);
        let stage = access.stage.as_str();
        let odd = |odd: Odd| odd.refusal(stage, path);
        let candidates = files::candidates(Path::new(path)).map_err(odd)?;
        files::check(&candidates, access.limits.object_bytes.0).map_err(odd)?;
        let repo = options.open(path).map_err(|error| {
            unsupported(stage, path, &git_folder(Path::new(path))).unwrap_or_else(|| {
                StageError::refused(stage, format!("cannot open `{path}` as a Git repository"))
                    .caused_by(error)
                    .hint("give the folder of a repository: a work tree, or a bare repository")
            })
        })?;
        let local = repo.to_thread_local();
        let worktree = local.config_snapshot().string("core.worktree");
        let folders = Folders {
            given: path.into(),
            git: local.git_dir().to_owned(),
            common: local.common_dir().to_owned(),
            worktree: worktree.map(|path| path.to_string().into()),
        };
        if let Some(error) = unsupported(stage, path, &folders.common) {
            return Err(error);
        }
        folders.check(&access.alternates).map_err(|refused| refused.refusal(stage, path))?;
        Ok(Self { access: Arc::clone(access), name: name.to_owned(), path: path.to_owned(), repo })
    }

    /// Opens the same repository again. Packs are memory-mapped: pages that were read count towards this process's memory
    /// until the last clone of the reader that mapped them is dropped.
    pub(super) fn reopened(&self, purpose: Purpose) -> StageResult<Self> {
        Self::open_named(&self.access, &self.name, &self.path, purpose)
    }

    /// Refuses references that are no plain, short files.
    pub(in crate::source) fn check_references(&self) -> StageResult<()> {
        let local = self.repo.to_thread_local();
        let folders = [local.git_dir().to_owned(), local.common_dir().to_owned()];
        files::check_references(&folders).map_err(|odd| odd.refusal(&self.access.stage, &self.path))
    }

    /// The error for something in the repository that is damaged or not as it should be.
    pub(in crate::source) fn bad(&self, message: String) -> StageError {
        StageError::new(self.access.stage.as_str(), ErrorKind::BadInput, message)
    }

    /// The error for something that the repository may hold but that is not read.
    pub(in crate::source) fn refused(&self, message: String) -> StageError {
        StageError::refused(self.access.stage.as_str(), message)
    }

    /// True for a clone that left objects on the server (`git clone --filter=…`).
    pub(in crate::source) fn is_partial(&self) -> bool {
        let repo = self.repo.to_thread_local();
        let config = repo.config_snapshot();
        let promisor = |section: gix::config::file::SectionRef<'_>| {
            let value = section.value("promisor").map(|value| value.to_ascii_lowercase());
            value.is_some_and(|value| !matches!(value.as_slice(), b"false" | b"no" | b"off" | b"0"))
        };
        config.string("extensions.partialClone").is_some()
            || config.plumbing().sections_by_name("remote").into_iter().flatten().any(promisor)
    }

    /// How to get the objects that a partial clone left on the server.
    pub(in crate::source) fn complete_it(&self) -> String {
        format!(
            "complete the clone: `git -C {} fetch --refetch --no-filter`; or clone it without `--filter`",
            self.path
        )
    }

    /// The page of the repository's `origin` on the web. Its address is rewritten by the
    /// `url.BASE.insteadOf` of the repository's own configuration; that of the user is not read.
    pub(in crate::source) fn web_page(&self) -> Option<String> {
        let repo = self.repo.to_thread_local();
        let config = repo.config_snapshot();
        let remote = config.string("remote.origin.url")?;
        let remote = std::str::from_utf8(&remote).ok()?;
        let rewrites: Vec<(String, String)> = config
            .plumbing()
            .sections_by_name("url")
            .into_iter()
            .flatten()
            .flat_map(|section| {
                let base = section.header().subsection_name().map(ToString::to_string).unwrap_or_default();
                let prefixes = section.values("insteadOf");
                prefixes.into_iter().map(move |prefix| (prefix.to_string(), base.clone())).collect::<Vec<_>>()
            })
            .collect();
        web_page_of_remote(&rewritten(remote, &rewrites))
    }
}

impl Odd {
    /// The error for the repository at `path`.
    fn refusal(self, stage: &str, path: &str) -> StageError {
        let message = format!("`{path}` is refused: its `{}` {}", self.path.display(), self.why);
        StageError::refused(stage, message)
            .hint("see what made it, or leave the repository out; `git pack-refs --all` sorts references")
    }
}

impl Access {
    /// Bytes that reading one object may allocate. A deltified object needs room for its base, itself
    /// and the delta.
    fn most_allocated(&self, purpose: Purpose) -> u64 {
        let walk = self.limits.object_bytes.0.saturating_mul(2).saturating_add(1 << 20);
        let most = match purpose {
            Purpose::Walk => walk,
            Purpose::Contents => walk.max(self.max_file_bytes.saturating_mul(4)),
        };
        most.min(i64::MAX as u64)
    }
}

/// `url.BASE.insteadOf = PREFIX`: the longest prefix counts.
fn rewritten(url: &str, rewrites: &[(String, String)]) -> String {
    let fitting =
        rewrites.iter().filter(|(prefix, _)| !prefix.is_empty() && url.starts_with(prefix.as_str()));
    match fitting.max_by_key(|(prefix, _)| prefix.len()) {
        Some((prefix, base)) => format!("{base}{}", &url[prefix.len()..]),
        None => url.to_owned(),
    }
}

/// The folder with a repository's configuration and objects, determined without opening the repository.
fn git_folder(path: &Path) -> PathBuf {
    let dot = path.join(".git");
    let folder = if dot.is_dir() {
        dot
    } else if let Some(text) = small_file(&dot) {
        path.join(text.strip_prefix("gitdir:").unwrap_or_default().trim())
    } else {
        path.to_owned()
    };
    match small_file(&folder.join("commondir")) {
        Some(common) => folder.join(common.trim()),
        None => folder,
    }
}

/// Why the format of a repository cannot be read, with the way out; none where nothing speaks against it.
fn unsupported(stage: &str, path: &str, folder: &Path) -> Option<StageError> {
    let refused = |message: String, hint: &str| Some(StageError::refused(stage, message).hint(hint));
    let text = small_file(&folder.join("config"))?;
    let options = gix::config::file::init::Options::default();
    let meta = gix::config::file::Metadata::from(ConfigSource::Local);
    let config = gix::config::File::from_bytes_no_includes(text.as_bytes(), meta, options).ok()?;
    let version = config.integer("core.repositoryFormatVersion").ok().flatten().unwrap_or(0);
    if !(0..=1).contains(&version) {
        let message =
            format!("`{path}` has the repository format {version}, which cannot be read; 0 and 1 can");
        return refused(message, "clone it with the Git that made it: a clone has the usual format");
    }
    let format = config.string("extensions.objectFormat").map(|name| name.to_string().to_lowercase());
    if let Some(format) = format.filter(|format| format != "sha1") {
        let message = format!("`{path}` names its objects by {format}, which cannot be read; SHA-1 can");
        let hint = "make a copy by SHA-1: `git init --object-format=sha1 COPY`, then \
                    `git -C REPOSITORY fast-export --all | git -C COPY fast-import`";
        return refused(message, hint);
    }
    let references = config.string("extensions.refStorage").map(|name| name.to_string().to_lowercase());
    let reftable = folder.join("reftable").exists();
    if let Some(storage) = references.filter(|name| name != "files").or(reftable.then(|| "reftable".into())) {
        // Read as files, such a repository's branches would look like none.
        let message = format!("`{path}` keeps its branches in the {storage} format, which cannot be read");
        return refused(message, "convert it with `git refs migrate --ref-format=files`");
    }
    if version == 0 {
        // Git ignores what it does not know in a repository of this version.
        return None;
    }
    let sections = config.sections_by_name("extensions").into_iter().flatten();
    let mut names = sections
        .flat_map(|section| section.value_names().map(|name| name.to_lowercase()).collect::<Vec<_>>());
    let known = |name: &str| HARMLESS.contains(&name) || matches!(name, "objectformat" | "refstorage");
    let unknown = names.find(|name| !known(name))?;
    let message = format!("`{path}` needs the extension `{unknown}` of Git's format, which cannot be read");
    refused(message, "clone it with the Git that made it: a clone has the usual format")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_is_rewritten() {
        let rule = |prefix: &str, base: &str| (prefix.to_owned(), base.to_owned());
        let rules = [
            rule("gh:", "https://github.com/"),
            rule("gh:acme/", "git@github.com:acme/"),
            rule("", "https://example.com/"),
        ];
        assert_eq!(rewritten("gh:other/r", &rules), "https://github.com/other/r");
        assert_eq!(rewritten("gh:acme/r", &rules), "git@github.com:acme/r");
        assert_eq!(rewritten("https://github.com/a/b", &rules), "https://github.com/a/b");
    }

    #[test]
    fn formats_are_refused_with_their_name_and_the_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let judged = |config: &str| {
            std::fs::write(folder.path().join("config"), config).expect("a file");
            let error = unsupported("git", "r", folder.path())?;
            assert!(error.hint.is_some(), "{error}");
            Some(error.message)
        };
        for fine in [
            "",
            "[core]\nrepositoryformatversion = 0\n[extensions]\nfuture = true\n",
            "[core]\nrepositoryformatversion = 1\n[extensions]\nobjectFormat = sha1\nworktreeConfig = true\n",
            "[core]\nrepositoryformatversion = 1\n[extensions]\npartialClone = origin\n",
        ] {
            assert_eq!(judged(fine), None, "{fine}");
        }
        for (config, expected) in [
            ("[core]\nrepositoryformatversion = 2\n", "`r` has the repository format 2"),
            (
                "[core]\nrepositoryformatversion = 1\n[extensions]\nobjectformat = sha256\n",
                "`r` names its objects by sha256",
            ),
            (
                "[core]\nrepositoryformatversion = 1\n[extensions]\nrefstorage = reftable\n",
                "`r` keeps its branches in the reftable format",
            ),
            (
                "[core]\nrepositoryformatversion = 1\n[extensions]\nFuture = 1\n",
                "`r` needs the extension `future` of Git's format",
            ),
        ] {
            let message = judged(config).expect("refused");
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
