//! Asks a server: which references a repository has, and for packs of objects.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use super::address::{Address, Scheme};
use super::advertisement::{self, Advertisement, BadAnswer, Reference, Version};
use super::disk::cannot_write;
use super::request::{NoPack, PackReader, PackRequest};
use crate::model::{Allowances, ByteSize, ErrorKind, Fingerprint, StageError, StageResult};
use crate::net::{
    Accepted, CallError, CallFailure, Deadline, Oversize, Service, ServiceRequest, ServiceResponse,
    StreamedResponse, Timeouts, host_of, is_html, one_line, retry_after,
};
use crate::private;

/// Redirects that are followed, one after the other.
const MOST_REDIRECTS: usize = 3;
/// Characters of a server's words in a message.
const WORDS: usize = 300;
const PROTOCOL: HeaderName = HeaderName::from_static("git-protocol");

/// A repository on a server.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    /// What messages call it.
    pub(super) name: String,
    pub(super) address: Address,
}

/// The server of a stage.
#[derive(Debug)]
pub(super) struct Remote {
    service: Service,
    /// Credentials go to this server and to no other.
    base: Address,
    credentials: Option<HeaderValue>,
    /// Bytes of an answer that lists references.
    longest: usize,
    /// What each repository's server said first, without references, and the address that it is reached at.
    known: Mutex<HashMap<String, (Address, Advertisement)>>,
}

/// An answer to the first request.
enum First {
    Said(Advertisement),
    Moved(Address),
    Missing,
}

impl Remote {
    pub(super) fn new(
        service: Service,
        base: Address,
        credentials: Option<HeaderValue>,
        longest: u64,
    ) -> Self {
        let longest = usize::try_from(longest).unwrap_or(usize::MAX);
        Self { service, base, credentials, longest, known: Mutex::default() }
    }

    pub(super) fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { service: self.service.with_timeouts(timeouts), ..self }
    }

    /// Shares pauses that the server asks for with other processes that use the same credentials.
    pub(super) fn with_allowances(self, allowances: Option<&Arc<dyn Allowances>>) -> Self {
        let Some(credentials) = &self.credentials else { return self };
        let base = self.base.to_string();
        let key = Fingerprint::of([&b"git-remote"[..], base.as_bytes(), credentials.as_bytes()]);
        Self { service: self.service.sharing(allowances, key, None), ..self }
    }

    pub(super) fn with_longest(self, longest: u64) -> Self {
        Self { longest: usize::try_from(longest).unwrap_or(usize::MAX), ..self }
    }

    pub(super) fn stage(&self) -> &str {
        self.service.stage()
    }

    /// The references whose names begin with one of `prefixes`, and perhaps others; none where the
    /// repository is not there.
    pub(super) async fn references(
        &self,
        repository: &Repository,
        prefixes: &[String],
    ) -> StageResult<Option<Vec<Reference>>> {
        let Some((address, said)) = self.first(repository).await? else { return Ok(None) };
        if said.version == Version::Old {
            return Ok(Some(said.references));
        }
        let request = self.command(&address, &said, "ls-refs", advertisement::ls_refs(&said, prefixes));
        let classify = |response: ServiceResponse| async move {
            self.check_status(repository, response.status, &response.headers)?;
            let found = advertisement::references(&response.body);
            found.map(Accepted::new).map_err(|bad| self.bad_answer(repository, &response.headers, bad))
        };
        self.service.call(&request, classify).await.map(Some)
    }

    /// What the server can do; it is asked only where it has not been.
    pub(super) async fn abilities(&self, repository: &Repository) -> StageResult<Advertisement> {
        Ok(self.known(repository).await?.1)
    }

    /// Writes the pack with what is wanted to the file at `path`, of at most `most` bytes, and does `then` with
    /// it. Both are tried again together: that a pack is damaged shows when it is stored.
    pub(super) async fn fetch<Fut: Future<Output = StageResult<()>>>(
        &self,
        repository: &Repository,
        wanted: &PackRequest,
        path: &Path,
        most: ByteSize,
        then: impl Fn() -> Fut,
    ) -> StageResult<()> {
        let (address, said) = self.known(repository).await?;
        let mut request = self.command(&address, &said, "fetch", wanted.message(&said));
        request.deadline = Deadline::Idle;
        let receive = async |response: StreamedResponse<'_>| {
            self.receive(repository, wanted, said.version, response, path, most).await.map(Accepted::new)
        };
        self.service
            .retry(|| async {
                self.service.stream_once(&request, &receive).await?;
                then().await
            })
            .await
    }

    /// Asks what a server says first, and follows redirects on it.
    async fn first(&self, repository: &Repository) -> StageResult<Option<(Address, Advertisement)>> {
        let mut address = repository.address.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.request("ls-refs", Method::GET, &address, Address::service);
            if address.scheme() == Scheme::Http {
                request = request.header(PROTOCOL, HeaderValue::from_static("version=2"));
            }
            let at = &address;
            let classify =
                |response: ServiceResponse| async move { self.classify(repository, at, &response) };
            match self.service.call(&request, classify).await? {
                First::Said(said) => {
                    let known = (address.clone(), said.without_references());
                    self.lock().insert(repository.address.to_string(), known);
                    return Ok(Some((address, said)));
                }
                First::Moved(to) => address = to,
                First::Missing => return Ok(None),
            }
        }
        let message = format!("`{}` is redirected more than {MOST_REDIRECTS} times", repository.name);
        Err(StageError::refused(self.stage(), message).hint("write its present address into `repositories`"))
    }

    async fn known(&self, repository: &Repository) -> StageResult<(Address, Advertisement)> {
        let known = self.lock().get(&repository.address.to_string()).cloned();
        match known {
            Some(known) => Ok(known),
            None => match self.first(repository).await? {
                Some(known) => Ok(known),
                None => Err(missing(self.stage(), &repository.name)),
            },
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<String, (Address, Advertisement)>> {
        self.known.lock()
    }

    fn classify(
        &self,
        repository: &Repository,
        address: &Address,
        response: &ServiceResponse,
    ) -> Result<Accepted<First>, CallError> {
        match response.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Ok(Accepted::declined(CallFailure::Refused, First::Missing));
            }
            status if status.is_redirection() => {
                let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                let location = location.unwrap_or_default();
                return match address.redirected(location) {
                    Some(moved) => Ok(Accepted::new(First::Moved(moved))),
                    None => Err(self.elsewhere(repository, address, location)),
                };
            }
            _ => self.check_status(repository, response.status, &response.headers)?,
        }
        let said = Advertisement::parse(&response.body);
        let said = said.map_err(|bad| self.bad_answer(repository, &response.headers, bad))?;
        Ok(Accepted::new(First::Said(said)))
    }

    /// The error for a redirect that is not followed. Of its target only the host is shown.
    fn elsewhere(&self, repository: &Repository, address: &Address, location: &str) -> CallError {
        let target = address.service().join(location).ok();
        let target = match &target {
            Some(url) if url.host().is_some() => one_line(&host_of(url), WORDS),
            _ => "somewhere else".to_owned(),
        };
        let message = format!(
            "`{}` is redirected to {target}, which is not followed: credentials stay with their server",
            repository.name
        );
        let hint = "a login page means that the credentials are wrong or missing; a repository that has moved needs \
                    its new address, and another server a stage of its own";
        CallError::new(CallFailure::Refused, StageError::refused(self.stage(), message).hint(hint))
    }

    fn command(
        &self,
        address: &Address,
        said: &Advertisement,
        operation: &'static str,
        body: Vec<u8>,
    ) -> ServiceRequest {
        let mut request = self.request(operation, Method::POST, address, Address::upload_pack);
        request.body = Some(body.into());
        if address.scheme() == Scheme::Http {
            let kind = HeaderValue::from_static("application/x-git-upload-pack-request");
            request = request.header(CONTENT_TYPE, kind);
            if said.version == Version::Two {
                request = request.header(PROTOCOL, HeaderValue::from_static("version=2"));
            }
        }
        request
    }

    fn request(
        &self,
        operation: &'static str,
        method: Method,
        address: &Address,
        at: fn(&Address) -> Url,
    ) -> ServiceRequest {
        let url = match address.scheme() {
            Scheme::Http => at(address),
            Scheme::Ssh => address.url().clone(),
        };
        let mut request = ServiceRequest::new(operation, method, url);
        request.longest = self.longest;
        request.oversize = Oversize::Refuse;
        if address.scheme() == Scheme::Http {
            request = request.header(ACCEPT, HeaderValue::from_static("*/*"));
            if let Some(credentials) =
                self.credentials.clone().filter(|_| self.base.is_same_server(address.url()))
            {
                request = request.header(AUTHORIZATION, credentials);
            }
        }
        request
    }

    /// Writes the pack of an answer to a new file.
    async fn receive(
        &self,
        repository: &Repository,
        wanted: &PackRequest,
        version: Version,
        mut response: StreamedResponse<'_>,
        path: &Path,
        most: ByteSize,
    ) -> Result<(), CallError> {
        self.check_status(repository, response.status, &response.headers)?;
        let write = |error| cannot_write(self.stage(), path, error);
        let file = private::options().write(true).create(true).truncate(true).open(path).map_err(write)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut reader = PackReader::new(version);
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await? {
            let pieces = reader.read(&chunk);
            let pieces = pieces.map_err(|why| self.no_pack(repository, wanted, &response.headers, why))?;
            for piece in pieces {
                bytes += piece.len() as u64;
                if bytes > most.0 {
                    let message = format!(
                        "`{}` is refused: its pack has more than {most}, which is the room for all clones",
                        repository.name
                    );
                    let hint = format!(
                        "raise `clones` of the stage `{}`, or leave the repository out",
                        self.stage()
                    );
                    return Err(StageError::refused(self.stage(), message).hint(hint).into());
                }
                file.write_all(&piece).await.map_err(write)?;
            }
        }
        reader.end().map_err(|why| self.no_pack(repository, wanted, &response.headers, why))?;
        file.flush().await.map_err(write)?;
        Ok(())
    }

    fn no_pack(
        &self,
        repository: &Repository,
        wanted: &PackRequest,
        headers: &HeaderMap,
        why: NoPack,
    ) -> CallError {
        let stage = self.stage();
        match why {
            NoPack::Malformed => self.bad_answer(repository, headers, BadAnswer::Malformed),
            NoPack::Refused(words) if words.contains("not our ref") => {
                let message = format!(
                    "the server does not hand out the commit {} of `{}` any more: the branch was moved meanwhile",
                    wanted.commit, repository.name
                );
                let hint = "the next run takes the commit at which the branch is then";
                CallError::new(CallFailure::Refused, StageError::refused(stage, message).hint(hint))
            }
            NoPack::Refused(words) => self.bad_answer(repository, headers, BadAnswer::Refused(words)),
            NoPack::Failed(words) => {
                let message =
                    format!("the server failed to send `{}`: {}", repository.name, one_line(&words, WORDS));
                CallError::new(CallFailure::Server, StageError::transient(stage, message))
            }
        }
    }

    /// The error of a status other than success.
    fn check_status(
        &self,
        repository: &Repository,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), CallError> {
        let (stage, name, host) = (self.stage(), &repository.name, host_of(repository.address.url()));
        let refused = |message: String, hint: &str| {
            Err(CallError::new(CallFailure::Refused, StageError::refused(stage, message).hint(hint)))
        };
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::NON_AUTHORITATIVE_INFORMATION
                if self.credentials.is_some() =>
            {
                let message = format!("{host} does not accept the credentials of the stage ({status})");
                let hint = "check `username` and `password` or `token`: whether they have expired, and may read \
                            repositories over HTTPS";
                let error = StageError::misconfigured(stage, message).hint(hint);
                Err(CallError::new(CallFailure::Credentials, error))
            }
            StatusCode::UNAUTHORIZED | StatusCode::NON_AUTHORITATIVE_INFORMATION => refused(
                format!("`{name}` is not public, or not there: {host} asks for credentials"),
                "set `username` and `password` or `token` of the stage; check the repository's address",
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(CallError::new(CallFailure::Refused, missing(stage, name)))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(transient(stage, &host, status, headers))
            }
            StatusCode::FORBIDDEN if retry_after(headers).is_some() => {
                Err(transient(stage, &host, status, headers))
            }
            StatusCode::FORBIDDEN => refused(
                format!("{host} refuses to show `{name}` ({status})"),
                "check what the account may read, and whether the server lets Git in over HTTPS",
            ),
            status if status.is_server_error() => Err(transient(stage, &host, status, headers)),
            status => refused(
                format!("{host} refuses to show `{name}` ({status})"),
                "check `base_url` and the repository's address",
            ),
        }
    }

    fn bad_answer(&self, repository: &Repository, headers: &HeaderMap, bad: BadAnswer) -> CallError {
        let (stage, name, host) = (self.stage(), &repository.name, host_of(repository.address.url()));
        match bad {
            BadAnswer::Malformed if is_html(headers) => {
                let message =
                    format!("{host} answers for `{name}` with a web page instead of Git's protocol");
                let hint = "check `base_url` and the repository's address; a login page means that credentials are \
                            wrong or missing";
                CallError::new(CallFailure::InvalidAnswer, StageError::refused(stage, message).hint(hint))
            }
            BadAnswer::Malformed => {
                let message =
                    format!("{host} sent an answer for `{name}` that is not whole, or not Git's protocol");
                let hint = "check `base_url` and the repository's address";
                CallError::new(CallFailure::InvalidAnswer, StageError::transient(stage, message).hint(hint))
            }
            BadAnswer::Refused(words) => {
                let message = format!("{host} refuses `{name}`: {}", one_line(&words, WORDS));
                let hint = "check the repository's address, and what the account may read";
                CallError::new(CallFailure::Refused, StageError::refused(stage, message).hint(hint))
            }
            BadAnswer::Format(format) => {
                let message =
                    format!("`{name}` names its objects by {format}, which cannot be read; SHA-1 can");
                let hint = "make a copy by SHA-1: `git init --object-format=sha1 COPY`, then \
                            `git -C REPOSITORY fast-export --all | git -C COPY fast-import`";
                CallError::new(CallFailure::Refused, StageError::refused(stage, message).hint(hint))
            }
        }
    }
}

/// The error of a repository that is not there.
pub(super) fn missing(stage: &str, name: &str) -> StageError {
    StageError::refused(stage, format!("`{name}` is not there, or not visible to these credentials"))
        .hint("check its address and the permissions, or take it out of `repositories`")
}

fn transient(stage: &str, host: &str, status: StatusCode, headers: &HeaderMap) -> CallError {
    let failure = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN => CallFailure::RateLimit,
        _ => CallFailure::Server,
    };
    let kind = ErrorKind::Transient { retry_after: retry_after(headers) };
    CallError::new(failure, StageError::new(stage, kind, format!("{host} answered with {status}")))
}
