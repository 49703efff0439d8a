//! The tokens in force: that of `[api] token` or the generated one, and those of `[api.tokens]`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::token::ApiToken;
use crate::config::{Config, TokenDigest, token_digest};
use crate::model::{Access, ApiScope};

/// The tokens in force, as digests.
#[derive(Debug, Clone)]
pub struct Tokens {
    tokens: Vec<(TokenDigest, Arc<Grant>)>,
    own: ApiToken,
}

/// What a token allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The name of a token of `[api.tokens]`; `api`: `[api] token`; `local`: the generated one.
    pub name: String,
    /// True for the generated token, which only programs of this machine may use.
    pub is_local: bool,
    /// What may be done.
    pub scopes: BTreeSet<ApiScope>,
    /// What may be seen.
    pub access: Arc<Access>,
    /// Maximum number of requests in a minute; `None`: unlimited.
    pub requests_per_minute: Option<u32>,
}

impl Grant {
    /// True if the token has this scope.
    pub fn has(&self, scope: ApiScope) -> bool {
        self.scopes.contains(&scope)
    }
}

impl Tokens {
    /// The tokens of a configuration. `own`: `[api] token`, or the generated one.
    pub(super) fn of(own: ApiToken, config: &Config) -> Self {
        let is_local = own.file().is_some();
        let whole = Grant {
            name: if is_local { "local" } else { "api" }.to_owned(),
            is_local,
            scopes: ApiScope::ALL.into(),
            access: Arc::default(),
            requests_per_minute: None,
        };
        let mut tokens = vec![(token_digest(own.value().expose().as_bytes()), Arc::new(whole))];
        tokens.extend(config.api.tokens.iter().map(|token| {
            let grant = Grant {
                name: token.name.clone(),
                is_local: false,
                scopes: token.scopes.clone(),
                access: Arc::new(token.access.clone()),
                requests_per_minute: token.requests_per_minute,
            };
            (token.digest, Arc::new(grant))
        }));
        Self { tokens, own }
    }

    /// What the token of this value allows; `None`: there is no such token. Compares digests, all of them and
    /// whole, so that the time says nothing of how close the value is.
    pub fn grant(&self, given: &[u8]) -> Option<&Arc<Grant>> {
        let given = token_digest(given);
        let mut found = None;
        for (digest, grant) in &self.tokens {
            let differ = digest.iter().zip(&given).fold(0, |differ, (a, b)| differ | (a ^ b));
            if std::hint::black_box(differ) == 0 {
                found = Some(grant);
            }
        }
        found
    }

    /// The digests of all tokens, and what each allows.
    pub(super) fn each(&self) -> impl Iterator<Item = &(TokenDigest, Arc<Grant>)> {
        self.tokens.iter()
    }

    /// The file of the generated token; `None` if `[api] token` is set.
    pub fn file(&self) -> Option<&Path> {
        self.own.file()
    }

    /// True if the file has `[api.tokens]`.
    pub fn has_named(&self) -> bool {
        self.tokens.len() > 1
    }

    pub(super) fn own(&self) -> &ApiToken {
        &self.own
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Need, parse_str};

    #[test]
    fn a_token_is_found_by_its_whole_value() {
        let text = "[stages.local]\nkind = \"git\"\n[stages.prose]\nkind = \"sentence\"\n[stages.model]\nkind = \"local\"\n\
                    [stages.index]\nkind = \"sqlite\"\n[projects.docs]\n\
                    pipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n\
                    [api]\ntoken = \"correct horse\"\n[api.tokens.ci]\ntoken = \"battery staple\"\nprojects = [\"docs\"]\n";
        let config =
            parse_str(Path::new("/example/reposync.toml"), text, &Need::enabled().with_api()).expect("valid");
        let tokens = Tokens::of(ApiToken::of(&config).expect("configured"), &config);
        let name = |given: &str| tokens.grant(given.as_bytes()).map(|grant| grant.name.clone());
        assert_eq!(name("correct horse").as_deref(), Some("api"));
        assert_eq!(name("battery staple").as_deref(), Some("ci"));
        for wrong in ["", "correct hors", "correct horse ", "battery", "Battery staple"] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
        let ci = tokens.grant(b"battery staple").expect("there");
        assert!(ci.has(ApiScope::Read) && !ci.has(ApiScope::Admin) && !ci.access.has_project("code"));
        let api = tokens.grant(b"correct horse").expect("there");
        assert!(api.has(ApiScope::Admin) && api.access.is_whole() && !api.is_local);
        assert!(!format!("{tokens:?}").contains("horse"));
    }
}
