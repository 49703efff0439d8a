//! Renders why a file is in the index or not.

use chrono::{DateTime, Utc};

use crate::app::recipe_text;
use crate::model::{Explanation, FileFacts, ProjectExplanation};

use super::super::output::{Style, escape};
use super::words::{ago, count, field, short};

pub(crate) fn render(explanation: &Explanation, now: DateTime<Utc>, style: &Style) -> String {
    let mut text = String::new();
    for project in &explanation.projects {
        text.push_str(&render_project(project, now, style));
        text.push('\n');
    }
    if explanation.projects.is_empty() {
        text.push_str("No project is enabled.\n");
    }
    text
}

fn render_project(project: &ProjectExplanation, now: DateTime<Utc>, style: &Style) -> String {
    let name = style.strong(&escape(&project.project));
    let mut text = String::new();
    for file in &project.files {
        text.push_str(&format!("{name}: {}\n", verdict(file, style)));
        text.push_str(&facts(file, now));
    }
    if project.files.is_empty() {
        let verdict = match &project.left_out {
            Some(reason) => style.warning(&format!("not indexed: {}", escape(reason))),
            None => style.warning("not in the index"),
        };
        text.push_str(&format!("{name}: {verdict}\n"));
        if project.left_out.is_none() {
            let why = "no run has found it: it is not in the indexed commit, `.gitattributes` excludes \
                it, or its repository is not indexed yet (`reposync status`)";
            text.push_str(&field("why", why));
        }
    } else if let Some(reason) = &project.left_out {
        let next = format!("the next run removes it: {}", escape(reason));
        text.push_str(&field("now", &style.warning(&next)));
    }
    text.push_str(&field("chunkers", &escape(&project.chunkers.join(", then "))));
    if let Some(error) = &project.error {
        text.push_str(&field("error", &style.bad(&escape(error))));
    }
    text
}

fn verdict(file: &FileFacts, style: &Style) -> String {
    let repository = escape(&file.repository);
    let detail = escape(file.detail.as_deref().unwrap_or_default());
    match file.status {
        "synced" => style.good(&format!("indexed from `{repository}`")),
        "skipped" => style.warning(&format!("not indexed from `{repository}`: {detail}")),
        "failed" => {
            let kept = if file.chunks > 0 { "; its previous chunks are kept" } else { "" };
            style.bad(&format!("failed in `{repository}`, retried by the next run{kept}: {detail}"))
        }
        "adopted" => format!("found in the store for `{repository}`; the next run compares it"),
        _ => style.warning(&format!("differs in the store for `{repository}`; the next run writes it again")),
    }
}

fn facts(file: &FileFacts, now: DateTime<Utc>) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| text.push_str(&field(label, value));
    if file.chunks > 0 {
        line("indexed", &count(file.chunks, "chunk"));
        line("place", &escape(file.place.as_deref().unwrap_or_default()));
    }
    if let Some(commit) = file.commit {
        let when = file.synced_at.map(|at| format!(", {}", ago(now, at))).unwrap_or_default();
        line("commit", &format!("{}{when}", short(commit)));
    }
    if let Some(blob) = file.blob_sha {
        line("blob", &short(blob));
    }
    if let Some(recipe) = &file.recipe {
        line("recipe", &escape(&recipe_text(recipe)));
    }
    if file.open_intents > 0 {
        line("open", &format!("{}, closed by the next run", count(file.open_intents, "intent")));
    }
    text
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;
    use crate::model::GitSha;

    #[test]
    fn each_project_says_what_becomes_of_the_file() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let part = |stage: &str, label: &str| json!({"stage": stage, "label": label, "identity": "x"});
        let file = |status: &'static str, detail: Option<&str>, chunks| FileFacts {
            repository: "acme/handbook".to_owned(),
            status,
            detail: detail.map(str::to_owned),
            blob_sha: Some(GitSha([0x1a; 20])),
            commit: Some(GitSha([0x2b; 20])),
            synced_at: Some(now - TimeDelta::minutes(3)),
            chunks,
            place: Some("sqlite:index.db#docs".to_owned()),
            recipe: Some(json!({
                "chunkers": [part("prose", "sentence 1")], "embedder": part("ada", "text-embedding"),
                "secrets": "off",
            })),
            open_intents: 0,
        };
        let project = |name: &str, left_out: Option<&str>, files| ProjectExplanation {
            project: name.to_owned(),
            left_out: left_out.map(str::to_owned),
            chunkers: vec!["prose (sentence 1)".to_owned()],
            error: None,
            files,
        };
        let failed = FileFacts { recipe: None, ..file("failed", Some("the content filter refused it"), 0) };
        let explanation = Explanation {
            path: "docs/a.md".to_owned(),
            projects: vec![
                project("docs", None, vec![file("synced", None, 3)]),
                project("old", Some("excluded by `docs/**`"), vec![file("synced", None, 3)]),
                project("bad", None, vec![failed]),
                project("code", Some("its extension is not in `allowed_extensions`"), vec![]),
                project("new", None, vec![]),
            ],
        };
        insta::assert_snapshot!(render(&explanation, now, &Style::plain(100)), @"
        docs: indexed from `acme/handbook`
          indexed       3 chunks
          place         sqlite:index.db#docs
          commit        2b2b2b2b2b, 3 minutes ago
          blob          1a1a1a1a1a
          recipe        prose (sentence 1), ada (text-embedding); secrets off
          chunkers      prose (sentence 1)

        old: indexed from `acme/handbook`
          indexed       3 chunks
          place         sqlite:index.db#docs
          commit        2b2b2b2b2b, 3 minutes ago
          blob          1a1a1a1a1a
          recipe        prose (sentence 1), ada (text-embedding); secrets off
          now           the next run removes it: excluded by `docs/**`
          chunkers      prose (sentence 1)

        bad: failed in `acme/handbook`, retried by the next run: the content filter refused it
          commit        2b2b2b2b2b, 3 minutes ago
          blob          1a1a1a1a1a
          chunkers      prose (sentence 1)

        code: not indexed: its extension is not in `allowed_extensions`
          chunkers      prose (sentence 1)

        new: not in the index
          why           no run has found it: it is not in the indexed commit, `.gitattributes` excludes it, or its repository is not indexed yet (`reposync status`)
          chunkers      prose (sentence 1)
        ");
    }
}
