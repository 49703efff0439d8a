//! Penalties for chunks that are rarely the answer: tests, and files that are generated or
//! not part of the program.

use super::candidate::Candidate;
use super::words::Words;

/// Folders of tests.
const TEST_FOLDERS: &[&str] = &[
    "test",
    "tests",
    "__tests__",
    "testdata",
    "test-data",
    "test_data",
    "testing",
    "spec",
    "specs",
    "fixtures",
    "__fixtures__",
    "mocks",
    "__mocks__",
    "e2e",
];
/// Folders of what is vendored, built, generated, an example or a list of changes.
const LOW_FOLDERS: &[&str] = &[
    "vendor",
    "vendored",
    "third_party",
    "third-party",
    "thirdparty",
    "node_modules",
    "bower_components",
    "dist",
    "build",
    "out",
    "generated",
    "__generated__",
    "__snapshots__",
    "snapshots",
    "examples",
    "example",
    "samples",
    "sample",
    "demo",
    "demos",
    "benches",
    "bench",
    "benchmarks",
    "benchmark",
    "changelog",
    "changelog.d",
    "changelogs",
    ".changes",
    ".changeset",
    "newsfragments",
    "licenses",
    "licences",
];
/// Names, up to the first dot, of changelogs and licences.
const LOW_NAMES: &[&str] = &[
    "changelog",
    "changes",
    "history",
    "news",
    "releases",
    "release_notes",
    "release-notes",
    "releasenotes",
    "whatsnew",
    "license",
    "licence",
    "copying",
    "notice",
    "authors",
    "contributors",
    "maintainers",
    "credits",
    "thanks",
    "backers",
    "code_of_conduct",
];
/// Files that tools write.
const LOCK_FILES: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "cargo.lock",
    "go.sum",
    "poetry.lock",
    "pdm.lock",
    "uv.lock",
    "pipfile.lock",
    "gemfile.lock",
    "composer.lock",
    "mix.lock",
    "pubspec.lock",
    "packages.lock.json",
    "flake.lock",
    "bun.lock",
    "deno.lock",
];
/// Endings of names of minified, generated and data files.
const LOW_ENDINGS: &[&str] = &[
    ".min.js",
    ".min.css",
    ".min.mjs",
    ".bundle.js",
    ".map",
    ".lock",
    ".pb.go",
    "_pb2.py",
    "_pb2_grpc.py",
    ".pb.cc",
    ".pb.h",
    ".g.dart",
    ".g.cs",
    ".designer.cs",
    ".generated.ts",
    ".generated.go",
    "_generated.go",
    "_generated.rs",
    "_gen.go",
    ".snap",
    ".csv",
    ".tsv",
    ".jsonl",
    ".ndjson",
    ".geojson",
    ".svg",
    ".po",
    ".pot",
    ".xliff",
    ".diff",
    ".patch",
    ".golden",
    ".out",
    ".log",
    ".dat",
];

/// The penalties that hold for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Penalties {
    /// A test, while the query is not about tests.
    pub test: bool,
    /// Vendored, generated, built, minified, a lock file, a changelog, a licence, data, an example or a
    /// benchmark.
    pub low: bool,
}

/// The penalties of a candidate. `tests`: tests are asked for, by words or by a filter.
pub(super) fn of(words: &Words, candidate: &Candidate, tests: bool) -> Penalties {
    let path = candidate.text("file_path");
    let test = !tests
        && !words.asks_for_tests()
        && (is_test_path(path) || is_test_symbol(candidate.text("name"), candidate.text("context")));
    Penalties { test, low: is_low(path) }
}

/// True for a path without a penalty: neither a test nor a file of low value.
pub fn is_source_path(path: &str) -> bool {
    !is_test_path(path) && !is_low(path)
}

fn is_test_path(path: &str) -> bool {
    let (folders, name) = split(path);
    if folders.split('/').any(|folder| TEST_FOLDERS.contains(&folder.to_ascii_lowercase().as_str())) {
        return true;
    }
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let lower = stem.to_ascii_lowercase();
    lower.ends_with("_test")
        || lower.ends_with("_tests")
        || lower.ends_with("_spec")
        || matches!(lower.rsplit_once('.'), Some((_, "test" | "spec")))
        || (lower.starts_with("test_") && matches!(extension, "py" | "pyi" | "rb" | "sh"))
        || name == "conftest.py"
        || (matches!(stem, "test" | "tests") && matches!(extension, "rs" | "py" | "js" | "ts"))
        || ((stem.ends_with("Test") || stem.ends_with("Tests") || stem.ends_with("Spec"))
            && matches!(extension, "java" | "kt" | "kts" | "scala" | "groovy" | "cs" | "php" | "swift"))
}

/// True for a symbol of a module of tests inside a source file.
fn is_test_symbol(name: &str, context: &str) -> bool {
    let module = |part: &str| matches!(part.trim(), "tests" | "test" | "mod tests" | "mod test");
    name.split([':', '.']).any(module)
        || context.contains("cfg(test)")
        || context.lines().any(|line| line.split(['>', ':', '{', ';']).any(module))
}

fn is_low(path: &str) -> bool {
    let (folders, name) = split(path);
    if folders.split('/').any(|folder| LOW_FOLDERS.contains(&folder.to_ascii_lowercase().as_str())) {
        return true;
    }
    let name = name.to_ascii_lowercase();
    let stem = name.split('.').next().unwrap_or(&name);
    LOW_NAMES.contains(&stem)
        || stem.starts_with("license-")
        || LOCK_FILES.contains(&name.as_str())
        || LOW_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_by_path_and_symbol() {
        for path in [
            "tests/it/api.rs",
            "src/__tests__/a.js",
            "pkg/testdata/x.json",
            "spec/models/a.rb",
            "a_test.go",
            "tests.rs",
            "src/store/tests.rs",
            "lib/test_upload.py",
            "src/a.test.ts",
            "src/a.spec.ts",
            "conftest.py",
            "src/main/java/FooTest.java",
            "FooTests.cs",
        ] {
            assert!(is_test_path(path), "{path}");
        }
        for path in ["src/latest.rs", "src/contest/a.go", "attestation.py", "src/testify.rs", "Test.java.md"]
        {
            assert!(!is_test_path(path), "{path}");
        }
        assert!(is_test_symbol("tests::works", ""));
        assert!(is_test_symbol("works", "mod tests"));
        assert!(!is_test_symbol("latest", "impl Contest"));
    }

    #[test]
    fn files_of_low_value_are_told_by_path() {
        for path in [
            "vendor/a/b.go",
            "third_party/x.c",
            "web/dist/app.js",
            "a.min.js",
            "Cargo.lock",
            "go.sum",
            "CHANGELOG.md",
            "docs/changelog.d/1.md",
            ".changes/x.md",
            "newsfragments/1.rst",
            "LICENSE",
            "LICENSE-MIT",
            "COPYING.txt",
            "data/cities.csv",
            "examples/a.rs",
            "benches/b.rs",
            "api.pb.go",
        ] {
            assert!(is_low(path), "{path}");
        }
        for path in ["src/vendors.rs", "src/licenses.rs", "build.rs", "docs/news/today.md", "Cargo.toml"] {
            assert!(!is_low(path), "{path}");
        }
    }
}
