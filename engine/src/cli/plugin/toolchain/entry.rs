//! Which tool builds a project.

use std::path::Path;

/// The file that contains a project's chunker, which determines the tool that builds the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::plugin) enum Entry {
    /// `Cargo.toml`
    Rust,
    /// `chunker.ts`
    TypeScript,
    /// `chunker.js`
    JavaScript,
    /// `chunker.py`
    Python,
    /// `chunker.cpp`
    Cpp,
    /// `chunker.c`
    C,
}

impl Entry {
    /// In order of precedence: TypeScript comes first, since it may have been compiled to
    /// JavaScript next to its source.
    const ALL: [Self; 6] = [Self::Rust, Self::TypeScript, Self::JavaScript, Self::Python, Self::Cpp, Self::C];

    /// The entry file in a folder.
    pub(in crate::cli::plugin) fn of(dir: &Path) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| dir.join(entry.file()).is_file())
    }

    pub(in crate::cli::plugin) fn file(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::TypeScript => "chunker.ts",
            Self::JavaScript => "chunker.js",
            Self::Python => "chunker.py",
            Self::Cpp => "chunker.cpp",
            Self::C => "chunker.c",
        }
    }

    pub(in crate::cli::plugin) fn language(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::TypeScript => "TypeScript",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
            Self::Cpp => "C++",
            Self::C => "C",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunkers_file_says_the_language() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Entry::of(dir.path()), None);
        for entry in Entry::ALL.into_iter().rev() {
            std::fs::write(dir.path().join(entry.file()), "").expect("written");
            assert_eq!(Entry::of(dir.path()), Some(entry));
        }
    }
}
