//! The files in `deploy/` and `.github/workflows/` are parsed as their consumers parse them and match
//! the program.

use std::path::{Path, PathBuf};

use reposync::config::{Need, load, parse_schedule};
use serde::Deserialize as _;
use serde_yaml_ng::Value;

use crate::support::python::python;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn documents(name: &str) -> Vec<Value> {
    let text = read(name);
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{name}: {error}")))
        .collect()
}

#[test]
fn the_file_for_containers_is_valid() {
    let env = |name: &str| {
        let known = ["GITHUB_TOKEN", "REPOSYNC_API_TOKEN", "GITHUB_WEBHOOK_SECRET"];
        known.contains(&name).then(|| "x".repeat(20))
    };
    let need = Need::enabled().with_api().with_env(env);
    let config = load(&path("deploy/reposync.toml"), &need).expect("valid");
    assert_eq!(config.api.listen.port(), 8080);
    let volume = Path::new("/var/lib/reposync");
    assert!(config.engine.state.local().starts_with(volume) && config.engine.cache.starts_with(volume));
    // The environment variables that the file refers to are passed in.
    let compose = read("deploy/compose.yaml");
    for name in ["GITHUB_TOKEN", "REPOSYNC_API_TOKEN", "GITHUB_WEBHOOK_SECRET"] {
        assert!(compose.contains(&format!("{name}: ${{{name}:?")), "{name}");
    }
}

#[test]
fn the_manifests_probe_what_the_daemon_serves() {
    let documents = documents("deploy/kubernetes/single.yaml");
    let kinds: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(kinds, ["ConfigMap", "PersistentVolumeClaim", "Deployment", "Service", "NetworkPolicy"]);
    let deployment = &documents[2]["spec"];
    // Two daemons would compete for one ledger.
    assert_eq!(
        (deployment["replicas"].as_u64(), deployment["strategy"]["type"].as_str()),
        (Some(1), Some("Recreate"))
    );
    let pod = &deployment["template"]["spec"];
    assert!(pod["terminationGracePeriodSeconds"].as_u64() >= Some(20));
    assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false));
    assert_eq!(documents[4]["spec"]["podSelector"], deployment["selector"]);
    let container = &pod["containers"][0];
    for limit in ["memory", "ephemeral-storage"] {
        assert!(container["resources"]["limits"][limit].is_string(), "{limit}");
    }
    assert!(!container["image"].as_str().expect("an image").ends_with(":latest"));
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["path"].as_str(), Some("/health"), "{probe}");
        assert_eq!(container[probe]["httpGet"]["port"].as_str(), container["ports"][0]["name"].as_str());
    }
    assert_eq!(deployment["selector"]["matchLabels"], documents[3]["spec"]["selector"]);
    for mount in container["volumeMounts"].as_sequence().expect("mounts") {
        assert!(mount["subPath"].is_null(), "an edit of a subPath is never seen");
        let volumes = pod["volumes"].as_sequence().expect("volumes");
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount:?}");
    }
}

#[test]
fn the_manifests_of_a_cluster_belong_together() {
    let documents = documents("deploy/kubernetes/cluster.yaml");
    let of = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    let deployments: Vec<_> = of("Deployment").collect();
    let [daemon, worker] = deployments.as_slice() else { panic!("a daemon and a worker") };
    assert_eq!(daemon["spec"]["replicas"].as_u64(), Some(2));
    assert!(worker["spec"]["replicas"].is_null(), "the autoscaler decides");
    let scaled = &of("HorizontalPodAutoscaler").next().expect("one")["spec"];
    assert_eq!(scaled["scaleTargetRef"]["name"], worker["metadata"]["name"]);
    assert_eq!(scaled["metrics"][0]["external"]["metric"]["name"], "reposync_units");
    let budget = &of("PodDisruptionBudget").next().expect("one")["spec"];
    let service = &of("Service").next().expect("one")["spec"];
    for selector in [&budget["selector"]["matchLabels"], &service["selector"]] {
        assert_eq!(*selector, daemon["spec"]["selector"]["matchLabels"]);
    }
    for deployment in deployments {
        let pod = &deployment["spec"]["template"]["spec"];
        assert!(pod["terminationGracePeriodSeconds"].as_u64() >= Some(30), "a batch is finished first");
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"].as_bool(), Some(true));
        // The configuration is on media that cannot be written to.
        let env = container["env"].as_sequence().expect("variables");
        assert!(env.iter().any(|one| one["name"] == "XDG_STATE_HOME"), "{env:?}");
    }
}

/// The configuration in a config map, with its secrets in files below a folder.
#[test]
fn the_configuration_of_the_manifests_is_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    for documents in [documents("deploy/kubernetes/single.yaml"), documents("deploy/kubernetes/cluster.yaml")]
    {
        let map = documents.iter().find(|document| document["kind"] == "ConfigMap").expect("a config map");
        let text = map["data"]["reposync.toml"].as_str().expect("a file");
        let secrets = documents.iter().find_map(|document| {
            let volumes = document["spec"]["template"]["spec"]["volumes"].as_sequence()?;
            volumes.iter().find_map(|volume| volume["secret"]["secretName"].as_str())
        });
        assert_eq!(secrets, Some("reposync"));
        // A container has the folder; here it is another one.
        let text = text.replace("/run/secrets/reposync/", "");
        let path = folder.path().join("reposync.toml");
        std::fs::write(&path, &text).expect("written");
        for name in text.split("${file:").skip(1).filter_map(|rest| rest.split('}').next()) {
            let secret =
                if name == "state-url" { "postgres://a:b@db/reposync" } else { "xxxxxxxxxxxxxxxxxxxx" };
            std::fs::write(folder.path().join(name), secret).expect("written");
        }
        let need = Need::enabled().with_api().with_env(|_| None);
        let config = load(&path, &need).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!config.api.listen.ip().is_loopback() && config.api.token.is_some());
    }
}

/// The schemas of Kubernetes refuse unknown and misspelt fields.
#[test]
fn the_manifests_are_valid_kubernetes() {
    let Some(python) = python("kubernetes", &["kubernetes-validate==1.37.0"]) else { return };
    let script = "import sys, yaml, kubernetes_validate as k
for path in sys.argv[1:]:
    for document in yaml.safe_load_all(open(path)):
        k.validate(document, k.latest_version(), strict=True)
        print(document['kind'])";
    let validate = |files: &[PathBuf]| {
        std::process::Command::new(&python).args(["-c", script]).args(files).output().expect("Python runs")
    };
    for (file, kind) in [("single", "NetworkPolicy"), ("cluster", "HorizontalPodAutoscaler")] {
        let output = validate(&[path(&format!("deploy/kubernetes/{file}.yaml"))]);
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains(kind), "{file}");
    }
    // The check can fail.
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, read("deploy/kubernetes/single.yaml").replace("replicas:", "replica:"))
        .expect("written");
    assert!(!validate(&[wrong]).status.success());
}

/// That the series exist is a unit test of the metrics.
#[test]
fn the_dashboard_and_the_alerts_are_well_formed() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: std::collections::BTreeSet<u64> =
        panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    // `promtool`, where it is installed.
    let rules = path("deploy/prometheus/alerts.yaml");
    if let Ok(output) = std::process::Command::new("promtool").args(["check", "rules"]).arg(rules).output() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_compose_file_mounts_the_folder_and_keeps_the_state() {
    let compose = documents("deploy/compose.yaml").remove(0);
    let service = &compose["services"]["reposync"];
    assert!(
        path("deploy")
            .join(service["build"]["context"].as_str().expect("a context"))
            .join("Cargo.toml")
            .exists()
    );
    assert!(path(service["build"]["dockerfile"].as_str().expect("a file")).exists());
    let volumes: Vec<&str> =
        service["volumes"].as_sequence().expect("volumes").iter().filter_map(Value::as_str).collect();
    assert_eq!(volumes, ["./config:/etc/reposync:ro", "state:/var/lib/reposync"]);
    assert!(!compose["volumes"]["state"].is_null());
}

#[test]
fn the_compose_file_with_postgresql_shares_a_socket() {
    let text = read("deploy/compose.postgres.yaml");
    let compose = documents("deploy/compose.postgres.yaml").remove(0);
    let (database, reposync) = (&compose["services"]["database"], &compose["services"]["reposync"]);
    let mounts = |service: &Value| -> Vec<String> {
        let volumes = service["volumes"].as_sequence().expect("volumes").iter();
        volumes.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for service in [database, reposync] {
        assert!(mounts(service).contains(&"socket:/var/run/postgresql".to_owned()));
    }
    for volume in mounts(database).iter().chain(&mounts(reposync)) {
        let name = volume.split(':').next().expect("a name");
        assert!(name.starts_with('.') || !compose["volumes"][name].is_null(), "{volume}");
    }
    assert_eq!(reposync["depends_on"]["database"]["condition"].as_str(), Some("service_healthy"));
    // The stage in the comment works with the container's file.
    let stage: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("[stages.index]"))
        .take_while(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .collect();
    let sqlite = "[stages.index]\nkind = \"sqlite\"\npath = \"/var/lib/reposync/index.db\"";
    let file = read("deploy/reposync.toml");
    assert!(file.contains(sqlite));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reposync.toml");
    std::fs::write(&path, file.replace(sqlite, &stage.join("\n"))).expect("written");
    let need = Need::enabled().with_api().with_env(|_| Some("x".repeat(20)));
    load(&path, &need).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn the_unit_waits_for_readiness_and_reloads_by_signal() {
    let unit = read("deploy/reposync.service");
    let lines: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#')).collect();
    for line in &lines {
        assert!(line.is_empty() || line.starts_with('[') || line.contains('='), "{line}");
    }
    for expected in ["Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "RestartPreventExitStatus=2"] {
        assert!(lines.contains(&expected), "{expected}");
    }
    // `systemd-analyze`, where it is installed.
    let file = path("deploy/reposync.service");
    let verified = std::process::Command::new("systemd-analyze").arg("verify").arg(&file).output();
    if let Ok(output) = verified {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("Unknown key") && !said.contains("Failed to parse"), "{said}");
    }
}

#[test]
fn the_image_runs_the_daemon_as_an_unprivileged_user() {
    let file = read("deploy/Containerfile");
    for expected in [
        "USER 10001",
        "CMD [\"reposync\", \"health\"",
        "ENTRYPOINT [\"reposync\"]",
        "STOPSIGNAL SIGTERM",
        "deploy/build-release.sh --target",
    ] {
        assert!(file.contains(expected), "{expected}");
    }
    // The default is the last stage: the program, certificates and folders to write to, and no shell.
    let last = file.rsplit("\nFROM ").next().expect("a stage");
    assert!(last.starts_with("scratch\n") && !last.contains("RUN "), "{last}");
    for expected in [
        "USER 10001:10001",
        "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
        "VOLUME [\"/var/lib/reposync\"]",
    ] {
        assert!(last.contains(expected), "{expected}");
    }
    let version = read("Cargo.toml");
    let version = version.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    assert!(file.contains(&format!("rust:{}-", version.trim_matches('"'))), "the toolchain of the workspace");
}

/// The steps of a job.
fn steps(workflow: &Value, job: &str) -> Vec<Value> {
    workflow["jobs"][job]["steps"].as_sequence().unwrap_or_else(|| panic!("{job}")).clone()
}

const APPLY: &str = "deploy/github-actions/apply.yml";

#[test]
fn the_example_workflow_applies_daily_and_keeps_the_ledger() {
    let workflow = documents(APPLY).remove(0);
    // `on` is a boolean in YAML 1.1 and a string in YAML 1.2.
    let on = workflow.get("on").or_else(|| workflow.get(Value::Bool(true))).expect("triggers");
    let cron = on["schedule"][0]["cron"].as_str().expect("a schedule");
    let noon = "2026-01-31T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().expect("a moment");
    let next = parse_schedule(cron).expect("a schedule").find_next_occurrence(&noon, false).expect("a date");
    assert_eq!(next.to_rfc3339(), "2026-02-01T08:00:00+00:00");
    let steps = steps(&workflow, "apply");
    for action in ["actions/cache/restore", "actions/cache/save", "actions/upload-artifact", "OWNER/reposync"]
    {
        let used =
            |step: &Value| step["uses"].as_str().is_some_and(|used| used.starts_with(&format!("{action}@")));
        assert!(steps.iter().any(used), "{action}");
    }
    // Only the step that applies gets secrets, and texts are not cached.
    let text = read(APPLY);
    let with_secrets: Vec<_> = steps.iter().filter(|step| !step["env"].is_null()).collect();
    assert_eq!(with_secrets.len(), 1);
    assert!(with_secrets[0]["run"].as_str().expect("a script").contains("reposync -v apply"));
    assert_eq!(text.matches("secrets.").count(), 4, "nowhere else");
    assert!(workflow["jobs"]["apply"]["env"].is_null() && workflow["env"].is_null());
    assert!(!text.contains("index.db"));
    // The ledger is saved and the artifacts are uploaded even if the run failed.
    let always = |step: &&Value| step["if"].as_str() == Some("always()");
    assert_eq!(steps.iter().filter(always).count(), 2);
}

/// A tag can be moved to other code, a commit cannot.
#[test]
fn actions_are_pinned_by_commit() {
    let mut pins = std::collections::BTreeMap::new();
    for name in [".github/workflows/ci.yml", ".github/workflows/release.yml", "action.yml", APPLY] {
        let text = read(name);
        let used =
            text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: "));
        for line in used.filter(|used| !used.starts_with("OWNER/reposync@COMMIT")) {
            let (action, pinned) = line.split_once('@').expect("an action with a version");
            let (commit, version) = pinned.split_once(" # ").expect("the version as a comment");
            assert!(
                commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{name}: {line}"
            );
            let repository: Vec<&str> = action.splitn(3, '/').take(2).collect();
            let pin = (commit.to_owned(), version.to_owned());
            let first = pins.entry(repository.join("/")).or_insert_with(|| pin.clone());
            assert_eq!(*first, pin, "{name}: {action} has two versions");
        }
    }
    assert!(pins.len() >= 6, "{pins:?}");
}

/// The targets, the oldest C library and the file names agree in workflow, scripts, manifest and documentation.
#[test]
fn a_release_is_what_the_documentation_says() {
    let workflow = documents(".github/workflows/release.yml").remove(0);
    let built = workflow["jobs"]["build"]["strategy"]["matrix"]["include"].as_sequence().expect("targets");
    let (page, installer) = (read("docs/install.md"), read("deploy/release/install.sh"));
    assert_eq!(built.len(), 5);
    for target in built {
        let target = target["target"].as_str().expect("a target");
        assert!(page.contains(&format!("| `{target}` |")), "docs/install.md: {target}");
    }
    let script = read("deploy/build-release.sh");
    let oldest = script.lines().find_map(|line| line.strip_prefix("glibc=")).expect("a version");
    assert!(
        installer.contains(&format!("\nGLIBC={oldest}\n"))
            && page.contains(&format!("glibc {oldest} or newer"))
    );
    let manifest = read("engine/Cargo.toml");
    assert!(manifest.contains(&format!("depends = \"libc6 (>= {oldest})\"")));
    assert!(manifest.contains("/releases/download/v{ version }/reposync-{ version }-{ target }.tar.gz"));
    assert!(installer.contains("from=$REPOSYNC_HOME/releases/download/v$version"));
    // Messages of the installer that the page explains.
    let (_, stops) = page.split_once("\n## When the installer stops\n").expect("a section");
    let messages: Vec<&str> = stops
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | ").map(|(text, _)| text))
        .collect();
    assert!(messages.len() >= 5, "{messages:?}");
    for part in messages.iter().flat_map(|message| message.split('…')).filter(|part| !part.is_empty()) {
        assert!(installer.contains(&part.replace(oldest, "$GLIBC")), "{part}");
    }
    assert!(
        read("deploy/release/finish.sh").contains("s|@REPOSYNC_HOME@|$home|")
            && installer.contains("'@REPOSYNC_HOME@'")
    );
}
