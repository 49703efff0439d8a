//! Work on parts of the index, on all cores.

use parking_lot::Mutex;
use rusqlite::Connection;

use super::database::{Database, threads};
use super::failed::Failed;

/// Rows of a part. Fewer would cost more than a second thread gains; more would leave threads idle at the end.
pub(super) const ROWS_PER_PART: i64 = 8192;

/// Runs `work` on each part: on connections of helping threads, and on the caller's once it has done
/// `meanwhile`. The results are in the order of the parts.
///
/// The snapshots of helpers may be newer than the caller's, which looks up again what they find.
pub(super) fn spread<P: Copy + Send, T: Send, M>(
    database: &Database,
    connection: &Connection,
    parts: Vec<P>,
    work: impl Fn(&Connection, P) -> Result<T, Failed> + Sync,
    meanwhile: impl FnOnce() -> Result<M, Failed>,
) -> Result<(Vec<T>, M), Failed> {
    let helpers = parts.len().min(threads()).saturating_sub(1);
    let open = Mutex::new(parts.into_iter().enumerate().collect::<Vec<_>>());
    let next = || open.lock().pop();
    let done = Mutex::new(Vec::new());
    let work = |connection: &Connection| -> Result<(), Failed> {
        while let Some((at, part)) = next() {
            match work(connection, part) {
                Ok(result) => done.lock().push((at, result)),
                Err(error) => {
                    open.lock().push((at, part));
                    return Err(error);
                }
            }
        }
        Ok(())
    };
    let other = std::thread::scope(|scope| {
        for _ in 0..helpers {
            // A helper that cannot read leaves its part to the caller.
            scope.spawn(|| drop(database.help(|connection| work(connection))));
        }
        let other = meanwhile()?;
        work(connection).map(|()| other)
    })?;
    // A helper may have given its part back after the caller had ended.
    work(connection)?;
    let mut done = done.into_inner();
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok((done.into_iter().map(|(_, result)| result).collect(), other))
}
