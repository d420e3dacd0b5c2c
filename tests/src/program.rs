//! The real program: how it is started, watched, signalled, and how it ended.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// After which a program that says nothing new counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many lines of output may wait for a test to look at them.
const UNREAD: usize = 100_000;

/// The program, without arguments. Cargo builds it beside these tests.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn program() -> Command {
    let mut command = Command::new(built("cofferdam-under-test"));
    command.env("NO_COLOR", "1").env_remove("COFFERDAM_LOG").stdin(Stdio::null());
    command
}

/// The program that tries what a hardened process must not.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn probe() -> PathBuf {
    built("probe")
}

fn built(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    let profile = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
    let path = profile.join(name);
    assert!(path.is_file(), "{} is missing; cargo test builds it", path.display());
    path
}

/// Where the guests are, as components: where the environment says, or beside
/// the program.
///
/// # Panics
/// If they have not been built.
#[must_use]
pub fn guests() -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    let built = || test.ancestors().nth(3).expect("in target/PROFILE/deps").join("guests");
    let path = env::var_os("COFFERDAM_ARTIFACTS").map_or_else(built, PathBuf::from);
    assert!(path.is_dir(), "{} is missing; run `cargo xtask guests`", path.display());
    path
}

/// A job that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    statuses: Receiver<Value>,
    last: Value,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("piped above");
        let mut stderr = child.stderr.take().expect("piped above");
        let (send, statuses) = sync_channel(UNREAD);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // What a job prints itself comes in between.
                let status = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if send.send(status).is_err() {
                    break;
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, statuses, last: Value::Null, stderr: Some(stderr) }
    }

    /// Waits until the job's published status is so.
    ///
    /// # Panics
    /// If the job ends before, or does not get there in a minute.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) {
        while !is_so(&self.last) {
            match self.statuses.recv_timeout(PATIENCE) {
                Ok(status) => self.last = status,
                Err(error) => {
                    let _ = self.child.kill();
                    let said = self.stderr.take().and_then(|thread| thread.join().ok());
                    panic!(
                        "not {what} ({error}); last: {}\n{}",
                        self.last,
                        said.unwrap_or_default()
                    );
                }
            }
        }
    }

    /// Waits until so many checkpoints are complete in this run.
    pub fn until_checkpoints(&mut self, n: u64) {
        self.until("so many checkpoints", |status| {
            status["checkpoints"]["completed"].as_u64().is_some_and(|completed| completed >= n)
        });
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Panics
    /// If the process has ended before.
    pub fn kill(mut self) {
        assert!(self.child.try_wait().expect("a child of ours").is_none(), "it had ended already");
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// As Ctrl-C does.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn interrupt(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("a child of ours");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it says nothing for a minute.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        let mut printed = Vec::new();
        loop {
            match self.statuses.recv_timeout(PATIENCE) {
                Ok(Value::String(line)) => printed.push(line),
                Ok(status) => self.last = status,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("it hangs; last: {}", self.last);
                }
            }
        }
        let code = self.child.wait().expect("a child of ours").code();
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok());
        Ended { code, summary: self.last.take(), printed, stderr: stderr.unwrap_or_default() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The last status, which is the summary if there was one.
    pub summary: Value,
    /// What the job printed, line by line.
    pub printed: Vec<String>,
    /// What the program said.
    pub stderr: String,
}

impl Ended {
    /// That the job finished.
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    pub fn finished(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stderr, self.summary);
        assert_eq!(self.summary["outcome"], "finished", "{}", self.summary);
        self
    }

    /// That it ended with this code, and said all of this.
    ///
    /// # Panics
    /// If not.
    pub fn failed(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stderr, self.summary);
        for part in said {
            assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked at host"), "{}", self.stderr);
    }

    /// How often the job was restarted.
    ///
    /// # Panics
    /// If there is no summary.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.summary["restarts"]["count"].as_u64().expect("a summary")
    }

    /// A number of a source, operator or sink, such as `late`.
    ///
    /// # Panics
    /// If there is no such thing in the summary.
    #[must_use]
    pub fn vertex(&self, name: &str, number: &str) -> u64 {
        let vertices = self.summary["vertices"].as_array().expect("a summary");
        let vertex = vertices.iter().find(|vertex| vertex["name"] == name);
        vertex.and_then(|vertex| vertex[number].as_u64()).expect("such a vertex and number")
    }
}
