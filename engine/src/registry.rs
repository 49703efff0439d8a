//! The kinds of stages: the only place that names them all. A new kind is a folder below its
//! role's, a line in its role's `mod.rs`, and a line here.

use std::path::Path;
use std::sync::Arc;

use crate::chunk::ChunkerConfig;
use crate::embed::EmbedderConfig;
use crate::notify::NotifierConfig;
use crate::settings::{Checker, Problem, Shape, Table};
use crate::source::{SourceConfig, Webhook};
use crate::stage::{AnyStageConfig, Role, StageConfig};
use crate::store::StoreConfig;

/// All kinds, by role.
pub(crate) static KINDS: &[Kind] = &[
    Kind::source::<crate::source::github::GithubSettings>(),
    Kind::source::<crate::source::git::GitSettings>(),
    Kind::source::<crate::source::git_remote::GitRemoteSettings>(),
    Kind::chunker::<crate::chunk::sentence::SentenceSettings>(),
    Kind::chunker::<crate::chunk::markdown::MarkdownSettings>(),
    Kind::chunker::<crate::chunk::code::CodeSettings>(),
    Kind::chunker::<crate::chunk::pattern::PatternSettings>(),
    Kind::chunker::<crate::chunk::component::WasmSettings>(),
    Kind::embedder::<crate::embed::azure::AzureSettings>(),
    Kind::embedder::<crate::embed::openai::OpenAiSettings>(),
    Kind::embedder::<crate::embed::local::LocalSettings>(),
    Kind::store::<crate::store::pinecone::PineconeSettings>(),
    Kind::store::<crate::store::sqlite::SqliteSettings>(),
    Kind::store::<crate::store::pgvector::PgvectorSettings>(),
    Kind::notifier::<crate::notify::slack::SlackSettings>(),
    Kind::notifier::<crate::notify::webhook::WebhookSettings>(),
];

/// A kind of stage.
pub(crate) struct Kind {
    /// `kind = "…"`
    pub(crate) name: &'static str,
    /// Its role in a pipeline.
    pub(crate) role: Role,
    /// The schema of its settings.
    pub(crate) shape: fn() -> Shape,
    /// Reads and checks the settings in a table without `kind`.
    read: Read,
    /// How its host delivers webhooks.
    webhook: fn() -> Option<&'static dyn Webhook>,
}

type Read = fn(&mut Table<'_>, &Path, &mut Vec<Problem>) -> Option<StageSettings>;

impl Kind {
    const fn source<T: StageConfig + SourceConfig>() -> Self {
        let kind = Self::of::<T>(Role::Source, |table, folder, problems| {
            read::<T>(table, folder, problems).map(|settings| StageSettings::Source(Arc::new(settings)))
        });
        Self { webhook: T::webhook, ..kind }
    }

    const fn chunker<T: StageConfig + ChunkerConfig>() -> Self {
        Self::of::<T>(Role::Chunker, |table, folder, problems| {
            read::<T>(table, folder, problems).map(|settings| StageSettings::Chunker(Arc::new(settings)))
        })
    }

    const fn embedder<T: StageConfig + EmbedderConfig>() -> Self {
        Self::of::<T>(Role::Embedder, |table, folder, problems| {
            read::<T>(table, folder, problems).map(|settings| StageSettings::Embedder(Arc::new(settings)))
        })
    }

    const fn store<T: StageConfig + StoreConfig>() -> Self {
        Self::of::<T>(Role::Store, |table, folder, problems| {
            read::<T>(table, folder, problems).map(|settings| StageSettings::Store(Arc::new(settings)))
        })
    }

    const fn notifier<T: StageConfig + NotifierConfig>() -> Self {
        Self::of::<T>(Role::Notifier, |table, folder, problems| {
            read::<T>(table, folder, problems).map(|settings| StageSettings::Notifier(Arc::new(settings)))
        })
    }

    const fn of<T: StageConfig>(role: Role, read: Read) -> Self {
        Self { name: T::KIND, role, shape: Shape::of::<T>, read, webhook: || None }
    }

    /// Reads and checks the settings in a table without `kind`; `folder` is that of the file.
    pub(crate) fn read(
        &self,
        table: &mut Table<'_>,
        folder: &Path,
        problems: &mut Vec<Problem>,
    ) -> Option<StageSettings> {
        (self.read)(table, folder, problems)
    }
}

/// The kinds of sources whose hosts deliver webhooks, by the value of `kind`.
pub fn webhooks() -> impl Iterator<Item = (&'static str, &'static dyn Webhook)> {
    KINDS.iter().filter_map(|kind| Some((kind.name, (kind.webhook)()?)))
}

fn read<T: StageConfig>(table: &mut Table<'_>, folder: &Path, problems: &mut Vec<Problem>) -> Option<T> {
    let mut settings: T = table.read(&Shape::of::<T>(), problems)?;
    settings.check(&mut Checker::new(table, folder, problems));
    Some(settings)
}

/// The settings of a stage of any kind, by role.
#[derive(Debug, Clone)]
pub enum StageSettings {
    /// Of a source.
    Source(Arc<dyn SourceConfig>),
    /// Of a chunker.
    Chunker(Arc<dyn ChunkerConfig>),
    /// Of an embedder.
    Embedder(Arc<dyn EmbedderConfig>),
    /// Of a store.
    Store(Arc<dyn StoreConfig>),
    /// Of a notifier.
    Notifier(Arc<dyn NotifierConfig>),
}

impl StageSettings {
    /// What all settings have.
    pub fn any(&self) -> &dyn AnyStageConfig {
        match self {
            Self::Source(settings) => &**settings,
            Self::Chunker(settings) => &**settings,
            Self::Embedder(settings) => &**settings,
            Self::Store(settings) => &**settings,
            Self::Notifier(settings) => &**settings,
        }
    }

    /// The value of `kind`.
    pub fn kind(&self) -> &'static str {
        self.any().kind()
    }

    /// The role of the stage in a pipeline.
    pub fn role(&self) -> Role {
        match self {
            Self::Source(_) => Role::Source,
            Self::Chunker(_) => Role::Chunker,
            Self::Embedder(_) => Role::Embedder,
            Self::Store(_) => Role::Store,
            Self::Notifier(_) => Role::Notifier,
        }
    }

    /// The settings of a source.
    pub fn source(&self) -> Option<&dyn SourceConfig> {
        if let Self::Source(settings) = self { Some(&**settings) } else { None }
    }

    /// The settings of a chunker.
    pub fn chunker(&self) -> Option<&dyn ChunkerConfig> {
        if let Self::Chunker(settings) = self { Some(&**settings) } else { None }
    }

    /// The settings of an embedder.
    pub fn embedder(&self) -> Option<&dyn EmbedderConfig> {
        if let Self::Embedder(settings) = self { Some(&**settings) } else { None }
    }

    /// The settings of a store.
    pub fn store(&self) -> Option<&dyn StoreConfig> {
        if let Self::Store(settings) = self { Some(&**settings) } else { None }
    }

    /// The settings of a notifier.
    pub fn notifier(&self) -> Option<&dyn NotifierConfig> {
        if let Self::Notifier(settings) = self { Some(&**settings) } else { None }
    }
}

/// Two stages are equal if kind and settings are.
impl PartialEq for StageSettings {
    fn eq(&self, other: &Self) -> bool {
        self.any().is_equal(other.any())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::looks_secret;

    #[test]
    fn names_are_unique_and_roles_in_order() {
        let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
        assert!(KINDS.iter().map(|kind| kind.role).is_sorted());
    }

    /// Snippets of the file are masked by the names of keys, since it may not even parse.
    #[test]
    fn every_secret_is_masked_by_its_keys_name() {
        for kind in KINDS {
            for key in (kind.shape)().secret_keys() {
                assert!(looks_secret(key), "{}: add `{key}` to `settings/mask.rs`", kind.name);
            }
        }
    }
}
