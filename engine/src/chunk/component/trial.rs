//! A component on the bench: the same chunks as in a run, on an instance that its author chooses,
//! and what they cost. For `reposync plugin`.

use std::time::{Duration, Instant};

use super::chunker::{Answer, ComponentChunker};
use super::fault::Fault;
use super::instance::Instance;
use super::said::SaidLine;
use crate::model::{Chunk, Document};

/// One running instance of a component.
pub struct Trial<'a> {
    chunker: &'a ComponentChunker,
    instance: Option<Instance>,
}

/// What a component made of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Chunks that keep the contract.
    Chunks(Vec<Chunk>),
    /// It leaves the document to others.
    NotMine,
    /// It says why it gives no chunks: its right.
    Refused(String),
    /// It broke the contract, or came to grief.
    Broke {
        /// What happened, in one line.
        what: String,
        /// What to do.
        remedy: String,
        /// Backtrace, standard error and log of a fault.
        details: Option<String>,
    },
}

/// What a document gave on a [`Trial`].
#[derive(Debug)]
pub struct Outcome {
    /// The answer.
    pub verdict: Verdict,
    /// How long the call took, checks included.
    pub took: Duration,
    /// Instructions executed, where the host counts them.
    pub fuel: Option<u64>,
    /// What the component logged and printed. Empty after a fault, whose details show it.
    pub said: Vec<SaidLine>,
}

impl<'a> Trial<'a> {
    /// No instance yet: the first document gets a fresh one.
    pub fn new(chunker: &'a ComponentChunker) -> Self {
        Self { chunker, instance: None }
    }

    /// Bytes of memory that the instance holds.
    pub fn memory(&self) -> usize {
        self.instance.as_ref().map_or(0, Instance::memory)
    }

    /// Cuts one document. After a fault the next document gets a fresh instance.
    pub fn chunk(&mut self, document: &Document<'_>) -> Outcome {
        let mut instance = match self.instance.take().map_or_else(|| self.chunker.fresh(), Ok) {
            Ok(instance) => instance,
            Err(fault) => return self.broke(&fault, Duration::ZERO),
        };
        let begun = Instant::now();
        let answer = self.chunker.call(&mut instance, document);
        let took = begun.elapsed();
        let verdict = match answer {
            Ok(Answer::Chunks(chunks)) => Verdict::Chunks(chunks),
            Ok(Answer::NotMine) => Verdict::NotMine,
            Ok(Answer::BadDocument(why) | Answer::Refused(why)) => Verdict::Refused(why),
            Ok(Answer::Breach(what)) => {
                Verdict::Broke { what, remedy: "fix what the component answers".to_owned(), details: None }
            }
            Err(fault) => return self.broke(&fault, took),
        };
        let (fuel, said) = (instance.fuel_used(), instance.said());
        self.instance = Some(instance);
        Outcome { verdict, took, fuel, said }
    }

    fn broke(&self, fault: &Fault, took: Duration) -> Outcome {
        let verdict = Verdict::Broke {
            what: fault.what(),
            remedy: fault.author_remedy(self.chunker.stage_name()),
            details: Some(fault.details()),
        };
        Outcome { verdict, took, fuel: None, said: Vec::new() }
    }
}

impl ComponentChunker {
    /// How long starting and configuring an instance takes, best of `times`.
    pub fn start_time(&self, times: usize) -> Duration {
        let once = |_| {
            let begun = Instant::now();
            // It started when the stage was loaded; a fault now would be one of its own luck.
            drop(self.fresh());
            begun.elapsed()
        };
        (0..times.max(1)).map(once).min().unwrap_or_default()
    }
}
