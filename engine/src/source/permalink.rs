//! Links to lines of a file on a web host that speaks GitHub's form of address. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::GitSha;

/// Characters not escaped in a path of several segments (RFC 3986 "unreserved", and `/`).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Characters not escaped in one segment: a `/` in a branch name is escaped.
const SEGMENT: &AsciiSet = &PATH.add(b'/');

/// Percent-encodes a path, keeping its slashes.
pub(super) fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// Percent-encodes one path segment.
pub(super) fn encode_segment(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}

/// The link to lines (1-based, inclusive) of a file in the repository at `web`
/// (`https://HOST/owner/name`).
pub(super) fn blob_link(web: &str, commit: GitSha, path: &str, (first, last): (u32, u32)) -> String {
    format!("{web}/blob/{commit}/{}#L{first}-L{last}", encode_path(path))
}

/// The repository's page for the address of a remote, where that is on GitHub: github.com, an
/// Enterprise Cloud host (`*.ghe.com`), or a host named `github.…`, as Enterprise Servers are.
///
/// Only host and path are taken over: an address may carry a user name and a token.
pub(super) fn web_page_of_remote(remote: &str) -> Option<String> {
    let (host, path) = match remote.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?,
        // scp-like: `git@github.com:owner/name.git`
        None => remote.split_once(':')?,
    };
    let host = host.rsplit('@').next()?;
    let host = host.split(':').next()?.to_ascii_lowercase();
    let host = if host == "ssh.github.com" { "github.com" } else { host.as_str() };
    if !host.starts_with("github.") && !host.ends_with(".ghe.com") {
        return None;
    }
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let (owner, name) = path.split_once('/')?;
    if owner.is_empty() || name.is_empty() || name.contains('/') {
        return None;
    }
    Some(format!("https://{host}/{}/{}", encode_segment(owner), encode_segment(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_remotes() {
        let page = "https://github.com/acme/hand.book";
        for remote in [
            "git@github.com:acme/hand.book.git",
            "https://github.com/acme/hand.book",
            "https://user:ghp_token@GitHub.com/acme/hand.book.git/",
            "ssh://git@github.com:22/acme/hand.book.git",
            "ssh://git@ssh.github.com:443/acme/hand.book.git",
            "git://github.com/acme/hand.book.git",
        ] {
            assert_eq!(web_page_of_remote(remote).as_deref(), Some(page), "{remote}");
        }
        assert_eq!(
            web_page_of_remote("git@github.example.com:a/b").as_deref(),
            Some("https://github.example.com/a/b")
        );
        for remote in [
            "/srv/git/acme/handbook.git",
            "../handbook",
            "https://gitlab.com/acme/handbook.git",
            "https://evil.example/github.com/acme/handbook",
            "https://github.com/acme",
            "https://github.com/a/b/c",
            "file:///srv/git/x.git",
            "",
        ] {
            assert_eq!(web_page_of_remote(remote), None, "{remote}");
        }
    }

    #[test]
    fn odd_names_are_encoded() {
        let commit = GitSha([0xab; 20]);
        let link = blob_link("https://github.com/a/b", commit, "d ir/50%#?ü.md", (3, 9));
        assert_eq!(link, format!("https://github.com/a/b/blob/{commit}/d%20ir/50%25%23%3F%C3%BC.md#L3-L9"));
        assert_eq!(encode_segment("feature/x y"), "feature%2Fx%20y");
    }
}
