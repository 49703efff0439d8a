//! What `.gitattributes` says of a repository's files: generated, vendored. Pure: the texts of the
//! files in, answers out. Patterns and precedence are Git's own, by gix; which values count is Linguist's.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use gix::attrs::search::{MetadataCollection, Outcome};
use gix::attrs::{Search, StateRef};
use gix::bstr::ByteSlice as _;
use gix::glob::pattern::Case;

use crate::model::SkipReason;

/// The attributes asked for, and what they mean; the first that holds counts.
const NAMES: [(&str, SkipReason); 2] =
    [("linguist-generated", SkipReason::Generated), ("linguist-vendored", SkipReason::Vendored)];
/// What begins a line that defines a macro.
const MACRO: &str = "[attr]";

/// How often a pattern may have `**`. Each of them doubles the time that matching may take; a pattern
/// of thirty does not come to an end.
const MOST_DOUBLE_STARS: usize = 4;

/// The rules of all `.gitattributes` files of one tree.
#[derive(Default)]
pub struct Attributes {
    /// By folder, empty at the top. A file is asked for the rules of the folders above it only.
    folders: HashMap<String, Search>,
    metadata: MetadataCollection,
    rules: usize,
}

impl Attributes {
    /// Takes the text of each `.gitattributes`, with the path of its folder (empty at the top).
    pub fn new<I>(files: I) -> Self
    where
        I: IntoIterator<Item = (String, String)>,
    {
        let mut files: Vec<(String, String)> = files.into_iter().collect();
        // Macros are defined at the top and used below.
        files.sort();
        let macros = files.first().filter(|(folder, _)| folder.is_empty());
        let macros: HashSet<String> = macros.map(|(_, text)| macros_of(text)).unwrap_or_default();
        let mut attributes = Self::default();
        for (folder, text) in files {
            let top = folder.is_empty();
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let rules: Vec<&str> = text.lines().filter(|line| concerns_us(line, top, &macros)).collect();
            if rules.is_empty() {
                continue;
            }
            attributes.rules += rules.len();
            let source: PathBuf = Path::new(&folder).join(".gitattributes");
            let mut search = Search::default();
            // Git takes macros from the top of the tree alone. An error would be a folder that is
            // no path on this system, to whose files nothing can apply.
            drop(search.add_patterns_buffer(
                rules.join("\n").as_bytes(),
                source,
                Some(Path::new("")),
                &mut attributes.metadata,
                top,
            ));
            attributes.folders.insert(folder, search);
        }
        attributes
    }

    /// How many lines of the files are rules about these attributes.
    pub fn rules(&self) -> usize {
        self.rules
    }

    /// Why a file is not indexed, by these rules.
    pub fn skip(&self, path: &str) -> Option<SkipReason> {
        if self.folders.is_empty() {
            return None;
        }
        let mut outcome = Outcome::default();
        outcome.initialize_with_selection(&self.metadata, NAMES.map(|(name, _)| name));
        // A file deeper in the tree overrides those above it.
        let mut folder = path;
        while !folder.is_empty() && !outcome.is_done() {
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
            if let Some(search) = self.folders.get(folder) {
                let path = path.as_bytes().as_bstr();
                search.pattern_matching_relative_path(path, Case::Sensitive, Some(false), &mut outcome);
            }
        }
        outcome.iter_selected().zip(NAMES).find_map(|(found, (_, reason))| {
            let holds = match found.assignment.state {
                StateRef::Set => true,
                // As Linguist has it: `yes`, `1` and `True` are true as well.
                StateRef::Value(value) => value.as_bstr() != "false",
                StateRef::Unset | StateRef::Unspecified => false,
            };
            holds.then_some(reason)
        })
    }
}

/// The names of the macros that a text defines.
fn macros_of(text: &str) -> HashSet<String> {
    let lines = text.trim_start_matches('\u{feff}').lines();
    lines.filter_map(|line| line.strip_prefix(MACRO)?.split_whitespace().next()).map(str::to_owned).collect()
}

/// Whether a line can say anything about the attributes asked for, itself or by a macro.
fn concerns_us(line: &str, top: bool, macros: &HashSet<String>) -> bool {
    let is_macro = |word: &str| macros.contains(word.trim_start_matches(['-', '!']));
    let double_stars = line.split(|letter| letter != '*').filter(|stars| stars.len() > 1).count();
    if double_stars > MOST_DOUBLE_STARS {
        return false;
    }
    (top && line.starts_with(MACRO))
        || line.contains("linguist-")
        || (!macros.is_empty()
            && line.split_whitespace().skip(1).any(|word| is_macro(word.split('=').next().unwrap_or(word))))
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attributes").field("files", &self.folders.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(files: &[(&str, &str)]) -> Attributes {
        Attributes::new(files.iter().map(|(folder, text)| ((*folder).to_owned(), (*text).to_owned())))
    }

    #[test]
    fn the_rules_are_gits() {
        use SkipReason::{Generated, Vendored};
        let rules = rules(&[
            // Given deepest first: the order of giving does not matter.
            ("third_party/ours", "* -linguist-vendored\n*.pb.rs linguist-generated=false\n"),
            ("docs", "/api.md linguist-generated\nguide.md linguist-generated=true\n"),
            (
                "",
                "# comment\n\
                 [attr]machine linguist-generated -text\n\
                 *.pb.rs linguist-generated\n\
                 third_party/** linguist-vendored\n\
                 vendor/* linguist-vendored=true text\n\
                 \"with space/*.md\" linguist-generated\n\
                 snapshots/** machine\n\
                 *.lock linguist-generated=yes\n\
                 *.undone linguist-generated\n\
                 *.undone !linguist-generated\n",
            ),
        ]);
        for (path, expected) in [
            ("src/lib.rs", None),
            ("a.pb.rs", Some(Generated)),
            ("deep/er/a.pb.rs", Some(Generated)),
            ("a.PB.rs", None),
            ("third_party/x/y.rs", Some(Vendored)),
            ("third_party/x/y.pb.rs", Some(Generated)),
            ("third_party/ours/y.rs", None),
            ("third_party/ours/y.pb.rs", None),
            ("vendor/x.c", Some(Vendored)),
            ("vendor/deep/x.c", None),
            ("docs/api.md", Some(Generated)),
            ("docs/sub/api.md", None),
            ("docs/sub/guide.md", Some(Generated)),
            ("guide.md", None),
            ("with space/a.md", Some(Generated)),
            ("snapshots/a/b.snap", Some(Generated)),
            ("Cargo.lock", Some(Generated)),
            ("a.undone", None),
        ] {
            assert_eq!(rules.skip(path), expected, "{path}");
        }
    }

    #[test]
    fn macros_count_at_the_top_only() {
        let rules = rules(&[("sub", "[attr]machine linguist-generated\n*.md machine\n")]);
        assert_eq!(rules.skip("sub/a.md"), None);
    }

    #[test]
    fn macros_of_the_top_are_used_below() {
        let rules = rules(&[
            (
                "",
                "# no attribute of ours but in the macro\n[attr]machine linguist-generated -diff\n[attr]robot machine\n",
            ),
            ("sub", "*.md machine\nkept.md !machine\n"),
            ("sub/deeper", "*.txt robot\n*.md -linguist-generated\n"),
        ]);
        for (path, expected) in [
            ("sub/a.md", Some(SkipReason::Generated)),
            ("sub/deeper/a.txt", Some(SkipReason::Generated)),
            ("sub/deeper/a.md", None),
            ("sub/a.txt", None),
            ("a.md", None),
        ] {
            assert_eq!(rules.skip(path), expected, "{path}");
        }
    }

    #[test]
    fn every_value_but_false_is_true() {
        for (value, expected) in [
            ("linguist-generated=yes", true),
            ("linguist-generated=1", true),
            ("linguist-generated=True", true),
            ("linguist-generated=false", false),
            ("-linguist-generated", false),
            ("!linguist-generated", false),
        ] {
            let rules = rules(&[("", &format!("* linguist-generated\na.md {value}\n"))]);
            assert_eq!(rules.skip("a.md").is_some(), expected, "{value}");
        }
    }

    #[test]
    fn only_rules_about_these_attributes_are_kept() {
        let other: String = (0..1000).map(|n| format!("*.{n} text eol=lf\n")).collect::<Vec<_>>().concat();
        let rules = rules(&[("", &format!("{other}*.md linguist-vendored\n")), ("a", &other)]);
        assert_eq!(rules.rules(), 1);
        assert_eq!(rules.skip("a/b.md"), Some(SkipReason::Vendored));
    }

    #[test]
    fn a_pattern_of_many_double_stars_is_no_rule() {
        let rule = |times| format!("{}*.md linguist-generated\n", "**/a/".repeat(times));
        let path = format!("{}x.md", "a/".repeat(60));
        let four = rules(&[("", &rule(MOST_DOUBLE_STARS))]);
        assert_eq!(four.skip(&path), Some(SkipReason::Generated));
        let many = rules(&[("", &rule(30))]);
        assert_eq!(many.rules(), 0);
        assert_eq!(many.skip(&path), None);
    }

    #[test]
    fn nonsense_is_no_rule() {
        let rules = rules(&[
            (
                "",
                "\u{feff}*.md linguist-generated\n!*.rs linguist-generated\n[attr]\n\"open linguist-vendored\n",
            ),
            ("\0odd", "* linguist-generated"),
        ]);
        assert_eq!(rules.skip("a.md"), Some(SkipReason::Generated));
        assert_eq!(rules.skip("a.rs"), None);
        assert_eq!(Attributes::default().skip("a.md"), None);
    }
}
