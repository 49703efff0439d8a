//! Renders the result of `verify`.

use crate::model::{ProjectVerify, VerifyReport};

use super::super::output::{Style, escape};
use super::words::{count, field, number, parts, render_hints};

/// Number of example ids per project without `-v`.
const EXAMPLES: usize = 3;

/// The findings as text.
pub(crate) fn render(report: &VerifyReport, style: &Style) -> String {
    let mut text = String::new();
    for project in &report.projects {
        let verdict = if let Some(error) = &project.error {
            style.bad(&format!("not verified: {}", escape(&error.error)))
        } else if project.is_sound() {
            style.good("sound")
        } else if project.is_repaired() {
            style.good("repaired")
        } else {
            style.bad("differs")
        };
        text.push_str(&format!("{}: {verdict}\n", style.strong(&escape(&project.project))));
        let mut line = |label: &str, value: &str| text.push_str(&field(label, value));
        line("place", &escape(&project.place));
        line("checked", &count(project.checked, "vector"));
        line(
            "differs",
            &parts(&[
                (project.missing, "missing (holes)"),
                (project.orphans, "unknown to the ledger (orphans)"),
            ]),
        );
        line("repaired", &parts(&[(project.written, "written"), (project.deleted, "deleted")]));
        if project.foreign > 0 {
            line("foreign", &format!("{}, left alone", number(project.foreign)));
        }
        let shown = if style.verbose > 0 { project.examples.len() } else { EXAMPLES };
        for example in project.examples.iter().take(shown) {
            line("", &style.dim(&escape(example)));
        }
        text.push('\n');
    }
    let hints = report.projects.iter().filter_map(|project| project.error.as_ref()?.hint.as_deref());
    let mut advice: Vec<String> = hints.map(|hint| escape(hint).into_owned()).collect();
    text.push_str(&total(report, style));
    if !report.is_clean() && !report.repair {
        advice.push("`reposync verify --repair` writes missing vectors again and deletes orphans".to_owned());
    } else if report.projects.iter().any(|project| project.error.is_none() && project.is_open()) {
        advice.push("`reposync apply --full` writes every vector again".to_owned());
    }
    text.push_str(&render_hints(&advice, style));
    text
}

fn total(report: &VerifyReport, style: &Style) -> String {
    let sum = |f: fn(&ProjectVerify) -> u64| report.projects.iter().map(f).sum::<u64>();
    let checked = count(sum(|project| project.checked), "vector");
    if report.is_clean() {
        return format!("{} {checked} checked.\n", style.good("Ledger and store agree:"));
    }
    let open = sum(ProjectVerify::open);
    let failed = report.projects.iter().filter(|project| project.error.is_some()).count() as u64;
    let failed =
        if failed > 0 { format!(", {} not verified", count(failed, "project")) } else { String::new() };
    let verdict = if open > 0 { "Ledger and store differ:" } else { "Not all could be verified:" };
    format!("{} {checked} checked, {} left{failed}.\n", style.bad(verdict), count(open, "difference"))
}

#[cfg(test)]
mod tests {
    use crate::model::Failure;

    use super::*;

    fn project(name: &str) -> ProjectVerify {
        ProjectVerify {
            project: name.to_owned(),
            place: "sqlite:.reposync/index.db#docs".to_owned(),
            checked: 8_400,
            ..ProjectVerify::default()
        }
    }

    #[test]
    fn agreement_is_said() {
        let report = VerifyReport { repair: false, projects: vec![project("docs")] };
        insta::assert_snapshot!(render(&report, &Style::plain(100)), @"
        docs: sound
          place         sqlite:.reposync/index.db#docs
          checked       8,400 vectors

        Ledger and store agree: 8,400 vectors checked.
        ");
    }

    #[test]
    fn differences_are_counted_and_shown() {
        let mut docs = project("docs");
        (docs.missing, docs.orphans, docs.foreign) = (2, 5, 1);
        docs.examples = (0..4).map(|i| format!("0a-{i}-0 is missing: `acme/api:docs/a.md`")).collect();
        let mut code = project("code");
        code.error = Some(Failure {
            stage: "pinecone".to_owned(),
            repository: None,
            path: None,
            error: "the API key was refused (401)".to_owned(),
            hint: Some("check `api_key` of stage `pinecone`".to_owned()),
        });
        let report = VerifyReport { repair: false, projects: vec![docs, code] };
        insta::assert_snapshot!(render(&report, &Style::plain(100)), @"
        docs: differs
          place         sqlite:.reposync/index.db#docs
          checked       8,400 vectors
          differs       2 missing (holes), 5 unknown to the ledger (orphans)
          foreign       1, left alone
                        0a-0-0 is missing: `acme/api:docs/a.md`
                        0a-1-0 is missing: `acme/api:docs/a.md`
                        0a-2-0 is missing: `acme/api:docs/a.md`

        code: not verified: the API key was refused (401)
          place         sqlite:.reposync/index.db#docs
          checked       8,400 vectors

        Ledger and store differ: 16,800 vectors checked, 7 differences left, 1 project not verified.
        hint: check `api_key` of stage `pinecone`
        hint: `reposync verify --repair` writes missing vectors again and deletes orphans
        ");
    }

    #[test]
    fn a_repair_says_what_it_could_not_repair() {
        let mut docs = project("docs");
        (docs.missing, docs.written, docs.orphans, docs.deleted) = (2, 1, 5, 5);
        let mut code = project("code");
        (code.missing, code.written) = (3, 3);
        let report = VerifyReport { repair: true, projects: vec![docs, code] };
        insta::assert_snapshot!(render(&report, &Style::plain(100)), @"
        docs: differs
          place         sqlite:.reposync/index.db#docs
          checked       8,400 vectors
          differs       2 missing (holes), 5 unknown to the ledger (orphans)
          repaired      1 written, 5 deleted

        code: repaired
          place         sqlite:.reposync/index.db#docs
          checked       8,400 vectors
          differs       3 missing (holes)
          repaired      3 written

        Ledger and store differ: 16,800 vectors checked, 1 difference left.
        hint: `reposync apply --full` writes every vector again
        ");
    }
}
