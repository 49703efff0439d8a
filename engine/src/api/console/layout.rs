//! What all pages have: head, navigation, and the policy under which browsers show them.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::visible::visible;
use super::visitor::Visitor;
use crate::model::ApiScope;

/// Nothing but the program's own style and script; forms go back to it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const MARK: &str = "<svg viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.2\" stroke-linecap=\"round\" \
                    stroke-linejoin=\"round\" aria-hidden=\"true\"><path d=\"M4 11a8 8 0 0 1 14-4.2L20 9\"/><path d=\"M20 4v5h-5\"/>\
                    <path d=\"M20 13a8 8 0 0 1-14 4.2L4 15\"/><path d=\"M4 20v-5h5\"/></svg>";

/// The name with the mark.
pub(super) fn brand() -> Markup {
    html! { a.brand href="/console" { (PreEscaped(MARK)) "RepoSync" } }
}

/// A page with navigation. `path`: the entry of the navigation that it belongs to.
pub(super) fn page(visitor: &Visitor, title: &str, path: &str, main: &Markup) -> Response {
    let has_queue = visitor.client.handle.app().has_queue();
    let entries = [
        ("/console", "Overview", ApiScope::Read, "o"),
        ("/console/runs", "Runs", ApiScope::Read, "r"),
        ("/console/plans", "Plans", ApiScope::Read, "p"),
        ("/console/queue", "Queue", ApiScope::Read, "q"),
        ("/console/search", "Search", ApiScope::Query, "s"),
        ("/console/usage", "Usage", ApiScope::Read, "u"),
        ("/console/config", "Configuration", ApiScope::Admin, "c"),
        ("/console/audit", "Audit log", ApiScope::Admin, "a"),
        ("/console/docs", "API", ApiScope::Read, "d"),
    ];
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            div {
                (brand())
                nav aria-label="Main" {
                    @for (href, label, scope, key) in entries {
                        @if visitor.client.has(scope) && (has_queue || href != "/console/queue") {
                            a href=(href) aria-current=[(href == path).then_some("page")] data-key=(key) { (label) }
                        }
                    }
                }
                div.who {
                    span.wide title="The token of this session" { (visitor.client.grant().name) }
                    form method="post" action="/console/sign-out" {
                        (csrf(visitor))
                        button.plain type="submit" { "Sign out" }
                    }
                }
            }
        }
        main id="main" tabindex="-1" { (main) }
    };
    bare(title, &body)
}

/// The field that every form carries.
pub(super) fn csrf(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="csrf" value=(visitor.csrf); }
}

/// A page without navigation.
pub(super) fn bare(title: &str, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · RepoSync" }
                link rel="icon" href="/console/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/console/assets/style.css";
                script src="/console/assets/app.js" defer {}
            }
            body { (body) }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (headers, visible(page.into_string())).into_response()
}
