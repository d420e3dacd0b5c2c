//! `cofferdam serve`, the real program: started, asked by HTTP, killed and started again.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    contract,
    place::Place,
    program::{guests, program},
};

/// After which a server that says nothing counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many lines may wait for a test to look at them.
const UNREAD: usize = 100_000;
/// From one look to the next.
const BETWEEN: Duration = Duration::from_millis(20);

/// A server, until the test ends.
#[derive(Debug)]
pub struct Served {
    child: Child,
    data: PathBuf,
    address: String,
    said: Receiver<String>,
    /// The token that requests are made with.
    pub token: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, as JSON; null if it is none.
    pub json: Value,
    /// Its body, as it is.
    pub text: String,
    /// Its body as it is.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The same, if its status is this one.
    ///
    /// # Panics
    /// If it is another.
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.json);
        self
    }

    /// That it is a problem of this status and kind, which says this.
    ///
    /// # Panics
    /// If not.
    pub fn is_problem(&self, status: u16, kind: &str, said: &str) {
        assert_eq!(self.status, status, "{:#}", self.json);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json["type"], format!("urn:cofferdam:problem:{kind}"), "{:#}", self.json);
        assert_eq!(self.json["status"], status);
        let text = self.json.to_string();
        assert!(text.contains(said), "`{said}` is not in {text}");
    }
}

impl Served {
    /// Starts a server on a data directory, with other arguments, as whoever holds the first
    /// token.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_program(program(), data, arguments)
    }

    /// As [`start`](Self::start), another build of the program.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_program(mut command: Command, data: &Path, arguments: &[&str]) -> Self {
        command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]);
        command.args(arguments);
        Self::begin(command, data)
    }

    /// Starts a server in a place, on its directory `data`, with these tenants and this
    /// configuration.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn of_tenants(place: &Place, tenants: &[&str], config: &str) -> Self {
        let data = place.path("data");
        fs::create_dir_all(&data).expect("a directory");
        let tables = tenants.iter().map(|tenant| format!("[tenant.{tenant}]\n"));
        place.write("data/tenants.toml", tables.collect::<String>());
        place.write("config.toml", config);
        let config = place.path("config.toml").display().to_string();
        Self::start(&data, &["--config", &config])
    }

    /// Starts a server by a command, which has it use this data directory.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn begin(mut command: Command, data: &Path) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("piped above");
        let (say, said) = sync_channel(UNREAD);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        let mut before = Vec::new();
        let address = loop {
            match said.recv_timeout(PATIENCE) {
                Ok(line) => {
                    // Where the log is JSON, this is a line of it.
                    let line_of_json = serde_json::from_str::<Value>(&line).ok();
                    let message = line_of_json.as_ref().and_then(|line| line["message"].as_str());
                    let said = message.unwrap_or(&line).strip_prefix("serving at ");
                    match said.and_then(|at| at.split_once("://")) {
                        Some((_, address)) => break address.to_owned(),
                        None => before.push(line),
                    }
                }
                Err(error) => {
                    let _ = child.kill();
                    panic!("the server does not start ({error}): {before:#?}");
                }
            }
        };
        let token = fs::read_to_string(data.join("admin-token")).unwrap_or_default();
        let token = token.trim().to_owned();
        Self { child, data: data.to_owned(), address, said, token }
    }

    /// The number of its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its address and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request with the token, and gives its answer.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.ask_with(&self.token, method, path, body)
    }

    /// As [`ask`](Self::ask), with another token; without any if it is empty.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    pub fn ask_with(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Reply {
        let authorization = match token {
            "" => String::new(),
            token => format!("authorization: Bearer {token}\r\n"),
        };
        self.send(method, path, &authorization, body)
    }

    /// As [`ask`](Self::ask), with these headers, each ended by `\r\n`, and no token.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let host = if headers.contains("host:") { String::new() } else { self.host() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the server reads");
        // It may have answered already, and read no further.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let reply = read(&answer);
        // Not where it would be measured.
        if cfg!(debug_assertions) {
            contract::hold(method, path, &reply);
        }
        reply
    }

    fn host(&self) -> String {
        format!("host: {}\r\n", self.address)
    }

    /// Uploads an operator that was built from this repository, for a tenant.
    ///
    /// # Panics
    /// If it is not there, or refused.
    pub fn push(&self, tenant: &str, name: &str, version: &str) {
        let bytes = fs::read(guests().join(format!("{name}.wasm"))).expect("it was built");
        let path = format!("/v1/artifacts/{name}/versions/{version}?tenant={tenant}");
        let _ = self.ask("PUT", &path, &bytes).expect(201);
    }

    /// Makes a token of a tenant, or of all: what opens the door, and its identifier.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn token_of(&self, tenant: Option<&str>, role: &str) -> (String, String) {
        let asked = json!({"name": "a test", "tenant": tenant, "role": role}).to_string();
        let made = self.ask("POST", "/v1/tokens", asked.as_bytes()).expect(201);
        let text = |name: &str| made.json[name].as_str().expect("a text").to_owned();
        (text("token"), text("id"))
    }

    /// Makes a token of a tenant.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn token(&self, tenant: &str, role: &str) -> String {
        self.token_of(Some(tenant), role).0
    }

    /// Submits a job for a tenant, and tells where it is: `/v1/jobs/ID`.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn submit(&self, tenant: &str, job: &str) -> String {
        let reply = self.ask("POST", &format!("/v1/jobs?tenant={tenant}"), job.as_bytes());
        reply.expect(201).header("location").to_owned()
    }

    /// Waits until a job is in a state, and gives it.
    ///
    /// # Panics
    /// If it does not come to that.
    #[must_use]
    pub fn until_state(&self, job: &str, state: &str) -> Value {
        self.until(job, state, |job| job["state"] == state)
    }

    /// Makes a tenant's directory of files, and tells where it is.
    ///
    /// # Panics
    /// If the system has no room for it.
    #[must_use]
    pub fn home(&self, tenant: &str) -> PathBuf {
        let home = self.data.join("files").join(tenant);
        fs::create_dir_all(&home).expect("a directory");
        home
    }

    /// Waits until what is at a path is so, and gives it.
    ///
    /// # Panics
    /// If it does not come to that.
    #[must_use]
    pub fn until(&self, path: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        #[expect(clippy::disallowed_methods, reason = "a test's patience ends by the real time")]
        let begun = Instant::now();
        loop {
            let reply = self.ask("GET", path, b"");
            if reply.status < 300 && is_so(&reply.json) {
                return reply.json;
            }
            assert!(begun.elapsed() < PATIENCE, "{path} is not {what}: {:#}", reply.json);
            thread::sleep(BETWEEN);
        }
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Panics
    /// If the process has ended before.
    pub fn kill(mut self) {
        assert!(self.child.try_wait().expect("a child of ours").is_none(), "it had ended already");
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// SIGTERM, and waits until it has ended. What it said is returned.
    ///
    /// # Panics
    /// If it does not end, or not well.
    pub fn terminate(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a child of ours");
        let mut said = Vec::new();
        // The lines end when the process does.
        while let Ok(line) = self.said.recv_timeout(PATIENCE) {
            said.push(line);
        }
        let ended = self.child.try_wait().expect("a child of ours");
        let ended = ended.or_else(|| self.child.wait().ok());
        assert!(ended.is_some_and(|ended| ended.success()), "{said:#?}");
        said
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Reply {
        status: status.expect("a status line"),
        headers: headers.collect(),
        json: serde_json::from_slice(&answer[end + 4..]).unwrap_or_default(),
        text: String::from_utf8_lossy(&answer[end + 4..]).into_owned(),
        body: answer[end + 4..].to_vec(),
    }
}
