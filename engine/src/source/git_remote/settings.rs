//! Settings of kind `git-remote`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::address::{Address, Scheme};
use super::links::Links;
use crate::model::{ByteSize, RepoRef, Secret};
use crate::settings::{Checker, lossy};
use crate::stage::{StageConfig, edit_costs};

/// `kind = "git-remote"`: repositories on any server that speaks Git over HTTPS or ssh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GitRemoteSettings {
    /// What the addresses of the project's repositories begin with, such as `https://gitlab.com` or
    /// `ssh://git@gitlab.com`. Required. Credentials are sent to this server only.
    pub base_url: String,
    /// The user name for HTTPS; `git` where it is left out. Servers that check tokens mostly ignore it.
    pub username: Option<String>,
    /// The password for HTTPS.
    pub password: Option<Secret>,
    /// A token for HTTPS, in place of the password.
    pub token: Option<Secret>,
    /// The file with the private key for ssh, without a passphrase; relative to this file.
    #[serde(serialize_with = "lossy_path")]
    pub ssh_key: Option<PathBuf>,
    /// The file with the host keys of the server for ssh, as `ssh` keeps them in `known_hosts`; goes with
    /// `ssh_key`.
    #[serde(serialize_with = "lossy_path")]
    pub known_hosts: Option<PathBuf>,
    /// Maximum size of all clones on disk. Beyond it, the least recently used are removed.
    pub clones: ByteSize,
    /// How permalinks are formed: `gitlab`, `gitea`, `bitbucket`, `azure`, or a template with `{host}`,
    /// `{repository}`, `{commit}`, `{path}`, `{first}` and `{last}`. Left out: records have no link.
    pub links: Option<String>,
}

impl Default for GitRemoteSettings {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            username: None,
            password: None,
            token: None,
            ssh_key: None,
            known_hosts: None,
            clones: ByteSize(20 << 30),
            links: None,
        }
    }
}

impl StageConfig for GitRemoteSettings {
    const KIND: &'static str = "git-remote";

    edit_costs! {
        credentials: username, password, token, ssh_key, known_hosts;
        index: base_url, links;
        limits: clones;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        for (key, path) in [("ssh_key", &mut self.ssh_key), ("known_hosts", &mut self.known_hosts)] {
            if let Some(path) = path {
                check.home(key, path);
                *path = check.absolute(path);
            }
        }
        for (key, message, hint) in self.problems() {
            if check.has(key) {
                check.flag(key, message, hint);
            } else {
                check.flag_table(message, hint);
            }
        }
        check.secret("password", self.password.as_ref());
        check.secret("token", self.token.as_ref());
    }

    fn check_files(&self, check: &mut Checker<'_>) {
        for (key, path) in [("ssh_key", &self.ssh_key), ("known_hosts", &self.known_hosts)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_file()) {
                let hint = "correct the path (relative to this file)";
                check.flag(key, format!("no such file: `{}`", path.display()), hint);
            }
        }
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde requires")]
fn lossy_path<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => lossy(path, serializer),
        None => serializer.serialize_none(),
    }
}

/// A problem of the settings: the key, what is wrong, what to do.
type SettingsProblem = (&'static str, String, &'static str);

impl GitRemoteSettings {
    /// Every problem of the settings.
    pub(super) fn problems(&self) -> Vec<SettingsProblem> {
        let mut problems = Vec::new();
        let mut flag = |key, message: &str, hint| problems.push((key, message.to_owned(), hint));
        let base = self.base();
        match &base {
            _ if self.base_url.is_empty() => {
                flag(
                    "base_url",
                    "`base_url` is missing",
                    "add the server, such as base_url = \"https://gitlab.com\"",
                );
            }
            Err((why, hint)) => flag("base_url", why, hint),
            Ok(_) => {}
        }
        if self.password.is_some() && self.token.is_some() {
            flag("token", "cannot be combined with `password`", "keep one of them");
        }
        if self.username.is_some() && self.password.is_none() && self.token.is_none() {
            flag("username", "needs a password or a token", "add `token`, or leave `username` out");
        }
        if self.username.as_ref().is_some_and(|name| name.is_empty() || name.contains([':', '\n', '\r'])) {
            flag("username", "not a user name", "it is not empty and has no colon");
        }
        match base.map(|base| base.scheme()) {
            Ok(Scheme::Http) => {
                for (key, set) in [("ssh_key", &self.ssh_key), ("known_hosts", &self.known_hosts)] {
                    if set.is_some() {
                        let hint = "write base_url = \"ssh://git@HOST\", or use a token";
                        flag(key, "is for ssh, and `base_url` is not", hint);
                    }
                }
            }
            Ok(Scheme::Ssh) => {
                if self.ssh_key.is_none() {
                    let hint = "add the file with a private key; a deploy key that can read suffices";
                    flag("ssh_key", "`ssh_key` is missing", hint);
                }
                if self.known_hosts.is_none() {
                    let hint = "add a file with the server's host keys, as its operator publishes them; `ssh-keyscan` \
                                shows what the network says they are";
                    flag("known_hosts", "`known_hosts` is missing", hint);
                }
                for (key, set) in [
                    ("username", self.username.is_some()),
                    ("password", self.password.is_some()),
                    ("token", self.token.is_some()),
                ] {
                    if set {
                        let hint =
                            "leave it out: over ssh a key is used, and the user is part of the address";
                        flag(key, "is for HTTPS, and `base_url` is not", hint);
                    }
                }
            }
            Err(_) => {}
        }
        if self.clones < ByteSize::mib(1) {
            flag("clones", "leaves no room for a clone", "write it like \"20 GiB\"");
        }
        if let Some(Err(why)) = self.links.as_deref().map(Links::parse) {
            let hint = "\"gitlab\", \"gitea\", \"bitbucket\", \"azure\", or a template like \
                        \"https://{host}/{repository}/blob/{commit}/{path}#L{first}\"";
            flag("links", &why, hint);
        }
        problems
    }

    /// The repository that an entry of `repositories` names: a path below `base_url`, or an address of its
    /// own; and the name that it is given. The error says what is wrong and what to do.
    pub fn find(&self, entry: &str, name: Option<&str>) -> Result<RepoRef, (String, &'static str)> {
        let base = self.base()?;
        let address = if entry.contains(':') { Address::parse(entry)? } else { base.join(entry)? };
        if !base.is_same_server(address.url()) {
            let hint = "give each server a stage of its own, with its own credentials";
            return Err(("is not on the server of `base_url`".to_owned(), hint));
        }
        let below = base.path();
        let path = address.path();
        let short = path.strip_prefix(&below).map_or(path.as_str(), |path| path.trim_start_matches('/'));
        let name = name.unwrap_or(short);
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(("not a name for a repository".to_owned(), "give it a visible name"));
        }
        Ok(RepoRef { name: name.to_owned(), key: address.to_string() })
    }

    pub(super) fn base(&self) -> Result<Address, (String, &'static str)> {
        Address::parse(&self.base_url)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(settings: serde_json::Value) -> GitRemoteSettings {
        serde_json::from_value(settings).expect("settings")
    }

    fn keys(settings: &serde_json::Value) -> Vec<&'static str> {
        of(settings.clone()).problems().iter().map(|(key, _, _)| *key).collect()
    }

    #[test]
    fn settings_that_fit_have_no_problem() {
        for settings in [
            json!({ "base_url": "https://gitlab.com" }),
            json!({ "base_url": "https://h", "token": "x", "links": "gitlab", "clones": "1 GiB" }),
            json!({ "base_url": "https://h", "username": "me", "password": "x" }),
            json!({ "base_url": "ssh://git@h", "ssh_key": "key", "known_hosts": "hosts" }),
        ] {
            assert_eq!(keys(&settings), [""; 0], "{settings}");
        }
    }

    #[test]
    fn every_problem_is_found() {
        for (settings, expected) in [
            (json!({}), &["base_url"][..]),
            (json!({ "base_url": "file:///srv" }), &["base_url"]),
            (json!({ "base_url": "https://h", "token": "x", "password": "y" }), &["token"]),
            (json!({ "base_url": "https://h", "username": "x" }), &["username"]),
            (json!({ "base_url": "https://h", "username": "x:y", "token": "z" }), &["username"]),
            (json!({ "base_url": "https://h", "ssh_key": "x" }), &["ssh_key"]),
            (json!({ "base_url": "ssh://git@h" }), &["ssh_key", "known_hosts"]),
            (json!({ "base_url": "ssh://h", "ssh_key": "x", "known_hosts": "y", "token": "z" }), &["token"]),
            (json!({ "base_url": "https://h", "clones": 1000, "links": "github" }), &["clones", "links"]),
        ] {
            assert_eq!(keys(&settings), expected, "{settings}");
        }
    }

    #[test]
    fn repositories_are_named_by_their_path() {
        let settings = of(json!({ "base_url": "https://host/git/" }));
        let named = |entry: &str, name: Option<&str>| {
            settings.find(entry, name).map(|repo| (repo.name, repo.key)).map_err(|(why, _)| why)
        };
        let ok = |name: &str, key: &str| Ok((name.to_owned(), key.to_owned()));
        assert_eq!(named("group/sub/app", None), ok("group/sub/app", "https://host/git/group/sub/app"));
        assert_eq!(named("group/app.git", None), ok("group/app", "https://host/git/group/app.git"));
        assert_eq!(named("https://host/git/a/b.git", None), ok("a/b", "https://host/git/a/b.git"));
        assert_eq!(named("https://host/other/b", None), ok("other/b", "https://host/other/b"));
        assert_eq!(named("https://host/git/a/b", Some("docs")), ok("docs", "https://host/git/a/b"));
        for (entry, name, expected) in [
            ("https://evil.example/a", None, "is not on the server of `base_url`"),
            ("http://127.0.0.1/a", None, "is not on the server of `base_url`"),
            ("ext::sh -c x", None, "names a program (`NAME::…`), which is never started"),
            ("../a", None, "not the path of a repository"),
            ("a", Some(" "), "not a name for a repository"),
        ] {
            assert_eq!(named(entry, name).expect_err("refused"), expected, "{entry}");
        }
    }
}
