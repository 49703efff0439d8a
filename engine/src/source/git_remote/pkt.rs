//! Lines of Git's wire protocol: four hexadecimal digits of length, then the content.
//! See `gitprotocol-common(5)`.

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes of the longest line.
const LONGEST: usize = 65_520;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pkt {
    /// A line with content.
    Data(Bytes),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a part of a message.
    Delim,
    /// `0002`: the end of a response.
    End,
}

/// What came is not the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Splits a stream of bytes into lines.
#[derive(Debug, Default)]
pub(super) struct PktReader {
    buffer: BytesMut,
}

impl PktReader {
    /// Adds bytes as they arrive.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line; none where more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Pkt>, Malformed> {
        let Some(digits) = self.buffer.get(..4) else { return Ok(None) };
        let mut length = [0; 2];
        hex::decode_to_slice(digits, &mut length).map_err(|_| Malformed)?;
        let length = usize::from(u16::from_be_bytes(length));
        let special = match length {
            0 => Pkt::Flush,
            1 => Pkt::Delim,
            2 => Pkt::End,
            3 => return Err(Malformed),
            _ if length > LONGEST => return Err(Malformed),
            _ if self.buffer.len() < length => return Ok(None),
            _ => {
                let mut line = self.buffer.split_to(length);
                line.advance(4);
                return Ok(Some(Pkt::Data(line.freeze())));
            }
        };
        self.buffer.advance(4);
        Ok(Some(special))
    }

    /// True where the stream may end: no part of a line is left.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// All lines of a whole message. The error is also that of a message that breaks off within a line.
pub(super) fn lines(message: &[u8]) -> Result<Vec<Pkt>, Malformed> {
    let mut reader = PktReader::default();
    reader.push(message);
    let mut lines = Vec::new();
    while let Some(line) = reader.next()? {
        lines.push(line);
    }
    if reader.is_empty() { Ok(lines) } else { Err(Malformed) }
}

/// Appends a line. It is one of ours, and short.
pub(super) fn write(message: &mut Vec<u8>, line: &str) {
    debug_assert!(line.len() + 4 <= LONGEST, "a request's lines are short");
    message.extend_from_slice(format!("{:04x}{line}", line.len() + 4).as_bytes());
}

/// The end of a message.
pub(super) const FLUSH: &[u8] = b"0000";
/// The end of a part of a message.
pub(super) const DELIM: &[u8] = b"0001";

/// The line without its end, as text; none where it is not UTF-8.
pub(super) fn text(line: &Bytes) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    Some(line.strip_suffix('\n').unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_the_bytes_arrive() {
        let mut message = Vec::new();
        write(&mut message, "version 2\n");
        message.extend_from_slice(DELIM);
        write(&mut message, "");
        message.extend_from_slice(FLUSH);
        message.extend_from_slice(b"0002");
        let expected = [
            Pkt::Data(Bytes::from_static(b"version 2\n")),
            Pkt::Delim,
            Pkt::Data(Bytes::new()),
            Pkt::Flush,
            Pkt::End,
        ];
        assert_eq!(lines(&message).expect("whole"), expected);
        let mut reader = PktReader::default();
        let mut found = Vec::new();
        for byte in &message {
            reader.push(&[*byte]);
            while let Some(line) = reader.next().expect("well-formed") {
                found.push(line);
            }
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_the_protocol_is_refused() {
        for bad in ["<html>", "0003", "fffff", "zzzz", "-001", "0010short", "000"] {
            assert_eq!(lines(bad.as_bytes()), Err(Malformed), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_split_or_refused(bytes: Vec<u8>) {
            drop(lines(&bytes));
        }
    }
}
