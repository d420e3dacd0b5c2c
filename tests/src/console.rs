//! A server with something to see in its console: tenants, operators, a job of each kind.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{Place, Reply, Served, guests, html::Html, repository};

/// A server for which there is something to see.
#[derive(Debug)]
pub struct Scene {
    /// It.
    pub served: Served,
    /// The flights job, which has finished.
    pub flights: String,
    /// A job that runs, with checkpoints and a savepoint.
    pub orders: String,
    /// A job that crashed for good, and left a capsule.
    pub broken: String,
}

const ORDERS: &str = r#"
[job]
name = "orders"
parallelism = 2

[checkpoints]
interval = "500ms"

[[source]]
name = "numbers"
connector = "generator"
keys = 1_000
rate = 3_000

[[operator]]
name = "copied"
artifact = "identity"
input = "numbers"

[[operator]]
name = "counted"
artifact = "count@latest"
input = "copied"

[[sink]]
name = "counts"
input = "counted"
connector = "discard"

[[sink]]
name = "copies"
input = "copied"
connector = "discard"
"#;

const BROKEN: &str = r#"
[job]
name = "broken"

[restart]
strategy = "fixed-delay"
attempts = 2
delay = "50ms"

[[source]]
name = "numbers"
connector = "generator"
rate = 1_000

[[operator]]
name = "brittle"
artifact = "crasher"
input = "numbers"
poison = "fail"
config = { trap_at = 40 }

[[sink]]
name = "out"
input = "brittle"
connector = "discard"
"#;

/// The identifier of a job that was just taken.
fn submit(served: &Served, tenant: &str, job: &str) -> String {
    let taken = served.ask("POST", &format!("/v1/jobs?tenant={tenant}"), job.as_bytes());
    taken.expect(201).json["id"].as_str().expect("an identifier").to_owned()
}

fn until_state(served: &Served, job: &str, state: &str) {
    let _ = served.until(&format!("/v1/jobs/{job}"), state, |job| job["state"] == state);
}

/// The example's directory of files, for a tenant.
fn give_flights(home: &Path) {
    let from = repository().join("examples/flights");
    for file in ["airlines.csv", "flights-2013-01.csv.gz"] {
        fs::copy(from.join(file), home.join(file)).expect("the example is there");
    }
}

impl Scene {
    /// Sets it up.
    ///
    /// # Panics
    /// If anything of it does not work.
    #[must_use]
    pub fn new(place: &Place, arguments: &[&str]) -> Self {
        fs::create_dir_all(place.path("data")).expect("a directory");
        place.write(
            "data/tenants.toml",
            "[tenant.acme]\nslots = 40\nmemory = \"512MiB\"\n[tenant.mallory]\n",
        );
        place.write("server.toml", "[task_manager]\nslots = 48\n");
        let config = place.path("server.toml").display().to_string();
        let arguments: Vec<&str> = ["--config", &config].iter().chain(arguments).copied().collect();
        let served = Served::start(&place.path("data"), &arguments);
        for name in [
            "filter",
            "project",
            "window-stats",
            "top-n",
            "anomaly",
            "identity",
            "count",
            "crasher",
        ] {
            served.push("acme", name, "1");
        }
        served.push("acme", "count", "2");
        let tag = "/v1/artifacts/count/tags/latest?tenant=acme";
        let _ = served.ask("PUT", tag, br#"{"version":"2"}"#).expect(200);
        give_flights(&served.home("acme"));
        let file = fs::read_to_string(repository().join("examples/flights/job.toml"));
        let flights = submit(&served, "acme", &file.expect("the example is there"));
        let broken = submit(&served, "acme", BROKEN);
        let orders = submit(&served, "acme", ORDERS);
        until_state(&served, &flights, "finished");
        until_state(&served, &broken, "failed");
        let done = |job: &Value| job["status"]["checkpoints"]["completed"].as_u64() > Some(3);
        let _ = served.until(&format!("/v1/jobs/{orders}"), "at its fourth checkpoint", done);
        let savepoint = format!("/v1/jobs/{orders}/savepoints/before-lunch");
        let _ = served.ask("PUT", &savepoint, b"").expect(202);
        let _ = served.until(&savepoint, "completed", |saved| saved["state"] == "completed");
        Self { served, flights, orders, broken }
    }

    /// A token.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn token(&self, tenant: Option<&str>, role: &str) -> String {
        let asked = json!({"name": format!("a {role}"), "tenant": tenant, "role": role});
        let made = self.served.ask("POST", "/v1/tokens", asked.to_string().as_bytes());
        made.expect(201).json["token"].as_str().expect("a token").to_owned()
    }

    /// The name of the crash capsule that there is.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn capsule(&self) -> String {
        let path = format!("/v1/jobs/{}/capsules", self.broken);
        let all = self.served.ask("GET", &path, b"").expect(200).json;
        all["capsules"][0]["name"].as_str().expect("a capsule").to_owned()
    }

    /// The pages, each with a word for it. All of them are for whoever may see everything.
    #[must_use]
    pub fn pages(&self) -> Vec<(&'static str, String)> {
        let of = |job: &str, rest: &str| format!("/console/jobs/{job}{rest}");
        let at = |path: &str| path.to_owned();
        vec![
            ("overview", at("/console")),
            ("jobs", at("/console/jobs")),
            ("jobs-none", at("/console/jobs?state=queued")),
            ("job-running", of(&self.orders, "")),
            ("job-finished", of(&self.flights, "")),
            ("job-failed", of(&self.broken, "")),
            ("checkpoints", of(&self.orders, "/checkpoints")),
            ("checkpoints-finished", of(&self.flights, "/checkpoints")),
            ("exceptions", of(&self.broken, "/exceptions")),
            ("exceptions-none", of(&self.orders, "/exceptions")),
            ("logs", of(&self.broken, "/logs")),
            ("logs-none", of(&self.flights, "/logs?level=error")),
            ("tail", of(&self.orders, "/tail?vertex=copied")),
            ("tail-choose", of(&self.orders, "/tail")),
            ("tail-ended", of(&self.flights, "/tail")),
            ("config", of(&self.flights, "/config")),
            ("submit", at("/console/jobs/new")),
            ("artifacts", at("/console/artifacts?tenant=acme")),
            ("artifacts-none", at("/console/artifacts?tenant=mallory")),
            ("artifact", at("/console/artifacts/count?tenant=acme")),
            ("version", at("/console/artifacts/count/2?tenant=acme")),
            ("upload", at("/console/artifacts/new?tenant=acme")),
            ("playground", at("/console/playground?tenant=acme")),
            ("playground-try", at("/console/artifacts/count/2/try?tenant=acme")),
            ("slots", at("/console/slots")),
            ("tenants", at("/console/tenants")),
            ("tenant", at("/console/tenants/acme")),
            ("tenant-new", at("/console/tenants/new?name=payments")),
            ("usage", at("/console/usage")),
            ("usage-by-operator", at("/console/usage?by=operator&since=24h")),
            ("tokens", at("/console/tokens")),
            ("audit", at("/console/audit")),
        ]
    }
}

/// Somebody at a console, by a session.
#[derive(Debug)]
pub struct Visitor<'a> {
    served: &'a Served,
    cookie: String,
}

impl<'a> Visitor<'a> {
    /// Signs in.
    ///
    /// # Panics
    /// If that does not work.
    #[must_use]
    pub fn new(served: &'a Served, token: &str) -> Self {
        let body = format!("token={token}&next=%2Fconsole");
        let reply = form(served, "", "/console/sign-in", &body).expect(303);
        assert_eq!(reply.header("location"), "/console");
        let cookie = reply.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        Self { served, cookie }
    }

    /// What the browser brings.
    #[must_use]
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Asks for a page.
    #[must_use]
    pub fn get(&self, path: &str) -> Reply {
        self.served.send("GET", path, &format!("cookie: {}\r\n", self.cookie), b"")
    }

    /// Sends a form from a page.
    #[must_use]
    pub fn post(&self, path: &str, form_data: &str) -> Reply {
        form(self.served, &self.cookie, path, form_data)
    }

    /// Sends a form with a file.
    #[must_use]
    pub fn upload(&self, fields: &[(&str, &str)], file: &[u8]) -> Reply {
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!(
                    "--edge\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                )
                .as_bytes(),
            );
        }
        body.extend_from_slice(
            b"--edge\r\ncontent-disposition: form-data; name=\"component\"; filename=\"x.wasm\"\r\n\
              content-type: application/wasm\r\n\r\n",
        );
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--edge--\r\n");
        let headers = format!(
            "cookie: {}\r\nsec-fetch-site: same-origin\r\ncontent-type: multipart/form-data; boundary=edge\r\n",
            self.cookie
        );
        self.served.send("POST", "/console/artifacts/new", &headers, &body)
    }

    /// A page, read.
    ///
    /// # Panics
    /// If it is not there, or not well-formed.
    #[must_use]
    pub fn page(&self, path: &str) -> Html {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        Html::read(&reply.text).unwrap_or_else(|wrong| panic!("{path}: {wrong}"))
    }
}

/// Sends a form from a page of the same server.
fn form(served: &Served, cookie: &str, path: &str, body: &str) -> Reply {
    let headers = format!(
        "cookie: {cookie}\r\nsec-fetch-site: same-origin\r\n\
         content-type: application/x-www-form-urlencoded\r\n"
    );
    served.send("POST", path, &headers, body.as_bytes())
}

/// The bytes of an operator of this repository.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn operator(name: &str) -> Vec<u8> {
    fs::read(guests().join(format!("{name}.wasm"))).expect("it was built")
}
