//! Event feeds of runs: the newest events of each run in a bounded ring. Writers never wait; a slow
//! reader skips events and gets the number of those that it missed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::progress::Progress;
use super::view::RunState;
use crate::app::sees_event;
use crate::model::{Access, Event};

/// Maximum number of events kept per run.
const MAX_EVENTS: usize = 1000;
/// Maximum number of events that are sent to other daemons at once.
const MAX_SENT: usize = 200;
/// Maximum number of ended runs whose events are kept.
const MAX_ENDED_RUNS: usize = 50;

/// The feeds of all runs. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Feeds(Arc<Mutex<Runs>>);

#[derive(Default)]
struct Runs {
    feeds: HashMap<String, Arc<Inner>>,
    /// Runs that are published as queued and have not started.
    waiting: HashSet<String>,
    /// Id of the active run by project.
    active: BTreeMap<String, String>,
    ended: VecDeque<String>,
}

struct Inner {
    events: Mutex<Ring>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Ring {
    /// The number of the oldest event in the ring.
    first: u64,
    events: VecDeque<Arc<Event>>,
    /// Summed up from all events, those that were dropped included.
    progress: Progress,
    /// The number of the first event that was not sent to other daemons, and the progress that they know.
    unsent: u64,
    sent: Progress,
    ended: bool,
}

/// A reader of one run's events, starting with the oldest one kept.
pub struct Feed {
    inner: Arc<Inner>,
    changed: watch::Receiver<()>,
    next: u64,
    access: Arc<Access>,
}

/// An item of a [`Feed`].
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// An event and its number in the run.
    Event(u64, Arc<Event>),
    /// The number of events that were dropped because the reader was too slow.
    Missed(u64),
}

impl Feeds {
    /// Creates feeds for the runs that are about to be published, so that readers can wait for
    /// their events. Closes the feeds of queued runs that are no longer published: they will never
    /// start.
    pub(super) fn show<T>(&self, shown: &BTreeMap<String, T>) {
        let mut runs = self.lock();
        for run in shown.keys() {
            if !runs.feeds.contains_key(run) {
                runs.feeds.insert(run.clone(), Inner::new());
                runs.waiting.insert(run.clone());
            }
        }
        let given_up: Vec<_> = runs.waiting.iter().filter(|run| !shown.contains_key(*run)).cloned().collect();
        for run in given_up {
            runs.end(&run);
        }
    }

    /// The same for runs of another daemon: those that have started are active, and those that it shows no more have
    /// ended.
    pub(super) fn mirror(&self, shown: &BTreeMap<String, RunState>) {
        self.show(shown);
        let mut runs = self.lock();
        for (id, run) in shown.iter().filter(|(_, run)| run.started_at.is_some()) {
            if runs.waiting.remove(id) {
                runs.active.insert(run.project.clone(), id.clone());
            }
        }
        let over: Vec<_> = runs.active.values().filter(|run| !shown.contains_key(*run)).cloned().collect();
        for run in over {
            runs.end(&run);
        }
    }

    /// What was not sent to other daemons yet, by run.
    pub(super) fn unsent(&self) -> Vec<(String, Vec<Event>)> {
        let feeds: Vec<_> =
            self.lock().feeds.iter().map(|(run, feed)| (run.clone(), Arc::clone(feed))).collect();
        let unsent = feeds.into_iter().map(|(run, feed)| (run, feed.lock().unsent()));
        unsent.filter(|(_, events)| !events.is_empty()).collect()
    }

    /// Marks a run as active, optionally as the one of a project.
    pub(super) fn begin(&self, run: &str, project: Option<&str>) {
        let mut runs = self.lock();
        if !runs.waiting.remove(run) {
            runs.feeds.insert(run.to_owned(), Inner::new());
        }
        if let Some(project) = project {
            runs.active.insert(project.to_owned(), run.to_owned());
        }
    }

    /// Appends an event to a run's feed.
    pub(super) fn put(&self, run: &str, event: Event) {
        let feed = self.lock().feeds.get(run).cloned();
        if let Some(feed) = feed {
            feed.put(event);
        }
    }

    /// The same for an event of another daemon: nothing, if the run has ended.
    pub(super) fn put_open(&self, run: &str, event: Event) {
        let feed = self.lock().feeds.get(run).cloned();
        if let Some(feed) = feed.filter(|feed| !feed.lock().ended) {
            feed.put(event);
        }
    }

    /// Appends an event of a stage that runs share to the active run of the project that it names,
    /// if any.
    pub(super) fn shared(&self, event: &Event) {
        let project = match event {
            Event::CacheHits { project, .. } | Event::Note { project, .. } => project,
            Event::Waiting { .. } => {
                let feeds: Vec<_> = {
                    let runs = self.lock();
                    runs.active.values().filter_map(|run| runs.feeds.get(run).cloned()).collect()
                };
                for feed in feeds {
                    feed.put(event.clone());
                }
                return;
            }
            _ => return,
        };
        let run = self.lock().active.get(project).cloned();
        if let Some(run) = run {
            self.put(&run, event.clone());
        }
    }

    /// Marks a run as ended. Its events stay until [`MAX_ENDED_RUNS`] later runs have ended.
    pub(super) fn end(&self, run: &str) {
        self.lock().end(run);
    }

    /// Subscribes to a run's events; `None` if the run is unknown or its events have been dropped.
    pub(super) fn of(&self, run: &str) -> Option<Feed> {
        let inner = self.lock().feeds.get(run).cloned()?;
        let changed = inner.changed.subscribe();
        Some(Feed { inner, changed, next: 0, access: Arc::default() })
    }

    /// How far a run is; `None` if it is unknown or its events have been dropped.
    pub(super) fn progress(&self, run: &str) -> Option<Progress> {
        let inner = self.lock().feeds.get(run).cloned()?;
        let progress = inner.lock().progress.clone();
        Some(progress)
    }

    /// The number of runs whose events are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().feeds.len()
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock()
    }
}

impl Runs {
    fn end(&mut self, run: &str) {
        self.waiting.remove(run);
        self.active.retain(|_, active| active != run);
        if let Some(feed) = self.feeds.get(run) {
            feed.lock().ended = true;
            feed.changed.send_replace(());
        }
        self.ended.push_back(run.to_owned());
        while self.ended.len() > MAX_ENDED_RUNS {
            if let Some(old) = self.ended.pop_front() {
                self.feeds.remove(&old);
            }
        }
    }
}

impl Ring {
    /// The newest events that were not sent, progress summed up. Calls of services are metrics of this process.
    fn unsent(&mut self) -> Vec<Event> {
        let mut events = self.progress.since(&self.sent);
        let skipped = usize::try_from(self.unsent.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let is_sent = |event: &&Arc<Event>| {
            !matches!(***event, Event::Expected { .. } | Event::Done { .. } | Event::Call { .. })
        };
        let new = self.events.iter().skip(skipped).filter(is_sent);
        let count = new.clone().count();
        events.extend(new.skip(count.saturating_sub(MAX_SENT)).map(|event| Event::clone(event)));
        self.sent = self.progress.clone();
        self.unsent = self.first + self.events.len() as u64;
        events
    }
}

impl Inner {
    fn new() -> Arc<Self> {
        Arc::new(Self { events: Mutex::default(), changed: watch::channel(()).0 })
    }

    fn put(&self, event: Event) {
        {
            let mut ring = self.lock();
            ring.progress.add(&event);
            ring.events.push_back(Arc::new(event));
            if ring.events.len() > MAX_EVENTS {
                ring.events.pop_front();
                ring.first += 1;
            }
        }
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.events.lock()
    }
}

impl Feed {
    /// The same without the events that the reader may not see.
    pub(super) fn seen_by(self, access: Arc<Access>) -> Self {
        Self { access, ..self }
    }

    /// Waits for the next item. `None`: the run has ended and every item was returned.
    pub async fn next(&mut self) -> Option<FeedItem> {
        loop {
            {
                let ring = self.inner.lock();
                if self.next < ring.first {
                    let missed = ring.first - self.next;
                    self.next = ring.first;
                    return Some(FeedItem::Missed(missed));
                }
                let at = usize::try_from(self.next - ring.first).unwrap_or(usize::MAX);
                if let Some(event) = ring.events.get(at) {
                    self.next += 1;
                    if !sees_event(&self.access, event) {
                        continue;
                    }
                    return Some(FeedItem::Event(self.next - 1, Arc::clone(event)));
                }
                if ring.ended {
                    return None;
                }
            }
            self.changed.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pending::Trigger;
    use super::*;
    use crate::model::Phase;

    fn note(n: usize) -> Event {
        Event::Note { project: "p".into(), message: n.to_string() }
    }

    #[tokio::test]
    async fn a_reader_sees_what_was_and_what_comes_until_the_end() {
        let feeds = Feeds::default();
        feeds.begin("1", Some("p"));
        feeds.put("1", note(0));
        let mut feed = feeds.of("1").expect("known");
        feeds.shared(&note(1));
        feeds.shared(&Event::Note { project: "other".into(), message: String::new() });
        feeds.end("1");
        let mut told = Vec::new();
        while let Some(FeedItem::Event(number, _)) = feed.next().await {
            told.push(number);
        }
        assert_eq!(told, [0, 1]);
    }

    #[tokio::test]
    async fn a_run_that_waits_is_waited_for_until_it_is_given_up() {
        let feeds = Feeds::default();
        let shown = |runs: &[&str]| -> BTreeMap<String, usize> {
            runs.iter().enumerate().map(|(n, run)| ((*run).to_owned(), n)).collect()
        };
        feeds.show(&shown(&["1", "2"]));
        let (mut one, mut two) = (feeds.of("1").expect("shown"), feeds.of("2").expect("shown"));
        feeds.begin("1", Some("p"));
        feeds.put("1", note(0));
        feeds.show(&shown(&["1"]));
        assert!(two.next().await.is_none(), "given up");
        assert!(matches!(one.next().await, Some(FeedItem::Event(0, _))));
        feeds.end("1");
        feeds.show(&shown(&["1"]));
        assert!(one.next().await.is_none());
        assert!(feeds.lock().waiting.is_empty());
    }

    #[test]
    fn another_daemon_gets_each_event_once_and_the_sum_of_progress() {
        let (feeds, other) = (Feeds::default(), Feeds::default());
        feeds.begin("1", Some("p"));
        for n in 0..MAX_EVENTS + 7 {
            feeds.put("1", Event::Done { phase: Phase::Chunk, n: 1 });
            if n % 100 == 0 {
                feeds.put("1", note(n));
            }
        }
        let started = RunState {
            project: "p".into(),
            request: "1".into(),
            trigger: Trigger::Api,
            started_at: Some(chrono::Utc::now()),
        };
        other.mirror(&BTreeMap::from([("1".to_owned(), started)]));
        let send = || {
            let sent = feeds.unsent().into_iter().flat_map(|(_, events)| events).collect::<Vec<_>>();
            for event in &sent {
                other.put("1", event.clone());
            }
            sent.len()
        };
        assert_eq!((send(), send()), (1 + 10, 0), "the first note was dropped already");
        feeds.put("1", note(1));
        feeds.put("1", Event::Done { phase: Phase::Chunk, n: 1 });
        assert_eq!(send(), 2);
        assert_eq!(other.progress("1"), feeds.progress("1"));
        other.mirror(&BTreeMap::new());
        assert!(other.lock().active.is_empty());
    }

    #[tokio::test]
    async fn a_slow_reader_sees_how_many_events_it_missed_and_old_runs_are_dropped() {
        let feeds = Feeds::default();
        feeds.begin("1", None);
        let mut feed = feeds.of("1").expect("known");
        for n in 0..MAX_EVENTS + 7 {
            feeds.put("1", note(n));
        }
        assert!(matches!(feed.next().await, Some(FeedItem::Missed(7))));
        assert!(matches!(feed.next().await, Some(FeedItem::Event(7, _))));
        feeds.end("1");
        for n in 0..MAX_ENDED_RUNS {
            let run = format!("later-{n}");
            feeds.begin(&run, None);
            feeds.end(&run);
        }
        assert!(feeds.of("1").is_none());
    }
}
