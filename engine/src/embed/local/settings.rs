//! Settings of `kind = "local"`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::settings::{Checker, lossy};
use crate::stage::{StageConfig, edit_costs};

/// `kind = "local"`: the model in the binary, or one in a folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalSettings {
    /// A folder with another model in model2vec format, relative to `reposync.toml`.
    #[serde(serialize_with = "lossy_path")]
    pub path: Option<PathBuf>,
}

impl StageConfig for LocalSettings {
    const KIND: &'static str = "local";

    edit_costs! {
        index: path;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        self.path = self.path.take().map(|path| check.absolute(&path));
    }

    fn check_files(&self, check: &mut Checker<'_>) {
        if let Some(path) = self.path.as_ref().filter(|path| !path.is_dir()) {
            check.flag(
                "path",
                format!("no such folder: `{}`", path.display()),
                "name a folder with `model.safetensors`, `tokenizer.json` and `config.json`; left out: the model in the program",
            );
        }
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde requires")]
fn lossy_path<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => lossy(path, serializer),
        None => serializer.serialize_none(),
    }
}
