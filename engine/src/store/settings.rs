//! What the store stages can be told.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::Secret;

/// `kind = "pinecone"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PineconeSettings {
    /// The index's name.
    pub index: String,
    /// The API key.
    pub api_key: Secret,
    /// The control plane.
    #[serde(default = "default_api_url")]
    pub api_url: String,
    /// The index's data plane; left out: as the control plane reports it.
    #[serde(default)]
    pub host: Option<String>,
    /// How to create the index when it is missing; left out: a missing index is an error.
    #[serde(default)]
    pub create: Option<CreateIndex>,
    /// The API version that requests name.
    #[serde(default = "default_api_version")]
    pub api_version: String,
}

/// A serverless index to create.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateIndex {
    /// `aws`, `gcp` or `azure`.
    pub cloud: String,
    /// The cloud's region, such as `us-east-1`.
    pub region: String,
    /// `cosine` (default), `dotproduct` or `euclidean`.
    #[serde(default = "default_metric")]
    pub metric: Metric,
}

/// How vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// By angle.
    Cosine,
    /// By inner product.
    Dotproduct,
    /// By distance.
    Euclidean,
}

/// `kind = "sqlite"`: embedded.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteSettings {
    /// The database file, relative to `reposync.toml`.
    pub path: PathBuf,
    /// How much the ranking by vectors counts in a query; 0: words alone.
    pub vector_weight: f64,
    /// How much the ranking by words counts in a query; 0: vectors alone.
    pub text_weight: f64,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { path: ".reposync/index.db".into(), vector_weight: 1.0, text_weight: 1.0 }
    }
}

fn default_api_url() -> String {
    "https://api.pinecone.io".into()
}

/// The newest version whose full specification was checked against.
fn default_api_version() -> String {
    "2026-04".into()
}

fn default_metric() -> Metric {
    Metric::Cosine
}
