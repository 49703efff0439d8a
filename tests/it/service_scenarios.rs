//! Long-term changes of repositories and configuration, by the real program against fakes of the
//! services: the correct index at minimal cost in money and requests.

use std::fmt::Write as _;

use crate::support::github::{APP_ID, APP_KEY, FakeGithub, INSTALLATION_ID};
use crate::support::http::Fault;
use crate::support::local::WORK;
use crate::support::openai::Options;
use crate::support::services::Services;

#[test]
fn a_thousand_files_changed_at_once_cost_one_archive() {
    let services = Services::start();
    let repo = services.with_pages("api", 1000);
    services.apply(&[]).exits(0);
    for n in 0..1000 {
        repo.write(&format!("docs/page-{n}.md"), format!("# Page {n}\n\nWhat page {n} says now.\n"));
    }
    services.push("api", &repo);
    services.github.take_seen();
    services.github.take_archive_seen();
    let calls = services.ada.calls().len();
    let run = services.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [1000, 0, 1000, 1000]);
    // The listing, the head, the tree, the archive's address.
    assert_eq!(services.github.take_seen().len(), 4);
    assert_eq!(services.github.take_archive_seen().len(), 1);
    assert_eq!(services.ada.calls().len() - calls, 10, "batches are filled");
    services.assert_as_fresh();
}

#[test]
fn the_same_file_in_fifty_repositories_is_embedded_once() {
    let services = Services::start();
    for n in 0..50 {
        services
            .repository(&format!("r{n}"), &[("CONTRIBUTING.md", "How to contribute, everywhere.\n".into())]);
    }
    let plan = services.world.run(&["plan", "--exact", "--json"]).exits(0).json();
    let estimate = &plan["projects"][0]["estimate"];
    assert_eq!(services.apply(&[]).exits(0).counts(WORK), [1, 49, 50, 0]);
    assert_eq!(services.paid(), (1, 1));
    assert_eq!((&estimate["texts"], &estimate["texts_cached"]), (&1.into(), &49.into()));
    assert_eq!(estimate["tokens"].as_u64(), Some(services.ada.tokens()));
}

#[test]
fn a_thousand_unchanged_repositories_cost_at_most_twelve_requests() {
    let services = Services::start();
    // All repositories have the same content.
    let repo = services.repository("r0", &[("README.md", "The same everywhere.\n".into())]);
    for n in 1..1000 {
        services.github.repository(&format!("acme/r{n}"), Some(repo.path()));
    }
    assert_eq!(services.apply(&[]).exits(0).counts(WORK), [1, 999, 1000, 0]);
    services.github.take_seen();
    services.pinecone.server.take_requests();
    let run = services.apply(&[]).exits(0);
    assert_eq!(run.count("repositories_unchanged"), 1000);
    let seen = services.github.take_seen();
    assert!(seen.len() <= 12, "{} requests", seen.len());
    // The first unchanged run also has to request the page after the last full one.
    assert!(seen.iter().filter(|exchange| exchange.status != Some(304)).count() <= 1, "{seen:?}");
    assert_eq!(services.pinecone.server.take_requests().len(), 1, "the index is described");
}

#[test]
fn a_renamed_folder_and_a_revert_cost_no_embedding() {
    let services = Services::start();
    let repo = services.with_pages("api", 40);
    services.apply(&[]).exits(0);
    repo.git(&["mv", "docs", "handbook"]);
    services.push("api", &repo);
    assert_eq!(services.apply(&[]).exits(0).counts(WORK), [0, 40, 40, 40]);
    services.assert_holds(&repo, "the pages");

    for n in 0..40 {
        repo.write(&format!("handbook/page-{n}.md"), format!("Another page {n}.\n"));
    }
    services.push("api", &repo);
    assert_eq!(services.apply(&[]).exits(0).counts(WORK), [40, 0, 40, 40]);
    repo.git(&["revert", "--no-edit", "HEAD"]);
    services.pushed("api");
    assert_eq!(services.apply(&[]).exits(0).counts(WORK), [0, 40, 40, 40]);
    services.assert_as_fresh();
}

#[test]
fn one_refused_text_of_five_thousand_costs_its_file_alone() {
    let services = Services::with(Options { refuses: Some("unspeakable".into()), ..Options::default() });
    // Sixty files of about ninety chunks each: paragraphs close to the chunk size.
    let text = |file: usize, word: &str| {
        (0..100).fold(String::new(), |mut text, n| {
            let sentence = format!("File {file}, paragraph {n}, is {word} in all of its many sentences. ");
            let _written = writeln!(text, "{}\n", sentence.repeat(900 / sentence.len()).trim_end());
            text
        })
    };
    let names: Vec<String> = (0..60).map(|n| format!("docs/{n}.md")).collect();
    let mut files: Vec<(&str, String)> =
        names.iter().enumerate().map(|(n, name)| (name.as_str(), text(n, "harmless"))).collect();
    files[17].1 = files[17].1.replacen("paragraph 61, is harmless", "paragraph 61, is unspeakable", 1);
    let repo = services.repository("api", &files);
    let file = services.file().replace("chunk_overlap = 200", "chunk_overlap = 0");
    services.world.config(&file);
    let run = services.apply(&[]).exits(3);
    let failures = run.report["projects"][0]["failures"].as_array().expect("failures");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!((&failures[0]["stage"], &failures[0]["path"]), (&"ada".into(), &"docs/17.md".into()));
    assert!(
        failures[0]["error"].as_str().is_some_and(|error| error.contains("content_filter")),
        "{failures:?}"
    );
    let held =
        |path: &str| services.index().values().filter(|(_, metadata)| metadata["file_path"] == path).count();
    assert_eq!((held("docs/17.md"), held("docs/16.md")), (0, held("docs/18.md")));
    // All other texts were paid for once, with few additional calls.
    let (texts, times) = services.paid();
    assert!(texts == times && texts >= 5000, "{texts} texts, {times} times");
    let calls = services.ada.calls().len();
    assert!(calls <= texts.div_ceil(100) + 2 * 7 + 2, "{calls} calls for {texts} texts");
    // Once the text is fixed, it costs one embedding.
    repo.write("docs/17.md", text(17, "harmless"));
    services.push("api", &repo);
    assert_eq!(services.apply(&[]).exits(0).count("texts_embedded"), 1);
    assert_eq!((services.index().len(), held("docs/17.md")), (texts + 1, held("docs/18.md")));
}

/// The installation token expires after this many requests, so that it expires at every possible call.
#[test]
fn an_installations_token_may_expire_at_any_request() {
    let services = Services::start();
    let repo = services.with_pages("api", 30);
    services.github.edit("acme/api", |repo| repo.private = true);
    services.world.write("app.pem", APP_KEY);
    let credentials = format!(
        "app_id = {APP_ID}\ninstallation_id = {INSTALLATION_ID}\nprivate_key = \"${{file:app.pem}}\""
    );
    services.world.config(&services.file().replace("token = \"${GITHUB_TOKEN}\"", &credentials));
    services.apply(&[]).exits(0);
    assert_eq!(services.github.tokens_issued(), 1);
    for good_for in 1..=4 {
        for n in 0..25 {
            repo.write(&format!("docs/page-{n}.md"), format!("Page {n}, with tokens for {good_for}.\n"));
        }
        services.push("api", &repo);
        services.github.limit_installation_tokens(good_for);
        let before = services.github.tokens_issued();
        services.apply(&[]).exits(0);
        let seen = services.github.take_seen().len();
        assert!(services.github.tokens_issued() > before + 1 || good_for >= 4, "{good_for}: {seen} requests");
        services.assert_holds(&repo, "the pages");
    }
    services.github.assert_conforming();
    // The App is uninstalled in mid-run: the error names stage, cause and remedy.
    repo.write("docs/page-0.md", "Seen later.\n");
    services.push("api", &repo);
    services.github.fail("/access_tokens", usize::MAX, crate::support::github::refusal(404, "Not Found"));
    let run = services.apply(&[]).exits(1);
    let error = &run.report["projects"][0]["error"];
    assert_eq!(error["stage"], "github", "{error}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("installed")), "{error}");
    services.github.api().heal();
    services.apply(&[]).exits(0);
    services.assert_holds(&repo, "the pages");
}

/// An Entra token is valid for an hour and only its owner can renew it: the run ends with that error,
/// and the next one, with a new token, pays for nothing twice.
#[test]
fn an_entra_token_that_expires_in_mid_run_is_named_and_the_next_run_completes() {
    let services = Services::start();
    services.with_pages("api", 60);
    let file = services.file().replace("batch_size = 100", "batch_size = 10");
    let file = file.replace("[engine]\n", "[engine]\nconcurrency = 1\n");
    let entra = "bearer_token = \"${AZURE_OPENAI_API_KEY}\"";
    services.world.config(&file.replace("api_key = \"${AZURE_OPENAI_API_KEY}\"", entra));
    services.ada.fail([Fault::None, Fault::None]);
    services.ada.server.fail_times("/embeddings", usize::MAX, Fault::status(401));
    let run = services.apply(&[]).exits(1);
    let error = &run.report["projects"][0]["error"];
    assert_eq!(error["stage"], "ada", "{error}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("bearer_token")), "{error}");
    assert_eq!(services.paid(), (20, 20));
    services.ada.server.heal();
    services.apply(&[]).exits(0);
    assert_eq!(services.paid(), (60, 60));
    assert_eq!(services.index().len(), 60);
}

/// GitHub truncates a large tree: the missing entries are requested, not treated as deleted.
#[test]
fn a_tree_cut_short_deletes_nothing() {
    let services = Services::start();
    let repo = services.with_pages("api", 40);
    for n in 0..40 {
        repo.write(&format!("guide/part-{n}/page.md"), format!("Part {n} of the guide.\n"));
    }
    services.push("api", &repo);
    services.apply(&[]).exits(0);
    services.github.limit_trees(5);
    repo.write("docs/page-0.md", "Other words.\n");
    services.push("api", &repo);
    assert_eq!(services.apply(&[]).exits(0).counts(WORK), [1, 0, 1, 1]);
    services.apply(&["--full", "--prune", "--allow-deletes"]).exits(0);
    services.assert_as_fresh();
}

/// Another model or other dimensions: everything is embedded again, into an index of the new dimension.
#[test]
fn other_dimensions_go_to_an_index_that_fits_after_one_refusal() {
    let services = Services::start();
    services.with_pages("api", 5);
    services.apply(&[]).exits(0);
    services.world.config(&services.file().replace("dimensions = 64", "dimensions = 32"));
    let ran = services.world.run(&["plan"]);
    assert_ne!(ran.code, Some(0), "{}", ran.stdout);
    assert!(ran.stdout.contains("takes vectors of 64 components, the embedder makes 32"), "{}", ran.stdout);
    assert_eq!(services.paid(), (5, 5));
    // The remedy that the message names: here, the index is recreated.
    services.pinecone.empty(32);
    let run = services.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [5, 0, 5, 0]);
    assert_eq!(services.index().values().next().map(|(vector, _)| vector.len()), Some(32));
}

/// An exact plan predicts the tokens that apply sends: with texts repeated within a project and across
/// projects, and with texts in the cache.
#[test]
fn an_exact_plan_predicts_the_tokens_of_several_projects() {
    let services = Services::start();
    let second = "[projects.guide]\npipeline = [\"github\", \"prose\", \"ada\", \"pinecone\"]\n\
                  repositories = [\"acme/api\", \"acme/other\"]\nnamespace = \"guide\"\n";
    services.world.config(&format!("{}\n{second}", services.file()));
    let repo = services.with_pages("api", 12);
    repo.write("copy.md", "What is said twice.\n").write("docs/copy.md", "What is said twice.\n");
    services.push("api", &repo);
    services.repository("other", &[("own.md", "Its own words.\n".into())]);
    let predicted_and_sent = || {
        let plan = services.world.run(&["plan", "--exact", "--json"]).exits(0).json();
        let of = |key: &str| -> u64 {
            plan["projects"]
                .as_array()
                .expect("projects")
                .iter()
                .filter_map(|p| p["estimate"][key].as_u64())
                .sum()
        };
        let predicted = [of("texts"), of("tokens"), of("vectors_written"), of("vectors_deleted")];
        let (texts, tokens) = (services.paid().1 as u64, services.ada.tokens());
        let run = services.apply(&[]).exits(0);
        let counted = |key: &str| -> u64 {
            let projects = run.report["projects"].as_array().expect("projects");
            projects.iter().filter_map(|project| project["counts"][key].as_u64()).sum()
        };
        let sent = [
            services.paid().1 as u64 - texts,
            services.ada.tokens() - tokens,
            counted("vectors_written"),
            counted("vectors_deleted"),
        ];
        (predicted, sent)
    };
    let (predicted, sent) = predicted_and_sent();
    assert_eq!(predicted, sent);
    assert_eq!(sent[0], 12 + 1 + 1, "each text once");
    // Known texts in new places, and a new text for both projects.
    repo.git(&["mv", "docs/page-0.md", "elsewhere.md"]);
    repo.write("docs/page-1.md", "New words for both.\n").write("more.md", "What page 2 says.\n");
    services.push("api", &repo);
    let (predicted, sent) = predicted_and_sent();
    assert_eq!(predicted, sent);
    assert_eq!(sent[0], 2);
    // The human-readable plan says so too.
    repo.write("docs/page-1.md", "Newer words for both.\n");
    services.push("api", &repo);
    services.world.run(&["plan", "--out", "saved.json"]).exits(0);
    repo.write("docs/page-2.md", "And newer ones.\n");
    services.push("api", &repo);
    services.world.run(&["apply", "saved.json"]).exits(0);
    assert_eq!(services.paid().1, 17, "only planned texts are paid for");
}

/// An Enterprise Server below a path, an App with absolute pagination links, a store addressed by its
/// host below another path, a model server with small batches that answers 413.
#[test]
fn odd_but_legitimate_set_ups_work() {
    let options = Options { max_inputs: 32, flat_errors: true, ..Options::default() };
    let services = Services { github: FakeGithub::start_enterprise(), ..Services::with(options) };
    services.world.write("app.pem", APP_KEY);
    let repo = services.repository("r0", &[("README.md", "The same everywhere.\n".into())]);
    for n in 1..120 {
        services.github.repository(&format!("acme/r{n}"), Some(repo.path()));
    }
    services.with_pages("pages", 90);
    let app = format!(
        "app_id = {APP_ID}\ninstallation_id = {INSTALLATION_ID}\nprivate_key = \"${{file:{}}}\"",
        services.world.path("app.pem").display()
    );
    for base in [services.ada.url(), format!("{}/v1/", services.ada.url())] {
        let file = services.file().replace("token = \"${GITHUB_TOKEN}\"", &app);
        let file = file.replace("kind = \"azure-openai\"", "kind = \"openai\"");
        let file = file
            .replace(&format!("endpoint = \"{}\"", services.ada.url()), &format!("base_url = \"{base}\""));
        let file =
            file.replace("deployment = \"text-embedding-3-small\"", "model = \"text-embedding-3-small\"");
        let file = file.replace("api_version = \"2024-10-21\"\n", "");
        let host = format!("index = \"docs\"\nhost = \"{}\"", services.pinecone.host());
        services.world.config(&file.replace("index = \"docs\"", &host));
        services.apply(&[]).exits(0);
        assert_eq!(services.index().len(), 210);
        assert_eq!(services.paid(), (91, 91), "the address of a server, written another way, is the same");
    }
    services.assert_as_fresh();
    services.github.assert_conforming();
}

/// A server that answers with an HTML page: the message points to the configured address.
#[test]
fn a_page_in_the_place_of_a_service_names_the_setting() {
    for (stage, setting) in [("github", "api_url"), ("ada", "endpoint"), ("pinecone", "api_url")] {
        let services = Services::start();
        services.with_pages("api", 2);
        services.engine("retries = 0");
        let (server, on) = match stage {
            "github" => (services.github.api(), "/orgs/"),
            "ada" => (&services.ada.server, "/embeddings"),
            _ => (&services.pinecone.server, "/indexes/"),
        };
        server.fail_times(on, usize::MAX, Fault::html());
        let run = services.apply(&[]).exits(1);
        let error = &run.report["projects"][0]["error"];
        assert_eq!(error["stage"], stage, "{error}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.contains(setting)), "{error}");
    }
}

/// An estimate from a sample is close to the exact one: repositories that share files, contain images,
/// and are edited.
#[test]
fn an_estimate_is_near_the_exact_bill_on_first_and_later_runs() {
    let services = Services::start();
    let page = |n: usize| {
        let lines =
            (0..n % 23 + 3).map(|line| format!("Page {n} says in line {line} what it has to say.\n\n"));
        lines.collect::<String>()
    };
    let shared: Vec<(String, String)> = (0..60).map(|n| (format!("shared/{n}.md"), page(n))).collect();
    let mut repositories = Vec::new();
    for (n, name) in ["api", "web", "tools"].into_iter().enumerate() {
        let own = (0..150).map(|page_of| (format!("docs/{page_of}.md"), page(1000 * (n + 1) + page_of)));
        let files: Vec<(String, String)> = shared.iter().cloned().chain(own).collect();
        let files: Vec<(&str, String)> =
            files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
        let repo = services.repository(name, &files);
        for image in 0..10 {
            repo.write(&format!("img/{image}.png"), [b"\x89PNG\0".as_slice(), &vec![image; 40_000]].concat());
        }
        services.push(name, &repo);
        repositories.push((name, repo));
    }
    let near = |what: &str| {
        let bill = |args: &[&str]| {
            let plan = services.world.run(&[&["plan", "--json"], args].concat()).exits(0).json();
            let estimate = plan["projects"][0]["estimate"].clone();
            ["texts", "tokens", "vectors_written"].map(|count| estimate[count].as_f64().expect("a count"))
        };
        let (estimated, exact) = (bill(&[]), bill(&["--exact"]));
        for (estimated, exact) in estimated.into_iter().zip(exact) {
            let factor = estimated.max(exact) / estimated.min(exact).max(1.0);
            assert!(factor <= 1.3, "{what}: {estimated} estimated, {exact} exact");
        }
    };
    near("the first run");
    services.apply(&[]).exits(0);
    for (name, repo) in &repositories {
        for n in 0..20 {
            let text = page(if n % 2 == 0 { n } else { 3 * n });
            repo.write(&format!("shared/{n}.md"), format!("{text}One line more, number {n}.\n"));
        }
        repo.write("docs/7.md", page(7)).write("img/new.jpg", vec![0; 90_000]);
        services.push(name, repo);
    }
    near("a later run");
}

/// The vectors of a service are cached; those of the built-in model are computed again, which the estimate says.
#[test]
fn a_moved_file_is_embedded_again_only_where_that_is_free() {
    let services = Services::start();
    let free = "[stages.model]\nkind = \"local\"\n[stages.file]\nkind = \"sqlite\"\n\
                [projects.free]\npipeline = [\"github\", \"prose\", \"model\", \"file\"]\n\
                repositories = [\"acme/api\"]\n";
    services.world.config(&format!("{}\n{free}", services.file()));
    let repo = services.with_pages("api", 4);
    services.apply(&[]).exits(0);
    repo.git(&["mv", "docs/page-1.md", "docs/moved.md"]);
    services.push("api", &repo);
    let plan = services.world.run(&["plan", "--json"]).exits(0).json();
    let run = services.apply(&[]).exits(0);
    for (project, embedded, cached) in [("handbook", 0, 1), ("free", 1, 0)] {
        let of = |report: &serde_json::Value, part: &str| {
            let projects = report["projects"].as_array().expect("projects");
            let found = projects.iter().find(|one| one["project"] == project);
            found.unwrap_or_else(|| panic!("{report}"))[part].clone()
        };
        let (estimate, counts) = (of(&plan, "estimate"), of(&run.report, "counts"));
        assert_eq!(estimate["texts"], embedded, "{project}: {estimate}");
        assert_eq!(estimate["texts_cached"], cached, "{project}: {estimate}");
        assert_eq!(counts["texts_embedded"], embedded, "{project}: {counts}");
        assert_eq!(estimate["tokens"].as_u64().is_some_and(|tokens| tokens > 0), embedded > 0, "{project}");
    }
}

#[test]
fn a_plan_reads_as_what_will_happen_and_what_it_costs() {
    let services = Services::start();
    let guide = "[projects.guide]\npipeline = [\"github\", \"prose\", \"ada\", \"pinecone\"]\n\
                 repositories = [\"acme/guide\"]\nnamespace = \"guide\"\n";
    services.world.config(&format!("{}\n{guide}", services.file()));
    let repo = services.with_pages("api", 4);
    services.repository("quiet", &[("README.md", "Nothing happens here.\n".into())]);
    services.apply(&["--project", "handbook"]).exits(0);
    repo.write("docs/page-0.md", "Page 0 in other words.\n").write("docs/new.md", "A page more.\n");
    repo.write("docs/raw.md", b"\0binary");
    repo.git(&["mv", "docs/page-1.md", "docs/moved.md"]);
    repo.git(&["rm", "-q", "docs/page-2.md"]);
    services.push("api", &repo);
    services.repository("guide", &[("guide.md", "The guide to everything there is.\n".into())]);
    let estimated = services.world.run(&["plan"]).exits(0);
    insta::assert_snapshot!("plan_estimated", estimated.redacted());
    let exact = services.world.run(&["plan", "--exact"]).exits(0);
    insta::assert_snapshot!("plan_exact", exact.redacted());
}
