//! Files, and lines of files, as text.

use super::budget::Budgeted;
use super::error::Answered;
use super::fence::{fence, inline};
use super::found::currency;
use crate::app::{GrepAnswer, GrepFile, IndexedFile};
use crate::model::Freshness;

/// The lines of a file that fit.
pub(super) fn render(
    file: &IndexedFile,
    freshness: &Freshness,
    (start, end): (Option<u64>, Option<u64>),
    max_tokens: Option<usize>,
) -> Answered {
    let last = file.text.last_line();
    let (start, end) = (start.unwrap_or(1).max(1), end.unwrap_or(u64::MAX));
    if start > end {
        return Err(format!("`start` ({start}) is after `end` ({end})"));
    }
    let lines = file.text.lines(start, end);
    let Some((first, _)) = lines.first().copied() else {
        return Err(format!("`{}` has no text in these lines; its last line is {last}", file.path));
    };
    let texts: Vec<&str> = lines.iter().map(|(_, line)| *line).collect();
    let (open, close) = fence(file.text.text(), &file.language);
    let mut text = Budgeted::new(max_tokens);
    let mut head = format!("{} {}  lines {first} to ", inline(&file.repository), inline(&file.path));
    let rest = {
        let own = std::slice::from_ref(freshness);
        let mut rest =
            format!(" of {last}\n{}", currency(own, &file.project, &file.repository, &file.commit));
        if !file.url.is_empty() {
            rest.push_str(&format!("url: {}\n", inline(&file.url)));
        }
        rest
    };
    // The number of the last line is known when the lines are counted.
    let placeholder = format!("{head}{}{rest}{open}", u64::MAX);
    let taken = Budgeted::new(max_tokens).push_lines(&placeholder, &texts, &close);
    let Some((to, _)) = taken.checked_sub(1).and_then(|at| lines.get(at)).copied() else {
        return Err(format!("line {first} does not fit into max_tokens; ask with a larger one"));
    };
    head.push_str(&to.to_string());
    text.push_lines(&format!("{head}{rest}{open}"), &texts[..taken], &close);
    let more = lines.len() > taken;
    Ok(text.finish(&if more {
        format!("Cut at line {to}. Go on with start={}.", to + 1)
    } else if to >= last {
        "This is the end of the file.".to_owned()
    } else {
        format!("The file goes on to line {last}.")
    }))
}

/// The matching lines that fit, by file.
pub(super) fn render_lines(
    answer: &GrepAnswer,
    freshness: &[Freshness],
    offset: usize,
    max_tokens: Option<usize>,
) -> String {
    let mut text = Budgeted::new(max_tokens);
    for note in &answer.notes {
        text.push(&format!("Note: {note}\n\n"));
    }
    let mut shown = 0;
    let mut all = true;
    for file in &answer.files {
        let lines: Vec<String> =
            file.lines.iter().map(|line| format!("{}: {}", line.line, inline(&line.text))).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let taken = text.push_lines(&head(file, freshness), &lines, "\n");
        shown += taken;
        if taken < lines.len() {
            all = false;
            break;
        }
    }
    let next = offset + shown;
    let last = match (&answer.bounded, all) {
        (_, false) if shown == 0 => "No line fits into max_tokens; ask with a larger one.".to_owned(),
        (_, false) => format!("Cut to fit. There are more lines: go on with offset={next}."),
        (Some(why), true) if shown == 0 => format!("No line yet: {why}. Narrow it by repository or paths."),
        (Some(why), true) => {
            format!(
                "There may be more lines ({why}): narrow it by repository or paths, or go on with offset={next}."
            )
        }
        (None, true) if shown == 0 && offset == 0 => {
            "No line matches. Only indexed files are searched; explain says why a file is not indexed."
                .to_owned()
        }
        (None, true) => format!("{shown} lines; no further line matches."),
    };
    text.finish(&last)
}

fn head(file: &GrepFile, freshness: &[Freshness]) -> String {
    let url = file.lines.first().map(|line| line.url.as_str()).unwrap_or_default();
    let url = if url.is_empty() { String::new() } else { format!("url: {}\n", inline(url)) };
    format!(
        "{} {}\n{}{url}",
        inline(&file.repository),
        inline(&file.path),
        currency(freshness, &file.project, &file.repository, &file.commit)
    )
}
