//! Notifications from the server.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pool::READY;
use super::{Failure, PostgresUrl};
use crate::net;

/// The pauses between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Calls `heard` with the payload of each notification on a channel, and with `None` whenever it has begun to
/// listen. Connects again when the connection breaks; does not end.
pub(crate) async fn listen(
    url: PostgresUrl,
    channel: &'static str,
    heard: impl Fn(Option<&str>) + Send + Sync,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut listened = false;
        let ended = listen_once(&url, channel, |payload| {
            listened = true;
            heard(payload);
        });
        let ended = ended.await;
        pause = if listened { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        if let Err(failure) = ended {
            tracing::debug!(database = %url, %failure, "notifications are not heard; the queue is asked instead");
        }
        sleep(pause).await;
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
