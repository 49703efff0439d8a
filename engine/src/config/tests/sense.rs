//! Values of the right type that are invalid, one by one, and unusual ones that are valid.

use super::*;

/// Each case is the text of a stage, the key and the message.
#[test]
fn impossible_values() {
    let github = "kind = \"github\"\n";
    let wasm = "kind = \"wasm\"\ncomponent = \"a.wasm\"\n";
    let pattern = "kind = \"pattern\"\nmatch = [\"**/*.log\"]\n";
    let azure = "kind = \"azure-openai\"\nendpoint = \"h\"\ndeployment = \"d\"\n";
    let azure_key = &format!("{azure}api_key = \"k\"\n");
    let openai = "kind = \"openai\"\nmodel = \"m\"\nbase_url = \"http://localhost:1\"\n";
    let pinecone = "kind = \"pinecone\"\nindex = \"docs\"\napi_key = \"k\"\n";
    for (stage, key, message) in [
        (
            format!("{github}app_id = 1"),
            "app_id",
            "a GitHub App also needs `installation_id` and `private_key`",
        ),
        (
            format!("{github}app_id = 1\ninstallation_id = 2\nprivate_key = \"-----BEGIN\"\ntoken = \"t\""),
            "token",
            "a token and a GitHub App exclude each other",
        ),
        (
            format!("{github}private_key = \"x\"\napp_id = 1\ninstallation_id = 2"),
            "private_key",
            "not a PEM key",
        ),
        (
            format!("{github}api_url = \"http://github.example/api/v3\""),
            "api_url",
            "http is accepted for loopback addresses only",
        ),
        (format!("{github}api_url = \"https://github.com\""), "api_url", "this is the web site, not the API"),
        (
            "kind = \"sentence\"\nchunk_overlap = 1000".into(),
            "chunk_overlap",
            "must be less than `max_chunk_size` (1000)",
        ),
        ("kind = \"sentence\"\nmax_chunk_size = 0".into(), "max_chunk_size", "must be more than zero"),
        (
            "kind = \"sentence\"\noverlap_tokens = 1".into(),
            "overlap_tokens",
            "has no effect without `max_tokens`",
        ),
        (
            "kind = \"sentence\"\nmax_tokens = 9\noverlap_tokens = 9".into(),
            "overlap_tokens",
            "must be less than `max_tokens` (9)",
        ),
        ("kind = \"markdown\"\nmax_tokens = 0".into(), "max_tokens", "must be more than zero"),
        ("kind = \"markdown\"\nmatch = []".into(), "match", "an empty list matches no file"),
        (
            "kind = \"code\"\nmatch = [\"/src/**\"]".into(),
            "match",
            "matches nothing: paths start at the repository's root, without a `/`",
        ),
        (
            "kind = \"code\"\nmatch = [\"{a\"]".into(),
            "match",
            "not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)",
        ),
        (pattern.into(), "", "neither `start` nor `group` says where a chunk begins"),
        ("kind = \"pattern\"\ngroup = 1".into(), "", "`match` is missing"),
        (format!("{pattern}start = '^x'\ngroup = 2"), "group", "cannot be combined with `start`"),
        (format!("{pattern}group = 0"), "group", "must be more than zero"),
        (format!("{pattern}start = 'x^'"), "start", "matches no line"),
        (format!("{pattern}start = ''"), "start", "matches every line"),
        (
            format!("{pattern}start = '(a'"),
            "start",
            "is not a regular expression: unclosed group (character 1)",
        ),
        (
            format!("{pattern}start = '(a{{1000}}){{1000}}'"),
            "start",
            "is too large: compiled it exceeds 512 KiB",
        ),
        (
            format!("{pattern}start = '^(?<text>x)'"),
            "start",
            "the group name `text` is reserved: every record has a field of that name",
        ),
        (
            format!("{pattern}start = '^x'\ncontext = \"{{title}}\""),
            "context",
            "`start` has no group `title`",
        ),
        (format!("{pattern}start = '^x'\nend = '(?<name>y)'"), "end", "the group `name` has no effect here"),
        (format!("{pattern}start = '^x'\nheader = 1"), "header", "has no effect without `group`"),
        (format!("{pattern}group = 1\nend = 'x'"), "end", "has no effect without `start`"),
        (format!("{pattern}start = '^x'\nlead = \"attach\""), "lead", "has no effect without `comment`"),
        (
            format!("{pattern}start = '^x'\nlead = \"none\"\ncomment = '^#'"),
            "comment",
            "has no effect with `lead = \"none\"`",
        ),
        (format!("{wasm}sha256 = \"abc\""), "sha256", "not a SHA-256 digest"),
        (format!("{wasm}memory = \"5 GiB\""), "memory", "more than a component can address"),
        (format!("{wasm}deadline = \"0s\""), "deadline", "must be more than zero"),
        (format!("{wasm}deadline = \"2\""), "deadline", "`2` is not a duration"),
        (format!("{wasm}config = {{ since = 2024-01-01 }}"), "config", "JSON has no dates"),
        (format!("{wasm}config = {{ a = [nan] }}"), "config", "JSON has no infinite numbers"),
        (azure.into(), "", "`api_key` or `bearer_token` is missing"),
        (
            format!("{azure_key}bearer_token = \"t\""),
            "bearer_token",
            "a key and a bearer token exclude each other",
        ),
        ("kind = \"webhook\"\nurl = \"h\"\nsecret = \" \"".into(), "secret", "must not be empty"),
        (format!("{azure_key}batch_size = 2049"), "batch_size", "outside 1 to 2048"),
        (format!("{azure_key}dimensions = 20001"), "dimensions", "outside 1 to 20000"),
        (format!("{azure_key}api_version = \"v1\""), "api_version", "not a dated API version"),
        (format!("{azure_key}requests_per_minute = 0"), "requests_per_minute", "must be more than zero"),
        (format!("{azure_key}price_per_million_tokens = -1"), "price_per_million_tokens", "not a price"),
        ("kind = \"openai\"\nmodel = \"m\"".into(), "", "`api_key` is missing: api.openai.com requires it"),
        (format!("{openai}max_input_tokens = 0"), "max_input_tokens", "must be more than zero"),
        (
            format!("{openai}dimensions = -1"),
            "dimensions",
            "expected a whole number, at least 0, found a negative number",
        ),
        (
            format!("{openai}dimensions = 1.5"),
            "dimensions",
            "expected a whole number, at least 0, found a number with a fraction",
        ),
        (pinecone.replace("docs", "-docs"), "index", "not a name of a Pinecone index"),
        (format!("{pinecone}host = \"https://u:p@h\""), "host", "a URL must not carry credentials"),
        (format!("{pinecone}api_version = \"2026\""), "api_version", "not an API version"),
        (
            format!("{pinecone}create = {{ cloud = \"ibm\", region = \"r\" }}"),
            "create",
            "`cloud` is not one of the allowed values",
        ),
        (format!("{pinecone}create = {{ cloud = \"aws\", region = \"\" }}"), "create", "`region` is empty"),
        (
            "kind = \"sqlite\"\npath = \".reposync/state.db\"".into(),
            "path",
            "the ledger or the vector cache uses this file",
        ),
        (
            "kind = \"slack\"\nwebhook_url = \"https://h\"\non = []".into(),
            "on",
            "must name at least one event",
        ),
        ("kind = \"webhook\"\nurl = \"a b\"".into(), "url", "not a URL: invalid international domain name"),
        ("kind = \"webhook\"".into(), "", "`url` is missing"),
        ("x = 1".into(), "", "`kind` is missing"),
        ("kind = 1".into(), "kind", "expected text in quotes"),
    ] {
        let problems = read(&format!("[stages.a]\n{stage}\n")).expect_err(&stage);
        let path = if key.is_empty() { "stages.a".to_owned() } else { format!("stages.a.{key}") };
        let reported: Vec<_> =
            problems.list().iter().map(|one| (one.path.as_str(), one.message.as_str())).collect();
        assert_eq!(reported, [(path.as_str(), message)], "{stage}");
    }
}

/// The same for projects, `[engine]` and `[api]`: a line that is added, key, message.
#[test]
fn impossible_values_elsewhere() {
    for (line, key, message) in [
        ("organization = \"acme\"", "projects.docs.repositories", "cannot be combined with `organization`"),
        (
            "filter_keyword = \"docs\"",
            "projects.docs.filter_keyword",
            "narrows an organization, not named repositories",
        ),
        ("branch = \"a b\"", "projects.docs.branch", "not a branch's name"),
        ("namespace = \"ä\"", "projects.docs.namespace", "not a namespace"),
        ("namespace = \"\"", "projects.docs.namespace", "not a namespace"),
        ("schedule = \"0 25 * * *\"", "projects.docs.schedule", "not a cron expression"),
        ("schedule = \"0 0 30 2 *\"", "projects.docs.schedule", "it matches no date"),
        ("allowed_extensions = []", "projects.docs.allowed_extensions", "an empty list matches no file"),
        (
            "exclude_patterns = [\"[z-a]\"]",
            "projects.docs.exclude_patterns",
            "not a glob: invalid range; 'z' > 'a'",
        ),
        ("enabled = \"yes\"", "projects.docs.enabled", "expected `true` or `false`, found text"),
        (
            "[projects.\"a b\"]\npipeline = [\"here\", \"prose\", \"model\", \"index\"]\nrepositories = [\".\"]\nnamespace = \"x\"",
            "projects.\"a b\"",
            "not a valid name",
        ),
        (
            "[projects.b]\npipeline = [\"here\", \"prose\", \"model\", \"index\"]",
            "projects.b",
            "`repositories` is missing",
        ),
        (
            "[projects.b]\npipeline = [\"here\", \"prose\", \"model\", \"index\"]\norganization = \"a\"",
            "projects.b.organization",
            "kind `git` has no organizations",
        ),
        (
            "[projects.b]\npipeline = [\"here\", \"prose\", \"model\", \"index\"]\nrepositories = [\"x/a\", \"y/a.git\"]",
            "projects.b.repositories",
            "a second repository named `a`",
        ),
        (
            "[stages.hub]\nkind = \"github\"\n[projects.b]\npipeline = [\"hub\", \"prose\", \"model\", \"index\"]\nrepositories = [\"acme/a\", \"Acme/A\"]",
            "projects.b.repositories",
            "a second repository named `Acme/A`",
        ),
        (
            "[stages.hub]\nkind = \"github\"\n[projects.b]\npipeline = [\"hub\", \"prose\", \"model\", \"index\"]\nrepositories = [\"https://github.com/acme/a\"]",
            "projects.b.repositories",
            "not a repository's name",
        ),
        (
            "[stages.hub]\nkind = \"github\"\n[projects.b]\npipeline = [\"hub\", \"prose\", \"model\", \"index\"]\norganization = \"acme/a\"",
            "projects.b.organization",
            "not a name of an organization or a user",
        ),
        ("[engine]\nconcurrency = 0", "engine.concurrency", "outside 1 to 1000"),
        ("[engine]\nmax_file_bytes = 0", "engine.max_file_bytes", "must be more than zero"),
        ("[engine]\nmax_delete_ratio = nan", "engine.max_delete_ratio", "outside 0 to 1"),
        ("[engine]\nstate = \".reposync/cache.db\"", "engine.state", "this is the vector cache's file"),
        ("[engine]\nstate = \"${X\"", "engine.state", "`${` without a closing `}`"),
        ("[api]\nlisten = \"8080\"", "api.listen", "not an address with a port"),
        (
            "[api]\nlisten = \"0.0.0.0:8080\"",
            "api.listen",
            "without a token the daemon listens on loopback only",
        ),
        ("[api]\ntoken = \" \"", "api.token", "must not be empty"),
        ("[api]\nprobe_listen = \"8081\"", "api.probe_listen", "not an address with a port"),
        ("[api]\nprobe_listen = \"localhost:8080\"", "api.probe_listen", "the same address as `listen`"),
        ("[api]\npublic_url = \"sync.example\"", "api.public_url", "not the address of a site"),
        (
            "[api]\npublic_url = \"https://sync.example/reposync\"",
            "api.public_url",
            "not the address of a site",
        ),
        ("[api]\npublic_url = \"https://a:b@sync.example\"", "api.public_url", "not the address of a site"),
        ("[api]\npublic_url = \"ftp://sync.example\"", "api.public_url", "not the address of a site"),
        ("[api]\nwebhook_max_body = \"26 MiB\"", "api.webhook_max_body", "outside 1 KiB to 25 MiB"),
        ("[api]\nmax_connections = 0", "api.max_connections", "outside 1 to 65536"),
        ("[api]\ntls_cert = \"cert.pem\"", "api.tls_cert", "`tls_key` is missing"),
        ("[api]\ntls_key = \"key.pem\"", "api.tls_key", "`tls_cert` is missing"),
        ("[api]\ntls_cert = \"\"\ntls_key = \"key.pem\"", "api.tls_cert", "must not be empty"),
    ] {
        let problems = read(&format!("{SIMPLE}{line}\n")).expect_err(line);
        let reported: Vec<_> =
            problems.list().iter().map(|one| (one.path.as_str(), one.message.as_str())).collect();
        assert_eq!(reported, [(key, message)], "{line}");
    }
}

#[test]
fn possible_values() {
    for line in [
        "[engine]\nmax_delete_ratio = 1",
        "[engine]\nmax_file_bytes = 1000",
        "[api]\nlisten = \"localhost:8080\"",
        "[api]\nlisten = \"localhost:0\"\nprobe_listen = \"localhost:0\"",
        "[api]\nprobe_listen = \"0.0.0.0:8081\"",
        "[api]\npublic_url = \"https://sync.example:8443/\"",
        "[api]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"",
        "[api]\nlisten = \"0.0.0.0:8080\"\ntoken = \"${KEY}\"",
        "[stages.a]\nkind = \"sentence\"\nmax_chunk_size = 100\nmax_tokens = 50",
        "[stages.a]\nkind = \"azure-openai\"\nendpoint = \"h.example/prefix\"\ndeployment = \"d\"\napi_key = \"k\"\nprice_per_million_tokens = 1",
        "schedule = \"@hourly\"",
        "exclude_patterns = []",
        "[projects.b]\nenabled = false\npipeline = [\"here\", \"prose\", \"model\", \"index\"]\nrepositories = [\"${NOT_SET}\"]",
    ] {
        let result = read(&format!("{SIMPLE}{line}\n"));
        assert!(result.is_ok(), "{line}\n{}", result.expect_err("wrong"));
    }
}
