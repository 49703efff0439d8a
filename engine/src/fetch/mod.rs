//! Fetches components from web servers and registries into a cache of files that are named after their
//! digests. A file in the cache is used without a request.

mod call;
mod downloads;
mod oci;
mod web;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use self::call::Caller;
use self::downloads::Downloads;
use crate::chunk::component::Address;
use crate::config::Registries;
use crate::model::{EventSink, ServiceKind, StageError, StageResult};
use crate::net::{Limiter, Service, Timeouts, http_client};

/// Fetches components.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    downloads: Downloads,
    registries: Registries,
    timeouts: Timeouts,
}

/// A component in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Its file.
    pub(crate) file: PathBuf,
    /// SHA-256 of the file, in hex.
    pub(crate) sha256: String,
}

impl Fetcher {
    /// Fetches into `folder`, with these logins.
    pub(crate) fn new(folder: PathBuf, registries: Registries, timeouts: Timeouts) -> Self {
        Self { downloads: Downloads::new(folder), registries, timeouts }
    }

    /// The component with this digest, from the cache or else from its address. Without a digest: what the
    /// address names now. Blocks.
    pub(crate) fn get(&self, stage: &str, address: &str, sha256: Option<&str>) -> StageResult<Fetched> {
        if let Some(sha256) = sha256
            && let Some(file) = self.downloads.find(sha256)
        {
            return Ok(Fetched { file, sha256: sha256.to_owned() });
        }
        let parsed = Address::parse(address).map_err(|objection| {
            StageError::misconfigured(stage, format!("`{address}`: {}", objection.message))
                .hint(objection.hint)
        })?;
        if !self.registries.reachable {
            let message =
                format!("component `{address}` is not in the cache, and is not fetched without references");
            return Err(StageError::misconfigured(stage, message)
                .hint("run `reposync validate` without `--no-env` where the file is trusted"));
        }
        let begun = std::time::Instant::now();
        let bytes = block(stage, self.download(stage, &parsed, sha256))?;
        let found = hex::encode(Sha256::digest(&bytes));
        let seconds = begun.elapsed().as_secs_f64();
        tracing::info!(stage, address, bytes = bytes.len(), sha256 = found, seconds, "component fetched");
        if let Some(expected) = sha256
            && expected != found
        {
            let message =
                format!("component `{address}` has the sha256 {found}, and {expected} was expected");
            return Err(StageError::misconfigured(stage, message).hint(
                "somebody replaced it: if you trust the new one, set `sha256` to its digest (`reposync plugin update`)",
            ));
        }
        let file = self.downloads.keep(&found, &bytes).map_err(|error| {
            let folder = self.downloads.folder().display();
            StageError::local(stage, format!("cannot write the fetched component to `{folder}`"))
                .caused_by(error)
                .hint("give this user write permission, or set `[engine].compiled_cache`")
        })?;
        Ok(Fetched { file, sha256: found })
    }

    async fn download(
        &self,
        stage: &str,
        address: &Address,
        sha256: Option<&str>,
    ) -> StageResult<bytes::Bytes> {
        let (limiter, cancel) = (Limiter::new(1, None, None), CancellationToken::new());
        let transport = Arc::new(http_client(stage)?);
        let service = Service::new(ServiceKind::Source, stage, transport, limiter, cancel, EventSink::none());
        let caller = Caller::new(service.with_timeouts(self.timeouts.clone()));
        match address {
            Address::Web(url) => web::download(&caller, url).await,
            Address::Artifact(artifact) => {
                let login = self.registries.of(&artifact.host);
                oci::download(&caller, artifact, login, sha256).await
            }
        }
    }
}

/// Runs a future to its end, on a separate thread with its own runtime: callers may be on threads of another
/// runtime.
fn block<T: Send>(stage: &str, work: impl Future<Output = StageResult<T>> + Send) -> StageResult<T> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            StageError::local(stage, "cannot start a thread for the download").caused_by(error)
        })?;
        runtime.block_on(work)
    };
    std::thread::scope(|scope| {
        let worker = scope.spawn(run);
        worker.join().unwrap_or_else(|_| {
            Err(StageError::new(stage, crate::model::ErrorKind::Bug, "the download panicked"))
        })
    })
}
