//! A directory of its own for each test: job files, inputs, and what jobs wrote.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ended, Running, program};

/// A directory that goes when the test ends.
#[derive(Debug)]
pub struct Place {
    dir: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty one.
    ///
    /// # Panics
    /// If the system has no room for it.
    #[must_use]
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    ///
    /// # Panics
    /// If that does not work.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("writing a test's file");
    }

    /// Writes a file, compressed with gzip.
    ///
    /// # Panics
    /// If that does not work.
    pub fn write_gzip(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes.as_ref()).expect("compressing in memory");
        self.write(name, packed.finish().expect("compressing in memory"));
    }

    /// Runs the job file `name`, to its end.
    #[must_use]
    pub fn run(&self, name: &str, arguments: &[&str]) -> Ended {
        self.start(name, arguments).wait()
    }

    /// Writes `job` as `job.toml` and runs it to its end.
    #[must_use]
    pub fn run_job(&self, job: &str, arguments: &[&str]) -> Ended {
        self.write("job.toml", job);
        self.run("job.toml", arguments)
    }

    /// Begins to run the job file `name`, with its progress as JSON.
    #[must_use]
    pub fn start(&self, name: &str, arguments: &[&str]) -> Running {
        let mut command = program();
        command.current_dir(self.dir.path()).arg("run").arg(name).arg("--json").args(arguments);
        Running::start(command)
    }

    /// Runs the program in this place with other arguments, which answers in JSON.
    ///
    /// # Errors
    /// What it said on standard error, if it failed.
    ///
    /// # Panics
    /// If it does not start, or says no JSON.
    pub fn command(&self, arguments: &[&str]) -> Result<Value, String> {
        let ended = program().current_dir(self.dir.path()).args(arguments).output();
        let ended = ended.expect("the program starts");
        if !ended.status.success() {
            return Err(String::from_utf8_lossy(&ended.stderr).into_owned());
        }
        Ok(serde_json::from_slice(&ended.stdout).expect("an answer in JSON"))
    }

    /// As [`command`](Self::command), of a program that may say no and yet answer: whether it
    /// ended well, and what it said; null if nothing.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn answer(&self, arguments: &[&str]) -> (bool, Value) {
        let ended = program().current_dir(self.dir.path()).args(arguments).output();
        let ended = ended.expect("the program starts");
        let answer = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        (ended.status.success(), answer)
    }

    /// The lines of all files whose names begin with `prefix` (a sink may write
    /// several), sorted: between parallel subtasks there is no order.
    ///
    /// # Panics
    /// If there is no such file, or it is no text.
    #[must_use]
    pub fn lines(&self, prefix: &str) -> Vec<String> {
        let files = self.files(prefix);
        assert!(!files.is_empty(), "nothing was written to {prefix}*");
        let mut lines = Vec::new();
        for file in files {
            let text = read(&file);
            lines.extend(text.lines().map(str::to_owned));
        }
        lines.sort();
        lines
    }

    /// As [`Place::lines`], read as JSON.
    ///
    /// # Panics
    /// As there, or if a line is no JSON.
    #[must_use]
    pub fn json(&self, prefix: &str) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str(line).expect("a line of JSON");
        self.lines(prefix).iter().map(parse).collect()
    }

    /// As [`last_counts`], of the lines of these files.
    ///
    /// # Panics
    /// As [`Place::lines`], and as there.
    #[must_use]
    pub fn counts(&self, prefix: &str) -> BTreeMap<String, u64> {
        last_counts(&self.lines(prefix))
    }

    /// The complete files whose names begin with `prefix`.
    #[must_use]
    pub fn files(&self, prefix: &str) -> Vec<PathBuf> {
        let path = self.path(prefix);
        let (dir, start) = (path.parent().map(Path::to_owned), path.file_name());
        let (Some(dir), Some(start)) = (dir, start.and_then(|name| name.to_str())) else {
            return Vec::new();
        };
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(start)))
            .map(|entry| entry.path())
            .collect();
        files.sort();
        files
    }
}

/// The last count of each key, of lines such as `{"key":"a","count":3}`: how often a count
/// is written depends on how the stream falls into batches.
///
/// # Panics
/// If a line is none of that.
#[must_use]
pub fn last_counts(lines: &[String]) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let key = line["key"].as_str().expect("a key");
        let last = counts.entry(key.to_owned()).or_default();
        *last = line["count"].as_u64().expect("a count").max(*last);
    }
    counts
}

/// A file's text; gzip is told by the extension.
fn read(path: &Path) -> String {
    let bytes = fs::read(path).expect("reading a job's output");
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = String::new();
        let mut reader = flate2::read::MultiGzDecoder::new(bytes.as_slice());
        reader.read_to_string(&mut text).expect("a complete gzip file of text");
        return text;
    }
    String::from_utf8(bytes).expect("a job's output is text")
}

/// The root of this repository.
///
/// # Panics
/// If this package is not in it.
#[must_use]
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("tests/ is in the repository").to_owned()
}
