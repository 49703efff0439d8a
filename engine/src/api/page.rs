//! `GET /`: how current every project is and why, as one page for a browser. Rendered here, without
//! a script or anything from elsewhere; whatever it shows is escaped.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::App;
use super::audit::Trail;
use super::auth;
use super::error::{ApiResult, ErrorBody};
use super::projects::{ProjectBody, project_bodies};
use super::serve::Caller;
use crate::daemon::View;
use crate::model::{ApiScope, MOST_COMMITS, ProjectState, RepositoryState, RepositoryStatus};

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 1.5rem auto; padding: 0 1rem; max-width: 80rem; }
h1 { font-size: 1.3rem; margin: 0 0 .2rem; }
h2 { font-size: 1.05rem; margin: 0 .6rem 0 0; display: inline; }
header, article { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: .8rem 0; }
.badge { border-radius: .3rem; padding: .1rem .5rem; color: #fff; background: #57606a; font-size: .85rem; }
.good { background: #1a7f37; } .warn { background: #9a6700; } .bad { background: #cf222e; } .busy { background: #0969da; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0 0; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
code { font-size: .9em; } table { border-collapse: collapse; margin-top: .4rem; }
th, td { text-align: left; padding: .15rem 1rem .15rem 0; font-weight: normal; vertical-align: top; }
th { opacity: .7; } p { margin: .3rem 0; }
";
/// Seconds between automatic reloads of the page.
const AGAIN: u32 = 15;
/// Maximum number of repositories shown of one project; those that need attention come first.
const REPOSITORIES: usize = 200;

/// How current every project is and why, for a browser.
///
/// A browser is asked for the token as the password of any user name (Basic), which only this route accepts
/// in addition to the bearer token.
#[utoipa::path(get, path = "/", tag = "daemon", security(("bearer" = []), ("basic" = [])),
    responses((status = 200, content_type = "text/html", body = String), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody)))]
pub(super) async fn page(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let client = match auth::check_browser(&app, (&caller, &trail), &headers).await {
        Ok(client) => client,
        Err(error) => {
            let mut refused = error.into_response();
            if refused.status() == StatusCode::UNAUTHORIZED {
                let ask = HeaderValue::from_static("Basic realm=\"RepoSync\", charset=\"UTF-8\"");
                refused.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
            }
            return Ok(refused);
        }
    };
    client.require(ApiScope::Read)?;
    let mut view = View::clone(&app.handle.view());
    if client.require_whole_admin().is_err() {
        // The file's problems and changes name any project.
        (view.refused, view.last_reload) = (None, None);
    }
    let projects = project_bodies(&client).await?;
    let page = render(&view, &projects, Utc::now());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        BASE64_STANDARD.encode(Sha256::digest(STYLE))
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    Ok((headers, page).into_response())
}

fn render(view: &View, projects: &[ProjectBody], now: DateTime<Utc>) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>RepoSync</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"{AGAIN}\">\
         <style>{STYLE}</style></head><body>\n"
    );
    page.push_str(&head(view, now));
    for project in projects {
        page.push_str(&article(project, now));
    }
    if projects.is_empty() {
        page.push_str("<p>No project is declared or indexed.</p>\n");
    }
    page.push_str("</body></html>\n");
    page
}

fn head(view: &View, now: DateTime<Utc>) -> String {
    let (status, colour) = if view.is_degraded() { ("degraded", "bad") } else { ("healthy", "good") };
    let mut rows = Rows::default();
    rows.row("version", env!("CARGO_PKG_VERSION"));
    rows.row("running since", &at(view.since, now));
    rows.row("configuration", &format!("generation {}", view.generation()));
    if let Some(reload) = &view.last_reload {
        let message = format!("{}, {}: {}", reload.outcome, at(reload.at, now), reload.message);
        rows.row("last reload", &message);
    }
    if let Some(problem) = &view.refused {
        rows.row("the file on disk is refused", problem);
    }
    if !view.restart.is_empty() {
        rows.row("needs a restart", &view.restart.join(", "));
    }
    format!("<header><h1>RepoSync {}</h1>{}</header>\n", badge(status, colour), rows.finish())
}

fn article(project: &ProjectBody, now: DateTime<Utc>) -> String {
    let colour = match project.state {
        ProjectState::Current => "good",
        ProjectState::Running => "busy",
        ProjectState::Failed => "bad",
        ProjectState::Behind | ProjectState::Partial | ProjectState::Orphan => "warn",
        ProjectState::NeverRun | ProjectState::Disabled => "",
    };
    let mut rows = Rows::default();
    rows.row("indexed", &format!("{} vectors of {} files", project.vectors, project.files));
    rows.row("place", &project.place);
    if project.failed_files > 0 {
        rows.row("failed files", &project.failed_files.to_string());
    }
    if let Some(commit) = &project.indexed_commit {
        rows.row("commit", commit);
    }
    if let Some(head) = &project.head {
        rows.row("head", head);
    }
    rows.row("behind", &behind(project.commits_behind, project.seconds_behind));
    if let Some(run) = &project.last_run {
        let (outcome, ended) = (run.outcome.as_str(), at(run.finished_at, now));
        rows.row("last run", &format!("{outcome}, {ended} ({})", run.run));
    }
    for withheld in project.last_run.iter().flat_map(|run| &run.withheld) {
        rows.row("withheld", &withheld.message);
    }
    if let Some(error) = &project.last_error {
        rows.row("last error", error);
    }
    if let Some(run) = &project.running {
        rows.row("running", run);
    }
    if let Some(run) = &project.queued {
        rows.row("queued", run);
    }
    for (label, time) in [("next run", project.next_run), ("next try", project.retry_at)] {
        if let Some(time) = time {
            rows.row(label, &at(time, now));
        }
    }
    format!(
        "<article><h2>{}</h2>{}{}{}</article>\n",
        escape(&project.project),
        badge(project.state.as_str(), colour),
        rows.finish(),
        repositories(&project.repositories, now)
    )
}

/// The repositories of a project, but for a single one that is current: its commits are shown already.
fn repositories(all: &[RepositoryStatus], now: DateTime<Utc>) -> String {
    let lagging = all.iter().filter(|repository| repository.state != RepositoryState::Current).count();
    if all.len() < 2 && lagging == 0 {
        return String::new();
    }
    let mut table = format!(
        "<details{}><summary>{} {}, {lagging} not current</summary><table>\
         <tr><th>repository<th>state<th>commit<th>head<th>behind<th>synced<th>error</tr>\n",
        if lagging > 0 { " open" } else { "" },
        all.len(),
        if all.len() == 1 { "repository" } else { "repositories" },
    );
    for repository in all.iter().take(REPOSITORIES) {
        let short = |sha: Option<crate::model::GitSha>| {
            sha.map_or_else(|| "none".to_owned(), |sha| sha.to_string()[..10].to_owned())
        };
        let synced = match repository.orphan_since {
            Some(since) => format!("gone from the source, seen missing {}", at(since, now)),
            None => repository.synced_at.map_or_else(|| "never".to_owned(), |time| at(time, now)),
        };
        table.push_str(&format!(
            "<tr><td>{}<td>{}<td><code>{}</code><td><code>{}</code><td>{}<td>{}<td>{}</tr>\n",
            escape(&repository.repository),
            repository.state.as_str(),
            short(repository.indexed),
            short(repository.head),
            commits(repository.commits_behind),
            escape(&synced),
            escape(repository.error.as_deref().unwrap_or_default())
        ));
    }
    if all.len() > REPOSITORIES {
        table.push_str(&format!("<tr><td>and {} more</tr>\n", all.len() - REPOSITORIES));
    }
    table.push_str("</table></details>");
    table
}

fn behind(count: Option<u64>, seconds: Option<u64>) -> String {
    if count == Some(0) {
        return "nothing".to_owned();
    }
    let since = seconds.map_or_else(|| ", never synced".to_owned(), |seconds| format!(", {}", span(seconds)));
    commits(count) + &since
}

fn commits(count: Option<u64>) -> String {
    match count {
        None => "unknown".to_owned(),
        Some(1) => "1 commit".to_owned(),
        Some(MOST_COMMITS) => format!("{MOST_COMMITS} commits or more"),
        Some(n) => format!("{n} commits"),
    }
}

/// A moment with its distance from now.
fn at(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let distance = (now - time).num_seconds();
    let (before, after) = if distance < 0 { ("in ", "") } else { ("", " ago") };
    format!("{} ({before}{}{after})", time.format("%Y-%m-%d %H:%M:%S UTC"), span(distance.unsigned_abs()))
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn badge(text: &str, colour: &str) -> String {
    format!("<span class=\"badge {colour}\">{}</span>", escape(text))
}

/// A list of labels and texts.
#[derive(Default)]
struct Rows(String);

impl Rows {
    /// Nothing where there is nothing to say.
    fn row(&mut self, label: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.0.push_str(&format!("<dt>{}<dd>{}\n", escape(label), escape(text)));
    }

    fn finish(self) -> String {
        format!("<dl>{}</dl>", self.0)
    }
}

/// Text that is nothing but text in an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_never_markup() {
        assert_eq!(escape("<b a='1' c=\"2\">&\u{1b}[0m"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp; [0m");
    }

    #[test]
    fn how_far_behind_is_said_in_words() {
        for (commits, seconds, expected) in [
            (Some(0), Some(0), "nothing"),
            (Some(1), Some(90), "1 commit, 90 s"),
            (Some(12), Some(600), "12 commits, 10 min"),
            (Some(MOST_COMMITS), Some(90_000), "1000 commits or more, 25 h"),
            (None, Some(864_000), "unknown, 10 days"),
            (None, None, "unknown, never synced"),
        ] {
            assert_eq!(behind(commits, seconds), expected);
        }
    }
}
