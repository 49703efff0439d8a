//! Samples how far projects are behind their repositories, for the usage over time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::handle::Handle;
use super::view::Role;
use crate::model::{StageResult, StatusView};
use crate::state::{Measure, UsageAmount, bucket, day_of};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_secs(300);

/// Samples until `cancel`.
pub(super) async fn sample(handle: Handle, cancel: CancellationToken) {
    let work = async {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        // A machine that slept has no samples of that time.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // One daemon's samples are enough.
            if handle.view().role == Role::Standby {
                continue;
            }
            if let Err(error) = record(&handle).await {
                tracing::warn!(error = %error.one_line(), "cannot record how far projects are behind");
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = cancel.cancelled() => {}
    }
}

async fn record(handle: &Handle) -> StageResult<()> {
    let now = Utc::now();
    let samples = samples(&handle.status().await?, now);
    handle.shared.state.add_usage(samples, now).await
}

/// A sample of each enabled project that was indexed at all.
fn samples(status: &StatusView, now: DateTime<Utc>) -> Vec<UsageAmount> {
    let enabled = status.projects.iter().filter(|project| project.enabled && project.declared);
    let sample = |project: &crate::model::ProjectStatus| {
        // Fractions of a second do not matter for times that are counted in seconds.
        let bucket = bucket(project.seconds_behind? as f64);
        let (day, project) = (day_of(now), project.project.clone());
        Some(UsageAmount { day, project, measure: Measure::Behind(bucket), amount: 1 })
    };
    enabled.filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProjectStatus;

    #[test]
    fn enabled_projects_that_were_indexed_are_sampled() {
        let project = |name: &str, seconds_behind, enabled, declared| ProjectStatus {
            project: name.to_owned(),
            enabled,
            declared,
            place: String::new(),
            targets: Vec::new(),
            waits: Vec::new(),
            files: 0,
            vectors: 0,
            failed_files: 0,
            open_intents: 0,
            last_run: None,
            next_run: None,
            seconds_behind,
            commits_behind: None,
            repositories: Vec::new(),
        };
        let projects = vec![
            project("current", Some(0), true, true),
            project("late", Some(3600), true, true),
            project("new", None, true, true),
            project("off", Some(9), false, true),
            project("orphan", Some(9), true, false),
        ];
        let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
        let status =
            StatusView { at: now, projects, running: None, orphan_places: Vec::new(), refused_config: None };
        let found = samples(&status, now);
        let found: Vec<_> =
            found.iter().map(|one| (one.day, one.project.as_str(), &one.measure, one.amount)).collect();
        let (none, hour) = (Measure::Behind(0), Measure::Behind(bucket(3600.0)));
        assert_eq!(found, [(20_000, "current", &none, 1), (20_000, "late", &hour, 1)]);
    }
}
