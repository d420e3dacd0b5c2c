//! Whole jobs through the real runtime: processor time of the whole process, a
//! record. The bars are shares of what Apache Flink 2.3.0 used for the same work
//! on such a machine (`docs/benchmarks.md` says how that was measured).

use std::{io::Write, path::Path, sync::Arc, time::Duration};

use cofferdam::{
    config,
    job_manager::{
        self,
        control::{Control, Outcome, RunOptions},
        status::JobStatus,
    },
    task_manager::TaskManagerSettings,
    trace::Tracer,
};
use tokio::sync::watch;

use crate::{
    Places,
    machine::{cpu_time, per},
    native,
    report::{Bar, Report},
};

/// A job to measure.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// Flink's processor time a record, and which part of it is the bar.
    flink: f64,
    share: f64,
    pub(crate) records: u64,
    keys: u64,
    /// Event time from one record to the next.
    step: &'static str,
    operators: &'static str,
    last: &'static str,
}

pub(crate) const WORKS: [Work; 5] = [
    Work {
        name: "map",
        flink: 126.0,
        share: 3.0,
        records: 30_000_000,
        keys: 5_000,
        step: "1ms",
        operators: "[[operator]]\nname = 'map'\nartifact = 'upper'\ninput = 'in'\n",
        last: "map",
    },
    Work {
        name: "filter",
        flink: 130.0,
        share: 3.0,
        records: 30_000_000,
        keys: 5_000,
        step: "1ms",
        operators: "[[operator]]\nname = 'filter'\nartifact = 'keep-filter'\ninput = 'in'\n",
        last: "filter",
    },
    Work {
        name: "count-5k",
        flink: 626.0,
        share: 5.0,
        records: 20_000_000,
        keys: 5_000,
        step: "1ms",
        operators: "[[operator]]\nname = 'count'\nartifact = 'count'\ninput = 'in'\n",
        last: "count",
    },
    Work {
        name: "count-1m",
        flink: 1_737.0,
        share: 5.0,
        records: 20_000_000,
        keys: 1_000_000,
        step: "1ms",
        operators: "[[operator]]\nname = 'count'\nartifact = 'count'\ninput = 'in'\n",
        last: "count",
    },
    Work {
        name: "window-5k",
        flink: 1_058.0,
        share: 5.0,
        records: 20_000_000,
        keys: 5_000,
        // A million records a second of event time, 10 million a window.
        step: "10us",
        operators: "[[operator]]\nname = 'count'\nartifact = 'count'\ninput = 'in'\nwindow = { type = 'tumbling', size = '10s' }\n",
        last: "count",
    },
];

pub(crate) async fn measure(
    places: &Places,
    report: &mut Report,
    only: Option<&str>,
) -> anyhow::Result<()> {
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    for work in WORKS.iter().filter(|w| wanted(w.name)) {
        for parallelism in [1, 2] {
            for interval in [None, Some("1s")] {
                one(places, report, work, parallelism, interval).await?;
            }
        }
        if work.name.starts_with("count") {
            beside_native(places, report, work).await?;
        }
    }
    if wanted("words") {
        words(places, report).await?;
    }
    Ok(())
}

fn head(parallelism: u32, interval: Option<&str>) -> String {
    let mut text = format!("[job]\nname = 'bench'\nparallelism = {parallelism}\n");
    if let Some(interval) = interval {
        text += &format!("[checkpoints]\ninterval = '{interval}'\n");
    }
    text
}

pub(crate) fn job(work: &Work, parallelism: u32, interval: Option<&str>) -> String {
    let Work { records, keys, step, operators, last, .. } = work;
    let head = head(parallelism, interval);
    format!(
        "{head}[[source]]\nname = 'in'\nconnector = 'generator'\nrecords = {records}\nkeys = {keys}\n\
         value_size = 100\nstep = '{step}'\n{operators}\
         [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = '{last}'\nparallelism = {parallelism}\n"
    )
}

async fn one(
    places: &Places,
    report: &mut Report,
    work: &Work,
    parallelism: u32,
    interval: Option<&str>,
) -> anyhow::Result<()> {
    let (cpu, wall, status) = run(places, &job(work, parallelism, interval)).await?;
    let (cpu, wall) = (per(cpu, work.records), per(wall, work.records));
    let checkpoints = interval.map_or("no checkpoints".into(), |i| {
        format!("checkpoints {i} ({} made)", status.checkpoints.completed)
    });
    report.add(
        format!("job {}, parallelism {parallelism}, {checkpoints}", work.name),
        cpu,
        "cpu ns/rec",
        Bar::AtMost((work.flink / work.share).floor()),
        format!("wall {wall:.0}; Flink {} cpu", work.flink),
    );
    Ok(())
}

/// The keyed count again, beside the loop over a hash map in the same run.
async fn beside_native(places: &Places, report: &mut Report, work: &Work) -> anyhow::Result<()> {
    let batches = native::batches(2_000, work.keys);
    let records = (batches.len() * native::RECORDS) as u64;
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let native = per(native::count(&batches, 2), records * 2);
        let (cpu, _, _) = run(places, &job(work, 1, None)).await?;
        ratios.push((native / per(cpu, work.records), native));
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, native) = ratios[1];
    report.add(
        format!("job {}, speed beside a native hash map", work.name),
        ratio,
        "ratio",
        Bar::AtLeast(0.3),
        format!("native {native:.0} ns; the job includes source and channels"),
    );
    Ok(())
}

/// Word count over 200 MB of text, a word.
async fn words(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("text.txt");
    let words = write_text(&path, 200_000_000)?;
    for parallelism in [1, 2] {
        let text = format!(
            "{}[[source]]\nname = 'in'\nconnector = 'lines'\npath = '{}'\n\
             [[operator]]\nname = 'words'\nartifact = 'tokenize'\ninput = 'in'\n\
             [[operator]]\nname = 'count'\nartifact = 'count'\ninput = 'words'\n\
             [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'count'\nparallelism = {parallelism}\n",
            head(parallelism, None),
            path.display()
        );
        let (cpu, wall, _) = run(places, &text).await?;
        report.add(
            format!("job word count over 200 MB, parallelism {parallelism}, no checkpoints"),
            per(cpu, words),
            "cpu ns/word",
            Bar::AtMost((880.0_f64 / 5.0).floor()),
            format!("wall {:.0}; Flink 880 cpu", per(wall, words)),
        );
    }
    Ok(())
}

/// Lines of ten words from a vocabulary of 50,000, some far more frequent.
fn write_text(path: &Path, bytes: usize) -> anyhow::Result<u64> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let (mut written, mut words) = (0, 0_u64);
    let mut next = 1_u64;
    while written < bytes {
        let mut line = String::new();
        for _ in 0..10 {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Squaring a uniform number prefers small ones.
            let uniform = (next >> 33) % 50_000;
            let word = uniform * uniform / 50_000;
            line += &format!("w{word:x}{} ", "aeiou".repeat((word % 2) as usize));
            words += 1;
        }
        line.pop();
        line.push('\n');
        file.write_all(line.as_bytes())?;
        written += line.len();
    }
    file.flush()?;
    Ok(words)
}

async fn run(places: &Places, text: &str) -> anyhow::Result<(Duration, Duration, Arc<JobStatus>)> {
    run_traced(places, text, Tracer::default()).await
}

/// Runs a job to its end; its processor time, how long it took, and what it showed last.
pub(crate) async fn run_traced(
    places: &Places,
    text: &str,
    tracer: Tracer,
) -> anyhow::Result<(Duration, Duration, Arc<JobStatus>)> {
    let spec = config::parse(text, Path::new("bench.toml"), &[])
        .map_err(|e| anyhow::anyhow!("{e}\n{text}"))?;
    let settings = TaskManagerSettings { tracer, ..TaskManagerSettings::default() };
    let artifacts = Some(places.guests.clone());
    let options = RunOptions { artifacts, settings, ..RunOptions::default() };
    let (_keep, control) = watch::channel(Control::Run);
    let (publish, status) = JobStatus::watched(spec.job.name.clone());
    let (cpu, start) = (cpu_time()?, std::time::Instant::now());
    let outcome = job_manager::run(spec, options, control, publish).await;
    let took = (cpu_time()?.saturating_sub(cpu), start.elapsed());
    anyhow::ensure!(outcome == Outcome::Finished, "{outcome:?}");
    let last = status.borrow().clone();
    Ok((took.0, took.1, last))
}
