//! Chunking speed, compared with the minimum that any indexer must do with the same bytes.
//!
//! `cargo bench --bench chunk` prints the throughput of each chunker (including cleaning, cutting and
//! fitting) over sources of the Cargo registry, or of this repository if there is none. `secrets` is the
//! scanner for keys and tokens. `pattern` runs over a generated log and generated Terraform. `lower_bound` checks UTF-8, counts lines and hashes with BLAKE3;
//! `bare_parse` is tree-sitter alone over the same files as `code`.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use divan::Bencher;
use divan::counter::BytesCount;
use reposync::chunk::code::{CodeChunker, CodeSettings};
use reposync::chunk::markdown::{MarkdownChunker, MarkdownSettings};
use reposync::chunk::pattern::{PatternChunker, PatternSettings};
use reposync::chunk::sentence::{SentenceChunker, SentenceSettings};
use reposync::chunk::{Chunker, Limits, clean, fit, language_of, secrets};
use reposync::model::Document;

/// Bytes of each corpus: larger than the CPU caches, small enough for a quick run.
const CORPUS_BYTES: usize = 12 << 20;

fn main() {
    divan::main();
}

struct File {
    path: String,
    bytes: Vec<u8>,
}

/// All languages, as an indexer would meet them.
static MIXED: LazyLock<Vec<File>> = LazyLock::new(|| corpus(&|path| language_of(path).is_some()));
static MARKDOWN: LazyLock<Vec<File>> =
    LazyLock::new(|| corpus(&|path| language_of(path) == Some("markdown")));
/// Rust only: the language with most files in the registry, so that results are comparable.
static RUST: LazyLock<Vec<File>> = LazyLock::new(|| corpus(&|path| language_of(path) == Some("rust")));

/// Files that match a predicate, in a fixed order, up to the size of a corpus.
fn corpus(takes: &dyn Fn(&str) -> bool) -> Vec<File> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let registry = home.map(|home| home.join("registry/src")).filter(|folder| folder.is_dir());
    let root = registry.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let (mut files, mut bytes) = (Vec::new(), 0);
    gather(&root, takes, &mut files, &mut bytes);
    files
}

fn gather(folder: &Path, takes: &dyn Fn(&str) -> bool, files: &mut Vec<File>, bytes: &mut usize) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        if *bytes >= CORPUS_BYTES {
            return;
        }
        if entry.is_dir() {
            if !entry.ends_with("target") {
                gather(&entry, takes, files, bytes);
            }
        } else if let Some(path) = entry.to_str()
            && takes(path)
            && let Ok(content) = fs::read(&entry)
            && content.len() < 1 << 20
            && clean(&content).is_ok()
        {
            *bytes += content.len();
            files.push(File { path: path.to_owned(), bytes: content });
        }
    }
}

fn size(files: &[File]) -> BytesCount {
    BytesCount::new(files.iter().map(|file| file.bytes.len()).sum::<usize>())
}

fn lower_bound(bencher: Bencher<'_, '_>, files: &'static [File]) {
    bencher.counter(size(files)).bench(|| {
        for file in files {
            let text = std::str::from_utf8(&file.bytes).map_or(0, str::len);
            let lines = memchr::memchr_iter(b'\n', &file.bytes).count();
            black_box((text, lines, blake3::hash(&file.bytes)));
        }
    });
}

/// The whole path of a file: from bytes to pieces.
fn pieces(bencher: Bencher<'_, '_>, files: &'static [File], chunker: &dyn Chunker) {
    let limits = Limits { input_tokens: 8191, counter: Arc::new(str::len), metadata_bytes: 30_000 };
    bencher.counter(size(files)).bench_local(|| {
        for file in files {
            let cleaned = chunker.prepare(clean(&file.bytes).expect("the corpus is text"));
            let document = Document {
                path: &file.path,
                text: &cleaned.text,
                language: language_of(&file.path),
                ..Document::default()
            };
            let chunks = chunker.chunk(&document).expect("a built-in chunker takes every text");
            black_box(fit(&cleaned, chunks, &limits).expect("a built-in chunker keeps the contract"));
        }
    });
}

#[divan::bench_group(sample_count = 7)]
mod mixed {
    use super::{Bencher, MIXED, SentenceChunker, SentenceSettings, black_box, clean, pieces, secrets, size};

    #[divan::bench]
    fn lower_bound(bencher: Bencher<'_, '_>) {
        super::lower_bound(bencher, &MIXED);
    }

    #[divan::bench]
    fn cleaning(bencher: Bencher<'_, '_>) {
        bencher.counter(size(&MIXED)).bench(|| {
            for file in &*MIXED {
                black_box(clean(&file.bytes).expect("the corpus is text"));
            }
        });
    }

    /// The scanner for `secrets = "skip"` and `"redact"`.
    #[divan::bench]
    fn secrets(bencher: Bencher<'_, '_>) {
        let scanner = secrets::Scanner::built_in();
        let texts: Vec<_> =
            MIXED.iter().map(|file| clean(&file.bytes).expect("the corpus is text")).collect();
        bencher.counter(size(&MIXED)).bench_local(|| {
            for cleaned in &texts {
                black_box(scanner.find(&cleaned.text));
            }
        });
    }

    #[divan::bench]
    fn sentence(bencher: Bencher<'_, '_>) {
        let chunker =
            SentenceChunker::new("bench", &SentenceSettings::default(), None).expect("defaults are valid");
        pieces(bencher, &MIXED, &chunker);
    }
}

#[divan::bench_group(sample_count = 7)]
mod markdown {
    use super::{Bencher, MARKDOWN, MarkdownChunker, MarkdownSettings, pieces};

    #[divan::bench]
    fn lower_bound(bencher: Bencher<'_, '_>) {
        super::lower_bound(bencher, &MARKDOWN);
    }

    #[divan::bench]
    fn markdown(bencher: Bencher<'_, '_>) {
        let chunker =
            MarkdownChunker::new("bench", &MarkdownSettings::default(), None).expect("defaults are valid");
        pieces(bencher, &MARKDOWN, &chunker);
    }
}

#[divan::bench_group(sample_count = 3)]
mod code {
    use super::{Bencher, CodeChunker, CodeSettings, RUST, black_box, pieces, size};

    #[divan::bench]
    fn lower_bound(bencher: Bencher<'_, '_>) {
        super::lower_bound(bencher, &RUST);
    }

    #[divan::bench]
    fn bare_parse(bencher: Bencher<'_, '_>) {
        let mut parser = tree_sitter::Parser::new();
        parser.set_language(&tree_sitter_rust::LANGUAGE.into()).expect("the grammar fits the library");
        bencher.counter(size(&RUST)).bench_local(|| {
            for file in &*RUST {
                black_box(parser.parse(&file.bytes, None));
            }
        });
    }

    #[divan::bench]
    fn code(bencher: Bencher<'_, '_>) {
        let chunker = CodeChunker::new("bench", &CodeSettings::default(), None).expect("defaults are valid");
        pieces(bencher, &RUST, &chunker);
    }
}

/// Files of about 256 KiB whose lines `write` adds, up to the size of a corpus.
fn generated(name: &str, write: impl Fn(&mut String, usize)) -> Vec<File> {
    let (mut files, mut bytes, mut number) = (Vec::new(), 0, 0);
    while bytes < CORPUS_BYTES {
        let mut text = String::new();
        while text.len() < 256 << 10 {
            write(&mut text, number);
            number += 1;
        }
        bytes += text.len();
        files.push(File { path: format!("{}/{name}", files.len()), bytes: text.into_bytes() });
    }
    files
}

/// Every eighth entry has a stack trace.
static LOG: LazyLock<Vec<File>> =
    LazyLock::new(|| {
        generated("app.log", |text, n| {
            let level = ["INFO", "DEBUG", "WARN", "ERROR"][n % 4];
            text.push_str(&format!(
            "2024-01-{:02}T{:02}:{:02}:{:02}.{:03}Z {level} worker-{} request {n} of tenant {} took {} ms\n",
            n % 28 + 1, n % 24, n % 60, n % 59, n % 1000, n % 16, n % 97, n % 4096
        ));
            if n % 8 == 0 {
                for frame in 0..6 {
                    text.push_str(&format!(
                        "    at module{}::handler{frame} (src/service/file{n}.rs:{})\n",
                        n % 31,
                        n % 900
                    ));
                }
            }
        })
    });

static TERRAFORM: LazyLock<Vec<File>> = LazyLock::new(|| {
    generated("main.tf", |text, n| {
        text.push_str(&format!("# Resource {n} of the fleet.\nresource \"aws_instance\" \"node_{n}\" {{\n"));
        for key in 0..12 {
            text.push_str(&format!("  setting_{key} = \"value {} of {n}\"\n", key * n % 1013));
        }
        text.push_str("}\n\n");
    })
});

#[divan::bench_group(sample_count = 7)]
mod pattern {
    use super::{Bencher, LOG, PatternChunker, PatternSettings, TERRAFORM, pieces};

    #[divan::bench]
    fn lower_bound(bencher: Bencher<'_, '_>) {
        super::lower_bound(bencher, &LOG);
    }

    /// Each entry is a chunk, with three attributes.
    #[divan::bench]
    fn log(bencher: Bencher<'_, '_>) {
        let start = r"^(?<day>\d{4}-\d\d-\d\d)T\S+ (?<kind>[A-Z]+) (?<worker>\S+)";
        let chunker = PatternChunker::new("bench", &PatternSettings::starting_at(start), None);
        pieces(bencher, &LOG, &chunker.expect("valid settings"));
    }

    /// Fifty lines are a chunk.
    #[divan::bench]
    fn log_rows(bencher: Bencher<'_, '_>) {
        let settings = PatternSettings { max_chunk_size: 8000, ..PatternSettings::of_rows(50, 0) };
        let chunker = PatternChunker::new("bench", &settings, None);
        pieces(bencher, &LOG, &chunker.expect("valid settings"));
    }

    #[divan::bench]
    fn terraform(bencher: Bencher<'_, '_>) {
        let start = r#"^(?<kind>resource|module|variable)\s+("(?<type>[^"]+)"\s+)?"(?<name>[^"]+)""#;
        let settings = PatternSettings {
            end: Some("^}".to_owned()),
            comment: Some(r"^\s*(#|//)".to_owned()),
            context: Some("{kind} {name}".to_owned()),
            ..PatternSettings::starting_at(start)
        };
        let chunker = PatternChunker::new("bench", &settings, None);
        pieces(bencher, &TERRAFORM, &chunker.expect("valid settings"));
    }
}
