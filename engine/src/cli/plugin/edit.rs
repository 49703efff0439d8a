//! Edits the stages of components in `reposync.toml`. Comments and layout of everything else stay.

use std::path::Path;

use anyhow::Context as _;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::chunk::component::write_whole;
use crate::cli::error::CommandError;
use crate::cli::output::{Style, escape};

/// Lines shown around an edit.
const AROUND: usize = 2;

/// A component's stage, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) stage: String,
    pub(super) component: String,
    pub(super) sha256: Option<String>,
}

/// The file while it is edited.
pub(super) struct Edited {
    before: String,
    document: DocumentMut,
}

impl Edited {
    pub(super) fn read(path: &Path) -> Result<Self, CommandError> {
        let before =
            std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
        Self::of(before)
    }

    fn of(before: String) -> Result<Self, CommandError> {
        let document = before
            .parse()
            .map_err(|error| CommandError::invalid(format!("the file is not valid TOML: {error}")))?;
        Ok(Self { before, document })
    }

    /// The stages of components, in the order of the file.
    pub(super) fn components(&self) -> Vec<Written> {
        let stages = self.document.get("stages").and_then(Item::as_table_like);
        let text = |stage: &Item, key: &str| stage.get(key).and_then(Item::as_str).map(str::to_owned);
        let written = |(name, stage): (&str, &Item)| {
            let component =
                text(stage, "component").filter(|_| text(stage, "kind").as_deref() == Some("wasm"))?;
            Some(Written { stage: name.to_owned(), component, sha256: text(stage, "sha256") })
        };
        stages.into_iter().flat_map(|stages| stages.iter()).filter_map(written).collect()
    }

    /// Sets component and digest of a stage, which is added if there is none of this name.
    pub(super) fn set(&mut self, written: &Written) -> Result<(), CommandError> {
        let stages = self.document.entry("stages").or_insert_with(|| {
            let mut stages = Table::new();
            stages.set_implicit(true);
            Item::Table(stages)
        });
        let name = &written.stage;
        let wrong = || {
            CommandError::invalid(format!("`stages.{name}` is another kind of stage"))
                .hint("choose another name with `--stage NAME`")
        };
        let stages = stages.as_table_like_mut().ok_or_else(wrong)?;
        if !stages.contains_key(name) {
            let mut stage = Table::new();
            stage.insert("kind", value("wasm"));
            stages.insert(name, Item::Table(stage));
        }
        let stage = stages.get_mut(name).and_then(Item::as_table_like_mut).ok_or_else(wrong)?;
        if stage.get("kind").and_then(Item::as_str) != Some("wasm") {
            return Err(wrong());
        }
        put(stage, "component", Some(&written.component));
        put(stage, "sha256", written.sha256.as_deref());
        Ok(())
    }

    /// The text after the edits.
    pub(super) fn text(&self) -> String {
        self.document.to_string()
    }

    /// The edits, for people; empty if there are none.
    pub(super) fn diff(&self, style: &Style) -> String {
        diff(&self.before, &self.text(), style)
    }

    /// Writes the file, if something was edited.
    pub(super) fn write(&self, path: &Path) -> Result<(), CommandError> {
        let text = self.text();
        if text != self.before {
            write_whole(path, text.as_bytes())
                .with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        Ok(())
    }
}

/// Sets a key; the comment behind its value stays.
fn put(table: &mut dyn toml_edit::TableLike, key: &str, text: Option<&str>) {
    let Some(text) = text else {
        table.remove(key);
        return;
    };
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = text.into();
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(key, value(text));
        }
    }
}

/// The lines that differ, with lines around them. The edits of one stage are close together, so one
/// range of lines shows them.
fn diff(before: &str, after: &str, style: &Style) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    if same == old.len() && same == new.len() {
        return String::new();
    }
    let most = old.len().min(new.len()) - same;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(old, new)| old == new).count();
    let mut shown = String::new();
    let mut line = |mark: &str, text: &str| {
        let text = format!("{mark} {}", escape(text));
        let text = match mark {
            "-" => style.bad(&text),
            "+" => style.good(&text),
            _ => text,
        };
        shown.push_str(text.trim_end());
        shown.push('\n');
    };
    for text in &old[same.saturating_sub(AROUND)..same] {
        line(" ", text);
    }
    for text in &old[same..old.len() - tail] {
        line("-", text);
    }
    for text in &new[same..new.len() - tail] {
        line("+", text);
    }
    for text in old[old.len() - tail..].iter().take(AROUND) {
        line(" ", text);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, written: &Written) -> Result<(String, String), String> {
        let style = Style::plain(100);
        let mut edited = Edited::of(text.to_owned()).map_err(|error| error.render(&style))?;
        edited.set(written).map_err(|error| error.render(&style))?;
        Ok((edited.text(), edited.diff(&style)))
    }

    fn written(stage: &str, component: &str, sha256: Option<&str>) -> Written {
        Written { stage: stage.into(), component: component.into(), sha256: sha256.map(str::to_owned) }
    }

    const FILE: &str = "# Ours.\n[stages.git]\nkind = \"git\" # local\n\n[stages.notes]\nkind = \"wasm\"\ncomponent = \"https://h/a.wasm\"  # theirs\nsha256 = \"00\"\n\n[projects.p]\npipeline = [\n  \"git\", # first\n]\n";

    #[test]
    fn an_edit_keeps_comments_and_layout() {
        let (text, diff) = edited(FILE, &written("notes", "https://h/b.wasm", Some("11"))).expect("edited");
        assert_eq!(text, FILE.replace("a.wasm", "b.wasm").replace("\"00\"", "\"11\""));
        insta::assert_snapshot!(diff, @r#"
              [stages.notes]
              kind = "wasm"
            - component = "https://h/a.wasm"  # theirs
            - sha256 = "00"
            + component = "https://h/b.wasm"  # theirs
            + sha256 = "11"

              [projects.p]
            "#);
        let (same, diff) = edited(FILE, &written("notes", "https://h/a.wasm", Some("00"))).expect("edited");
        assert_eq!((same.as_str(), diff.as_str()), (FILE, ""));
    }

    #[test]
    fn a_new_stage_is_added() {
        let (_, diff) = edited(FILE, &written("rst", "plugins/rst.wasm", Some("22"))).expect("edited");
        insta::assert_snapshot!(diff, @r#"
              sha256 = "00"

            + [stages.rst]
            + kind = "wasm"
            + component = "plugins/rst.wasm"
            + sha256 = "22"
            +
              [projects.p]
              pipeline = [
            "#);
        let (text, _) = edited("", &written("rst", "plugins/rst.wasm", None)).expect("edited");
        insta::assert_snapshot!(text, @r#"
            [stages.rst]
            kind = "wasm"
            component = "plugins/rst.wasm"
            "#);
    }

    #[test]
    fn other_stages_are_not_replaced() {
        let refused = edited(FILE, &written("git", "a.wasm", None)).expect_err("refused");
        assert!(refused.contains("`stages.git` is another kind of stage"), "{refused}");
        assert!(edited("[[", &written("git", "a.wasm", None)).is_err());
    }

    #[test]
    fn the_stages_of_components_are_listed() {
        let file = Edited::of(FILE.to_owned()).map_err(|_| "not TOML").expect("valid");
        assert_eq!(file.components(), [written("notes", "https://h/a.wasm", Some("00"))]);
    }
}
