//! What the dispatcher and the task that talks to the state say to each other.

use std::sync::Arc;
use std::time::Duration;

use super::super::message::Request;
use super::shown::Shown;
use crate::model::StageError;
use crate::state::{Generation, Standing};

/// How often the state is read without a notification.
pub(super) const POLL: Duration = Duration::from_secs(2);
/// How long a request may take to be answered. A successor takes over within this time.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a daemon learns from the others.
pub(in super::super) enum News {
    /// It is the dispatcher now. The one before it has shown this.
    Leads(Option<Shown>),
    /// It is not. The dispatcher, or the last one, shows this.
    Follows {
        shown: Option<Shown>,
        /// Its own file is older than that of this generation, so it does not become the dispatcher.
        older_than: Option<i64>,
    },
    /// A newer program has changed the tables of the state: this daemon must end.
    Outdated(StageError),
    /// Another daemon has a request.
    Asked(i64, Request),
}

/// What the dispatcher shows, and how many times it has changed.
#[derive(Clone, Default)]
pub(super) struct Version(pub(super) u64, pub(super) Arc<Shown>);

/// The configuration that a daemon would work with as the dispatcher.
#[derive(Clone)]
pub(super) struct Adoption {
    /// Counts the configurations of this process.
    pub(super) number: u64,
    /// `None`: it cannot be handed to workers, as a component cannot be read.
    pub(super) generation: Option<Arc<Generation>>,
    /// How often somebody saved the file or asked for a reload: after that it counts even if a newer one was adopted
    /// before.
    pub(super) insisted: u64,
}

/// A configuration that the dispatcher has adopted.
#[derive(Clone, Copy)]
pub(super) struct Adopted {
    /// Counts the configurations of this process.
    pub(super) number: u64,
    pub(super) standing: Standing,
}
