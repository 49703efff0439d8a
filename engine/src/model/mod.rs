//! The data that modules exchange: plain values without I/O that do not depend on any stage.

mod access;
mod allowance;
mod chunk;
mod document;
mod endpoint;
mod error;
mod event;
mod explain;
mod freshness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod git;
mod hash;
mod host;
mod masking;
mod path_matcher;
mod project_state;
mod push;
mod record;
mod report;
mod secret;
mod secrets_mode;
mod skip;
mod status;
mod units;
mod verify;
mod worker_settings;

pub use access::{Access, ApiScope};
pub use allowance::{Allowances, Borrow, Draw, Lacking, Loan, Pause, Places, Rate, Recorded};
pub use chunk::{AttrValue, Attrs, Body, Chunk, Derived};
pub use document::{Cleaned, Document, LineMap};
pub use endpoint::{is_loopback, parse_endpoint};
pub use error::{ErrorKind, StageError, StageResult};
pub use event::{Event, EventSink, Phase, ServiceKind};
pub use explain::{Explanation, FileFacts, ProjectExplanation};
pub use freshness::Freshness;
pub use git::{BranchRef, EntryMode, GitSha, RepoEntry, RepoRef, StoredAnswer, TreeEntry};
pub(crate) use hash::FingerprintHasher;
pub use hash::{ChunkIds, Fingerprint, file_prefix};
pub use host::host_name;
pub use masking::{SHORTEST_SECRET, mask_secrets, register_issued_token, register_secrets};
pub use path_matcher::{BadPattern, PathMatcher};
pub use project_state::ProjectState;
pub use push::{Push, PushSubject};
pub use record::{Field, Match, Metadata, Place, Record, Vector};
pub use report::{
    Counts, Failure, GuardKind, Outcome, ProjectReport, Report, SearchQuality, SkipCount, Withheld,
};
pub use secret::Secret;
pub use secrets_mode::SecretsMode;
pub use skip::SkipReason;
pub use status::{
    DeclaredProject, LastRun, MOST_COMMITS, OrphanPlace, ProjectStatus, RepositoryState, RepositoryStatus,
    Running, StatusView, Target, TargetState, Wait,
};
pub use units::{ByteSize, HumanDuration};
pub use verify::{ProjectVerify, VerifyReport};
pub use worker_settings::WorkerSettings;
