//! Addresses of repositories on a server. Pure.

use url::Url;

use crate::model::is_loopback;

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `https://`, or `http://` on this machine.
    Http,
    /// `ssh://`
    Ssh,
}

/// A repository's address, or the beginning of addresses (`base_url`). It holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(Url);

/// Why a text is no address, and what to write instead.
pub(super) type BadAddress = (String, &'static str);

impl Address {
    /// Reads `https://HOST/PATH`, `ssh://USER@HOST[:PORT]/PATH`, or `USER@HOST:PATH` as `ssh` takes it. The
    /// error does not contain the text, which may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, BadAddress> {
        let bad = |why: &str, hint: &'static str| Err((why.to_owned(), hint));
        if text.trim() != text || text.is_empty() || text.chars().any(char::is_control) {
            return bad("not an address", EXAMPLE);
        }
        if text.contains("::") && !text.contains("://[") {
            return bad("names a program (`NAME::…`), which is never started", EXAMPLE);
        }
        let expanded = expand(text);
        let url = Url::parse(&expanded).map_err(|error| (format!("not an address: {error}"), EXAMPLE))?;
        match url.scheme() {
            "https" | "ssh" => {}
            "http" if is_loopback(&url) => {}
            "http" => return bad("http is accepted for loopback addresses only", EXAMPLE),
            "git" => return bad("git:// is not encrypted and is not supported", EXAMPLE),
            "file" => return bad("file:// is not a server", "use a stage of kind \"git\" for local folders"),
            _ => return bad("its scheme is not supported; https and ssh are", EXAMPLE),
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return bad("it has no host", EXAMPLE);
        };
        if host.starts_with('-') || url.username().starts_with('-') {
            return bad("a host and a user cannot begin with a dash", EXAMPLE);
        }
        if url.password().is_some() || (url.scheme() != "ssh" && !url.username().is_empty()) {
            let hint = "write them as `username` and `password` or `token` of the stage";
            return bad("an address cannot hold credentials", hint);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return bad("an address has no `?` and no `#`", "leave that part out");
        }
        Ok(Self(url))
    }

    /// The address of `path` below this one.
    pub(super) fn join(&self, path: &str) -> Result<Self, BadAddress> {
        let bad = |why: &str| Err((why.to_owned(), "write the path as on the server, such as \"group/app\""));
        let segments: Vec<&str> = path.split('/').collect();
        if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return bad("not the path of a repository");
        }
        if path.chars().any(|c| c.is_control() || matches!(c, '\\' | '?' | '#')) {
            return bad("the path holds characters that no repository has");
        }
        let mut url = self.0.clone();
        match url.path_segments_mut() {
            Ok(mut parts) => drop(parts.pop_if_empty().extend(segments)),
            Err(()) => return bad("it cannot be appended to `base_url`"),
        }
        Ok(Self(url))
    }

    /// How it is reached.
    pub(super) fn scheme(&self) -> Scheme {
        if self.0.scheme() == "ssh" { Scheme::Ssh } else { Scheme::Http }
    }

    /// The address as a URL.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// The path, decoded, without a slash at its ends and without `.git`.
    pub(super) fn path(&self) -> String {
        let path = percent_encoding::percent_decode_str(self.0.path()).decode_utf8_lossy().into_owned();
        let path = path.trim_matches('/');
        path.strip_suffix(".git").unwrap_or(path).to_owned()
    }

    /// True where both are on the same server: scheme, host, port.
    pub(super) fn is_same_server(&self, other: &Url) -> bool {
        let server = |url: &Url| {
            let port = url.port_or_known_default().or((url.scheme() == "ssh").then_some(22));
            (url.scheme().to_owned(), url.host_str().unwrap_or_default().to_ascii_lowercase(), port)
        };
        server(&self.0) == server(other)
    }

    /// Where a redirect of the first request leads: none where that is another server, or no repository.
    pub(super) fn redirected(&self, location: &str) -> Option<Self> {
        let target = self.service().join(location).ok()?;
        if !self.is_same_server(&target) || target.password().is_some() || !target.username().is_empty() {
            return None;
        }
        let mut base = target.clone();
        base.set_path(target.path().strip_suffix("/info/refs")?);
        base.set_query(None);
        base.set_fragment(None);
        (base != self.0).then_some(Self(base))
    }

    /// The address of the first request over HTTP.
    pub(super) fn service(&self) -> Url {
        let mut url = self.below("info/refs");
        url.set_query(Some("service=git-upload-pack"));
        url
    }

    /// The address of the requests that follow over HTTP.
    pub(super) fn upload_pack(&self) -> Url {
        self.below("git-upload-pack")
    }

    fn below(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/{path}", self.0.path().trim_end_matches('/')));
        url
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

const EXAMPLE: &str = "write it like \"https://HOST/GROUP/NAME\" or \"ssh://git@HOST/GROUP/NAME\"";

/// `USER@HOST:PATH` as `ssh://USER@HOST/PATH`, a bare host with `https://`.
fn expand(text: &str) -> String {
    if text.contains("://") {
        return text.to_owned();
    }
    match text.split_once(':') {
        Some((user, path))
            if user.contains('@')
                && !user.contains('/')
                && !path.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            format!("ssh://{user}/{}", path.trim_start_matches('/'))
        }
        _ => format!("https://{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|(why, _)| panic!("{text}: {why}"))
    }

    #[test]
    fn addresses_are_read_in_every_usual_form() {
        for (text, expected, path) in [
            ("https://gitlab.com/group/sub/app.git", "https://gitlab.com/group/sub/app.git", "group/sub/app"),
            ("gitlab.com/group/app", "https://gitlab.com/group/app", "group/app"),
            ("http://127.0.0.1:3000/a/b", "http://127.0.0.1:3000/a/b", "a/b"),
            ("ssh://git@host:2222/srv/a.git", "ssh://git@host:2222/srv/a.git", "srv/a"),
            ("git@host:group/app.git", "ssh://git@host/group/app.git", "group/app"),
            ("https://host/a%20b/c/", "https://host/a%20b/c", "a b/c"),
        ] {
            let address = address(text);
            assert_eq!((address.to_string().as_str(), address.path().as_str()), (expected, path), "{text}");
        }
        let base = address("https://host/git/");
        assert_eq!(base.join("a b/c.git").expect("a path").to_string(), "https://host/git/a%20b/c.git");
        assert_eq!(base.upload_pack().as_str(), "https://host/git/git-upload-pack");
        assert_eq!(base.service().as_str(), "https://host/git/info/refs?service=git-upload-pack");
    }

    #[test]
    fn what_could_start_a_program_or_carry_a_secret_is_refused() {
        for (text, expected) in [
            ("ext::sh -c touch% /tmp/x", "names a program"),
            ("fd::7", "names a program"),
            ("file:///srv/git/a.git", "file:// is not a server"),
            ("git://host/a/b", "git:// is not encrypted"),
            ("http://host/a/b", "http is accepted for loopback"),
            ("ftp://host/a", "its scheme is not supported"),
            ("ssh://-oProxyCommand=id/a", "a host and a user cannot begin with a dash"),
            ("ssh://-oProxyCommand=id@host/a", "a host and a user cannot begin with a dash"),
            ("-oProxyCommand=id@host:a", "a host and a user cannot begin with a dash"),
            ("https://user:secret@host/a", "an address cannot hold credentials"),
            ("https://token@host/a", "an address cannot hold credentials"),
            ("ssh://git:secret@host/a", "an address cannot hold credentials"),
            ("https://host/a?b", "an address has no `?`"),
            ("https://", "not an address"),
            ("", "not an address"),
            ("https://host/a\nb", "not an address"),
        ] {
            let (why, hint) = Address::parse(text).err().unwrap_or_else(|| panic!("{text} is accepted"));
            assert!(why.starts_with(expected), "{text}: {why}");
            assert!(!why.contains("secret") && !hint.is_empty());
        }
        let base = address("https://host/git");
        for path in ["", "/a", "a//b", "../x", "a/..", "a/./b", "a?b", "a#b", "a\\b"] {
            assert!(base.join(path).is_err(), "{path}");
        }
    }

    #[test]
    fn only_redirects_on_the_same_server_are_followed() {
        let here = address("https://host/group/app");
        let follow = |location: &str| here.redirected(location).map(|address| address.to_string());
        let query = "info/refs?service=git-upload-pack";
        assert_eq!(follow(&format!("/group/app.git/{query}")).as_deref(), Some("https://host/group/app.git"));
        assert_eq!(follow(&format!("https://host:443/new/{query}")).as_deref(), Some("https://host/new"));
        for other in [
            format!("https://evil.example/group/app/{query}"),
            format!("http://host/group/app/{query}"),
            format!("https://host:8443/group/app/{query}"),
            format!("https://user@host/group/app/{query}"),
            format!("https://host/group/app/{query}"),
            "https://host/users/sign_in".to_owned(),
            "ssh://host/info/refs".to_owned(),
        ] {
            assert_eq!(follow(&other), None, "{other}");
        }
    }
}
