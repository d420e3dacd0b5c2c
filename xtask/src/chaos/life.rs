//! One process of a job, from its start to its end, by `kill -9` or by itself.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::{
    jobs::Job,
    past::{Past, Savepoint},
    phases::{Mark, Phase, Tracker},
    schedule::{Agenda, Deed, Life},
};
use crate::{stopwatch::Stopwatch, workspace::ARTIFACTS_VARIABLE};

/// A job that says nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(120);

/// How many lines of the log may wait.
const LINES: usize = 10_000;

/// What is logged: what [`Tracker`] listens to.
const LOG: &str = "warn,cofferdam::job_manager=debug,cofferdam::task_manager::sink_task=debug";

/// Where a job lives.
pub(super) struct Stage<'a> {
    pub(super) program: &'a Path,
    pub(super) artifacts: PathBuf,
    /// Of compiled operators.
    pub(super) cache: PathBuf,
    /// The job file is in it, and its state and output.
    pub(super) directory: &'a Path,
}

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Killed(Phase),
    Stopped,
    Finished,
}

/// What was done to jobs, all together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) kills: BTreeMap<Phase, u32>,
    /// What was asked of running jobs: how often, and how often it was done.
    pub(super) deeds: BTreeMap<&'static str, (u32, u32)>,
    /// Why it was not done, by the first words of the answer.
    pub(super) refused: BTreeMap<String, u32>,
    /// How often jobs were heard to do what the log tells.
    pub(super) heard: BTreeMap<Mark, u32>,
    pub(super) stops: u32,
    /// How often a job went on from a savepoint in a fresh state directory.
    pub(super) resumed: u32,
}

impl Tally {
    /// How often jobs were heard to do that.
    pub(super) fn times(&self, mark: Mark) -> u32 {
        self.heard.get(&mark).copied().unwrap_or(0)
    }
}

type Asked = JoinHandle<(&'static str, Result<Value, String>)>;

/// What stops a job with a savepoint is called.
const STOP: &str = "job stop";

impl Stage<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .current_dir(self.directory)
            .env(ARTIFACTS_VARIABLE, &self.artifacts)
            .env("XDG_CACHE_HOME", &self.cache)
            .env("COFFERDAM_LOG", LOG)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs the job to its end, with nothing to disturb it.
    ///
    /// # Errors
    /// If it fails.
    pub(super) fn run_undisturbed(&self) -> Result<()> {
        let mut command = self.command();
        crate::process::output(command.args(["run", "job.toml", "--json"]))?;
        Ok(())
    }

    /// Runs the job as the life says, on from its past, to which this life is added.
    ///
    /// # Errors
    /// If the job fails, hangs, or goes on from an earlier checkpoint.
    pub(super) fn live(
        &self,
        job: &Job,
        life: &Life,
        settings: &[String],
        past: &mut Past,
        tally: &mut Tally,
    ) -> Result<End> {
        let mut command = self.command();
        command.args(["run", "job.toml", "--json", "--state", "state", "--slots"]);
        command.arg(job.bounds.slots.to_string());
        command.args(past.arguments());
        for setting in settings {
            command.args(["--set", setting]);
        }
        let file = |name: &str| {
            let path = self.directory.join(name);
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.with_context(|| format!("cannot write {}", path.display()))
        };
        let mut log = file("log")?;
        writeln!(log, "== {life}").context("cannot write the log")?;
        let mut child = command
            .stdout(file("status.jsonl")?)
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the program")?;
        let stderr = child.stderr.take().context("it was to be piped")?;
        let tracker = Tracker::new(job.sinks, past.durable);
        let lines = read(stderr, log);
        let mut watched = Watched { child, lines, tracker, asked: Vec::new(), tally };
        let end = watched.watch(self, life);
        if end.is_err() {
            // It may have ended by itself.
            let _ = watched.child.kill();
            let _ = watched.child.wait();
        }
        let (from, durable) = (watched.tracker.from, watched.tracker.durable);
        let taken = watched.hear_answers()?;
        let end = end?;
        tally.resumed += u32::from(past.began(from)?);
        past.durable = durable;
        if end != End::Finished
            && let Some(savepoint) = taken
        {
            past.leave(self.directory, savepoint)?;
        }
        Ok(end)
    }

    fn ask(&self, deed: Deed, life: &Life) -> Option<Asked> {
        let number = |n: u32| n.to_string();
        let (what, words) = match deed {
            Deed::Kill | Deed::Terminate => return None,
            Deed::Drain(slot) => ("slot drain", vec!["slot".into(), "drain".into(), number(slot)]),
            Deed::Restore(slot) => {
                ("slot restore", vec!["slot".into(), "restore".into(), number(slot)])
            }
            Deed::Rescale(to) => ("job rescale", vec!["job".into(), "rescale".into(), number(to)]),
            Deed::Savepoint => ("savepoint take", vec!["savepoint".into(), "take".into()]),
            Deed::Leave => {
                let to = format!("life-{}.savepoint", life.number);
                (STOP, vec!["job".into(), "stop".into(), "--to".into(), to])
            }
        };
        let mut command = self.command();
        command.args(words).args(["--state", "state", "--json"]);
        Some(thread::spawn(move || {
            let answer = match command.output() {
                Ok(output) if output.status.success() => {
                    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
                }
                Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
                Err(error) => Err(error.to_string()),
            };
            (what, answer)
        }))
    }
}

/// A process that is looked at.
struct Watched<'a> {
    child: Child,
    lines: Receiver<String>,
    tracker: Tracker,
    asked: Vec<Asked>,
    tally: &'a mut Tally,
}

impl Watched<'_> {
    fn watch(&mut self, stage: &Stage<'_>, life: &Life) -> Result<End> {
        let mut agenda = Agenda::new(life);
        let watch = Stopwatch::start();
        let mut heard = Duration::ZERO;
        agenda.mark(Mark::Started, Duration::ZERO);
        loop {
            while let Some(deed) = agenda.take(watch.elapsed()) {
                match deed {
                    Deed::Kill => return self.kill(),
                    Deed::Terminate => self.terminate()?,
                    _ => self.asked.extend(stage.ask(deed, life)),
                }
            }
            let now = watch.elapsed();
            if now > heard + SILENCE {
                bail!("it hangs: it says nothing any more");
            }
            let next = agenda.next().unwrap_or(heard + SILENCE).min(heard + SILENCE);
            match self.lines.recv_timeout(next.saturating_sub(now)) {
                Ok(line) => {
                    heard = watch.elapsed();
                    if let Some(mark) = self.hear(&line)? {
                        agenda.mark(mark, heard);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().context("cannot wait for the program")?;
        self.ended(status)
    }

    fn hear(&mut self, line: &str) -> Result<Option<Mark>> {
        let mark = self.tracker.hear(line).map_err(|error| anyhow!(error))?;
        if let Some(mark) = mark {
            *self.tally.heard.entry(mark).or_default() += 1;
        }
        Ok(mark)
    }

    fn kill(&mut self) -> Result<End> {
        // If it has ended just now, its status says so.
        let _ = self.child.kill();
        let status = self.child.wait().context("cannot wait for the program")?;
        // What it said before it died tells where it died.
        while let Ok(line) = self.lines.recv_timeout(SILENCE) {
            self.hear(&line)?;
        }
        if status.signal().is_none() {
            return self.ended(status);
        }
        let phase = self.tracker.phase();
        *self.tally.kills.entry(phase).or_default() += 1;
        Ok(End::Killed(phase))
    }

    fn terminate(&self) -> Result<()> {
        let pid = self.child.id().to_string();
        // It may be gone already.
        Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status()?;
        Ok(())
    }

    fn ended(&mut self, status: ExitStatus) -> Result<End> {
        match status.code() {
            Some(0) => Ok(End::Finished),
            Some(3) => {
                self.tally.stops += 1;
                Ok(End::Stopped)
            }
            _ => bail!("it ended with {status}"),
        }
    }

    /// Hears what came of everything that was asked; gives the savepoint with which the job
    /// was to stop, if it was taken.
    fn hear_answers(&mut self) -> Result<Option<Savepoint>> {
        let mut taken = None;
        for asked in self.asked.drain(..) {
            let (what, answer) =
                asked.join().map_err(|_| anyhow!("the thread that asked the job panicked"))?;
            let (times, done) = self.tally.deeds.entry(what).or_default();
            *times += 1;
            match answer {
                Ok(answer) => {
                    *done += 1;
                    if what == STOP {
                        taken = Some(Savepoint::told(&answer)?);
                    }
                }
                Err(why) => *self.tally.refused.entry(first_words(&why)).or_default() += 1,
            }
        }
        Ok(taken)
    }
}

/// An answer without what differs from one time to the next.
fn first_words(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let words =
        line.split_whitespace().map(|word| match word.bytes().any(|b| b.is_ascii_digit()) {
            true => "…",
            false => word,
        });
    words.take(16).collect::<Vec<_>>().join(" ")
}

/// Hands the lines of a log on, and writes them down.
fn read(stderr: ChildStderr, mut log: File) -> Receiver<String> {
    let (send, lines) = sync_channel(LINES);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // The log is for people; a full disk shows elsewhere.
            let _ = writeln!(log, "{line}");
            if send.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_differ_in_numbers_only_are_told_together() {
        let one = first_words("error: `flaky/3` stays in slot 7: there are 26 slots\nmore");
        assert_eq!(one, first_words("error: `flaky/0` stays in slot 11: there are 9 slots"));
        assert!(one.contains("stays in slot"), "{one}");
    }
}
