//! The series of `/metrics`: counters from events, gauges from the snapshot at the time of the request.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::queue_metrics::QueueMetrics;
use crate::daemon::{Observed, Observer, Role, View};
use crate::model::{Event, GuardKind, Outcome, Report, ServiceKind, StatusView};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    service: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    service: &'static str,
    stage: String,
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProjectLabel {
    project: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GuardLabels {
    project: String,
    guard: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StageLabel {
    stage: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

type FloatCounter = Counter<f64, AtomicU64>;
type FloatGauge = Gauge<f64, AtomicU64>;

/// Seconds of a call to a service: from a local answer to a time-out.
#[derive(Clone)]
struct CallSeconds;

impl MetricConstructor<Histogram> for CallSeconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
    }
}

/// Items in a call: from one to the largest batch of any service.
#[derive(Clone)]
struct BatchSizes;

impl MetricConstructor<Histogram> for BatchSizes {
    fn new_metric(&self) -> Histogram {
        Histogram::new([1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0])
    }
}

/// The series. All of them are there, at zero, from the start.
pub struct Metrics {
    pub(super) registry: Registry,
    /// The series without the label of a project or a stage.
    pub(super) aggregate: Registry,
    sync_duration: Histogram,
    files_processed: Counter,
    files_removed: Counter,
    files_failed: Counter,
    embeddings: Counter,
    errors: Family<ErrorLabels, Counter>,
    calls: Family<CallLabels, Histogram, CallSeconds>,
    batches: Family<CallLabels, Histogram, BatchSizes>,
    waits: Family<StageLabel, FloatCounter>,
    cache_hits: Counter,
    tokens: Family<StageLabel, Counter>,
    cost: Family<ProjectLabel, FloatCounter>,
    runs: Family<OutcomeLabel, Counter>,
    reloads: Family<OutcomeLabel, Counter>,
    component_faults: Family<StageLabel, Counter>,
    webhooks: Family<OutcomeLabel, Counter>,
    wrong_tokens: Counter,
    last_success: Family<ProjectLabel, FloatGauge>,
    seconds_behind: Family<ProjectLabel, FloatGauge>,
    commits_behind: Family<ProjectLabel, FloatGauge>,
    vectors: Family<ProjectLabel, Gauge>,
    withheld: Family<GuardLabels, Gauge>,
    running: Gauge,
    queued: Gauge,
    degraded: Gauge,
    generation: Gauge,
    dispatcher: Gauge,
    pub(super) queue: QueueMetrics,
}

/// Services and the types of their errors that are known beforehand.
const ERRORS: [(&str, &[&str]); 5] = [
    ("github", &["rate_limit", "network", "authentication", "refused"]),
    ("embedding", &["embedding", "rate_limit"]),
    ("vectordb", &["rate_limit", "server", "connection", "auth", "refused", "invalid_answer"]),
    ("notification", &["webhook"]),
    ("sync", &["repository", "file", "project"]),
];

impl Metrics {
    /// All series at zero.
    #[expect(clippy::new_without_default, reason = "a registry is made once, by name")]
    pub fn new() -> Self {
        // A run takes from a moment to hours.
        let sync_duration = Histogram::new([0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0]);
        let metrics = Self {
            sync_duration,
            files_processed: Counter::default(),
            files_removed: Counter::default(),
            files_failed: Counter::default(),
            embeddings: Counter::default(),
            errors: Family::default(),
            calls: Family::new_with_constructor(CallSeconds),
            batches: Family::new_with_constructor(BatchSizes),
            waits: Family::default(),
            cache_hits: Counter::default(),
            tokens: Family::default(),
            cost: Family::default(),
            runs: Family::default(),
            reloads: Family::default(),
            component_faults: Family::default(),
            webhooks: Family::default(),
            wrong_tokens: Counter::default(),
            last_success: Family::default(),
            seconds_behind: Family::default(),
            commits_behind: Family::default(),
            vectors: Family::default(),
            withheld: Family::default(),
            running: Gauge::default(),
            queued: Gauge::default(),
            degraded: Gauge::default(),
            generation: Gauge::default(),
            dispatcher: Gauge::default(),
            queue: QueueMetrics::default(),
            registry: Registry::default(),
            aggregate: Registry::default(),
        };
        for (service, types) in ERRORS {
            for r#type in types {
                metrics.errors.get_or_create_owned(&ErrorLabels { service, r#type });
            }
        }
        for outcome in [Outcome::Done, Outcome::Partial, Outcome::Failed, Outcome::Interrupted] {
            metrics.runs.get_or_create_owned(&OutcomeLabel { outcome: outcome.as_str() });
        }
        for outcome in ["applied", "unchanged", "refused"] {
            metrics.reloads.get_or_create_owned(&OutcomeLabel { outcome });
        }
        for outcome in ["accepted", "ignored", "unsigned", "too_large", "busy", "timeout"] {
            metrics.webhooks.get_or_create_owned(&OutcomeLabel { outcome });
        }
        let (mut registry, mut aggregate) =
            (Registry::with_prefix("reposync"), Registry::with_prefix("reposync"));
        metrics.register(&mut registry);
        metrics.register_named(&mut registry);
        metrics.register(&mut aggregate);
        Self { registry, aggregate, ..metrics }
    }

    /// The series that name neither a project nor a stage.
    fn register(&self, registry: &mut Registry) {
        registry.register("sync_duration_seconds", "Seconds that a run took", self.sync_duration.clone());
        registry.register("files_processed", "Files indexed", self.files_processed.clone());
        registry.register("files_removed", "Files that left the index", self.files_removed.clone());
        registry.register("files_failed", "Files that failed", self.files_failed.clone());
        registry.register(
            "embeddings_generated",
            "Texts that an embedder made vectors of",
            self.embeddings.clone(),
        );
        registry.register("errors", "Errors by service and type", self.errors.clone());
        registry.register("cache_hits", "Texts served by the vector cache", self.cache_hits.clone());
        registry.register("runs", "Runs by outcome", self.runs.clone());
        registry.register("config_reloads", "Reloads of the file by outcome", self.reloads.clone());
        registry.register("webhooks", "Webhook deliveries by what became of them", self.webhooks.clone());
        registry.register(
            "api_wrong_tokens",
            "Requests with a token that is not the one of the API",
            self.wrong_tokens.clone(),
        );
        registry.register("runs_active", "Runs under way", self.running.clone());
        registry.register("runs_queued", "Runs that wait for the one before them", self.queued.clone());
        registry.register(
            "degraded",
            "1 while the file is refused or a project failed",
            self.degraded.clone(),
        );
        let help = "1 if this daemon starts runs, 0 if another one does";
        registry.register("dispatcher", help, self.dispatcher.clone());
        registry.register("config_generation", "Counts the configurations taken up", self.generation.clone());
        self.queue.register(registry);
    }

    /// The series of single projects and stages.
    fn register_named(&self, registry: &mut Registry) {
        registry.register("call_seconds", "Seconds of calls to services", self.calls.clone());
        registry.register("call_items", "Items in calls to services", self.batches.clone());
        registry.register(
            "wait_seconds",
            "Seconds that stages waited for their services",
            self.waits.clone(),
        );
        registry.register("tokens", "Tokens sent to embedders", self.tokens.clone());
        registry.register("cost", "Price of the tokens, in the currency of the stage", self.cost.clone());
        registry.register(
            "component_faults",
            "Files that a component failed on",
            self.component_faults.clone(),
        );
        let help = "When the project was last synced whole (seconds since 1970)";
        registry.register("project_last_success_timestamp_seconds", help, self.last_success.clone());
        let help = "0 when indexed at the heads as last seen, else seconds since it was; NaN: never";
        registry.register("project_seconds_behind", help, self.seconds_behind.clone());
        let help = "Commits from what is indexed to the heads as last seen; 1000: or more; NaN: not known";
        registry.register("project_commits_behind", help, self.commits_behind.clone());
        registry.register("project_vectors", "Vectors stored", self.vectors.clone());
        let help = "What a guard withheld in the project's last run: vectors kept, texts not embedded";
        registry.register("withheld", help, self.withheld.clone());
    }

    /// What the daemon tells to.
    pub fn observer(self: &Arc<Self>) -> Observer {
        let metrics = Arc::clone(self);
        Arc::new(move |observed| match observed {
            Observed::Event(event) => metrics.event(event),
            Observed::Run(report, faults) => {
                metrics.run(report);
                for (stage, n) in faults {
                    metrics
                        .component_faults
                        .get_or_create_owned(&StageLabel { stage: stage.clone() })
                        .inc_by(*n);
                }
            }
            Observed::Reload(outcome) => {
                metrics.reloads.get_or_create_owned(&OutcomeLabel { outcome }).inc();
            }
        })
    }

    /// A request had a wrong token.
    pub(super) fn wrong_token(&self) {
        self.wrong_tokens.inc();
    }

    /// A webhook delivery was `accepted`, `ignored`, `unsigned`, `too_large`, `busy` or ended in a
    /// `timeout`.
    pub(super) fn webhook(&self, outcome: &'static str) {
        self.webhooks.get_or_create_owned(&OutcomeLabel { outcome }).inc();
    }

    fn event(&self, event: &Event) {
        let error = |service, r#type| {
            self.errors.get_or_create_owned(&ErrorLabels { service, r#type }).inc();
        };
        match event {
            Event::FileIndexed { .. } => drop(self.files_processed.inc()),
            Event::FileRemoved { .. } => drop(self.files_removed.inc()),
            Event::Failed { path, .. } => {
                if path.is_some() {
                    self.files_failed.inc();
                }
                error("sync", if path.is_some() { "file" } else { "repository" });
            }
            Event::ProjectFinished { outcome: Outcome::Failed, .. } => error("sync", "project"),
            Event::CacheHits { n, .. } => drop(self.cache_hits.inc_by(*n)),
            Event::Waiting { stage, seconds, .. } => {
                self.waits.get_or_create_owned(&StageLabel { stage: stage.clone() }).inc_by(seconds.max(0.0));
            }
            Event::Call { service, stage, operation, items, tokens, seconds, ok, error: kind } => {
                let service = name_of(*service);
                let labels = CallLabels { service, stage: stage.clone(), operation };
                self.calls.get_or_create_owned(&labels).observe(*seconds);
                if *ok && *operation == "embed" {
                    self.embeddings.inc_by(*items);
                    self.tokens.get_or_create_owned(&StageLabel { stage: stage.clone() }).inc_by(*tokens);
                }
                if matches!(*operation, "embed" | "upsert" | "delete" | "fetch") {
                    self.batches.get_or_create_owned(&labels).observe(*items as f64);
                }
                if let Some(kind) = kind {
                    error(service, kind);
                }
            }
            _ => {}
        }
    }

    fn run(&self, report: &Report) {
        self.sync_duration.observe(report.seconds);
        self.runs.get_or_create_owned(&OutcomeLabel { outcome: report.outcome.as_str() }).inc();
        for part in &report.projects {
            for guard in [GuardKind::Deletion, GuardKind::Spending] {
                let label = GuardLabels { project: part.project.clone(), guard: guard.as_str() };
                let amount: u64 = part.withheld.iter().filter(|w| w.guard == guard).map(|w| w.amount).sum();
                self.withheld.get_or_create_owned(&label).set(i64::try_from(amount).unwrap_or(i64::MAX));
            }
            if part.counts.price > 0.0 {
                let label = ProjectLabel { project: part.project.clone() };
                self.cost.get_or_create_owned(&label).inc_by(part.counts.price);
            }
        }
    }

    /// Sets the gauges to the current state, and removes those of projects that no longer exist.
    pub(super) fn look(&self, view: &View, status: Option<&StatusView>) {
        self.running.set(count(view.projects.values().filter(|project| project.running.is_some()).count()));
        self.queued.set(count(view.projects.values().filter(|project| project.queued.is_some()).count()));
        self.degraded.set(i64::from(view.is_degraded()));
        self.generation.set(i64::try_from(view.generation()).unwrap_or(i64::MAX));
        self.dispatcher.set(i64::from(view.role != Role::Standby));
        let Some(status) = status else { return };
        for family in [&self.last_success, &self.seconds_behind, &self.commits_behind] {
            family.clear();
        }
        self.vectors.clear();
        for project in status.projects.iter().filter(|project| project.declared) {
            let label = ProjectLabel { project: project.project.clone() };
            let synced = project.repositories.iter().filter_map(|repository| repository.synced_at).min();
            let number = |n: Option<u64>| n.map_or(f64::NAN, |n| n as f64);
            self.last_success
                .get_or_create_owned(&label)
                .set(synced.map_or(0.0, |at| at.timestamp_millis() as f64 / 1000.0));
            self.seconds_behind.get_or_create_owned(&label).set(number(project.seconds_behind));
            self.commits_behind.get_or_create_owned(&label).set(number(project.commits_behind));
            self.vectors.get_or_create_owned(&label).set(i64::try_from(project.vectors).unwrap_or(i64::MAX));
        }
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The service of a role, as the original named them.
fn name_of(service: ServiceKind) -> &'static str {
    match service {
        ServiceKind::Source => "github",
        ServiceKind::Embedder => "embedding",
        ServiceKind::Store => "vectordb",
        ServiceKind::Notifier => "notification",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    /// Sources and stores both list.
    #[test]
    fn errors_count_for_the_service_of_the_stages_role() {
        let metrics = Metrics::new();
        for service in [ServiceKind::Source, ServiceKind::Store, ServiceKind::Store] {
            metrics.event(&Event::Call {
                service,
                stage: "s".into(),
                operation: "list",
                items: 1,
                tokens: 0,
                seconds: 0.1,
                ok: false,
                error: Some("rate_limit"),
            });
        }
        let mut text = String::new();
        encode(&mut text, &metrics.registry).expect("text");
        for line in [
            "reposync_errors_total{service=\"github\",type=\"rate_limit\"} 1",
            "reposync_errors_total{service=\"vectordb\",type=\"rate_limit\"} 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    /// Every series that they name is one of `/metrics`.
    #[test]
    fn dashboard_and_alerts_name_series_that_exist() {
        let metrics = Metrics::new();
        // Series with labels appear with their first value.
        let stage = StageLabel { stage: "s".into() };
        let project = ProjectLabel { project: "p".into() };
        metrics.waits.get_or_create_owned(&stage).inc_by(1.0);
        metrics.tokens.get_or_create_owned(&stage).inc();
        metrics.component_faults.get_or_create_owned(&stage).inc();
        metrics.cost.get_or_create_owned(&project).inc_by(1.0);
        for gauge in [&metrics.last_success, &metrics.seconds_behind, &metrics.commits_behind] {
            gauge.get_or_create_owned(&project).set(1.0);
        }
        metrics.vectors.get_or_create_owned(&project).set(1);
        metrics.withheld.get_or_create_owned(&GuardLabels { project: "p".into(), guard: "deletion" }).set(1);
        metrics.event(&Event::Call {
            service: ServiceKind::Store,
            stage: "s".into(),
            operation: "upsert",
            items: 1,
            tokens: 0,
            seconds: 0.1,
            ok: true,
            error: None,
        });
        let mut text = String::new();
        encode(&mut text, &metrics.registry).expect("text");
        let types: Vec<(&str, &str)> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        let exists = |name: &str| {
            types.iter().any(|(base, kind)| match name.strip_prefix(base) {
                Some("") => *kind == "gauge",
                Some("_total") => *kind == "counter",
                Some("_bucket" | "_sum" | "_count") => *kind == "histogram",
                _ => false,
            })
        };
        for file in [
            include_str!("../../../deploy/grafana/dashboard.json"),
            include_str!("../../../deploy/prometheus/alerts.yaml"),
        ] {
            let names: std::collections::BTreeSet<&str> = file
                .match_indices("reposync_")
                .map(|(at, _)| {
                    let rest = &file[at..];
                    &rest[..rest.find(|c: char| c != '_' && !c.is_ascii_lowercase()).unwrap_or(rest.len())]
                })
                .collect();
            assert!(names.len() > 8, "{names:?}");
            for name in names {
                assert!(exists(name), "{name} is not a series of /metrics");
            }
        }
    }
}
