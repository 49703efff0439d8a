//! Components in registries: the pull part of the OCI distribution specification.

mod login;
mod manifest;

use bytes::Bytes;
use url::{Host, Url};

use self::login::Session;
use super::call::{Caller, Reply};
use crate::chunk::component::{Artifact, MAX_COMPONENT};
use crate::config::Registry;
use crate::model::{ByteSize, StageError, StageResult};

/// Downloads the component of an artifact. With `sha256`, its blob is fetched without reading the
/// manifest.
pub(super) async fn download(
    caller: &Caller,
    artifact: &Artifact,
    login: Option<&Registry>,
    sha256: Option<&str>,
) -> StageResult<Bytes> {
    let mut registry = Repository::new(caller, artifact, login)?;
    let digest = match sha256 {
        Some(sha256) => format!("sha256:{sha256}"),
        None => registry.resolve().await?,
    };
    registry.blob(&digest).await
}

/// A repository of a registry.
struct Repository<'a> {
    artifact: &'a Artifact,
    base: Url,
    session: Session<'a>,
}

impl<'a> Repository<'a> {
    fn new(caller: &'a Caller, artifact: &'a Artifact, login: Option<&'a Registry>) -> StageResult<Self> {
        let base = base_of(&artifact.host, &artifact.name).ok_or_else(|| {
            StageError::misconfigured(caller.stage(), format!("`{}` is not a host", artifact.host))
        })?;
        Ok(Self { artifact, base, session: Session::new(caller, artifact, login) })
    }

    fn shown(&self) -> String {
        let Artifact { host, name, reference } = self.artifact;
        let mark = if reference.starts_with("sha256:") { '@' } else { ':' };
        format!("oci://{host}/{name}{mark}{reference}")
    }

    fn fault(&self, message: String, hint: &str) -> StageError {
        StageError::misconfigured(self.session.stage(), message).hint(hint)
    }

    /// The digest of the component, from the manifest.
    async fn resolve(&mut self) -> StageResult<String> {
        let reference = &self.artifact.reference;
        let body = self.get(&format!("manifests/{reference}"), Some(manifest::ACCEPT)).await?;
        if let Some(expected) = reference.strip_prefix("sha256:") {
            self.check(&body, expected, "the manifest")?;
        }
        let layer = manifest::component(&body)
            .map_err(|(what, hint)| self.fault(format!("`{}` {what}", self.shown()), hint))?;
        if layer.size > MAX_COMPONENT {
            let most = ByteSize(MAX_COMPONENT);
            let message =
                format!("`{}` is {} MiB large; the limit is {most}", self.shown(), layer.size >> 20);
            return Err(self.fault(message, "check that it is the right one"));
        }
        Ok(layer.digest)
    }

    async fn blob(&mut self, digest: &str) -> StageResult<Bytes> {
        let body = self.get(&format!("blobs/{digest}"), None).await?;
        self.check(&body, digest.strip_prefix("sha256:").unwrap_or(digest), "the blob")?;
        Ok(body)
    }

    fn check(&self, body: &[u8], expected: &str, what: &str) -> StageResult<()> {
        use sha2::{Digest, Sha256};
        let found = hex::encode(Sha256::digest(body));
        if found == expected {
            return Ok(());
        }
        let message =
            format!("{what} of `{}` has the sha256 {found}, and {expected} was expected", self.shown());
        Err(self.fault(message, "the registry, or a proxy in front of it, damages what it serves"))
    }

    async fn get(&mut self, path: &str, accept: Option<&'static str>) -> StageResult<Bytes> {
        let url =
            self.base.join(path).map_err(|_| self.fault(format!("`{path}` is no path"), "report this"))?;
        match self.session.get(&url, accept).await? {
            Reply::Body(body) => Ok(body),
            Reply::Missing => Err(self.fault(
                format!("the registry has no `{}` ({path})", self.shown()),
                "check name and tag; a private one is also missing for those who may not see it",
            )),
            Reply::Denied => Err(self.fault(
                format!("the registry refuses `{}` to this login", self.shown()),
                "the login needs the right to pull",
            )),
            Reply::Unauthorized(_) => Err(self.session.unauthorized()),
        }
    }
}

/// The address of a repository's API. Registries of this machine have no TLS.
fn base_of(host: &str, name: &str) -> Option<Url> {
    let url = Url::parse(&format!("https://{host}/v2/{name}/")).ok()?;
    let is_here = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    if is_here { Url::parse(&format!("http://{host}/v2/{name}/")).ok() } else { Some(url) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_of_this_machine_go_without_tls() {
        for (host, base) in [
            ("ghcr.io", "https://ghcr.io/v2/a/b/"),
            ("localhost:5000", "http://localhost:5000/v2/a/b/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/v2/a/b/"),
            ("[::1]:5000", "http://[::1]:5000/v2/a/b/"),
            ("localhost.example.com", "https://localhost.example.com/v2/a/b/"),
        ] {
            assert_eq!(base_of(host, "a/b").map(String::from).as_deref(), Some(base));
        }
    }
}
