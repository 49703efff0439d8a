//! The kinds of stages: name, role in a pipeline, and how the settings are read.

use super::StageKind;
use super::problem::Problem;
use super::shape::Shape;
use super::table::Table;
use crate::chunk::{CodeSettings, MarkdownSettings, SentenceSettings, WasmSettings};
use crate::embed::{AzureSettings, LocalSettings, OpenAiSettings};
use crate::notify::{SlackSettings, WebhookSettings};
use crate::source::{GitSettings, GithubSettings};
use crate::store::{PineconeSettings, SqliteSettings};

/// The role of a stage in a pipeline, in the order in which pipelines list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Lists and fetches files.
    Source,
    /// Splits files into chunks.
    Chunker,
    /// Embeds chunks.
    Embedder,
    /// Stores vectors.
    Store,
    /// Sends notifications about runs.
    Notifier,
}

impl Role {
    /// Every role.
    pub const ALL: &[Self] = &[Self::Source, Self::Chunker, Self::Embedder, Self::Store, Self::Notifier];

    /// The role's name with its article.
    pub(super) fn one(self) -> &'static str {
        match self {
            Self::Source => "a source",
            Self::Chunker => "a chunker",
            Self::Embedder => "an embedder",
            Self::Store => "a store",
            Self::Notifier => "a notifier",
        }
    }
}

/// A kind of stage.
pub(super) struct Kind {
    /// `kind = "…"`
    pub(super) name: &'static str,
    pub(super) role: Role,
    /// The schema of its settings.
    pub(super) shape: fn() -> Shape,
    /// Reads the settings from a table without `kind`.
    pub(super) read: fn(&mut Table<'_>, &Shape, &mut Vec<Problem>) -> Option<StageKind>,
}

macro_rules! kinds {
    ($($name:literal $role:ident $variant:ident($settings:ty);)*) => {
        /// All kinds, by role.
        pub(super) const KINDS: &[Kind] = &[$(Kind {
            name: $name,
            role: Role::$role,
            shape: Shape::of::<$settings>,
            read: |table, shape, problems| table.read::<$settings>(shape, problems).map(StageKind::$variant),
        }),*];

        impl StageKind {
            /// The kind's name, as in `kind = "…"`.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            /// The role of the kind in a pipeline.
            pub fn role(&self) -> Role {
                match self { $(Self::$variant(_) => Role::$role),* }
            }
        }
    };
}

kinds! {
    "github" Source Github(GithubSettings);
    "git" Source Git(GitSettings);
    "sentence" Chunker Sentence(SentenceSettings);
    "markdown" Chunker Markdown(MarkdownSettings);
    "code" Chunker Code(CodeSettings);
    "wasm" Chunker Wasm(WasmSettings);
    "azure-openai" Embedder AzureOpenAi(AzureSettings);
    "openai" Embedder OpenAi(OpenAiSettings);
    "local" Embedder Local(LocalSettings);
    "pinecone" Store Pinecone(PineconeSettings);
    "sqlite" Store Sqlite(SqliteSettings);
    "slack" Notifier Slack(SlackSettings);
    "webhook" Notifier Webhook(WebhookSettings);
}
