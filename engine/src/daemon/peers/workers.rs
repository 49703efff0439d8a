//! What workers say of a configuration.

use std::time::Duration;

use tokio::time::Instant;

use super::super::shared::Shared;
use crate::model::StageResult;

/// How long workers may take to build a configuration, until the answer to a reload says that they did not answer.
pub(super) const HEARING: Duration = Duration::from_secs(15);
/// How often their answers are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until all workers have taken up a generation, or refused it.
pub(super) async fn hear_workers(shared: &Shared, number: i64) -> StageResult<String> {
    let (Some(daemons), Some(queue)) = (shared.state.daemons(), shared.state.queue()) else {
        return Ok(String::new());
    };
    let end = Instant::now() + HEARING;
    loop {
        let workers = queue.workers().await?.len();
        let answers = daemons.answers_to_generation(number).await?;
        if answers.len() >= workers || Instant::now() >= end {
            return Ok(say(workers, &answers));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// `answers`: of workers by label; `Some`: why one refused.
fn say(workers: usize, answers: &[(String, Option<String>)]) -> String {
    let applied = answers.iter().filter(|(_, refused)| refused.is_none()).count();
    let mut said = match workers {
        0 => return String::new(),
        1 => format!("{applied} of 1 worker"),
        _ => format!("{applied} of {workers} workers"),
    };
    for (label, reason) in answers {
        if let Some(reason) = reason {
            said += &format!("; {label} refused: {reason}");
        }
    }
    let silent = workers.saturating_sub(answers.len());
    if silent > 0 {
        said += &format!("; {silent} did not answer yet");
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_reload_names_workers_that_cannot_use_the_file() {
        let answer = |label: &str, refused: Option<&str>| (label.to_owned(), refused.map(str::to_owned));
        assert_eq!(say(0, &[]), "");
        assert_eq!(say(1, &[answer("w1", None)]), "1 of 1 worker");
        let answers = [answer("w1", None), answer("w3", Some("`TOKEN` is not set"))];
        assert_eq!(say(3, &answers), "1 of 3 workers; w3 refused: `TOKEN` is not set; 1 did not answer yet");
    }
}
