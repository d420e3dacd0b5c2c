//! Finds a toolchain that builds for `wasm32-unknown-unknown`, or sets one up:
//!
//! 1. the active toolchain, where it has the target;
//! 2. the same after `rustup target add`, where rustup reaches its server;
//! 3. Debian's own packages, which are installed where that is allowed. They
//!    hold no compiled standard library for the target, so cargo builds one
//!    (`-Zbuild-std`, a minute, once).
//!
//! Builds nothing itself.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{process, workspace::Workspace};

/// The target of every guest.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// What step 3 installs.
const DEBIAN_PACKAGES: [&str; 5] =
    ["rustc-web", "rust-web-src", "cargo-web", "rust-web-llvm", "lld-22"];

/// How long `rustup target add` may take: 20 MB on a slow line.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);
/// How long `apt-get` may take, for 300 MB.
const APT_LIMIT: Duration = Duration::from_secs(900);
/// For so long nobody asks rustup again after it failed.
const RUSTUP_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Edition 2024 needs it.
const OLDEST_RUSTC: Version = Version(1, 85);

/// Which toolchain is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The first that works
    Auto,
    /// The active one, with rustup's target
    Rustup,
    /// Debian's packages
    Debian,
}

/// A toolchain that can build guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    kind: Kind,
    /// What was chosen and why, in one line.
    pub(crate) why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// The active toolchain has the target.
    Active,
    /// Programs at fixed places, and the standard library from source.
    Separate { cargo: PathBuf, rustc: PathBuf, linker: PathBuf },
}

impl Toolchain {
    /// The cargo to build guests with: add a subcommand with
    /// [`arguments`](Self::arguments) after it.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = match &self.kind {
            Kind::Active => {
                let mut command = process::cargo();
                process::forget_the_flags_of_the_host(&mut command);
                command
            }
            Kind::Separate { cargo, rustc, linker } => {
                let mut command = process::cargo_at(cargo);
                process::forget_the_active_toolchain(&mut command);
                command
                    .env("RUSTC", rustc)
                    // Debian's is a stable release, and `-Zbuild-std` is not stable yet.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                command
            }
        };
        // Part of WebAssembly since 2.0, and not yet on by default.
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-Ctarget-feature=+simd128");
        command
    }

    /// What goes after cargo's subcommand.
    pub(crate) fn arguments(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Active => &["--target", TARGET],
            Kind::Separate { .. } => &["--target", TARGET, "-Zbuild-std=std,panic_abort"],
        }
    }

    /// Tells it from the other kind.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Active => "active",
            Kind::Separate { .. } => "debian",
        }
    }

    /// Whether its clippy can check code for the target.
    pub(crate) fn has_clippy(&self) -> bool {
        self.kind == Kind::Active
    }
}

/// Finds or sets up a toolchain whose rustc is at least `oldest`.
///
/// # Errors
/// Where none can be had: what was tried, what came of it, and what to do.
pub(crate) fn find(workspace: &Workspace, choice: Choice, oldest: Version) -> Result<Toolchain> {
    let notes = workspace.target.join("guests-build");
    fs::create_dir_all(&notes).with_context(|| format!("cannot create {}", notes.display()))?;
    let mut tried = Vec::new();
    if choice != Choice::Debian {
        match active(&notes) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => tried.push(format!("{error:#}")),
        }
    }
    if choice != Choice::Rustup {
        match debian(&notes, oldest) {
            Ok(mut toolchain) => {
                if let Some(reason) = tried.first() {
                    toolchain.why = format!("{} ({reason})", toolchain.why);
                }
                return Ok(toolchain);
            }
            Err(error) => tried.push(format!("{error:#}")),
        }
    }
    bail!(
        "no toolchain builds for {TARGET}:\n  - {}\nWhat helps: `rustup target add {TARGET}` with a \
         network, or on Debian `{}`.",
        tried.join("\n  - "),
        apt_command(true),
    )
}

/// Steps 1 and 2.
fn active(notes: &Path) -> Result<Toolchain> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = process::output(Command::new(rustc).args(["--print", "sysroot"]))?;
    let installed = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    let found = |why: &str| Ok(Toolchain { kind: Kind::Active, why: why.to_owned() });
    if installed.is_dir() {
        return found("the active toolchain, which has the target installed");
    }
    let failed_before = notes.join("rustup-failed");
    let asked_lately = fs::metadata(&failed_before)
        .and_then(|m| m.modified())
        .is_ok_and(|at| at.elapsed().is_ok_and(|age| age < RUSTUP_AGAIN));
    if asked_lately {
        bail!(
            "`rustup target add` failed within the last day; delete {} to try again",
            failed_before.display()
        );
    }
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]).env("RUSTUP_MAX_RETRIES", "1");
    eprintln!("guests: asking rustup for {TARGET}");
    let log = notes.join("rustup.log");
    let added = process::run_logged(&mut command, RUSTUP_LIMIT, &log);
    if let Err(error) = added {
        fs::write(&failed_before, format!("{error:#}\n"))
            .context("cannot note rustup's failure")?;
        return Err(error);
    }
    // Success counts only if the active toolchain got it, and not another one.
    if !installed.is_dir() {
        bail!("`rustup target add` succeeded, but {} is not there", installed.display());
    }
    found("the active toolchain, to which `rustup target add` has just added the target")
}

/// Step 3.
fn debian(notes: &Path, oldest: Version) -> Result<Toolchain> {
    let missing = match installed_from_debian(oldest) {
        Ok(kind) => {
            return Ok(Toolchain { kind, why: "Debian's rustc, which is installed".into() });
        }
        Err(missing) => missing,
    };
    if !Path::new("/usr/bin/apt-get").is_file() {
        bail!("{missing:#}, and this system has no apt-get");
    }
    if process::output(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("{missing:#}; install it with `{}`", apt_command(true));
    }
    eprintln!("guests: {missing:#}; installing {} with apt-get", DEBIAN_PACKAGES.join(", "));
    let mut command = Command::new("sh");
    command.args(["-c", &apt_command(false)]).env("DEBIAN_FRONTEND", "noninteractive");
    let log = notes.join("apt.log");
    process::run_logged(&mut command, APT_LIMIT, &log)
        .with_context(|| format!("apt-get failed; all it said is in {}", log.display()))?;
    let kind = installed_from_debian(oldest).context("apt-get succeeded, yet")?;
    Ok(Toolchain { kind, why: "Debian's rustc, installed just now".into() })
}

fn apt_command(for_people: bool) -> String {
    let sudo = if for_people { "sudo " } else { "" };
    let packages = DEBIAN_PACKAGES.join(" ");
    format!("{sudo}apt-get update && {sudo}apt-get install -y {packages}")
}

/// Everything at its fixed place, or an error that names what is missing.
fn installed_from_debian(oldest: Version) -> Result<Kind> {
    let (cargo, rustc) = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
    if !cargo.is_file() || !rustc.is_file() {
        bail!("Debian's rustc and cargo are not installed");
    }
    let said = process::output(Command::new(&rustc).arg("--version"))?;
    let version = Version::parse(&said)
        .with_context(|| format!("{} says it is `{}`", rustc.display(), said.trim()))?;
    let oldest = oldest.max(OLDEST_RUSTC);
    if version < oldest {
        bail!("Debian's rustc is {version}, and the guests need {oldest}");
    }
    let sysroot = process::output(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std");
    if !library.is_dir() {
        bail!("the source of Debian's standard library (rust-web-src) is not installed");
    }
    let Some(linker) = linker_in(Path::new("/usr/bin")) else {
        bail!("no WebAssembly linker (lld-22) is installed");
    };
    Ok(Kind::Separate { cargo, rustc, linker })
}

/// The newest `wasm-ld-NN`, else `wasm-ld`, else `rust-lld`.
fn linker_in(directory: &Path) -> Option<PathBuf> {
    let numbered = fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let number: u32 = name.strip_prefix("wasm-ld-")?.parse().ok()?;
            Some((number, directory.join(name)))
        })
        .max()
        .map(|(_, path)| path);
    numbered.or_else(|| {
        ["wasm-ld", "rust-lld"].iter().map(|name| directory.join(name)).find(|path| path.is_file())
    })
}

/// A release of rustc, without the patch level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32);

impl Version {
    /// Older than all.
    pub(crate) const NONE: Self = Self(0, 0);

    /// Takes the first `X.Y` of a text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.split(|c: char| c != '.' && !c.is_ascii_digit()).find_map(|word| {
            let mut parts = word.split('.');
            Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_rustc_says() {
        let read = |text| Version::parse(text);
        assert_eq!(read("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some(Version(1, 96)));
        assert_eq!(read("1.95"), Some(Version(1, 95)));
        assert_eq!(read("rustc, who knows"), None);
        assert!(read("1.100.0") > read("1.99.9"));
    }

    #[test]
    fn the_newest_linker_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str| fs::write(directory.path().join(name), "").unwrap();
        assert_eq!(linker_in(directory.path()), None);
        make("rust-lld");
        assert_eq!(linker_in(directory.path()), Some(directory.path().join("rust-lld")));
        make("wasm-ld");
        assert_eq!(linker_in(directory.path()), Some(directory.path().join("wasm-ld")));
        for name in ["wasm-ld-9", "wasm-ld-22", "wasm-ld-old"] {
            make(name);
        }
        assert_eq!(linker_in(directory.path()), Some(directory.path().join("wasm-ld-22")));
    }
}
