//! Path globs, with the rules that `match` and `exclude_patterns` share.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A set of globs that are matched against whole paths from the repository's root.
///
/// Matching ignores case, also of non-ASCII letters. `*` and `?` do not match `/`; `**` does,
/// anywhere in a pattern. A pattern without `/` matches the file name in any folder; one that ends
/// in `/` matches everything below that folder. A leading `/` or `./` is ignored. Files whose name
/// starts with a dot are matched like any other.
#[derive(Debug, Clone)]
pub struct PathMatcher {
    set: GlobSet,
}

/// A pattern that is not a valid glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a glob: {}", self.pattern, self.message)
    }
}

impl std::error::Error for BadPattern {}

impl PathMatcher {
    /// Parses patterns. The error is the first invalid one.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, BadPattern> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let bad = |message: String| BadPattern { pattern: pattern.to_owned(), message };
            for glob in rooted(pattern).ok_or_else(|| bad("it is empty".into()))? {
                let glob = GlobBuilder::new(&glob)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .build()
                    .map_err(|error| bad(error.kind().to_string()))?;
                set.add(glob);
            }
        }
        let set = set
            .build()
            .map_err(|error| BadPattern { pattern: String::new(), message: error.kind().to_string() })?;
        Ok(Self { set })
    }

    /// True if any pattern matches this path from the root.
    pub fn matches(&self, path: &str) -> bool {
        !self.set.is_empty() && self.set.is_match(path.to_lowercase())
    }
}

/// A pattern as globs over whole lower-case paths; `None` if it is empty.
fn rooted(pattern: &str) -> Option<Vec<String>> {
    let pattern = pattern.to_lowercase();
    let by_name = !pattern.contains('/');
    let path = pattern.strip_prefix("./").unwrap_or(&pattern).trim_start_matches('/');
    if path.is_empty() {
        return None;
    }
    let mut path = if by_name { format!("**/{path}") } else { path.to_owned() };
    if path.ends_with('/') {
        path.push_str("**");
    }
    Some(spread(&path))
}

/// Maximum number of `**` inside the components of a pattern. Each doubles the number of globs.
const MAX_SPREAD: usize = 4;

/// Expands `**` inside a component (`src/**.rs`, `a**b`), which `globset` treats like `*`, so that
/// it matches `/` too: as `*`, or with at least one folder in between.
fn spread(path: &str) -> Vec<String> {
    let mut globs = vec![path.to_owned()];
    for _ in 0..MAX_SPREAD {
        let Some(next) = globs
            .iter()
            .map(|glob| lone_stars(glob).map(|at| (at, glob.clone())))
            .collect::<Option<Vec<_>>>()
        else {
            break;
        };
        globs = next
            .into_iter()
            .flat_map(|(at, glob)| {
                let (before, after) = (&glob[..at], &glob[at + 2..]);
                [format!("{before}*{after}"), format!("{before}*/**/*{after}")]
            })
            .collect();
    }
    globs
}

/// The position of the first `**` that is not a whole component.
fn lone_stars(glob: &str) -> Option<usize> {
    let bytes = glob.as_bytes();
    glob.match_indices("**").map(|(at, _)| at).find(|&at| {
        let open = at == 0 || matches!(bytes[at - 1], b'/' | b'{' | b',');
        let close = matches!(bytes.get(at + 2), None | Some(b'/' | b'}' | b','));
        !(open && close)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_follow_the_rules() {
        for (pattern, yes, no) in [
            ("**/*.md", &["a.md", "x/a.md", "x/y/A.MD", ".github/a.md"][..], &["a.mdx", "a.md/x"][..]),
            ("*.md", &["a.md", "x/y/a.md", ".md", "x/.hidden.md"], &["a.rst"]),
            ("docs/*.md", &["docs/a.md", "Docs/A.md"], &["docs/x/a.md", "x/docs/a.md"]),
            ("/docs/*.md", &["docs/a.md"], &["x/docs/a.md"]),
            ("./README*", &["README.md"], &["x/README.md"]),
            ("docs/", &["docs/a", "docs/x/y"], &["docs", "x/docs/a"]),
            ("docs/**", &["docs/a", "docs/x/y", "docs/.x/y"], &["docs"]),
            ("**/node_modules/**", &["node_modules/a", "x/node_modules/y/z"], &["node_modules"]),
            ("a?c", &["abc", "x/aBc"], &["ac", "a/c"]),
            ("x/a?c", &["x/abc"], &["x/a/c"]),
            ("src/**.rs", &["src/a.rs", "src/x/y/a.rs"], &["a.rs", "src/a.py"]),
            ("src**", &["src", "src/a", "srcs/a/b", "x/src/y"], &["x/sr"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/xb"]),
            ("*.{md,rst}", &["a.md", "x/a.RST"], &["a.txt"]),
            ("[a-c].txt", &["a.txt", "x/C.txt"], &["d.txt"]),
            ("ÄPFEL*.md", &["äpfel.md", "x/Äpfelmus.md"], &["apfel.md"]),
            ("**", &["a", "x/.y/z"], &[]),
            ("*", &["a", "x/.y/z"], &[]),
            ("a b%20'c'.md", &["x/a b%20'c'.md"], &["a b 'c'.md"]),
        ] {
            let matcher = PathMatcher::new(&[pattern]).expect(pattern);
            for path in yes {
                assert!(matcher.matches(path), "{pattern} should match {path}");
            }
            for path in no {
                assert!(!matcher.matches(path), "{pattern} should not match {path}");
            }
        }
    }

    #[test]
    fn no_pattern_matches_nothing() {
        assert!(!PathMatcher::new::<&str>(&[]).expect("an empty set is valid").matches("a"));
    }

    #[test]
    fn bad_patterns_are_named() {
        for bad in ["", "/", "a[", "{a", "[z-a]"] {
            let error = PathMatcher::new(&["ok", bad]).expect_err(bad);
            assert_eq!(error.pattern, bad);
            assert!(!error.message.is_empty());
        }
    }
}
