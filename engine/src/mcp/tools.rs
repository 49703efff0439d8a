//! The tools: names, descriptions for agents, arguments.

use std::sync::{Arc, LazyLock};

use rmcp::handler::server::common::schema_for_type;
use rmcp::model::{Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// Arguments of `search`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchArgs {
    /// What to look for: a question, key words, or an identifier. Filters may stand among the words: `lang:rust`,
    /// `path:src/**`, `!path:tests/`, `kind:function`, `sym:Client::retry`.
    pub(super) query: String,
    /// Only this project (see list_projects); left out: all of them.
    #[serde(default)]
    pub(super) project: Option<String>,
    /// Only this repository: a name, or a glob such as `acme/*`; `!NAME` leaves it out.
    #[serde(default)]
    pub(super) repository: Option<String>,
    /// Only these languages, such as `rust` or `markdown`; `!LANGUAGE` leaves one out.
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) languages: Vec<String>,
    /// Only files that one of these globs matches, such as `src/**` or `*.md`; `!GLOB` leaves files out.
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) paths: Vec<String>,
    /// Maximum number of matches, 1 to 50; 10 if left out.
    #[serde(default)]
    pub(super) limit: Option<usize>,
    /// How many of the best matches to leave out: the `offset` that the answer before named.
    #[serde(default)]
    pub(super) offset: Option<usize>,
    /// `hybrid` (words and meaning, the default), `keyword` (words alone) or `semantic` (meaning alone).
    #[serde(default)]
    pub(super) mode: Option<SearchMode>,
    /// Size of the answer in tokens, 200 to 50000; 8000 if left out.
    #[serde(default)]
    pub(super) max_tokens: Option<usize>,
}

/// What a search ranks by.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SearchMode {
    Hybrid,
    Keyword,
    Semantic,
}

/// Arguments of `read`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadArgs {
    /// The repository, as search and list_projects name it, such as `acme/api`.
    pub(super) repository: String,
    /// The path of the file from the root of its repository.
    pub(super) path: String,
    /// First line; 1 if left out.
    #[serde(default)]
    pub(super) start: Option<u64>,
    /// Last line; the end of the file if left out.
    #[serde(default)]
    pub(super) end: Option<u64>,
    /// Only needed if several projects index the repository differently.
    #[serde(default)]
    pub(super) project: Option<String>,
    /// Size of the answer in tokens, 200 to 50000; 8000 if left out.
    #[serde(default)]
    pub(super) max_tokens: Option<usize>,
}

/// Arguments of `grep`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrepArgs {
    /// A regular expression in Rust's syntax (no look-around, no back-references). `^` and `$` match at lines.
    pub(super) pattern: String,
    /// Only this project (see list_projects); left out: all of them.
    #[serde(default)]
    pub(super) project: Option<String>,
    /// Only this repository: a name, or a glob such as `acme/*`; `!NAME` leaves it out.
    #[serde(default)]
    pub(super) repository: Option<String>,
    /// Only files that one of these globs matches, such as `src/**` or `*.md`; `!GLOB` leaves files out.
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) paths: Vec<String>,
    /// Whether case is ignored.
    #[serde(default)]
    pub(super) ignore_case: bool,
    /// How many of the first lines to leave out: the `offset` that the answer before named.
    #[serde(default)]
    pub(super) offset: Option<usize>,
    /// Size of the answer in tokens, 200 to 50000; 8000 if left out.
    #[serde(default)]
    pub(super) max_tokens: Option<usize>,
}

/// Arguments of `list_projects`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListArgs {}

/// Arguments of `status`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusArgs {
    /// The project (see list_projects).
    pub(super) project: String,
}

/// Arguments of `explain`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainArgs {
    /// The repository, such as `acme/api`.
    pub(super) repository: String,
    /// The path of the file from the root of its repository.
    pub(super) path: String,
    /// Only this project; left out: all of them.
    #[serde(default)]
    pub(super) project: Option<String>,
}

/// A list; agents also give a single text.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum Given {
        None,
        One(String),
        Many(Vec<String>),
    }
    Ok(match Given::deserialize(deserializer)? {
        Given::None => Vec::new(),
        Given::One(one) => vec![one],
        Given::Many(many) => many,
    })
}

/// All tools.
pub(super) static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    vec![
        tool::<SearchArgs>(
            "search",
            "Search code and documents",
            "Search the indexed repositories by meaning and by words, and get the passages that answer best, each with \
             repository, path and lines, permalink, the commit that was indexed and how many commits it is behind. \
             Start here for a question about code or documents. For every occurrence of an exact text use grep.",
        ),
        tool::<ReadArgs>(
            "read",
            "Read a file",
            "Read an indexed file, or lines of it, at the commit that was indexed. The text is the cleaned text of the \
             index: line numbers are those of the file. Nothing newer than that commit is seen.",
        ),
        tool::<GrepArgs>(
            "grep",
            "Find a regular expression",
            "Find the lines of indexed files that match a regular expression, such as every use of an identifier. At \
             most 200 lines and 2 seconds a call; the answer says so when there may be more. Narrow it by repository or \
             paths.",
        ),
        tool::<ListArgs>(
            "list_projects",
            "List projects",
            "List the projects that can be searched, with their repositories, their size and how current they are.",
        ),
        tool::<StatusArgs>(
            "status",
            "Show how current a project is",
            "Show for each repository of a project the indexed commit, the last seen head, how many commits it is behind, \
             and what failed.",
        ),
        tool::<ExplainArgs>(
            "explain",
            "Explain why a file is indexed or not",
            "Explain why a file is in the index or not: its state, commit, chunker and last error. Use it when search \
             or read does not find a file that should exist.",
        ),
    ]
});

fn tool<A: JsonSchema + 'static>(name: &'static str, title: &str, description: &'static str) -> Tool {
    let mut schema = (*schema_for_type::<A>()).clone();
    // What it says is said by the tool.
    schema.remove("title");
    schema.remove("description");
    schema.entry("properties").or_insert_with(|| serde_json::json!({}));
    let annotations = ToolAnnotations::with_title(title)
        .read_only(true)
        .destructive(false)
        .idempotent(true)
        .open_world(false);
    Tool::new(name, description, Arc::new(schema)).with_title(title).with_annotations(annotations)
}
