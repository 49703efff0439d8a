//! Aliases of run ids: the id of a request over several projects, or of a run that was merged into
//! another.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeSet, VecDeque};

/// Maximum number of aliases kept. Older requests can be found only by the ids of their runs.
const MAX_ALIASES: usize = 1000;

/// The aliases, newest last.
#[derive(Default)]
pub(super) struct Aliases(Mutex<VecDeque<(String, Vec<String>)>>);

impl Aliases {
    /// Makes `id` an alias of these runs.
    pub(super) fn put(&self, id: String, runs: Vec<String>) {
        let mut aliases = self.lock();
        aliases.push_back((id, runs));
        if aliases.len() > MAX_ALIASES {
            aliases.pop_front();
        }
    }

    /// Resolves an id to runs, following aliases transitively; `None` if the id is not an alias.
    pub(super) fn of(&self, id: &str) -> Option<Vec<String>> {
        let aliases = self.lock();
        let find = |id: &str| aliases.iter().rev().find(|(own, _)| own == id).map(|(_, runs)| runs);
        let mut runs: Vec<String> = find(id)?.clone();
        // The bound guarantees termination even if aliases formed a cycle, which they should not.
        for _ in 0..MAX_ALIASES {
            let Some(at) = runs.iter().position(|run| run != id && find(run).is_some()) else { break };
            let run = runs.swap_remove(at);
            runs.extend(find(&run).into_iter().flatten().cloned());
        }
        Some(runs)
    }

    /// The newest aliases, for other daemons.
    pub(super) fn newest(&self, limit: usize) -> Vec<(String, Vec<String>)> {
        let aliases = self.lock();
        aliases.iter().skip(aliases.len().saturating_sub(limit)).cloned().collect()
    }

    /// Adds those of another daemon that are not known.
    pub(super) fn take_up(&self, others: Vec<(String, Vec<String>)>) {
        let known: BTreeSet<String> = self.lock().iter().map(|(id, _)| id.clone()).collect();
        others.into_iter().filter(|(id, _)| !known.contains(id)).for_each(|(id, runs)| self.put(id, runs));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Vec<String>)>> {
        self.0.lock()
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
        for n in 0..MAX_ALIASES {
            aliases.put(n.to_string(), Vec::new());
        }
        assert_eq!(aliases.of("a"), None);
    }
}
