//! A hook for tests of crashes and full disks: it is called for each transaction and may make it fail. The
//! program itself sets none.

use std::fmt;

/// When a watcher is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the transaction has happened.
    Before,
    /// It is committed; only its caller does not know yet.
    After,
}

type Lets = dyn Fn(&str, Moment) -> bool + Send + Sync;

/// Who is asked, with the transaction's name.
pub(super) struct Watch(Box<Lets>);

impl Watch {
    pub(super) fn new(lets: impl Fn(&str, Moment) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(lets))
    }

    pub(super) fn lets(&self, what: &str, moment: Moment) -> bool {
        (self.0)(what, moment)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
