//! What plans and runs have to say about files and repositories.

use maud::{Markup, html};

use super::format::count;
use crate::model::SkipCount;

/// How many files are not indexed, by reason.
pub(super) fn skipped(skipped: &[SkipCount]) -> Markup {
    html! {
        header { h2 { "Skipped, by reason" } }
        ul.items {
            @for skipped in skipped {
                li {
                    strong { (skipped.reason.label()) } ": " (count(skipped.files, "file", "files"))
                    @if !skipped.examples.is_empty() { div.muted.break { (skipped.examples.join(", ")) } }
                }
            }
        }
    }
}

/// Notes for people.
pub(super) fn notes(notes: &[String]) -> Markup {
    html! {
        header { h2 { "Notes" } }
        ul.items { @for note in notes { li.break { (note) } } }
    }
}
