//! Renders the report of a run: results per project, failures, the total, hints.

use crate::model::{Counts, GuardKind, Outcome, ProjectReport, Report};

use super::super::output::{Style, escape};
use super::words::{
    count, duration, field, hints, noun_for, number, parts, place_of, price, render_hints, skip_examples,
    skipped,
};

pub(crate) fn render(report: &Report, style: &Style) -> String {
    let mut text = String::new();
    for project in &report.projects {
        text.push_str(&render_project(project, style));
        text.push('\n');
    }
    text.push_str(&render_failures(report, style));
    text.push_str(&total(report, style));
    text.push('\n');
    text.push_str(&advice(report, style));
    text
}

fn render_project(report: &ProjectReport, style: &Style) -> String {
    let counts = &report.counts;
    let mut text = format!("{}: {}\n", style.strong(&escape(&report.project)), verdict(report, style));
    let mut line = |label: &str, value: &str| text.push_str(&field(label, value));
    line("repositories", &repositories(counts));
    line("files", &files(counts));
    line("skipped", &skipped(&report.skipped));
    if counts.chunks > 0 {
        line("chunks", &number(counts.chunks));
    }
    line("texts", &parts(&[(counts.texts_embedded, "embedded"), (counts.texts_cached, "from the cache")]));
    line("tokens", &tokens(counts));
    line(
        "vectors",
        &parts(&[
            (counts.vectors_written, "written"),
            (counts.vectors_deleted, "deleted"),
            (counts.vectors_withheld, "withheld by the deletion guard"),
        ]),
    );
    for withheld in &report.withheld {
        line("withheld", &escape(&withheld.message));
    }
    for note in &report.notes {
        line("note", &escape(note));
    }
    if let Some(quality) = &report.search_quality {
        let message = escape(&quality.message()).into_owned();
        line("search", &if quality.is_bad() { style.warning(&message) } else { message });
    }
    if style.verbose > 0 {
        text.push_str(&skip_examples(&report.skipped, style));
    }
    text
}

fn tokens(counts: &Counts) -> String {
    match counts.tokens {
        0 => String::new(),
        tokens if counts.price > 0.0 => format!("{}, price {}", number(tokens), price(counts.price)),
        tokens => number(tokens),
    }
}

fn verdict(report: &ProjectReport, style: &Style) -> String {
    let is_idle = report.outcome == Outcome::Done && is_idle(&report.counts);
    style.outcome(report.outcome, if is_idle { "nothing to do" } else { report.outcome.as_str() })
}

fn is_idle(counts: &Counts) -> bool {
    touched(counts) + counts.files_failed + counts.vectors_written + counts.vectors_deleted == 0
}

fn touched(counts: &Counts) -> u64 {
    counts.files_added + counts.files_changed + counts.files_moved + counts.files_removed
}

fn repositories(counts: &Counts) -> String {
    match counts.repositories_unchanged {
        _ if counts.repositories == 0 => String::new(),
        0 => number(counts.repositories),
        unchanged => format!("{}, {} unchanged", number(counts.repositories), number(unchanged)),
    }
}

fn files(counts: &Counts) -> String {
    parts(&[
        (counts.files_added, "added"),
        (counts.files_changed, "changed"),
        (counts.files_moved, "moved"),
        (counts.files_removed, "removed"),
        (counts.files_unchanged, "unchanged"),
        (counts.files_failed, "failed"),
    ])
}

/// Failures, one per line. Without `-v`, only the first few of each project.
fn render_failures(report: &Report, style: &Style) -> String {
    const FOLDED: usize = 10;
    let mut text = String::new();
    for project in &report.projects {
        let name = escape(&project.project);
        let shown = if style.verbose > 0 { project.failures.len() } else { FOLDED };
        for failure in project.failures.iter().take(shown) {
            let label = style.bad("failed:");
            text.push_str(&format!("{label} {}: {}\n", place_of(failure), escape(&failure.error)));
        }
        let hidden = hidden_failures(project, shown);
        if hidden > 0 {
            let advice = if style.verbose == 0 { "; `-v` and `--json` show more" } else { "" };
            let noun = noun_for(hidden, "failure");
            text.push_str(&format!("… {} more {noun} in project `{name}`{advice}\n", number(hidden)));
        }
        if let Some(error) = &project.error {
            let label = style.bad("error:");
            let place = place_of(error);
            text.push_str(&format!("{label} project `{name}` failed: {place}: {}\n", escape(&error.error)));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Failures that are counted or listed in the report but not shown in the summary.
fn hidden_failures(project: &ProjectReport, shown: usize) -> u64 {
    let listed = project.failures.len() as u64;
    // A failed repository is listed, but not counted as a failed file.
    let files_listed = project.failures.iter().filter(|failure| failure.path.is_some()).count() as u64;
    let unlisted = project.counts.files_failed.saturating_sub(files_listed);
    listed.saturating_sub(shown as u64) + unlisted
}

fn total(report: &Report, style: &Style) -> String {
    let sum = |f: fn(&Counts) -> u64| report.projects.iter().map(|project| f(&project.counts)).sum::<u64>();
    let word = match report.outcome {
        Outcome::Done if report.projects.iter().all(|project| is_idle(&project.counts)) => "Nothing to do",
        Outcome::Done => "Done",
        Outcome::Partial => "Partial",
        Outcome::Failed => "Failed",
        Outcome::Interrupted => "Interrupted",
    };
    let changes = [
        (sum(|c| c.files_added), "added"),
        (sum(|c| c.files_changed), "changed"),
        (sum(|c| c.files_moved), "moved"),
        (sum(|c| c.files_removed), "removed"),
        (sum(|c| c.files_unchanged), "unchanged"),
        (sum(|c| c.files_failed), "failed"),
    ];
    let mut facts: Vec<String> = Vec::new();
    for (n, what) in changes.into_iter().filter(|(n, _)| *n > 0) {
        // The noun stands once, at the first number.
        let n = if facts.is_empty() { count(n, "file") } else { number(n) };
        facts.push(format!("{n} {what}"));
    }
    let ended = report.projects.iter().filter(|project| project.error.is_some()).count() as u64;
    if ended > 0 {
        facts.push(format!("{} failed", count(ended, "project")));
    }
    let facts = if facts.is_empty() { String::new() } else { format!(": {}", facts.join(", ")) };
    format!("{}{facts} in {}.", style.outcome(report.outcome, word), duration(report.seconds))
}

fn advice(report: &Report, style: &Style) -> String {
    let failures = report.projects.iter().flat_map(|project| project.failures.iter().chain(&project.error));
    let mut advice: Vec<String> = hints(failures).into_iter().map(|hint| escape(hint).into_owned()).collect();
    if report.projects.iter().any(|project| project.counts.vectors_withheld > 0) {
        advice.push("`reposync apply --allow-deletes` removes what the deletion guard withheld".to_owned());
    }
    if report.projects.iter().flat_map(|project| &project.withheld).any(|w| w.guard == GuardKind::Spending) {
        advice.push("`reposync apply --allow-cost` embeds what the spending guard withheld".to_owned());
    }
    if report.outcome == Outcome::Interrupted {
        advice.push("`reposync apply` continues where this run stopped".to_owned());
    }
    render_hints(&advice, style)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use crate::model::{Failure, SkipCount, SkipReason};

    use super::*;

    fn project(name: &str, outcome: Outcome, counts: Counts) -> ProjectReport {
        ProjectReport {
            project: name.to_owned(),
            outcome,
            counts,
            skipped: Vec::new(),
            failures: Vec::new(),
            error: None,
            retry_after: None,
            withheld: Vec::new(),
            notes: Vec::new(),
            search_quality: None,
        }
    }

    fn report(seconds: f64, projects: Vec<ProjectReport>) -> Report {
        Report {
            run: "20260131-080000-1".to_owned(),
            trigger: "apply".to_owned(),
            started_at: DateTime::UNIX_EPOCH,
            seconds,
            outcome: projects.iter().map(|project| project.outcome).max().unwrap_or(Outcome::Done),
            projects,
        }
    }

    fn failure(repository: &str, path: &str, error: &str, hint: Option<&str>) -> Failure {
        Failure {
            stage: "ada".to_owned(),
            repository: Some(repository.to_owned()),
            path: Some(path.to_owned()),
            error: error.to_owned(),
            hint: hint.map(str::to_owned),
        }
    }

    fn first_run() -> ProjectReport {
        let counts = Counts {
            repositories: 3,
            files: 1_260,
            files_added: 1_250,
            files_skipped: 10,
            chunks: 8_400,
            texts_embedded: 8_000,
            texts_cached: 400,
            tokens: 2_345_678,
            price: 0.0469,
            vectors_written: 8_400,
            ..Counts::default()
        };
        let mut project = project("handbook", Outcome::Done, counts);
        project.skipped = vec![
            SkipCount {
                reason: SkipReason::Binary,
                files: 9,
                examples: vec!["acme/api:logo.png".to_owned(), "acme/api:\u{1b}c.ico".to_owned()],
            },
            SkipCount {
                reason: SkipReason::TooLarge,
                files: 1,
                examples: vec!["acme/api:data.json".to_owned()],
            },
        ];
        project
    }

    #[test]
    fn a_first_run() {
        let report = report(42.6, vec![first_run()]);
        insta::assert_snapshot!(render(&report, &Style::plain(100)), @"
        handbook: done
          repositories  3
          files         1,250 added
          skipped       10: 9 binary, 1 too large
          chunks        8,400
          texts         8,000 embedded, 400 from the cache
          tokens        2,345,678, price 0.0469
          vectors       8,400 written

        Done: 1,250 files added in 42.6 s.
        ");
    }

    #[test]
    fn verbose_names_examples_of_what_was_skipped() {
        let report = report(42.6, vec![first_run()]);
        let text = render(&report, &Style::plain(100).verbose(1));
        insta::assert_snapshot!(text, @r"
        handbook: done
          repositories  3
          files         1,250 added
          skipped       10: 9 binary, 1 too large
          chunks        8,400
          texts         8,000 embedded, 400 from the cache
          tokens        2,345,678, price 0.0469
          vectors       8,400 written
                        binary: `acme/api:logo.png`, `acme/api:\u{1b}c.ico`, …
                        too large: `acme/api:data.json`

        Done: 1,250 files added in 42.6 s.
        ");
    }

    #[test]
    fn nothing_to_do() {
        let counts = Counts {
            repositories: 3,
            repositories_unchanged: 3,
            files_unchanged: 1_250,
            ..Counts::default()
        };
        let report = report(0.12, vec![project("handbook", Outcome::Done, counts)]);
        insta::assert_snapshot!(render(&report, &Style::plain(100)), @"
        handbook: nothing to do
          repositories  3, 3 unchanged
          files         1,250 unchanged

        Nothing to do: 1,250 files unchanged in 0.12 s.
        ");
    }

    #[test]
    fn failures_come_last_with_their_hints_once() {
        let counts = Counts {
            repositories: 1,
            files_changed: 1,
            files_moved: 1,
            files_removed: 2,
            files_failed: 2,
            vectors_written: 3,
            vectors_deleted: 5,
            vectors_withheld: 300,
            ..Counts::default()
        };
        let mut partial = project("handbook", Outcome::Partial, counts);
        let hint = "take the text out, or exclude the file";
        partial.failures = vec![
            failure("acme/api", "docs/a.md", "the content filter refused the text", Some(hint)),
            failure("acme/api", "docs/b.md", "the content filter refused the text", Some(hint)),
        ];
        partial.notes = vec!["repository `acme/old` is gone from the source since 3 days".to_owned()];
        let mut failed = project("code", Outcome::Failed, Counts::default());
        failed.error = Some(Failure {
            stage: "pinecone".to_owned(),
            repository: None,
            path: None,
            error: "the API key was refused (401)".to_owned(),
            hint: Some("check `api_key` of stage `pinecone`".to_owned()),
        });
        let report = report(930.0, vec![partial, failed]);
        insta::assert_snapshot!(render(&report, &Style::plain(100)), @"
        handbook: partial
          repositories  1
          files         1 changed, 1 moved, 2 removed, 2 failed
          vectors       3 written, 5 deleted, 300 withheld by the deletion guard
          note          repository `acme/old` is gone from the source since 3 days

        code: failed

        failed: `acme/api:docs/a.md`: stage `ada`: the content filter refused the text
        failed: `acme/api:docs/b.md`: stage `ada`: the content filter refused the text
        error: project `code` failed: stage `pinecone`: the API key was refused (401)

        Failed: 1 file changed, 1 moved, 2 removed, 2 failed, 1 project failed in 15m30s.
        hint: take the text out, or exclude the file
        hint: check `api_key` of stage `pinecone`
        hint: `reposync apply --allow-deletes` removes what the deletion guard withheld
        ");
    }

    #[test]
    fn many_failures_are_folded() {
        let counts = Counts { files_failed: 150, ..Counts::default() };
        let mut project = project("handbook", Outcome::Partial, counts);
        project.failures =
            (0..100).map(|i| failure("acme/api", &format!("{i:03}.md"), "refused", None)).collect();
        let text = render(&report(1.0, vec![project]), &Style::plain(100));
        assert_eq!(text.matches("failed: ").count(), 10, "{text}");
        assert!(text.contains("… 140 more failures in project `handbook`; `-v` and `--json` show more\n"));
    }

    #[test]
    fn an_interrupted_run_says_how_to_go_on() {
        let report = report(1.0, vec![project("handbook", Outcome::Interrupted, Counts::default())]);
        let text = render(&report, &Style::plain(100));
        assert!(text.ends_with("hint: `reposync apply` continues where this run stopped\n"), "{text}");
    }
}
