//! `cargo xtask guests`: every crate below `operators/` and `tests/guests/`
//! becomes a component at `TARGET/guests/NAME.wasm`, listed in `index.json`
//! beside it. Which toolchain is used is decided in `toolchain`.

pub(crate) mod component;
mod toolchain;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

pub(crate) use self::toolchain::{Choice, Toolchain};
use self::toolchain::{TARGET, Version};
use crate::{
    process,
    stopwatch::Stopwatch,
    workspace::{Guest, Workspace},
};

/// The cargo profile of guests: see the root `Cargo.toml`.
const PROFILE: &str = "guest";

/// What may be said on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which toolchain builds them
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    toolchain: Choice,
}

/// Builds the guests.
///
/// # Errors
/// If there is no toolchain, or a guest does not build or is no component.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    build(&Workspace::load()?, arguments.toolchain)?;
    Ok(())
}

/// Builds what has changed of the guests, and returns what it was built with.
///
/// # Errors
/// As [`run`].
pub(crate) fn build(workspace: &Workspace, choice: Choice) -> Result<Toolchain> {
    let watch = Stopwatch::start();
    let guests = workspace.guests();
    if guests.is_empty() {
        bail!("no crate with a `cdylib` is in `operators/` or `tests/guests/`");
    }
    let toolchain = find_toolchain(workspace, &guests, choice)?;
    eprintln!("guests: building {} with {}", guests.len(), toolchain.why);
    let modules = compile(workspace, &toolchain, &guests)?;
    let made = component::make_all(&workspace.artifacts(), &modules)?;
    eprintln!(
        "guests: {} components in {} ({} new, {:.1} s)",
        modules.len(),
        workspace.shown(&workspace.artifacts()),
        made,
        watch.elapsed().as_secs_f64(),
    );
    Ok(toolchain)
}

/// A toolchain that is new enough for every guest.
///
/// # Errors
/// If there is none.
fn find_toolchain(workspace: &Workspace, guests: &[Guest], choice: Choice) -> Result<Toolchain> {
    let oldest = guests.iter().filter_map(|g| Version::parse(g.rust_version.as_deref()?)).max();
    toolchain::find(workspace, choice, oldest.unwrap_or(Version::NONE))
}

/// A guest as cargo left it: a core module.
struct Module {
    guest: Guest,
    path: PathBuf,
}

/// Compiles all guests by one call of cargo.
fn compile(workspace: &Workspace, toolchain: &Toolchain, guests: &[Guest]) -> Result<Vec<Module>> {
    let target = workspace.target.join("guests-build");
    let maker = format!("{}\n{}\n", workspace.root.display(), toolchain.name());
    forget_the_modules_of_another(&maker, &target)?;
    let mut command = toolchain.cargo();
    command
        .arg("build")
        .args(["--profile", PROFILE, "--message-format", "json-render-diagnostics"])
        .args(toolchain.arguments())
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&workspace.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    for guest in guests {
        command.args(["--package", &guest.package]);
    }
    let mut child = command.spawn().context("cannot run cargo for the guests")?;
    let stdout = child.stdout.take().context("cargo's output is not connected")?;
    // To the end before the wait, so that cargo never blocks on a full pipe.
    let built = modules_in(BufReader::new(stdout));
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the guests do not build: see cargo's messages above");
    }
    let mut built = built?;
    guests
        .iter()
        .map(|guest| {
            let path = built.remove(&guest.manifest).with_context(|| {
                format!("cargo made no WebAssembly module of `{}`", guest.package)
            })?;
            Ok(Module { guest: guest.clone(), path })
        })
        .collect()
}

/// A line of `--message-format json`; other kinds of message have other fields.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The WebAssembly modules that cargo's messages name, by manifest.
fn modules_in(messages: impl BufRead) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut modules = BTreeMap::new();
    for line in messages.lines() {
        let line = line.context("cannot read cargo's messages")?;
        let Ok(Message { manifest_path: Some(manifest), filenames }) = serde_json::from_str(&line)
        else {
            continue;
        };
        if let Some(module) = filenames.into_iter().find(|f| f.extension() == Some("wasm".as_ref()))
        {
            modules.insert(manifest, module);
        }
    }
    Ok(modules)
}

/// Cargo calls a `cdylib` for WebAssembly `deps/NAME.wasm`, with nothing in the
/// name that tells two clones that share a target directory apart, or two
/// toolchains, and takes what the other left for its own. So what another maker
/// left goes away.
fn forget_the_modules_of_another(maker: &str, target: &Path) -> Result<()> {
    let marker = target.join("maker");
    if fs::read_to_string(&marker).is_ok_and(|last| last == maker) {
        return Ok(());
    }
    let deps = target.join(TARGET).join(PROFILE).join("deps");
    for entry in fs::read_dir(&deps).into_iter().flatten() {
        let path = entry.with_context(|| format!("cannot list {}", deps.display()))?.path();
        if path.extension() == Some("wasm".as_ref()) {
            fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;
        }
    }
    fs::write(&marker, maker).with_context(|| format!("cannot write {}", marker.display()))
}

/// Clippy for the guests as they are compiled for WebAssembly, with warnings denied.
///
/// # Errors
/// If there is no toolchain or clippy complains.
pub(crate) fn clippy(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let mut command = toolchain.cargo();
    command
        .arg("clippy")
        .args(toolchain.arguments())
        .args(["--profile", PROFILE, "--target-dir"])
        .arg(workspace.target.join("guests-build"))
        .current_dir(&workspace.root);
    for guest in workspace.guests() {
        command.args(["--package", &guest.package]);
    }
    process::run(command.args(["--", "-D", "warnings"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_among_cargos_other_messages() {
        let messages = r#"
{"reason":"compiler-artifact","manifest_path":"/c/operators/a/Cargo.toml","filenames":["/t/liba.rlib","/t/a.wasm"]}
not a message
{"reason":"compiler-artifact","manifest_path":"/r/serde/Cargo.toml","filenames":["/t/libserde.rlib"]}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"build-finished","success":true}
"#;
        let modules = modules_in(messages.as_bytes()).unwrap();
        let expected = (PathBuf::from("/c/operators/a/Cargo.toml"), PathBuf::from("/t/a.wasm"));
        assert_eq!(modules.into_iter().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_module_of_another_clone_is_not_taken_for_ours() {
        let target = tempfile::tempdir().unwrap();
        let deps = target.path().join(TARGET).join(PROFILE).join("deps");
        fs::create_dir_all(&deps).unwrap();
        let module = deps.join("filter.wasm");
        forget_the_modules_of_another("one", target.path()).unwrap();
        fs::write(&module, "one").unwrap();
        forget_the_modules_of_another("one", target.path()).unwrap();
        assert!(module.exists(), "our own module stays");
        forget_the_modules_of_another("two", target.path()).unwrap();
        assert!(!module.exists(), "the other clone's is gone");
    }
}
