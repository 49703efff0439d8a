//! A real browser, driven through WebDriver: Chromium without a window. The protocol is JSON over HTTP on this
//! machine, and few of its calls are needed here.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::daemon::{API, Daemon};
use super::http::{Fault, Gate};
use super::services::Services;

/// The token of the API in tests with a browser.
pub(crate) const TOKEN: &str = "correct horse";

/// A browser with one window.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

/// How pages are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) dark: bool,
}

/// A desk, a desk at night, half a screen, and a phone.
pub(crate) const VIEWS: [View; 4] = [
    View { name: "light", width: 1280, dark: false },
    View { name: "dark", width: 1280, dark: true },
    View { name: "half", width: 780, dark: false },
    View { name: "mobile", width: 390, dark: false },
];

/// True if a browser is required, as in CI.
fn is_required() -> bool {
    std::env::var_os("REPOSYNC_BROWSER_TESTS").is_some_and(|value| value == "required")
}

impl Browser {
    /// `None`, with a message, if there is no `chromedriver`: then the test has nothing to test. With
    /// `REPOSYNC_BROWSER_TESTS=required`, as in CI, that is a failure.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub(crate) fn start() -> Option<Self> {
        let started =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = match started {
            Ok(driver) => driver,
            Err(error) => {
                assert!(!is_required(), "chromedriver: {error}");
                eprintln!("skipped: chromedriver: {error}");
                return None;
            }
        };
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let port = loop {
            let line = lines.next().expect("chromedriver says its port").expect("text");
            let port = line.split("started successfully on port ").nth(1);
            if let Some(port) = port.and_then(|rest| rest.trim_end_matches('.').parse().ok()) {
                break port;
            }
        };
        let mut browser = Self { driver, port, session: String::new() };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ];
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments } } } });
        let session = browser.call("POST", "/session", &wanted);
        session["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        Some(browser)
    }

    /// Looks at pages in this way from now on.
    pub(crate) fn view(&self, view: View) {
        let scheme = if view.dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.chromium("Emulation.setEmulatedMedia", &json!({ "features": features }));
        let size =
            json!({ "width": view.width, "height": 800, "deviceScaleFactor": 1, "mobile": view.width < 500 });
        self.chromium("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Opens a page.
    pub(crate) fn go(&self, url: &str) {
        self.of_session("POST", "/url", &json!({ "url": url }));
    }

    /// Opens a page, which asks for the token first, and signs in.
    #[track_caller]
    pub(crate) fn sign_in(&self, url: &str) {
        self.go(url);
        self.enter("input[name=token]", TOKEN);
        self.click("button[type=submit]");
    }

    /// Panics unless the page fits its width and axe finds no serious barrier in it.
    #[track_caller]
    pub(crate) fn check(&self, axe: Option<&str>, name: &str) {
        let wider = self.run("return document.documentElement.scrollWidth - innerWidth");
        assert!(wider.as_i64().is_some_and(|wider| wider <= 0), "{name}: {wider} too wide");
        let cut = self.run(
            "return [...document.querySelectorAll('nav, .scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)
             .map(one => one.textContent.slice(0, 80))",
        );
        assert_eq!(cut, json!([]), "{name}: it is cut on the right");
        let Some(axe) = axe else { return };
        let found = self.run_until_called(&format!(
            "{axe}; const done = arguments[arguments.length - 1]; axe.run(document).then(found => done(found.violations
             .filter(one => ['serious', 'critical'].includes(one.impact))
             .map(one => one.id + ': ' + one.nodes.map(node => node.html).join(' '))));"
        ));
        assert_eq!(found, json!([]), "{name}");
    }

    /// Runs a script in the page; its result.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.of_session("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a script in the page that calls its last argument with the result.
    pub(crate) fn run_until_called(&self, script: &str) -> Value {
        self.of_session("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Has a page of the console look for what is new, and waits for the end of it.
    pub(crate) fn look(&self) {
        self.run_until_called(
            "const done = arguments[0];
             const wait = () => looking ? setTimeout(wait, 20) : look().then(() => done(true));
             wait()",
        );
    }

    /// The text of the page as it is shown.
    pub(crate) fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Clicks the first element that a selector matches.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let id = self.element(selector);
        self.of_session("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// Types into the first element that a selector matches.
    #[track_caller]
    pub(crate) fn enter(&self, selector: &str, text: &str) {
        let id = self.element(selector);
        self.of_session("POST", &format!("/element/{id}/value"), &json!({ "text": text }));
    }

    /// Waits until the page shows a text.
    #[track_caller]
    pub(crate) fn until_shows(&self, text: &str) {
        let started = Instant::now();
        while !self.text().contains(text) {
            assert!(started.elapsed() < Duration::from_secs(60), "no {text} in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until nothing on the page matches a selector.
    #[track_caller]
    pub(crate) fn until_gone(&self, selector: &str) {
        let started = Instant::now();
        let script = format!("return document.querySelector({selector:?}) !== null");
        while self.run(&script) == true {
            assert!(started.elapsed() < Duration::from_secs(60), "{selector} is still in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Keeps a picture of the page as an artefact, if `REPOSYNC_SCREENSHOTS` names a folder.
    pub(crate) fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("REPOSYNC_SCREENSHOTS").map(PathBuf::from) else { return };
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), self.capture(3000)).expect("written");
    }

    /// A picture of the page, as PNG, of at most this height.
    pub(crate) fn capture(&self, height: u32) -> Vec<u8> {
        let size = self
            .run(&format!("return [innerWidth, Math.min(document.documentElement.scrollHeight, {height})]"));
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let taken =
            self.chromium("Page.captureScreenshot", &json!({ "captureBeyondViewport": true, "clip": clip }));
        BASE64_STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64")
    }

    /// How much two pictures in PNG differ, from 0 to 1, when looked at from afar.
    pub(crate) fn difference(&self, one: &[u8], other: &[u8]) -> f64 {
        self.go("about:blank");
        let urls =
            [one, other].map(|picture| format!("data:image/png;base64,{}", BASE64_STANDARD.encode(picture)));
        let found = self.run_until_called(&format!(
            "const done = arguments[0];
             const small = async url => {{
               const image = new Image();
               image.src = url;
               await image.decode();
               const canvas = new OffscreenCanvas(78, 60).getContext('2d');
               canvas.imageSmoothingQuality = 'high';
               canvas.drawImage(image, 0, 0, 78, 60);
               return canvas.getImageData(0, 0, 78, 60).data;
             }};
             Promise.all({urls}.map(small)).then(([one, other]) =>
               done(one.reduce((sum, value, at) => sum + Math.abs(value - other[at]), 0) / one.length / 255))",
            urls = json!(urls),
        ));
        found.as_f64().expect("a number")
    }

    fn element(&self, selector: &str) -> String {
        let found =
            self.of_session("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|one| one.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no {selector} in\n{}", self.text())).to_owned()
    }

    fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.of_session("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn of_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver listens");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a time-out");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
        // The driver keeps the connection open, whatever it is asked for.
        let mut reader = BufReader::new(stream);
        let (mut status, mut length) = (String::new(), 0);
        reader.read_line(&mut status).expect("a status");
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        assert!(status.contains(" 200 "), "{method} {path}: {answer}");
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            self.call("DELETE", &format!("/session/{}", self.session), &json!({}));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// The text of axe-core, which `.ci/run` fetches into the folder of the build; `None`: it is not there.
pub(crate) fn axe() -> Option<String> {
    let file = std::env::var_os("REPOSYNC_AXE").map(PathBuf::from);
    let text = file.map(|file| std::fs::read_to_string(file).expect("axe-core"));
    assert!(text.is_some() || !is_required(), "REPOSYNC_AXE names axe.min.js");
    text
}

/// A daemon whose first run waits at a gate; the id of the run.
pub(crate) fn at_work() -> (Services, Daemon, Gate, String) {
    let services = Services::start();
    services.world.config(&format!("{}\n{API}token = \"{TOKEN}\"\n", services.file()));
    let files = [("a.md", "one\n"), ("b.md", "two\n")].map(|(path, text)| (path, text.to_owned()));
    let repo = services.repository("api", &files);
    let gate = Gate::default();
    services.github.fail(&format!("/git/blobs/{}", repo.sha("HEAD:b.md")), 1, Fault::Gate(gate.clone()));
    let mut daemon = Daemon::start(&services.world);
    daemon.token = Some(TOKEN.to_owned());
    gate.until_reached();
    let run = daemon.project("handbook")["running"].as_str().expect("a run").to_owned();
    (services, daemon, gate, run)
}
