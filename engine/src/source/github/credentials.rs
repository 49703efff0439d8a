//! The identity used with GitHub: anonymous, the owner of a token, or an App's installation.

use std::sync::Arc;

use super::app::App;
use super::settings::GithubSettings;
use crate::model::{Fingerprint, Secret, StageError, StageResult, register_secrets};

/// The credentials of a stage.
#[derive(Clone)]
pub(super) enum Credentials {
    /// Public repositories only.
    None,
    /// A personal token.
    Token(Secret),
    /// A GitHub App's installation.
    Installation(Arc<App>),
}

impl Credentials {
    /// Takes the credentials out of the settings, which must not be contradictory.
    pub(super) fn new(stage: &str, settings: &GithubSettings) -> StageResult<Self> {
        let wrong = |message: &str| {
            Err(StageError::misconfigured(stage, message).hint(
                "give `token`, or `app_id`, `installation_id` and `private_key` together, or none of them",
            ))
        };
        match (&settings.token, settings.app_id, settings.installation_id, &settings.private_key) {
            (None, None, None, None) => Ok(Self::None),
            (Some(token), None, None, None) => {
                let text = token.expose();
                if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return wrong("`token` is empty or holds characters that no token has");
                }
                register_secrets([text.to_owned()]);
                Ok(Self::Token(token.clone()))
            }
            (None, Some(app_id), Some(installation), Some(key)) => {
                let app = App::new(app_id, installation, key.expose()).ok_or_else(|| {
                    StageError::misconfigured(stage, "`private_key` is not an RSA key in PEM form")
                        .hint("give the file that GitHub made for the App: private_key = \"${file:app.pem}\"")
                })?;
                Ok(Self::Installation(Arc::new(app)))
            }
            (Some(_), ..) => wrong("both `token` and a GitHub App are given"),
            _ => wrong("a GitHub App is given in part"),
        }
    }

    /// The token that requests carry, where it is always the same.
    pub(super) fn token(&self) -> Option<&Secret> {
        match self {
            Self::Token(token) => Some(token),
            Self::None | Self::Installation(_) => None,
        }
    }

    /// Tells stored answers of different credentials apart: what one may see, another may not.
    /// Eight hex digits of a hash: enough for that, and nothing to find a token by.
    pub(super) fn fingerprint(&self) -> String {
        let whole = match self {
            Self::None => Fingerprint::of(["none"]),
            Self::Token(token) => Fingerprint::of(["token", token.expose()]),
            Self::Installation(app) => {
                let (id, installation) = app.ids();
                Fingerprint::of(["app", &id.to_string(), &installation.to_string()])
            }
        };
        whole.as_str()[..8].to_owned()
    }

    /// What to do when they are not accepted.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::None => "set `token`: this server wants credentials",
            Self::Token(_) => "check the stage's `token`: it may be expired, revoked or mistyped",
            Self::Installation(_) => {
                "check the stage's `app_id`, `installation_id` and `private_key`, that the App is still installed, and this machine's clock"
            }
        }
    }

    /// True where there are any.
    pub(super) fn are_given(&self) -> bool {
        !matches!(self, Self::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;

    #[test]
    fn contradictions_are_refused_without_showing_secrets() {
        let secret = || Some(Secret::new("s3cr3t"));
        let settings = |token, app_id, private_key| GithubSettings {
            token,
            app_id,
            installation_id: app_id,
            private_key,
            ..GithubSettings::default()
        };
        assert!(matches!(Credentials::new("s", &settings(None, None, None)), Ok(Credentials::None)));
        assert!(matches!(Credentials::new("s", &settings(secret(), None, None)), Ok(Credentials::Token(_))));
        for bad in [
            settings(secret(), Some(1), secret()),
            settings(None, Some(1), None),
            settings(None, None, secret()),
            settings(None, Some(1), secret()),
            settings(Some(Secret::new("")), None, None),
            settings(Some(Secret::new("s3cr3t\n")), None, None),
        ] {
            let error = Credentials::new("s", &bad).err().expect("refused");
            assert_eq!(error.kind, ErrorKind::Misconfigured);
            assert!(error.hint.is_some());
            assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
        }
    }

    #[test]
    fn fingerprints_differ_by_credentials() {
        let one = Credentials::Token(Secret::new("a")).fingerprint();
        assert_ne!(one, Credentials::Token(Secret::new("b")).fingerprint());
        assert_ne!(one, Credentials::None.fingerprint());
        assert_eq!(one.len(), 8);
    }
}
