//! What is in `deploy/`, on a server that runs: a real Prometheus reads it, and what alerts and
//! dashboard ask for is there.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use cofferdam_tests::{
    Place, Served,
    flights::replaced,
    jobs::{COUNTING, CRASHING, crashing_records},
    program, repository,
};
use serde_json::Value;

/// A server with a job that has completed a checkpoint, and one that fails again and again.
fn serve(place: &Place) -> Served {
    let served = Served::start(&place.path("data"), &[]);
    served.push("default", "count", "1");
    served.push("default", "fragile", "1");
    fs::write(served.home("default").join("in.jsonl"), crashing_records()).unwrap();
    let failing =
        replaced(CRASHING, "attempts = 1\ndelay = \"1ms\"", "attempts = 10000\ndelay = \"100ms\"");
    let _ = served.submit("default", &failing);
    let path = served.submit("default", COUNTING);
    let done = |job: &Value| job["status"]["checkpoints"]["completed"].as_u64() > Some(0);
    let _ = served.until(&path, "at a checkpoint", done);
    served
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let parts = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    parts.filter(|word| word.starts_with("cofferdam_")).map(str::to_owned).collect()
}

/// The queries of the dashboard, as Grafana would send them.
fn queries() -> Vec<String> {
    let file = repository().join("deploy/grafana/cofferdam.json");
    let dashboard: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let asked = targets.map(|target| target["expr"].as_str().unwrap());
    asked
        .map(|asked| {
            let asked = asked.replace("$__rate_interval", "1m");
            asked.replace("$tenant", ".*").replace("$job", ".*")
        })
        .collect()
}

#[test]
fn every_metric_is_described_and_what_alerts_and_dashboard_name_is_there() {
    let place = Place::new();
    let served = serve(&place);
    let text = served.ask("GET", "/metrics", b"").expect(200).text;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let known: BTreeSet<String> = types
        .map(|line| match line.split_once(' ').unwrap() {
            (name, "counter") => format!("{name}_total"),
            (name, _) => name.to_owned(),
        })
        .collect();
    let described = names(&fs::read_to_string(repository().join("docs/metrics.md")).unwrap());
    assert_eq!(known, described, "docs/metrics.md has every metric, and no other");
    let rules = repository().join("deploy/prometheus/alerts.yml");
    let asked = names(&(queries().join("\n") + &fs::read_to_string(rules).unwrap()));
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(asked.len() > 20 && unknown.is_empty(), "{unknown:?}");
}

/// What stands behind an instruction of the Dockerfile that is there once.
fn instruction(name: &str) -> String {
    let file = fs::read_to_string(repository().join("deploy/docker/Dockerfile")).unwrap();
    let mut found = file.lines().filter_map(|line| line.strip_prefix(&format!("{name} ")));
    let (first, more) = (found.next().unwrap().to_owned(), found.next());
    assert_eq!(more, None, "{name}");
    first
}

#[test]
fn what_the_dockerfile_names_is_so() {
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let toolchain = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let file = fs::read_to_string(repository().join("deploy/docker/Dockerfile")).unwrap();
    let image = format!("FROM rust:{}-", toolchain.unwrap().trim_matches('"'));
    assert!(file.contains(&image), "it builds with the Rust that the program needs: {image}");
    // What it starts is a command of the program, and what asks for its health is answered.
    let entry: Vec<String> = serde_json::from_str(&instruction("ENTRYPOINT")).unwrap();
    assert_eq!(entry, ["/usr/local/bin/cofferdam"]);
    let arguments: Vec<String> = serde_json::from_str(&instruction("CMD")).unwrap();
    let place = Place::new();
    let data = place.path("data");
    let mut command = program();
    for argument in &arguments {
        let argument = argument.replace("0.0.0.0:8080", "0.0.0.0:0");
        command.arg(if argument == "/data" { data.display().to_string() } else { argument });
    }
    let served = Served::begin(command, &data);
    let port = served.address().rsplit(':').next().unwrap().to_owned();
    let health = instruction("HEALTHCHECK");
    let (_, health) = health.split_once(" CMD ").unwrap();
    let healthy = |port: &str| {
        let words: Vec<String> = serde_json::from_str(health).unwrap();
        let mut asked = Command::new(&words[0]);
        asked.args(words[1..].iter().map(|word| word.replace("8080", port)));
        asked.stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(healthy(&port));
    let _ = served.terminate();
    assert!(!healthy(&port), "nobody is there any more");
}

#[test]
fn the_unit_of_systemd_is_one() {
    let checked = Command::new("systemd-analyze")
        .arg("verify")
        .arg(repository().join("deploy/systemd/cofferdam.service"))
        .output();
    let Ok(checked) = checked else {
        eprintln!("skipped: there is no `systemd-analyze` here; Debian's package `systemd` has it");
        return;
    };
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    // The program need not be installed here; nothing else may be said of it.
    let wrong: Vec<_> = said
        .lines()
        .filter(|line| line.contains("cofferdam") && !line.contains("is not executable"))
        .collect();
    assert!(wrong.is_empty(), "{said}");
}

/// A Prometheus, until the test ends.
struct Prometheus {
    child: Child,
    address: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// With the configuration of `deploy/`, but for the server's address and a shorter
    /// interval. None if there is no such program here.
    fn start(place: &Place, served: &Served) -> Option<Self> {
        let deploy = repository().join("deploy/prometheus");
        let config = fs::read_to_string(deploy.join("prometheus.yml")).unwrap();
        let config = config.replace("127.0.0.1:8080", served.address()).replace("15s", "200ms");
        place.write("prometheus.yml", config + "    scrape_timeout: 200ms\n");
        place.write("alerts.yml", fs::read(deploy.join("alerts.yml")).unwrap());
        place.write("token", &served.token);
        // Given back just before it is wanted.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", place.path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", place.path("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        child.ok().map(|child| Self { child, address })
    }

    /// What it answers; null while it does not.
    fn ask(&self, path: &str) -> Value {
        let Ok(mut stream) = TcpStream::connect(&self.address) else { return Value::Null };
        let request =
            format!("GET {path} HTTP/1.0\r\nhost: {}\r\naccept: */*\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }

    /// The result of a query that comes to one.
    fn query(&self, query: &str) -> Value {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let path = format!("/api/v1/query?query={encoded}");
        for _ in 0..300 {
            let answer = self.ask(&path);
            assert_ne!(answer["status"], "error", "{query}: {answer}");
            let result = &answer["data"]["result"];
            if result.as_array().is_some_and(|series| !series.is_empty()) {
                return result.clone();
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{query} comes to nothing");
    }
}

#[test]
fn a_real_prometheus_reads_a_server_and_takes_rules_and_queries() {
    let place = Place::new();
    let served = serve(&place);
    let Some(prometheus) = Prometheus::start(&place, &served) else {
        eprintln!("skipped: there is no `prometheus` here; Debian's package of that name has it");
        return;
    };
    assert_eq!(prometheus.query("up{job=\"cofferdam\"} == 1").as_array().unwrap().len(), 1);
    for query in queries() {
        prometheus.query(&query);
    }
    let rules = prometheus.ask("/api/v1/rules");
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 10);
    for rule in rules {
        assert_eq!(rule["lastError"], Value::Null, "{rule}");
        assert_ne!(rule["health"], "err", "{rule}");
    }
}
