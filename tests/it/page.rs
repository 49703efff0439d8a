//! The page for browsers: what it shows, to whom, and that all content is escaped.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::support::daemon::{API, Daemon};
use crate::support::local::{Local, project};

#[test]
fn a_browser_sees_how_current_every_project_is_and_why() {
    let local = Local::new();
    local.config(&project(&format!("schedule = \"0 8 * * *\"\n{API}")));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    // Text quoted by an error is escaped.
    local.config("[projects.\"<script>alert(1)</script>\"]\n");
    daemon.until("the refusal", |daemon| daemon.reloads("refused") > 0);
    let page = daemon.get("/").is(200);
    let commit = local.repo.sha("HEAD").to_string();
    for shown in [
        "degraded",
        "<h2>docs</h2><span class=\"badge good\">current</span>",
        &format!("<dt>commit<dd>{commit}"),
        &format!("<dt>head<dd>{commit}"),
        "<dt>behind<dd>nothing",
        "<dt>last run<dd>done",
        "<dt>next run",
        "<dt>last reload<dd>refused",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
    ] {
        assert!(page.body.contains(shown), "no {shown} in {}", page.body);
    }
    assert!(!page.body.contains("<script") && !page.body.contains("http://"), "{}", page.body);
    let head = page.head.to_lowercase();
    assert!(head.contains("content-security-policy: default-src 'none'; style-src 'sha256-"), "{head}");
    // The policy allows exactly the inline style of the page.
    let style =
        page.body.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
    let digest = BASE64_STANDARD.encode(Sha256::digest(style));
    assert!(page.head.contains(&format!("style-src 'sha256-{digest}'")), "{}", page.head);
    // Requests with another `Host` are refused.
    daemon.request("GET", "/", &[("Host", "example.com")], b"").is(403);
    daemon.request("POST", "/", &[], b"").is(405);
}

#[test]
fn the_page_takes_the_token_as_a_password_and_no_other_route_does() {
    let local = Local::new();
    local.config(&project(&format!("{API}token = \"correct:horse\"\n")));
    let daemon = Daemon::start(&local.world);
    let refused = daemon.get("/").is(401);
    assert!(
        refused.head.to_lowercase().contains("www-authenticate: basic realm=\"reposync\""),
        "{}",
        refused.head
    );
    assert!(!refused.body.contains("docs"));
    let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
    for right in [basic("anybody:correct:horse"), basic(":correct:horse"), "Bearer correct:horse".to_owned()]
    {
        assert!(
            daemon
                .request("GET", "/", &[("Authorization", &right)], b"")
                .is(200)
                .body
                .contains("<h2>docs</h2>")
        );
    }
    for wrong in [basic("correct:horse"), basic("x:wrong"), basic("x:"), "Basic ???".to_owned()] {
        daemon.request("GET", "/", &[("Authorization", &wrong)], b"").is(401);
    }
    // A browser would send it along with a form of any other page.
    let headers = [("Authorization", basic("anybody:correct:horse"))];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for (method, path) in [("GET", "/projects"), ("POST", "/sync"), ("POST", "/reload"), ("GET", "/metrics")]
    {
        daemon.request(method, path, &headers, b"").is(401);
    }
}
