//! Settings of `kind = "github"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Secret;
use crate::settings::{Checker, choice};
use crate::stage::{StageConfig, edit_costs};

/// `kind = "github"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GithubSettings {
    /// A personal token (classic or fine-grained). Optional for public repositories.
    pub token: Option<Secret>,
    /// A GitHub App's id; goes with `installation_id` and `private_key`.
    pub app_id: Option<u64>,
    /// The App's installation.
    pub installation_id: Option<u64>,
    /// The App's private key, PEM (usually `"${file:…}"`).
    pub private_key: Option<Secret>,
    /// The API's base: `https://api.github.com`, or `https://HOST/api/v3` for Enterprise Server.
    pub api_url: String,
    /// Also take forks.
    pub forks: bool,
    /// Also take archived repositories.
    pub archived: bool,
}

impl Default for GithubSettings {
    fn default() -> Self {
        Self {
            token: None,
            app_id: None,
            installation_id: None,
            private_key: None,
            api_url: "https://api.github.com".into(),
            forks: true,
            archived: true,
        }
    }
}

impl StageConfig for GithubSettings {
    const KIND: &'static str = "github";

    edit_costs! {
        credentials: token, app_id, installation_id, private_key;
        index: api_url, forks, archived;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        if let Some(url) = check.url("api_url", &self.api_url)
            && matches!(url.host_str(), Some("github.com" | "www.github.com"))
        {
            let hint = "use \"https://api.github.com\", or \"https://HOST/api/v3\" for Enterprise Server";
            check.flag("api_url", "this is the web site, not the API", hint);
        }
        let app = ["app_id", "installation_id", "private_key"];
        let (given, missing): (Vec<&str>, Vec<&str>) = app.into_iter().partition(|key| check.has(key));
        if let Some(first) = given.first() {
            if !missing.is_empty() {
                let message =
                    format!("a GitHub App also needs {}", choice(&missing).replace(" or ", " and "));
                check.flag(first, message, "`app_id`, `installation_id` and `private_key` go together");
            }
            if check.has("token") {
                let hint = "keep either `token` or the GitHub App's three keys";
                check.flag("token", "a token and a GitHub App exclude each other", hint);
            }
        }
        check.secret("token", self.token.as_ref());
        if let Some(key) = &self.private_key
            && !key.expose().trim_start().starts_with("-----BEGIN")
        {
            let hint = "write private_key = \"${file:PATH}\" with the path of the App's .pem file";
            check.flag("private_key", "not a PEM key", hint);
        }
    }
}
