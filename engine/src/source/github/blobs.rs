//! Contents one by one, each checked against its blob id.

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use serde::Deserialize;

use super::answer::ApiAnswer;
use super::client::{Ask, Client, LONGEST_BLOB, RAW};
use super::names::encode_name;
use crate::model::{GitSha, StageResult, TreeEntry};
use crate::source::ContentSink;
use crate::source::verify::check_blob;

/// Bytes allowed besides the content: the other fields of the JSON, or an error.
const BESIDE: u64 = 1 << 20;

/// Fetches files, equal contents once.
pub(super) async fn fetch(
    client: &Client,
    at_once: usize,
    repo: &str,
    wanted: Vec<TreeEntry>,
    sink: &mut dyn ContentSink,
) -> StageResult<()> {
    let mut by_blob: BTreeMap<GitSha, Vec<TreeEntry>> = BTreeMap::new();
    for entry in wanted {
        by_blob.entry(entry.sha).or_default().push(entry);
    }
    let mut contents = stream::iter(by_blob)
        .map(|(sha, entries)| async move {
            let content = blob(client, repo, sha, &entries[0]).await;
            (entries, content)
        })
        .buffer_unordered(at_once);
    while let Some((entries, content)) = contents.next().await {
        let content = match content {
            Err(error) if !error.kind.is_item() => return Err(error),
            content => content,
        };
        for entry in entries {
            sink.put(entry, content.clone()).await?;
        }
    }
    Ok(())
}

async fn blob(client: &Client, repo: &str, sha: GitSha, entry: &TreeEntry) -> StageResult<Bytes> {
    let path = &entry.path;
    let address = format!("/repos/{}/git/blobs/{sha}", encode_name(repo));
    // A server may answer in JSON, whose base64 is longer than the content by a third and line ends.
    let expected = entry.size.map_or(LONGEST_BLOB, |size| size.saturating_mul(3) / 2 + BESIDE);
    let longest = expected.min(LONGEST_BLOB);
    let ask = Ask { operation: "blob", path: &address, accept: RAW, etag: None, longest };
    client
        .ask(ask, |answer| match answer.status.as_u16() {
            200 => checked(&answer, sha).map_err(|why| {
                client
                    .garbage(&format!("another content for `{path}` of {repo}"))
                    .caused_by(anyhow::anyhow!(why))
            }),
            _ => Err(client.refusal(&format!("`{path}` of {repo}"), &answer)),
        })
        .await
}

/// The content, whether it came bare, as asked, or in JSON, as servers do that do not know the
/// media type.
pub(super) fn checked(answer: &ApiAnswer, sha: GitSha) -> Result<Bytes, String> {
    #[derive(Deserialize)]
    struct Blob {
        content: String,
    }
    let why = match check_blob(&answer.body, sha) {
        Ok(()) => return Ok(answer.body.clone()),
        Err(why) => why,
    };
    let Ok(blob) = serde_json::from_slice::<Blob>(&answer.body) else { return Err(why) };
    let compact: String = blob.content.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let Ok(content) = base64::engine::general_purpose::STANDARD.decode(compact) else { return Err(why) };
    check_blob(&content, sha)?;
    Ok(Bytes::from(content))
}
