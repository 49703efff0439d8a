//! A run: how far it is, what it did, and what failed; followed while it works.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Extension;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Redirect, Sse};
use chrono::{DateTime, Utc};
use futures::stream::{self, Stream, StreamExt as _};
use maud::{Markup, html};

use super::failure::{Failure, PageResult};
use super::format::{count, duration, encode, moment, number, run_badge};
use super::runs::projects;
use super::visitor::Visitor;
use super::{layout, posted::Posted, queue, remarks};
use crate::api::audit::Trail;
use crate::api::error::ApiError;
use crate::api::extract::Id;
use crate::app::UnitQuery;
use crate::daemon::{Feed, Progress, RepositoryProgress, RunView};
use crate::model::{ApiScope, Failure as Failed, ProjectReport};

/// Changes are announced at most this often.
const PAUSE: Duration = Duration::from_millis(700);
/// Units of a run that are shown while it works.
const UNITS: usize = 100;
/// The same of repositories that this process works on.
const REPOSITORIES: usize = 100;

async fn find(visitor: &Visitor, id: &str) -> Result<RunView, Failure> {
    visitor.client.require(ApiScope::Read)?;
    let run = visitor.client.handle.run(id).await?;
    run.ok_or_else(|| ApiError::not_found("there is no such run; old runs are deleted").into())
}

/// The page.
pub(super) async fn page(visitor: Visitor, Id(id): Id) -> PageResult {
    let run = find(&visitor, &id).await?;
    let is_open = matches!(run.status, "running" | "queued");
    let progress = if is_open { visitor.client.handle.progress(&id).await? } else { None };
    let app = visitor.client.handle.app();
    let units = if is_open && app.has_queue() {
        app.units_of(&UnitQuery { run: Some(run.run.clone()), limit: UNITS, ..UnitQuery::default() }).await?
    } else {
        Vec::new()
    };
    let events = format!("/console/runs/{}/events", encode(&id));
    let main = html! {
        div data-live="run" data-events=[is_open.then_some(events)] {
            div.head {
                div {
                    div.crumbs { a href="/console/runs" { "Runs" } " /" }
                    div.title { h1 { (projects(&run)) } (run_badge(run.status, run.outcome)) }
                }
                (actions(&visitor, &run, is_open))
            }
            (facts(&run))
            @if is_open { (live(&run, progress.as_ref())) }
            // The repositories that workers have not finished; without workers, those of this process.
            @if let Some(progress) = progress.as_ref().filter(|_| units.is_empty()) { (repositories(progress)) }
            @if !units.is_empty() { (queue::units(&visitor, &units, Utc::now())) }
            @for part in run.report.iter().flat_map(|report| &report.projects) { (report(part)) }
        }
    };
    Ok(layout::page(&visitor, &format!("Run of {}", projects(&run)), "/console/runs", &main))
}

/// Cancels a run.
pub(super) async fn cancel(Id(id): Id, Extension(trail): Extension<Trail>, posted: Posted) -> PageResult {
    let client = &posted.visitor.client;
    client.require(ApiScope::Sync)?;
    let run = find(&posted.visitor, &id).await?;
    trail.about(run.project.as_slice());
    client.handle.cancel(&id).await?;
    Ok(Redirect::to(&format!("/console/runs/{}", encode(&id))).into_response())
}

/// `changed` when the page is worth another look, and `end` at the end.
pub(super) async fn events(
    visitor: Visitor,
    Id(id): Id,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    find(&visitor, &id).await?;
    // Browsers ignore events without data.
    let event = |name: &str| Event::default().event(name).data("{}");
    let feeds = visitor.client.handle.events(&id).await?;
    let happened = stream::select_all(feeds.into_iter().map(|feed| items(feed).boxed()));
    let changed = stream::unfold(happened, move |mut happened| async move {
        happened.next().await?;
        // What happens next belongs to the same look, until the pause is over.
        let more = async { while happened.next().await.is_some() {} };
        drop(tokio::time::timeout(PAUSE, more).await);
        Some((event("changed"), happened))
    });
    let end = stream::once(async move { event("end") });
    let events = changed.chain(end).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn items(feed: Feed) -> impl Stream<Item = ()> + Send {
    stream::unfold(feed, |mut feed| async move {
        feed.next().await?;
        Some(((), feed))
    })
}

fn actions(visitor: &Visitor, run: &RunView, is_open: bool) -> Markup {
    html! {
        div.actions {
            @if visitor.client.has(ApiScope::Sync) {
                @if is_open {
                    form method="post" action={ "/console/runs/" (encode(&run.run)) "/cancel" } {
                        (layout::csrf(visitor))
                        button.danger type="submit" { "Cancel" }
                    }
                } @else if let Some(project) = &run.project {
                    form method="post" action={ "/console/projects/" (encode(project)) "/sync" } {
                        (layout::csrf(visitor))
                        button type="submit" { "Run again" }
                    }
                }
            }
            @if let Some(project) = &run.project {
                a.button href={ "/console/projects/" (encode(project)) } { "Project" }
            }
        }
    }
}

fn facts(run: &RunView) -> Markup {
    let time = |text: &Option<String>| text.as_ref().and_then(|at| at.parse::<DateTime<Utc>>().ok());
    let (started, finished) = (time(&run.started_at), time(&run.finished_at));
    let took = run.report.as_ref().map(|report| report.seconds).or_else(|| {
        let end = if run.status == "running" { Some(Utc::now()) } else { finished };
        Some((end? - started?).as_seconds_f64().max(0.0))
    });
    html! {
        section.card {
            div.body {
                dl.facts.columns {
                    dt { "Run" } dd { code { (run.run) } }
                    @if run.request != run.run { dt { "Request" } dd { code { (run.request) } } }
                    dt { "Trigger" } dd { (run.trigger) }
                    @if let Some(at) = started { dt { "Started" } dd { (moment(at)) } }
                    @if let Some(at) = finished { dt { "Finished" } dd { (moment(at)) } }
                    @if let Some(seconds) = took { dt { "Took" } dd { (duration(seconds)) } }
                }
            }
        }
    }
}

fn live(run: &RunView, progress: Option<&Progress>) -> Markup {
    let started = run.started_at.as_ref().and_then(|at| at.parse::<DateTime<Utc>>().ok());
    let seconds = started.map(|at| (Utc::now() - at).as_seconds_f64());
    let pace = progress.zip(seconds).and_then(|(progress, seconds)| pace(progress, seconds));
    html! {
        section.card {
            header {
                h2 { @if run.status == "queued" { "Waits for the run before it" } @else { "Progress" } }
                @if let Some(pace) = pace { span.muted { (pace) } }
            }
            @if let Some(progress) = progress {
                div.body {
                    (phases(progress))
                    p role="status" aria-live="polite" {
                        @if let Some(waiting) = &progress.waiting { (waiting) }
                        @else if let Some(repository) = &progress.repository { "Working on " code { (repository) } }
                    }
                }
            }
        }
    }
}

fn phases(progress: &Progress) -> Markup {
    html! {
        div.phases {
            @for phase in &progress.phases {
                div.phase {
                    span { (phase.name) }
                    // Some phases are not known beforehand.
                    @if phase.expected == 0 {
                        progress aria-label=(phase.name) {}
                        span.number { (number(phase.done)) }
                    } @else {
                        progress max=(phase.expected) value=(phase.done) aria-label=(phase.name) {}
                        span.number { (number(phase.done)) " of " (number(phase.expected)) }
                    }
                }
            }
        }
    }
}

/// A row for each repository: failing ones first, then those that are worked on.
fn repositories(progress: &Progress) -> Markup {
    let mut rows: Vec<(&str, RepositoryProgress)> =
        progress.repositories.iter().map(|((_, name), one)| (name.as_str(), *one)).collect();
    rows.retain(|(_, one)| one.changes + one.removals + one.failed > 0);
    rows.sort_by_key(|(_, one)| (one.failed == 0, one.is_done()));
    let more = rows.len().saturating_sub(REPOSITORIES);
    html! {
        @if !rows.is_empty() {
            section.card {
                header { h2 { "Repositories" } }
                div.scroll tabindex="0" role="region" aria-label="Repositories" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Repository" } th scope="col" { "Files" }
                                th.number scope="col" { "To remove" } th.number scope="col" { "Failed" }
                            }
                        }
                        tbody { @for (name, one) in rows.iter().take(REPOSITORIES) { (repository(name, *one)) } }
                    }
                }
                @if more > 0 { div.body { p.muted { "and " (count(more as u64, "repository", "repositories")) " more" } } }
            }
        }
    }
}

fn repository(name: &str, one: RepositoryProgress) -> Markup {
    html! {
        tr {
            td { code.break { (name) } }
            td {
                @if one.changes > 0 {
                    div.share {
                        progress max=(one.changes) value=(one.done + one.failed) aria-label={ "Files of " (name) } {}
                        span.number { (number(one.done)) " of " (number(one.changes)) }
                    }
                }
            }
            td.number { @if one.removals > 0 { (number(one.removals)) } }
            td.number { @if one.failed > 0 { span.bad { (number(one.failed)) } } }
        }
    }
}

/// Files recorded per second, and the time that is left at this rate. As in the terminal, it is estimated after 2 seconds
/// and 20 files, once all repositories are compared.
fn pace(progress: &Progress, seconds: f64) -> Option<String> {
    let phase = |name| progress.phases.iter().find(|phase| phase.name == name);
    let (compared, recorded) = (phase("Compare")?, phase("Record")?);
    if seconds < 2.0 || recorded.done < 20 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let (done, left) = (recorded.done as f64, recorded.expected.saturating_sub(recorded.done) as f64);
    let rate = format!("{:.1} files per second", done / seconds);
    let is_known = compared.done >= compared.expected && left > 0.0;
    Some(if is_known { format!("about {} left, {rate}", duration(left * seconds / done)) } else { rate })
}

fn report(part: &ProjectReport) -> Markup {
    let counts = &part.counts;
    let tiles = [
        ("Added", counts.files_added, ""),
        ("Changed", counts.files_changed, ""),
        ("Moved", counts.files_moved, ""),
        ("Removed", counts.files_removed, ""),
        ("Failed", counts.files_failed, "bad"),
        ("Skipped", counts.files_skipped, ""),
    ];
    html! {
        section.card {
            header {
                h2 { a href={ "/console/projects/" (encode(&part.project)) } { (part.project) } }
                (run_badge("finished", Some(part.outcome)))
            }
            div.body {
                div.tiles {
                    @for (label, n, colour) in tiles {
                        div class={ "tile " @if n > 0 { (colour) } } { div.label { (label) } div.value { (number(n)) } }
                    }
                }
                p.muted {
                    (count(counts.repositories, "repository", "repositories")) ", " (number(counts.repositories_unchanged)) " unchanged. "
                    (count(counts.texts_embedded, "text", "texts")) " embedded, " (number(counts.texts_cached)) " from the cache, "
                    (count(counts.tokens, "token", "tokens")) @if counts.price > 0.0 { ", " (format!("{:.4}", counts.price)) } ". "
                    (count(counts.vectors_written, "vector", "vectors")) " written, " (number(counts.vectors_deleted)) " deleted."
                }
                @if let Some(error) = &part.error { (callout(error)) }
                @if let Some(quality) = &part.search_quality {
                    @if quality.is_bad() {
                        div.callout.warn { strong { "Search quality" } p { (quality.message()) } }
                    } @else { p.muted { "Search quality: " (quality.message()) "." } }
                }
                @for withheld in &part.withheld {
                    div.callout.warn { strong { "Withheld by the " (withheld.guard.as_str()) " guard" } p { (withheld.message) } }
                }
            }
            @if !part.failures.is_empty() {
                header { h2 { (count(part.failures.len() as u64, "failure", "failures")) } }
                ul.items { @for failure in &part.failures { li { (failed(failure)) } } }
            }
            @if !part.skipped.is_empty() { (remarks::skipped(&part.skipped)) }
            @if !part.notes.is_empty() { (remarks::notes(&part.notes)) }
        }
    }
}

fn callout(failure: &Failed) -> Markup {
    html! {
        div.callout.bad role="alert" {
            strong { "Stage " (failure.stage) ": " (failure.error) }
            @if let Some(hint) = &failure.hint { p { (hint) } }
        }
    }
}

fn failed(failure: &Failed) -> Markup {
    html! {
        div.break {
            @if let Some(repository) = &failure.repository { strong { (repository) } " " }
            @if let Some(path) = &failure.path { code { (path) } " " }
        }
        div.break { (failure.error) }
        @if let Some(hint) = &failure.hint { div.muted.break { (hint) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::PhaseProgress;

    fn of<const N: usize>(phases: [(&'static str, u64, u64); N]) -> Progress {
        let phases = phases.map(|(name, done, expected)| PhaseProgress { name, expected, done });
        Progress { phases: phases.into(), ..Progress::default() }
    }

    #[test]
    fn a_phase_of_unknown_length_shows_what_is_done() {
        let shown = |expected| phases(&of([("Write", 3, expected)])).into_string();
        assert!(shown(7).contains("3 of 7") && shown(7).contains("max=\"7\""), "{}", shown(7));
        assert!(!shown(0).contains(" of ") && !shown(0).contains("max="), "{}", shown(0));
    }

    #[test]
    fn repositories_that_fail_are_first_and_then_those_at_work() {
        let mut progress = Progress::default();
        let mut add = |name: &str, changes, done, failed| {
            let one = RepositoryProgress { changes, removals: 0, done, failed };
            progress.repositories.insert(("p".to_owned(), name.to_owned()), one);
        };
        add("a/done", 2, 2, 0);
        add("b/works", 3, 1, 0);
        add("c/fails", 1, 0, 1);
        add("d/unchanged", 0, 0, 0);
        let shown = repositories(&progress).into_string();
        let at = |name: &str| shown.find(name);
        assert!(at("c/fails") < at("b/works") && at("b/works") < at("a/done"), "{shown}");
        assert!(at("d/unchanged").is_none() && shown.contains("1 of 3"), "{shown}");
    }

    #[test]
    fn the_time_left_is_estimated_once_all_repositories_are_compared() {
        let after = |compared, recorded, seconds| {
            pace(&of([("Compare", compared, 4), ("Record", recorded, 100)]), seconds)
        };
        assert_eq!(after(4, 25, 10.0).as_deref(), Some("about 30 s left, 2.5 files per second"));
        assert_eq!(after(3, 25, 10.0).as_deref(), Some("2.5 files per second"));
        assert_eq!(after(4, 100, 10.0).as_deref(), Some("10.0 files per second"));
        assert_eq!((after(4, 19, 10.0), after(4, 25, 1.9)), (None, None));
        assert_eq!(pace(&of([("Compare", 1, 4)]), 10.0), None);
    }
}
