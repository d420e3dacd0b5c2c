//! `cargo xtask sdk`: the SDKs in the shapes in which each language's people publish and install
//! them: crates, a package of npm, a wheel, archives with the headers, and the contract by itself.
//! Nothing is published.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use flate2::{Compression, write::GzEncoder};

use crate::{process, workspace::Workspace};

/// Folders that are archived as they are, and what the archive is called.
const ARCHIVES: [(&str, &[&str]); 4] = [
    ("cofferdam-c", &["guest-sdk/c/cofferdam.h", "guest-sdk/c/cofferdam_test.h", "wit"]),
    ("cofferdam-cpp", &["guest-sdk/c/cofferdam.h", "guest-sdk/cpp/cofferdam.hpp", "wit"]),
    (
        "cofferdam-zig",
        &[
            "guest-sdk/zig/cofferdam.zig",
            "guest-sdk/zig/contract.zig",
            "guest-sdk/zig/testing.zig",
            "wit",
        ],
    ),
    ("cofferdam-go", &["guest-sdk/go/cofferdam", "wit"]),
];

/// Makes all of them.
///
/// # Errors
/// If one cannot be made.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    let out = workspace.target.join("sdk");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    for (name, parts) in ARCHIVES {
        archive(&workspace.root, &out.join(format!("{name}.tar.gz")), parts)?;
    }
    crates(&workspace, &out)?;
    let source = copy(&workspace)?;
    npm(&source, &out)?;
    wheel(&source, &out)?;
    fs::remove_dir_all(&source).context("cannot clean up")?;
    let mut made: Vec<PathBuf> = fs::read_dir(&out)
        .context("cannot list what was made")?
        .flatten()
        .map(|e| e.path())
        .collect();
    made.sort();
    for path in &made {
        let size = fs::metadata(path).map(|about| about.len()).unwrap_or_default();
        println!("{:>8} {}", size, workspace.shown(path));
    }
    // Two crates, a package of npm, a wheel.
    let wanted = ARCHIVES.len() + 4;
    if made.len() != wanted {
        bail!("{} packages were made, and there should be {wanted}", made.len());
    }
    Ok(())
}

fn archive(root: &Path, to: &Path, parts: &[&str]) -> Result<()> {
    let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut tar = Command::new("tar");
    tar.arg("--directory").arg(root).args(["--sort=name", "--owner=0", "--group=0", "--create"]);
    let output = tar.args(parts).output().context("tar does not run")?;
    if !output.status.success() {
        bail!("tar failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut packed = GzEncoder::new(file, Compression::best());
    std::io::Write::write_all(&mut packed, &output.stdout).context("cannot write an archive")?;
    packed.finish().map(drop).context("cannot write an archive")
}

fn crates(workspace: &Workspace, out: &Path) -> Result<()> {
    let packages = ["cofferdam-sdk-bindings", "cofferdam-sdk"];
    let mut cargo = process::cargo();
    cargo.args(["package", "--no-verify", "--allow-dirty", "--quiet"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    process::run(cargo.current_dir(&workspace.root))?;
    for package in packages {
        let file = format!("{package}-{}.crate", env!("CARGO_PKG_VERSION"));
        let from = workspace.target.join("package").join(&file);
        fs::copy(&from, out.join(&file))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// Packers write beside what they pack: they get a copy.
fn copy(workspace: &Workspace) -> Result<PathBuf> {
    let copy = workspace.target.join("sdk-source");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(&copy).with_context(|| format!("cannot create {}", copy.display()))?;
    for folder in ["guest-sdk", "wit"] {
        let from = workspace.root.join(folder);
        process::run(Command::new("cp").arg("-r").arg(&from).arg(&copy))?;
    }
    Ok(copy)
}

fn npm(source: &Path, out: &Path) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", "--pack-destination"]).arg(out);
    process::run(npm.current_dir(source.join("guest-sdk/javascript/cofferdam")))
}

fn wheel(source: &Path, out: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check"]);
    process::run(pip.arg("--wheel-dir").arg(out).arg(source.join("guest-sdk/python")))
}
