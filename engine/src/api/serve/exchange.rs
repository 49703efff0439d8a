//! The bodies of a request and its answer, as the connection sees them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tower_service::Service as _;

use super::connections::{Caller, Exchange};

/// Bytes of an unread body that are read and thrown away after the answer.
const LEFTOVER: u64 = 1 << 20;
/// Time that they are given.
const LEFTOVER_TIME: Duration = Duration::from_secs(5);

/// Answers one request of a connection. A body that the answer did not need goes to `leftovers`.
pub(super) fn answer(
    mut router: Router,
    caller: &Caller,
    leftovers: &UnboundedSender<Incoming>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<> {
    let exchange = caller.exchange();
    // A client that waits for `100 Continue` sends no body after a refusal.
    let waits = request.headers().contains_key(header::EXPECT);
    let leftovers = (!waits).then(|| leftovers.clone());
    let mut request = request.map(|body| Body::new(Received { body: Some(body), leftovers }));
    request.extensions_mut().insert(caller.clone());
    async move {
        let response = router.call(request).await?;
        Ok(response.map(|body| ResponseBody { body, _exchange: exchange }))
    }
}

/// Reads what requests left unread, within bounds, and throws it away. Without it the connection
/// would be reset while the client still sends, and the answer could be lost on its way.
pub(super) async fn discard(mut leftovers: UnboundedReceiver<Incoming>) {
    while let Some(mut body) = leftovers.recv().await {
        let rest = async {
            let mut left = LEFTOVER;
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(rest) = left.checked_sub(bytes) else { break };
                left = rest;
            }
        };
        // What is not read by then is reset with the connection.
        drop(tokio::time::timeout(LEFTOVER_TIME, rest).await);
    }
}

/// The body of a request.
struct Received {
    body: Option<Incoming>,
    leftovers: Option<UnboundedSender<Incoming>>,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let (Some(body), Some(leftovers)) = (self.body.take(), &self.leftovers)
            && !body.is_end_stream()
        {
            // Fails where the connection is gone.
            drop(leftovers.send(body));
        }
    }
}

/// The body of an answer. The exchange ends when it is sent or given up.
pub(super) struct ResponseBody {
    body: Body,
    _exchange: Exchange,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
