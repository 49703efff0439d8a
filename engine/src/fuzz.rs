//! What outsiders hand over, byte by byte: one function for each fuzz target in `fuzz/`. None may
//! panic, whatever the bytes; what must hold of the outcome is asserted on the way.
//!
//! Compiled for fuzzing and for tests only. The tests replay the corpus of `fuzz/corpus`.

use std::path::Path;

use crate::config::{Need, diff, parse_str, show};

pub use crate::api::fuzz_webhook as webhook;
pub use crate::chunk::component::fuzz as component;
pub use crate::chunk::promises::{fuzz_clean as clean, fuzz_code as code, fuzz_markdown as markdown};
pub use crate::chunk::promises::{fuzz_pattern as pattern, fuzz_sentence as sentence};
pub use crate::embed::fuzz as embeddings;
pub use crate::source::github::{fuzz_answer as github, fuzz_archive as archive};
pub use crate::store::pinecone::fuzz as pinecone;

/// A target: its name, which is also that of its corpus, and what it does with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 12] = [
    ("archive", archive),
    ("clean", clean),
    ("code", code),
    ("component", component),
    ("config", config),
    ("embeddings", embeddings),
    ("github", github),
    ("markdown", markdown),
    ("pattern", pattern),
    ("pinecone", pinecone),
    ("sentence", sentence),
    ("webhook", webhook),
];

/// `reposync.toml`: read, shown, compared; or its problems, rendered.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Files that the text names are the file system's affair.
    if text.contains("file:") {
        return;
    }
    let need = Need::enabled().with_api().with_env(|name| (name != "UNSET").then(|| "value".to_owned()));
    let path = Path::new("/nowhere/reposync.toml");
    match parse_str(path, text, &need) {
        Ok(config) => {
            assert_eq!(parse_str(path, text, &need).as_ref().ok(), Some(&config), "the same again");
            assert!(diff(&config, &config).is_empty(), "nothing differs from itself");
            assert!(!show(&config).is_empty());
        }
        Err(problems) => {
            assert!(!problems.list().is_empty(), "refused without a reason");
            for width in [20, 100] {
                assert!(!problems.render(false, width).is_empty());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::TARGETS;

    fn folder(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
    }

    fn entries(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
        paths.sort();
        paths
    }

    #[test]
    fn every_input_of_the_corpus_is_taken() {
        for (name, run) in TARGETS {
            let inputs = entries(&folder("corpus").join(name));
            assert!(!inputs.is_empty(), "{name} has no corpus");
            for input in inputs {
                let bytes = fs::read(&input).expect("readable");
                let taken = std::panic::catch_unwind(|| run(&bytes));
                assert!(taken.is_ok(), "{} is not taken", input.display());
            }
        }
    }

    #[test]
    fn every_target_has_its_function() {
        let names = |folder: &Path| {
            let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
            entries(folder).into_iter().map(stem).collect::<BTreeSet<_>>()
        };
        let ours: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names(&folder("fuzz_targets")), ours);
        assert_eq!(names(&folder("corpus")), ours);
    }
}
