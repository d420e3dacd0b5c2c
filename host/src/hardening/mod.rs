//! Giving up what this process does not need, so that whoever gets out of the
//! sandbox of WebAssembly finds little: no new privileges, a filter of system
//! calls (seccomp), and a list of files (Landlock). The only room that knows of
//! these; what a job needs is told to it, see [`Needs`].
//!
//! ```text
//!   the program    reads its arguments and the job file
//!        │ apply      nothing is taken back after this
//!        ▼
//!   the host       threads, wasmtime, guests ── starts ──► the compiler's child
//!                                                               │ confine_compiler
//!                                                               ▼
//!                                                          memory, threads, three pipes
//! ```
//!
//! | file | what lives there |
//! | --- | --- |
//! | `files` | Landlock: files, TCP ports, signals |
//! | `calls` | seccomp: which system calls are refused |
//!
//! It binds the calling thread and whatever is started by it later, so it has to
//! come before there are other threads. It is inherited by child processes. Not
//! here: limits of memory and time, and the capabilities of a superuser.

mod calls;
mod files;

use std::{fmt, fs, net::IpAddr, path::PathBuf};

use clap::ValueEnum;
use serde::Serialize;

/// Whether to harden.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What the kernel offers; what it does not is told.
    #[default]
    Auto,
    /// All of it, or nothing starts.
    On,
    /// None of it.
    Off,
}

impl Mode {
    /// `auto`, `on` or `off`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// What a process goes on needing. What is not there when it is hardened, or
/// cannot be opened, is left out, and cannot be had later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files to read, and directories to read with all that is in them.
    pub read: Vec<PathBuf>,
    /// Directories whose names are listed, with those in them.
    pub list: Vec<PathBuf>,
    /// Directories in which files are read, made, changed, renamed and deleted.
    pub write: Vec<PathBuf>,
    /// Whether the program starts itself again, as a compiler.
    pub starts_itself: bool,
    /// Ports of hosts that it connects to by TCP. Without any there are no sockets.
    pub tcp_ports: Vec<u16>,
    /// Whether those hosts have names, that are looked up by UDP, or by TCP.
    pub looks_up_names: bool,
}

impl Needs {
    /// It connects to a port of this host, too, if one is given.
    pub fn add_host(&mut self, host: Option<(&str, u16)>) {
        if let Some((name, port)) = host {
            self.tcp_ports.push(port);
            self.looks_up_names |= name.parse::<IpAddr>().is_err();
        }
    }
}

/// What was given up, and what could not be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was asked for.
    pub mode: Mode,
    /// No program that is started has more rights than this one.
    pub no_new_privileges: bool,
    /// How many system calls are refused, in part or as a whole; none without a filter.
    pub system_calls_refused: usize,
    /// The version of Landlock that is in force; none without it.
    pub landlock: Option<u32>,
    /// The ports of hosts that are connected to by TCP; all others are refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tcp_ports: Vec<u16>,
    /// What the kernel does not offer, and why.
    pub missing: Vec<String>,
}

impl fmt::Display for Report {
    /// `no new privileges, 71 system calls refused (seccomp), files limited
    /// (Landlock 7)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.no_new_privileges {
            parts.push("no new privileges".to_owned());
        }
        if self.system_calls_refused > 0 {
            parts.push(format!("{} system calls refused (seccomp)", self.system_calls_refused));
        }
        if let Some(version) = self.landlock {
            parts.push(format!("files limited to what the job needs (Landlock {version})"));
        }
        if !self.tcp_ports.is_empty() {
            let ports: Vec<String> = self.tcp_ports.iter().map(u16::to_string).collect();
            parts.push(format!("network limited to TCP ports {}", ports.join(", ")));
        }
        if parts.is_empty() {
            parts.push(self.mode.word().to_owned());
        }
        f.write_str(&parts.join(", "))?;
        for missing in &self.missing {
            write!(f, "; {missing}")?;
        }
        Ok(())
    }
}

/// Something cannot be given up, and [`Mode::On`] insists.
#[derive(Debug, thiserror::Error)]
#[error("this process cannot be hardened: {}; --hardening auto goes on without", .0.join("; "))]
pub struct CannotHarden(pub Vec<String>);

/// Gives up all but what is needed, for this thread and those that it starts.
///
/// # Errors
/// With [`Mode::On`], if the kernel does not offer all of it, or other threads run
/// already. The process may be hardened in part then, and should end.
pub fn apply(mode: Mode, needs: &Needs) -> Result<Report, CannotHarden> {
    harden(mode, || files::limit(needs), || calls::of_the_host(needs))
}

/// As [`apply`], for a process that does nothing but compute, with the descriptors
/// and the memory that it has: no files, no sockets, no new processes, no new code.
///
/// # Errors
/// As [`apply`].
pub fn confine_compiler(mode: Mode) -> Result<Report, CannotHarden> {
    harden(mode, files::forbid, calls::of_the_compiler)
}

fn harden(
    mode: Mode,
    limit_files: impl FnOnce() -> Result<files::InForce, String>,
    limit_calls: impl FnOnce() -> Result<usize, String>,
) -> Result<Report, CannotHarden> {
    let mut report = Report { mode, ..Report::default() };
    if mode == Mode::Off {
        return Ok(report);
    }
    if threads() > 1 {
        report.missing.push("other threads run already, and would stay as they are".to_owned());
    } else {
        // Landlock first: the filter of a compiler has no room for its calls.
        match limit_files() {
            Ok(in_force) => {
                report.landlock = Some(in_force.version);
                report.tcp_ports = in_force.tcp_ports;
                report.missing.extend(in_force.missing);
            }
            Err(why) => report.missing.push(format!("files are not limited: {why}")),
        }
        report.no_new_privileges = has_no_new_privileges();
        match limit_calls() {
            Ok(refused) => {
                report.system_calls_refused = refused;
                // The kernel takes no filter without it.
                report.no_new_privileges = true;
            }
            Err(why) => report.missing.push(format!("system calls are not filtered: {why}")),
        }
        if !report.no_new_privileges {
            report.missing.push("new privileges can be had".to_owned());
        }
    }
    if mode == Mode::On && !report.missing.is_empty() {
        return Err(CannotHarden(report.missing));
    }
    Ok(report)
}

/// How many threads this process has. One, where that cannot be found out: this is
/// called first of all.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

fn has_no_new_privileges() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NoNewPrivs:"));
    line.is_some_and(|value| value.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_other_threads_nothing_is_half_done() {
        // A test runs in a thread of its own.
        let report = apply(Mode::Auto, &Needs::default()).unwrap();
        assert_eq!((report.system_calls_refused, report.landlock), (0, None));
        assert!(report.missing[0].contains("other threads"), "{report}");
        let error = apply(Mode::On, &Needs::default()).unwrap_err().to_string();
        assert!(error.contains("other threads") && error.contains("--hardening auto"), "{error}");
    }

    #[test]
    fn a_report_is_a_line_that_tells_what_is_missing_too() {
        let mut report = Report {
            no_new_privileges: true,
            system_calls_refused: 70,
            landlock: Some(7),
            ..Report::default()
        };
        assert_eq!(
            report.to_string(),
            "no new privileges, 70 system calls refused (seccomp), files limited to what the job \
             needs (Landlock 7)"
        );
        report.tcp_ports = vec![80, 8080];
        assert!(
            report.to_string().ends_with(", network limited to TCP ports 80, 8080"),
            "{report}"
        );
        report.tcp_ports = Vec::new();
        report.landlock = None;
        report.missing.push("files are not limited: the kernel has no Landlock".to_owned());
        assert_eq!(
            report.to_string(),
            "no new privileges, 70 system calls refused (seccomp); files are not limited: the \
             kernel has no Landlock"
        );
        assert_eq!(apply(Mode::Off, &Needs::default()).unwrap().to_string(), "off");
    }

    #[test]
    fn a_mode_is_known_by_its_word() {
        for mode in [Mode::Auto, Mode::On, Mode::Off] {
            assert_eq!(Mode::from_str(mode.word(), false), Ok(mode));
        }
    }
}
