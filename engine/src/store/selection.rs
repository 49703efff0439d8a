//! Which chunks a search considers: filters by repository, path, language and kind.

use serde_json::{Map, Value, json};

use crate::model::{Access, ErrorKind, PathMatcher, StageError, StageResult};

/// Values of one field: any of `include` (all, if empty) and none of `exclude`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facet {
    /// Accepted values.
    pub include: Vec<String>,
    /// Rejected values.
    pub exclude: Vec<String>,
}

impl Facet {
    /// Adds a value; one that begins with `!` is rejected.
    pub fn add(&mut self, value: &str) {
        match value.strip_prefix('!') {
            Some(value) => self.exclude.push(value.to_owned()),
            None => self.include.push(value.to_owned()),
        }
    }

    /// True if every value passes.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    fn passes(&self, value: &str) -> bool {
        let is = |wanted: &String| wanted.eq_ignore_ascii_case(value);
        (self.include.is_empty() || self.include.iter().any(is)) && !self.exclude.iter().any(is)
    }
}

/// Filters of a search; all of them must pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Repositories: names, or globs.
    pub repositories: Facet,
    /// Paths: globs as in `match`, or a file or folder.
    pub paths: Facet,
    /// Languages.
    pub languages: Facet,
    /// Kinds of chunks.
    pub kinds: Facet,
    /// The repositories that the searcher may see.
    pub access: Access,
}

/// A [`Selection`] with its globs parsed.
#[derive(Debug, Clone)]
pub struct Selector {
    repositories: Globs,
    paths: Globs,
    languages: Facet,
    kinds: Facet,
    access: Access,
}

#[derive(Debug, Clone)]
struct Globs {
    names: Facet,
    include: Option<PathMatcher>,
    exclude: Option<PathMatcher>,
}

impl Globs {
    fn new(stage: &str, facet: &Facet, folders: bool) -> StageResult<Self> {
        let matcher = |patterns: &[String]| {
            let globs = patterns.iter().filter(|pattern| folders || is_glob(pattern));
            let globs: Vec<String> = globs.flat_map(|pattern| with_folder(pattern, folders)).collect();
            if globs.is_empty() {
                return Ok(None);
            }
            PathMatcher::new(&globs).map(Some).map_err(|bad| {
                StageError::new(stage, ErrorKind::BadInput, format!("a filter of the query: {bad}"))
                    .hint("write it like `src/**` or `*.md`")
            })
        };
        Ok(Self {
            names: facet.clone(),
            include: matcher(&facet.include)?,
            exclude: matcher(&facet.exclude)?,
        })
    }

    fn passes(&self, value: &str) -> bool {
        let any = |names: &[String], globs: &Option<PathMatcher>| {
            names.iter().any(|name| name.eq_ignore_ascii_case(value))
                || globs.as_ref().is_some_and(|globs| globs.matches(value))
        };
        (self.names.include.is_empty() || any(&self.names.include, &self.include))
            && !any(&self.names.exclude, &self.exclude)
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

/// A pattern; one that is no glob also matches everything below a folder of that name.
fn with_folder(pattern: &str, folders: bool) -> Vec<String> {
    let mut globs = vec![pattern.to_owned()];
    if folders && !is_glob(pattern) && !pattern.ends_with('/') && !pattern.is_empty() {
        globs.push(format!("{pattern}/"));
    }
    globs
}

impl Selection {
    /// True if everything passes.
    pub fn is_empty(&self) -> bool {
        let Self { repositories, paths, languages, kinds, access } = self;
        access.is_of_all_repositories()
            && [repositories, paths, languages, kinds].iter().all(|facet| facet.is_empty())
    }

    /// The filters in words; `None` without filters.
    pub fn describe(&self) -> Option<String> {
        let facets = [
            ("repository", &self.repositories),
            ("path", &self.paths),
            ("language", &self.languages),
            ("kind", &self.kinds),
        ];
        let words = facets.into_iter().flat_map(|(name, facet)| {
            let include = facet.include.iter().map(move |value| format!("{name} `{value}`"));
            include.chain(facet.exclude.iter().map(move |value| format!("not {name} `{value}`")))
        });
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Parses the globs.
    pub fn selector(&self, stage: &str) -> StageResult<Selector> {
        Ok(Selector {
            repositories: Globs::new(stage, &self.repositories, false)?,
            paths: Globs::new(stage, &self.paths, true)?,
            languages: self.languages.clone(),
            kinds: self.kinds.clone(),
            access: self.access.clone(),
        })
    }

    /// The part that Pinecone's filters can express, for stores that know no globs. What passes the
    /// selection passes this.
    pub(super) fn as_filter(&self) -> Vec<Value> {
        let mut parts = Vec::new();
        let visible = Facet { include: self.access.repositories().to_vec(), exclude: Vec::new() };
        for (key, facet, globs) in [
            ("repository", &visible, true),
            ("repository", &self.repositories, true),
            ("language", &self.languages, false),
            ("kind", &self.kinds, false),
        ] {
            let exact = |values: &[String]| !globs || !values.iter().any(|value| is_glob(value));
            if !facet.include.is_empty() && exact(&facet.include) {
                parts.push(json!({ key: { "$in": facet.include } }));
            }
            if !facet.exclude.is_empty() && exact(&facet.exclude) {
                parts.push(json!({ key: { "$nin": facet.exclude } }));
            }
        }
        parts
    }

    /// True if a filter asks for tests.
    pub fn asks_for_tests(&self) -> bool {
        self.paths.include.iter().any(|path| crate::rank::asks_for_tests(path))
    }
}

impl Selector {
    /// True if files of this repository and path may pass.
    pub(super) fn passes_file(&self, repository: &str, path: &str) -> bool {
        self.access.has_repository(repository)
            && self.repositories.passes(repository)
            && self.paths.passes(path)
    }

    /// True if the filters by repository and path pass every file.
    pub(super) fn all_files(&self) -> bool {
        self.repositories.names.is_empty() && self.paths.names.is_empty()
    }

    /// The filters by language and by kind.
    pub(super) fn languages_and_kinds(&self) -> (&Facet, &Facet) {
        (&self.languages, &self.kinds)
    }

    /// True if the filters by language and kind pass everything.
    pub(super) fn only_files(&self) -> bool {
        self.languages.is_empty() && self.kinds.is_empty()
    }

    /// True if metadata passes all filters.
    pub fn passes(&self, metadata: &Map<String, Value>) -> bool {
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default();
        self.passes_file(text("repository"), text("file_path"))
            && self.languages.passes(text("language"))
            && self.kinds.passes(text("kind"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_include_and_exclude() {
        let mut selection = Selection::default();
        for path in ["src", "*.md", "!src/vendor/**"] {
            selection.paths.add(path);
        }
        selection.repositories.add("acme/*");
        selection.repositories.add("!acme/old");
        selection.languages.add("Rust");
        let selector = selection.selector("index").expect("globs");
        let of = |repository: &str, path: &str, language: &str| {
            let metadata = json!({"repository": repository, "file_path": path, "language": language});
            selector.passes(metadata.as_object().expect("an object"))
        };
        assert!(of("acme/api", "src/a/b.rs", "rust") && of("acme/api", "docs/x.md", "rust"));
        assert!(!of("acme/api", "src/a.rs", "go"));
        assert!(!of("acme/api", "src/vendor/a.rs", "rust"));
        assert!(!of("acme/api", "lib/a.rs", "rust"));
        assert!(!of("acme/old", "src/a.rs", "rust") && !of("other/api", "src/a.rs", "rust"));
    }

    #[test]
    fn filters_are_described() {
        let mut selection = Selection::default();
        assert_eq!(selection.describe(), None);
        selection.languages.add("klingon");
        selection.paths.add("!src/**");
        assert_eq!(selection.describe().as_deref(), Some("not path `src/**`, language `klingon`"));
    }

    #[test]
    fn bad_globs_are_named() {
        let mut selection = Selection::default();
        selection.paths.add("src/[a");
        let error = selection.selector("index").expect_err("a bad glob");
        assert!(error.message.contains("`src/[a` is not a glob"), "{error}");
    }
}
