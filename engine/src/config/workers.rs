//! `[workers]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{HumanDuration, WorkerSettings};
use crate::settings::{Problem, Shape, Table};

/// The allowed range of `lease`: less would end with each pause of the network.
const LEASES: RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(600);
/// The allowed range of `poll`.
const POLLS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// The allowed range of `stuck`.
const STUCK: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// How a run's work is shared by several processes. Only for a state in a PostgreSQL database.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWorkers {
    /// False: the daemon and `apply` leave all units to `reposync worker`.
    local: bool,
    /// Maximum number of units that a process works on at once. A unit is a repository of a run.
    units: usize,
    /// The time after which another worker may take over a unit whose worker does not renew its lease.
    lease: HumanDuration,
    /// How often leases are renewed; at most a third of `lease`.
    renew: HumanDuration,
    /// The time before the end of a lease in which its holder changes nothing, and after it before it is taken over;
    /// at most a third of `lease`.
    grace: HumanDuration,
    /// Attempts at a unit before it is given up.
    attempts: u32,
    /// The time without progress after which a unit is taken from its worker, as after a failed attempt, and a run ends
    /// and gives up its projects.
    stuck: HumanDuration,
    /// How often the queue is asked for units, besides the notifications of the server.
    poll: HumanDuration,
}

impl Default for RawWorkers {
    fn default() -> Self {
        let WorkerSettings { local, units, lease, renew, grace, attempts, stuck, poll } =
            WorkerSettings::default();
        Self {
            local,
            units,
            lease: HumanDuration(lease),
            renew: HumanDuration(renew),
            grace: HumanDuration(grace),
            attempts,
            stuck: HumanDuration(stuck),
            poll: HumanDuration(poll),
        }
    }
}

/// Reads the table. `is_given`: the file has it; `is_file`: the state is a file.
pub(super) fn read(
    mut table: Table<'_>,
    is_given: bool,
    is_file: bool,
    problems: &mut Vec<Problem>,
) -> Option<WorkerSettings> {
    let raw: RawWorkers = table.read(&Shape::of::<RawWorkers>(), problems)?;
    problems.append(&mut table.unresolved);
    let RawWorkers { local, units, lease, renew, grace, attempts, stuck, poll } = raw;
    let (lease, renew, grace, stuck, poll) = (lease.0, renew.0, grace.0, stuck.0, poll.0);
    if is_given && is_file {
        let hint = "it is for `state = \"postgres://…\"`; leave it out";
        problems.push(Problem::new("workers", "the state is no PostgreSQL database").hint(hint));
    }
    if !(1..=64).contains(&units) {
        table.flag(problems, "units", "outside 1 to 64", "4 is the default");
    }
    if !LEASES.contains(&lease) {
        table.flag(problems, "lease", "outside 3s to 10min", "\"45s\" is the default");
    }
    for (key, given) in [("renew", renew), ("grace", grace)] {
        if given.is_zero() || given > lease / 3 {
            table.flag(problems, key, "not within a third of `lease`", "leave both out for the defaults");
        }
    }
    if !(1..=100).contains(&attempts) {
        table.flag(problems, "attempts", "outside 1 to 100", "5 is the default");
    }
    if !STUCK.contains(&stuck) {
        table.flag(problems, "stuck", "outside 1s to 24h", "\"30min\" is the default");
    }
    if !POLLS.contains(&poll) {
        table.flag(problems, "poll", "outside 100ms to 1min", "\"2s\" is the default");
    }
    Some(WorkerSettings { local, units, lease, renew, grace, attempts, stuck, poll })
}
