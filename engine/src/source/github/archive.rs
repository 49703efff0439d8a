//! Many contents at once: one archive, streamed. What it leaves out or alters (`export-ignore`,
//! `export-subst`) is left for the blobs.

use std::collections::HashMap;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use flate2::read::GzDecoder;
use http::StatusCode;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use url::Url;

use super::client::{Ask, Client};
use super::{FEW_FILES, encode_name};
use crate::model::{ErrorKind, GitSha, StageError, StageResult, TreeEntry};
use crate::net;
use crate::source::ContentSink;
use crate::source::verify::check_blob;

/// Pieces of the archive, and contents from it, on their way.
const IN_FLIGHT: usize = 16;
/// Redirects from one archive host to another.
const MOST_REDIRECTS: usize = 3;

/// What is still to be had, and where it goes.
struct Pending<'a> {
    wanted: HashMap<String, TreeEntry>,
    sink: &'a mut dyn ContentSink,
}

/// Takes what it can from the commit's archive and gives back the rest. An archive that breaks
/// off is asked for again for what is missing, unless that is few.
pub(super) async fn fetch(
    client: &Client,
    repo: &str,
    commit: GitSha,
    wanted: Vec<TreeEntry>,
    sink: &mut dyn ContentSink,
) -> StageResult<Vec<TreeEntry>> {
    // Two entries of one path cannot be told apart in an archive; they are lossy names.
    let mut rest = Vec::new();
    let mut by_path = HashMap::with_capacity(wanted.len());
    for entry in wanted {
        if let Some(same) = by_path.insert(entry.path.clone(), entry) {
            rest.push(same);
        }
    }
    let pending = Mutex::new(Pending { wanted: by_path, sink });
    net::retry(&client.patience.retry, &client.cancel, &client.events, || async {
        let mut pending = pending.lock().await;
        if pending.wanted.len() <= FEW_FILES {
            return Ok(());
        }
        match download(client, repo, commit).await? {
            Some(response) => unpack(client, response, &mut pending).await,
            None => Ok(()),
        }
    })
    .await?;
    rest.extend(pending.into_inner().wanted.into_values());
    Ok(rest)
}

/// Asks for the archive and follows the redirect by hand, with nothing of ours but the address.
/// None: there is no archive to be had.
async fn download(client: &Client, repo: &str, commit: GitSha) -> StageResult<Option<reqwest::Response>> {
    let path = format!("/repos/{}/tarball/{commit}", encode_name(repo));
    let location = client
        .ask(Ask::json("archive", &path), |answer| Ok(answer.header("location").map(str::to_owned)))
        .await?;
    let Some(location) = location else { return Ok(None) };
    let mut url = archive_url(client, &client.base, &location)?;
    for _ in 0..=MOST_REDIRECTS {
        let host = url.host_str().unwrap_or_default().to_owned();
        let lost = |error| net::describe_transport_error(&client.stage, &host, error);
        let response = tokio::select! {
            response = tokio::time::timeout(client.patience.answer, client.plain.get(url.clone()).send()) => {
                response.map_err(|_| no_answer(client, &host))?.map_err(lost)?
            }
            () = client.cancel.cancelled() => return Err(StageError::cancelled(&client.stage)),
        };
        let status = response.status();
        if status.is_redirection() {
            let location = response.headers().get("location").and_then(|value| value.to_str().ok());
            url = archive_url(client, &url, location.unwrap_or_default())?;
            continue;
        }
        if status == StatusCode::OK {
            return Ok(Some(response));
        }
        if status.is_server_error() || matches!(status.as_u16(), 403 | 408 | 429) {
            // A 403 is an address that has expired in the meantime.
            let retry_after = net::retry_after(response.headers());
            let message = format!("{host} does not hand out the archive ({})", status.as_u16());
            return Err(StageError::new(&client.stage, ErrorKind::Transient { retry_after }, message));
        }
        return Ok(None);
    }
    Err(client.garbage("redirects without end"))
}

/// The address may carry a token of its own: it is never shown, and goes over TLS wherever the
/// API does.
fn archive_url(client: &Client, from: &Url, location: &str) -> StageResult<Url> {
    let url = from.join(location).map_err(|_| client.garbage("an archive address that is none"))?;
    let secure = url.scheme() == "https" || (url.scheme() == "http" && client.base.scheme() == "http");
    if secure && url.has_host() {
        Ok(url)
    } else {
        Err(client.garbage("an archive address that is not https"))
    }
}

fn no_answer(client: &Client, host: &str) -> StageError {
    StageError::transient(&client.stage, format!("no answer in time from {host}"))
}

/// Streams the archive through a blocking thread into the sink.
async fn unpack(client: &Client, response: reqwest::Response, pending: &mut Pending<'_>) -> StageResult<()> {
    let (pieces, incoming) = mpsc::channel::<Bytes>(IN_FLIGHT);
    let (outgoing, mut contents) = mpsc::channel::<(String, Bytes)>(IN_FLIGHT);
    let expected: HashMap<String, (GitSha, Option<u64>)> =
        pending.wanted.iter().map(|(path, entry)| (path.clone(), (entry.sha, entry.size))).collect();
    let mut thread = JoinSet::new();
    thread
        .spawn_blocking(move || read_archive(Pieces { incoming, piece: Bytes::new() }, expected, &outgoing));

    let pump = pump(client, response, pieces);
    tokio::pin!(pump);
    let mut pumped = None;
    let delivered = async {
        while let Some((path, content)) = contents.recv().await {
            if let Some(entry) = pending.wanted.remove(&path) {
                pending.sink.put(entry, Ok(content)).await?;
            }
        }
        Ok::<(), StageError>(())
    };
    tokio::pin!(delivered);
    loop {
        tokio::select! {
            // When everything wanted has come, the rest of the archive need not.
            result = &mut delivered => { result?; break; }
            result = &mut pump, if pumped.is_none() => pumped = Some(result),
        }
    }
    if let Some(Err(error)) = pumped {
        return Err(error);
    }
    match thread.join_next().await {
        Some(Ok(Ok(()))) | None => Ok(()),
        Some(Ok(Err(error))) => Err(client.garbage("a broken archive").caused_by(error)),
        Some(Err(error)) => {
            Err(StageError::new(&client.stage, ErrorKind::Bug, "unpacking broke off").caused_by(error))
        }
    }
}

/// Hands the archive's bytes to the unpacking thread, until it has enough.
async fn pump(
    client: &Client,
    mut response: reqwest::Response,
    pieces: mpsc::Sender<Bytes>,
) -> StageResult<()> {
    let host = response.url().host_str().unwrap_or_default().to_owned();
    loop {
        let piece = tokio::select! {
            piece = tokio::time::timeout(client.patience.answer, response.chunk()) => piece,
            () = client.cancel.cancelled() => return Err(StageError::cancelled(&client.stage)),
        };
        let piece = piece
            .map_err(|_| no_answer(client, &host))?
            .map_err(|error| net::describe_transport_error(&client.stage, &host, error))?;
        match piece {
            Some(piece) => {
                if pieces.send(piece).await.is_err() {
                    return Ok(());
                }
            }
            None => return Ok(()),
        }
    }
}

/// The archive's bytes as a blocking reader.
struct Pieces {
    incoming: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.incoming.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

/// Reads the archive and hands on each expected content that is what it should be.
pub(super) fn read_archive(
    archive: impl Read,
    mut expected: HashMap<String, (GitSha, Option<u64>)>,
    contents: &mpsc::Sender<(String, Bytes)>,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path_bytes();
        // Everything lies in one folder, whose name is nobody's promise.
        let inside = path.iter().position(|&byte| byte == b'/').map(|at| &path[at + 1..]);
        let Some(path) = inside.and_then(|path| std::str::from_utf8(path).ok()).map(str::to_owned) else {
            continue;
        };
        let Some(&(sha, size)) = expected.get(&path) else { continue };
        if size.is_some_and(|size| size != entry.size()) {
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        if check_blob(&content, sha).is_err() {
            continue;
        }
        expected.remove(&path);
        if contents.blocking_send((path, content.into())).is_err() || expected.is_empty() {
            break;
        }
    }
    Ok(())
}
