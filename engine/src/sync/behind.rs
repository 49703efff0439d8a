//! How many commits an index is behind the heads last seen: counted aside, for people to see.

use std::sync::Arc;

use super::setup::Project;
use crate::ledger::Ledger;
use crate::model::StageResult;

/// So many repositories of a project are counted at a time: the others have their turn later, and
/// a failure of everything at once costs a service a few requests, not thousands.
const AT_A_TIME: usize = 20;

/// Counts for the repositories of a project that are behind, where nobody did yet.
pub async fn count_behind(project: &Project, ledger: &Arc<Ledger>) -> StageResult<()> {
    let name = project.name().to_owned();
    let uncounted = ledger.call(move |ledger| ledger.uncounted(&name, AT_A_TIME)).await?;
    for one in uncounted {
        let commits = project.source.commits_between(&one.repo, one.indexed, one.head).await?;
        let name = project.name().to_owned();
        ledger.call(move |ledger| ledger.count_commits(&name, &one, commits)).await?;
    }
    Ok(())
}
