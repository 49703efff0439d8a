//! Settings of `kind = "git"`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// `kind = "git"`: local repositories; the project lists their paths.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GitSettings {
    /// Folders outside a repository, relative to this file, whose Git data it may use: object folders
    /// that it borrows from (`objects/info/alternates`), or that its `.git` leads to.
    #[serde(serialize_with = "lossy_list")]
    pub alternates: Vec<PathBuf>,
}

impl StageConfig for GitSettings {
    const KIND: &'static str = "git";

    edit_costs! {
        index: alternates;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        for path in &mut self.alternates {
            check.home("alternates", path);
            *path = check.absolute(path);
        }
    }

    fn adjust_shown(&self, shown: &mut Map<String, Value>) {
        if self.alternates.is_empty() {
            shown.shift_remove("alternates");
        }
    }
}

fn lossy_list<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}
