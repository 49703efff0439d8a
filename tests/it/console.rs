//! The console over plain HTTP: sessions, forms, what each token sees, and that all content is escaped.

use serde_json::json;

use crate::support::console::{Session, header, sign_in};
use crate::support::daemon::{API, Daemon};
use crate::support::local::{Local, STAGES, project};

const TOKENS: &str = "[api]\nlisten = \"127.0.0.1:0\"\ntoken = \"correct horse\"\n\
    [api.tokens.reader]\ntoken = \"reader-token\"\n\
    [api.tokens.narrow]\ntoken = \"narrow-token\"\nprojects = [\"docs\"]\n\
    scopes = [\"query\", \"read\", \"sync\", \"write\", \"admin\"]\n";
const PIPELINE: &str = "pipeline = [\"local\", \"prose\", \"model\", \"index\"]";
const PAGES: [&str; 11] = [
    "/console",
    "/console/projects/docs",
    "/console/projects/docs/files",
    "/console/projects/docs/files?path=README.md",
    "/console/plans",
    "/console/runs",
    "/console/usage",
    "/console/search?q=where+do+I+start",
    "/console/config",
    "/console/audit",
    "/console/docs",
];

fn start() -> (Local, Daemon) {
    let local = Local::new();
    local.world.repo("quagga").write("stripes.md", "The savannah is wide.\n").commit("first");
    local.config(&format!(
        "{STAGES}\n[projects.docs]\n{PIPELINE}\nrepositories = [\"docs\"]\n\
         [projects.zebra]\n{PIPELINE}\nrepositories = [\"quagga\"]\nnamespace = \"okapi\"\n{TOKENS}"
    ));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.until_runs_of("docs", 1);
    daemon.until_runs_of("zebra", 1);
    (local, daemon)
}

#[test]
fn pages_need_a_session_and_lead_back_after_signing_in() {
    let (local, daemon) = start();
    for page in PAGES {
        let away = daemon.request("GET", page, &[("Authorization", "none")], b"").is(303);
        assert!(
            header(&away, "location").is_some_and(|to| to.starts_with("/console/sign-in?next=")),
            "{page}"
        );
    }
    let to = daemon.request("GET", "/", &[], b"").is(303);
    assert_eq!(header(&to, "location").as_deref(), Some("/console"));
    let session = Session::of(&daemon, "correct horse");
    for page in PAGES {
        let answer = session.get(&daemon, page).is(200);
        let policy = header(&answer, "content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{page}: {policy}");
        assert!(!answer.body.contains("style=") && !answer.body.contains(" onclick"), "{page}");
        assert_eq!(answer.body.matches("<h1").count(), 1, "{page}");
    }
    for asset in ["style.css", "app.js", "icon.svg"] {
        daemon.request("GET", &format!("/console/assets/{asset}"), &[("Authorization", "none")], b"").is(200);
    }
    daemon.request("GET", "/console/assets/../mod.rs", &[], b"").is(404);
    // A wrong token is said so, and begins no session.
    let wrong = sign_in(&daemon, session.origin(), "wrong").is(401);
    assert!(wrong.body.contains("not known") && header(&wrong, "set-cookie").is_none(), "{}", wrong.body);
    // The session ends with its token, and by signing out.
    let other = Session::of(&daemon, "reader-token");
    other.get(&daemon, "/console").is(200);
    local.config(&local.world.read("reposync.toml").replace("reader-token", "another-token"));
    local.world.ok(&["reload"]);
    other.get(&daemon, "/console").is(303);
    session.post(&daemon, "/console", "/console/sign-out", "").is(303);
    session.get(&daemon, "/console").is(303);
}

#[test]
fn a_session_outlives_the_daemon_but_not_its_token_or_its_end() {
    let (local, daemon) = start();
    let [whole, reader, ended] =
        ["correct horse", "reader-token", "reader-token"].map(|token| Session::of(&daemon, token));
    ended.post(&daemon, "/console", "/console/sign-out", "").is(303);
    let form = whole.get(&daemon, "/console/projects/docs").is(200).body;
    let csrf =
        form.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
    daemon.stop().exits(0);
    local.config(&local.world.read("reposync.toml").replace("reader-token", "another-token"));
    let daemon = Daemon::start(&local.world);
    // A form that was open before the restart is still good.
    let origin = format!("http://{}", daemon.address());
    whole.send(&daemon, "/console/projects/docs/sync", &origin, &format!("csrf={csrf}")).is(303);
    for gone in [reader, ended] {
        gone.get(&daemon, "/console").is(303);
    }
    let ledger = std::fs::read(local.world.path(".reposync/state.db")).expect("a ledger");
    let secret = whole.secret();
    for kept in [secret.as_bytes(), csrf.as_bytes(), b"correct horse"] {
        assert!(!ledger.windows(kept.len()).any(|part| part == kept), "{}", String::from_utf8_lossy(kept));
    }
}

#[test]
fn the_generated_token_signs_in_on_this_machine_alone() {
    let (_local, daemon) = Daemon::of_local();
    let token = daemon.token.clone().expect("its own");
    let session = Session::of(&daemon, &token);
    assert!(session.get(&daemon, "/console").is(200).body.contains("docs"));
    session.post(&daemon, "/console/projects/docs", "/console/projects/docs/sync", "").is(303);
    // A name that somebody else made resolve to this machine.
    let headers = [("Host", "evil.example"), ("Origin", "http://evil.example"), ("Authorization", "none")];
    let form = format!("token={token}");
    daemon.request("POST", "/console/sign-in", &headers, form.as_bytes()).is(403);
}

#[test]
fn forms_of_other_pages_change_nothing() {
    let (_local, daemon) = start();
    let session = Session::of(&daemon, "correct horse");
    let path = "/console/projects/docs/sync";
    let runs = daemon.runs().len();
    let page = session.get(&daemon, "/console/projects/docs").is(200).body;
    let csrf =
        page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
    for (origin, form) in [
        (session.origin(), String::new()),
        (session.origin(), "csrf=".to_owned()),
        (session.origin(), format!("csrf={}", csrf.replace(char::is_numeric, "a"))),
        ("https://evil.example", format!("csrf={csrf}")),
        ("null", format!("csrf={csrf}")),
    ] {
        session.send(&daemon, path, origin, &form).is(403);
    }
    let other = Session::of(&daemon, "correct horse");
    other.send(&daemon, path, session.origin(), &format!("csrf={csrf}")).is(403);
    daemon.request("POST", path, &[("Authorization", "none"), ("Origin", session.origin())], b"").is(401);
    assert_eq!(daemon.runs().len(), runs);
    session.send(&daemon, path, session.origin(), &format!("csrf={csrf}")).is(303);
}

#[test]
fn scopes_decide_what_is_shown_and_which_buttons_exist() {
    let (_local, daemon) = start();
    let reader = Session::of(&daemon, "reader-token");
    let page = reader.get(&daemon, "/console/projects/docs").is(200).body;
    assert!(!page.contains("Sync now") && !page.contains("Configuration"), "{page}");
    for page in ["/console/config", "/console/audit"] {
        assert!(reader.get(&daemon, page).is(403).body.contains("admin"), "{page}");
    }
    let refused = reader.post(&daemon, "/console", "/console/projects/docs/sync", "").is(403);
    assert!(refused.body.contains("`sync`"), "{}", refused.body);
    // A token for a part sees nothing else, on any page.
    let narrow = Session::of(&daemon, "narrow-token");
    let zebra = daemon.runs_of("zebra")[0]["run"].as_str().expect("an id").to_owned();
    let own = daemon.runs_of("docs")[0]["run"].as_str().expect("an id").to_owned();
    let pages = PAGES.iter().map(|page| (*page).to_owned()).filter(|page| page != "/console/config");
    let pages = pages.chain([format!("/console/runs/{own}"), "/console/search?q=savannah".to_owned()]);
    for page in pages {
        let body = narrow.get(&daemon, &page).is(200).body;
        for word in ["zebra", "quagga", "okapi", "stripes"] {
            assert!(!body.contains(word), "{page} shows {word}: {body}");
        }
    }
    for page in [
        format!("/console/runs/{zebra}"),
        "/console/projects/zebra".to_owned(),
        "/console/projects/zebra/files".to_owned(),
    ] {
        narrow.get(&daemon, &page).is(404);
    }
    narrow.get(&daemon, "/console/config").is(403);
    narrow.post(&daemon, "/console", "/console/projects/zebra/sync", "").is(404);
    narrow.post(&daemon, "/console", &format!("/console/runs/{zebra}/cancel"), "").is(404);
}

#[test]
fn a_run_is_started_followed_and_recorded() {
    let (_local, mut daemon) = start();
    let session = Session::of(&daemon, "narrow-token");
    let started =
        session.post(&daemon, "/console/projects/docs", "/console/projects/docs/sync", "full=1").is(303);
    let page = header(&started, "location").expect("the run's page");
    let run = page.rsplit('/').next().expect("an id").to_owned();
    daemon.until_ended(&run);
    let events = session.get(&daemon, &format!("{page}/events")).is(200).body;
    // Browsers ignore events without data.
    assert!(events.contains("event: end\ndata: {}\n"), "{events}");
    let shown = session.get(&daemon, &page).is(200).body;
    assert!(
        shown.contains("Run again") && shown.contains("done") && !shown.contains("data-events"),
        "{shown}"
    );
    assert!(session.get(&daemon, "/console/runs?project=docs").is(200).body.contains(&run));
    session.get(&daemon, "/console/runs/unknown").is(404);
    // It has ended, so there is nothing to cancel.
    assert_eq!(daemon.post(&format!("/runs/{run}/cancel"), &json!({})).is(409).code(), "ended");
    assert_eq!(daemon.post("/runs/unknown/cancel", &json!({})).is(404).code(), "not_found");
    let audit = session.get(&daemon, "/console/audit").is(200).body;
    assert!(audit.contains("narrow") && audit.contains("POST /console/projects/docs/sync"), "{audit}");
}

#[test]
fn a_failing_project_is_first_and_its_files_have_their_reasons() {
    let (local, mut daemon) = start();
    local.repo.write("logo.bin", "a\0b").write("guide/new.md", "New.\n").commit("more");
    let text = local.world.read("reposync.toml");
    local.config(&text.replace("repositories = [\"quagga\"]", "repositories = [\"gone\"]"));
    local.world.ok(&["reload"]);
    daemon.post("/sync", &json!({})).is(202);
    daemon.until("the new file", |daemon| daemon.project("docs")["files"] == 4);
    daemon.until_state("docs", "current");
    daemon.until_state("zebra", "partial");
    let session = Session::of(&daemon, "correct horse");
    let overview = session.get(&daemon, "/console").is(200).body;
    let at = |name: &str| overview.find(&format!("/console/projects/{name}\"")).expect(name);
    assert!(at("zebra") < at("docs"), "{overview}");
    let by_name = session.get(&daemon, "/console?sort=name").is(200).body;
    assert!(by_name.find("projects/docs\"") < by_name.find("projects/zebra\""), "{by_name}");
    let filtered = session.get(&daemon, "/console?q=ZEB").is(200).body;
    assert!(filtered.contains("projects/zebra\"") && !filtered.contains("projects/docs\""), "{filtered}");
    let files = session.get(&daemon, "/console/projects/docs/files").is(200).body;
    assert!(files.contains("logo.bin") && files.contains("binary") && files.contains("README.md"), "{files}");
    let skipped = session.get(&daemon, "/console/projects/docs/files?status=skipped").is(200).body;
    assert!(
        skipped.contains("logo.bin") && !skipped.contains("<code class=\"break\">README.md"),
        "{skipped}"
    );
    let page = daemon.get("/projects/docs/files?repository=docs&path=guide&limit=1").is(200).json();
    assert_eq!((&page["total"], &page["files"][0]["path"]), (&json!(3), &json!("guide/end.md")), "{page}");
    daemon.get("/projects/docs/files?repository=docs&status=odd").is(400);
    daemon.get("/projects/none/files?repository=docs").is(404);
    let nothing = daemon.get("/projects/docs/files?repository=none").is(200).json();
    assert_eq!(nothing["total"], 0);
}

#[test]
fn what_is_shown_is_never_markup() {
    let evil = "<img src=x onerror=alert(1)>\"'\u{202e}";
    let local = Local::new();
    local.repo.write("<b>bold<!--.md", format!("Start {evil} here.\n")).commit("odd names");
    local.config(&project(&format!("{API}token = \"correct horse\"\n")));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.until_runs(1);
    local.config("[projects.\"<script>alert(1)</script>\"]\n");
    daemon.until("the refusal", |daemon| daemon.reloads("refused") > 0);
    let session = Session::of(&daemon, "correct horse");
    let odd = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%22%27";
    let pages = [
        format!("/console?q={odd}&sort={odd}&state={odd}"),
        format!("/console/projects/{odd}"),
        format!("/console/projects/docs?q={odd}"),
        format!("/console/projects/docs/files?repository={odd}&q={odd}&path={odd}"),
        "/console/projects/docs/files".to_owned(),
        format!("/console/runs?project={odd}"),
        format!("/console/runs/{odd}"),
        format!("/console/plans?project={odd}"),
        format!("/console/plans/{odd}"),
        format!("/console/usage?project={odd}&days=7"),
        format!("/console/search?q=start+{odd}&project=docs&repository={odd}"),
        "/console/search?q=start".to_owned(),
        "/console/config".to_owned(),
        format!("/console/audit?project={odd}"),
        format!("/console/sign-in?next={odd}"),
        format!("/console/sign-in?next=/console/{odd}"),
    ];
    for page in pages {
        let body = session.get(&daemon, &page).body;
        for markup in ["<img", "<b>bold", "<script>alert"] {
            assert!(!body.contains(markup), "{page}: {body}");
        }
        assert!(!body.contains("onerror=alert(1)>\""), "{page}: {body}");
    }
    let config = session.get(&daemon, "/console/config").is(200).body;
    assert!(config.contains("&lt;script&gt;") && !config.contains("correct horse"), "{config}");
    // With the line of the file.
    assert!(
        config.contains("[projects.&quot;&lt;script&gt;alert(1)&lt;/script&gt;&quot;]</code>"),
        "{config}"
    );
}

#[test]
fn a_link_of_the_command_line_signs_in_once() {
    let (local, daemon) = start();
    let link = local.world.ok(&["console"]).stdout;
    let base = format!("http://{}", daemon.address());
    let page = link.trim().strip_prefix(&base).expect("a link to this daemon").to_owned();
    let code = page.split("code=").nth(1).expect("a code").to_owned();
    let form = format!("code={code}&next=%2Fconsole%2Fplans");
    let open = |form: &str| {
        let headers = [("Authorization", "none"), ("Origin", base.as_str())];
        daemon.request("POST", "/console/sign-in", &headers, form.as_bytes())
    };
    // A link that is only looked at is not used up.
    for _ in 0..2 {
        let shown = daemon.request("GET", &page, &[("Authorization", "none")], b"").is(200).body;
        assert!(shown.contains(&code) && shown.contains("works once"), "{shown}");
    }
    let signed_in = open(&form).is(303);
    assert_eq!(header(&signed_in, "location").as_deref(), Some("/console/plans"));
    let cookie = header(&signed_in, "set-cookie").expect("a session");
    let cookie = cookie.split(';').next().expect("a value");
    let overview =
        daemon.request("GET", "/console", &[("Authorization", "none"), ("Cookie", cookie)], b"").is(200);
    assert!(overview.body.contains("zebra"), "{}", overview.body);
    for used in [form.as_str(), "code=unknown"] {
        let again = open(used).is(401);
        assert!(
            again.body.contains("used before") && header(&again, "set-cookie").is_none(),
            "{}",
            again.body
        );
    }
    // Without a token there is no link, and without a daemon a message.
    daemon.request("POST", "/console/links", &[("Authorization", "none")], b"").is(401);
    daemon.stop().exits(0);
    let ran = local.world.run(&["console"]).exits(1);
    assert!(ran.stderr.contains("no daemon serves the ledger"), "{}", ran.stderr);
}

#[test]
fn behind_a_proxy_the_public_address_is_the_own_one() {
    let local = Local::new();
    local.config(
        &project(&format!("{TOKENS}\n")).replace("[api]\n", "[api]\npublic_url = \"https://sync.example\"\n"),
    );
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.until_runs(1);
    let sign_in_from = |origin: &str| sign_in(&daemon, origin, "correct horse");
    let signed_in = sign_in_from("https://sync.example").is(303);
    assert!(
        header(&signed_in, "set-cookie").is_some_and(|cookie| cookie.contains("; Secure")),
        "{}",
        signed_in.head
    );
    let direct = sign_in_from(&format!("http://{}", daemon.address())).is(303);
    assert!(
        header(&direct, "set-cookie").is_some_and(|cookie| !cookie.contains("Secure")),
        "{}",
        direct.head
    );
    for other in ["http://sync.example", "https://sync.example.evil.example", "https://evil.example"] {
        assert!(sign_in_from(other).is(403).body.contains("public_url"), "{other}");
    }
    let link = local.world.ok(&["console"]).stdout;
    assert!(link.starts_with("https://sync.example/console/sign-in?code="), "{link}");
}

#[test]
fn a_thousand_projects_make_a_small_page() {
    let local = Local::new();
    let mut text = format!("{STAGES}\n{TOKENS}[projects.docs]\n{PIPELINE}\nrepositories = [\"docs\"]\n");
    for n in 0..999 {
        // None of them runs: what is looked at is the page.
        text.push_str(&format!(
            "[projects.team-{n:04}-handbook]\n{PIPELINE}\nrepositories = [\"docs\"]\nenabled = false\n"
        ));
    }
    local.config(&text);
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    let session = Session::of(&daemon, "correct horse");
    let first = session.get(&daemon, "/console").is(200).body;
    assert!(first.contains("1,000 projects, page 1 of 10"), "{first}");
    assert!(first.contains("team-0000-handbook") && !first.contains("team-0100-handbook"), "{first}");
    assert!(first.len() < 200 << 10, "{} bytes", first.len());
    let last = session.get(&daemon, "/console?page=10").is(200).body;
    assert!(last.contains("team-0998-handbook") && !last.contains("team-0898-handbook"), "{last}");
    let found = session.get(&daemon, "/console?q=team-0777").is(200).body;
    assert!(found.contains("team-0777-handbook") && found.contains("1 project<"), "{found}");
}
