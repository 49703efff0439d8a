//! Masks secrets in log lines and panic messages. Errors are masked when they are created.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::model::mask_secrets;

/// Wraps a log writer and masks secrets.
#[derive(Debug, Clone)]
pub(super) struct Masked<M>(pub(super) M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Masked<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { text: Vec::new(), to: self.0.make_writer() }
    }
}

/// A log line, written as a whole: a secret may be split over several writes.
#[derive(Debug)]
pub(super) struct Line<W: Write> {
    text: Vec<u8>,
    to: W,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for Line<W> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        // There is nowhere to report a failed write to the log.
        drop(self.to.write_all(mask_secrets(&text).as_bytes()));
    }
}

/// Masks secrets in panic messages, since panics of the standard library may quote the text they
/// failed on.
pub(super) fn mask_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| match mask_secrets(&info.to_string()) {
        Cow::Borrowed(_) => default(info),
        // Without the backtrace: only the default hook can print it, after its own unmasked
        // message.
        Cow::Owned(masked) => drop(writeln!(io::stderr(), "{masked}")),
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::register_secrets;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_secret_in_pieces_is_masked() {
        register_secrets(["of-the-log-test-77aa".to_owned()]);
        let kept = Captured::default();
        let make = {
            let kept = kept.clone();
            Masked(move || kept.clone())
        };
        let mut line = make.make_writer();
        line.write_all(b"WARN got of-the-log").expect("kept");
        line.write_all(b"-test-77aa back\n").expect("kept");
        drop(line);
        assert_eq!(*kept.0.lock().expect("no panic"), b"WARN got *** back\n");
    }
}
