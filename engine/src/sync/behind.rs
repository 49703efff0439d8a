//! How many commits an index is behind the heads last seen: counted aside, for people to see.

use super::setup::Project;
use crate::model::StageResult;
use crate::state::State;

/// Maximum number of repositories of a project counted per round. The others follow in later rounds, so an
/// outage costs a service a few requests instead of thousands.
const AT_A_TIME: usize = 20;

/// Counts the commits that the repositories of a project are behind, where the count is not known yet.
pub async fn count_behind(project: &Project, state: &dyn State) -> StageResult<()> {
    for one in state.uncounted(project.name(), AT_A_TIME).await? {
        let commits = project.source.commits_between(&one.repo, one.indexed, one.head).await?;
        state.count_commits(project.name(), &one, commits).await?;
    }
    Ok(())
}
