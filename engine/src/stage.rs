//! What a kind of stage declares. A kind is a folder below its role's (`source/github`,
//! `store/sqlite`, …); its settings implement [`StageConfig`] and the trait of its role, such as
//! `SourceConfig`, which builds the stage. `registry.rs` lists all kinds.

use std::any::Any;
use std::fmt;
use std::ops::BitOrAssign;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::blocking::Runtime;
use crate::model::{Allowances, EventSink};
use crate::net::Timeouts;
use crate::settings::Checker;

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
    pub fn one(self) -> &'static str {
        match self {
            Self::Source => "a source",
            Self::Chunker => "a chunker",
            Self::Embedder => "an embedder",
            Self::Store => "a store",
            Self::Notifier => "a notifier",
        }
    }
}

/// The settings of a stage, as the table of the file has them.
///
/// The keys, their types, defaults and documentation are those of the struct: `Deserialize` reads
/// them, `JsonSchema` names them for the check of keys and for editors, `Serialize` shows them.
/// [`Secret`](crate::model::Secret) marks a secret.
pub trait StageConfig:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// The value of `kind`.
    const KIND: &'static str;

    /// Checks the values beyond their types, and makes paths absolute.
    fn check(&mut self, check: &mut Checker<'_>);

    /// Checks that the files that the stage needs exist. Called for stages in use.
    fn check_files(&self, check: &mut Checker<'_>) {
        let _ = check;
    }

    /// Adjusts what is shown, such as by removing keys that the other keys make ineffective.
    fn adjust_shown(&self, shown: &mut Map<String, Value>) {
        let _ = shown;
    }

    /// What differs between these settings and those after an edit. Written by
    /// [`edit_costs!`](crate::stage::edit_costs).
    fn edits(&self, after: &Self) -> Edits;

    /// True if some key is a credential. Written by [`edit_costs!`](crate::stage::edit_costs).
    fn has_credentials() -> bool;
}

/// What an edit of a stage's settings costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Edits {
    /// Keys differ that the index depends on: the projects are planned and run again.
    pub index: bool,
    /// Rates, sizes of batches, prices, bounds differ: they apply from now on.
    pub limits: bool,
    /// Keys, tokens or account ids differ: the projects are run again, since others may see more
    /// repositories or another index.
    pub credentials: bool,
}

impl BitOrAssign for Edits {
    fn bitor_assign(&mut self, other: Self) {
        self.index |= other.index;
        self.limits |= other.limits;
        self.credentials |= other.credentials;
    }
}

/// Declares for each key of a stage what an edit of it costs, inside its [`StageConfig`]. A key
/// without a declaration does not compile.
macro_rules! edit_costs {
    ($($cost:ident: $($key:ident),+;)*) => {
        fn edits(&self, after: &Self) -> $crate::stage::Edits {
            let Self { $($($key: _,)+)* } = self;
            let mut edits = $crate::stage::Edits::default();
            $($(edits.$cost |= PartialEq::ne(&self.$key, &after.$key);)+)*
            edits
        }

        fn has_credentials() -> bool {
            [$(stringify!($cost)),*].contains(&"credentials")
        }
    };
}
pub(crate) use edit_costs;

/// The settings of a stage of any kind. Implemented for every [`StageConfig`].
pub trait AnyStageConfig: fmt::Debug + Send + Sync {
    /// The value of `kind`.
    fn kind(&self) -> &'static str;

    /// For comparisons of settings of the same kind.
    fn as_any(&self) -> &dyn Any;

    /// True if kind and settings are the same.
    fn is_equal(&self, other: &dyn AnyStageConfig) -> bool;

    /// What differs from the settings after an edit. Another kind differs in all that it has.
    fn edits_to(&self, after: &dyn AnyStageConfig) -> Edits;

    /// True if some key is a credential.
    fn any_credentials(&self) -> bool;

    /// The settings for display, in the order of the documentation. Secrets are masked.
    fn shown(&self) -> Map<String, Value>;

    /// See [`StageConfig::check_files`].
    fn files_exist(&self, check: &mut Checker<'_>);
}

impl<T: StageConfig> AnyStageConfig for T {
    fn kind(&self) -> &'static str {
        T::KIND
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_equal(&self, other: &dyn AnyStageConfig) -> bool {
        other.as_any().downcast_ref::<T>().is_some_and(|other| self == other)
    }

    fn edits_to(&self, after: &dyn AnyStageConfig) -> Edits {
        match after.as_any().downcast_ref::<T>() {
            Some(after) => self.edits(after),
            None => Edits {
                index: true,
                credentials: T::has_credentials() || after.any_credentials(),
                limits: false,
            },
        }
    }

    fn any_credentials(&self) -> bool {
        T::has_credentials()
    }

    fn shown(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut shown)) = serde_json::to_value(self) else { return Map::new() };
        shown.retain(|_, value| !value.is_null());
        self.adjust_shown(&mut shown);
        shown
    }

    fn files_exist(&self, check: &mut Checker<'_>) {
        self.check_files(check);
    }
}

/// What every stage gets from the process that builds it.
#[derive(Clone)]
pub struct StageContext {
    /// The stage's name in the file.
    pub stage: String,
    /// Maximum number of concurrent calls to its service.
    pub calls: usize,
    /// Time-outs and retries of calls to its service.
    pub timeouts: Timeouts,
    /// Ends what is under way.
    pub cancel: CancellationToken,
    /// Takes events about calls and waits.
    pub events: EventSink,
    /// The limits of blocking work.
    pub runtime: Runtime,
    /// What services allow all processes together; `None`: this process counts for itself.
    pub allowances: Option<Arc<dyn Allowances>>,
}
