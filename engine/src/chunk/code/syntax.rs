//! The languages with a grammar. To add one, add it here, its definitions in `item`, and a test.

use tree_sitter::Language;

/// A language with a grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Rust,
    Python,
    JavaScript,
    TypeScript,
    Tsx,
    Go,
    Java,
    C,
    Cpp,
    CSharp,
    Ruby,
    Php,
    Kotlin,
    Swift,
    Scala,
    Bash,
    Hcl,
    Toml,
    Json,
    Html,
    Css,
}

/// Languages of scripts without an extension, which only the text identifies. All of them are part
/// of the recipe of such a file.
pub(super) const OF_SCRIPTS: &[Syntax] =
    &[Syntax::Bash, Syntax::Python, Syntax::Ruby, Syntax::Php, Syntax::JavaScript, Syntax::TypeScript];

impl Syntax {
    /// Every language with a grammar.
    pub(super) const ALL: &[Self] = &[
        Self::Rust,
        Self::Python,
        Self::JavaScript,
        Self::TypeScript,
        Self::Tsx,
        Self::Go,
        Self::Java,
        Self::C,
        Self::Cpp,
        Self::CSharp,
        Self::Ruby,
        Self::Php,
        Self::Kotlin,
        Self::Swift,
        Self::Scala,
        Self::Bash,
        Self::Hcl,
        Self::Toml,
        Self::Json,
        Self::Html,
        Self::Css,
    ];

    /// Every set of grammars that may apply to one file, including the empty set.
    pub(super) fn sets() -> impl Iterator<Item = &'static [Self]> {
        let single = Self::ALL.iter().map(std::slice::from_ref);
        single.chain([&[][..], &[Self::C, Self::Cpp], OF_SCRIPTS])
    }

    /// The grammars that may apply to a file of this language (as named by
    /// [`super::super::language_of`]). If there are two, the text decides.
    pub(super) fn candidates(language: &str, path: &str) -> &'static [Self] {
        match language {
            "rust" => &[Self::Rust],
            "python" => &[Self::Python],
            "javascript" => &[Self::JavaScript],
            "typescript" => &[Self::TypeScript],
            "tsx" => &[Self::Tsx],
            "go" => &[Self::Go],
            "java" => &[Self::Java],
            "c" if is_header(path) => &[Self::C, Self::Cpp],
            "c" => &[Self::C],
            "cpp" => &[Self::Cpp],
            "csharp" => &[Self::CSharp],
            "ruby" => &[Self::Ruby],
            "php" => &[Self::Php],
            "kotlin" => &[Self::Kotlin],
            "swift" => &[Self::Swift],
            "scala" => &[Self::Scala],
            "shell" => &[Self::Bash],
            "terraform" => &[Self::Hcl],
            "toml" => &[Self::Toml],
            "json" | "jupyter" => &[Self::Json],
            "html" => &[Self::Html],
            "css" => &[Self::Css],
            _ => &[],
        }
    }

    /// The grammar for a text.
    pub(super) fn of(language: &str, path: &str, text: &str) -> Option<Self> {
        match *Self::candidates(language, path) {
            [] => None,
            [Self::C, Self::Cpp] if is_cpp(text) => Some(Self::Cpp),
            [only, ..] => Some(only),
        }
    }

    pub(super) fn grammar(self) -> Language {
        match self {
            Self::Rust => tree_sitter_rust::LANGUAGE,
            Self::Python => tree_sitter_python::LANGUAGE,
            Self::JavaScript => tree_sitter_javascript::LANGUAGE,
            Self::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
            Self::Tsx => tree_sitter_typescript::LANGUAGE_TSX,
            Self::Go => tree_sitter_go::LANGUAGE,
            Self::Java => tree_sitter_java::LANGUAGE,
            Self::C => tree_sitter_c::LANGUAGE,
            Self::Cpp => tree_sitter_cpp::LANGUAGE,
            Self::CSharp => tree_sitter_c_sharp::LANGUAGE,
            Self::Ruby => tree_sitter_ruby::LANGUAGE,
            Self::Php => tree_sitter_php::LANGUAGE_PHP,
            Self::Kotlin => tree_sitter_kotlin_ng::LANGUAGE,
            Self::Swift => tree_sitter_swift::LANGUAGE,
            Self::Scala => tree_sitter_scala::LANGUAGE,
            Self::Bash => tree_sitter_bash::LANGUAGE,
            Self::Hcl => tree_sitter_hcl::LANGUAGE,
            Self::Toml => tree_sitter_toml_ng::LANGUAGE,
            Self::Json => tree_sitter_json::LANGUAGE,
            Self::Html => tree_sitter_html::LANGUAGE,
            Self::Css => tree_sitter_css::LANGUAGE,
        }
        .into()
    }

    /// True for data formats: trees of keys, where a full chunk is better than one with a single
    /// subject.
    pub(super) fn is_data(self) -> bool {
        matches!(self, Self::Toml | Self::Json)
    }

    /// The grammar's crate and version, as recorded in the recipe of its files. A test compares the
    /// versions with `Cargo.lock`.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Rust => "tree-sitter-rust/0.24.2",
            Self::Python => "tree-sitter-python/0.25.0",
            Self::JavaScript => "tree-sitter-javascript/0.25.0",
            Self::TypeScript | Self::Tsx => "tree-sitter-typescript/0.23.2",
            Self::Go => "tree-sitter-go/0.25.0",
            Self::Java => "tree-sitter-java/0.23.5",
            Self::C => "tree-sitter-c/0.24.2",
            Self::Cpp => "tree-sitter-cpp/0.23.4",
            Self::CSharp => "tree-sitter-c-sharp/0.23.5",
            Self::Ruby => "tree-sitter-ruby/0.23.1",
            Self::Php => "tree-sitter-php/0.25.1",
            Self::Kotlin => "tree-sitter-kotlin-ng/1.1.0",
            Self::Swift => "tree-sitter-swift/0.7.4",
            Self::Scala => "tree-sitter-scala/0.26.9",
            Self::Bash => "tree-sitter-bash/0.25.1",
            Self::Hcl => "tree-sitter-hcl/1.1.0",
            Self::Toml => "tree-sitter-toml-ng/0.7.0",
            Self::Json => "tree-sitter-json/0.24.8",
            Self::Html => "tree-sitter-html/0.23.2",
            Self::Css => "tree-sitter-css/0.25.0",
        }
    }
}

/// True for `.h`, which C and C++ share.
fn is_header(path: &str) -> bool {
    path.len() >= 2 && path.as_bytes()[path.len() - 2..].eq_ignore_ascii_case(b".h")
}

/// True if a line of the header starts with a construct that only C++ has.
fn is_cpp(text: &str) -> bool {
    ["\nnamespace ", "\nclass ", "\ntemplate <", "\ntemplate<", "\nusing ", "\npublic:"]
        .iter()
        .any(|sign| memchr::memmem::find(text.as_bytes(), sign.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_match_the_lock_file() {
        let lock = include_str!("../../../../Cargo.lock");
        for &syntax in Syntax::ALL {
            let (name, version) = syntax.version().split_once('/').expect("name/version");
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(lock.contains(&entry), "{name} is not {version} in Cargo.lock: update Syntax::version");
        }
    }

    #[test]
    fn every_grammar_is_compatible_with_the_library() {
        for &syntax in Syntax::ALL {
            let mut parser = tree_sitter::Parser::new();
            parser.set_language(&syntax.grammar()).unwrap_or_else(|error| panic!("{syntax:?}: {error}"));
        }
    }

    #[test]
    fn headers_are_c_or_cpp_by_their_text() {
        for (path, text, syntax) in [
            ("a.h", "int f(void);", Syntax::C),
            ("a.H", "\nclass A;", Syntax::Cpp),
            ("a.c", "\nclass A;", Syntax::C),
        ] {
            assert_eq!(Syntax::of("c", path, text), Some(syntax), "{path} {text:?}");
        }
        assert_eq!(Syntax::of("cobol", "a.cob", ""), None);
    }
}
