//! Many contents at once: one archive, streamed. What it leaves out or alters (`export-ignore`,
//! `export-subst`) is left for the blobs.

use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use flate2::read::GzDecoder;
use http::{Method, StatusCode};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use url::Url;

use super::client::{Ask, Client, LONGEST_BLOB};
use super::names::encode_name;
use crate::model::{ErrorKind, GitSha, StageError, StageResult, TreeEntry};
use crate::net::{
    self, Accepted, CallError, CallFailure, Classified, Deadline, ServiceRequest, StreamedResponse,
};
use crate::source::ContentSink;
use crate::source::verify::check_blob;

/// Maximum number of files fetched individually; more are fetched as one archive.
pub(super) const FEW_FILES: usize = 20;

/// Pieces of the archive, and contents from it, on their way.
const IN_FLIGHT: usize = 16;
/// Maximum size of an entry's name records: a path has at most 4,096 bytes, and pax adds other records.
const LONGEST_NAME: u64 = 64 << 10;
/// Bytes of an archive that are inflated at most, wanted or not. A repository of a few megabytes can
/// name one file of zeros a million times; the files that are missing then are fetched as blobs.
const MOST_INFLATED: u64 = 16 << 30;
/// Redirects from one archive host to another.
const MOST_REDIRECTS: usize = 3;

/// What is still to be had, and where it goes.
struct Pending<'a> {
    /// By path.
    wanted: Arc<[TreeEntry]>,
    /// Which of them are still to come.
    missing: Vec<bool>,
    sink: &'a mut dyn ContentSink,
}

/// Takes the wanted files from the commit's archive and returns those that it does not contain. A truncated
/// archive is requested again, unless only few files are missing.
pub(super) async fn fetch(
    client: &Client,
    repo: &str,
    commit: GitSha,
    wanted: Vec<TreeEntry>,
    sink: &mut dyn ContentSink,
) -> StageResult<Vec<TreeEntry>> {
    let mut wanted = wanted;
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    // Entries with the same path cannot be distinguished in an archive; their names are lossy.
    let mut rest = Vec::new();
    wanted.dedup_by(|later, earlier| {
        let same = later.path == earlier.path;
        if same {
            rest.push(later.clone());
        }
        same
    });
    let pending = Mutex::new(Pending { missing: vec![true; wanted.len()], wanted: wanted.into(), sink });
    client
        .archives
        .retry(|| async {
            let mut pending = pending.lock().await;
            if pending.missing().count() <= FEW_FILES {
                return Ok(());
            }
            let _place = tokio::select! {
                place = client.unpacking.acquire() => place.expect("never closed"),
                () = client.cancel.cancelled() => return Err(StageError::cancelled(&client.stage)),
            };
            // Addresses expire: each try has its own.
            match address(client, repo, commit).await? {
                Some(url) => download(client, url, &mut pending).await,
                None => Ok(()),
            }
        })
        .await?;
    rest.extend(pending.into_inner().missing().cloned());
    Ok(rest)
}

impl Pending<'_> {
    fn missing(&self) -> impl Iterator<Item = &TreeEntry> {
        self.wanted.iter().zip(&self.missing).filter_map(|(entry, missing)| missing.then_some(entry))
    }
}

/// Asks for the address of the archive; none: there is no archive to be had.
async fn address(client: &Client, repo: &str, commit: GitSha) -> StageResult<Option<Url>> {
    let path = format!("/repos/{}/tarball/{commit}", encode_name(repo));
    let ask = Ask::json("archive", &path);
    let location = client.ask_once(ask, |answer| Ok(answer.header("location").map(str::to_owned))).await?;
    location.map(|location| archive_url(client, &client.base, &location)).transpose()
}

/// Takes the pending files from the archive at `url`. Follows redirects explicitly, without credentials. If
/// there is no archive, no file is taken.
async fn download(client: &Client, mut url: Url, pending: &mut Pending<'_>) -> StageResult<()> {
    for _ in 0..=MOST_REDIRECTS {
        let request = ServiceRequest::new("download", Method::GET, url.clone());
        let request = ServiceRequest { deadline: Deadline::Idle, ..request };
        let taken = client
            .archives
            .stream_once(&request, |response| receive(client, &request, response, &mut *pending));
        match taken.await? {
            Some(elsewhere) => url = elsewhere,
            None => return Ok(()),
        }
    }
    Err(client.garbage("redirects without end"))
}

/// Reads the response of an archive host; an address where it redirects.
async fn receive(
    client: &Client,
    request: &ServiceRequest,
    response: StreamedResponse<'_>,
    pending: &mut Pending<'_>,
) -> Classified<Option<Url>> {
    let status = response.status;
    if status.is_redirection() {
        let location = response.headers.get("location").and_then(|value| value.to_str().ok());
        let url = archive_url(client, &request.url, location.unwrap_or_default())?;
        return Ok(Accepted::new(Some(url)));
    }
    if status == StatusCode::OK {
        unpack(client, response, pending).await?;
        return Ok(Accepted::new(None));
    }
    let failure = match status.as_u16() {
        429 => CallFailure::RateLimit,
        // A 403 is an address that has expired in the meantime.
        403 | 408 | 500..=599 => CallFailure::Server,
        _ => return Ok(Accepted::declined(CallFailure::Refused, None)),
    };
    let kind = ErrorKind::Transient { retry_after: net::retry_after(&response.headers) };
    let message = format!("{} does not hand out the archive ({})", request.host, status.as_u16());
    Err(CallError::new(failure, StageError::new(&client.stage, kind, message)))
}

/// The address may contain a token, so it is never shown, and must use TLS if the API does.
fn archive_url(client: &Client, from: &Url, location: &str) -> StageResult<Url> {
    let url = from.join(location).map_err(|_| client.garbage("an archive address that is none"))?;
    let secure = url.scheme() == "https" || (url.scheme() == "http" && client.base.scheme() == "http");
    if secure && url.has_host() {
        Ok(url)
    } else {
        Err(client.garbage("an archive address that is not https"))
    }
}

/// Streams the archive through a blocking thread into the sink.
async fn unpack(
    client: &Client,
    response: StreamedResponse<'_>,
    pending: &mut Pending<'_>,
) -> Result<(), CallError> {
    let (pieces, incoming) = mpsc::channel::<Bytes>(IN_FLIGHT);
    let (outgoing, mut contents) = mpsc::channel::<(usize, Bytes)>(IN_FLIGHT);
    let (wanted, missing) = (Arc::clone(&pending.wanted), pending.missing.clone());
    let bounds = Bounds::of(client.limits.files);
    let mut thread = JoinSet::new();
    thread.spawn_blocking(move || {
        read_archive(Pieces { incoming, piece: Bytes::new() }, &wanted, missing, bounds, &outgoing)
    });

    let pump = pump(response, pieces);
    tokio::pin!(pump);
    let mut pumped = None;
    let delivered = async {
        while let Some((at, content)) = contents.recv().await {
            pending.missing[at] = false;
            pending.sink.put(pending.wanted[at].clone(), Ok(content)).await?;
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
        Some(Ok(Err(error))) => Err(client.garbage("a broken archive").caused_by(error).into()),
        Some(Err(error)) => {
            let what = "unpacking broke off";
            Err(StageError::new(&client.stage, ErrorKind::Bug, what).caused_by(error).into())
        }
    }
}

/// Hands the archive's bytes to the unpacking thread, until it has enough.
async fn pump(mut response: StreamedResponse<'_>, pieces: mpsc::Sender<Bytes>) -> Result<(), CallError> {
    while let Some(piece) = response.chunk().await? {
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
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

/// How much of an archive is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Entries of the archive, those that only name the next one included.
    entries: usize,
    /// Bytes of all entries' contents.
    inflated: u64,
}

impl Bounds {
    /// For a repository of at most `files` files and as many folders, one entry each.
    pub(super) fn of(files: usize) -> Self {
        Self { entries: files.saturating_mul(4), inflated: MOST_INFLATED }
    }
}

/// Reads the archive and hands on each missing content that is what it should be, with its place
/// among those wanted. What lies beyond the bounds is left out.
pub(super) fn read_archive(
    archive: impl Read,
    wanted: &[TreeEntry],
    mut missing: Vec<bool>,
    mut bounds: Bounds,
    contents: &mpsc::Sender<(usize, Bytes)>,
) -> io::Result<()> {
    let mut left = missing.iter().filter(|missing| **missing).count();
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    // Raw: what comes in front of an entry to name it is read here, so that it is bounded.
    let mut named = None;
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let (entries, inflated) = (bounds.entries.checked_sub(1), bounds.inflated.checked_sub(entry.size()));
        let (Some(entries), Some(inflated)) = (entries, inflated) else {
            tracing::warn!(missing = left, "an archive is too large to be read to its end");
            break;
        };
        bounds = Bounds { entries, inflated };
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            named = long_name(&mut entry, kind)?.or(named);
            continue;
        }
        let named = named.take();
        if !kind.is_file() {
            continue;
        }
        let path = named.map_or_else(|| entry.path_bytes(), Cow::Owned);
        // All entries are in one top-level folder, whose name is not specified.
        let inside = path.iter().position(|&byte| byte == b'/').map(|at| &path[at + 1..]);
        let Some(path) = inside.and_then(|path| std::str::from_utf8(path).ok()) else { continue };
        let Ok(at) = wanted.binary_search_by(|entry| entry.path.as_str().cmp(path)) else { continue };
        let TreeEntry { sha, size, .. } = wanted[at];
        let fits = size.map_or(entry.size() <= LONGEST_BLOB, |size| size == entry.size());
        if !missing[at] || !fits {
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        if check_blob(&content, sha).is_err() {
            continue;
        }
        missing[at] = false;
        left -= 1;
        if contents.blocking_send((at, content.into())).is_err() || left == 0 {
            break;
        }
    }
    Ok(())
}

/// The name that an entry gives to the one behind it. One that is longer than any path stays unknown
/// (an empty one), and its file is left for the blobs.
fn long_name(entry: &mut impl Read, kind: tar::EntryType) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    entry.take(LONGEST_NAME + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_NAME {
        return Ok(Some(Vec::new()));
    }
    if kind.is_gnu_longname() {
        bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
        return Ok(Some(bytes));
    }
    let mut fields = tar::PaxExtensions::new(&bytes).filter_map(Result::ok);
    Ok(fields.find(|field| field.key_bytes() == b"path").map(|field| field.value_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::model::EntryMode;

    #[test]
    fn long_names_are_read_and_endless_ones_passed_over() {
        let (long, endless) = ("folder/".repeat(60) + "long.md", "folder/".repeat(40_000) + "endless.md");
        let pax = format!("{long}.pax");
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(6);
        // In GNU's way, in that of pax, and in the header itself.
        for path in [&endless, &long] {
            archive.append_data(&mut header, format!("top/{path}"), &b"hello\n"[..]).expect("appended");
        }
        for path in [&endless, &pax] {
            archive.append_pax_extensions([("path", format!("top/{path}").as_bytes())]).expect("appended");
            archive.append_data(&mut header, "top/cut", &b"hello\n"[..]).expect("appended");
        }
        archive.append_data(&mut header, "top/short.md", &b"hello\n"[..]).expect("appended");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&archive.into_inner().expect("whole")).expect("packed");
        let packed = packed.finish().expect("packed");

        let wanted = [long, pax, "short.md".to_owned()].map(|path| TreeEntry {
            path,
            path_is_utf8: true,
            mode: EntryMode::File,
            sha: "ce013625030ba8dba906f756967f9e9ca394464a".parse().expect("the blob of `hello`"),
            size: Some(6),
        });
        let (sender, mut contents) = mpsc::channel(9);
        read_archive(&packed[..], &wanted, vec![true; wanted.len()], Bounds::of(100), &sender).expect("read");
        drop(sender);
        let found: Vec<_> = std::iter::from_fn(|| contents.blocking_recv()).map(|(at, _)| at).collect();
        assert_eq!(found, [0, 1, 2]);
    }

    /// The same block without end.
    struct Endless {
        block: Vec<u8>,
        at: usize,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = &self.block[self.at..];
            let n = buffer.len().min(rest.len());
            buffer[..n].copy_from_slice(&rest[..n]);
            self.at = (self.at + n) % self.block.len();
            Ok(n)
        }
    }

    /// Reads an archive of a wanted file, then `rest`; how many files were found.
    fn found_before(rest: impl Read, bounds: Bounds) -> usize {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(6);
        archive.append_data(&mut header, "top/a.md", &b"hello\n"[..]).expect("appended");
        let begin = io::Cursor::new(archive.get_ref().clone());
        let packed = flate2::read::GzEncoder::new(Read::chain(begin, rest), Compression::fast());
        let wanted = ["a.md", "b.md"].map(|path| TreeEntry {
            path: path.to_owned(),
            path_is_utf8: true,
            mode: EntryMode::File,
            sha: "ce013625030ba8dba906f756967f9e9ca394464a".parse().expect("the blob of `hello`"),
            size: Some(6),
        });
        let (sender, mut contents) = mpsc::channel(9);
        read_archive(packed, &wanted, vec![true; 2], bounds, &sender).expect("read as far as the bounds go");
        drop(sender);
        std::iter::from_fn(|| contents.blocking_recv()).count()
    }

    #[test]
    fn an_archive_without_end_is_left() {
        let header = |size| {
            let mut header = tar::Header::new_gnu();
            header.set_path("top/zeros").expect("a path");
            header.set_size(size);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        // One entry of more than is read, and entries without end.
        let huge = Read::chain(io::Cursor::new(header(MOST_INFLATED + 1)), io::repeat(0));
        assert_eq!(found_before(huge, Bounds::of(100)), 1);
        assert_eq!(found_before(Endless { block: header(0), at: 0 }, Bounds::of(100)), 1);
    }
}
