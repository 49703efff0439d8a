//! State: what the program believes is stored, file by file, chunk by chunk, and the vectors that it has paid
//! for. Nothing else says that a file is done, and it is written last.

mod file;
mod ids;
mod project;
mod repository;
mod run;
pub mod sqlite;
mod vector_cache;

pub use file::{AdoptedRecord, FileIds, FileRow, FileStatus, KnownFile, StoredChunk};
pub use ids::Leftover;
pub(crate) use ids::{FileKey, HeldIds};
pub use project::{OrphanProject, ProjectRow};
pub use repository::{RepositoryRow, RepositorySync, SelectedRepository, Uncounted};
pub use run::{NewRun, RunQuery, RunRow};
pub(crate) use sqlite::rewrite;
pub use sqlite::{Moment, ProjectKey, RunLock, SqliteState, SqliteVectorCache};
pub use vector_cache::CacheKey;
