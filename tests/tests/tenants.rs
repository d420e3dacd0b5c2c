//! Tenants: what the commands do, how quotas are held, and that what was used is
//! recorded, also when the process is killed.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use cofferdam::{
    clock::{Clock, ManualClock},
    config::{self, tenant::Quotas},
    job_manager::{
        control::{Control, Outcome, RunOptions},
        master::run_with_clock,
        status::JobStatus,
    },
    task_manager::{TaskManager, TaskManagerSettings},
    tenancy::usage::{self, ledger::Ledger},
};
use cofferdam_tests::{Ended, Hosted, Place, Running, guests, program, tenant};
use serde_json::Value;
use tokio::sync::watch;

/// What a command printed.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn fine(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    fn refused(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        for part in said {
            assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        }
    }
}

/// A place with a data directory.
struct Data(Place);

impl Data {
    fn new() -> Self {
        Self(Place::new())
    }

    fn dir(&self) -> PathBuf {
        self.0.path("data")
    }

    /// `cofferdam WORDS --data DIR`
    fn command(&self, words: &[&str]) -> Said {
        let mut command = program();
        let out = command.args(words).arg("--data").arg(self.dir()).output().unwrap();
        Said {
            code: out.status.code(),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8(out.stderr).unwrap(),
        }
    }

    /// `cofferdam tenant WORDS`, which works.
    fn tenant(&self, words: &[&str]) -> String {
        self.command(&[&["tenant"], words].concat()).fine()
    }

    fn start(&self, job: &str, arguments: &[&str]) -> Running {
        self.0.write("job.toml", job);
        self.0.start("job.toml", &[&["--data", "data"], arguments].concat())
    }

    fn run(&self, job: &str, arguments: &[&str]) -> Ended {
        self.start(job, arguments).wait()
    }

    /// Rows of `cofferdam tenant usage`, by their first fields.
    fn usage(&self, words: &[&str]) -> Vec<Value> {
        let words = [&["usage", "--format", "json"], words].concat();
        serde_json::from_str::<Value>(&self.tenant(&words)).unwrap().as_array().unwrap().clone()
    }

    fn ledgers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir().join("usage")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

/// A job of one operator. `source` and `extra` go into the source and the operator.
fn job(artifact: &str, source: &str, extra: &str) -> String {
    format!(
        "[job]\nname = 'counts'\n[restart]\nstrategy = 'none'\n\
         [[source]]\nname = 'in'\nconnector = 'generator'\nkeys = 10\n{source}\n\
         [[operator]]\nname = 'guest'\nartifact = '{artifact}'\ninput = 'in'\n{extra}\n\
         [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'guest'\n"
    )
}

const SOME: &str = "records = 10_000";

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn a_tenant_is_made_shown_listed_changed_and_deleted() {
    let data = Data::new();
    let made = data.tenant(&["create", "acme", "--slots", "4", "--memory", "1536MiB"]);
    assert!(made.contains("created in ") && made.contains("slots              4"), "{made}");
    let again = data.command(&["tenant", "create", "acme"]);
    again.refused(2, &["error: there is a tenant `acme` already", "`cofferdam tenant set acme`"]);

    let words = ["set", "acme", "--slots", "none", "--cpu-cap", "150%", "--grant", "wasi-clocks"];
    let words = [&words[..], &["--ingest-records", "1000/s", "--ingest-bytes", "1MiB/s"]].concat();
    data.tenant(&words);
    let shown: Value = serde_json::from_str(&data.tenant(&["show", "acme", "--json"])).unwrap();
    assert_eq!((&shown["slots"], &shown["memory"]), (&Value::Null, &(1536_u64 << 20).into()));
    assert_eq!((&shown["cpu_cap_percent"], &shown["cpu_weight"]), (&150.0.into(), &100.into()));
    assert_eq!(
        (&shown["ingest_records"], &shown["ingest_bytes"]),
        (&1000.into(), &(1 << 20).into())
    );
    assert_eq!(shown["grants"], serde_json::json!(["wasi-clocks"]));
    let file = fs::read_to_string(data.dir().join("tenants.toml")).unwrap();
    assert!(file.contains("[tenant.acme]\nmemory = \"1536MiB\"\n"), "{file}");

    let list = data.tenant(&["list"]);
    let names: Vec<_> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["tenant", "acme", "default"], "{list}");
    let said = data.command(&["tenant", "set", "acme"]);
    said.refused(2, &["nothing is to be set", "--slots 8"]);
    data.command(&["tenant", "delete", "default"]).refused(2, &["cannot be deleted"]);
    data.command(&["tenant", "show", "acne"]).refused(2, &["did you mean `acme`?"]);
    let bad = data.command(&["tenant", "set", "acme", "--cpu-cap", "lots"]);
    bad.refused(2, &["'lots'", "such as 50% or 400%", "or none"]);

    data.tenant(&["delete", "acme"]);
    data.command(&["tenant", "show", "acme"]).refused(2, &["`cofferdam tenant create acme`"]);
}

#[test]
fn without_a_tenant_nothing_is_written_and_the_environment_can_name_the_directory() {
    let place = Place::new();
    place.write("job.toml", job("identity", SOME, ""));
    let run = |data: Option<&str>, arguments: &[&str]| {
        let mut command = program();
        command.current_dir(place.path("")).args(["run", "job.toml"]).args(arguments);
        command.env("XDG_DATA_HOME", place.path("home")).env_remove("COFFERDAM_DATA");
        command.envs(data.map(|dir| ("COFFERDAM_DATA", place.path(dir))));
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    };
    run(None, &[]);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1, "the job file alone");
    run(Some("named"), &[]);
    assert_eq!(fs::read_dir(place.path("named/usage")).unwrap().count(), 1);
    run(None, &["--tenant", "default"]);
    assert_eq!(fs::read_dir(place.path("home/cofferdam/usage")).unwrap().count(), 1);
}

#[test]
fn a_file_with_a_mistake_is_shown_with_its_line_and_a_suggestion() {
    let data = Data::new();
    fs::create_dir_all(data.dir()).unwrap();
    fs::write(data.dir().join("tenants.toml"), "[tenant.acme]\nslots = 4\nmemroy = \"1GiB\"\n")
        .unwrap();
    let said =
        ["unknown key `memroy` in [tenant.acme]", "tenants.toml:3:1", "did you mean `memory`?"];
    data.command(&["tenant", "list"]).refused(2, &said);
    data.command(&["tenant", "set", "acme", "--slots", "5"]).refused(2, &said);
    data.run(&job("identity", SOME, ""), &["--tenant", "acme"]).failed(2, &said);
}

#[test]
fn a_job_beyond_a_quota_is_refused_with_the_quota_named() {
    let data = Data::new();
    data.tenant(&["create", "acme", "--slots", "2"]);
    let run = |extra: &str| data.run(&job("identity", SOME, extra), &["--tenant", "acme"]);
    let said = ["needs 3 slots", "tenant `acme` may have 2 (quota `slots`)", "set acme --slots 3`"];
    run("parallelism = 3").failed(2, &said);
    let _ = run("parallelism = 2").finished();

    data.tenant(&["set", "acme", "--jobs", "0"]);
    run("").failed(2, &["tenant `acme` may run no job (quota `jobs` is 0)", "--jobs 1`"]);
    data.tenant(&["set", "acme", "--jobs", "none", "--artifact-bytes", "1kB"]);
    run("").failed(2, &["1000 bytes of artifacts (quota `artifact_bytes`)", "--artifact-bytes"]);
    data.tenant(&["set", "acme", "--artifact-bytes", "none", "--artifacts", "0"]);
    run("").failed(2, &["may use 0 different artifacts (quota `artifacts`)"]);
    data.tenant(&["set", "acme", "--artifacts", "1", "--memory", "10MiB"]);
    let said =
        ["of the tenant `acme`", "quota `memory`", "cofferdam tenant set acme --memory SIZE`"];
    run("memory = '64MiB'").failed(2, &said);
    let _ = run("memory = '8MiB'").finished();
    data.run(&job("identity", SOME, ""), &["--tenant", "acne"])
        .failed(2, &["did you mean `acme`?"]);
}

#[test]
fn a_tenants_operators_are_granted_no_more_than_it_may_grant() {
    let data = Data::new();
    data.tenant(&["create", "acme", "--grant", "wasi-clocks"]);
    let text = job(
        "identity",
        SOME,
        "grants = ['log', 'config', 'metrics', 'wasi-clocks', 'wasi-random']",
    );
    let said = [
        "operator `guest`: tenant `acme` may not grant it `wasi-random`",
        "job.toml:14:1",
        "set acme --grant wasi-clocks --grant wasi-random`",
    ];
    data.run(&text, &["--tenant", "acme"]).failed(2, &said);
    let file = data.0.path("job.toml");
    let check = ["job", "check", file.to_str().unwrap(), "--tenant", "acme"];
    data.command(&check).refused(2, &said);
    let _ = data.run(&text, &["--tenant", "default"]).finished();
    data.tenant(&["set", "acme", "--grant", "wasi"]);
    let _ = data.run(&text, &["--tenant", "acme"]).finished();
    data.command(&check).fine();
}

#[test]
fn sources_are_slowed_to_the_quota_of_their_tenant_and_the_quota_is_named() {
    let data = Data::new();
    data.tenant(&["create", "acme", "--ingest-records", "5000/s"]);
    let ended = data.run(&job("identity", SOME, ""), &["--tenant", "acme"]).finished();
    // Without waiting for it: what a window pays for, and the last batch.
    let least = (10_000 - 500 - 1_024) * 1_000 / 5_000;
    let took = number(&ended.summary["elapsed_millis"]);
    assert!(took >= least, "{took} ms are less than {least}");
    assert_eq!(ended.vertex("guest", "records_in"), 10_000, "slowed, not refused");
    let tenant = &ended.summary["tenant"];
    assert_eq!((&tenant["name"], &tenant["slowed_by"]), (&"acme".into(), &"ingest_records".into()));
    assert!(number(&tenant["slowed_millis"]) >= least / 2, "{tenant}");

    let bytes = ended.vertex("in", "bytes_out");
    let words = ["set", "acme", "--ingest-records", "none", "--ingest-bytes"];
    let rate = format!("{}/s", bytes / 2);
    data.tenant(&[&words[..], &[&rate]].concat());
    let ended = data.run(&job("identity", SOME, ""), &["--tenant", "acme"]).finished();
    assert_eq!(ended.summary["tenant"]["slowed_by"], "ingest_bytes");
    let took = number(&ended.summary["elapsed_millis"]);
    assert!(took >= 1_500, "{took} ms for two seconds' worth of bytes, less a window and a batch");
}

#[test]
fn a_job_that_runs_takes_a_new_quota() {
    let data = Data::new();
    data.tenant(&["create", "acme", "--ingest-records", "2000/s"]);
    let mut running = data.start(&job("identity", "", ""), &["--tenant", "acme"]);
    running.until("slowed", |s| s["tenant"]["slowed_by"] == "ingest_records");
    // At 2,000 a second this would take hours.
    data.tenant(&["set", "acme", "--ingest-records", "none"]);
    running.until("at full speed", |s| {
        s["vertices"][0]["records_out"].as_u64().is_some_and(|records| records > 5_000_000)
    });
    data.tenant(&[
        "set",
        "acme",
        "--ingest-records",
        "10/s",
        "--memory",
        "300MiB",
        "--state",
        "1MB",
    ]);
    running.until("slowed again", |s| s["tenant"]["slowed_by"] == "ingest_records");
    running.until("with budgets", |s| {
        let tenants = s["memory"]["tenants"].as_array().unwrap();
        let acme = tenants.iter().find(|t| t["tenant"] == "acme").unwrap();
        acme["limit"] == 300 << 20 && acme["state_limit"] == 1_000_000
    });
    running.interrupt();
    assert_eq!(running.wait().code, Some(3));
}

fn read(status: &JobStatus) -> u64 {
    status.vertices.first().map_or(0, |source| source.records_out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_of_memory_and_state_fail_a_tenants_jobs_and_others_go_on() {
    let settings = TaskManagerSettings {
        slots: Some(8),
        memory: Some(1 << 30),
        ..TaskManagerSettings::default()
    };
    let shared = TaskManager::start(&settings).unwrap();
    let quotas = Quotas { memory: Some(40 << 20), state: Some(8 << 20), ..Quotas::default() };
    shared.set_quotas(&tenant("hog"), &quotas);
    let mut quiet = Hosted::start(&job("identity", "rate = 200_000", ""), "quiet", &shared);
    let keeps = "config.mode = 'hoard'\nmemory = '32MiB'";
    let hoarder = |of| {
        Hosted::start(
            &job("misbehave-keyed", "records = 50_000", keeps).replace("keys = 10", "keys = 4_000"),
            of,
            &shared,
        )
    };
    let Outcome::Failed { error } = hoarder("hog").outcome().await else { panic!("it fails") };
    for part in [
        "out of memory",
        "of 8388608 bytes of keyed state (quota `state`)",
        "set hog --state SIZE`",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let grows = "memory = '40MiB'\nparallelism = 2\nconfig.mode = 'grow-and-give-up'";
    let hog = Hosted::start(&job("misbehave", "records = 200_000", grows), "hog", &shared);
    let Outcome::Failed { error } = hog.outcome().await else { panic!("it fails") };
    for part in ["of 41943040 bytes (quota `memory`)", "cofferdam tenant set hog --memory SIZE`"] {
        assert!(error.contains(part), "{error}");
    }
    // The same job of a tenant without these quotas does not fail for them.
    assert_eq!(hoarder("other").outcome().await, Outcome::Finished);
    let before = read(&quiet.status.borrow());
    let later = quiet.until("going on", |s| read(s) > before).await;
    assert_eq!(later.restarts.count, 0);
    let report = shared.memory.report();
    let hog = report.tenants.iter().find(|t| t.tenant == tenant("hog")).unwrap();
    assert_eq!((hog.reserved, hog.state), (0, 0), "all of it was given back");
    assert!(matches!(quiet.stop().await, Outcome::Stopped { .. }));
}

#[test]
fn usage_adds_up_to_what_the_job_said() {
    let data = Data::new();
    data.tenant(&["create", "acme"]);
    let text = job("count", SOME, "parallelism = 2")
        .replace("[restart]", "[checkpoints]\nevery_records = 2000\n[restart]");
    let ended = data.run(&text, &["--tenant", "acme", "--state", "state"]).finished();
    let rows = data.usage(&["acme", "--by", "operator"]);
    let row = |name: &str| rows.iter().find(|row| row["operator"] == name).unwrap();
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for name in ["in", "guest", "out"] {
        for figure in ["records_in", "records_out", "bytes_in", "bytes_out"] {
            let said = ended.vertex(name, figure);
            assert_eq!(number(&row(name)[figure]), said, "{figure} of {name}");
            *sums.entry(figure).or_default() += said;
        }
    }
    assert_eq!(number(&row("guest")["records_in"]), 10_000);
    let guest = &ended.summary["vertices"].as_array().unwrap()[1];
    let millis: u64 = guest["guest_millis"].as_array().unwrap().iter().map(number).sum();
    let seconds = row("guest")["cpu_seconds"].as_f64().unwrap();
    // Each subtask's is rounded down to milliseconds.
    let said = millis as f64 / 1_000.0;
    assert!(seconds >= said && seconds < said + 0.002, "{seconds} s, and {millis} ms were said");
    let elapsed = number(&ended.summary["elapsed_millis"]) as f64 / 1_000.0;
    let held = number(&row("guest")["memory_byte_seconds"]) as f64;
    let peak = number(&ended.summary["memory"]["peak"]) as f64;
    assert!(held > 0.0 && held <= peak * elapsed, "{held} of {peak} in {elapsed} s");
    let checkpoints = number(&row("guest")["checkpoint_bytes"]);
    assert!(checkpoints > 0 && number(&row("")["checkpoint_bytes"]) > 0, "{rows:?}");

    // The same by tenant, and as CSV.
    let all = data.usage(&["--since", "1h"]);
    assert_eq!((all.len(), &all[0]["tenant"]), (1, &"acme".into()));
    for (figure, sum) in sums {
        assert_eq!(number(&all[0][figure]), sum, "{figure}");
    }
    let csv = data.tenant(&["usage", "--by", "job", "--format", "csv"]);
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 2, "{csv}");
    let field = |name: &str| lines[1][lines[0].iter().position(|known| *known == name).unwrap()];
    assert_eq!((field("tenant"), field("job")), ("acme", "counts"));
    for figure in ["records_in", "records_out", "bytes_in", "bytes_out", "memory_byte_seconds"] {
        assert_eq!(field(figure), all[0][figure].to_string(), "{figure}");
    }
    let exact: f64 = field("cpu_seconds").parse().unwrap();
    assert!((exact - all[0]["cpu_seconds"].as_f64().unwrap()).abs() < 1e-6);

    // A second run is added; another time and another tenant have nothing.
    let _ = data.run(&text, &["--tenant", "acme", "--state", "another"]).finished();
    let twice = &data.usage(&["--by", "day"])[0];
    assert_eq!(number(&twice["records_in"]), 2 * number(&all[0]["records_in"]));
    assert_eq!(data.usage(&["--until", "1h"]), Vec::<Value>::new());
    assert_eq!(data.usage(&["default"]), Vec::<Value>::new());
    let said = data.command(&["tenant", "usage", "--since", "yesterday"]);
    said.refused(2, &["'yesterday'", "'--since <T>'", "24h, 7d"]);
}

#[test]
fn work_that_is_done_again_counts_again_and_what_a_checkpoint_has_counted_does_not() {
    let data = Data::new();
    let text = job("crasher", "records = 40_000\nrate = 20_000", "config.trap_after_snapshots = 2")
        .replace("strategy = 'none'", "strategy = 'fixed-delay'\ndelay = '1ms'")
        .replace("[restart]", "[checkpoints]\ninterval = '10ms'\n[restart]");
    let ended = data.run(&text, &["--state", "state"]).finished();
    assert_eq!((ended.restarts(), ended.vertex("in", "records_out")), (1, 40_000));
    let used = || {
        let rows = data.usage(&["--by", "operator"]);
        let source = rows.iter().find(|row| row["operator"] == "in").unwrap();
        number(&source["records_out"])
    };
    let first = used();
    // At the least the record at which it went down was read again.
    assert!(first > 40_000 && first < 80_000, "{first}");
    // The job is at its end: run again it reads nothing, whatever its counters say.
    let again = data.run(&text, &["--state", "state"]).finished();
    assert_eq!(again.vertex("in", "records_out"), 40_000);
    assert_eq!(used(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_written_every_ten_seconds_of_the_jobs_clock_and_at_its_end() {
    const START: i64 = 1_700_000_000_000;
    let (data, manual) = (Data::new(), ManualClock::at(START));
    let clock = Clock::Manual(manual.clone());
    let ledger = Ledger::begin(&data.dir(), &clock).unwrap();
    let spec = config::parse(&job("identity", "", ""), Path::new("job.toml"), &[]).unwrap();
    let options = RunOptions {
        tenant: tenant("acme"),
        artifacts: Some(guests()),
        usage: Some(ledger),
        ..RunOptions::default()
    };
    let (control, listen) = watch::channel(Control::Run);
    let (publish, mut status) = JobStatus::watched(spec.job.name.clone());
    let running = tokio::spawn(run_with_clock(spec, options, listen, publish, clock));
    let records = || usage::read::read(&data.dir()).unwrap().records;
    // A few publications are as many looks at the clock.
    let mut looks = async |n: u64| {
        let from = status.borrow().generation;
        status.wait_for(|s| s.generation >= from + n && read(s) > 0).await.unwrap();
    };
    looks(5).await;
    manual.advance(Duration::from_millis(9_999));
    looks(5).await;
    assert_eq!(records(), [], "the interval is not over");
    manual.advance(Duration::from_millis(1));
    while records().len() < 3 {
        looks(1).await;
    }
    manual.advance(Duration::from_millis(2_500));
    control.send_replace(Control::Stop);
    let stopped = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap();
    assert!(matches!(stopped.unwrap(), Outcome::Stopped { .. }));
    let records = records();
    let intervals: BTreeSet<_> = records.iter().map(|r| (r.start - START, r.end - START)).collect();
    assert_eq!(intervals, BTreeSet::from([(0, 10_000), (10_000, 12_500)]));
    assert!(records.iter().all(|r| r.tenant == tenant("acme") && r.job.as_str() == "counts"));
    let counted: u64 = records.iter().map(|r| r.consumed.records_in).sum();
    let said: u64 = status.borrow().vertices.iter().map(|v| v.records_in).sum();
    assert_eq!(counted, said);
}

#[test]
fn usage_survives_a_kill_but_for_the_last_interval() {
    let data = Data::new();
    data.tenant(&["create", "acme"]);
    let mut running = data.start(&job("identity", "rate = 1_000", ""), &["--tenant", "acme"]);
    let mut records = |millis: u64| {
        let seen = Cell::new(0);
        running.until("so late", |status| {
            seen.set(status["vertices"][0]["records_out"].as_u64().unwrap_or(0));
            status["elapsed_millis"].as_u64().is_some_and(|elapsed| elapsed >= millis)
        });
        seen.get()
    };
    // A record is written after ten seconds; one more passes, so that it is there.
    let (before, after) = (records(9_500), records(11_500));
    running.kill();
    let rows = data.usage(&["--by", "operator"]);
    let source = rows.iter().find(|row| row["operator"] == "in").unwrap();
    let kept = number(&source["records_out"]);
    assert!(kept >= before && kept <= after, "{kept} of {before} to {after}");

    // A line that a crash has torn is told, and the rest counts.
    let ledger = data.ledgers().remove(0);
    let text = fs::read(&ledger).unwrap();
    fs::write(&ledger, &text[..text.len() - 5]).unwrap();
    let said = data.command(&["tenant", "usage", "--by", "operator", "--format", "csv"]);
    assert!(said.stderr.contains("is torn, as a crash leaves it"), "{}", said.stderr);
    assert_eq!(said.fine().lines().count(), rows.len(), "a header, and a row less");
}
