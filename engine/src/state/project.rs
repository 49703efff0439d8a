//! Projects, as the state records them.

/// A project as declared in `reposync.toml`, for the `projects` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRow {
    /// Its name.
    pub name: String,
    /// The organisation or user.
    pub organization: Option<String>,
    /// The keyword.
    pub filter_keyword: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The extensions; none: every text file.
    pub allowed_extensions: Option<Vec<String>>,
    /// The exclusions.
    pub exclude_patterns: Vec<String>,
}

/// A project of the ledger that the file does not know any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanProject {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Vectors that the index holds for it.
    pub vectors: u64,
}
