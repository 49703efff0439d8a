//! Notifications from the server.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pool::{Pool, READY};
use super::{Failure, PostgresUrl};
use crate::net;

/// The pauses between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a notification may take to arrive. A server without other work needs milliseconds.
const ECHO: Duration = Duration::from_secs(10);

/// Calls `heard` with the payload of each notification on a channel, and with `None` whenever it has begun to
/// listen. Connects again when the connection breaks; does not end. Each new connection is checked with a notification
/// that another connection of the pool sends, until one did not arrive, which is logged.
pub(crate) async fn listen(pool: Pool, channel: &'static str, heard: impl Fn(Option<&str>) + Send + Sync) {
    let url = pool.url();
    let mut pause = FIRST_PAUSE;
    let mut is_deaf = false;
    loop {
        let mut listened = false;
        let echo = Echo::default();
        let listening = listen_once(url, channel, |payload| {
            listened = true;
            if !echo.takes(payload) {
                heard(payload);
            }
        });
        let ended = tokio::select! {
            ended = listening => ended,
            never = echo.check(&pool, channel, &mut is_deaf) => match never {},
        };
        pause = if listened { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        if let Err(failure) = ended {
            tracing::debug!(database = %url, %failure, "notifications are not heard; the queue is asked instead");
        }
        sleep(pause).await;
    }
}

/// A notification that a connection is checked with: a pooler accepts `LISTEN` even if it does not deliver notifications.
#[derive(Debug)]
struct Echo {
    payload: String,
    has_begun: Notify,
    has_arrived: Notify,
}

impl Default for Echo {
    fn default() -> Self {
        let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Self { payload: format!("echo {random:016x}"), has_begun: Notify::new(), has_arrived: Notify::new() }
    }
}

impl Echo {
    /// Takes note of what is heard; true if it is this notification.
    fn takes(&self, payload: Option<&str>) -> bool {
        match payload {
            None => self.has_begun.notify_one(),
            Some(payload) if payload == self.payload => {
                self.has_arrived.notify_one();
                return true;
            }
            Some(_) => {}
        }
        false
    }

    /// Sends the notification once listening has begun, and logs if it does not arrive. Not on the connection that
    /// listens: a pooler would deliver it there, as part of the answer.
    async fn check(&self, pool: &Pool, channel: &'static str, is_deaf: &mut bool) -> Infallible {
        self.has_begun.notified().await;
        if !*is_deaf && self.send(pool, channel).await.is_ok() {
            *is_deaf = timeout(ECHO, self.has_arrived.notified()).await.is_err();
            if *is_deaf {
                tracing::warn!(
                    database = %pool.url(),
                    "notifications of the server do not arrive, so that work waits for the next look every `[workers] poll`; \
                     behind PgBouncer in transaction mode set `listen = false` in `[engine.postgres]`, and start workers \
                     with `--no-listen`"
                );
            }
        }
        pending().await
    }

    async fn send(&self, pool: &Pool, channel: &'static str) -> Result<(), Failure> {
        let payload = self.payload.as_str();
        pool.get().await?.run("SELECT pg_notify($1, $2)", &[&channel, &payload]).await.map(drop)
    }
}

async fn listen_once(
    url: &PostgresUrl,
    channel: &str,
    heard: impl FnMut(Option<&str>) + Send,
) -> Result<(), Failure> {
    if url.is_encrypted() {
        let tls = net::client_config().map_err(|error| Failure::Other(error.to_string()))?;
        let (client, connection) = in_time(url.config().connect(MakeRustlsConnect::new(tls))).await?;
        hear(&client, connection, channel, heard).await
    } else {
        let (client, connection) = in_time(url.config().connect(NoTls)).await?;
        hear(&client, connection, channel, heard).await
    }
}

async fn in_time<T>(
    connecting: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    Ok(timeout(READY, connecting).await.map_err(|_| Failure::Silent)??)
}

async fn hear<S, T>(
    client: &Client,
    mut connection: Connection<S, T>,
    channel: &str,
    mut heard: impl FnMut(Option<&str>) + Send,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut messages = poll_fn(move |cx| connection.poll_message(cx));
    let statement = format!("LISTEN {channel}");
    let mut listening = std::pin::pin!(client.batch_execute(&statement));
    let mut begun = false;
    loop {
        tokio::select! {
            done = &mut listening, if !begun => {
                done?;
                begun = true;
                heard(None);
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(notification))) => heard(Some(notification.payload())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
        }
    }
}
