//! Settings of `kind = "pgvector"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Secret;
use crate::postgres::{PostgresUrl, Tls};
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};
use crate::store::ranking::check_weights;

use super::names::Names;

/// `kind = "pgvector"`: tables in a PostgreSQL database with the extension pgvector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgvectorSettings {
    /// The database: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub url: Secret,
    /// The table, `NAME` or `SCHEMA.NAME`; other tables have names that begin with it.
    pub table: String,
    /// `hnsw` (default) or `none`.
    #[serde(default)]
    pub index: Index,
    /// `verify-full` (default) or `disable`, which is only for loopback addresses and sockets.
    #[serde(default)]
    pub(crate) tls: Tls,
    /// Maximum number of connections.
    #[serde(default = "default_pool")]
    pub pool: usize,
    /// Weight of the terms by vectors in a query; 0: words alone.
    #[serde(default = "default_weight")]
    pub vector_weight: f64,
    /// Weight of the terms by words in a query; 0: vectors alone.
    #[serde(default = "default_weight")]
    pub text_weight: f64,
    /// Whether tests and files of low value (vendored, generated, changelogs, …) score less.
    #[serde(default = "default_penalties")]
    pub penalties: bool,
}

/// How the nearest vectors are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Index {
    /// By a graph, approximately.
    #[default]
    Hnsw,
    /// By comparing all vectors, exactly.
    None,
}

impl PgvectorSettings {
    /// The database's address. The error does not contain the password.
    pub(super) fn address(&self) -> Result<PostgresUrl, String> {
        PostgresUrl::parse(self.url.expose(), self.tls)
    }
}

impl StageConfig for PgvectorSettings {
    const KIND: &'static str = "pgvector";

    edit_costs! {
        index: table;
        limits: index, tls, pool, vector_weight, text_weight, penalties;
        credentials: url;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.secret("url", Some(&self.url));
        if !self.url.expose().trim().is_empty()
            && let Err(why) = self.address()
        {
            check.flag("url", why, "write it like \"postgres://USER:${PASSWORD}@HOST/DATABASE\"");
        }
        if Names::parse(&self.table).is_none() {
            let hint = "`NAME` or `SCHEMA.NAME`, each of 1 to 40 lower-case letters, digits and `_`, not beginning \
                        with a digit";
            check.flag("table", "not a name of a table", hint);
        }
        check.positive("pool", &self.pool);
        check_weights(check, self.vector_weight, self.text_weight);
    }
}

fn default_pool() -> usize {
    8
}

fn default_weight() -> f64 {
    1.0
}

fn default_penalties() -> bool {
    true
}
