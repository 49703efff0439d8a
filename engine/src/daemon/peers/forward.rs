//! Requests to the dispatcher of another process.

use tokio::time::timeout;

use super::super::message::{Answer, Refusal, Request};
use super::messages::{PATIENCE, POLL};
use crate::model::StageResult;
use crate::state::State;

/// Passes a request on to the dispatcher, and waits for its answer.
pub(in super::super) async fn forward(state: &dyn State, request: &Request) -> StageResult<Answer> {
    let Some(daemons) = state.daemons() else { return Ok(Answer::Refused(Refusal::NoDispatcher)) };
    let mut changes = daemons.peers();
    let id = daemons.ask(&serde_json::to_string(request).unwrap_or_default()).await?;
    if matches!(request, Request::Changed { .. }) {
        // It is stored, and needs no answer.
        return Ok(Answer::Done);
    }
    let answered = async {
        loop {
            if let Some(answer) = daemons.answer_to(id).await? {
                return Ok(serde_json::from_str(&answer).unwrap_or(Answer::Refused(Refusal::NoDispatcher)));
            }
            drop(timeout(POLL, changes.changed()).await);
        }
    };
    match timeout(PATIENCE, answered).await {
        Ok(answer) => answer,
        Err(_) if daemons.withdraw(id).await? => Ok(Answer::Refused(Refusal::NoDispatcher)),
        Err(_) => {
            // It was answered at this moment, or is done, which has no answer.
            let answer = daemons.answer_to(id).await?;
            Ok(answer.and_then(|answer| serde_json::from_str(&answer).ok()).unwrap_or(Answer::Done))
        }
    }
}
