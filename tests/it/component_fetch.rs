//! Components from web servers and registries: fetched once, by digest, never from another scheme.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::component::Fixture;
use crate::support::http::{Fault, Response, Server};
use crate::support::local::{Local, STAGES};
use crate::support::registry::{PASSWORD, Registry, USER};
use crate::support::tls_front::TlsFront;

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A project whose stage `notes` runs a component.
fn file(component: &str, more: &str) -> String {
    format!(
        "[engine]\nretries = 0\n{STAGES}\n[stages.notes]\nkind = \"wasm\"\nmatch = [\"**/*.md\"]\n\
         component = \"{component}\"\n{more}\n[projects.docs]\n\
         pipeline = [\"local\", \"notes\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n"
    )
}

/// A web server with TLS that serves a component as `/lines.wasm`, and a world that trusts it.
struct Web {
    local: Local,
    server: Server,
    front: TlsFront,
    sha256: String,
}

impl Web {
    fn start() -> Self {
        let component = Fixture::new("lines").build();
        let sha256 = digest(&component);
        let server = Server::start(move |request| match request.path.as_str() {
            "/lines.wasm" => Response::of(200, "application/wasm", component.clone()),
            "/moved.wasm" => Response::status(302).with("location", "/lines.wasm"),
            "/plain.wasm" => Response::status(302).with("location", "http://localhost/lines.wasm"),
            "/round.wasm" => Response::status(302).with("location", "/round.wasm"),
            "/private.wasm" => Response::status(401),
            _ => Response::status(404),
        });
        let front = TlsFront::of(&server.url());
        let local = Local::new();
        let world = local.world.env("SSL_CERT_FILE", &TlsFront::authority());
        Self { local: Local { world, ..local }, server, front, sha256 }
    }

    fn use_component(&self, path: &str, more: &str) {
        self.local.config(&file(&format!("{}/{path}", self.front.url()), more));
    }

    fn pinned(&self) -> String {
        format!("sha256 = \"{}\"", self.sha256)
    }
}

#[test]
fn a_component_from_a_url_is_fetched_once() {
    let web = Web::start();
    web.use_component("lines.wasm", &web.pinned());
    let applied = web.local.apply(&[]).exits(0);
    assert!(applied.count("texts_embedded") > 0);
    assert_eq!(web.server.requests().len(), 1);
    let lock: serde_json::Value = serde_json::from_str(&web.local.world.read("reposync.lock")).expect("JSON");
    assert_eq!(lock["components"][0]["path"], format!("{}/lines.wasm", web.front.url()));
    // Later commands need no server, nor does the schema for editors.
    web.server.fail_times("", usize::MAX, Fault::Reset);
    web.local.apply(&["--locked"]).exits(0);
    web.local.world.ok(&["validate"]);
    web.local.world.ok(&["plugin", "try", "notes", "docs/README.md"]);
    assert_eq!(web.local.world.ok(&["schema"]).stderr, "");
    assert_eq!(web.server.requests().len(), 1);
}

#[test]
fn a_damaged_file_of_the_cache_is_fetched_again() {
    let web = Web::start();
    web.use_component("lines.wasm", &web.pinned());
    web.local.world.ok(&["validate"]);
    let file = Registry::cache(&web.local.world.path("")).join(format!("{}.wasm", web.sha256));
    std::fs::write(&file, "damaged").expect("written");
    web.local.world.ok(&["validate"]);
    assert_eq!(digest(&std::fs::read(&file).expect("there")), web.sha256);
    assert_eq!(web.server.requests().len(), 2);
}

#[test]
fn without_a_digest_it_is_named_and_nothing_runs() {
    let web = Web::start();
    web.use_component("lines.wasm", "");
    let ran = web.local.world.run(&["validate"]).exits(2);
    assert!(
        ran.stderr.contains(&format!("add sha256 = \"{}\" to [stages.notes]", web.sha256)),
        "{}",
        ran.stderr
    );
    web.local.apply(&[]).exits(1);
    let before = web.server.requests().len();
    web.use_component("lines.wasm", &web.pinned());
    web.local.world.ok(&["validate"]);
    assert_eq!(web.server.requests().len(), before, "it is in the cache");
}

#[test]
fn an_untrusted_file_fetches_nothing() {
    let web = Web::start();
    web.use_component("lines.wasm", "");
    let ran = web.local.world.run(&["validate", "--no-env"]).exits(2);
    assert!(ran.stderr.contains("is not in the cache"), "{}", ran.stderr);
    assert!(web.server.requests().is_empty());
}

#[test]
fn every_way_a_download_fails_has_its_message() {
    let web = Web::start();
    let fails = |path: &str, more: &str, messages: &[&str]| {
        web.use_component(path, more);
        let ran = web.local.world.run(&["validate"]).exits(2);
        let text = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for message in messages {
            assert!(text.contains(message), "{path}: {message}: {}", ran.stderr);
        }
    };
    let pinned = web.pinned();
    fails("moved.wasm", &format!("sha256 = \"{}\"", "0".repeat(64)), &[&web.sha256, "was expected"]);
    fails("plain.wasm", &pinned, &["redirects from https to http (localhost)"]);
    fails("round.wasm", &pinned, &["redirects more than 5 times"]);
    fails("private.wasm", &pinned, &["does not give `/private.wasm` to everybody", "oci://"]);
    fails("gone.wasm", &pinned, &["has no `/gone.wasm`"]);
    web.server.fail("", Fault::Terabyte);
    fails("lines.wasm", &pinned, &["sent more than 64 MiB for `component`"]);
    web.server.fail("", Fault::Truncated);
    fails("lines.wasm", &pinned, &["broken answer from localhost"]);
    web.server.fail("", Fault::status(503));
    fails("lines.wasm", &pinned, &["answered 503"]);
    web.local.config(&file(&web.front.url().replace("https", "http"), &pinned));
    let ran = web.local.world.run(&["validate"]).exits(2);
    assert!(ran.stderr.contains("http is not encrypted"), "{}", ran.stderr);
    // No trust in any certificate.
    let web =
        Web { local: Local { world: web.local.world.env("SSL_CERT_FILE", "/none"), ..web.local }, ..web };
    web.use_component("lines.wasm", &pinned);
    let ran = web.local.world.run(&["validate"]).exits(2);
    assert!(ran.stderr.contains("cannot load the trusted certificates"), "{}", ran.stderr);
}

/// A registry that wants a token, which its server for tokens gives for the password `correct horse`.
fn token_registry(component: &[u8], manifest: serde_json::Value) -> (Server, Arc<Mutex<String>>) {
    let realm = Arc::new(Mutex::new(String::new()));
    let (component, named) = (component.to_vec(), Arc::clone(&realm));
    let server = Server::start(move |request| {
        let authorization = request.header("authorization").unwrap_or_default();
        if request.path == "/token" {
            let scope = request.parameter("scope");
            return match authorization {
                // ann:correct horse
                "Basic YW5uOmNvcnJlY3QgaG9yc2U="
                    if scope.as_deref() == Some("repository:acme/lines:pull") =>
                {
                    Response::json(200, &json!({ "token": "pull-token" }))
                }
                _ => Response::status(401),
            };
        }
        if authorization != "Bearer pull-token" {
            let realm = named.lock().expect("not poisoned").clone();
            let challenge =
                format!("Bearer realm=\"{realm}\",service=\"tests\",scope=\"repository:acme/lines:pull\"");
            return Response::status(401).with("www-authenticate", challenge);
        }
        match request.path.as_str() {
            "/v2/acme/lines/manifests/1" => Response::json(200, &manifest),
            path if path.starts_with("/v2/acme/lines/blobs/sha256:") => {
                Response::of(200, "application/octet-stream", component.clone())
            }
            _ => Response::status(404),
        }
    });
    *realm.lock().expect("not poisoned") = format!("{}/token", server.url());
    (server, realm)
}

fn manifest_of(component: &[u8]) -> serde_json::Value {
    let digest = format!("sha256:{}", digest(component));
    json!({ "schemaVersion": 2, "layers": [
        { "mediaType": "application/wasm", "digest": digest, "size": component.len() },
    ] })
}

#[test]
fn credentials_are_exchanged_for_a_token_and_never_shown() {
    let component = Fixture::new("lines").build();
    let (server, realm) = token_registry(&component, manifest_of(&component));
    let host = server.url().replace("http://", "");
    let address = format!("oci://{host}/acme/lines:1");
    let login = |password: &str| {
        format!("[registries.\"{host}\"]\nusername = \"ann\"\npassword = \"${{{password}}}\"\n")
    };
    let local = Local::new();
    let world = local.world.env("GOOD", "correct horse").env("EXPIRED", "a-former-password");
    let local = Local { world, ..local };
    let refused = |text: &str, messages: &[&str]| {
        local.config(text);
        let ran = local.world.run(&["validate"]).exits(2);
        let words = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for message in messages {
            assert!(words.contains(message), "{message}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("a-former-password"), "{}", ran.stderr);
    };
    refused(&file(&address, ""), &["asks for credentials", "[registries."]);
    refused(&file(&address, &login("EXPIRED")), &["does not accept the credentials", "may have expired"]);
    refused(&file(&address, &login("UNSET")), &["`UNSET` is not set"]);
    // A password goes to no other host.
    *realm.lock().expect("not poisoned") = "https://tokens.example.org/".to_owned();
    refused(
        &file(&address, &login("GOOD")),
        &["to be sent to another host, tokens.example.org", "add realm ="],
    );
    let more = format!("{}realm = \"{}/token\"\n", login("GOOD"), server.url());
    local.config(&file(&address, &more));
    local.apply(&[]).exits(0);
    assert!(local.world.ok(&["validate", "--show"]).stdout.contains("password = \"***\""));
}

#[test]
fn what_is_no_component_of_a_registry_is_refused() {
    let component = Fixture::new("lines").build();
    for (manifest, message) in [
        (json!({ "schemaVersion": 2, "manifests": [{}, {}] }), "is an index of 2 manifests, not a manifest"),
        (
            json!({ "layers": [{ "mediaType": "text/plain", "digest": "sha256:00" }] }),
            "has no layer of the type `application/wasm`, but `text/plain`",
        ),
        (
            json!({ "layers": [{ "mediaType": "application/wasm", "digest": format!("sha256:{}", digest(b"")), "size": 2_u64 << 30 }] }),
            "is 2048 MiB large; the limit is 64 MiB",
        ),
        (manifest_of(b"other bytes"), "the blob of"),
    ] {
        let (server, _) = token_registry(&component, manifest);
        let host = server.url().replace("http://", "");
        let local = Local::new();
        let login = format!("[registries.\"{host}\"]\nusername = \"ann\"\npassword = \"correct horse\"\n");
        local.config(&file(&format!("oci://{host}/acme/lines:1"), &login));
        let ran = local.world.run(&["validate"]).exits(2);
        let words = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(message), "{message}: {}", ran.stderr);
    }
}

#[test]
fn a_real_registry_locks_a_tag_until_it_is_updated() {
    let Some(registry) = Registry::start(true) else { return };
    let (one, two) = (Fixture::new("lines").build(), Fixture::new("whole").build());
    registry.push("acme/notes", "1", &one);
    let host = &registry.host;
    let address = format!("oci://{host}/acme/notes:1");
    let local = Local::new();
    let local = Local { world: local.world.env("REGISTRY_PASSWORD", PASSWORD), ..local };
    let login =
        format!("[registries.\"{host}\"]\nusername = \"{USER}\"\npassword = \"${{REGISTRY_PASSWORD}}\"\n");
    local.config(&file(&address, &login));
    local.apply(&[]).exits(0);
    let lock = || local.world.read("reposync.lock");
    assert!(lock().contains(&digest(&one)), "{}", lock());
    // The tag moves; the lock file does not.
    registry.push("acme/notes", "1", &two);
    let again = local.apply(&["--locked"]).exits(0);
    assert_eq!(again.count("vectors_written"), 0);
    let outdated = local.world.ok(&["plugin", "outdated"]).stdout;
    assert!(
        outdated.contains(&format!("notes: {} -> {}", &digest(&one)[..12], &digest(&two)[..12])),
        "{outdated}"
    );
    local.world.ok(&["plugin", "update", "notes"]);
    assert!(lock().contains(&digest(&two)), "{}", lock());
    assert!(local.world.ok(&["plugin", "outdated"]).stdout.contains("notes: current (whole 1.0.0)"));
    let ran = local.world.run(&["plugin", "update", "prose"]).exits(2);
    assert!(ran.stderr.contains("no stage `prose` has a component with an address"), "{}", ran.stderr);
    // With its digest the blob alone is fetched, from another machine's cache too.
    std::fs::remove_dir_all(Registry::cache(&local.world.path(""))).expect("there");
    local.apply(&["--locked"]).exits(0);
    // Without the registry what is in the cache goes on working.
    drop(registry);
    local.apply(&["--locked"]).exits(0);
    let ran = local.world.run(&["plugin", "outdated"]).exits(1);
    assert!(ran.stdout.contains("unknown: cannot connect to"), "{}", ran.stdout);
}

const NOTEBOOK: &str = "{\"cells\": [\n{\"cell_type\": \"markdown\", \"source\": [\"# One\"]},\n\
    {\"cell_type\": \"code\", \"outputs\": [], \"source\": \"two()\"}\n], \"nbformat\": 4}\n";

#[test]
fn components_are_added_to_the_file() {
    let Some(registry) = Registry::start(false) else { return };
    let web = Web::start();
    let world = &web.local.world;
    registry.push("lines", "latest", &Fixture::new("whole").build());
    let before = format!(
        "# Ours.\n{STAGES}\n[projects.docs] # all\npipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n"
    );
    world.config(&before);
    let url = format!("{}/lines.wasm", web.front.url());
    let ran = world.ok(&["plugin", "add", &url]);
    for shown in ["lines 1.0.0 from", "+ [stages.lines]", &format!("+ sha256 = \"{}\"", web.sha256)] {
        assert!(ran.stdout.contains(shown), "{shown}: {}", ran.stdout);
    }
    assert!(ran.stderr.contains("next: put \"lines\" into the `pipeline`"), "{}", ran.stderr);
    let oci = format!("oci://{}/lines:latest", registry.host);
    world.ok(&["plugin", "add", &oci, "--stage", "whole"]);
    assert!(world.read("reposync.lock").contains(&oci));
    for name in ["sql", "changelog", "notebook"] {
        world.ok(&["plugin", "add", &format!("builtin:{name}")]);
        assert!(world.path(&format!("plugins/{name}.wasm")).exists());
    }
    world.write("own.wasm", Fixture::new("lines").build());
    world.ok(&["plugin", "add", "own.wasm", "--stage", "own"]);
    let after = world.read("reposync.toml");
    assert!(after.starts_with("# Ours.\n") && after.contains("[projects.docs] # all\n"), "{after}");
    assert!(after.contains("[stages.own]\nkind = \"wasm\"\ncomponent = \"own.wasm\"\n"), "{after}");
    web.local.repo.write("a.ipynb", NOTEBOOK).commit("a notebook");
    world.config(&after.replace(
        "\"prose\", \"model\"",
        "\"lines\", \"whole\", \"sql\", \"notebook\", \"prose\", \"model\"",
    ));
    web.local.apply(&[]).exits(0);

    let index = web.local.index();
    let cells = index.values().filter(|(facts, ..)| facts["file_path"] == "a.ipynb");
    let mut lines: Vec<_> =
        cells.map(|(facts, text, _)| (facts["start_line"].as_u64(), text.as_str())).collect();
    lines.sort_unstable();
    assert_eq!(lines, [(Some(2), "# One"), (Some(3), "two()")], "cells have their own lines");

    // A second time changes nothing; another kind of stage is not replaced.
    let text = world.read("reposync.toml");
    world.ok(&["plugin", "add", &url]);
    assert_eq!(world.read("reposync.toml"), text);
    let ran = world.run(&["plugin", "add", &url, "--stage", "prose"]).exits(2);
    assert!(ran.stderr.contains("`stages.prose` is another kind of stage"), "{}", ran.stderr);
    let ran = world.run(&["plugin", "add", &url, "--stage", "x", "--sha256", &"0".repeat(64)]).exits(1);
    assert!(ran.stderr.contains("was expected"), "{}", ran.stderr);
    let ran = world.run(&["plugin", "add", "builtin:nothing"]).exits(2);
    assert!(ran.stderr.contains("`builtin:sql`"), "{}", ran.stderr);
    assert_eq!(world.read("reposync.toml"), text);
}

#[test]
fn a_component_that_is_too_large_for_the_program_lies_beside_it() {
    let local = Local::new();
    let ran = local.world.run(&["plugin", "add", "builtin:restructuredtext"]).exits(2);
    assert!(ran.stderr.contains("is too large for the program"), "{}", ran.stderr);
    local.world.write("release/restructuredtext.wasm", Fixture::new("lines").build());
    let world = local.world.env("REPOSYNC_PLUGINS", "release");
    world.ok(&["plugin", "add", "builtin:restructuredtext", "--stage", "rst"]);
    assert!(world.read("reposync.toml").contains("component = \"plugins/restructuredtext.wasm\""));
}

#[test]
fn a_registry_that_is_down_ends_only_the_projects_that_need_it() {
    let down = Arc::new(AtomicBool::new(true));
    let server = Server::start({
        let down = Arc::clone(&down);
        move |_| Response::status(if down.load(Ordering::Relaxed) { 503 } else { 404 })
    });
    let local = Local::new();
    let address = format!("oci://{}/acme/lines:1", server.url().replace("http://", ""));
    local.config(&file(&address, ""));
    let failed = local.apply(&[]).exits(1);
    let error = failed.report["projects"][0]["error"].to_string();
    assert!(error.contains("answered 503"), "{error}");
    down.store(false, Ordering::Relaxed);
    let failed = local.apply(&[]).exits(1);
    let error = failed.report["projects"][0]["error"].to_string();
    assert!(error.contains("the registry has no `oci://"), "{error}");
}
