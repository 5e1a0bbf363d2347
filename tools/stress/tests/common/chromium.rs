//! A headless Chromium that a test looks at a page with.
//!
//! Owns the process and its DevTools over a pipe: no port, no library. Where Chromium is missing the test is skipped, loudly, by
//! name; `RINGPOOL_FORBID_SKIP` makes that a failure.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::{Value, json};

/// How long it may say nothing while it is waited for.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A browser with one tab, all of whose events are kept.
pub(crate) struct Chromium {
    child: Child,
    asks: ChildStdin,
    says: Receiver<Vec<u8>>,
    profile: std::path::PathBuf,
    session: Option<String>,
    asked: u64,
    /// What happened in the tab, in order.
    pub(crate) events: Vec<Value>,
}

impl Chromium {
    /// Starts it; `None` where there is none.
    pub(crate) fn start() -> Option<Self> {
        let installed = Command::new("chromium")
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if installed.is_err() {
            let forbidden = std::env::var_os("RINGPOOL_FORBID_SKIP").is_some();
            assert!(!forbidden, "chromium is not installed");
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            let notice = format!("SKIPPED: {test}: chromium is not installed\n");
            let _ = std::io::stderr().write_all(notice.as_bytes());
            return None;
        }
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let nth = STARTED.fetch_add(1, Ordering::Relaxed);
        let profile = format!("stress-chromium-{}-{nth}", std::process::id());
        let profile = std::env::temp_dir().join(profile);
        // The pipe is descriptors 3 and 4, by its own rule. Nothing of it may reach out.
        let line = "exec chromium --headless --remote-debugging-pipe --no-sandbox --disable-gpu --disable-dev-shm-usage \
                    --no-first-run --disable-background-networking --disable-component-update --disable-sync \
                    --host-resolver-rules='MAP * ~NOTFOUND' --user-data-dir=\"$0\" about:blank 3<&0 4>&1 1>/dev/null 2>&1";
        let mut child = Command::new("sh")
            .args(["-c", line])
            .arg(&profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let asks = child.stdin.take().expect("it is piped");
        let says = messages(child.stdout.take().expect("it is piped"));
        let mut browser = Self {
            child,
            asks,
            says,
            profile,
            session: None,
            asked: 0,
            events: Vec::new(),
        };
        let tab = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": tab["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Calls a method of the DevTools protocol.
    pub(crate) fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.asks.write_all(&bytes).expect("it listens");
        loop {
            let said = self.next();
            if said["id"] == id {
                assert!(said["error"].is_null(), "{method}: {}", said["error"]);
                return said["result"].clone();
            }
            self.events.push(said);
        }
    }

    /// Opens a file as a window of `width` shows it, and waits until it is loaded.
    pub(crate) fn open(&mut self, page: &Path, width: u32, dark: bool) {
        let metrics =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.ask("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
        self.events.clear();
        let url = format!("file://{}", page.display());
        self.ask("Page.navigate", json!({ "url": url }));
        while !self.has("Page.loadEventFired") {
            let said = self.next();
            self.events.push(said);
        }
    }

    /// The value of a JavaScript expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "returnByValue": true });
        let said = self.ask("Runtime.evaluate", ask);
        assert!(said["exceptionDetails"].is_null(), "{expression}: {said}");
        said["result"]["value"].clone()
    }

    fn has(&self, method: &str) -> bool {
        self.events.iter().any(|event| event["method"] == method)
    }

    fn next(&mut self) -> Value {
        let bytes = self.says.recv_timeout(SILENCE_MAX);
        let bytes = bytes.unwrap_or_else(|e| panic!("chromium ended, or says nothing: {e}"));
        serde_json::from_slice(&bytes).expect("it says JSON")
    }
}

/// What comes from there, without the zero behind each; read by a thread of its own, which ends with the pipe.
fn messages(pipe: ChildStdout) -> Receiver<Vec<u8>> {
    let (told, says) = mpsc::channel();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(0, &mut bytes).is_ok() && bytes.pop() == Some(0) {
            if told.send(std::mem::take(&mut bytes)).is_err() {
                return;
            }
        }
    });
    says
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
