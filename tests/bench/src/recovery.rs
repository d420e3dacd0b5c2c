//! How soon a job works again: after a trap, after `kill -9`, and when an instance
//! goes to another slot.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cofferdam::{
    ids::SlotId,
    job_manager::control::{Answer, Ask},
    remote::client,
};

use crate::{
    Places,
    report::{Bar, Report},
    running::start,
};

/// Bytes of state for each key.
const STATE: u64 = 1024;

pub(crate) async fn measure(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    for (mebibytes, times, bar) in [(1, 100, 25.0), (64, 30, 300.0)] {
        after_a_trap(places, report, mebibytes, times, bar).await?;
    }
    relocation(places, report, 64).await?;
    after_a_kill(places, report, 64)
}

/// A job of a keyed operator with so much state.
fn job(mebibytes: u64, records: Option<u64>, extra: &str) -> String {
    let keys = mebibytes * 1024 * 1024 / STATE;
    let records = records.map_or(String::new(), |n| format!("records = {n}\n"));
    format!(
        "[job]\nname = 'bench'\n[checkpoints]\ninterval = '200ms'\n\
         [restart]\nstrategy = 'fixed-delay'\nattempts = 1_000_000\ndelay = '0ms'\n\
         [[source]]\nname = 'in'\nconnector = 'generator'\n{records}keys = {keys}\nvalue_size = 100\n\
         [[operator]]\nname = 'hoard'\nartifact = 'hoard'\ninput = 'in'\nmemory = '512MiB'\n{extra}\n\
         [[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'hoard'\n"
    )
}

/// From the failure to the first records that the failed subtask sees again.
async fn after_a_trap(
    places: &Places,
    report: &mut Report,
    mebibytes: u64,
    times: u32,
    bar: f64,
) -> anyhow::Result<()> {
    let keys = mebibytes * 1024 * 1024 / STATE;
    // All keys have their state when it goes down, and a checkpoint has them.
    let trap_after = keys * 20;
    let extra = format!("config = {{ state_bytes = {STATE}, trap_after = {trap_after} }}");
    let mut running = start(places, &job(mebibytes, None, &extra), 1, None)?;
    let mut took: Vec<f64> = Vec::new();
    for n in 1..=times {
        let status = running
            .until(|s| s.restarts.count > n && s.restarts.last_recovery_micros.is_some())
            .await?;
        #[expect(clippy::cast_precision_loss, reason = "a time")]
        took.extend(status.restarts.last_recovery_micros.map(|micros| micros as f64 / 1000.0));
    }
    running.stop().await?;
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    report.add(
        format!("trap to first records again, {mebibytes} MiB of state, p99"),
        at(99),
        "ms",
        Bar::AtMost(bar),
        format!("p50 {:.1}; {} traps; Flink 150-170 with 5,000 keys", at(50), took.len()),
    );
    Ok(())
}

/// How long the stream waits while an instance goes to another slot.
async fn relocation(places: &Places, report: &mut Report, mebibytes: u64) -> anyhow::Result<()> {
    let extra = format!("config = {{ state_bytes = {STATE} }}");
    let mut running = start(places, &job(mebibytes, None, &extra), 2, None)?;
    let full = usize::try_from(mebibytes << 20)?;
    running.until(|s| s.memory.slots.iter().any(|slot| slot.parts.state >= full)).await?;
    let mut pauses = Vec::new();
    for turn in 0..40_u32 {
        let slot = SlotId(turn % 2);
        let answer = running.ask(Ask::DrainSlot { slot }).await?;
        let Answer::Drained { moved: Some(moved), .. } = answer else {
            anyhow::bail!("nothing was moved: {answer:?}");
        };
        #[expect(clippy::cast_precision_loss, reason = "a time")]
        pauses.push(moved.pause_micros as f64 / 1000.0);
        running.ask(Ask::RestoreSlot { slot }).await?;
    }
    running.stop().await?;
    pauses.sort_by(f64::total_cmp);
    report.add(
        format!("relocation, {mebibytes} MiB of keyed state, pause, worst of 40"),
        pauses[pauses.len() - 1],
        "ms",
        Bar::AtMost(200.0),
        format!("p50 {:.2}", pauses[pauses.len() / 2]),
    );
    Ok(())
}

/// From starting the program again after `kill -9` to records being processed.
fn after_a_kill(places: &Places, report: &mut Report, mebibytes: u64) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let state = dir.path().join("st");
    let extra = format!("config = {{ state_bytes = {STATE} }}");
    std::fs::write(dir.path().join("job.toml"), job(mebibytes, None, &extra))?;
    let spawn = || {
        Command::new(&places.program)
            .current_dir(dir.path())
            .args(["run", "job.toml", "--state", "st", "--json", "--artifacts"])
            .arg(&places.guests)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    };
    let records = |status: &serde_json::Value| status["vertices"][1]["records_in"].as_u64();
    let patience = Duration::from_secs(120);
    let mut took = Vec::new();
    let mut child = spawn()?;
    let begin = Instant::now();
    loop {
        let status = client::ask(&state, &Ask::Status).unwrap_or_default();
        // Every key has been seen several times, and a checkpoint is there.
        let seen = records(&status).unwrap_or(0) > mebibytes * 1024 * 1024 / STATE * 5;
        if seen && status["checkpoints"]["completed"].as_u64() > Some(2) {
            break;
        }
        anyhow::ensure!(begin.elapsed() < patience, "it does not get there: {status}");
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..5 {
        child.kill()?;
        child.wait()?;
        let begin = Instant::now();
        child = spawn()?;
        let mut first = None;
        loop {
            let status = client::ask(&state, &Ask::Status).unwrap_or_default();
            if let Some(now) = records(&status)
                && now > *first.get_or_insert(now)
            {
                took.push(begin.elapsed().as_secs_f64() * 1000.0);
                break;
            }
            anyhow::ensure!(begin.elapsed() < patience, "it does not get there: {status}");
            std::thread::sleep(Duration::from_millis(2));
        }
        // Some checkpoints later, again.
        let done = |s: &serde_json::Value| s["checkpoints"]["completed"].as_u64() > Some(1);
        while !done(&client::ask(&state, &Ask::Status).unwrap_or_default()) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    child.kill()?;
    child.wait()?;
    took.sort_by(f64::total_cmp);
    report.add(
        format!("kill -9: start to processing, {mebibytes} MiB of state, worst of 5"),
        took[took.len() - 1],
        "ms",
        Bar::AtMost(1000.0),
        format!("p50 {:.0}; Flink 1,200 to 22,000 for a TaskManager", took[took.len() / 2]),
    );
    Ok(())
}
