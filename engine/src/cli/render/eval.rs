//! Renders an evaluation.

use crate::evaluate::{Comparison, EvaluationReport, Figures};

use super::super::output::{Style, escape};

/// Questions that are listed.
const LISTED: usize = 10;

pub(crate) fn render(report: &EvaluationReport, comparison: Option<&Comparison>, style: &Style) -> String {
    let mut text = format!("{} questions\n\n", report.questions.len());
    let heading = format!("{:<24}{}", "", "  MRR         recall@1  @5    @10   hit@5");
    text.push_str(&style.strong(&heading));
    text.push('\n');
    text.push_str(&line("query", &report.figures));
    for (name, figures) in &report.modes {
        text.push_str(&line(&format!("--mode {name}"), figures));
    }
    for (name, figures) in &report.without {
        text.push_str(&line(&format!("without {name}"), figures));
    }
    let missed: Vec<_> = report.questions.iter().filter(|one| !one.measured.shown).collect();
    if !missed.is_empty() {
        text.push_str(&format!("\nWithout an answer among the five matches shown: {}\n", missed.len()));
        for one in missed.iter().take(LISTED) {
            text.push_str(&format!("  {}  {}\n", escape(&one.query), style.dim(&escape(&one.first))));
        }
        if missed.len() > LISTED {
            text.push_str("  …\n");
        }
    }
    if let Some(comparison) = comparison {
        text.push('\n');
        text.push_str(&self::comparison(comparison));
    }
    text
}

pub(crate) fn comparison(comparison: &Comparison) -> String {
    let mut text = format!(
        "Compared on {} questions: MRR {:+.3}, {} better, {} worse\n",
        comparison.questions,
        comparison.mrr,
        comparison.better.len(),
        comparison.worse.len()
    );
    for query in comparison.worse.iter().take(LISTED) {
        text.push_str(&format!("  worse: {}\n", escape(query)));
    }
    text
}

fn line(name: &str, figures: &Figures) -> String {
    let Figures { mrr, mrr_interval, recall_at_1, recall_at_5, recall_at_10, hit_at_5 } = figures;
    format!(
        "{name:<24}  {mrr:.3} ±{mrr_interval:.3}  {recall_at_1:.3}   {recall_at_5:.3} {recall_at_10:.3} {hit_at_5:.3}\n"
    )
}

#[cfg(test)]
mod tests {
    use crate::evaluate::{Measured, QuestionResult};

    use super::*;

    #[test]
    fn figures_and_missed_questions_are_shown() {
        let figures = Figures {
            mrr: 0.512_34,
            mrr_interval: 0.06,
            recall_at_1: 0.4,
            recall_at_5: 0.61,
            recall_at_10: 0.7,
            hit_at_5: 0.62,
        };
        let question = |query: &str, shown| QuestionResult {
            query: query.to_owned(),
            measured: Measured { ranks: vec![Some(1)], shown },
            first: "src/a.rs".to_owned(),
        };
        let report = EvaluationReport {
            version: 1,
            figures,
            modes: [("keyword".to_owned(), figures)].into(),
            without: [("words".to_owned(), figures)].into(),
            questions: vec![question("found", true), question("missed \u{1b}[2J", false)],
        };
        let comparison =
            Comparison { mrr: -0.25, questions: 2, better: vec![], worse: vec!["found".to_owned()] };
        insta::assert_snapshot!(render(&report, Some(&comparison), &Style::plain(80)));
    }
}
