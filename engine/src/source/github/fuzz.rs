//! Fuzz targets: GitHub's answers, and the archives that it sends.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::mpsc;
use url::Url;

use super::answer::ApiAnswer;
use super::{archive, blobs, link, pages, trees};
use crate::model::fuzzed::answer;
use crate::model::{EntryMode, GitSha, TreeEntry};

/// The blob of `hello` and a newline.
const HELLO: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

/// An HTTP answer: what it means, and its body as everything that the API sends.
pub fn fuzz_answer(bytes: &[u8]) {
    let (status, headers, body) = answer(bytes);
    let answer = ApiAnswer { status, headers, body: Bytes::copy_from_slice(body) };
    answer.verdict();
    answer.date();
    assert!(answer.summary().chars().count() < 300);
    let hello: GitSha = HELLO.parse().expect("an object id");
    if let Ok(content) = blobs::checked(&answer, hello) {
        assert_eq!(content, "hello\n");
    }
    pages::fuzz(&answer);
    trees::fuzz(&answer);
    let base = Url::parse("https://ghe.example/api/v3/").expect("a URL");
    for relation in ["next", "last"] {
        let Some(target) = answer.header("link").and_then(|header| link::target(header, relation)) else {
            continue;
        };
        link::following_page(target);
        if let Some(path) = link::below(&base, "/orgs/acme/repos?page=1", target) {
            assert_eq!(link::at(&base, &path).origin(), base.origin(), "{target} leads elsewhere");
            link::following_page(&path);
        }
    }
}

/// An archive: as it came, or, after an odd first byte, the rest of the bytes packed.
pub fn fuzz_archive(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let archive = if first % 2 == 1 {
        packed.write_all(rest).and_then(|()| packed.finish()).expect("memory takes it")
    } else {
        rest.to_vec()
    };
    let hello: GitSha = HELLO.parse().expect("an object id");
    let wanted = [("a.md", Some(6)), ("b/c.md", None)].map(|(path, size)| TreeEntry {
        path: path.to_owned(),
        path_is_utf8: true,
        mode: EntryMode::File,
        sha: hello,
        size,
    });
    let (outgoing, mut contents) = mpsc::channel(2);
    drop(archive::read_archive(&archive[..], &wanted, vec![true; 2], archive::Bounds::of(20), &outgoing));
    drop(outgoing);
    while let Some((_, content)) = contents.blocking_recv() {
        assert_eq!(content, "hello\n", "only what the tree names");
    }
}
