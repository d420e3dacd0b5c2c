//! A real browser, headless: Debian's `chromium`, told what to do by the `DevTools` protocol over
//! two pipes. Whatever it says of errors and of broken policies is kept.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::Place;

/// How long something may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many messages may wait.
const UNREAD: usize = 100_000;

/// A browser with one page, until the test ends.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    commands: File,
    messages: Receiver<Value>,
    unseen: VecDeque<Value>,
    session: String,
    last: u64,
    faults: Vec<String>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fifo(path: &Path) -> File {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe with a name");
    // For both: opening does not wait for the other side then.
    OpenOptions::new().read(true).write(true).open(path).expect("a pipe that was just made")
}

impl Browser {
    /// Starts one; none if there is no such program here.
    ///
    /// # Panics
    /// If it starts and does not answer.
    #[must_use]
    pub fn start(place: &Place) -> Option<Self> {
        let there = Command::new("chromium").arg("--version").output();
        if !there.is_ok_and(|there| there.status.success()) {
            return None;
        }
        let (to, from) = (place.path("browser-to"), place.path("browser-from"));
        let (commands, answers) = (fifo(&to), fifo(&from));
        // The browser wants them as its files 3 and 4.
        let start = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
                     --hide-scrollbars --force-color-profile=srgb --no-first-run --disable-extensions \
                     --user-data-dir=\"$3\" --remote-debugging-pipe about:blank 3<\"$1\" 4>\"$2\"";
        let child = Command::new("sh")
            .args(["-c", start, "sh"])
            .arg(&to)
            .arg(&from)
            .arg(place.path("browser-profile"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let (say, messages) = sync_channel(UNREAD);
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap_or_default();
                if say.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            unseen: VecDeque::new(),
            session: String::new(),
            last: 0,
            faults: Vec::new(),
        };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", &attach);
        session["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    fn next(&mut self) -> Value {
        self.messages.recv_timeout(PATIENCE).expect("the browser goes on talking")
    }

    /// Tells the browser to do something, and gives its answer.
    ///
    /// # Panics
    /// If it cannot.
    pub fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.commands.write_all(&text).expect("the browser reads");
        loop {
            let message = self.next();
            if message["id"] == self.last {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.hear(message);
        }
    }

    /// Notes what an event tells of mistakes.
    fn hear(&mut self, event: Value) {
        let about = &event["params"];
        match event["method"].as_str() {
            Some("Log.entryAdded") if about["entry"]["level"] == "error" => {
                self.faults.push(about["entry"].to_string());
            }
            Some("Runtime.exceptionThrown") => {
                self.faults.push(about["exceptionDetails"].to_string());
            }
            Some("Runtime.consoleAPICalled") if about["type"] == "error" => {
                self.faults.push(about["args"].to_string());
            }
            _ => {}
        }
        self.unseen.push_back(event);
    }

    /// Errors, and what broke the policy of a page, since the last time that this was asked.
    pub fn faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }

    /// Waits for an event that comes after what was asked last.
    fn until(&mut self, method: &str) {
        loop {
            while let Some(event) = self.unseen.pop_front() {
                if event["method"] == method {
                    return;
                }
            }
            let event = self.next();
            self.hear(event);
        }
    }

    /// Goes to a page, and waits until all of it is there.
    pub fn go(&mut self, url: &str) {
        self.unseen.clear();
        self.ask("Page.navigate", &json!({"url": url}));
        self.until("Page.loadEventFired");
    }

    /// Does something that leads to another page, and waits until all of that is there.
    pub fn leads(&mut self, script: &str) {
        self.unseen.clear();
        let _ = self.eval(script);
        self.until("Page.loadEventFired");
    }

    /// What a script comes to, in the page.
    ///
    /// # Panics
    /// If it throws.
    pub fn eval(&mut self, script: &str) -> Value {
        let asked = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", &asked);
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until a script comes to something that is true.
    pub fn wait(&mut self, condition: &str) {
        let script = format!(
            "new Promise((done, late) => {{ const begun = Date.now(); const look = () => {{ \
             if ({condition}) done(true); else if (Date.now() - begun > 30000) late(new Error('it never is')); \
             else setTimeout(look, 50); }}; look(); }})"
        );
        let _ = self.eval(&script);
    }

    /// How large the window is, and whether it is light or dark.
    pub fn looks(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.ask("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", &scheme);
    }

    /// A picture of the whole page, as PNG.
    ///
    /// # Panics
    /// If the browser makes none.
    pub fn picture(&mut self) -> Vec<u8> {
        let asked = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.ask("Page.captureScreenshot", &asked);
        base64(answer["data"].as_str().expect("a picture"))
    }
}

/// What a text in base 64 stands for.
fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | u32::from(value(byte));
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).expect("eight bits"));
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn base_64_is_read() {
        assert_eq!(super::base64("Q29mZmVyZGFt"), b"Cofferdam");
        assert_eq!(super::base64("Q29mZmVyZGE="), b"Cofferda");
    }
}
