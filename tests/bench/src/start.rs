//! The program: from its start to the first record out.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    Places,
    machine::{median_and_p99, resident_kib},
    report::{Bar, Report},
};

const JOB: &str = r#"
[job]
name = "start"
[[source]]
name = "numbers"
connector = "generator"
records = 100000000
[[operator]]
name = "pass"
artifact = "identity"
input = "numbers"
[[sink]]
name = "out"
connector = "stdout"
input = "pass"
"#;

pub(crate) async fn measure(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let job = dir.path().join("job.toml");
    std::fs::write(&job, JOB)?;
    let mut timings = Vec::new();
    let mut resident = 0;
    for round in 0..11 {
        let start = Instant::now();
        let mut child = Command::new(&places.program)
            .arg("run")
            .arg(&job)
            .arg("--artifacts")
            .arg(&places.guests)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow::anyhow!("no stdout"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let took = start.elapsed();
        anyhow::ensure!(line.len() > 10, "the first record is {line:?}");
        resident = resident.max(resident_kib(child.id())?);
        child.kill()?;
        child.wait()?;
        // The first one fills the cache of compiled code.
        if round > 0 {
            timings.push(took);
        }
    }
    let (median, _) = median_and_p99(timings);
    report.add(
        "`cofferdam run`, start to first record out, median",
        median / 1e6,
        "s",
        Bar::AtMost(0.3),
        "compiled code cached",
    );
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let mib = resident as f64 / 1024.0;
    report.add("`cofferdam run`, resident memory then, most", mib, "MiB", Bar::AtMost(80.0), "");
    Ok(())
}
