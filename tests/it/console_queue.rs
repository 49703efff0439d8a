//! The queue in the console: who sees and decides what, over plain HTTP and in a real browser.

use serde_json::{Value, json};

use crate::support::browser::{Browser, TOKEN, VIEWS, axe};
use crate::support::console::{Session, header};
use crate::support::daemon::{API, Daemon};
use crate::support::http::Fault;
use crate::support::local::{Local, STAGES};
use crate::support::openai::Options;
use crate::support::postgres::Postgres;
use crate::support::shop::{ALONE, Shop};

const PIPELINE: &str = "pipeline = [\"local\", \"prose\", \"model\", \"index\"]";
const TOKENS: &str = "[api.tokens.reader]\ntoken = \"reader-token\"\n\
    [api.tokens.ops]\ntoken = \"ops-token\"\nscopes = [\"read\", \"sync\"]\n\
    [api.tokens.narrow]\ntoken = \"narrow-token\"\nprojects = [\"docs\"]\n\
    scopes = [\"query\", \"read\", \"sync\", \"write\", \"admin\"]\n";
const EVIL: &str = "<img src=x onerror=window.hit=1>\"'\u{202e}";

/// A daemon whose state is in a database, in which a test writes units and workers.
struct Hall {
    local: Local,
    daemon: Daemon,
    server: &'static Postgres,
    url: String,
}

/// What distinguishes a unit.
struct Unit<'a> {
    project: &'a str,
    repository: &'a str,
    state: &'a str,
    reason: Option<&'a str>,
    worker: &'a str,
}

impl Unit<'_> {
    const DEAD: Self = Self {
        project: "docs",
        repository: "docs",
        state: "dead",
        reason: Some("model: the service answered 503"),
        worker: "w1",
    };
}

impl Hall {
    /// `None`: no server can be started.
    fn open() -> Option<Self> {
        let server = Postgres::start()?;
        let url = server.database();
        let local = Local::new();
        local.world.repo("quagga").write("stripes.md", "The savannah is wide.\n").commit("first");
        local.config(&format!(
            "[engine]\nstate = \"{url}\"\n{STAGES}\n[projects.docs]\n{PIPELINE}\nrepositories = [\"docs\"]\n\
             [projects.zebra]\n{PIPELINE}\nrepositories = [\"quagga\"]\n{API}token = \"{TOKEN}\"\n{TOKENS}"
        ));
        let mut daemon = Daemon::start(&local.world);
        daemon.token = Some(TOKEN.to_owned());
        daemon.until_runs_of("docs", 1);
        daemon.until_runs_of("zebra", 1);
        let hall = Self { local, daemon, server, url };
        hall.sql("INSERT INTO generations (digest, version, content) VALUES ('by hand', '0', '{}')");
        Some(hall)
    }

    fn sql(&self, statement: &str) -> String {
        self.server.sql(&self.url, statement)
    }

    /// Adds a unit; its number.
    fn unit(&self, unit: &Unit<'_>) -> i64 {
        let Unit { project, repository, state, reason, worker } = unit;
        let history = reason.map(|reason| {
            let at = "2026-01-02T03:04:05Z";
            json!([{ "at": at, "worker": worker, "reason": "model: timed out" }, { "at": at, "worker": worker, "reason": reason }])
        });
        let history = history.unwrap_or_else(|| json!([]));
        let reason = reason.map_or("NULL".to_owned(), |reason| format!("$q${reason}$q$"));
        let id = self.sql(&format!(
            "INSERT INTO units (run, project, repository, generation, digest, task, state, attempts, worker, reason, history,
                 created_at, not_before, changed_at)
             VALUES ($q$20260102T030405Z-1$q$, $q${project}$q$, $q${repository}$q$, (SELECT max(number) FROM generations), 'd',
                 '{{}}', '{state}', 5, $q${worker}$q$, {reason}, $q${history}$q$, now() - interval '11 minutes',
                 now() - interval '11 minutes', now() - interval '3 minutes')
             RETURNING id"
        ));
        id.parse().unwrap_or_else(|_| panic!("no number: {id}"))
    }

    /// Adds a worker; `refused`: why it cannot use the newest configuration.
    fn worker(&self, label: &str, version: &str, refused: Option<&str>) {
        let id = self.sql("SELECT count(*) FROM workers");
        self.sql(&format!(
            "INSERT INTO workers (id, label, version, capacity, since) VALUES ('{id}', $q${label}$q$, '{version}', 4, now() - interval '2 days')"
        ));
        if let Some(reason) = refused {
            self.sql(&format!(
                "INSERT INTO generation_answers (generation, worker, refused)
                 VALUES ((SELECT max(number) FROM generations), '{id}', $q${reason}$q$)"
            ));
        }
    }

    fn queue_of(&self, token: &str) -> Value {
        let authorization = format!("Bearer {token}");
        self.daemon.request("GET", "/queue", &[("Authorization", &authorization)], b"").is(200).json()
    }
}

#[test]
fn each_token_sees_and_decides_about_its_own_units() {
    let Some(hall) = Hall::open() else { return };
    let daemon = &hall.daemon;
    let own = hall.unit(&Unit::DEAD);
    let other = hall.unit(&Unit { project: "zebra", repository: "quagga", ..Unit::DEAD });
    hall.unit(&Unit { repository: "guides", state: "ready", reason: None, ..Unit::DEAD });
    hall.worker("builder", env!("CARGO_PKG_VERSION"), Some("stage `okapi`: no key"));
    let [whole, reader, ops, narrow] =
        [TOKEN, "reader-token", "ops-token", "narrow-token"].map(|token| Session::of(daemon, token));
    let page = whole.get(daemon, "/console/queue").is(200).body;
    for shown in [
        "quagga",
        "zebra",
        "the service answered 503",
        "okapi",
        "builder",
        "refuses",
        "the oldest for 11 min",
    ] {
        assert!(page.contains(shown), "no {shown} in {page}");
    }
    assert!(page.contains("data-key=\"q\"") && page.contains("/console/queue?state=dead"), "{page}");
    // A token for a part sees its part, in the counts as well.
    let page = narrow.get(daemon, "/console/queue").is(200).body;
    for hidden in ["quagga", "zebra", "okapi"] {
        assert!(!page.contains(hidden), "{hidden} in {page}");
    }
    let queue = hall.queue_of("narrow-token");
    assert_eq!((&queue["counts"]["dead"], &queue["counts"]["ready"]), (&json!(1), &json!(1)), "{queue}");
    assert_eq!(
        (&queue["workers"][0]["label"], &queue["workers"][0]["refused"]),
        (&json!("builder"), &Value::Null)
    );
    assert_eq!(hall.queue_of(TOKEN)["counts"]["dead"], 2);
    narrow.get(daemon, &format!("/console/queue/{other}")).is(404);
    narrow.post(daemon, "/console", &format!("/console/queue/{other}/retry"), "").is(404);
    narrow.post(daemon, "/console", &format!("/console/queue/{other}/drop"), "").is(404);
    // Buttons are there for those who may use them.
    let unit = format!("/console/queue/{own}");
    let (retry, drop) = (format!("{unit}/retry"), format!("{unit}/drop"));
    let buttons = |session: &Session, page: &str| {
        let body = session.get(daemon, page).is(200).body;
        (body.contains(&format!("action=\"{retry}\"")), body.contains(&format!("action=\"{drop}\"")))
    };
    for (session, expected) in [(&reader, (false, false)), (&ops, (true, false)), (&narrow, (true, true))] {
        assert_eq!(buttons(session, &unit), expected);
        assert_eq!(buttons(session, "/console/queue"), (expected.0, false));
    }
    assert!(reader.post(daemon, "/console", &retry, "").is(403).body.contains("`sync`"));
    assert!(ops.post(daemon, "/console", &drop, "").is(403).body.contains("`admin`"));
    // Only the pages' own forms decide.
    for origin in ["https://evil.example", whole.origin()] {
        whole.send(daemon, &drop, origin, "csrf=").is(403);
    }
    // The first decision counts, a later one is refused with the reason.
    let dropped = whole.post(daemon, &unit, &drop, "").is(303);
    assert_eq!(header(&dropped, "location").as_deref(), Some(unit.as_str()));
    assert!(ops.get(daemon, &unit).is(200).body.contains("Dropped by an operator"));
    assert!(narrow.post(daemon, "/console", &drop, "").is(404).body.contains("before"));
    assert_eq!(daemon.get("/queue?state=dropped").is(200).json()["units"][0]["id"], own);
    let retried = ops.post(daemon, &unit, &retry, "").is(303);
    let page = header(&retried, "location").expect("a page");
    assert!(ops.get(daemon, &page).is(200).body.contains("works on the repository again"), "{page}");
    assert!(ops.get(daemon, &unit).is(404).body.contains("when they are retried"));
    for (session, project) in [(&narrow, "zebra"), (&whole, "nothing")] {
        let page = session.get(daemon, &format!("/console/queue?retried={project}")).is(200).body;
        assert!(!page.contains("works on the repository again"), "{page}");
    }
    // The API decides in the same way.
    assert_eq!(daemon.post(&format!("/queue/{own}/retry"), &json!({})).is(404).code(), "not_found");
    assert_eq!(daemon.post("/queue/odd/retry", &json!({})).is(404).code(), "not_found");
    assert_eq!(
        daemon.post(&format!("/queue/{other}/drop"), &json!({})).is(200).json()["repository"],
        "quagga"
    );
    whole.get(daemon, "/console/queue/odd").is(404);
    let audit = daemon.get("/audit?project=docs").is(200).json();
    for what in [&retry, &drop] {
        let mut entries = audit["entries"].as_array().expect("entries").iter();
        let asked = format!("POST {what}");
        assert!(
            entries.any(|entry| entry["what"] == asked.as_str() && entry["outcome"] == "303"),
            "{asked}: {audit}"
        );
    }
}

#[test]
fn many_units_come_in_pages_and_are_filtered() {
    let Some(hall) = Hall::open() else { return };
    let daemon = &hall.daemon;
    hall.sql(
        "INSERT INTO units (run, project, repository, generation, digest, task, state)
         SELECT 'run', 'docs', 'repository-' || n, (SELECT max(number) FROM generations), 'd', '{}', 'ready'
         FROM generate_series(1, 1000) AS n",
    );
    hall.unit(&Unit { project: "zebra", repository: "quagga", ..Unit::DEAD });
    let session = Session::of(daemon, TOKEN);
    let first = session.get(daemon, "/console/queue").is(200).body;
    assert!(
        first.contains("1,001") && first.contains("quagga") && !first.contains(">repository-1<"),
        "{first}"
    );
    assert!(first.len() < 200 << 10, "{} bytes", first.len());
    assert!(first.contains("1,000 units wait and no worker was seen"), "{first}");
    let next = first.split("before=").nth(1).and_then(|rest| rest.split('"').next()).expect("a next page");
    let second = session.get(daemon, &format!("/console/queue?before={next}")).is(200).body;
    assert!(
        second.contains("Newest units") && second.contains("Older units") && !second.contains("quagga"),
        "{second}"
    );
    let of_zebra = session.get(daemon, "/console/queue?project=zebra").is(200).body;
    assert!(of_zebra.contains("quagga") && !of_zebra.contains("repository-1000"), "{of_zebra}");
    let running = session.get(daemon, "/console/queue?state=running").is(200).body;
    assert!(running.contains("No unit."), "{running}");
    // The same pages by the API, for a token for a part as well.
    let pages = |token: &str| {
        let authorization = format!("Bearer {token}");
        let mut found = Vec::new();
        let mut next = Value::Null;
        loop {
            let before = next.as_i64().map(|id| format!("&before={id}")).unwrap_or_default();
            let path = format!("/queue?limit=400&project=docs&state=ready{before}");
            let page = daemon.request("GET", &path, &[("Authorization", &authorization)], b"").is(200).json();
            found.push(page["units"].as_array().expect("units").len());
            next = page["next"].clone();
            if next.is_null() {
                return found;
            }
        }
    };
    assert_eq!((pages(TOKEN), pages("narrow-token")), (vec![400, 400, 200], vec![400, 400, 200]));
}

#[test]
fn without_a_database_there_is_no_queue() {
    let (_local, daemon) = Daemon::of_local();
    let session = Session::of(&daemon, daemon.token.as_deref().expect("its own"));
    assert!(!session.get(&daemon, "/console").is(200).body.contains("/console/queue"));
    let missing = session.get(&daemon, "/console/queue").is(404).body;
    assert!(missing.contains("PostgreSQL"), "{missing}");
    session.get(&daemon, "/console/queue/7").is(404);
    session.post(&daemon, "/console", "/console/queue/7/retry", "").is(404);
}

/// One unit in each state, and workers, some with names that try to be markup.
fn fill(hall: &Hall) -> [i64; 2] {
    let long = "long-".repeat(40);
    let dead = hall.unit(&Unit::DEAD);
    let evil = hall.unit(&Unit { repository: EVIL, reason: Some(EVIL), worker: EVIL, ..Unit::DEAD });
    hall.unit(&Unit {
        repository: &long,
        reason: Some(&long),
        worker: &long,
        state: "dropped",
        ..Unit::DEAD
    });
    for (repository, state) in [("api", "running"), ("web", "running"), ("site", "done")] {
        hall.unit(&Unit { repository, state, reason: None, worker: "builder-1", ..Unit::DEAD });
    }
    hall.unit(&Unit { repository: "handbook", state: "ready", worker: "builder-1", ..Unit::DEAD });
    hall.worker("builder-1", env!("CARGO_PKG_VERSION"), None);
    hall.worker(EVIL, env!("CARGO_PKG_VERSION"), Some(EVIL));
    hall.worker(&long, "0.1.0", None);
    hall.sql(&format!("INSERT INTO daemons (id, label, version) VALUES ('other', $q${EVIL}$q$, '0.1.0')"));
    [dead, evil]
}

#[test]
fn names_in_the_queue_are_never_markup() {
    let Some(hall) = Hall::open() else { return };
    let ids = fill(&hall);
    let session = Session::of(&hall.daemon, TOKEN);
    let odd = "%3Cimg%20src%3Dx%20onerror%3Dwindow.hit%3D1%3E%22%27";
    for page in [
        "/console/queue".to_owned(),
        format!("/console/queue?state={odd}&project={odd}&before={odd}&retried={odd}"),
        format!("/console/queue/{}", ids[1]),
        format!("/console/queue/{odd}"),
    ] {
        let body = session.get(&hall.daemon, &page).body;
        assert!(!body.contains("<img") && !body.contains("hit=1>\""), "{page}: {body}");
    }
    let body = session.get(&hall.daemon, &format!("/console/queue/{}", ids[1])).is(200).body;
    assert!(body.contains("&lt;img src=x onerror=window.hit=1&gt;&quot;'\\u{202e}"), "{body}");
}

#[test]
fn the_pages_of_the_queue_fit_and_are_accessible() {
    let Some(browser) = Browser::start() else { return };
    let Some(hall) = Hall::open() else { return };
    let [dead, evil] = fill(&hall);
    let base = format!("http://{}", hall.daemon.address());
    let axe = axe();
    browser.sign_in(&format!("{base}/console/queue"));
    browser.until_shows("builder-1");
    for view in VIEWS {
        browser.view(view);
        for (name, page) in [
            ("queue", "/console/queue".to_owned()),
            ("queue-retried", "/console/queue?state=running&retried=docs".to_owned()),
            ("unit", format!("/console/queue/{dead}")),
            ("unit-odd-names", format!("/console/queue/{evil}")),
        ] {
            // A worker is there for a minute.
            hall.sql("UPDATE workers SET seen = now() - interval '4 seconds'");
            hall.sql("UPDATE daemons SET seen = now() WHERE id = 'other'");
            browser.go(&format!("{base}{page}"));
            if name == "unit" {
                browser.click("#drop summary");
            }
            browser.picture(&format!("{name}-{}", view.name));
            browser.check(axe.as_deref(), &format!("{name} {}", view.name));
            assert_eq!(browser.run("return window.hit ?? null"), Value::Null, "{name}");
        }
    }
    hall.local.world.ok(&["queue", "list"]);
    // By the keyboard: to the page, and from unit to unit.
    browser.go(&format!("{base}/console"));
    for key in ["g", "q"] {
        browser.run(&format!(
            "document.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true }}))"
        ));
    }
    browser.until_shows("builder-1");
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }))");
    assert_eq!(browser.run("return document.activeElement.textContent"), "builder-1");
}

#[test]
fn a_dead_unit_is_retried() {
    let Some(browser) = Browser::start() else { return };
    let Some(shop) = Shop::open(&format!("{ALONE}attempts = 1\n"), Options::default()) else { return };
    let text = shop.services.world.read("reposync.toml");
    shop.services.world.config(&format!("{text}\n{API}token = \"{TOKEN}\"\n"));
    let files = [("a.md", "one\n"), ("b.md", "two\n")].map(|(path, text)| (path, text.to_owned()));
    let repo = shop.services.repository("repo-0", &files);
    let github = &shop.services.github;
    github.fail(&format!("/git/blobs/{}", repo.sha("HEAD:b.md")), 1, Fault::Hang);
    let mut daemon = Daemon::start(&shop.services.world);
    daemon.token = Some(TOKEN.to_owned());
    let mut first = shop.worker("first");
    first.until("that it works", |_| github.api().faults_left() == 0);
    let run = daemon.project("handbook")["running"].as_str().expect("a run").to_owned();
    let session = Session::of(&daemon, TOKEN);
    let page = session.get(&daemon, &format!("/console/runs/{run}")).is(200).body;
    assert!(
        page.contains("acme/repo-0") && page.contains("first"),
        "the run shows who works on what: {page}"
    );
    first.signal("KILL");
    let _second = shop.worker("second");
    daemon.until("the dead unit", |daemon| daemon.get("/queue").json()["units"][0]["state"] == "dead");
    daemon.until_state("handbook", "partial");
    let base = format!("http://{}", daemon.address());
    browser.sign_in(&format!("{base}/console"));
    browser.until_shows("Projects");
    browser.go(&format!("{base}/console/queue?state=dead"));
    browser.until_shows("acme/repo-0");
    browser.picture("queue-dead");
    browser.click("td a[href^='/console/queue/']");
    browser.until_shows("What now?");
    let text = browser.text();
    assert!(text.contains("Dead after 1 attempt") && text.contains("first"), "{text}");
    browser.picture("unit-dead");
    // Dropping needs a second step, which a fresh copy of the page does not undo.
    let is_shown =
        |browser: &Browser| browser.run("return document.querySelector('#drop button').checkVisibility()");
    assert_eq!(is_shown(&browser), false);
    browser.click("#drop summary");
    browser.look();
    assert_eq!(is_shown(&browser), true);
    browser.click("form[action$='/retry'] button");
    browser.until_shows("works on the repository again");
    browser.click(".callout a");
    browser.until_shows("Sync now");
    browser.click("form[action$='/sync'] button.primary");
    browser.until_shows("Run again");
    assert!(browser.text().contains("done"), "{}", browser.text());
    browser.go(&format!("{base}/console/queue"));
    browser.until_shows("No unit.");
    assert_eq!(daemon.project("handbook")["files"], 2);
}
