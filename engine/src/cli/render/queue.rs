//! Workers and units as text.

use std::fmt::Write as _;

use super::super::output::escape;
use crate::app::QueueView;
use crate::state::{DaemonRow, UnitRow, WorkerRow};

/// Daemons and workers, then units.
pub(crate) fn list(view: &QueueView, width: usize) -> String {
    let counts = view.counts;
    let mut text = format!(
        "{} ready, {} running, {} dead; {} taken over in all\n",
        counts.ready, counts.running, counts.dead, counts.fenced
    );
    for daemon in &view.daemons {
        text.push_str(&one_daemon(daemon));
    }
    if view.workers.is_empty() {
        text.push_str("No worker is there.\n");
    }
    for worker in &view.workers {
        text.push_str(&one_worker(worker));
    }
    for unit in &view.units {
        let line = one_unit(unit);
        text.extend(line.chars().take(width.max(40)));
        text.push('\n');
    }
    text
}

fn one_daemon(daemon: &DaemonRow) -> String {
    let DaemonRow { label, version, since, dispatcher, .. } = daemon;
    format!(
        "daemon {}  {}, version {version}, since {}\n",
        escape(label),
        if *dispatcher { "starts runs" } else { "standby" },
        since.format("%Y-%m-%d %H:%M:%SZ")
    )
}

fn one_worker(worker: &WorkerRow) -> String {
    let WorkerRow { label, version, running, capacity, since, refused, .. } = worker;
    let mut line = format!(
        "worker {}  {running} of {capacity} units, version {version}, since {}\n",
        escape(label),
        since.format("%Y-%m-%d %H:%M:%SZ")
    );
    if let Some(reason) = refused {
        writeln!(line, "  refused the configuration: {}", escape(reason)).unwrap_or_default();
    }
    line
}

fn one_unit(unit: &UnitRow) -> String {
    let reason = unit.reason.as_deref().map(|reason| format!("  {}", escape(reason))).unwrap_or_default();
    format!(
        "{:>8}  {:<7}  {}  {}  attempts {}{reason}",
        unit.id,
        unit.state.as_str(),
        escape(&unit.project),
        escape(&unit.repository),
        unit.attempts,
    )
}

/// Everything about a unit.
pub(crate) fn unit(unit: &UnitRow) -> String {
    let at = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%SZ").to_string();
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        writeln!(text, "{key:<12}{}", escape(value)).unwrap_or_default();
    };
    line("unit", &unit.id.to_string());
    line("state", unit.state.as_str());
    line("project", &unit.project);
    line("repository", &unit.repository);
    line("run", &unit.run);
    line("attempts", &unit.attempts.to_string());
    line("created", &at(unit.created_at));
    line("changed", &at(unit.changed_at));
    line("worker", unit.worker.as_deref().unwrap_or("none yet"));
    for failed in &unit.history {
        line("failed", &format!("{} on {}: {}", at(failed.at), failed.worker, failed.reason));
    }
    text
}
