//! Copies a state with its vector cache.

use crate::model::StageResult;
use crate::state::{Copied, Copyable, copy};

/// Copies ledger and vector cache, and compares each with its copy. What the target holds already, as after an attempt
/// that ended between the two, is compared alone. Fails if it holds anything else.
pub async fn copy_state(from: &Copyable, to: &Copyable) -> StageResult<Copied> {
    let mut copied = copy(&*from.ledger, &*to.ledger).await?;
    copied.extend(copy(&*from.vectors, &*to.vectors).await?);
    Ok(copied)
}
