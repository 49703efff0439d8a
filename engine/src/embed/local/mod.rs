//! The built-in static embedding model, or another one from a folder. Needs no network, key or fee.

mod config;
mod only;
mod settings;

pub use settings::LocalSettings;

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use model2vec_rs::model::StaticModel;
use sha2::{Digest, Sha256};

use super::identifiers;
use super::words::WordCounter;
use super::{EmbedLimits, Embedder, Embeddings};
use crate::model::{ErrorKind, Fingerprint, StageError, StageResult, Vector};

const TOKENIZER: &[u8] = include_bytes!("../../../models/static-256/tokenizer.json");
const MODEL: &[u8] = include_bytes!("../../../models/static-256/model.safetensors");
const CONFIG: &[u8] = include_bytes!("../../../models/static-256/config.json");

/// BLAKE3 hashes of the three files, so that a run that embeds nothing need not read them. A test
/// compares them with the files.
const EMBEDDED_HASHES: [&str; 3] = [
    "b7c709f47e22297ad3f3f24b7e47f5ef8e4ab46c82ae51bdd2c52225bd7ff2c3",
    "cc418fbf2a27919e0820adcd4225f99b3974a272e0152996d2badd09828f0707",
    "8698da83381eab7613de126825293fc24766e7050b2ac20f13b66a17d54bdd65",
];
const EMBEDDED_DIMENSIONS: usize = 256;

/// The version of the processing around the model that affects vectors: [`identifiers::split`],
/// normalisation, [`unknown_text`]. Increase it when one of them changes.
const PREPARATION: &str = "split 1, normalised, unknown 1";

/// Texts per call: 5 ms of work, so that threads are evenly loaded and a run can stop promptly.
const INPUTS_PER_CALL: usize = 256;

static EMBEDDED: LazyLock<StaticModel> = LazyLock::new(|| {
    load(TOKENIZER, MODEL, CONFIG)
        .expect("the model in the binary loads: its files are fixed, and a test loads them")
});

/// Loaded when a chunk's size is first measured in tokens.
static EMBEDDED_COUNTER: LazyLock<WordCounter> = LazyLock::new(|| {
    WordCounter::new(TOKENIZER).expect("the tokenizer in the binary loads: a test loads it")
});

/// Static embeddings: the mean of the table's rows for a text's word pieces.
///
/// A text without any piece in the vocabulary (only emoji, or one word of more than a hundred
/// letters) would get the zero vector, which no store accepts. Rejecting the text would fail its
/// file on every run, and the user could do nothing about it. Such a text instead gets the
/// normalised sum of one pseudo-random direction per character: nearly orthogonal to all texts that
/// the model knows, and close to texts of the same characters. A text without a visible character
/// is rejected.
pub struct LocalEmbedder {
    stage: String,
    label: String,
    identity: Fingerprint,
    dimensions: usize,
    /// `None`: the built-in model, loaded on first use and shared by the process.
    folder: Option<Folder>,
    calls: usize,
    /// True once a query was embedded without the model being loaded.
    queried: AtomicBool,
}

/// A model that was loaded from a folder.
struct Folder {
    model: StaticModel,
    counter: WordCounter,
}

impl LocalEmbedder {
    /// The built-in model. Loads nothing until the first text.
    pub fn embedded(stage: impl Into<String>) -> Self {
        Self {
            stage: stage.into(),
            label: "local static-256".into(),
            identity: identity(&EMBEDDED_HASHES),
            dimensions: EMBEDDED_DIMENSIONS,
            folder: None,
            calls: cores(),
            queried: AtomicBool::new(false),
        }
    }

    /// Loads a model in model2vec format: `tokenizer.json`, `model.safetensors` and `config.json`
    /// in a folder. Reads and hashes the files, so call it on a blocking thread.
    pub fn from_folder(stage: impl Into<String>, path: &Path) -> StageResult<Self> {
        let stage = stage.into();
        let read = |name: &str| {
            std::fs::read(path.join(name)).map_err(|error| {
                StageError::misconfigured(&stage, format!("cannot read `{}`", path.join(name).display()))
                    .caused_by(error)
                    .hint("`path` names a folder with tokenizer.json, model.safetensors and config.json")
            })
        };
        let files = [read("tokenizer.json")?, read("model.safetensors")?, read("config.json")?];
        let unusable = |why: anyhow::Error| {
            StageError::misconfigured(&stage, format!("`{}` is not a valid model2vec model", path.display()))
                .caused_by(why)
        };
        let model = load(&files[0], &files[1], &files[2]).map_err(unusable)?;
        if model.dim() == 0 {
            return Err(unusable(anyhow::anyhow!("its table has no columns")));
        }
        let counter =
            WordCounter::new(&files[0]).map_err(|error| unusable(anyhow::Error::from_boxed(error)))?;
        let hashes = files.map(|file| hex::encode(Sha256::digest(file)));
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        Ok(Self {
            label: format!("local {name}"),
            identity: identity(&hashes),
            dimensions: model.dim(),
            folder: Some(Folder { model, counter }),
            calls: cores(),
            queried: AtomicBool::new(false),
            stage,
        })
    }
}

/// The identity under which vectors are comparable: the content of the files, not their path.
fn identity(hashes: &[impl AsRef<str>; 3]) -> Fingerprint {
    let [tokenizer, model, config] = hashes;
    Fingerprint::of(["local", tokenizer.as_ref(), model.as_ref(), config.as_ref(), PREPARATION])
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn load(tokenizer: &[u8], model: &[u8], config: &[u8]) -> anyhow::Result<StaticModel> {
    // One thread per call and as many calls as cores: the queue keeps the cores busy, and the
    // tokenizer's own thread pool would compete with tokio's.
    tokenizers::utils::parallelism::set_parallelism(false);
    StaticModel::from_bytes(tokenizer, model, config, Some(true))
}

/// Embeds texts, in order. No text is truncated.
fn encode(model: &StaticModel, texts: &[String]) -> Vec<Vector> {
    let prepared: Vec<String> = texts.iter().map(|text| identifiers::split(text)).collect();
    let flat = model.encode_flat_with_args(&prepared, None);
    flat.chunks_exact(model.dim())
        .zip(texts)
        .map(
            |(row, text)| {
                if row.iter().all(|&x| x == 0.0) { unknown_text(text, model.dim()) } else { row.into() }
            },
        )
        .collect()
}

/// The vector of a text without any known piece; zero if no character is visible.
fn unknown_text(text: &str, dimensions: usize) -> Vector {
    let mut sum = vec![0.0f32; dimensions];
    for c in text.chars().filter(|c| !c.is_whitespace() && !c.is_control()) {
        for (word, part) in sum.chunks_mut(64).enumerate() {
            let bits = mixed(u64::from(u32::from(c)) << 32 | word as u64);
            for (bit, x) in part.iter_mut().enumerate() {
                *x += if bits >> bit & 1 == 1 { 1.0 } else { -1.0 };
            }
        }
    }
    let norm = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0.0 {
        for x in &mut sum {
            *x /= norm;
        }
    }
    sum.into()
}

/// Hashes a number to 64 bits (the finalizer of SplitMix64).
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[async_trait]
impl Embedder for LocalEmbedder {
    fn stage(&self) -> &str {
        &self.stage
    }

    fn identity(&self) -> &Fingerprint {
        &self.identity
    }

    fn label(&self) -> &str {
        &self.label
    }

    /// Measured with the built-in model.
    fn weak_below(&self) -> Option<f64> {
        self.folder.is_none().then_some(0.35)
    }

    fn limits(&self) -> EmbedLimits {
        EmbedLimits {
            inputs_per_call: INPUTS_PER_CALL,
            tokens_per_input: usize::MAX,
            tokens_per_call: 100_000,
            calls: self.calls,
        }
    }

    fn is_free(&self) -> bool {
        true
    }

    fn price_per_million_tokens(&self) -> f64 {
        0.0
    }

    /// An estimate on the high side; nothing is charged by it.
    fn count_tokens(&self, text: &str) -> usize {
        identifiers::estimate_tokens(text)
    }

    fn measure_tokens(&self, text: &str) -> usize {
        self.folder.as_ref().map_or(&*EMBEDDED_COUNTER, |folder| &folder.counter).count(text)
    }

    async fn dimensions(&self) -> StageResult<usize> {
        Ok(self.dimensions)
    }

    async fn embed(&self, inputs: &[&str], tokens: u64) -> StageResult<Embeddings> {
        let texts: Vec<String> = inputs.iter().map(|&text| text.to_owned()).collect();
        let model = self.folder.as_ref().map(|folder| folder.model.clone());
        let vectors = self.blocking(move || encode(model.as_ref().unwrap_or(&EMBEDDED), &texts)).await?;
        Ok(Embeddings { vectors, tokens })
    }

    /// The first query does not load the model, which takes ten times longer than all else that is
    /// done for it.
    async fn embed_queries(&self, inputs: &[&str], tokens: u64) -> StageResult<Embeddings> {
        let [text] = inputs else { return self.embed(inputs, tokens).await };
        if self.folder.is_some() || text.len() > only::LONGEST || self.queried.swap(true, Ordering::Relaxed) {
            return self.embed(inputs, tokens).await;
        }
        let texts = [(*text).to_owned()];
        let vectors = self.blocking(move || match only::model(TOKENIZER, MODEL, &texts[0]) {
            Ok(model) => encode(&model, &texts),
            Err(_) => encode(&EMBEDDED, &texts),
        });
        Ok(Embeddings { vectors: vectors.await?, tokens })
    }
}

impl LocalEmbedder {
    async fn blocking(
        &self,
        work: impl FnOnce() -> Vec<Vector> + Send + 'static,
    ) -> StageResult<Vec<Vector>> {
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            StageError::new(&self.stage, ErrorKind::Bug, "the local model failed").caused_by(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn embed(texts: &[&str]) -> Vec<Vector> {
        LocalEmbedder::embedded("local").embed(texts, 0).await.expect("embeds").vectors
    }

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn the_hashes_are_those_of_the_files() {
        for (file, hash) in [TOKENIZER, MODEL, CONFIG].into_iter().zip(EMBEDDED_HASHES) {
            assert_eq!(hex::encode(Sha256::digest(file)), hash);
        }
        assert_eq!(EMBEDDED.dim(), EMBEDDED_DIMENSIONS);
    }

    #[tokio::test]
    async fn the_vector_is_the_published_one() {
        let vectors = embed(&["fn parse_config(path: &Path) -> Result<Config>"]).await;
        for (given, expected) in vectors[0].iter().zip([0.00988, 0.01004, -0.05525]) {
            assert!((given - expected).abs() < 1e-5, "{given} {expected}");
        }
    }

    #[tokio::test]
    async fn identifiers_are_split_and_nothing_is_cut() {
        let long = "filler words ".repeat(2000);
        let vectors = embed(&["parseConfig", "parse Config", &long, &format!("{long} deletion guard")]).await;
        assert_eq!(vectors[0], vectors[1]);
        assert_ne!(vectors[2], vectors[3], "the end of a long text counts");
        assert!(vectors.iter().all(|v| (cosine(v, v) - 1.0).abs() < 1e-4));
    }

    #[test]
    fn the_estimate_of_tokens_is_near_the_tokenizers_count() {
        let tokenizer = tokenizers::Tokenizer::from_bytes(TOKENIZER).expect("loads");
        let model = include_str!("../../../models/static-256/README.md");
        for (what, text) in [("code", include_str!("mod.rs")), ("prose", model)] {
            let exact = tokenizer.encode_fast(identifiers::split(text), false).expect("encodes").len();
            let ratio = identifiers::estimate_tokens(text) as f64 / exact as f64;
            assert!((0.95..1.35).contains(&ratio), "{what}: {ratio}");
        }
    }

    #[tokio::test]
    async fn near_texts_are_nearer() {
        let v = embed(&["how is a file deleted", "fn delete_file(path: &Path)", "fn parse_color(hex: &str)"])
            .await;
        assert!(cosine(&v[0], &v[1]) > cosine(&v[0], &v[2]));
    }

    #[tokio::test]
    async fn a_text_of_unknown_characters_still_has_a_direction() {
        let hex_run = "0a1b2c3d4e5f".repeat(20); // one word, longer than the model reads
        let v = embed(&["🎉🎉🚀", "🚀🎉 🎉", "🥦", &hex_run, "party rocket", " \u{7}\n"]).await;
        assert!(cosine(&v[0], &v[1]) > 0.99, "the same characters");
        assert!(cosine(&v[0], &v[2]).abs() < 0.3 && cosine(&v[0], &v[4]).abs() < 0.3);
        assert!((cosine(&v[3], &v[3]) - 1.0).abs() < 1e-4);
        assert!(v[5].iter().all(|&x| x == 0.0), "the queue rejects it");
        let refused = LocalEmbedder::embedded("local").embed_one(" \u{7}\n").await.expect_err("refused");
        assert_eq!(refused.kind, ErrorKind::Refused);
    }

    #[tokio::test]
    async fn a_folder_with_the_same_model_is_the_same_embedder() {
        let folder = tempfile::tempdir().expect("temp dir");
        for (name, bytes) in
            [("tokenizer.json", TOKENIZER), ("model.safetensors", MODEL), ("config.json", CONFIG)]
        {
            std::fs::write(folder.path().join(name), bytes).expect("written");
        }
        let ours = LocalEmbedder::from_folder("local", folder.path()).expect("loads");
        assert_eq!(ours.identity(), LocalEmbedder::embedded("other").identity());
        let vectors = ours.embed(&["text"], 1).await.expect("embeds").vectors;
        assert_eq!(vectors, embed(&["text"]).await);
    }

    #[test]
    fn a_folder_without_a_model_is_named() {
        let folder = tempfile::tempdir().expect("temp dir");
        let error = LocalEmbedder::from_folder("mine", folder.path()).err().expect("no model");
        assert_eq!(error.kind, ErrorKind::Misconfigured);
        assert!(error.message.contains("tokenizer.json"), "{error}");
        for name in ["tokenizer.json", "model.safetensors", "config.json"] {
            std::fs::write(folder.path().join(name), "{}").expect("written");
        }
        let error = LocalEmbedder::from_folder("mine", folder.path()).err().expect("no model");
        assert!(error.message.contains("is not a valid model2vec model"), "{error}");
    }
}
