//! How well the embedded default finds things: questions made from the documentation comments and
//! headings of a source tree, asked of the real embedder and the real store.
//!
//! `cargo run --release --example evaluate -- [--queries N] [--pool N] PATH…`
//!
//! A question is the first sentence of a function's documentation, or a heading; what it should
//! find is that function without its documentation, or the section without its heading.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod items;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use reposync::embed::Embedder;
use reposync::embed::local::LocalEmbedder;
use reposync::model::{Fingerprint, GitSha, Metadata, Record, Vector};
use reposync::rank::{Mode, Weights, Words, rank};
use reposync::store::sqlite::SqliteStore;
use reposync::store::{Search, SearchScope, Selection, VectorStore};

use items::{Item, Kind};

/// Ranks that count.
const TOP: usize = 10;
const NAMESPACE: &str = "evaluation";

struct Options {
    queries: usize,
    pool: usize,
    paths: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("usage: evaluate [--queries N] [--pool N] PATH…");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let options = options(std::env::args().skip(1))?;
    let mut all = Vec::new();
    for path in &options.paths {
        items::collect(path, path, &mut all).with_context(|| format!("cannot read `{}`", path.display()))?;
    }
    let pool = chosen(all, &options);
    let asked = pool.iter().filter(|item| item.query.is_some()).count();
    if asked == 0 {
        bail!("no documented function and no heading found");
    }

    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open("index", folder.path().join("index.db"));
    let embedder = LocalEmbedder::embedded("local");
    let started = Instant::now();
    index(&store, &embedder, &pool).await?;
    println!("{} chunks, {asked} questions; indexed in {:.1} s", pool.len(), started.elapsed().as_secs_f64());
    let of = |kind| pool.iter().filter(|item| item.kind == kind && item.query.is_some()).count();
    println!("questions: {}", Kind::ALL.map(|kind| format!("{} {}", of(kind), kind.name())).join(", "));

    println!(
        "\nMRR@{TOP}/recall@{TOP}    {}",
        Kind::ALL.map(|kind| format!("{:>11}", kind.name())).join(" ") + "         all   ms/query"
    );
    for (name, mode, without) in [
        ("words", Mode::Keyword, ""),
        ("vectors", Mode::Semantic, ""),
        ("both", Mode::Hybrid, ""),
        ("without adjacency", Mode::Hybrid, "a"),
        ("without file", Mode::Hybrid, "f"),
        ("without path", Mode::Hybrid, "pn"),
    ] {
        let weights = Weights { without, ..Weights::default() }.in_mode(mode);
        let started = Instant::now();
        let ranks = ranks(&store, &embedder, &pool, &weights).await?;
        let each = started.elapsed().as_secs_f64() * 1000.0 / asked as f64;
        let column = |kind: Option<Kind>| {
            let ranks: Vec<Option<usize>> = ranks
                .iter()
                .filter(|(of, _)| kind.is_none_or(|kind| kind == *of))
                .map(|(_, rank)| *rank)
                .collect();
            if ranks.is_empty() { format!("{:>11}", "-") } else { format!("{:>11}", score(&ranks)) }
        };
        let columns: Vec<String> = Kind::ALL.map(Some).into_iter().chain([None]).map(column).collect();
        println!("{name:<19} {} {each:>10.1}", columns.join(" "));
    }
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options { queries: 500, pool: usize::MAX, paths: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut number = || -> anyhow::Result<usize> {
            let text = arguments.next().with_context(|| format!("{argument} takes a number"))?;
            text.parse().with_context(|| format!("{argument} takes a number, not `{text}`"))
        };
        match argument.as_str() {
            "--queries" => options.queries = number()?.max(1),
            "--pool" => options.pool = number()?.max(1),
            other if other.starts_with("--") => bail!("unknown option `{other}`"),
            _ => options.paths.push(argument.into()),
        }
    }
    if options.paths.is_empty() {
        bail!("no path given");
    }
    Ok(options)
}

/// The questions asked, evenly over all of them, and the pool they are asked of: their targets,
/// and others evenly over the rest. The same every time.
fn chosen(all: Vec<Item>, options: &Options) -> Vec<Item> {
    let (asked, mut others): (Vec<Item>, Vec<Item>) = all.into_iter().partition(|item| item.query.is_some());
    let (asked, rest) = evenly(asked, options.queries.min(options.pool));
    others.extend(rest.into_iter().map(|item| Item { query: None, ..item }));
    let (others, _) = evenly(others, options.pool - asked.len());
    asked.into_iter().chain(others).collect()
}

/// `most` of the items, at equal distances, and the others.
fn evenly(items: Vec<Item>, most: usize) -> (Vec<Item>, Vec<Item>) {
    let count = items.len();
    if count <= most {
        return (items, Vec::new());
    }
    let (taken, left): (Vec<_>, Vec<_>) =
        items.into_iter().enumerate().partition(|(at, _)| (at + 1) * most / count > at * most / count);
    let bare = |items: Vec<(usize, Item)>| items.into_iter().map(|(_, item)| item).collect();
    (bare(taken), bare(left))
}

async fn index(store: &SqliteStore, embedder: &LocalEmbedder, pool: &[Item]) -> anyhow::Result<()> {
    let limits = (embedder.limits().inputs_per_call, store.limits().records_per_upsert);
    let mut records = Vec::new();
    for (batch, items) in pool.chunks(limits.0).enumerate() {
        let inputs: Vec<String> = items.iter().map(|item| embedder.input(None, &item.text)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let vectors = embedder.embed(&inputs, 0).await?.vectors;
        let numbered = items.iter().enumerate().map(|(at, item)| (batch * limits.0 + at, item));
        records.extend(numbered.zip(vectors).map(|((number, item), vector)| record(number, item, vector)));
    }
    for batch in records.chunks(limits.1) {
        store.upsert(NAMESPACE, batch).await?;
    }
    Ok(())
}

/// For each question the rank at which its target was found.
async fn ranks(
    store: &SqliteStore,
    embedder: &LocalEmbedder,
    pool: &[Item],
    weights: &Weights,
) -> anyhow::Result<Vec<(Kind, Option<usize>)>> {
    let mut ranks = Vec::new();
    for (number, item) in pool.iter().enumerate() {
        let Some(question) = &item.query else { continue };
        let input = embedder.input(None, question);
        let vector = embedder.embed(&[&input], 0).await?.vectors.remove(0);
        let words = Arc::new(Words::new(question));
        let scope = SearchScope { namespace: NAMESPACE.into(), project: NAMESPACE.into() };
        let search = Search {
            scopes: vec![scope],
            vector: (weights.vectors > 0.0).then_some(vector),
            words: (weights.words > 0.0).then(|| Arc::clone(&words)),
            selection: Selection::default(),
            filter: None,
            symbol: None,
            depth: 100,
        };
        let ranked = rank(&words, store.search(&search).await?, weights, false);
        let matches: Vec<String> = ranked.into_iter().take(TOP).map(|one| one.candidate.id).collect();
        let id = id(number);
        ranks.push((item.kind, matches.iter().position(|one| *one == id)));
    }
    Ok(ranks)
}

/// `MRR/recall`, as `.652/.862`.
fn score(ranks: &[Option<usize>]) -> String {
    let count = ranks.len() as f64;
    let reciprocal: f64 = ranks.iter().flatten().map(|rank| 1.0 / (*rank as f64 + 1.0)).sum();
    let found = ranks.iter().flatten().count() as f64;
    let short = |share: f64| format!("{share:.3}").trim_start_matches('0').to_owned();
    format!("{}/{}", short(reciprocal / count), short(found / count))
}

fn id(number: usize) -> String {
    format!("{number:08}")
}

fn record(number: usize, item: &Item, vector: Vector) -> Record {
    Record {
        id: id(number),
        vector,
        metadata: Arc::new(Metadata {
            project: NAMESPACE.into(),
            repository: String::new(),
            file_path: item.path.clone(),
            chunk_index: 0,
            text: item.text.clone(),
            start_line: 1,
            end_line: 1,
            language: item.kind.name().into(),
            blob_sha: GitSha([0; 20]),
            recipe: Fingerprint::of([NAMESPACE]),
            commit_sha: GitSha([0; 20]),
            url: String::new(),
            context: None,
            kind: None,
            name: None,
            attrs: Vec::new(),
            foreign: None,
        }),
    }
}

/// The path of a file below the folder that was named; the name of a file that was itself named.
pub(crate) fn relative(root: &Path, file: &Path) -> String {
    let below = file.strip_prefix(root).ok().filter(|path| !path.as_os_str().is_empty());
    let name = below.or_else(|| file.file_name().map(Path::new)).unwrap_or(file);
    name.to_string_lossy().replace('\\', "/")
}
