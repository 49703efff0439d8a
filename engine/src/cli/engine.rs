//! What commands ask of the engine, in one place: each function is the engine's work for one
//! command, and knows nothing of arguments or of how its answer is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use chrono::Utc;
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::chunk::component::Lock;
use crate::config::{Config, Need};
use crate::daemon::{Daemon, DaemonRecord, Listening};
use crate::factory::{self, RunFlags, StageFactory};
use crate::model::{
    DeclaredProject, EventSink, Explanation, ProjectExplanation, Report, Running, StageError, StatusView,
    VerifyReport,
};
use crate::net::read_body;
use crate::plan::{Plan, Prune};
use crate::search::{Answer, Request, search};
use crate::state::{RunQuery, RunRow};
use crate::sync::{self, Candidate, Options, PlanWriter, ProjectSearch, SavedPlan};

use super::daemon_client::DaemonClient;
use super::render::history::PastRun;
use super::run_options::RunOptions;

/// The arguments of `plan`.
#[derive(Debug, Clone, Default)]
pub(super) struct PlanRequest {
    pub(super) options: RunOptions,
    /// Fetch and chunk the contents to count chunks, texts and tokens.
    pub(super) exact: bool,
    /// Path to save the plan to.
    pub(super) out: Option<PathBuf>,
}

/// The arguments of `apply`.
#[derive(Debug, Default)]
pub(super) struct ApplyRequest {
    pub(super) options: RunOptions,
    /// The saved plan to execute, with its options.
    pub(super) saved: Option<SavedPlan>,
    /// Refuse components that differ from `reposync.lock`.
    pub(super) locked: bool,
    /// Wait for another run to end instead of failing.
    pub(super) wait: bool,
}

/// Plans a run. Needs no lock, and does not write to the ledger or to stores.
pub(super) async fn plan(
    config: &Config,
    request: PlanRequest,
    events: EventSink,
    cancel: CancellationToken,
) -> anyhow::Result<Plan> {
    let PlanRequest { options: flags, exact, out } = request;
    check_names(config, &flags.projects.projects)?;
    let out = out.as_deref().map(PlanWriter::create).transpose()?;
    let factory = Arc::new(StageFactory::new(cancel.clone(), events.clone()));
    let candidates = candidates(&factory, config, &flags.projects.projects).await?;
    let engine = Arc::new(factory.engine(
        config,
        factory::open_for_reading(&config.engine.state).await?,
        events,
        cancel,
    ));
    Ok(sync::plan(engine, candidates, options(config, &flags), exact, out).await?)
}

/// The projects of these names (all enabled ones if empty), with their stages.
async fn candidates(
    factory: &Arc<StageFactory>,
    config: &Config,
    names: &[String],
) -> anyhow::Result<Vec<Candidate>> {
    let names = names.to_vec();
    off_executor(factory, config, move |factory, config| factory.candidates(config, &names)).await
}

/// Makes stages on a blocking thread. Components are compiled and started then; on a thread of the
/// executor one that prints would panic.
async fn off_executor<T: Send + 'static>(
    factory: &Arc<StageFactory>,
    config: &Config,
    work: impl FnOnce(&StageFactory, &Config) -> T + Send + 'static,
) -> anyhow::Result<T> {
    let (factory, config) = (Arc::clone(factory), config.clone());
    tokio::task::spawn_blocking(move || work(&factory, &config)).await.context("failed to make the stages")
}

/// Executes a run.
pub(super) async fn apply(
    config: &Config,
    request: ApplyRequest,
    events: EventSink,
    cancel: CancellationToken,
) -> anyhow::Result<Report> {
    let ApplyRequest { options: flags, saved, locked, wait } = request;
    let names = saved.as_ref().map_or_else(|| flags.projects.projects.clone(), SavedPlan::projects);
    check_names(config, &names)?;
    let (state, lease) = factory::open_for_run(&config.engine.state, wait).await?;
    let factory = Arc::new(StageFactory::new(cancel.clone(), events.clone()));
    let lock_file = config.path.with_file_name("reposync.lock");
    let components = off_executor(&factory, config, |factory, config| {
        factory::clear_leftovers(config);
        factory.components(config)
    })
    .await?;
    if locked {
        check_components(&lock_file, components.as_ref().map_err(Clone::clone)?)?;
    }
    let selected = candidates(&factory, config, &names).await?;
    let engine = Arc::new(factory.engine(config, state, events, cancel));
    let report = sync::run(engine, lease.fence(), selected, options(config, &flags), saved, "apply").await?;
    // A component that cannot be loaded fails its projects, which is in the report.
    if let Ok(components) = components
        && (components != Lock::default() || lock_file.exists())
    {
        components.write(&lock_file).with_context(|| format!("cannot write `{}`", lock_file.display()))?;
    }
    Ok(report)
}

/// `--locked`: checks that the components are those of `reposync.lock`.
fn check_components(lock_file: &Path, components: &Lock) -> anyhow::Result<()> {
    let locked = Lock::read(lock_file).with_context(|| format!("cannot read `{}`", lock_file.display()))?;
    let differences = locked.unwrap_or_default().differences(components);
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("components differ from `{}`: {}", lock_file.display(), differences.join("; "));
    Err(StageError::misconfigured("components", message)
        .hint("if they are meant to, run `reposync apply` without `--locked`: it writes the lock anew")
        .into())
}

/// The options of a run, from the file and the command line.
pub(super) fn options(config: &Config, flags: &RunOptions) -> Options {
    let RunOptions { projects, full, prune, allow_deletes, allow_cost } = flags;
    let flags = RunFlags {
        full: *full,
        prune: if *prune { Prune::Asked } else { Prune::No },
        allow_deletes: *allow_deletes,
        allow_cost: *allow_cost,
        whole_file: projects.projects.is_empty(),
    };
    factory::options(config, flags)
}

/// Checks that the selected projects exist.
fn check_names(config: &Config, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        if config.project(name).is_none() {
            let known: Vec<&str> = config.projects.iter().map(|project| project.name.as_str()).collect();
            bail!("there is no project `{name}` in the file; it has {}", known.join(", "));
        }
    }
    Ok(())
}

/// Runs the daemon until it is cancelled.
pub(super) async fn daemon(config: Config, need: Need, cancel: CancellationToken) -> anyhow::Result<()> {
    // Bind the port first, so that a port in use is reported before anything starts.
    let tls = config.api.tls.clone();
    let tls = tls.map(|files| api::TlsFiles { cert: files.cert, key: files.key });
    let listen = api::Listen { listen: config.api.listen, probe: config.api.probe_listen, tls };
    let server = api::bind(listen).await?;
    let listening = server.listening();
    let metrics = Arc::new(api::Metrics::new());
    let daemon = Daemon::open(config, need, metrics.observer(), cancel.clone()).await?;
    let serving = server.start(daemon.handle(), metrics)?;
    let working = daemon.start(listening)?;
    let Listening { listen: address, probe, tls } = listening;
    tracing::info!(%address, tls, "the daemon listens");
    if let Some(address) = probe {
        tracing::info!(%address, "the daemon listens for probes");
    }
    // If one of the two ends, the other is stopped.
    let serving = serving.ended().inspect(|_| cancel.cancel());
    let working = working.inspect(|_| cancel.cancel());
    let (served, worked) = tokio::join!(serving, working);
    served?;
    Ok(worked?)
}

/// Makes the daemon of this file reload it; returns the result.
pub(super) async fn reload(config: &Config) -> anyhow::Result<Reloaded> {
    let Some(record) = DaemonRecord::read(&config.engine.state) else {
        bail!("no daemon serves the ledger `{}`", config.engine.state.display());
    };
    let client = DaemonClient::new(Some(&config.api), &record)?;
    let address = client.address();
    let started = Instant::now();
    loop {
        let answer = client
            .post("/reload")
            .send()
            .await
            .with_context(|| format!("failed to reach the daemon on {address}"))?;
        let status = answer.status().as_u16();
        // The daemon accepts a changed token only once it has reloaded the file.
        if matches!(status, 401 | 403) && started.elapsed() < TAKEN_UP {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        }
        let body = read_body(answer, LONGEST_ANSWER).await.context("failed to read the daemon's answer")?;
        let body = body.with_context(|| format!("the answer of the daemon on {address} has no end"))?;
        let body: serde_json::Value = serde_json::from_slice(&body)
            .with_context(|| format!("what listens on {address} does not answer as a daemon does"))?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        return match status {
            200 => Ok(Reloaded {
                refused: false,
                message: format!("{}: {}", text(&body["outcome"]), text(&body["message"])),
            }),
            422 => Ok(Reloaded { refused: true, message: text(&body["message"]) }),
            _ => bail!("the daemon on {address} answers {status}: {}", text(&body["error"]["message"])),
        };
    }
}

/// The health that the daemon of this file reports: `healthy` or `degraded`.
///
/// Fails if no daemon serves the ledger, or if it does not respond in time.
pub(super) async fn health(config: &Config) -> anyhow::Result<String> {
    let Some(record) = DaemonRecord::read(&config.engine.state) else {
        bail!("no daemon serves the ledger `{}`", config.engine.state.display());
    };
    let client = DaemonClient::new(Some(&config.api), &record)?;
    let address = client.address();
    let answer = client.get("/health").timeout(HEALTH).send().await;
    let answer = answer.with_context(|| format!("failed to reach the daemon on {address}"))?;
    let status = answer.status();
    if !status.is_success() {
        bail!("the daemon on {address} answers {}", status.as_u16());
    }
    let body = read_body(answer, LONGEST_ANSWER).await.context("failed to read the daemon's answer")?;
    let body: serde_json::Value = serde_json::from_slice(&body.unwrap_or_default())
        .with_context(|| format!("what listens on {address} does not answer as a daemon does"))?;
    Ok(body["status"].as_str().unwrap_or("unknown").to_owned())
}

/// Time-out of a health check, shorter than that of a container's health check.
const HEALTH: Duration = Duration::from_secs(2);

/// The result of a reload.
#[derive(Debug)]
pub(super) struct Reloaded {
    /// True if the file was refused; the running configuration is kept.
    pub(super) refused: bool,
    /// The result in one line.
    pub(super) message: String,
}

/// Maximum response in bytes: every problem of a file with some hundreds of projects.
const LONGEST_ANSWER: usize = 4 << 20;
/// How long the daemon may take to notice that the file was saved.
const TAKEN_UP: Duration = Duration::from_secs(8);

/// How far each project is behind its repositories.
pub(super) async fn status(path: &Path, projects: &[DeclaredProject]) -> anyhow::Result<StatusView> {
    let state = factory::open_for_reading(path).await?;
    let mut view = state.status(projects, Utc::now()).await?;
    view.running = state.holder().await?;
    if let Some(daemon) = DaemonRecord::read(path) {
        view.refused_config = daemon.refused;
        for project in &mut view.projects {
            project.next_run = daemon.next_runs.get(&project.project).copied();
        }
    }
    Ok(view)
}

/// The process that runs on this ledger, if any.
pub(super) async fn running(state: &Path) -> anyhow::Result<Option<Running>> {
    Ok(factory::open_for_reading(state).await?.holder().await?)
}

/// A page of past runs, newest first. `None`: no run has the id `query.before`.
pub(super) async fn history(state: &Path, query: &RunQuery) -> anyhow::Result<Option<Vec<PastRun>>> {
    let rows = factory::open_for_reading(state).await?.runs(query).await?;
    Ok(rows.map(|rows| rows.into_iter().map(past).collect()))
}

/// A past run by its id or a prefix of it; `None` if there is none.
pub(super) async fn past_run(state: &Path, run: &str) -> anyhow::Result<Option<PastRun>> {
    Ok(factory::open_for_reading(state).await?.run_like(run).await?.map(past))
}

fn past(row: RunRow) -> PastRun {
    let started_at = row.started_at.parse().unwrap_or_default();
    PastRun {
        run: row.id,
        request: row.request,
        project: row.project,
        trigger: row.trigger,
        started_at,
        report: row.report,
    }
}

/// Executes searches over these projects (none: all enabled ones).
pub(super) async fn query(
    config: &Config,
    names: &[String],
    requests: &[Request],
) -> anyhow::Result<Vec<Answer>> {
    let factory = StageFactory::new(CancellationToken::new(), EventSink::none());
    let projects = searches(&factory, config, names)?;
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.push(search(&projects, request).await?);
    }
    Ok(answers)
}

/// These projects (none: all enabled ones), as a search wants them.
pub(super) fn searches(
    factory: &StageFactory,
    config: &Config,
    names: &[String],
) -> anyhow::Result<Vec<ProjectSearch>> {
    check_names(config, names)?;
    Ok(factory.searches(config, names)?)
}

/// True if the ledger records no vectors of these projects.
pub(super) async fn nothing_indexed(state: &Path, projects: &[String]) -> anyhow::Result<bool> {
    let recorded = factory::open_for_reading(state).await?.projects().await?;
    Ok(recorded.iter().all(|project| project.vectors == 0 || !projects.contains(&project.name)))
}

/// Explains how files with a path are treated. Components are loaded off the executor.
pub(super) async fn explain(config: Config, names: Vec<String>, path: String) -> anyhow::Result<Explanation> {
    check_names(&config, &names)?;
    let state = factory::open_for_reading(&config.engine.state).await?;
    let factory = Arc::new(StageFactory::new(CancellationToken::new(), EventSink::none()));
    let mut projects = Vec::new();
    for project in factory::chosen(&config, &names) {
        let (mut sought, mut known) = (path.as_str(), state.explain_file(&project.name, None, &path).await?);
        // `REPOSITORY:PATH`, unless the colon is part of the path.
        if known.is_empty()
            && let Some((repository, rest)) = path.split_once(':')
            && !rest.is_empty()
        {
            (sought, known) = (rest, state.explain_file(&project.name, Some(repository), rest).await?);
        }
        let mut explained = ProjectExplanation {
            project: project.name.clone(),
            files: known,
            ..ProjectExplanation::default()
        };
        let own = project.clone();
        match off_executor(&factory, &config, move |factory, config| factory.files(config, &own)).await? {
            Ok(files) => {
                explained.left_out = files.left_out(sought);
                explained.chunkers = files.chain(sought);
            }
            Err(error) => explained.error = Some(error.one_line()),
        }
        projects.push(explained);
    }
    Ok(Explanation { path, projects })
}

/// Compares ledger and stores, and repairs differences with `repair`.
pub(super) async fn verify(
    config: &Config,
    projects: &[String],
    repair: bool,
    events: EventSink,
    cancel: CancellationToken,
) -> anyhow::Result<VerifyReport> {
    check_names(config, projects)?;
    let factory = Arc::new(StageFactory::new(cancel.clone(), events.clone()));
    let stores = factory.stores(config, projects);
    // Only the selected projects are written again; orphans are not touched.
    let options = Options { whole_file: false, ..options(config, &RunOptions::default()) };
    // Checking needs no lock; repairing is a writing run.
    let path = &config.engine.state;
    let (state, lease) = if repair {
        let (state, lease) = factory::open_for_run(path, false).await?;
        (state, Some(lease))
    } else {
        (factory::open_for_reading(path).await?, None)
    };
    let mut findings = sync::check(&*state, &stores, &options.declared, &cancel).await;
    if let Some(lease) = lease
        && findings.iter().any(|finding| finding.report.is_open())
    {
        sync::mend(&*state, lease.fence(), &stores, &mut findings).await?;
        let again = candidates(&factory, config, projects).await?;
        let engine = Arc::new(factory.engine(config, Arc::clone(&state), events, cancel.clone()));
        sync::run(engine, lease.fence(), again, options.clone(), None, "verify").await?;
        let after = sync::check(&*state, &stores, &options.declared, &cancel).await;
        for (finding, after) in findings.iter_mut().zip(after) {
            let left = after.report.missing.min(finding.report.missing);
            finding.report.written = finding.report.missing - left;
            finding.report.error = finding.report.error.take().or(after.report.error);
        }
    }
    let projects = findings.into_iter().map(|finding| finding.report).collect();
    Ok(VerifyReport { repair, projects })
}
