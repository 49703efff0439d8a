//! The running configuration, the problems of the file on disk, and the button that reloads it.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use chrono::Utc;
use maud::html;

use super::failure::PageResult;
use super::format::{ago, badge};
use super::layout;
use super::posted::Posted;
use super::visitor::Visitor;
use crate::api::App;
use crate::api::error::ApiError;

/// The page.
pub(super) async fn page(State(app): State<App>, visitor: Visitor) -> PageResult {
    visitor.client.require_whole_admin()?;
    let view = app.handle.view();
    let now = Utc::now();
    let main = html! {
        div.head {
            div.title {
                h1 { "Configuration" }
                @if view.refused.is_some() { (badge("file refused", "bad")) } @else { (badge("in force", "good")) }
            }
            form.actions method="post" action="/console/config/reload" {
                (layout::csrf(&visitor))
                button.primary type="submit" { "Reload the file" }
            }
        }
        @if let Some(problem) = &view.refused {
            div.callout.bad role="alert" { strong { "The file on disk is refused; the running configuration is kept." } p { (problem) } }
        }
        @for problem in view.problems() {
            div.callout.bad {
                strong { code { (problem.path) } @if let Some(line) = problem.line { ", line " (line) } }
                p { (problem.message) @if let Some(hint) = &problem.hint { ": " (hint) } }
                @if let Some(snippet) = problem.snippet.as_ref().filter(|line| !line.is_empty()) { p { code.break { (snippet) } } }
            }
        }
        @if !view.restart.is_empty() {
            div.callout.warn { strong { "These keys take effect only after a restart" } p { (view.restart.join(", ")) } }
        }
        section.card {
            div.body {
                dl.facts {
                    dt { "File" } dd { code { (view.file().display().to_string()) } }
                    dt { "Generation" } dd { (view.generation()) }
                    dt { "Running since" } dd { (ago(view.since, now)) }
                    dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
                    @if let Some(reload) = &view.last_reload {
                        dt { "Last reload" } dd { (reload.outcome) ", " (ago(reload.at, now)) ": " (reload.message) }
                    }
                }
            }
        }
        section.card {
            header { h2 { "As resolved" } span.muted { "defaults filled in, secrets masked" } }
            pre tabindex="0" aria-label="Configuration" { (view.shown()) }
        }
    };
    Ok(layout::page(&visitor, "Configuration", "/console/config", &main))
}

/// Reloads the file and waits for the outcome.
pub(super) async fn reload(posted: Posted) -> PageResult {
    let client = &posted.visitor.client;
    client.require_whole_admin()?;
    client.handle.reload().await.ok_or_else(ApiError::stopping)?;
    Ok(Redirect::to("/console/config").into_response())
}
