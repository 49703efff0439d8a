//! Reading a response body up to a bound.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;

use super::Buffer;

/// A body, or the beginning of one that is longer than its bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Collected {
    Whole(Bytes),
    Cut(Bytes),
}

/// Why a body could not be read to its end.
#[derive(Debug)]
pub(super) enum ReadError<E> {
    /// No byte for as long as the time-out.
    Idle,
    Broken(E),
}

/// The next piece of a body; none at its end. `idle`: longest time to wait for it.
pub(super) async fn next_chunk<B>(
    body: &mut B,
    idle: Option<Duration>,
) -> Result<Option<Bytes>, ReadError<B::Error>>
where
    B: BodyExt<Data = Bytes> + Unpin,
{
    loop {
        let frame = match idle {
            Some(idle) => {
                tokio::time::timeout(idle, body.frame()).await.map_err(|_elapsed| ReadError::Idle)?
            }
            None => body.frame().await,
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(ReadError::Broken(error)),
            // Trailers are of no interest.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Bytes that a body announces to have at least.
pub(super) fn announced<B: BodyExt>(body: &B) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

/// Reads a body of up to `most` bytes.
pub(super) async fn collect<B>(
    mut body: B,
    most: usize,
    idle: Option<Duration>,
) -> Result<Collected, ReadError<B::Error>>
where
    B: BodyExt<Data = Bytes> + Unpin,
{
    let announced = announced(&body);
    let first = next_chunk(&mut body, idle).await?.unwrap_or_default();
    if first.len() > most {
        return Ok(Collected::Cut(first.slice(..most)));
    }
    // A body of one piece is not copied.
    let Some(mut part) = next_chunk(&mut body, idle).await? else { return Ok(Collected::Whole(first)) };
    let mut read = Buffer::take();
    read.reserve(announced.min(most).min(Buffer::LONGEST));
    read.extend_from_slice(&first);
    drop(first);
    loop {
        let room = most - read.len();
        if part.len() > room {
            read.extend_from_slice(&part[..room]);
            return Ok(Collected::Cut(read.into()));
        }
        read.extend_from_slice(&part);
        match next_chunk(&mut body, idle).await? {
            Some(next) => part = next,
            None => return Ok(Collected::Whole(read.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    fn pieces(pieces: &'static [&'static str]) -> reqwest::Body {
        let piece = |piece: &&'static str| Ok::<_, Infallible>(Bytes::from_static(piece.as_bytes()));
        reqwest::Body::wrap_stream(stream::iter(pieces.iter().map(piece)))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound() {
        for (given, most, expected) in [
            (&["0123", "4567"][..], 8, Collected::Whole("01234567".into())),
            (&["0123", "4567"], 7, Collected::Cut("0123456".into())),
            (&["0123"], 4, Collected::Whole("0123".into())),
            (&["0123"], 3, Collected::Cut("012".into())),
            (&[], 0, Collected::Whole(Bytes::new())),
        ] {
            assert_eq!(collect(pieces(given), most, None).await.expect("read"), expected);
        }
    }
}
