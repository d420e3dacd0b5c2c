//! Where progress is drawn: live on a terminal, a line now and then elsewhere,
//! or JSON. The only place that knows of indicatif, and of colours.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{exit::Exit, log, progress};
use crate::{hardening::Report, job_manager::status::JobStatus};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Redrawn in place, on standard error.
    Live,
    /// A line now and then, on standard error.
    Plain,
    /// An object a line, on standard output.
    Json,
}

impl Mode {
    /// The mode that fits. `prints` says that the job itself prints records,
    /// which would be drawn over.
    pub(super) fn choose(json: bool, prints: bool) -> Self {
        let terminal = io::stderr().is_terminal() && io::stdout().is_terminal();
        match (json, terminal && !prints && !log::is_json()) {
            (true, _) => Self::Json,
            (false, true) => Self::Live,
            (false, false) => Self::Plain,
        }
    }

    /// How often to look at the job.
    pub(super) fn period(self) -> Duration {
        match self {
            Self::Live => Duration::from_millis(250),
            Self::Plain => Duration::from_secs(5),
            Self::Json => Duration::from_secs(1),
        }
    }
}

/// Draws snapshots of one job, one after the other.
pub(super) struct Display {
    mode: Mode,
    multi: MultiProgress,
    bars: Vec<ProgressBar>,
    last: JobStatus,
    hardened: Report,
}

impl Display {
    /// Says first how this process was hardened.
    pub(super) fn new(
        mode: Mode,
        multi: MultiProgress,
        first: JobStatus,
        hardened: Report,
    ) -> Self {
        if mode != Mode::Json {
            say(&format!("hardening: {hardened}"));
        }
        Self { mode, multi, bars: Vec::new(), last: first, hardened }
    }

    /// Shows how the job is doing. A reader that has gone away is no reason to
    /// stop the job.
    pub(super) fn update(&mut self, now: &JobStatus) {
        let _ = match self.mode {
            Mode::Live => {
                self.draw(&progress::live(now, &self.last));
                Ok(())
            }
            Mode::Plain => {
                say(&progress::plain(now, &self.last));
                Ok(())
            }
            Mode::Json => json_line(&Line::Status { status: now, hardening: &self.hardened }),
        };
        self.last = now.clone();
    }

    /// Says something above the live display.
    pub(super) fn say(&self, text: &str) {
        self.multi.suspend(|| say(text));
    }

    fn draw(&mut self, lines: &[String]) {
        while self.bars.len() < lines.len() {
            let bar = self.multi.add(ProgressBar::no_length());
            // Cuts what is wider than the terminal.
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            self.bars.push(bar);
        }
        while self.bars.len() > lines.len() {
            if let Some(bar) = self.bars.pop() {
                self.multi.remove(&bar);
            }
        }
        for (bar, line) in self.bars.iter().zip(lines) {
            bar.set_message(line.clone());
        }
    }

    /// Takes the live display away and shows the summary.
    pub(super) fn finish(self, end: &JobStatus, outcome: &str) {
        for bar in &self.bars {
            bar.finish_and_clear();
        }
        let _ = match self.mode {
            Mode::Live | Mode::Plain => {
                say(progress::summary(end).trim_end_matches('\n'));
                Ok(())
            }
            Mode::Json => {
                json_line(&Line::Summary { outcome, status: end, hardening: &self.hardened })
            }
        };
    }
}

/// One line of `--json`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line<'a> {
    Status {
        #[serde(flatten)]
        status: &'a JobStatus,
        hardening: &'a Report,
    },
    Summary {
        outcome: &'a str,
        #[serde(flatten)]
        status: &'a JobStatus,
        hardening: &'a Report,
    },
}

fn json_line(line: &Line<'_>) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    // One write, so that records that a job prints do not come in between.
    io::stdout().lock().write_all(&text)
}

/// The progress display that [`Display`] and the log share.
pub(super) fn shared_progress() -> MultiProgress {
    MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10))
}

/// Standard error for log lines, which pushes the live display down.
#[derive(Clone)]
pub(super) struct LogWriter(pub(super) MultiProgress);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether standard error may be coloured.
pub(super) fn colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

/// Says something on standard error. `error:` at the beginning of a line is red
/// where there are colours. Where the log is JSON, it is a line of it.
pub(super) fn say(text: &str) {
    if log::is_json() {
        let _ = writeln!(io::stderr().lock(), "{}", log::line_of(text));
        return;
    }
    let painted = paint(text, colours());
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{painted}");
}

/// Says why something cannot be done.
pub(super) fn refuse(what: &str) -> Exit {
    say(&format!("error: {what}"));
    Exit::Usage
}

/// Prints an answer on standard output. If whoever read it has seen enough, that is no failure.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(refuse(&format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}

fn paint(text: &str, colours: bool) -> String {
    if !colours {
        return text.to_owned();
    }
    let lines = text.split('\n').map(|line| match line.strip_prefix("error:") {
        Some(rest) => format!("\x1b[1;31merror:\x1b[0m\x1b[1m{rest}\x1b[0m"),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::JobName;

    #[test]
    fn json_lines_say_what_they_are() {
        let status = JobStatus::created(JobName::new("j").unwrap());
        let hardening = &Report::default();
        let line = Line::Status { status: &status, hardening };
        let line = serde_json::to_value(line).unwrap();
        assert_eq!((&line["type"], &line["state"]), (&"status".into(), &"created".into()));
        let line = Line::Summary { outcome: "finished", status: &status, hardening };
        let line = serde_json::to_value(line).unwrap();
        assert_eq!((&line["type"], &line["outcome"]), (&"summary".into(), &"finished".into()));
        assert_eq!(line["job"], "j");
        assert_eq!(line["hardening"]["mode"], "auto");
    }

    #[test]
    fn colour_is_added_only_where_it_is_wanted() {
        assert_eq!(paint("error: x\n y", false), "error: x\n y");
        assert_eq!(paint("error: x\n y", true), "\x1b[1;31merror:\x1b[0m\x1b[1m x\x1b[0m\n y");
    }
}
