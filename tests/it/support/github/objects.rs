//! Answers of the fake about one repository, made from its real objects by the real `git`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::super::http::{Request, Response};
use super::api::Caller;
use super::{ARCHIVE_TOKEN, Repo, State, TOKEN, shapes};

impl State {
    pub(super) fn repository(
        &self,
        request: &Request,
        caller: &Caller,
        repo: Option<Repo>,
        rest: &[&str],
    ) -> Response {
        let error = |status, message: &str| Response::json(status, &shapes::error(message));
        let Some(repo) = repo.filter(|repo| !repo.private || *caller != Caller::Nobody) else {
            return error(404, "Not Found");
        };
        if let Some(status) = repo.denied {
            return error(status, "Repository access blocked");
        }
        if rest.is_empty() {
            let inner = self.lock();
            let (owner, _) = repo.full_name.split_once('/').expect("owner/name");
            let kind = inner.owners.get(&owner.to_lowercase()).copied().unwrap_or("User");
            return Response::json(200, &shapes::repository(&inner.base, &repo, kind, true));
        }
        let folder =
            repo.folder.as_deref().filter(|folder| text(folder, &["for-each-ref", "--count=1"]).is_some());
        let Some(folder) = folder else { return error(409, "Git Repository is empty.") };
        match rest {
            ["commits", reference] => Self::commit(request, folder, &repo, reference),
            ["git", "trees", sha] => self.tree(request, folder, sha),
            ["git", "blobs", sha] => self.blob(request, folder, sha),
            ["tarball", sha] => {
                let location = format!(
                    "{}/archive/{}/{sha}?token={ARCHIVE_TOKEN}",
                    self.lock().archives,
                    folder_key(folder)
                );
                Response::status(302).with("location", location)
            }
            ["compare", range] => self.compare(request, folder, range),
            _ => error(404, "Not Found"),
        }
    }

    fn commit(request: &Request, folder: &Path, repo: &Repo, reference: &str) -> Response {
        let revision = match reference {
            "HEAD" => format!("refs/heads/{}", repo.default_branch),
            name if name.starts_with("heads/") => format!("refs/{name}"),
            name => name.to_owned(),
        };
        let Some(sha) = resolve(folder, &format!("{revision}^{{commit}}")) else {
            return Response::json(422, &shapes::error(&format!("No commit found for SHA: {reference}")));
        };
        assert_eq!(
            request.header("accept"),
            Some("application/vnd.github.sha"),
            "heads are asked for cheaply"
        );
        Response::of(200, "application/vnd.github.sha; charset=utf-8", sha.clone())
            .with("etag", format!("\"{sha}\""))
    }

    fn tree(&self, request: &Request, folder: &Path, sha: &str) -> Response {
        let Some(tree) = resolve(folder, &format!("{sha}^{{tree}}")) else {
            return Response::json(404, &shapes::error("Not Found"));
        };
        let recursive = request.parameter("recursive").is_some();
        let mut arguments = vec!["ls-tree", "-z", "-l", "--full-tree"];
        if recursive {
            arguments.extend(["-r", "-t"]);
        }
        arguments.push(&tree);
        let listing = git(folder, &arguments).expect("a tree");
        let mut entries: Vec<Value> = listing
            .split(|&byte| byte == 0)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let line = String::from_utf8_lossy(line);
                let (meta, path) = line.split_once('\t').expect("a path");
                let words: Vec<&str> = meta.split_whitespace().collect();
                let mut entry = json!({
                    "path": path, "mode": words[0], "type": words[1], "sha": words[2],
                    "url": "https://example.com/object",
                });
                if let Ok(size) = words[3].parse::<u64>() {
                    entry["size"] = json!(size);
                }
                entry
            })
            .collect();
        let limit = self.lock().tree_limit.filter(|_| recursive).unwrap_or(100_000);
        let truncated = entries.len() > limit;
        entries.truncate(limit);
        Response::json(
            200,
            &json!({ "sha": tree, "url": "https://example.com/tree", "tree": entries, "truncated": truncated }),
        )
    }

    fn blob(&self, request: &Request, folder: &Path, sha: &str) -> Response {
        use base64::Engine as _;
        let Some(content) = git(folder, &["cat-file", "blob", sha]) else {
            return Response::json(404, &shapes::error("Not Found"));
        };
        let raw = request.header("accept").is_some_and(|accept| accept.contains("raw"));
        if raw && !self.lock().blobs_as_json {
            return Response::of(200, "application/vnd.github.raw+json; charset=utf-8", content);
        }
        let encoded = base64::engine::general_purpose::STANDARD.encode(&content);
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(60).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
        Response::json(
            200,
            &json!({
                "sha": sha, "node_id": "n", "size": content.len(), "url": "https://example.com/blob",
                "content": lines.join("\n"), "encoding": "base64",
            }),
        )
    }

    fn compare(&self, request: &Request, folder: &Path, range: &str) -> Response {
        let not_found = || Response::json(404, &shapes::error("Not Found"));
        let Some((base, head)) = range.split_once("...") else { return not_found() };
        let commit = |name: &str| resolve(folder, &format!("{name}^{{commit}}"));
        let (Some(base), Some(head)) = (commit(base), commit(head)) else { return not_found() };
        let Some(merge_base) = text(folder, &["merge-base", &base, &head]) else {
            return Response::json(
                404,
                &shapes::error(&format!("No common ancestor between {base} and {head}.")),
            );
        };
        let status = match (merge_base == base, merge_base == head) {
            (true, true) => "identical",
            (true, false) => "ahead",
            (false, true) => "behind",
            (false, false) => "diverged",
        };
        let raw =
            git(folder, &["diff", "--raw", "-z", "--no-abbrev", "-M", &merge_base, &head]).expect("a diff");
        let mut fields =
            raw.split(|&byte| byte == 0).map(|field| String::from_utf8_lossy(field).into_owned());
        let api = self.lock().base.clone();
        let mut files = Vec::new();
        while let Some(meta) = fields.next().filter(|meta| !meta.is_empty()) {
            let words: Vec<&str> = meta.split_whitespace().collect();
            let path = fields.next().expect("a path");
            let (status, sha, from, path) = match &words[4][..1] {
                "A" => ("added", words[3], None, path),
                "D" => ("removed", words[2], None, path),
                "R" => ("renamed", words[3], Some(path), fields.next().expect("a path")),
                "T" => ("changed", words[3], None, path),
                _ => ("modified", words[3], None, path),
            };
            files.push(shapes::compared_file(&api, status, &path, from.as_deref(), sha));
        }
        files.truncate(300);
        if request.parameter("page").is_some_and(|page| page != "1") {
            files.clear();
        }
        let link = format!("{api}/compare/{range}");
        let count = |range: String| -> u64 {
            let count = text(folder, &["rev-list", "--count", &range]).expect("two commits");
            count.parse().expect("a number")
        };
        let (ahead, behind) = (count(format!("{base}..{head}")), count(format!("{head}..{base}")));
        Response::json(
            200,
            &json!({
                "url": link, "html_url": link, "permalink_url": link, "diff_url": link, "patch_url": link,
                "base_commit": shapes::commit(&api, &base),
                "merge_base_commit": shapes::commit(&api, &merge_base),
                "status": status, "ahead_by": ahead, "behind_by": behind, "total_commits": ahead,
                "commits": [shapes::commit(&api, &head)], "files": files,
            }),
        )
    }

    /// The archive host: it must not see the API's credentials.
    pub(super) fn archive(&self, request: &Request) -> Response {
        for secret in [TOKEN, "ghs_", "Bearer", "authorization"] {
            if request.everything().contains(secret) {
                self.lock().problems.push(format!("`{secret}` reached the archive host"));
            }
        }
        let mut parts = request.path.trim_start_matches("/archive/").split('/');
        let (key, sha) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let folder = self
            .lock()
            .repos
            .iter()
            .filter_map(|repo| repo.folder.clone())
            .find(|folder| folder_key(folder) == key);
        let allowed = request.parameter("token").as_deref() == Some(ARCHIVE_TOKEN);
        let archive = folder.filter(|_| allowed).and_then(|folder| {
            git(&folder, &["archive", "--format=tar.gz", "--prefix=some-folder-0a1b/", sha])
        });
        match archive {
            Some(body) => Response::of(200, "application/x-gzip", body),
            None => Response::status(404),
        }
    }
}

/// A folder name that is valid in a URL.
fn folder_key(folder: &Path) -> String {
    blake3::hash(folder.as_os_str().as_encoded_bytes()).to_hex()[..12].to_owned()
}

fn resolve(folder: &Path, revision: &str) -> Option<String> {
    text(folder, &["rev-parse", "--verify", "-q", "--end-of-options", revision])
}

fn text(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = git(folder, arguments)?;
    String::from_utf8(output).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The output of `git`, `None` if it fails.
fn git(folder: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "safe.directory=*", "-c", "core.quotePath=false"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .stderr(Stdio::null())
        .output()
        .expect("the `git` program");
    output.status.success().then_some(output.stdout)
}
