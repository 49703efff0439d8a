//! What `.gitattributes` says of a repository's files: generated, vendored. Pure: the texts of the
//! files in, answers out. Patterns and precedence are Git's own, by gix.

use std::path::{Path, PathBuf};

use gix::attrs::search::{MetadataCollection, Outcome};
use gix::attrs::{Search, StateRef};
use gix::bstr::ByteSlice as _;
use gix::glob::pattern::Case;

use crate::model::SkipReason;

/// The attributes asked for, and what they mean; the first that holds counts.
const NAMES: [(&str, SkipReason); 2] =
    [("linguist-generated", SkipReason::Generated), ("linguist-vendored", SkipReason::Vendored)];

/// The rules of all `.gitattributes` files of one tree.
#[derive(Default)]
pub struct Attributes {
    search: Search,
    metadata: MetadataCollection,
}

impl Attributes {
    /// Takes the text of each `.gitattributes`, with the path of its folder (empty at the top).
    pub fn new<I>(files: I) -> Self
    where
        I: IntoIterator<Item = (String, String)>,
    {
        let mut files: Vec<_> = files.into_iter().filter(|(_, text)| text.contains("linguist-")).collect();
        // A file deeper in the tree overrides those above it; the last list is asked first.
        files.sort_by_key(|(folder, _)| (depth(folder), folder.clone()));
        let mut rules = Self::default();
        for (folder, text) in files {
            let top = folder.is_empty();
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let source: PathBuf = Path::new(&folder).join(".gitattributes");
            // Git takes macros from the top of the tree alone. An error would be a folder that is
            // no path on this system, to whose files nothing can apply.
            drop(rules.search.add_patterns_buffer(
                text.as_bytes(),
                source,
                Some(Path::new("")),
                &mut rules.metadata,
                top,
            ));
        }
        rules
    }

    /// Why a file is not indexed, by these rules.
    pub fn skip(&self, path: &str) -> Option<SkipReason> {
        if self.search.num_pattern_lists() == 0 {
            return None;
        }
        let mut outcome = Outcome::default();
        outcome.initialize_with_selection(&self.metadata, NAMES.map(|(name, _)| name));
        self.search.pattern_matching_relative_path(
            path.as_bytes().as_bstr(),
            Case::Sensitive,
            Some(false),
            &mut outcome,
        );
        outcome.iter_selected().zip(NAMES).find_map(|(found, (_, reason))| {
            let holds = match found.assignment.state {
                StateRef::Set => true,
                StateRef::Value(value) => value.as_bstr() == "true",
                StateRef::Unset | StateRef::Unspecified => false,
            };
            holds.then_some(reason)
        })
    }
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attributes").field("files", &self.search.num_pattern_lists()).finish_non_exhaustive()
    }
}

fn depth(folder: &str) -> usize {
    if folder.is_empty() { 0 } else { folder.split('/').count() }
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
            ("Cargo.lock", None),
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
