//! Wakes processes that wait for the queue. Notifications are a hint: the queue is also polled.

use std::fmt;
use std::sync::OnceLock;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::postgres::{Failure, Pool, Transaction, listen};

/// The channel of all notifications.
const CHANNEL: &str = "reposync";
/// Units may have become ready.
pub(super) const READY: &str = "ready";
/// Units may have ended.
pub(super) const ENDED: &str = "ended";
/// A daemon has adopted a configuration.
pub(in super::super) const ADOPTED: &str = "adopted";
/// A daemon may have asked the dispatcher for something.
pub(in super::super) const ASKED: &str = "asked";
/// The dispatcher may have shown or answered something.
pub(in super::super) const PEERS: &str = "peers";

/// Sends a notification when the transaction commits.
pub(in super::super) async fn notify(tx: &Transaction, what: &str) -> Result<(), Failure> {
    tx.run("SELECT pg_notify($1, $2)", &[&CHANNEL, &what]).await.map(drop)
}

/// Listens on a separate connection, from the first time that somebody wants to know.
pub(in super::super) struct Wake {
    /// False behind a pooler that gives each transaction another connection.
    listens: bool,
    ready: watch::Sender<u64>,
    news: watch::Sender<u64>,
    asked: watch::Sender<u64>,
    peers: watch::Sender<u64>,
    adopted: watch::Sender<u64>,
    task: OnceLock<AbortHandle>,
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}

impl Wake {
    pub(in super::super) fn new(listens: bool) -> Self {
        let [ready, news, asked, peers, adopted] = [(); 5].map(|()| watch::channel(0).0);
        Self { listens, ready, news, asked, peers, adopted, task: OnceLock::new() }
    }

    pub(super) fn ready(&self, pool: &Pool) -> watch::Receiver<u64> {
        self.listen(pool);
        self.ready.subscribe()
    }

    pub(super) fn news(&self, pool: &Pool) -> watch::Receiver<u64> {
        self.listen(pool);
        self.news.subscribe()
    }

    pub(in super::super) fn asked(&self, pool: &Pool) -> watch::Receiver<u64> {
        self.listen(pool);
        self.asked.subscribe()
    }

    pub(in super::super) fn peers(&self, pool: &Pool) -> watch::Receiver<u64> {
        self.listen(pool);
        self.peers.subscribe()
    }

    pub(super) fn adopted(&self, pool: &Pool) -> watch::Receiver<u64> {
        self.listen(pool);
        self.adopted.subscribe()
    }

    fn listen(&self, pool: &Pool) {
        if !self.listens {
            return;
        }
        self.task.get_or_init(|| {
            let woken = [
                (READY, &self.ready),
                (ENDED, &self.news),
                (ASKED, &self.asked),
                (PEERS, &self.peers),
                (ADOPTED, &self.adopted),
            ];
            let woken = woken.map(|(what, sender)| (what, sender.clone()));
            let heard = move |payload: Option<&str>| {
                for (what, sender) in &woken {
                    // What was sent before the connection was made is not heard.
                    if payload.is_none_or(|payload| payload == *what) {
                        sender.send_modify(|n| *n += 1);
                    }
                }
            };
            tokio::spawn(listen(pool.clone(), CHANNEL, heard)).abort_handle()
        });
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}
