//! The task that talks to the state for a daemon: waits until it becomes the dispatcher, then writes what it shows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::super::message::Answer;
use super::super::shared::Shared;
use super::messages::{Adopted, Adoption, News, POLL, Version};
use super::shown::Shown;
use crate::model::{ErrorKind, Event, StageError, StageResult};
use crate::state::{Daemons, Fence, Lease, Standing};

/// How often a daemon says that it is there.
const ENTER: Duration = Duration::from_secs(10);
/// How often events of runs are sent to other daemons.
const FLUSH: Duration = Duration::from_millis(500);
/// The pause after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// The task's state.
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    pub(super) news: mpsc::Sender<News>,
    /// What the dispatcher shows, and up to which version it is stored.
    pub(super) shown: watch::Receiver<Version>,
    pub(super) wrote: watch::Sender<u64>,
    /// Answers to requests of other daemons.
    pub(super) answered: mpsc::UnboundedReceiver<(i64, Option<Answer>)>,
    pub(super) adoption: watch::Receiver<Option<Adoption>>,
    pub(super) has_adopted: watch::Sender<Option<Adopted>>,
    /// `insisted` of the last adoption.
    pub(super) insisted: u64,
}

/// What the dispatcher's link does next.
enum Step {
    Show,
    Answer(i64, Option<Answer>),
    Adopt,
    Requests,
    Flush,
    Tick,
}

impl Link {
    /// Works until the dispatcher's side is dropped, or until a newer program has changed the tables.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(daemons) = shared.state.daemons() else { return };
        let news = self.news.clone();
        loop {
            let lease = tokio::select! {
                lease = self.follow(daemons) => lease,
                () = news.closed() => break,
            };
            match lease {
                Ok(lease) => {
                    tracing::info!("this daemon is the dispatcher");
                    tokio::select! {
                        error = self.lead(daemons, &lease) => {
                            if let Some(error) = error {
                                tracing::warn!(error = %error.one_line(), "this daemon is no longer the dispatcher");
                            } else {
                                self.farewell(daemons, lease.fence()).await;
                                break;
                            }
                        }
                        () = lease.ending() => tracing::warn!("this daemon lost the lease of the dispatcher"),
                    }
                    // At once: the database may be away for longer.
                    self.tell(News::Follows { shown: None, older_than: None }).await;
                }
                // Its row, too, is left as it is.
                Err(error) if error.kind == ErrorKind::Outdated => {
                    return self.tell(News::Outdated(error)).await;
                }
                Err(error) => {
                    tracing::warn!(error = %error.one_line(), "cannot look for other daemons");
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = news.closed() => break,
                    }
                }
            }
        }
        if let Err(error) = daemons.leave_daemon(&self.shared.me.id).await {
            tracing::debug!(error = %error.one_line(), "cannot delete this daemon's row");
        }
    }

    /// Waits until this daemon becomes the dispatcher.
    async fn follow(&mut self, daemons: &dyn Daemons) -> StageResult<Lease> {
        let mut changes = daemons.peers();
        let mut entered = None;
        let mut last = None;
        let mut events = 0;
        loop {
            if entered.is_none_or(|at: Instant| at.elapsed() >= ENTER) {
                daemons.enter_daemon(&self.shared.me).await?;
                entered = Some(Instant::now());
            }
            let shown = daemons.shown().await?;
            let mut older_than = None;
            let adoption = self.adoption.borrow_and_update().clone();
            if shown.as_ref().is_none_or(|shown| !shown.is_led)
                && let Some(adoption) = adoption
            {
                older_than = self.older_than(daemons, &adoption).await?;
                if older_than.is_none()
                    && let Some(lease) = daemons.lead().await?
                {
                    self.adopt(daemons, lease.fence(), adoption).await?;
                    let shown = daemons.shown().await?.and_then(|shown| content(&shown));
                    self.tell(News::Leads(shown)).await;
                    return Ok(lease);
                }
            }
            let now = Some((shown, older_than));
            let is_news = last != now;
            let content = now.iter().filter(|_| is_news).find_map(|(shown, _)| content(shown.as_ref()?));
            // Before the dispatcher's side ends the feeds of runs that are shown no more.
            if let Some(content) = &content {
                self.shared.feeds.show(&content.runs);
            }
            self.take_events(daemons, &mut events).await?;
            if is_news {
                self.tell(News::Follows { shown: content, older_than }).await;
                last = now;
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = self.adoption.changed() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// The newer generation that keeps this daemon from becoming the dispatcher, if there is one.
    async fn older_than(&self, daemons: &dyn Daemons, adoption: &Adoption) -> StageResult<Option<i64>> {
        let Some(generation) = &adoption.generation else { return Ok(None) };
        Ok(match daemons.standing(&generation.digest).await? {
            Standing::Older(newest) if adoption.insisted == self.insisted => Some(newest),
            _ => None,
        })
    }

    /// Adds the events of other daemons' runs to the feeds.
    async fn take_events(&self, daemons: &dyn Daemons, after: &mut i64) -> StageResult<()> {
        for entry in daemons.events_after(*after).await? {
            *after = entry.id;
            let events: Vec<Event> = serde_json::from_str(&entry.events).unwrap_or_default();
            for event in events {
                self.shared.waits.see(&event);
                self.shared.feeds.put_open(&entry.run, event);
            }
        }
        Ok(())
    }

    /// Works as the dispatcher. `None`: the daemon ends.
    async fn lead(&mut self, daemons: &dyn Daemons, lease: &Lease) -> Option<StageError> {
        let fence = lease.fence();
        let mut requests = daemons.requests();
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut flushes = interval(FLUSH);
        flushes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut entered = Instant::now();
        let mut others = 0;
        let mut taken = BTreeSet::new();
        self.shown.mark_changed();
        loop {
            lease.moved();
            let step = tokio::select! {
                shown = self.shown.changed() => if shown.is_ok() { Step::Show } else { return None },
                Some((id, answer)) = self.answered.recv() => Step::Answer(id, answer),
                Ok(()) = self.adoption.changed() => Step::Adopt,
                Ok(()) = requests.changed() => Step::Requests,
                _ = flushes.tick() => Step::Flush,
                _ = ticks.tick() => Step::Tick,
            };
            let done = match step {
                Step::Show => self.show(daemons, fence, others).await,
                Step::Answer(id, answer) => {
                    let answer = answer.map(|answer| serde_json::to_string(&answer).unwrap_or_default());
                    let done = daemons.answer_request(fence, id, answer.as_deref()).await;
                    taken.remove(&id);
                    done
                }
                Step::Adopt => {
                    let adoption = self.adoption.borrow_and_update().clone();
                    match adoption {
                        Some(adoption) => self.adopt(daemons, fence, adoption).await,
                        None => Ok(()),
                    }
                }
                Step::Requests => self.take_requests(daemons, &mut taken).await,
                Step::Flush if others > 0 => self.flush(daemons, fence).await,
                Step::Flush => Ok(()),
                Step::Tick => {
                    let counted = self.count_others(daemons, &mut entered).await;
                    others = counted.as_ref().copied().unwrap_or_default();
                    match counted {
                        Ok(_) => self.take_requests(daemons, &mut taken).await,
                        Err(error) => Err(error),
                    }
                }
            };
            if let Err(error) = done {
                return Some(error);
            }
        }
    }

    /// The number of other daemons. `entered`: when this one last said that it is there.
    async fn count_others(&self, daemons: &dyn Daemons, entered: &mut Instant) -> StageResult<usize> {
        if entered.elapsed() >= ENTER {
            daemons.enter_daemon(&self.shared.me).await?;
            *entered = Instant::now();
        }
        Ok(daemons.list_daemons().await?.iter().filter(|one| one.id != self.shared.me.id).count())
    }

    /// Stores what the dispatcher shows, after the events that led to it.
    async fn show(&mut self, daemons: &dyn Daemons, fence: Fence, others: usize) -> StageResult<()> {
        if others > 0 {
            self.flush(daemons, fence).await?;
        }
        let Version(number, shown) = self.shown.borrow_and_update().clone();
        daemons.show(fence, &self.shared.me.id, &serde_json::to_string(&*shown).unwrap_or_default()).await?;
        self.wrote.send_replace(number);
        Ok(())
    }

    async fn flush(&self, daemons: &dyn Daemons, fence: Fence) -> StageResult<()> {
        let unsent = self.shared.feeds.unsent();
        if unsent.is_empty() {
            return Ok(());
        }
        let active = self.shown.borrow().1.runs.keys().cloned().collect();
        let json = |events: &Vec<Event>| serde_json::to_string(events).unwrap_or_default();
        let unsent = unsent.iter().map(|(run, events)| (run.clone(), json(events))).collect();
        daemons.put_events(fence, unsent, active).await
    }

    /// Gives requests of other daemons to the dispatcher, each once.
    async fn take_requests(&self, daemons: &dyn Daemons, taken: &mut BTreeSet<i64>) -> StageResult<()> {
        for (id, content) in daemons.asked().await? {
            if !taken.insert(id) {
                continue;
            }
            match serde_json::from_str(&content) {
                Ok(request) => self.tell(News::Asked(id, request)).await,
                // From a daemon of another version, which waits in vain.
                Err(error) => tracing::warn!(%error, "a request of another daemon cannot be read"),
            }
        }
        Ok(())
    }

    async fn adopt(&mut self, daemons: &dyn Daemons, fence: Fence, adoption: Adoption) -> StageResult<()> {
        if let Some(generation) = &adoption.generation {
            let insists = adoption.insisted > self.insisted;
            let standing = daemons.adopt(fence, generation, insists).await?;
            self.has_adopted.send_replace(Some(Adopted { number: adoption.number, standing }));
        }
        self.insisted = adoption.insisted;
        Ok(())
    }

    async fn farewell(&mut self, daemons: &dyn Daemons, fence: Fence) {
        if let Err(error) = self.show(daemons, fence, 1).await {
            tracing::warn!(error = %error.one_line(), "cannot store what was asked for; another daemon runs every project once");
        }
    }

    async fn tell(&self, news: News) {
        // The dispatcher may have ended.
        drop(self.news.send(news).await);
    }
}

/// What a dispatcher has shown; `None`: one of another version, which this one cannot read.
fn content(shown: &crate::state::Shown) -> Option<Shown> {
    serde_json::from_str(&shown.content).ok()
}
