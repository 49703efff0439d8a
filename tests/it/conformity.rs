//! The fakes check every request against the services' own specifications: an unknown field or a wrong
//! type is a failure. (Their answers are checked by the same code.)

use serde_json::{Value, json};

use crate::support::github::{FakeGithub, TOKEN};
use crate::support::openai::{FakeOpenAi, Options};
use crate::support::openapi::{Spec, folder};
use crate::support::pinecone::{KEY, Pinecone};

async fn post(url: &str, headers: &[(&str, &str)], body: &Value) -> u16 {
    reposync::net::install_tls_provider();
    let mut request = reqwest::Client::new().post(url).body(body.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer").status().as_u16()
}

async fn get(url: &str, headers: &[(&str, &str)]) -> u16 {
    reposync::net::install_tls_provider();
    let mut request = reqwest::Client::new().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn github_is_held_to_its_specification() {
    let Some(_) = Spec::load("github-rest.openapi.json") else { return };
    let github = FakeGithub::start();
    let repo = crate::support::git_repo::GitRepo::init("r");
    repo.write("a.md", "Words.").commit("first");
    let id = github.repository("acme/r", Some(repo.path()));
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-github-api-version", "2022-11-28"),
        ("user-agent", "test"),
        ("accept", "application/vnd.github+json"),
    ];
    let by_id = format!("/repositories/{id}/git/trees/main");
    for (path, problem) in [
        ("/orgs/acme/repos?per_page=100&sort=created&direction=asc", None),
        ("/orgs/acme/repos?perpage=100", Some("unknown query parameter `perpage`")),
        ("/orgs/acme/repos?sort=size", Some("`size` is not as declared")),
        ("/organizations/by-id-acme/repos?page=one", Some("`one` is not as declared")),
        ("/repos/acme/r/git/trees/main?recursive=1", None),
        (&by_id, None),
        ("/repos/acme/r/git/tree/main", Some("no operation")),
        ("/user", None),
    ] {
        get(&format!("{}{path}", github.api_url()), &headers).await;
        let problems = github.take_problems();
        match problem {
            None => assert_eq!(problems, [""; 0], "{path}"),
            Some(problem) => {
                assert!(problems.iter().any(|said| said.contains(problem)), "{path}: {problems:?}");
            }
        }
    }
    get(&format!("{}/user", github.api_url()), &[headers[0], headers[2]]).await;
    assert!(github.take_problems().iter().any(|said| said.contains("no API version")));
}

#[tokio::test]
async fn embedding_services_are_held_to_their_specifications() {
    let fake = FakeOpenAi::start(Options::default());
    let key = [("api-key", "key-for-tests"), ("authorization", "Bearer key-for-tests")];
    let dated = "/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21";
    let model = "text-embedding-3-small";
    for (path, body, good) in [
        (dated, json!({ "input": ["a"] }), true),
        (dated, json!({ "input": [[1, 2]], "dimensions": "many" }), false),
        (dated, json!({ "inputs": ["a"] }), false),
        ("/openai/v1/embeddings", json!({ "input": ["a"], "model": model }), true),
        ("/openai/v1/embeddings", json!({ "input": ["a"], "model": model, "dimensions": 0 }), false),
        ("/v1/embeddings", json!({ "input": ["a"], "model": model }), true),
        ("/v1/embeddings", json!({ "input": ["a"], "model": model, "encoding_format": "hex" }), false),
    ] {
        let headers = [key[usize::from(path.starts_with("/v1"))], ("content-type", "application/json")];
        post(&format!("{}{path}", fake.url()), &headers, &body).await;
        let problems = fake.take_problems();
        let checked = folder().is_dir();
        assert_eq!(problems.is_empty(), good || !checked, "{path} {body}: {problems:?}");
    }
}

#[tokio::test]
async fn pinecone_is_held_to_its_specification() {
    let Some(_) = Spec::load("pinecone-db_data-2026-04.oas.yaml") else { return };
    let fake = Pinecone::start(Some(2));
    let headers =
        [("api-key", KEY), ("x-pinecone-api-version", "2026-04"), ("content-type", "application/json")];
    let record = json!({ "id": "a", "values": [0.5, 1.0] });
    for (path, body, good) in [
        ("/vectors/upsert", json!({ "namespace": "n", "vectors": [record] }), true),
        ("/vectors/upsert", json!({ "namespace": "n", "vectors": [{ "values": [0.5, 1.0] }] }), false),
        ("/vectors/upsert", json!({ "namespace": 1, "vectors": [record] }), false),
        ("/vectors/delete", json!({ "namespace": "n", "ids": "a" }), false),
        ("/vectors/delete", json!({ "namespace": "n", "ids": ["a"], "filter": { "a": "b" } }), false),
        ("/query", json!({ "namespace": "n", "vector": [0.5, 1.0] }), false),
        ("/vectors/remove", json!({}), false),
    ] {
        post(&format!("{}{path}", fake.host()), &headers, &body).await;
        let problems = fake.take_problems();
        assert_eq!(problems.is_empty(), good, "{path} {body}: {problems:?}");
    }
    get(&format!("{}/vectors/list?limit=5&prefixes=a&namespace=n", fake.host()), &headers).await;
    assert!(fake.take_problems()[0].contains("unknown query parameter `prefixes`"));
    get(&format!("{}/indexes/docs", fake.server.url()), &headers[..1]).await;
    assert!(fake.take_problems()[0].contains("no version"));
}
