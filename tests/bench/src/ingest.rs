//! Posting records to a job with acknowledgement: how many a second in batches of 1,000, on one
//! core each side, and how long one waits at half that rate.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cofferdam_tests::Served;

use crate::{
    Places,
    http::{self, Connection},
    machine::median_and_p99,
    report::{Bar, Report},
};

const BATCH: usize = 1_000;
/// Connections, of one core together.
const CLIENTS: usize = 8;
const LASTS: Duration = Duration::from_secs(5);

const JOB: &str = "[job]\nname = 'posted'\n[checkpoints]\ninterval = '500ms'\n\
    [[source]]\nname = 'in'\nconnector = 'http'\nkey = 'k'\n\
    [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'in'\n";

pub(crate) fn measure(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(&places.program);
    let config = dir.path().join("server.toml");
    fs::write(
        &config,
        "[ingest]\nmax_log = '4GiB'\n[limits]\nrequests_per_second = 1_000_000\nburst = 1_000_000\n",
    )?;
    let config = config.display().to_string();
    let served = Served::start_program(command, &dir.path().join("data"), &["--config", &config]);
    let job = served.ask("POST", "/v1/jobs", JOB.as_bytes()).expect(201).json;
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap_or_default());
    let _ = served.until(&path, "running", |job| job["state"] == "running");
    pin("1")?;
    let done = (|| -> anyhow::Result<()> {
        // The first ones make files, and fill caches.
        post(&served, &path, Duration::from_secs(1), None)?;
        let (posted, took, _) = post(&served, &path, LASTS, None)?;
        #[expect(clippy::cast_precision_loss, reason = "a rate to be read")]
        let rate = posted as f64 * BATCH as f64 / took.as_secs_f64();
        report.add(
            "ingest by HTTP, acknowledged when durable, batches of 1,000",
            rate,
            "records/s",
            Bar::Free,
            format!("{CLIENTS} connections on one core, the server on another one"),
        );
        let between = Duration::from_secs_f64(2.0 * BATCH as f64 / rate);
        let (_, _, waited) = post(&served, &path, LASTS, Some(between))?;
        let (median, p99) = median_and_p99(waited);
        report.add(
            "a batch of 1,000 at half that rate, until it is acknowledged, p99",
            p99 / 1000.0,
            "ms",
            Bar::Free,
            format!("p50 {:.1}; counted from when it was due", median / 1000.0),
        );
        Ok(())
    })();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    pin(&format!("0-{}", cores - 1))?;
    done
}

/// A job as fast as it goes, through an operator.
const FAST: &str = "[job]\nname = 'fast'\n\
    [[source]]\nname = 'in'\nconnector = 'generator'\nrecords = 10_000_000\n\
    [[operator]]\nname = 'op'\nartifact = 'identity'\ninput = 'in'\n\
    [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'op'\n";

/// What it costs a job that somebody watches what it puts out, and reads nothing of it.
pub(crate) fn watched(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let served =
        Served::start_program(Command::new(&places.program), &dir.path().join("data"), &[]);
    let identity = fs::read(places.guests.join("identity.wasm"))?;
    let _ = served.ask("PUT", "/v1/artifacts/identity/versions/1", &identity).expect(201);
    let run = |watchers: usize| -> anyhow::Result<f64> {
        let job = served.ask("POST", "/v1/jobs", FAST.as_bytes()).expect(201).json;
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap_or_default());
        let _ = served.until(&path, "running", |job| job["state"] == "running");
        let mut tails = Vec::new();
        for _ in 0..watchers {
            let mut tail = TcpStream::connect(served.address())?;
            let (host, token) = (served.address(), &served.token);
            write!(
                tail,
                "GET {path}/vertices/op/tail HTTP/1.1\r\nhost: {host}\r\n\
                 authorization: Bearer {token}\r\n\r\n"
            )?;
            tails.push(tail);
        }
        let ended = served.until(&path, "finished", |job| job["state"] == "finished");
        Ok(ended["status"]["elapsed_millis"].as_f64().unwrap_or(f64::NAN))
    };
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        alone.push(run(0)?);
        watched.push(run(4)?);
    }
    let least = |all: Vec<f64>| all.into_iter().fold(f64::INFINITY, f64::min);
    let (alone, watched) = (least(alone), least(watched));
    report.add(
        "a job while four tails of it are open that nobody reads, its time to that of one without",
        watched / alone,
        "",
        Bar::Free,
        format!("10,000,000 records: {alone:.0} and {watched:.0} ms, the best of 3"),
    );
    Ok(())
}

/// Has this process run on these cores only.
fn pin(cores: &str) -> anyhow::Result<()> {
    let own = std::process::id().to_string();
    let status = Command::new("taskset").args(["-acp", cores, &own]).output();
    let output = status.context("taskset (util-linux) has to be there")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Posts batches for a while: as fast as they are taken, or one in so long. Returns how many, in
/// what time, and how long each took.
fn post(
    served: &Served,
    job: &str,
    lasts: Duration,
    between: Option<Duration>,
) -> anyhow::Result<(usize, Duration, Vec<Duration>)> {
    let body: String = (0..BATCH)
        .map(|n| format!("{{\"k\":\"user-{n:05}\",\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(64)))
        .collect();
    let request = http::request(served, "POST", &format!("{job}/sources/in"), &body);
    let (address, request) = (served.address(), request.as_bytes());
    let (next, begin) = (AtomicUsize::new(0), Instant::now());
    let all = thread::scope(|scope| {
        let client = || -> anyhow::Result<Vec<Duration>> {
            let mut connection = Connection::open(address)?;
            let mut took = Vec::new();
            loop {
                let number = u32::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                let due = between.map(|between| begin + between * number);
                let due = due.unwrap_or_else(Instant::now);
                if due.duration_since(begin) > lasts {
                    return Ok(took);
                }
                thread::sleep(due.saturating_duration_since(Instant::now()));
                connection.ask(request)?;
                took.push(due.elapsed());
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let mut all = Vec::new();
        for client in clients {
            let took = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
            all.extend(took?);
        }
        Ok::<_, anyhow::Error>(all)
    })?;
    Ok((all.len(), begin.elapsed(), all))
}
