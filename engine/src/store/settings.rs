//! Settings of the store stages.

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
    /// Base URL of the control plane.
    #[serde(default = "default_api_url")]
    pub api_url: String,
    /// Host of the index's data plane; by default the control plane is asked for it.
    #[serde(default)]
    pub host: Option<String>,
    /// How to create the index if it is missing; without this a missing index is an error.
    #[serde(default)]
    pub create: Option<CreateIndex>,
    /// The API version sent with requests.
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
    /// Weight of the ranking by vectors in a query; 0: words alone.
    pub vector_weight: f64,
    /// Weight of the ranking by words in a query; 0: vectors alone.
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

/// The newest version whose full specification the client was checked against.
fn default_api_version() -> String {
    "2026-04".into()
}

fn default_metric() -> Metric {
    Metric::Cosine
}
