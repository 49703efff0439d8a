//! What `kind = "git-remote"` declares: repositories are paths on a server, and how it is built.

use std::path::Path;
use std::sync::Arc;

use super::GitRemoteSource;
use super::settings::GitRemoteSettings;
use crate::model::{RepoRef, StageResult};
use crate::settings::Objection;
use crate::source::{NamedRepository, Source, SourceConfig, SourceContext, WrittenRepository};

/// The folder of the clones, in that of the stages' data.
const CLONES: &str = "clones";

impl SourceConfig for GitRemoteSettings {
    fn build(&self, context: SourceContext) -> StageResult<Arc<dyn Source>> {
        let (stage, clones) = (context.stage, context.data.join(CLONES));
        let source =
            GitRemoteSource::new(stage.stage, self, clones, stage.calls, stage.cancel, stage.events)?;
        let source = source.with_timeouts(stage.timeouts).with_runtime(stage.runtime);
        let source = source.with_allowances(stage.allowances.as_ref());
        Ok(Arc::new(source.with_limits(context.limits, context.max_file_bytes)))
    }

    fn check_owner(&self, _owner: &str) -> Result<(), Objection> {
        let hint = "name the repositories instead: repositories = [\"group/app\"]";
        Err(Objection::new("kind `git-remote` lists no organizations", hint))
    }

    fn nothing_selected(&self) -> Objection {
        let hint = "add repositories = [\"group/app\"]: paths on the server";
        Objection::new("`repositories` is missing", hint)
    }

    fn repository(&self, written: &WrittenRepository, _folder: &Path) -> Result<RepoRef, Objection> {
        let found = match written {
            WrittenRepository::Plain(path) => self.find(path, None),
            WrittenRepository::Named(NamedRepository { url: Some(url), path: None, name }) => {
                self.find(url, name.as_deref())
            }
            WrittenRepository::Named(_) => {
                let hint = "write it like { url = \"https://HOST/group/app\", name = \"app\" }";
                return Err(Objection::new("kind `git-remote` takes a `url`, and no `path`", hint));
            }
        };
        found.map_err(|(message, hint)| Objection::new(message, hint))
    }

    fn comparable(&self, name: &str) -> String {
        name.to_owned()
    }

    fn on_same_name(&self) -> &'static str {
        "give one another name: { url = \"…\", name = \"…\" }"
    }

    fn repository_key(&self) -> &'static str {
        "url"
    }
}
