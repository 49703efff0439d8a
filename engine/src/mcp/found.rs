//! Matches of a search as text.

use super::budget::Budgeted;
use super::fence::{fence, inline};
use crate::model::Freshness;
use crate::search::{Answer, Found};

/// The matches that fit, and how to get the others. `shown`: how many were left out, and how many were asked for.
pub(super) fn render(answer: &Answer, (offset, limit): (usize, usize), max_tokens: Option<usize>) -> String {
    let mut text = Budgeted::new(max_tokens);
    if answer.weak {
        text.push("Weak matches only: nothing that is indexed seems to answer this.\n\n");
    }
    for note in &answer.notes {
        text.push(&format!("Note: {note}\n\n"));
    }
    let asked = &answer.matches[..answer.matches.len().min(limit)];
    let mut shown = 0;
    let mut cut = false;
    for found in asked {
        let rank = offset + shown + 1;
        let head = head(rank, found, &answer.repositories);
        let body = found.text("text");
        let (open, close) = fence(body, found.text("language"));
        if !text.push(&format!("{head}{open}{}\n{close}\n", body.trim_end_matches('\n'))) {
            if shown == 0 {
                // A match that is larger than the answer may be is cut; all others are whole.
                let lines: Vec<&str> = body.lines().collect();
                let taken = text.push_lines(&format!("{head}{open}"), &lines, &format!("{close}\n"));
                shown = usize::from(taken > 0);
                cut = taken > 0;
            }
            break;
        }
        shown += 1;
    }
    text.finish(&last_line(answer, offset, shown, cut))
}

fn last_line(answer: &Answer, offset: usize, shown: usize, cut: bool) -> String {
    let found = answer.matches.len();
    let next = offset + shown;
    if found == 0 {
        return if offset == 0 {
            "No match. Use other words, fewer filters, or grep for an exact text.".to_owned()
        } else {
            "No further match.".to_owned()
        };
    }
    if shown == 0 {
        return "No match fits into max_tokens; ask with a larger one.".to_owned();
    }
    let cut = if cut { " The match is cut: read its lines." } else { "" };
    if found > shown {
        return format!("Shown: {} to {next}.{cut} There are more: go on with offset={next}.", offset + 1);
    }
    format!("Shown: {} to {next}.{cut} No further match.", offset + 1)
}

fn head(rank: usize, found: &Found, freshness: &[Freshness]) -> String {
    let lines = match found.lines() {
        Some((start, end)) => format!(":{start}-{end}"),
        None => String::new(),
    };
    let (project, repository) = (found.text("project"), found.text("repository"));
    let mut text = format!("[{rank}] {} {}{lines}\n", inline(repository), inline(found.text("file_path")));
    let name = match (found.text("kind"), found.text("name"), found.text("context")) {
        (_, "", context) => context.lines().next().unwrap_or_default().to_owned(),
        (kind, name, _) => format!("{kind} {name}").trim_start().to_owned(),
    };
    if !name.is_empty() {
        text.push_str(&format!("in: {}\n", inline(&name)));
    }
    text.push_str(&currency(freshness, project, repository, found.text("commit_sha")));
    if !found.text("url").is_empty() {
        text.push_str(&format!("url: {}\n", inline(found.text("url"))));
    }
    let similarity = found.similarity.map(|cosine| format!("  similarity: {cosine:.3}")).unwrap_or_default();
    text.push_str(&format!("project: {}  score: {:.3}{similarity}\n", inline(project), found.score));
    text
}

/// The commit of a record, and how far it is behind.
pub(super) fn currency(freshness: &[Freshness], project: &str, repository: &str, commit: &str) -> String {
    let own = freshness.iter().find(|one| one.project == project && one.repository == repository);
    let behind = own.map_or_else(|| "unknown".to_owned(), Freshness::behind);
    let mut text = format!("commit: {}  commits_behind: {behind}\n", inline(commit));
    if let Some(count) = own.and_then(|own| own.differing_files).filter(|count| *count > 0) {
        text.push_str(&format!(
            "uncommitted: {count} files of the work tree differ from the indexed commit\n"
        ));
    }
    text
}
