//! What is not as it should be is told, with what to do, and is over when it is as it should be: a
//! disk that fills up, a version that a job runs and somebody deleted.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use cofferdam::{
    catalog::shelf::Shelf,
    clock::{Clock, ManualClock},
    config::server::{DiskLimits, ServerSpec},
    http::server,
    service::Service,
    task_manager::TaskManagerSettings,
};
use cofferdam_tests::{Disk, Place, Served, guests};
use serde_json::{Value, json};
use tokio::{runtime::Builder, sync::watch};

const COUNTS: &str = r#"
[job]
name = "counts"

[checkpoints]
interval = "100ms"
tolerable_failures = 1_000_000

[[source]]
name = "numbers"
connector = "generator"
rate = 2_000
keys = 1_000

[[operator]]
name = "counted"
artifact = "count"
input = "numbers"

[[sink]]
name = "out"
input = "counted"
connector = "discard"
"#;

fn submit(served: &Served, job: &str) -> String {
    let made = served.ask("POST", "/v1/jobs?tenant=acme", job.as_bytes()).expect(201).json;
    format!("/v1/jobs/{}", made["id"].as_str().unwrap())
}

fn has(view: &Value, kind: &str, of_job: bool) -> bool {
    let all = view["conditions"].as_array().unwrap();
    all.iter().any(|condition| condition["type"] == kind && condition["job"].is_string() == of_job)
}

fn free(place: &Place) -> u64 {
    let found = rustix::fs::statvfs(place.path("disk")).unwrap();
    found.f_bavail * found.f_frsize
}

/// Leaves so many bytes free on the disk.
fn fill(place: &Place, left: u64) {
    let mut ballast =
        fs::File::options().create(true).append(true).open(place.path("disk/ballast")).unwrap();
    let zeros = vec![0; 64 << 10];
    while free(place) > left {
        // The last piece may not fit.
        if ballast.write_all(&zeros).is_err() {
            break;
        }
    }
}

#[test]
fn a_disk_that_fills_up_is_told_uploads_are_refused_and_all_goes_on_when_there_is_room() {
    let place = Place::new();
    let Some(_disk) = Disk::mount(&place, "192m") else { return };
    fs::create_dir_all(place.path("disk/data")).unwrap();
    place.write("disk/data/tenants.toml", "[tenant.acme]\n");
    let config = "[disk]\nlow = \"60MiB\"\nfull = \"20MiB\"\ncheck_every = \"50ms\"\n";
    place.write("config.toml", config);
    let config = place.path("config.toml").display().to_string();
    let served = Served::start(&place.path("disk/data"), &["--config", &config]);
    served.push("acme", "count", "1");
    served.push("acme", "identity", "1");
    let job = submit(&served, COUNTS);
    let completed = |view: &Value| view["status"]["checkpoints"]["completed"].as_u64().unwrap_or(0);
    let _ = served.until(&job, "with a checkpoint", |view| completed(view) > 0);
    let overview =
        |what: &str, is_so: &dyn Fn(&Value) -> bool| served.until("/v1/overview", what, is_so);
    let _ = overview("without conditions", &|view| view["conditions"] == json!([]));

    fill(&place, 40 << 20);
    let low = overview("low", &|view| has(view, "DiskLow", false));
    let told = &low["conditions"][0];
    assert!(told["message"].as_str().unwrap().contains("60MiB"), "{told}");
    assert!(told["help"].as_str().unwrap().contains("make room"), "{told}");
    assert!(told["since"].is_i64() && !told.to_string().contains("disk/data"), "{told}");
    // There is room for an upload yet.
    served.push("acme", "identity", "2");

    fill(&place, 0);
    let _ = overview("full", &|view| has(view, "DiskFull", false) && !has(view, "DiskLow", false));
    let bytes = fs::read(guests().join("identity.wasm")).unwrap();
    let third = "/v1/artifacts/identity/versions/3?tenant=acme";
    served.ask("PUT", third, &bytes).is_problem(507, "disk-full", "made room");
    // What checkpoints cannot write is told of the job, which goes on.
    let failing = served.until(&job, "without room", |view| has(view, "DiskFull", true));
    assert_eq!(failing["state"], "running", "{failing:#}");
    let _ = overview("of the job too", &|view| has(view, "DiskFull", true));
    for path in ["/healthz", "/readyz"] {
        let _ = served.ask_with("", "GET", path, b"").expect(200);
    }
    let metrics = served.ask("GET", "/metrics", b"").expect(200).text;
    assert!(metrics.contains("cofferdam_condition{type=\"DiskFull\"} 1"), "{metrics}");
    assert!(metrics.contains("cofferdam_condition{type=\"ClockJumped\"} 0"), "{metrics}");
    assert!(!metrics.contains("cofferdam_job_checkpoints_failing{} 0"), "{metrics}");

    fs::remove_file(place.path("disk/ballast")).unwrap();
    let before = completed(&failing);
    let after = served
        .until(&job, "over it", |view| view["conditions"] == json!([]) && completed(view) > before);
    assert_eq!(after["state"], "running", "{after:#}");
    let _ = overview("without conditions", &|view| view["conditions"] == json!([]));
    let _ = served.ask("PUT", third, &bytes).expect(201);
}

#[test]
fn a_job_whose_version_was_deleted_says_so_and_what_to_do() {
    let place = Place::new();
    fs::create_dir_all(place.path("data")).unwrap();
    place.write("data/tenants.toml", "[tenant.acme]\n");
    let served = Served::start(&place.path("data"), &[]);
    served.push("acme", "count", "1");
    served.push("acme", "crasher", "1");
    let runs = submit(&served, COUNTS);
    let _ = served.until(&runs, "running", |job| job["state"] == "running");
    let count = "/v1/artifacts/count/versions/1?tenant=acme";
    served.ask("DELETE", count, b"").is_problem(409, "conflict", "force=true");
    let author = json!({"name": "x", "tenant": "acme", "role": "author"}).to_string();
    let author = served.ask("POST", "/v1/tokens", author.as_bytes()).expect(201).json;
    let forced = format!("{count}&force=true");
    let refused = served.ask_with(author["token"].as_str().unwrap(), "DELETE", &forced, b"");
    refused.is_problem(403, "forbidden", "operator");
    served.ask("DELETE", &format!("{count}&force=maybe"), b"").is_problem(
        400,
        "invalid-request",
        "maybe",
    );
    let _ = served.ask("DELETE", &forced, b"").expect(204);
    let seen = served.ask("GET", &runs, b"").expect(200).json;
    assert!(has(&seen, "ArtifactDeleted", true) && seen["state"] == "running", "{seen:#}");
    assert!(seen["conditions"][0]["message"].as_str().unwrap().contains("`count@1`"), "{seen:#}");
    served.ask("GET", count, b"").is_problem(404, "not-found", "count");

    // It goes on after the server was killed, and says the same.
    served.kill();
    let served = Served::start(&place.path("data"), &[]);
    let seen = served.until(&runs, "running", |job| job["state"] == "running");
    assert!(has(&seen, "ArtifactDeleted", true), "{seen:#}");

    // One that has failed cannot be restarted until the same bytes are there again.
    let fails = COUNTS.replace("counts\"", "fails\"\n[restart]\nstrategy = \"none\"\n");
    let fails = fails
        .replace("\"count\"", "\"crasher\"")
        .replace("[[sink]]", "[operator.config]\ntrap_at = 1\n\n[[sink]]");
    let fails = submit(&served, &fails);
    let failed = served.until(&fails, "failed", |job| job["state"] == "failed");
    assert_eq!(failed["conditions"], json!([]));
    let crasher = "/v1/artifacts/crasher/versions/1?tenant=acme";
    let _ = served.ask("DELETE", crasher, b"").expect(204);
    let seen = served.ask("GET", &fails, b"").expect(200).json;
    let told = seen["conditions"][0]["message"].as_str().unwrap();
    assert!(told.contains("`crasher@1`") && told.contains("cannot be restarted"), "{told}");
    let again = served.ask("POST", &format!("{fails}/restart"), b"");
    again.is_problem(409, "conflict", "upload the same bytes");
    served.push("acme", "crasher", "1");
    assert_eq!(served.ask("GET", &fails, b"").expect(200).json["conditions"], json!([]));
    let _ = served.ask("POST", &format!("{fails}/restart"), b"").expect(202);
}

/// The program's own clock cannot be moved; the server is the same in this process.
#[test]
fn a_clock_that_jumps_is_told_whichever_way_it_went() {
    let place = Place::new();
    let data = place.path("data");
    fs::create_dir_all(&data).unwrap();
    let clock = ManualClock::at(1_800_000_000_000);
    let disk = DiskLimits { check_every: Duration::from_millis(20), ..DiskLimits::default() };
    let spec = ServerSpec { disk, ..ServerSpec::default() };
    let settings =
        TaskManagerSettings { slots: Some(1), cache_dir: None, ..TaskManagerSettings::default() };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _in = runtime.enter();
    let opened =
        Service::open(&data, spec, settings, Clock::Manual(clock.clone()), &Shelf::default());
    let (service, _follower) = opened.unwrap();
    runtime.spawn(service.clone().watch_machine());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (_end, ending) = watch::channel(false);
    runtime.spawn(server::serve(listener, None, service, ending));
    let token = fs::read_to_string(data.join("admin-token")).unwrap();
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let token = token.trim();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    // By how many milliseconds it went, as the server says.
    let jumped = |way: &str| {
        for _ in 0..3_000 {
            let overview: Value = serde_json::from_str(&ask("/v1/overview")).unwrap();
            let told = overview["conditions"].as_array().unwrap();
            let told = told.iter().find(|told| told["type"] == "ClockJumped");
            let message = told.map_or("", |told| told["message"].as_str().unwrap());
            if let Some((_, by)) = message.split_once(&format!("went {way} by ")) {
                let by: i64 = by.split(' ').next().unwrap().parse().unwrap();
                if by > 3_000_000 {
                    assert!(told.unwrap()["help"].as_str().unwrap().contains("NTP"), "{told:?}");
                    return by;
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("no jump {way}: {}", ask("/v1/overview"));
    };
    let hour = Duration::from_secs(3_600);
    clock.advance(hour);
    // Less what has passed meanwhile.
    assert!((3_000_000..=3_600_000).contains(&jumped("forward")));
    clock.set_back(hour);
    assert!(jumped("back") >= 3_600_000);
    let metrics = ask("/metrics");
    assert!(metrics.contains("cofferdam_condition{type=\"ClockJumped\"} 1"), "{metrics}");
    let jumps = metrics.lines().find_map(|line| line.strip_prefix("cofferdam_clock_jumps_total "));
    assert!(jumps.unwrap().parse::<u32>().unwrap() >= 2, "{metrics}");
}
