//! Settings of the source stages.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::Secret;

/// `kind = "github"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GithubSettings {
    /// A personal token (classic or fine-grained). Optional for public repositories.
    pub token: Option<Secret>,
    /// A GitHub App's id; goes with `installation_id` and `private_key`.
    pub app_id: Option<u64>,
    /// The App's installation.
    pub installation_id: Option<u64>,
    /// The App's private key, PEM (usually `"${file:…}"`).
    pub private_key: Option<Secret>,
    /// The API's base: `https://api.github.com`, or `https://HOST/api/v3` for Enterprise Server.
    pub api_url: String,
    /// Also take forks.
    pub forks: bool,
    /// Also take archived repositories.
    pub archived: bool,
}

impl Default for GithubSettings {
    fn default() -> Self {
        Self {
            token: None,
            app_id: None,
            installation_id: None,
            private_key: None,
            api_url: "https://api.github.com".into(),
            forks: true,
            archived: true,
        }
    }
}

/// `kind = "git"`: local repositories; the paths stand with the project.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GitSettings {
    /// Folders outside a repository, relative to this file, whose Git data it may use: object folders
    /// that it borrows from (`objects/info/alternates`), or that its `.git` leads to.
    pub alternates: Vec<PathBuf>,
}
