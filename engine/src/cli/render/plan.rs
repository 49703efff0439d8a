//! Renders a plan: repositories and files with reasons, cost, withheld work, failures.

use std::collections::BTreeMap;

use console::measure_text_width;

use crate::model::GuardKind;
use crate::plan::{Action, Estimate, FilePlan, Plan, ProjectPlan, RepositoryPlan};

use super::super::output::{Style, escape};
use super::words::{
    count, field, hints, noun_for, number, place_of, price, render_hints, short, skip_examples, skipped,
};

/// Number of files listed per repository without `-v`.
const FOLDED: usize = 20;

/// Number of secrets listed per project.
const SECRETS_NAMED: usize = 3;

/// Maximum column at which reasons are aligned, counted from the start of the paths.
const REASON_COLUMN: usize = 48;

pub(crate) fn render(plan: &Plan, style: &Style) -> String {
    let mut text = String::new();
    for project in &plan.projects {
        text.push_str(&render_project(project, plan.exact, style));
        text.push('\n');
    }
    text.push_str(&render_failures(plan, style));
    text.push_str(&total(plan, style));
    text.push_str(&whole_bill(plan, style));
    text.push_str(&advice(plan, style));
    text
}

fn render_project(plan: &ProjectPlan, exact: bool, style: &Style) -> String {
    let mut text = format!("{}\n", style.strong(&escape(&plan.project)));
    for repository in &plan.repositories {
        text.push_str(&render_repository(repository, style));
    }
    let mut line = |label: &str, value: &str| text.push_str(&field(label, value));
    if plan.repositories_unchanged > 0 {
        line("unchanged", &count(plan.repositories_unchanged, "repository"));
    }
    for (difference, files) in recipe_changes(plan) {
        line("recipe", &format!("{}: {} to chunk again", escape(difference), count(files, "file")));
    }
    line("skipped", &skipped(&plan.skipped));
    for (label, value) in bill(&plan.estimate, exact) {
        line(label, &value);
    }
    if plan.secrets_found > 0 {
        line("secrets", &secrets(plan));
    }
    for withheld in &plan.guards {
        line("withheld", &escape(&withheld.message));
    }
    for note in &plan.notes {
        line("note", &escape(note));
    }
    if style.verbose > 0 {
        text.push_str(&skip_examples(&plan.skipped, style));
    }
    text
}

/// The locations of the first secrets, and how to keep them out.
fn secrets(plan: &ProjectPlan) -> String {
    let first: Vec<String> = plan
        .secrets
        .iter()
        .take(SECRETS_NAMED)
        .map(|found| {
            format!("{}:{}:{} ({})", escape(&found.repository), escape(&found.path), found.line, found.rule)
        })
        .collect();
    let more = plan.secrets_found - first.len() as u64;
    let more = if more > 0 { format!(" and {} more", number(more)) } else { String::new() };
    let n = count(plan.secrets_found, "secret");
    format!("{n} would be indexed: {}{more}; `secrets = \"redact\"` keeps them out", first.join(", "))
}

fn render_repository(plan: &RepositoryPlan, style: &Style) -> String {
    let commits = match (plan.previous, plan.commit) {
        (None, Some(commit)) => format!("{}, new", short(commit)),
        (Some(previous), Some(commit)) if previous == commit => short(commit),
        (Some(previous), Some(commit)) => format!("{} -> {}", short(previous), short(commit)),
        (_, None) => "removed from the index".to_owned(),
    };
    let mut text = format!("  {} ({commits})\n", escape(&plan.repository));
    let shown = if style.verbose > 0 || plan.files.len() <= FOLDED + 1 { plan.files.len() } else { FOLDED };
    let names: Vec<String> = plan.files[..shown].iter().map(name).collect();
    let column = names.iter().map(|name| measure_text_width(name)).max().unwrap_or(0).min(REASON_COLUMN);
    for (file, name) in plan.files.iter().zip(&names) {
        text.push_str(&render_file(file, name, column, style));
    }
    if shown < plan.files.len() {
        let rest = &plan.files[shown..];
        let by_action = by_action(rest.iter());
        text.push_str(&format!("    … {} more ({by_action}); `-v` lists them\n", number(rest.len() as u64)));
    }
    if plan.unchanged > 0 {
        let unchanged = format!("    = {} unchanged", count(plan.unchanged, "file"));
        text.push_str(&format!("{}\n", style.dim(&unchanged)));
    }
    text
}

/// Differences between recipes, with the number of files that each concerns.
fn recipe_changes(plan: &ProjectPlan) -> BTreeMap<&str, u64> {
    let mut changes = BTreeMap::new();
    let files = plan.repositories.iter().flat_map(|repository| &repository.files);
    for difference in files.filter_map(FilePlan::recipe_difference) {
        *changes.entry(difference).or_default() += 1;
    }
    changes
}

fn name(file: &FilePlan) -> String {
    let from = file.from.as_deref().map(|from| format!(" (from {})", escape(from))).unwrap_or_default();
    format!("{}{from}", escape(&file.path))
}

fn render_file(file: &FilePlan, name: &str, column: usize, style: &Style) -> String {
    let sign = file.action.sign().to_string();
    let sign = match file.action {
        Action::Add => style.good(&sign),
        Action::Change | Action::Withhold => style.warning(&sign),
        Action::Move => style.advice(&sign),
        Action::Remove => style.bad(&sign),
    };
    let pad = " ".repeat(column.saturating_sub(measure_text_width(name)));
    format!("    {sign} {name}{pad}  {}\n", style.dim(&escape(&file.reason)))
}

/// `+12 ~3`
fn by_action<'a>(files: impl Iterator<Item = &'a FilePlan>) -> String {
    let counts = count_actions(files);
    let parts: Vec<_> = counts.iter().map(|(action, n)| format!("{}{}", action.sign(), number(*n))).collect();
    parts.join(" ")
}

fn count_actions<'a>(files: impl Iterator<Item = &'a FilePlan>) -> BTreeMap<Action, u64> {
    let mut counts = BTreeMap::new();
    for file in files {
        *counts.entry(file.action).or_default() += 1;
    }
    counts
}

/// The lines of an estimate; lines without content are left out.
fn bill(estimate: &Estimate, exact: bool) -> Vec<(&'static str, String)> {
    let about = if exact { "" } else { "about " };
    let mut lines = Vec::new();
    if estimate.chunks > 0 {
        lines.push(("chunks", format!("{about}{}", number(estimate.chunks))));
    }
    if estimate.texts + estimate.texts_cached > 0 {
        let mut texts = format!("{about}{} to embed", number(estimate.texts));
        if estimate.texts_cached > 0 {
            texts.push_str(&format!(", {} in the cache", number(estimate.texts_cached)));
        }
        lines.push(("texts", texts));
    }
    if estimate.texts > 0 {
        let mut tokens = format!("{about}{}", number(estimate.tokens));
        if estimate.price > 0.0 {
            tokens.push_str(&format!(", price {}", price(estimate.price)));
        }
        tokens.push_str(&format!(", {}", count(estimate.requests, "request")));
        lines.push(("tokens", tokens));
    }
    if estimate.vectors_written + estimate.vectors_deleted > 0 {
        let about = if estimate.vectors_written > 0 { about } else { "" };
        lines.push((
            "vectors",
            format!(
                "{about}{} to write, {} to delete",
                number(estimate.vectors_written),
                number(estimate.vectors_deleted)
            ),
        ));
    }
    lines
}

fn render_failures(plan: &Plan, style: &Style) -> String {
    let mut text = String::new();
    for project in &plan.projects {
        let name = escape(&project.project);
        for failure in &project.failures {
            let label = style.bad("missing:");
            text.push_str(&format!("{label} {}: {}\n", place_of(failure), escape(&failure.error)));
        }
        if let Some(error) = &project.error {
            let (label, place) = (style.bad("error:"), place_of(error));
            text.push_str(&format!(
                "{label} project `{name}` cannot be planned: {place}: {}\n",
                escape(&error.error)
            ));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn total(plan: &Plan, style: &Style) -> String {
    let broken = plan.projects.iter().filter(|project| project.error.is_some()).count();
    let cannot = match broken {
        0 => String::new(),
        n => format!(" {} cannot be planned.", count(n as u64, "project")),
    };
    if broken > 0 && broken == plan.projects.len() {
        return format!("{}{cannot}\n", style.bad("Failed:"));
    }
    if plan.is_empty() {
        return format!("{} the indexes match the configuration.{cannot}\n", style.good("Nothing to do:"));
    }
    let files = plan.projects.iter().flat_map(|project| &project.repositories).flat_map(|repo| &repo.files);
    let counts = count_actions(files);
    let words = [
        (Action::Add, "to add"),
        (Action::Change, "to change"),
        (Action::Move, "to move"),
        (Action::Remove, "to remove"),
        (Action::Withhold, "withheld"),
    ];
    let all: u64 = counts.values().sum();
    let parts: Vec<_> = words
        .iter()
        .filter_map(|(action, word)| counts.get(action).map(|n| format!("{} {word}", number(*n))))
        .collect();
    let noun = noun_for(all, "file");
    format!("{} {} {noun}: {}.{cannot}\n", style.strong("Plan:"), number(all), parts.join(", "))
}

/// The total cost of all projects, if more than one has a cost.
fn whole_bill(plan: &Plan, style: &Style) -> String {
    let paid: Vec<&Estimate> =
        plan.projects.iter().map(|project| &project.estimate).filter(|one| one.texts > 0).collect();
    if paid.len() < 2 {
        return String::new();
    }
    let mut all = Estimate::default();
    for one in &paid {
        all.texts += one.texts;
        all.tokens += one.tokens;
        all.price += one.price;
        all.requests += one.requests;
    }
    let about = if plan.exact { "" } else { "about " };
    let price = if all.price > 0.0 { format!(", price {}", price(all.price)) } else { String::new() };
    format!(
        "{} {about}{} to embed: {} tokens{price}, {}.\n",
        style.strong("Bill:"),
        count(all.texts, "text"),
        number(all.tokens),
        count(all.requests, "request")
    )
}

fn advice(plan: &Plan, style: &Style) -> String {
    let failures = plan.projects.iter().flat_map(|project| project.failures.iter().chain(&project.error));
    let mut advice: Vec<String> = hints(failures).into_iter().map(|hint| escape(hint).into_owned()).collect();
    let withheld = |guard| plan.projects.iter().flat_map(|project| &project.guards).any(|w| w.guard == guard);
    if withheld(GuardKind::Deletion) {
        advice.push("`reposync apply --allow-deletes` removes what the deletion guard withholds".to_owned());
    }
    if withheld(GuardKind::Spending) {
        advice.push("`reposync apply --allow-cost` embeds what the spending guard withholds".to_owned());
    }
    if !plan.is_empty() {
        advice.push("`reposync apply` carries it out".to_owned());
    }
    render_hints(&advice, style)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use crate::model::{Failure, Fingerprint, GitSha, SkipCount, SkipReason, Withheld};

    use super::*;

    fn plan(exact: bool, projects: Vec<ProjectPlan>) -> Plan {
        Plan {
            version: 1,
            created_at: DateTime::UNIX_EPOCH,
            basis: Fingerprint::of(["tests"]),
            exact,
            projects,
        }
    }

    fn project(repositories: Vec<RepositoryPlan>) -> ProjectPlan {
        ProjectPlan { repositories, ..ProjectPlan::of("handbook") }
    }

    fn file(action: Action, path: &str, reason: &str) -> FilePlan {
        let from = (action == Action::Move).then(|| "docs/old.md".to_owned());
        FilePlan { action, path: path.to_owned(), from, reason: reason.to_owned() }
    }

    fn repository(previous: Option<u8>, commit: Option<u8>, files: Vec<FilePlan>) -> RepositoryPlan {
        RepositoryPlan {
            repository: "acme/api".to_owned(),
            commit: commit.map(|byte| GitSha([byte; 20])),
            previous: previous.map(|byte| GitSha([byte; 20])),
            files,
            unchanged: 0,
        }
    }

    #[test]
    fn changes_with_reasons_and_the_bill() {
        let mut changed = repository(
            Some(0x1a),
            Some(0x2b),
            vec![
                file(Action::Add, "docs/new.md", "new"),
                file(Action::Change, "docs/CHANGELOG.md", "recipe: chunker changelog 0.2.0 -> 0.3.0"),
                file(Action::Move, "docs/moved.md", "moved"),
                file(Action::Remove, "docs/gone \u{1b}[2J.md", "removed"),
            ],
        );
        changed.unchanged = 430;
        let mut project = project(vec![changed]);
        project.repositories_unchanged = 2;
        project.estimate = Estimate {
            chunks: 1_204,
            texts: 120,
            texts_cached: 1_084,
            tokens: 45_000,
            price: 0.0009,
            requests: 2,
            vectors_written: 1_204,
            vectors_deleted: 12,
        };
        project.skipped =
            vec![SkipCount { reason: SkipReason::Binary, files: 9, examples: vec!["acme/api:a.png".into()] }];
        project.withheld = 300;
        project.guards = vec![
            Withheld { guard: GuardKind::Deletion, amount: 300, message: "300 vectors are kept".into() },
            Withheld { guard: GuardKind::Spending, amount: 20_000, message: "20,000 texts".into() },
        ];
        project.notes =
            vec!["project `guide` is not in the file any more: 40 vectors are orphans".to_owned()];
        project.failures = vec![Failure {
            stage: "github".to_owned(),
            repository: Some("acme/gone".to_owned()),
            path: None,
            error: "not found (404)".to_owned(),
            hint: Some("check the name, or what the token may see".to_owned()),
        }];
        insta::assert_snapshot!(render(&plan(false, vec![project]), &Style::plain(100)), @r"
        handbook
          acme/api (1a1a1a1a1a -> 2b2b2b2b2b)
            + docs/new.md                       new
            ~ docs/CHANGELOG.md                 recipe: chunker changelog 0.2.0 -> 0.3.0
            > docs/moved.md (from docs/old.md)  moved
            - docs/gone \u{1b}[2J.md            removed
            = 430 files unchanged
          unchanged     2 repositories
          recipe        chunker changelog 0.2.0 -> 0.3.0: 1 file to chunk again
          skipped       9 binary
          chunks        about 1,204
          texts         about 120 to embed, 1,084 in the cache
          tokens        about 45,000, price 0.0009, 2 requests
          vectors       about 1,204 to write, 12 to delete
          withheld      300 vectors are kept
          withheld      20,000 texts
          note          project `guide` is not in the file any more: 40 vectors are orphans

        missing: `acme/gone`: stage `github`: not found (404)

        Plan: 4 files: 1 to add, 1 to change, 1 to move, 1 to remove.
        hint: check the name, or what the token may see
        hint: `reposync apply --allow-deletes` removes what the deletion guard withholds
        hint: `reposync apply --allow-cost` embeds what the spending guard withholds
        hint: `reposync apply` carries it out
        ");
    }

    #[test]
    fn long_lists_are_folded_but_with_v() {
        let mut files: Vec<_> =
            (0..25).map(|i| file(Action::Add, &format!("docs/{i:02}.md"), "new")).collect();
        files.push(file(Action::Remove, "docs/z.md", "removed"));
        let mut project = project(vec![repository(None, Some(0x2b), files)]);
        project.estimate = Estimate {
            chunks: 50,
            texts: 50,
            tokens: 900,
            requests: 1,
            vectors_written: 50,
            ..Estimate::default()
        };
        let plan = plan(true, vec![project]);
        let text = render(&plan, &Style::plain(100));
        assert!(text.contains("    … 6 more (+5 -1); `-v` lists them\n"), "{text}");
        assert!(text.contains("  texts         50 to embed\n"), "an exact plan does not guess: {text}");
        let text = render(&plan, &Style::plain(100).verbose(1));
        assert!(text.contains("docs/24.md") && !text.contains('…'), "{text}");
    }

    #[test]
    fn several_projects_have_one_bill() {
        let paying = |name: &str, texts| {
            let files = vec![file(Action::Add, "a.md", "new")];
            let estimate =
                Estimate { texts, tokens: texts * 250, price: 0.4, requests: 3, ..Estimate::default() };
            ProjectPlan {
                project: name.to_owned(),
                estimate,
                ..project(vec![repository(None, Some(0x2b), files)])
            }
        };
        let free = || ProjectPlan { project: "free".to_owned(), ..project(Vec::new()) };
        let bill = |exact, projects| {
            let text = render(&plan(exact, projects), &Style::plain(100));
            text.lines().find(|line| line.starts_with("Bill:")).map(str::to_owned)
        };
        let two = vec![paying("a", 4_000), paying("b", 200), free()];
        insta::assert_snapshot!(bill(false, two.clone()).expect("a bill"), @"Bill: about 4,200 texts to embed: 1,050,000 tokens, price 0.8000, 6 requests.");
        insta::assert_snapshot!(bill(true, two).expect("a bill"), @"Bill: 4,200 texts to embed: 1,050,000 tokens, price 0.8000, 6 requests.");
        assert_eq!(bill(true, vec![paying("a", 1), free()]), None, "the project's own says it");
    }

    #[test]
    fn nothing_to_do() {
        let mut project = project(Vec::new());
        project.repositories_unchanged = 12;
        insta::assert_snapshot!(render(&plan(true, vec![project]), &Style::plain(100)), @"
        handbook
          unchanged     12 repositories

        Nothing to do: the indexes match the configuration.
        ");
    }

    #[test]
    fn a_project_that_cannot_be_planned_is_named() {
        let mut project = project(Vec::new());
        project.error = Some(Failure {
            stage: "pinecone".to_owned(),
            repository: None,
            path: None,
            error: "the index `docs` has 768 dimensions, the embedder 1536".to_owned(),
            hint: Some("set another `index`, or `dimensions = 768`".to_owned()),
        });
        insta::assert_snapshot!(render(&plan(true, vec![project]), &Style::plain(100)), @"
        handbook

        error: project `handbook` cannot be planned: stage `pinecone`: the index `docs` has 768 dimensions, the embedder 1536

        Failed: 1 project cannot be planned.
        hint: set another `index`, or `dimensions = 768`
        ");
    }
}
