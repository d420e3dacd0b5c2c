//! What checkpoints cost: how long they take and what they write, by the size of the
//! state and by how much of it changed; the disk that they take; and the throughput of a
//! job that takes them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use cofferdam::job_manager::{
    control::{Answer, Ask},
    status::{JobStatus, PastCheckpoint},
};

use crate::{
    Places,
    report::{Bar, Report},
    running::{Running, start},
};

/// Bytes of state for each key.
const STATE: u64 = 1024;

/// All of it, or one part: `durations`, `disk` or `throughput`.
pub(crate) async fn measure(
    places: &Places,
    report: &mut Report,
    only: Option<&str>,
) -> anyhow::Result<()> {
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    if wanted("durations") {
        for (mebibytes, percent) in [(1, 1), (1, 100), (64, 1), (64, 100), (256, 1), (256, 100)] {
            let times = if mebibytes * percent > 5_000 { 10 } else { 50 };
            durations(places, report, mebibytes, percent, times).await?;
        }
    }
    if wanted("throughput") {
        for (name, keys) in [("1 MiB", 8_000), ("100 MiB", 700_000)] {
            throughput(places, report, name, keys).await?;
        }
    }
    if wanted("disk") {
        disk(places, report).await?;
    }
    Ok(())
}

/// A job that fills its state once, and then changes a part of it over and over.
fn job(mebibytes: u64, percent: u64) -> (String, u64, u64) {
    let keys = mebibytes * 1024 * 1024 / STATE;
    let (filling, touched) = (keys * 4, (keys * percent / 100).max(1));
    let text = format!(
        "[job]\nname = 'bench'\n[checkpoints]\ninterval = '1h'\n\
         [[source]]\nname = 'fill'\nconnector = 'generator'\nrecords = {filling}\nkeys = {keys}\nvalue_size = 8\n\
         [[source]]\nname = 'touch'\nconnector = 'generator'\nkeys = {touched}\nvalue_size = 8\n\
         [[operator]]\nname = 'hoard'\nartifact = 'hoard'\ninputs = ['fill', 'touch']\nmemory = '2GiB'\n\
         config = {{ state_bytes = {STATE} }}\n\
         [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'hoard'\n"
    );
    (text, filling, touched)
}

fn out_of(status: &JobStatus, source: usize) -> u64 {
    status.vertices[source].records_out
}

/// Waits until all keys have state, and takes the checkpoint that has all of it.
async fn fill(running: &mut Running, filling: u64) -> anyhow::Result<()> {
    running.until(|s| s.vertices.len() > 1 && out_of(s, 0) >= filling).await?;
    running.ask(Ask::Checkpoint).await?;
    Ok(())
}

/// Has so many records come, and takes a checkpoint.
async fn next(running: &Running, records: u64) -> anyhow::Result<(f64, u64)> {
    let seen = |answer: Answer| match answer {
        Answer::Status(status) => out_of(&status, 1),
        _ => 0,
    };
    let before = seen(running.ask(Ask::Status).await?);
    while seen(running.ask(Ask::Status).await?) < before + records {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let begin = Instant::now();
    match running.ask(Ask::Checkpoint).await? {
        Answer::Checkpoint { bytes, .. } => Ok((begin.elapsed().as_secs_f64() * 1000.0, bytes)),
        other => anyhow::bail!("no checkpoint: {other:?}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size to be read")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

async fn durations(
    places: &Places,
    report: &mut Report,
    mebibytes: u64,
    percent: u64,
    times: usize,
) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (text, filling, touched) = job(mebibytes, percent);
    let mut running = start(places, &text, 1, Some(dir.path().join("st")))?;
    fill(&mut running, filling).await?;
    let (mut took, mut written) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let (millis, bytes) = next(&running, touched * 3).await?;
        took.push(millis);
        written.push(bytes);
    }
    let history = running.status.borrow().checkpoints.history.clone();
    running.stop().await?;
    took.sort_by(f64::total_cmp);
    written.sort_unstable();
    let at = |share: usize| took[(times * share / 100).min(times - 1)];
    let sync = history.iter().filter_map(|past| match past {
        PastCheckpoint::Completed(completed) => Some(completed.sync_micros),
        PastCheckpoint::Failed { .. } => None,
    });
    let sync = sync.max().unwrap_or(0);
    report.add(
        format!("checkpoint of {mebibytes} MiB, {percent} % changed, p50"),
        at(50),
        "ms",
        Bar::Free,
        format!(
            "p99 {:.0}; written {:.1} MiB; operator held {:.1} ms; Flink 105 MB: 443-734 full, 111-206 for 4.9 MB",
            at(99),
            mib(written[times / 2]),
            Duration::from_micros(sync).as_secs_f64() * 1000.0
        ),
    );
    Ok(())
}

/// Bytes of all files in a directory, as they take room.
fn size(path: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        let (entry, path) = entry.map(|e| (e.metadata(), e.path()))?;
        let entry = entry?;
        sum += if entry.is_dir() { size(&path)? } else { entry.len() };
    }
    Ok(sum)
}

async fn disk(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let state = dir.path().join("st");
    let (text, filling, touched) = job(64, 1);
    let mut running = start(places, &text, 1, Some(state.clone()))?;
    fill(&mut running, filling).await?;
    let mut most = 0;
    for _ in 0..500 {
        next(&running, touched).await?;
        most = most.max(size(&state)?);
    }
    let last = size(&state)?;
    running.stop().await?;
    report.add(
        "disk after 500 checkpoints of 64 MiB, 1 % changed, of the state",
        mib(last) / 64.0,
        "times",
        Bar::Free,
        format!("{:.0} MiB; {:.0} at most on the way", mib(last), mib(most)),
    );
    Ok(())
}

/// A keyed count with and without checkpoints on disk.
async fn throughput(
    places: &Places,
    report: &mut Report,
    name: &str,
    keys: u64,
) -> anyhow::Result<()> {
    let job = |interval: &str| {
        format!(
            "[job]\nname = 'bench'\n[checkpoints]\ninterval = '{interval}'\n\
             [[source]]\nname = 'in'\nconnector = 'generator'\nrecords = 30_000_000\nkeys = {keys}\nvalue_size = 100\nstep = '1ms'\n\
             [[operator]]\nname = 'count'\nartifact = 'count'\ninput = 'in'\nmemory = '2GiB'\n\
             [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'count'\n"
        )
    };
    let mut took = Vec::new();
    for interval in ["1h", "1s", "100ms", "1h"] {
        let dir = tempfile::tempdir()?;
        let begin = Instant::now();
        start(places, &job(interval), 1, Some(dir.path().join("st")))?.finish().await?;
        took.push(begin.elapsed().as_secs_f64());
    }
    let none = f64::midpoint(took[0], took[3]);
    for (interval, seconds, bar) in [("1 s", took[1], 0.97), ("100 ms", took[2], 0.85)] {
        report.add(
            format!("keyed count, {name} of state, checkpoints every {interval}"),
            none / seconds,
            "of none",
            Bar::AtLeast(bar),
            format!("{seconds:.1} s against {none:.1} s without"),
        );
    }
    Ok(())
}
