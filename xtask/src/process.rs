//! Running other programs: what they inherit, how long they may take, and what
//! is said when they fail.

use std::{
    env,
    ffi::OsStr,
    fs::File,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// The cargo that runs this program, for the toolchain that is active.
pub(crate) fn cargo() -> Command {
    cargo_at(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A cargo by its path.
pub(crate) fn cargo_at(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    forget_our_own_build(&mut command);
    command
}

/// `cargo run` tells the program that it runs about the program's own package.
/// Build scripts and caches of another cargo must not see that.
fn forget_our_own_build(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let ours = text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text.starts_with("CARGO_BIN_")
            || text == "RUST_RECURSION_COUNT";
        if ours {
            command.env_remove(name);
        }
    }
}

/// Takes away everything by which one Rust toolchain finds its parts, so that
/// another one, named by absolute paths, does not get them.
pub(crate) fn forget_the_active_toolchain(command: &mut Command) {
    const NAMES: [&str; 9] = [
        "CARGO",
        "LD_LIBRARY_PATH",
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOC",
        "RUSTUP_TOOLCHAIN",
        "CARGO_BUILD_RUSTC",
        "CARGO_BUILD_RUSTDOC",
        "CARGO_BUILD_TARGET",
    ];
    for name in NAMES {
        command.env_remove(name);
    }
    forget_the_flags_of_the_host(command);
}

/// Flags meant for this machine (`-C target-cpu=native`) break WebAssembly.
pub(crate) fn forget_the_flags_of_the_host(command: &mut Command) {
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
        command.env_remove(name);
    }
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs it to its end, with this program's output and no input.
///
/// # Errors
/// If it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs it and returns what it wrote to standard output.
///
/// # Errors
/// If it cannot be started or fails; the message holds its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}\n{}", shown(command), output.status, said.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` did not answer in UTF-8", shown(command)))
}

/// Runs it for at most `limit`, with its output in the file `log`.
///
/// # Errors
/// If it cannot be started, fails, or takes longer (it is killed then); the
/// message holds the last line of the log.
pub(crate) fn run_logged(command: &mut Command, limit: Duration, log: &Path) -> Result<()> {
    const STEP: Duration = Duration::from_millis(50);
    let out = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let err = out.try_clone().context("cannot share the log file")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    let mut waited = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a child")? {
            if status.success() {
                return Ok(());
            }
            bail!("`{}` failed: {}", shown(command), last_line(log));
        }
        if waited >= limit {
            // It may have ended by itself just now; both are the end of it.
            let _ = child.kill();
            let _ = child.wait();
            bail!("`{}` took more than {} s", shown(command), limit.as_secs());
        }
        thread::sleep(STEP);
        waited += STEP;
    }
}

/// The last line that says something, of a log; where there is one that begins
/// with "error" or "E:" (apt), that one.
fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let telling = lines.iter().find(|l| l.starts_with("error") || l.starts_with("E:"));
    telling.or(lines.last()).map_or_else(|| "it said nothing".into(), |l| (*l).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_stopped_at_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut command = Command::new("sleep");
        command.arg("600");
        let error = run_logged(&mut command, Duration::from_millis(100), &log).unwrap_err();
        assert!(error.to_string().contains("`sleep 600` took more than"), "{error}");
    }

    #[test]
    fn a_failure_is_told_by_the_line_that_names_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo hello; echo 'E: no network' >&2; echo bye; exit 3"]);
        let error = run_logged(&mut command, Duration::from_secs(60), &log).unwrap_err();
        assert!(error.to_string().ends_with("failed: E: no network"), "{error}");
    }
}
