//! Runs a component for its author (`reposync plugin`): the same chunks as in a run, on an instance
//! that is reused, with measurements.

use std::time::{Duration, Instant};

use super::chunker::{Answer, ComponentChunker};
use super::fault::Fault;
use super::instance::Instance;
use super::said::SaidLine;
use crate::model::{Chunk, Document};

/// Splits documents on one instance of a component.
pub struct Trial<'a> {
    chunker: &'a ComponentChunker,
    instance: Option<Instance>,
}

/// The result for one document.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Chunks that satisfy the contract.
    Chunks(Vec<Chunk>),
    /// The component declined the document.
    NotMine,
    /// The component reported an error, which the contract allows.
    Refused(String),
    /// The component violated the contract or failed.
    Broke {
        /// What happened, in one line.
        what: String,
        /// What its author can do.
        remedy: String,
        /// Backtrace, standard error and log of a fault.
        details: Option<String>,
    },
}

/// The result and measurements for one document.
#[derive(Debug)]
pub struct Outcome {
    /// The result.
    pub verdict: Verdict,
    /// Wall time of the call, including validation.
    pub took: Duration,
    /// Instructions executed; `None` if the host does not count them.
    pub fuel: Option<u64>,
    /// Output of the component. Empty after a fault, because `details` contains it.
    pub said: Vec<SaidLine>,
}

impl<'a> Trial<'a> {
    /// The first document starts the instance.
    pub fn new(chunker: &'a ComponentChunker) -> Self {
        Self { chunker, instance: None }
    }

    /// Memory and tables of the instance, in bytes.
    pub fn memory(&self) -> usize {
        self.instance.as_ref().map_or(0, Instance::memory)
    }

    /// Splits one document. After a fault the next document gets a new instance.
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
                Verdict::Broke { what, remedy: "fix what the component returns".to_owned(), details: None }
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
    /// Time to start and configure an instance: the minimum of `times` attempts.
    pub fn start_time(&self, times: usize) -> Duration {
        let once = |_| {
            let begun = Instant::now();
            // It started when the stage was loaded, so a fault here would be transient.
            drop(self.fresh());
            begun.elapsed()
        };
        (0..times.max(1)).map(once).min().unwrap_or_default()
    }
}
