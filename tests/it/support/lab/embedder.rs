//! The embedder: a pure function of identity and text that counts the texts it embeds.

use std::time::Duration;

use async_trait::async_trait;
use reposync::embed::{EmbedLimits, Embedder, Embeddings};
use reposync::model::{Fingerprint, StageError, StageResult};

use super::{Fault, Lab, On, REFUSED, Turn};

/// The embedder; with `lab` `None` it counts nothing, for the fresh build.
pub(crate) struct LabEmbedder {
    lab: Option<Lab>,
    identity: Fingerprint,
    is_free: bool,
}

impl LabEmbedder {
    pub(crate) fn new(lab: Option<Lab>, model: u8) -> Self {
        Self { lab, identity: Fingerprint::of([[model]]), is_free: false }
    }

    /// The same, free of cost or not.
    pub(crate) fn free(self, is_free: bool) -> Self {
        Self { is_free, ..self }
    }

    fn vectors(&self, inputs: &[&str]) -> Embeddings {
        let vector = |text: &&str| {
            let hash = Fingerprint::of([self.identity.as_str(), text]);
            hash.as_str().bytes().take(4).map(f32::from).collect()
        };
        Embeddings { vectors: inputs.iter().map(vector).collect(), tokens: inputs.len() as u64 }
    }
}

#[async_trait]
impl Embedder for LabEmbedder {
    fn stage(&self) -> &'static str {
        "embedder"
    }

    fn identity(&self) -> &Fingerprint {
        &self.identity
    }

    fn label(&self) -> &'static str {
        "lab"
    }

    fn limits(&self) -> EmbedLimits {
        EmbedLimits { inputs_per_call: 3, tokens_per_input: 1000, tokens_per_call: 10_000, calls: 2 }
    }

    fn is_free(&self) -> bool {
        self.is_free
    }

    fn price_per_million_tokens(&self) -> f64 {
        0.0
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    fn linger(&self) -> Duration {
        Duration::ZERO
    }

    async fn dimensions(&self) -> StageResult<usize> {
        Ok(4)
    }

    async fn embed(&self, inputs: &[&str], _: u64) -> StageResult<Embeddings> {
        let Some(lab) = &self.lab else { return Ok(self.vectors(inputs)) };
        let refuses = matches!(lab.lock().fault, Some(Fault::RefusedTexts));
        if refuses && inputs.iter().any(|text| text.contains(REFUSED)) {
            return Err(StageError::refused("embedder", "a text is refused"));
        }
        let turn = lab.turn(On::Embed);
        match turn {
            Turn::Dead => std::future::pending().await,
            Turn::Kill { after: false } => return lab.die().await,
            Turn::Fail { after: false } => return Err(StageError::transient("embedder", "no answer")),
            _ => {}
        }
        let lost = !matches!(turn, Turn::Go);
        {
            let mut outside = lab.lock();
            for text in inputs {
                let key = (self.identity.clone(), (*text).to_owned());
                *outside.embedded.entry(key.clone()).or_default() += 1;
                if lost {
                    *outside.allowed.entry(key).or_default() += 1;
                }
            }
        }
        match turn {
            Turn::Kill { .. } => lab.die().await,
            Turn::Fail { .. } => Err(StageError::transient("embedder", "the answer is lost")),
            _ => Ok(self.vectors(inputs)),
        }
    }
}
