//! The other daemons of the state: who of them is the dispatcher, what it shows, and requests between them. A separate
//! task talks to the state, so that the dispatcher never waits for it.

mod forward;
mod link;
mod messages;
mod shown;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::message::{Answer, Refusal};
use super::shared::Shared;
use crate::state::Standing;

pub(super) use forward::forward;
use link::Link;
pub(super) use messages::News;
use messages::{Adopted, Adoption, PATIENCE, Version};
pub(super) use shown::{Shown, Work};
use workers::{HEARING, hear_workers};

/// How long the last words of a daemon that ends may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// Messages that wait for the dispatcher.
const INBOX: usize = 64;

/// The dispatcher's side.
pub(super) struct Peers {
    news: mpsc::Receiver<News>,
    shows: watch::Sender<Version>,
    written: watch::Receiver<u64>,
    answers: mpsc::UnboundedSender<(i64, Option<Answer>)>,
    adopts: Arc<watch::Sender<Option<Adoption>>>,
    adopted: watch::Receiver<Option<Adopted>>,
    task: JoinHandle<()>,
}

impl Peers {
    /// `None`: there can be no other daemons.
    pub(super) fn start(shared: &Arc<Shared>) -> Option<Self> {
        shared.state.daemons()?;
        let (news, news_receiver) = mpsc::channel(INBOX);
        let (shows, shown) = watch::channel(Version::default());
        let (wrote, written) = watch::channel(0);
        let (answers, answered) = mpsc::unbounded_channel();
        let (adopts, adoption) = watch::channel(None);
        let (has_adopted, adopted) = watch::channel(None);
        let link = Link {
            shared: Arc::clone(shared),
            news,
            shown,
            wrote,
            answered,
            adoption,
            has_adopted,
            insisted: 0,
        };
        let task = tokio::spawn(link.run());
        Some(Self { news: news_receiver, shows, written, answers, adopts: Arc::new(adopts), adopted, task })
    }

    /// The next news.
    pub(super) async fn next(peers: &mut Option<Self>) -> Option<News> {
        match peers {
            Some(peers) => peers.news.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Shows the state of the dispatcher to the others.
    pub(super) fn show(&self, shown: Shown) {
        self.shows.send_if_modified(|Version(number, before)| {
            let changed = **before != shown;
            if changed {
                *number += 1;
                *before = Arc::new(shown);
            }
            changed
        });
    }

    /// Sends an answer once everything that was shown before is stored, within the time that a caller waits.
    pub(super) fn reply(&self, answer: Answer, to: oneshot::Sender<Answer>) {
        let (version, mut written) = (self.shows.borrow().0, self.written.clone());
        tokio::spawn(async move {
            // Without the lease it is not stored.
            let stored = timeout(PATIENCE, written.wait_for(|written| *written >= version)).await;
            let stored = stored.is_ok_and(|stored| stored.is_ok());
            let answer = if stored { answer } else { Answer::Refused(Refusal::NoDispatcher) };
            // If the caller has gone, the request is carried out all the same.
            drop(to.send(answer));
        });
    }

    /// Sends the answer to another daemon's request when there is one.
    pub(super) fn answer(&self, id: i64, answer: oneshot::Receiver<Answer>) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            // Without an answer the successor takes the request.
            if let Ok(answer) = answer.await {
                drop(answers.send((id, Some(answer).filter(|answer| *answer != Answer::Done))));
            }
        });
    }

    /// Says which configuration this daemon has. `insists`: somebody saved the file or asked for a reload.
    pub(super) fn adopt(&self, generation: &Arc<super::generation::Generation>, insists: bool) {
        let (generation, adopts) = (Arc::clone(generation), Arc::clone(&self.adopts));
        tokio::task::spawn_blocking(move || {
            let made = generation.factory.generation(&generation.config).map(Arc::new);
            if let Err(error) = &made {
                tracing::warn!(error = %error.one_line(), "workers cannot get this configuration");
            }
            adopts.send_if_modified(|current| {
                let before = current.as_ref();
                let is_newest = before.is_none_or(|before| before.number <= generation.number);
                let insisted = before.map_or(0, |before| before.insisted) + u64::from(insists);
                if is_newest {
                    let number = generation.number;
                    *current = Some(Adoption { number, generation: made.ok(), insisted });
                }
                is_newest
            });
        });
    }

    /// What workers say of a configuration of this daemon, which is adopted in a moment; empty: there are no workers.
    pub(super) fn workers_say(
        &self,
        shared: &Arc<Shared>,
        number: u64,
    ) -> impl Future<Output = String> + use<> {
        let (shared, mut adopted) = (Arc::clone(shared), self.adopted.clone());
        let adopted = async move {
            let done = |one: &Option<Adopted>| one.is_some_and(|one| one.number >= number);
            let adopted = timeout(HEARING, adopted.wait_for(done)).await.ok()?.ok()?;
            let adopted = (*adopted)?;
            match adopted.standing {
                Standing::Newest(number) => Some(number),
                Standing::New | Standing::Older(_) => None,
            }
        };
        async move {
            let Some(number) = adopted.await else { return String::new() };
            hear_workers(&shared, number).await.unwrap_or_else(|error| {
                tracing::warn!(error = %error.one_line(), "cannot read what workers say of the configuration");
                String::new()
            })
        }
    }

    /// Stores what was shown last, and gives the lease back.
    pub(super) async fn end(self) {
        let Self { shows, task, news, .. } = self;
        drop((shows, news));
        if timeout(FAREWELL, task).await.is_err() {
            tracing::warn!(
                "the database did not answer in time; another daemon takes over when the lease ends"
            );
        }
    }
}
