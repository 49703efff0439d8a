//! What happens in runs, for those who watch: the newest events of each run, bounded. A slow
//! reader misses events and is told how many; nobody waits for it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::Event;

/// Events kept of a run.
const KEPT_EVENTS: usize = 1000;
/// Ended runs whose events are kept.
const KEPT_RUNS: usize = 50;

/// The feeds of all runs. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Feeds(Arc<Mutex<Runs>>);

#[derive(Default)]
struct Runs {
    feeds: HashMap<String, Arc<Inner>>,
    /// Runs that are shown and have not begun.
    waiting: HashSet<String>,
    /// Which run a project is in.
    active: BTreeMap<String, String>,
    ended: VecDeque<String>,
}

struct Inner {
    events: Mutex<Ring>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Ring {
    /// The number of the first event that is still kept.
    first: u64,
    events: VecDeque<Arc<Event>>,
    ended: bool,
}

/// One run's events, from the first that is kept.
pub struct Feed {
    inner: Arc<Inner>,
    changed: watch::Receiver<()>,
    next: u64,
}

/// What a reader of a [`Feed`] gets.
#[derive(Debug, Clone)]
pub enum Told {
    /// An event with its number in the run.
    Event(u64, Arc<Event>),
    /// The reader was too slow: so many events are lost to it.
    Missed(u64),
}

impl Feeds {
    /// These runs are about to be shown: who finds one there can wait for its events. One that was
    /// waiting and is no longer shown will never have any.
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

    /// A run of a project begins.
    pub(super) fn begin(&self, run: &str, project: Option<&str>) {
        let mut runs = self.lock();
        if !runs.waiting.remove(run) {
            runs.feeds.insert(run.to_owned(), Inner::new());
        }
        if let Some(project) = project {
            runs.active.insert(project.to_owned(), run.to_owned());
        }
    }

    /// An event of a run.
    pub(super) fn put(&self, run: &str, event: Event) {
        let feed = self.lock().feeds.get(run).cloned();
        if let Some(feed) = feed {
            feed.put(event);
        }
    }

    /// An event of a stage that runs share: it belongs to the run of the project it names, if any.
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

    /// A run ended; its events are kept for a while.
    pub(super) fn end(&self, run: &str) {
        self.lock().end(run);
    }

    /// A run's events; none where it is not known (any more).
    pub(super) fn of(&self, run: &str) -> Option<Feed> {
        let inner = self.lock().feeds.get(run).cloned()?;
        let changed = inner.changed.subscribe();
        Some(Feed { inner, changed, next: 0 })
    }

    /// Runs whose events are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().feeds.len()
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        while self.ended.len() > KEPT_RUNS {
            if let Some(old) = self.ended.pop_front() {
                self.feeds.remove(&old);
            }
        }
    }
}

impl Inner {
    fn new() -> Arc<Self> {
        Arc::new(Self { events: Mutex::default(), changed: watch::channel(()).0 })
    }

    fn put(&self, event: Event) {
        {
            let mut ring = self.lock();
            ring.events.push_back(Arc::new(event));
            if ring.events.len() > KEPT_EVENTS {
                ring.events.pop_front();
                ring.first += 1;
            }
        }
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// The next event; waits for it. None: the run ended, and all was told.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            {
                let ring = self.inner.lock();
                if self.next < ring.first {
                    let missed = ring.first - self.next;
                    self.next = ring.first;
                    return Some(Told::Missed(missed));
                }
                let at = usize::try_from(self.next - ring.first).unwrap_or(usize::MAX);
                if let Some(event) = ring.events.get(at) {
                    self.next += 1;
                    return Some(Told::Event(self.next - 1, Arc::clone(event)));
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
    use super::*;

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
        while let Some(Told::Event(number, _)) = feed.next().await {
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
        assert!(matches!(one.next().await, Some(Told::Event(0, _))));
        feeds.end("1");
        feeds.show(&shown(&["1"]));
        assert!(one.next().await.is_none());
        assert!(feeds.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed_and_old_runs_are_let_go() {
        let feeds = Feeds::default();
        feeds.begin("1", None);
        let mut feed = feeds.of("1").expect("known");
        for n in 0..KEPT_EVENTS + 7 {
            feeds.put("1", note(n));
        }
        assert!(matches!(feed.next().await, Some(Told::Missed(7))));
        assert!(matches!(feed.next().await, Some(Told::Event(7, _))));
        feeds.end("1");
        for n in 0..KEPT_RUNS {
            let run = format!("later-{n}");
            feeds.begin(&run, None);
            feeds.end(&run);
        }
        assert!(feeds.of("1").is_none());
    }
}
