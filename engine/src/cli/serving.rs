//! Read-only commands while a daemon serves the ledger. If the file on disk was refused, they use
//! the daemon's running configuration and query the daemon for what they cannot read themselves.

use std::path::Path;

use anyhow::{Context as _, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::QueryRequest;
use crate::config::{Api, Config, Problems, StatePlace};
use crate::daemon::DaemonRecord;
use crate::model::VerifyReport;
use crate::net::read_body;
use crate::search::{Answer, Request};

use super::daemon_client::DaemonClient;

/// Maximum size of a response in bytes: matches with their texts, or examples of some hundreds of
/// projects.
const LONGEST_ANSWER: usize = 64 << 20;

/// The configuration that a read-only command uses.
pub(super) enum Basis {
    /// The file on disk.
    File(Box<Config>),
    /// The daemon that serves the ledger, since the file on disk was refused.
    Daemon(Box<Serving>),
}

/// A daemon that runs on an earlier version of a file that was refused.
pub(super) struct Serving {
    /// The state.
    pub(super) state: StatePlace,
    /// The daemon's record next to the ledger.
    pub(super) record: DaemonRecord,
    /// `[api]` of the file, as far as it could be read.
    api: Option<Api>,
}

impl Serving {
    /// The daemon that serves a refused file; `None` if there is none.
    pub(super) fn of(problems: &Problems) -> Option<Self> {
        // A wrong `--project` on the command line is not a problem of the file.
        if problems.list().iter().all(|problem| problem.path == "--project") {
            return None;
        }
        let salvaged = problems.salvaged();
        let record = DaemonRecord::read(&salvaged.state)?;
        let serves = same_file(&record.config, problems.file());
        serves.then_some(Self { state: salvaged.state, record, api: salvaged.api })
    }

    /// The projects of these names, or all enabled ones if empty.
    pub(super) fn chosen(&self, names: &[String]) -> Vec<String> {
        let projects = self.record.projects.iter();
        let chosen = projects
            .filter(|project| if names.is_empty() { project.enabled } else { names.contains(&project.name) });
        let mut chosen: Vec<String> = chosen.map(|project| project.name.clone()).collect();
        // The daemon reports unknown projects.
        let unknown: Vec<String> = names.iter().filter(|name| !chosen.contains(name)).cloned().collect();
        chosen.extend(unknown);
        chosen
    }

    /// Lets the daemon search the projects, which it ranks together.
    pub(super) async fn query(&self, names: &[String], requests: &[Request]) -> anyhow::Result<Vec<Answer>> {
        let daemon = DaemonClient::new(self.api.as_ref(), &self.record)?;
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let body = QueryRequest::of(request, self.chosen(names));
            answers.push(ask(&daemon, daemon.post("/query").json(&body)).await?);
        }
        Ok(answers)
    }

    /// Makes the daemon compare ledger and stores.
    pub(super) async fn verify(&self, names: &[String]) -> anyhow::Result<VerifyReport> {
        let daemon = DaemonClient::new(self.api.as_ref(), &self.record)?;
        let mut report = VerifyReport::default();
        for project in self.chosen(names) {
            let name = utf8_percent_encode(&project, NON_ALPHANUMERIC);
            let part: VerifyReport =
                ask(&daemon, daemon.get_authorized(&format!("/verify?project={name}"))).await?;
            report.projects.extend(part.projects);
        }
        Ok(report)
    }
}

async fn ask<T: DeserializeOwned>(
    daemon: &DaemonClient,
    request: reqwest::RequestBuilder,
) -> anyhow::Result<T> {
    let address = daemon.address();
    let answer = request.send().await.with_context(|| format!("failed to reach the daemon on {address}"))?;
    let status = answer.status().as_u16();
    let body = read_body(answer, LONGEST_ANSWER).await.context("failed to read the daemon's answer")?;
    let body = body.with_context(|| format!("the answer of the daemon on {address} is too long"))?;
    if status != 200 {
        let error: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = error["error"]["message"].as_str().unwrap_or("no reason").to_owned();
        bail!("the daemon on {address} answers {status}: {message}");
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("what listens on {address} does not answer as a daemon does"))
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
