//! Permalinks: addresses of lines of a file at a commit, in the form of a web host. Pure.

use super::address::Address;
use crate::model::GitSha;
use crate::source::permalink::encode_path;

/// What a template may hold.
const PLACES: [&str; 6] = ["{host}", "{repository}", "{commit}", "{path}", "{first}", "{last}"];

/// How a host forms addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Links {
    GitLab,
    Gitea,
    Bitbucket,
    Azure,
    /// An address with places for what differs.
    Template(String),
}

impl Links {
    /// Reads `links`. The error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "gitlab" => Ok(Self::GitLab),
            "gitea" => Ok(Self::Gitea),
            "bitbucket" => Ok(Self::Bitbucket),
            "azure" => Ok(Self::Azure),
            text if !text.contains("://") => Err("neither a known host nor a template".to_owned()),
            text => {
                if !text.starts_with("https://") && !text.starts_with("http://") {
                    return Err("a template begins with https://".to_owned());
                }
                if let Some(unknown) = places(text).find(|place| !PLACES.contains(place)) {
                    return Err(format!("`{unknown}` is no place of a template"));
                }
                Ok(Self::Template(text.to_owned()))
            }
        }
    }

    /// The link to lines (1-based, inclusive) of a file.
    pub(super) fn link(
        &self,
        repository: &Address,
        commit: GitSha,
        path: &str,
        (first, last): (u32, u32),
    ) -> String {
        let (host, name) = (host(repository), encode_path(&repository.path()));
        let path = encode_path(path);
        match self {
            Self::GitLab => format!("{host}/{name}/-/blob/{commit}/{path}#L{first}-{last}"),
            Self::Gitea => format!("{host}/{name}/src/commit/{commit}/{path}#L{first}-L{last}"),
            Self::Bitbucket => match data_center(&name) {
                Some(page) => format!("{host}/{page}/browse/{path}?at={commit}#{first}-{last}"),
                None => format!("{host}/{name}/src/{commit}/{path}#lines-{first}:{last}"),
            },
            Self::Azure => {
                let name = azure_name(&name);
                // A line ends where the next one begins.
                let end = last.saturating_add(1);
                format!(
                    "{host}/{name}?path=/{path}&version=GC{commit}&line={first}&lineEnd={end}\
                     &lineStartColumn=1&lineEndColumn=1"
                )
            }
            Self::Template(template) => {
                // One pass, so that nothing in a path is taken for a place.
                let mut link = String::with_capacity(template.len() + path.len() + 64);
                let mut rest = template.as_str();
                while let Some(start) = rest.find('{') {
                    link.push_str(&rest[..start]);
                    rest = &rest[start..];
                    let end = rest.find('}').map_or(rest.len(), |end| end + 1);
                    match &rest[..end] {
                        "{host}" => link.push_str(host.trim_start_matches("https://")),
                        "{repository}" => link.push_str(&name),
                        "{commit}" => link.push_str(&commit.to_string()),
                        "{path}" => link.push_str(&path),
                        "{first}" => link.push_str(&first.to_string()),
                        "{last}" => link.push_str(&last.to_string()),
                        other => link.push_str(other),
                    }
                    rest = &rest[end..];
                }
                link + rest
            }
        }
    }
}

fn places(template: &str) -> impl Iterator<Item = &str> {
    template.match_indices('{').map(|(start, _)| {
        let rest = &template[start..];
        &rest[..rest.find('}').map_or(rest.len(), |end| end + 1)]
    })
}

/// The web server: that of the address, with its port where pages and repositories share it.
fn host(repository: &Address) -> String {
    let url = repository.url();
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix("ssh.").filter(|host| *host == "dev.azure.com").unwrap_or(host);
    match (url.scheme(), url.port()) {
        ("ssh", _) => format!("https://{host}"),
        (scheme, Some(port)) => format!("{scheme}://{host}:{port}"),
        (scheme, None) => format!("{scheme}://{host}"),
    }
}

/// The page of a repository on Bitbucket Data Center, which serves `scm/PROJECT/NAME`; the project of a user is
/// `~USER`.
fn data_center(name: &str) -> Option<String> {
    let (project, repository) = name.strip_prefix("scm/")?.split_once('/')?;
    Some(match project.strip_prefix('~') {
        Some(user) => format!("users/{user}/repos/{repository}"),
        None => format!("projects/{project}/repos/{repository}"),
    })
}

/// Over ssh, `ORGANIZATION/PROJECT/_git/NAME` is written `v3/ORGANIZATION/PROJECT/NAME`.
fn azure_name(name: &str) -> String {
    match name.strip_prefix("v3/").and_then(|rest| rest.rsplit_once('/')) {
        Some((project, repository)) => format!("{project}/_git/{repository}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(links: &str, address: &str) -> String {
        let address = Address::parse(address).expect("an address");
        let links = Links::parse(links).expect("links");
        links.link(&address, GitSha([0xab; 20]), "d ir/ü#.md", (3, 9)).replace(&"ab".repeat(20), "COMMIT")
    }

    #[test]
    fn every_host_has_its_form() {
        let app = "https://git.example:8443/group/sub/app.git";
        for (links, address, expected) in [
            ("gitlab", app, "https://git.example:8443/group/sub/app/-/blob/COMMIT/d%20ir/%C3%BC%23.md#L3-9"),
            (
                "gitea",
                app,
                "https://git.example:8443/group/sub/app/src/commit/COMMIT/d%20ir/%C3%BC%23.md#L3-L9",
            ),
            (
                "bitbucket",
                "ssh://git@bitbucket.org/ws/app.git",
                "https://bitbucket.org/ws/app/src/COMMIT/d%20ir/%C3%BC%23.md#lines-3:9",
            ),
            (
                "bitbucket",
                "https://git.example/scm/PRJ/app.git",
                "https://git.example/projects/PRJ/repos/app/browse/d%20ir/%C3%BC%23.md?at=COMMIT#3-9",
            ),
            (
                "bitbucket",
                "https://git.example/scm/~me/app.git",
                "https://git.example/users/me/repos/app/browse/d%20ir/%C3%BC%23.md?at=COMMIT#3-9",
            ),
            (
                "azure",
                "https://dev.azure.com/org/my%20project/_git/app",
                "https://dev.azure.com/org/my%20project/_git/app?path=/d%20ir/%C3%BC%23.md&version=GCCOMMIT&line=3\
                 &lineEnd=10&lineStartColumn=1&lineEndColumn=1",
            ),
            (
                "azure",
                "git@ssh.dev.azure.com:v3/org/project/app",
                "https://dev.azure.com/org/project/_git/app?path=/d%20ir/%C3%BC%23.md&version=GCCOMMIT&line=3\
                 &lineEnd=10&lineStartColumn=1&lineEndColumn=1",
            ),
            (
                "https://view.example/{repository}/{commit}/{path}?from={first}&to={last}",
                app,
                "https://view.example/group/sub/app/COMMIT/d%20ir/%C3%BC%23.md?from=3&to=9",
            ),
            ("https://{host}/x", app, "https://git.example:8443/x"),
        ] {
            assert_eq!(link(links, address), expected, "{links}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, expected) in [
            ("github", "neither a known host nor a template"),
            ("ftp://x/{path}", "a template begins with https://"),
            ("https://x/{file}", "`{file}` is no place of a template"),
            ("https://x/{path", "`{path` is no place of a template"),
        ] {
            assert_eq!(Links::parse(text).expect_err("refused"), expected);
        }
    }
}
