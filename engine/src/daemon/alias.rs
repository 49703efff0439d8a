//! Ids that callers hold of runs that are known by other ids: of a request over several projects,
//! or of one that another run serves.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many are kept; who asks later than that asks for history.
const KEPT: usize = 1000;

/// The ids, newest last.
#[derive(Default)]
pub(super) struct Aliases(Mutex<VecDeque<(String, Vec<String>)>>);

impl Aliases {
    /// `id` stands for these runs.
    pub(super) fn put(&self, id: String, runs: Vec<String>) {
        let mut aliases = self.lock();
        aliases.push_back((id, runs));
        if aliases.len() > KEPT {
            aliases.pop_front();
        }
    }

    /// The runs that an id stands for, through all aliases; none: it stands for itself.
    pub(super) fn of(&self, id: &str) -> Option<Vec<String>> {
        let aliases = self.lock();
        let find = |id: &str| aliases.iter().rev().find(|(own, _)| own == id).map(|(_, runs)| runs);
        let mut runs: Vec<String> = find(id)?.clone();
        // An alias only ever points to what was made before or after it, once; the bound is a proof
        // against a ring.
        for _ in 0..KEPT {
            let Some(at) = runs.iter().position(|run| run != id && find(run).is_some()) else { break };
            let run = runs.swap_remove(at);
            runs.extend(find(&run).into_iter().flatten().cloned());
        }
        Some(runs)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Vec<String>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_followed_and_bounded() {
        let aliases = Aliases::default();
        assert_eq!(aliases.of("a"), None);
        aliases.put("a".into(), vec!["a.1".into(), "b".into()]);
        aliases.put("b".into(), vec!["c".into()]);
        assert_eq!(aliases.of("a"), Some(vec!["a.1".into(), "c".into()]));
        for n in 0..KEPT {
            aliases.put(n.to_string(), Vec::new());
        }
        assert_eq!(aliases.of("a"), None);
    }
}
