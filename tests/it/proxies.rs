//! Services on loopback addresses are reached directly, whatever the environment says about proxies;
//! other hosts are reached through the proxy.

use serde_json::json;

use crate::support::http::{Response, Server};
use crate::support::services::Services;

/// A proxy that refuses every request.
fn proxy() -> Server {
    Server::start(|_| Response::status(502))
}

#[test]
fn every_client_reaches_loopback_without_the_proxy() {
    let proxy = proxy();
    let collector = Server::start(|_| Response::status(200));
    let hook = Server::start(|_| Response::json(200, &json!({})));
    let services = Services::start();
    let mut world = services.world;
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        world = world.env(name, &proxy.url());
    }
    let world = world
        .env("NO_PROXY", "")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .env("HOOK", &hook.url());
    let services = Services { world, ..services };
    let file = services.file().replace("\"team\"]", "\"team\", \"hook\"]");
    services.world.config(&format!("{file}\n[stages.hook]\nkind = \"webhook\"\nurl = \"${{HOOK}}\"\n"));
    // Enough files to be fetched as an archive, which comes from another host.
    services.with_pages("api", 30);
    services.world.ok(&["apply"]);
    services.world.ok(&["query", "what page 3 says"]);
    let through: Vec<_> = proxy.requests().into_iter().map(|exchange| exchange.request.path).collect();
    assert!(through.is_empty(), "{through:?}");
    let asked = [
        ("github", services.github.api()),
        ("archives", services.github.archives()),
        ("ada", &services.ada.server),
        ("pinecone", &services.pinecone.server),
        ("slack", &services.slack.server),
        ("hook", &hook),
        ("collector", &collector),
    ];
    for (name, server) in asked {
        assert!(!server.requests().is_empty(), "{name} was not asked");
    }
}

#[test]
fn other_hosts_are_reached_through_the_proxy() {
    let proxy = proxy();
    let services = Services::start();
    let services = Services { world: services.world.env("https_proxy", &proxy.url()), ..services };
    let file = services.file().replace(&services.ada.url(), "https://models.invalid");
    services.world.config(&file.replace("[engine]\n", "[engine]\nretries = 0\n"));
    services.with_pages("api", 1);
    services.world.run(&["apply"]).exits(1);
    let seen: Vec<_> = proxy.requests().into_iter().map(|it| (it.request.method, it.request.path)).collect();
    assert_eq!(seen.first(), Some(&("CONNECT".to_owned(), "models.invalid:443".to_owned())), "{seen:?}");
}

#[test]
fn an_invalid_proxy_is_reported_without_its_value() {
    let services = Services::start();
    let world = services.world.env("HTTPS_PROXY", "ftp://user:hunter2@proxy.invalid");
    let services = Services { world, ..services };
    services.with_pages("api", 1);
    let ran = services.world.run(&["apply"]).exits(1);
    let said = [ran.stdout, ran.stderr].concat();
    assert!(said.contains("`HTTPS_PROXY` names a kind of proxy that is not supported"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
