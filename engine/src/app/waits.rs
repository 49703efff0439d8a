//! What the running projects of a process wait for: in memory for the process itself, and in a file next to the
//! ledger (`.waits`) for `reposync status` of another process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::config::{Config, StatePlace};
use crate::model::{Event, StatusView, Wait};
use crate::private;

/// Shorter waits are not shown, in seconds.
const SHORTEST: f64 = 1.0;
/// Maximum size of the file in bytes.
const LONGEST: u64 = 1 << 20;

/// Collects waits from the events of runs. Cheap to clone.
#[derive(Clone)]
pub struct Waits {
    path: PathBuf,
    waiting: Arc<Mutex<Waiting>>,
}

/// The content of the file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Waiting {
    process: u32,
    /// Projects whose run is under way.
    running: BTreeSet<String>,
    /// By stage. A wait that is over stays until the next one of the stage.
    stages: BTreeMap<String, Wait>,
}

impl Waits {
    /// The waits of this process.
    pub fn new(state: &StatePlace) -> Self {
        let waiting = Waiting { process: std::process::id(), ..Waiting::default() };
        Self { path: path(state), waiting: Arc::new(Mutex::new(waiting)) }
    }

    /// Takes an event of a run, or of a stage that runs share.
    pub fn see(&self, event: &Event) {
        self.see_at(event, Utc::now());
    }

    fn see_at(&self, event: &Event, now: DateTime<Utc>) {
        let mut waiting = self.waiting.lock();
        let has_changed = match event {
            Event::ProjectStarted { project } => {
                waiting.running.insert(project.clone());
                waiting.is_any(now)
            }
            Event::ProjectFinished { project, .. } => {
                waiting.running.remove(project);
                waiting.is_any(now)
            }
            Event::Waiting { stage, seconds, reason } if *seconds >= SHORTEST => {
                waiting.put(stage, now + span(*seconds), reason)
            }
            _ => false,
        };
        if has_changed && let Err(error) = waiting.write(&self.path) {
            tracing::debug!(file = %self.path.display(), %error, "cannot write what runs wait for");
        }
    }

    /// Adds the waits of this process to a status.
    pub fn add_to(&self, status: &mut StatusView, config: &Config) {
        self.waiting.lock().add_to(status, config);
    }

    /// Adds the waits of the process that holds the lease to a status, as far as it runs on this machine.
    pub fn add_of_holder(status: &mut StatusView, config: &Config) {
        let Some(holder) = &status.running else { return };
        let waiting = Waiting::read(&config.engine.state).filter(|waiting| waiting.process == holder.process);
        if let Some(waiting) = waiting {
            waiting.add_to(status, config);
        }
    }
}

impl Waiting {
    fn is_any(&self, now: DateTime<Utc>) -> bool {
        self.stages.values().any(|wait| is_current(wait, now))
    }

    /// Returns false if the wait is known: many calls of a stage wait for the same pause.
    fn put(&mut self, stage: &str, until: DateTime<Utc>, reason: &str) -> bool {
        let known = self.stages.get(stage).and_then(|wait| wait.until);
        if known.is_some_and(|known| known + TimeDelta::seconds(1) > until) {
            return false;
        }
        let wait = Wait { stage: Some(stage.to_owned()), reason: reason.to_owned(), until: Some(until) };
        self.stages.insert(stage.to_owned(), wait);
        true
    }

    fn add_to(&self, status: &mut StatusView, config: &Config) {
        let now = status.at;
        for project in status.projects.iter_mut().filter(|project| self.running.contains(&project.project)) {
            let Some(declared) = config.project(&project.project) else { continue };
            let waits = declared.stages().filter_map(|stage| self.stages.get(stage));
            project.waits.extend(waits.filter(|wait| is_current(wait, now)).cloned());
        }
    }

    fn write(&self, path: &std::path::Path) -> std::io::Result<()> {
        let mut file = private::options().write(true).create(true).truncate(false).open(path)?;
        private::rewrite(&mut file, &serde_json::to_vec(self)?)
    }

    /// `None`: there is no file, or it is being written.
    fn read(state: &StatePlace) -> Option<Self> {
        let mut text = String::new();
        File::open(path(state)).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }
}

fn is_current(wait: &Wait, now: DateTime<Utc>) -> bool {
    wait.until.is_some_and(|until| until > now)
}

fn span(seconds: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and no wait is that long")]
    let milliseconds = (seconds * 1000.0) as i64;
    TimeDelta::milliseconds(milliseconds.min(TimeDelta::days(1).num_milliseconds()))
}

fn path(state: &StatePlace) -> PathBuf {
    let mut path = state.local().as_os_str().to_owned();
    path.push(".waits");
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn waits(folder: &tempfile::TempDir) -> (Waits, StatePlace) {
        let state = StatePlace::File(folder.path().join("state.db"));
        (Waits::new(&state), state)
    }

    fn pause(stage: &str, seconds: f64) -> Event {
        Event::Waiting { stage: stage.to_owned(), seconds, reason: "slow down".to_owned() }
    }

    fn until(waiting: &Waiting, stage: &str) -> Option<i64> {
        Some((waiting.stages.get(stage)?.until? - NOW).num_seconds())
    }

    #[test]
    fn another_process_reads_what_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let (waits, state) = waits(&folder);
        assert_eq!(Waiting::read(&state), None);
        let started = |project: &str| Event::ProjectStarted { project: project.to_owned() };
        waits.see_at(&started("docs"), NOW);
        waits.see_at(&pause("ada", 0.5), NOW);
        assert_eq!(Waiting::read(&state), None, "a short pause is not worth a file");
        waits.see_at(&pause("ada", 30.0), NOW);
        waits.see_at(&started("code"), NOW);
        let read = Waiting::read(&state).expect("written");
        assert_eq!((read.process, until(&read, "ada")), (std::process::id(), Some(30)));
        assert_eq!(read.running, BTreeSet::from(["code".to_owned(), "docs".to_owned()]));
        waits.see_at(&Event::ProjectFinished { project: "docs".to_owned(), outcome: Outcome::Done }, NOW);
        assert_eq!(Waiting::read(&state).expect("written").running, BTreeSet::from(["code".to_owned()]));
    }

    #[test]
    fn a_pause_that_many_calls_report_is_one() {
        let mut waiting = Waiting::default();
        let at = |seconds| NOW + TimeDelta::seconds(seconds);
        assert!(waiting.put("ada", at(30), "429"));
        assert!(!waiting.put("ada", at(30), "429"));
        assert!(!waiting.put("ada", at(20), "429"), "an earlier end changes nothing");
        assert!(waiting.put("ada", at(60), "429"));
        assert_eq!(until(&waiting, "ada"), Some(60));
        assert!(waiting.is_any(at(59)) && !waiting.is_any(at(60)));
    }
}
