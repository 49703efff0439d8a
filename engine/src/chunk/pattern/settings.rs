//! Settings of `kind = "pattern"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::context::Context;
use super::expression::{Expression, names_of};
use crate::chunk::sizes::check_tokens;
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// What happens to comments above a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lead {
    /// Lines directly above a start that match `comment` belong to its chunk.
    Attach,
    /// A chunk begins with the line of its start.
    None,
}

/// `kind = "pattern"`: chunks that begin where a line matches a regular expression, or a fixed
/// number of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatternSettings {
    /// Globs of the files this stage takes.
    #[serde(rename = "match")]
    pub patterns: Vec<String>,
    /// Regular expression of the lines at which a chunk begins. Its groups `name` and `kind` set the
    /// name and the kind of the chunk, other named groups become attributes.
    #[serde(default)]
    pub start: Option<String>,
    /// Regular expression of the line that ends a chunk and belongs to it. Default: a chunk ends
    /// before the next start.
    #[serde(default)]
    pub end: Option<String>,
    /// What is prepended to a chunk for the embedding: `first-line`, `none`, or a text with named
    /// groups of `start`, such as `{kind} {name}`. Default: `first-line`.
    #[serde(default)]
    pub context: Option<String>,
    /// `attach`: lines directly above a start that match `comment` belong to its chunk. `none`: they
    /// do not. Default: `attach` if `comment` is set.
    #[serde(default)]
    pub lead: Option<Lead>,
    /// Regular expression of comment lines.
    #[serde(default)]
    pub comment: Option<String>,
    /// Number of lines per chunk, for files of rows. Replaces `start`.
    #[serde(default)]
    pub group: Option<usize>,
    /// Number of lines at the top of the file that are repeated as the context of later chunks. Only
    /// with `group`.
    #[serde(default)]
    pub header: usize,
    /// Maximum size of a chunk in characters. Larger ones are split.
    #[serde(default = "default_size")]
    pub max_chunk_size: usize,
    /// Maximum size of a chunk in tokens; replaces `max_chunk_size`.
    #[serde(default)]
    pub max_tokens: Option<usize>,
}

fn default_size() -> usize {
    1500
}

/// Metadata fields of every record. A group of the same name would be stored as `attr_NAME`, which
/// queries mistake for the field.
const RESERVED: &[&str] = &[
    "attrs",
    "blob_sha",
    "chunk_index",
    "commit_sha",
    "context",
    "end_line",
    "file_path",
    "language",
    "project",
    "recipe",
    "repository",
    "start_line",
    "text",
    "url",
];

/// Maximum number of named groups. Together with the size of a value it bounds the metadata of a
/// chunk, so that they always leave room for the text.
pub(super) const MAX_NAMES: usize = 16;

impl PatternSettings {
    /// Settings that cut at `start`.
    pub fn starting_at(start: &str) -> Self {
        Self { start: Some(start.to_owned()), ..Self::of_rows(0, 0) }
    }

    /// Settings that cut after every `group` lines; 0 for settings without a group.
    pub fn of_rows(group: usize, header: usize) -> Self {
        Self {
            patterns: vec!["**".to_owned()],
            start: None,
            end: None,
            context: None,
            lead: None,
            comment: None,
            group: (group > 0).then_some(group),
            header,
            max_chunk_size: default_size(),
            max_tokens: None,
        }
    }

    /// The expression of comment lines, if they belong to the chunk below them.
    pub(super) fn attached(&self) -> Option<&str> {
        self.comment.as_deref().filter(|_| self.lead != Some(Lead::None))
    }

    fn check_start(&self, check: &mut Checker<'_>) {
        let Some(start) = &self.start else { return };
        let Some(start) = checked(check, "start", start) else { return };
        let names: Vec<&str> = names_of(&start).collect();
        if let Some(name) = names.iter().find(|name| RESERVED.contains(name)) {
            let message =
                format!("the group name `{name}` is reserved: every record has a field of that name");
            check.flag("start", message, "choose another name, such as `(?<id>…)`");
        } else if names.len() > MAX_NAMES {
            let message = format!("{} named groups; at most {MAX_NAMES} are stored", names.len());
            check.flag("start", message, "write `(?:…)` for a group that is not stored");
        } else if let Some(Err(objection)) = self.context.as_deref().map(|text| Context::parse(text, &names))
        {
            check.flag("context", objection.message, objection.hint);
        }
    }

    fn check_others(&self, check: &mut Checker<'_>) {
        for (key, text) in [("end", &self.end), ("comment", &self.comment)] {
            let expression = text.as_deref().and_then(|text| checked(check, key, text));
            if let Some(name) = expression.as_ref().and_then(|expression| names_of(expression).next()) {
                let message = format!("the group `{name}` has no effect here");
                check.flag(key, message, "only named groups of `start` are stored; write `(?:…)`");
            }
        }
    }
}

/// Reports what is wrong with an expression.
fn checked(check: &mut Checker<'_>, key: &str, text: &str) -> Option<Expression> {
    if !check.sound(&[key]) {
        return None;
    }
    match super::expression::compile(text) {
        Ok(expression) => Some(expression),
        Err(objection) => {
            check.flag(key, objection.message, objection.hint);
            None
        }
    }
}

impl StageConfig for PatternSettings {
    const KIND: &'static str = "pattern";

    edit_costs! {
        index: patterns, start, end, context, lead, comment, group, header, max_chunk_size, max_tokens;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.globs("match");
        check.positive("max_chunk_size", &self.max_chunk_size);
        check_tokens(check, self.max_tokens, None);
        if let Some(group) = &self.group {
            check.positive("group", group);
        }
        self.check_start(check);
        self.check_others(check);
        let (start, group) = (check.has("start"), check.has("group"));
        if start && group {
            let hint = "remove one: `start` cuts where a line matches, `group` after a number of lines";
            check.flag("group", "cannot be combined with `start`", hint);
        } else if !start && !group {
            check.flag_table(
                "neither `start` nor `group` says where a chunk begins",
                "add `start = '^…'`, the regular expression of its first line, or `group = 20`, its number of lines",
            );
        } else if group {
            for key in ["end", "context", "lead", "comment"] {
                if check.has(key) {
                    let hint = match key {
                        "context" => "remove it: with `group` the context is the `header`",
                        _ => "remove it, or replace `group` by `start`",
                    };
                    check.flag(key, "has no effect without `start`", hint);
                }
            }
        } else if check.has("header") {
            check.flag("header", "has no effect without `group`", "remove it, or replace `start` by `group`");
        }
        match (self.lead, &self.comment) {
            _ if group => {}
            (Some(Lead::Attach), None) if !check.has("comment") => {
                let hint = "add `comment`, the regular expression of a comment line, such as '^\\s*#'";
                check.flag("lead", "has no effect without `comment`", hint);
            }
            (Some(Lead::None), Some(_)) => {
                check.flag("comment", "has no effect with `lead = \"none\"`", "remove one of the two");
            }
            _ => {}
        }
    }

    fn adjust_shown(&self, shown: &mut Map<String, Value>) {
        if self.max_tokens.is_some() {
            shown.shift_remove("max_chunk_size");
        }
        if self.group.is_none() {
            shown.shift_remove("header");
        }
    }
}
