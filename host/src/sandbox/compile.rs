//! Where uploads are compiled: in a process of its own, which can be killed.
//!
//! Validating and compiling is work that the uploader chooses: a small file can
//! ask for gigabytes and hours. So the program starts itself again, as
//! `cofferdam compile-artifact`; the child limits its own memory and time before
//! it looks at a byte, reads the component from its standard input, and writes
//! compiled code to its standard output. It may open no file, make no socket and
//! start no process (`hardening`). Whatever becomes of it, the parent says so in a
//! [`LoadError`] and goes on.
//!
//! The parent runs the code that the child wrote. That is no more trust than in
//! compiling here: it is the same compiler from the same file.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use clap::ValueEnum;
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use wasmtime::{Engine, component::Component};

use crate::{
    hardening,
    sandbox::{
        artifact::{LoadError, MAX_ARTIFACT},
        componentize,
        differences::differences,
        engine::{Metering, Sandbox, engine_config},
        guest_log,
    },
};

/// The hidden command that makes the program a compiler.
pub const COMMAND: &str = "compile-artifact";

/// How the child says that the component is at fault, not the compiler.
const REFUSED: u8 = 65;
/// How the child says that the component is no operator, as far as its types go.
const UNFIT: u8 = 66;
/// How the child says that it could not limit itself, or could not write.
const USELESS: u8 = 70;

/// Compiled code is some three times as large as the component.
const MOST_CODE: u64 = 8 * MAX_ARTIFACT as u64;
/// How much of the child's last words is kept.
const MOST_WORDS: u64 = 4 * 1024;

/// What compiling one component may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of address space.
    pub memory: u64,
    /// Time by the clock on the wall. CPU time may be as much for each core.
    pub time: Duration,
}

impl Default for CompileLimits {
    /// Enough for the largest interpreters that were seen, 18 MB, which take 30
    /// seconds of two busy cores.
    fn default() -> Self {
        Self { memory: 4 << 30, time: Duration::from_secs(90) }
    }
}

/// What the child is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// Compile a component.
    Compile,
    /// Make a component of a core module.
    Componentize,
}

impl Task {
    fn word(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Componentize => "componentize",
        }
    }
}

/// Where components are compiled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, without limits: for what is trusted.
    #[default]
    Here,
    /// In a child process.
    Child {
        /// The program to start: one that hands [`COMMAND`] to [`run`].
        program: PathBuf,
        /// What it may take.
        limits: CompileLimits,
        /// Whether it gives up files, sockets and processes.
        hardening: hardening::Mode,
    },
}

impl Compiler {
    /// This program again, with the usual limits. Only for a program that knows
    /// [`COMMAND`].
    #[must_use]
    pub fn this_program(hardening: hardening::Mode) -> Self {
        // The file that runs, even if another lies under its name by now.
        let program = PathBuf::from("/proc/self/exe");
        let program = if program.exists() { Ok(program) } else { std::env::current_exe() };
        match program {
            Ok(program) => Self::Child { program, limits: CompileLimits::default(), hardening },
            Err(error) => {
                tracing::warn!("components are compiled without limits: {error}");
                Self::Here
            }
        }
    }

    /// The same for whoever compiles what they have written themselves: it may take ten minutes, on
    /// a machine that is busy with building it.
    #[must_use]
    pub fn this_program_for_its_author(hardening: hardening::Mode) -> Self {
        match Self::this_program(hardening) {
            Self::Child { program, limits, hardening } => {
                let limits = CompileLimits { time: Duration::from_secs(600), ..limits };
                Self::Child { program, limits, hardening }
            }
            Self::Here => Self::Here,
        }
    }

    /// Compiles a component to code for an engine.
    pub(super) fn compile(&self, sandbox: &Sandbox, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
        match self {
            Self::Here => {
                let code = sandbox.engine.precompile_component(bytes).map_err(|e| refused(&e))?;
                differences(bytes).map_or(Ok(code), |what| Err(LoadError::Mismatch(what)))
            }
            Self::Child { program, limits, hardening } => {
                let task = (Task::Compile, sandbox.metering);
                in_child(program.into(), *limits, task, *hardening, bytes)
            }
        }
    }

    /// Makes a component of a core module.
    pub(super) fn componentize(
        &self,
        sandbox: &Sandbox,
        bytes: &[u8],
    ) -> Result<Vec<u8>, LoadError> {
        match self {
            Self::Here => componentize::encode(bytes)
                .map_err(|error| LoadError::CoreModule(guest_log::shown(&error).into_owned())),
            Self::Child { program, limits, hardening } => {
                let task = (Task::Componentize, sandbox.metering);
                in_child(program.into(), *limits, task, *hardening, bytes)
            }
        }
    }
}

/// Makes a component of what [`Compiler::compile`] wrote.
pub(super) fn load_compiled(engine: &Engine, code: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: the code comes from wasmtime's own compiler, in this process or in
    // a child that runs the same program; wasmtime checks version and settings.
    #[expect(unsafe_code, reason = "compiled code is run; see the module's doc")]
    let component = unsafe { Component::deserialize(engine, code) };
    component.map_err(|e| refused(&e))
}

fn refused(error: &wasmtime::Error) -> LoadError {
    LoadError::Invalid(guest_log::shown(&format!("{error:#}")).into_owned())
}

fn in_child(
    program: OsString,
    limits: CompileLimits,
    (task, metering): (Task, Metering),
    hardening: hardening::Mode,
    bytes: &[u8],
) -> Result<Vec<u8>, LoadError> {
    let mut child = Command::new(program)
        .arg(COMMAND)
        .arg(limits.memory.to_string())
        .arg(limits.time.as_secs().max(1).to_string())
        .arg(metering.word())
        .arg(hardening.word())
        .arg(task.word())
        .env_clear()
        // The allocator would reserve a gigabyte of what the child may have.
        .env("MIMALLOC_ARENA_RESERVE", "32768")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| LoadError::NoCompiler(error.to_string()))?;
    let (written, words, status) = attend(&mut child, limits.time, bytes);
    let status = status.map_err(|error| LoadError::NoCompiler(error.to_string()))?;
    match (status.code(), written) {
        (Some(0), Some(code)) => Ok(code),
        (Some(code), Some(reason)) if code == i32::from(REFUSED) => {
            let reason = guest_log::shown(&String::from_utf8_lossy(&reason)).into_owned();
            Err(match task {
                Task::Compile => LoadError::Invalid(reason),
                Task::Componentize => LoadError::CoreModule(reason),
            })
        }
        (Some(code), Some(reason)) if code == i32::from(UNFIT) => {
            // Lines of WIT, whose names can hold nothing but letters, digits and hyphens.
            Err(LoadError::Mismatch(String::from_utf8_lossy(&reason).into_owned()))
        }
        (_, None) => Err(too_costly(limits, &format!("took longer than {:?}", limits.time))),
        (_, Some(_)) => Err(died(limits, status, &words)),
    }
}

/// Feeds the child, and kills it if its time is over. What it wrote is none in
/// that case; its last words are those on standard error.
fn attend(
    child: &mut Child,
    time: Duration,
    bytes: &[u8],
) -> (Option<Vec<u8>>, String, io::Result<ExitStatus>) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(move || {
            // A child that has died reads nothing; how it died is told below.
            let _ = stdin.map(|mut stdin| stdin.write_all(bytes));
        });
        let words = scope.spawn(move || read_some(stderr, MOST_WORDS));
        let (send, written) = sync_channel(1);
        scope.spawn(move || send.send(read_some(stdout, MOST_CODE)));
        let written = written.recv_timeout(time).ok();
        if written.is_none() {
            // It may have ended in this moment.
            let _ = child.kill();
        }
        let status = child.wait();
        let words = words.join().unwrap_or_default();
        (written, String::from_utf8_lossy(&words).into_owned(), status)
    })
}

/// Reads to the end, or as much as is wanted, and closes.
fn read_some(from: Option<impl Read>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A pipe that breaks has ended.
    let _ = from.map(|from| from.take(most).read_to_end(&mut bytes));
    bytes
}

fn too_costly(limits: CompileLimits, what: &str) -> LoadError {
    LoadError::TooCostly { what: what.to_owned(), memory: limits.memory, time: limits.time }
}

/// The child ended without an answer.
fn died(limits: CompileLimits, status: ExitStatus, words: &str) -> LoadError {
    // wasmtime and the standard library both say so before they give up.
    let memory = [
        "memory allocation of",
        "Cannot allocate memory",
        "out of memory",
        // No thread could be started: there is no room for its stack.
        "Resource temporarily unavailable",
    ];
    let cpu = [Signal::XCPU.as_raw(), Signal::KILL.as_raw()];
    if memory.iter().any(|sign| words.contains(sign)) {
        return too_costly(
            limits,
            &format!("needed more than {} MiB of memory", limits.memory >> 20),
        );
    }
    match status.signal() {
        Some(signal) if cpu.contains(&signal) => too_costly(limits, "took too much CPU time"),
        Some(signal) => too_costly(limits, &format!("ended the compiler by signal {signal}")),
        None => {
            let words = guest_log::shown(words.trim());
            LoadError::NoCompiler(format!("it ended with {status}: {words}"))
        }
    }
}

/// What `cofferdam compile-artifact MEMORY SECONDS METERING HARDENING TASK` does: limits
/// itself, then compiles standard input to standard output, or makes a component of it.
/// Returns the exit code.
#[must_use]
pub fn run(
    memory: u64,
    seconds: u64,
    metering: Metering,
    hardening: hardening::Mode,
    task: Task,
) -> u8 {
    let code = match confine(memory, seconds, hardening).map_err(|e| (USELESS, e.to_string())) {
        Ok(()) => work_on_input(task, metering),
        Err(error) => Err(error),
    };
    match code {
        Ok(()) => 0,
        Err((code @ (REFUSED | UNFIT), reason)) => {
            match io::stdout().lock().write_all(reason.as_bytes()) {
                Ok(()) => code,
                Err(_) => USELESS,
            }
        }
        Err((code, reason)) => {
            // The exit code says as much, if nobody reads this.
            let _ = io::stderr().lock().write_all(reason.as_bytes());
            code
        }
    }
}

/// Gives up what compiling does not need.
fn confine(memory: u64, seconds: u64, hardening: hardening::Mode) -> io::Result<()> {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let limit = |n: u64| Rlimit { current: Some(n), maximum: Some(n) };
    setrlimit(Resource::As, limit(memory))?;
    let cpu = seconds.saturating_mul(cores);
    // One second more until the end that cannot be caught.
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu), maximum: Some(cpu.saturating_add(1)) })?;
    setrlimit(Resource::Core, limit(0))?;
    // No files: it has its three pipes and needs no more of its own making.
    setrlimit(Resource::Fsize, limit(0))?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Last, since it can do none of that afterwards. The parent has told what is missing.
    hardening::confine_compiler(hardening).map_err(io::Error::other)?;
    Ok(())
}

fn work_on_input(task: Task, metering: Metering) -> Result<(), (u8, String)> {
    let useless = |error: String| (USELESS, error);
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_ARTIFACT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| useless(e.to_string()))?;
    let code = match task {
        Task::Compile => {
            let engine = Engine::new(&engine_config(None, metering))
                .map_err(|e| useless(format!("{e:#}")))?;
            let code =
                engine.precompile_component(&bytes).map_err(|e| (REFUSED, format!("{e:#}")))?;
            differences(&bytes).map_or(Ok(code), |what| Err((UNFIT, what)))?
        }
        Task::Componentize => componentize::encode(&bytes).map_err(|error| (REFUSED, error))?,
    };
    io::stdout().lock().write_all(&code).map_err(|e| useless(e.to_string()))
}
