//! The service: from an upload to the first record, records that are posted (`ingest`), and a thousand small jobs of a hundred
//! tenants on one server.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use cofferdam_tests::Served;

use crate::{
    Places,
    http::{self, Connection},
    ingest,
    machine::{median_and_p99, resident_kib},
    report::{Bar, Report},
};

const TENANTS: usize = 100;
const JOBS: usize = 1_000;

pub(crate) fn measure(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    upload(places, report)?;
    ingest::measure(places, report)?;
    ingest::watched(places, report)?;
    crowd(places, report)
}

fn serve(places: &Places, data: &Path, arguments: &[&str]) -> Served {
    Served::start_program(Command::new(&places.program), data, arguments)
}

/// A component of a megabyte: an operator, and a custom section.
fn component(places: &Places) -> anyhow::Result<Vec<u8>> {
    const MEGABYTE: usize = 1 << 20;
    let mut bytes = fs::read(places.guests.join("tokenize.wasm"))?;
    // A custom section: its number, its length in five bytes, and its name.
    let rest = MEGABYTE.saturating_sub(bytes.len() + 6);
    bytes.push(0);
    let length = u32::try_from(rest)?;
    for i in 0..5_u32 {
        let more = if i < 4 { 0x80 } else { 0 };
        bytes.push(u8::try_from((length >> (7 * i)) & 0x7f)? | more);
    }
    let begin = bytes.len();
    bytes.resize(begin + rest, 0);
    Ok(bytes)
}

/// One record, read, processed and committed.
const ONE_RECORD: &str = "[job]\nname = 'one'\n\
    [[source]]\nname = 'in'\nconnector = 'generator'\nrecords = 1\n\
    [[operator]]\nname = 'op'\nartifact = 'op'\ninput = 'in'\n\
    [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'op'\n";

fn upload(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    for (name, cached, bar) in [("cold", false, 1_500.0), ("compiled code cached", true, 150.0)] {
        let mut took = Vec::new();
        let dir = tempfile::tempdir()?;
        for round in 0..10_u8 {
            let data = dir.path().join(round.to_string());
            // The first one fills the cache.
            let compiled = dir.path().join("compiled");
            if cached && compiled.exists() {
                copy(&compiled, &data.join("compiled"))?;
            }
            let served = serve(places, &data, &[]);
            let bytes = component(places)?;
            let begin = Instant::now();
            let _ = served.ask("PUT", "/v1/artifacts/op/versions/1", &bytes).expect(201);
            let job = served.ask("POST", "/v1/jobs", ONE_RECORD.as_bytes()).expect(201);
            let path = format!("/v1/jobs/{}", job.json["id"].as_str().unwrap_or_default());
            while served.ask("GET", &path, b"").json["state"] != "finished" {
                std::thread::sleep(Duration::from_millis(1));
            }
            took.push(begin.elapsed());
            drop(served);
            if cached && !compiled.exists() {
                copy(&data.join("compiled"), &compiled)?;
                took.clear();
            }
        }
        let (median, worst) = median_and_p99(took);
        report.add(
            format!("upload of 1 MB to the end of a job of one record, {name}"),
            median / 1000.0,
            "ms",
            Bar::AtMost(bar),
            format!("worst {:.0}; with the final checkpoint and its syncs", worst / 1000.0),
        );
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// A record a second.
const SMALL: &str = "[job]\nname = 'small'\n\
    [[source]]\nname = 'in'\nconnector = 'generator'\nrate = 1\n\
    [[operator]]\nname = 'op'\nartifact = 'identity'\ninput = 'in'\nmemory = '4MiB'\n\
    [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'op'\n";

fn crowd(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    fs::create_dir_all(&data)?;
    let tenants: String = (0..TENANTS).map(|n| format!("[tenant.t{n}]\n")).collect();
    fs::write(data.join("tenants.toml"), tenants)?;
    let config = dir.path().join("server.toml");
    fs::write(&config, format!("[task_manager]\nslots = {JOBS}\n"))?;
    let config = config.display().to_string();
    let served = serve(places, &data, &["--config", &config]);
    let idle = resident_kib(served.process())?;
    let identity = fs::read(places.guests.join("identity.wasm"))?;
    for n in 0..TENANTS {
        let path = format!("/v1/artifacts/identity/versions/1?tenant=t{n}");
        let _ = served.ask("PUT", &path, &identity).expect(201);
    }
    let mut took = Vec::new();
    for n in 0..JOBS {
        let begin = Instant::now();
        let path = format!("/v1/jobs?tenant=t{}", n % TENANTS);
        let _ = served.ask("POST", &path, SMALL.as_bytes()).expect(201);
        took.push(begin.elapsed());
    }
    let running = "/v1/jobs?limit=1000&state=running";
    let all = |reply: &serde_json::Value| reply["jobs"].as_array().map_or(0, Vec::len) == JOBS;
    let _ = served.until(running, "all of them", all);
    let (median, p99) = median_and_p99(took);
    report.add(
        format!("submission of a small job, {JOBS} of {TENANTS} tenants, p50"),
        median / 1000.0,
        "ms",
        Bar::Free,
        format!("p99 {:.0}", p99 / 1000.0),
    );
    let resident = resident_kib(served.process())?;
    #[expect(clippy::cast_precision_loss, reason = "a size to be read")]
    report.add(
        format!("memory of a server with {JOBS} jobs"),
        resident as f64 / 1024.0,
        "MiB",
        Bar::Free,
        format!("{} MiB without any", idle / 1024),
    );
    asked(&served, report, "GET /v1/jobs (100 of 1,000), p99", "/v1/jobs", Bar::Free)?;
    asked(&served, report, "GET /metrics with 1,000 jobs, p99", "/metrics", Bar::AtMost(100.0))?;
    let begin = Instant::now();
    served.terminate();
    let stopped = begin.elapsed();
    let begin = Instant::now();
    let served = serve(places, &data, &["--config", &config]);
    let listens = begin.elapsed();
    let _ = served.until(running, "all of them again", all);
    report.add(
        format!("start again with {JOBS} jobs, until all run"),
        begin.elapsed().as_secs_f64(),
        "s",
        Bar::Free,
        format!(
            "listening after {:.2} s; stopped, with final checkpoints, in {:.1} s",
            listens.as_secs_f64(),
            stopped.as_secs_f64()
        ),
    );
    Ok(())
}

/// How long an answer takes.
fn asked(
    served: &Served,
    report: &mut Report,
    name: &str,
    path: &str,
    bar: Bar,
) -> anyhow::Result<()> {
    let request = http::request(served, "GET", path, "");
    let mut connection = Connection::open(served.address())?;
    let mut took = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        connection.ask(request.as_bytes())?;
        took.push(begin.elapsed());
    }
    let (median, p99) = median_and_p99(took);
    report.add(name, p99 / 1000.0, "ms", bar, format!("p50 {:.1}", median / 1000.0));
    Ok(())
}
