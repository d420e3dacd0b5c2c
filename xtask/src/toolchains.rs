//! `cargo xtask toolchains`: the tools of the languages that operators are written in, for the tests
//! that build operators in all of them. They go into the target directory, but for Debian's
//! packages. Authors install their own: `docs/authoring/` says which.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{process, workspace::Workspace};

/// clang for WebAssembly, with C's and C++'s libraries.
pub(crate) const DEBIAN: [&str; 6] = [
    "clang-22",
    "lld-22",
    "libclang-rt-22-dev-wasm32",
    "wasi-libc",
    "libc++-22-dev-wasm32",
    "libc++abi-22-dev-wasm32",
];
/// What shows that they are there.
const CLANG: [&str; 3] =
    ["/usr/bin/clang++-22", "/usr/bin/wasm-ld-22", "/usr/include/wasm32-wasi/stdio.h"];
/// How long `apt-get` may take, for 300 MB.
const APT_LIMIT: Duration = Duration::from_secs(900);
/// What comes from PyPI and from npm, at which versions.
const PYTHON: &str = "tests/languages/requirements.txt";
const NPM: &str = "tests/languages/package.json";

/// Installs what is missing.
///
/// # Errors
/// If something cannot be installed; the rest is.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    let failed: Vec<String> = [clang(&workspace), python(&workspace), npm(&workspace)]
        .into_iter()
        .filter_map(|done| done.err().map(|error| format!("{error:#}")))
        .collect();
    if !failed.is_empty() {
        bail!("not all languages have their tools:\n  - {}", failed.join("\n  - "));
    }
    println!("the tools of all languages are there: {}", workspace.shown(&folder(&workspace)));
    Ok(())
}

/// Where they go.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools/languages")
}

/// Where their programs are, for `PATH`.
pub(crate) fn programs(workspace: &Workspace) -> [PathBuf; 2] {
    ["python/bin", "npm/node_modules/.bin"].map(|inside| folder(workspace).join(inside))
}

fn clang(workspace: &Workspace) -> Result<()> {
    if CLANG.iter().all(|file| Path::new(file).is_file()) {
        return Ok(());
    }
    let packages = DEBIAN.join(" ");
    if !Path::new("/usr/bin/apt-get").is_file() {
        bail!("no clang for WebAssembly, and no apt-get: install {packages}");
    }
    if process::output(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("no clang for WebAssembly: `sudo apt-get install {packages}`");
    }
    println!("installing {packages} with apt-get");
    let notes = folder(workspace);
    fs::create_dir_all(&notes).with_context(|| format!("cannot create {}", notes.display()))?;
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("apt-get update && apt-get install -y {packages}")])
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run_logged(&mut command, APT_LIMIT, &notes.join("apt.log"))
}

fn python(workspace: &Workspace) -> Result<()> {
    let root = folder(workspace).join("python");
    packages_of_python(workspace, &root, PYTHON)
}

fn npm(workspace: &Workspace) -> Result<()> {
    let root = folder(workspace).join("npm");
    let wanted = read(&workspace.root.join(NPM))?;
    let installed = root.join("installed.json");
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    println!("installing packages of npm into {}", workspace.shown(&root));
    fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    write(&root.join("package.json"), &wanted)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]);
    process::run(npm.current_dir(&root)).context("npm cannot install its packages")?;
    write(&installed, &wanted)
}

/// A place for Python's packages with those of a file of requirements, made anew where that file
/// has changed.
///
/// # Errors
/// If Python is not there, or cannot install them.
pub(crate) fn packages_of_python(
    workspace: &Workspace,
    root: &Path,
    requirements: &str,
) -> Result<()> {
    let requirements = workspace.root.join(requirements);
    let (wanted, installed) = (read(&requirements)?, root.join("requirements.txt"));
    // Written when all of it is there.
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    println!("installing packages of Python into {}", workspace.shown(root));
    let _ = fs::remove_dir_all(root);
    process::run(Command::new("python3").args(["-m", "venv"]).arg(root))
        .context("python3 cannot make a place for packages (Debian: python3-venv)")?;
    let mut pip = Command::new(root.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    process::run(pip.arg(&requirements)).context("pip cannot install its packages")?;
    write(&installed, &wanted)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
