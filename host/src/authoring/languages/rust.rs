//! Rust: cargo, with the target `wasm32-unknown-unknown` of rustup, or with Debian's packages,
//! which have no compiled standard library for it, so that cargo builds one.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::authoring::{
    language::Recipe,
    project::Project,
    tool::{ToolError, Tools},
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/rust/project",
    sources: &[("guest-sdk/rust/operators/{kind_}.rs", "src/lib.rs")],
    sdk: &[
        ("guest-sdk/rust/Cargo.toml", "guest-sdk/rust/Cargo.toml"),
        ("guest-sdk/rust/src", "guest-sdk/rust/src"),
        // The contract, which the crates look for beside their manifests.
        ("wit", "guest-sdk/rust/wit"),
        ("wit", "guest-sdk/rust/bindings/wit"),
        ("guest-sdk/rust/bindings", "guest-sdk/rust/bindings"),
    ],
    settings: &[],
    native_test: "cargo test",
    build,
};

const TARGET: &str = "wasm32-unknown-unknown";
/// Where Debian keeps what it takes.
const DEBIAN: &str = "/usr/bin";
const INSTALL: &str = "`rustup target add wasm32-unknown-unknown`, or on Debian `apt-get install \
                       rustc-web rust-web-src cargo-web rust-web-llvm lld-22`";

fn build(project: &Project, tools: &Tools<'_>) -> Result<PathBuf, ToolError> {
    let mut cargo = cargo(tools)?;
    // Where somebody has all their builds go, this one does, too.
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder).join("operators"),
        None => project.dir.join("build/cargo"),
    };
    let target = std::path::absolute(&target)
        .map_err(|reason| ToolError::File { path: target.clone(), reason })?;
    let flags = "-Ctarget-feature=+simd128";
    let here = std::path::absolute(&project.dir)
        .map_err(|reason| ToolError::File { path: project.dir.clone(), reason })?;
    // Lines of a crash are told from the project's folder on, wherever that is. For this crate alone:
    // what it is built of is shared with other projects where all builds go to one folder.
    cargo
        .args(["--release", "--lib", "--target-dir"])
        .arg(&target)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags)
        .arg("--")
        .arg(format!("--remap-path-prefix={}=.", here.display()));
    tools.run(&mut cargo)?;
    let file = format!("{}.wasm", project.name.as_str().replace('-', "_"));
    tools.made(target.join(TARGET).join("release").join(file))
}

/// `cargo rustc` for the target.
fn cargo(tools: &Tools<'_>) -> Result<Command, ToolError> {
    let missing = || ToolError::Missing {
        what: format!("a Rust toolchain for {TARGET}"),
        install: INSTALL.to_owned(),
    };
    if let (Some(cargo), Some(rustc)) = (tools.find(&["cargo"]), tools.find(&["rustc"])) {
        let sysroot = tools.ask(tools.command(rustc).args(["--print", "sysroot"]))?;
        if Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib").is_dir() {
            let mut command = clean(tools.command(cargo));
            command.args(["rustc", "--target", TARGET]);
            return Ok(command);
        }
    }
    let [cargo, rustc] = ["cargo", "rustc"].map(|name| Path::new(DEBIAN).join(name));
    let linker = ["wasm-ld-22", "wasm-ld"].map(|name| Path::new(DEBIAN).join(name));
    let linker = linker.into_iter().find(|linker| linker.is_file()).ok_or_else(missing)?;
    if !cargo.is_file() || !rustc.is_file() {
        return Err(missing());
    }
    let sysroot = tools.ask(tools.command(&rustc).args(["--print", "sysroot"]))?;
    if !Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std").is_dir() {
        return Err(missing());
    }
    let mut command = clean(tools.command(cargo));
    command
        .args(["rustc", "--target", TARGET, "-Zbuild-std=std,panic_abort"])
        .env("RUSTC", rustc)
        // Debian's is a stable release, and `-Zbuild-std` is not stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    Ok(command)
}

/// Without what a cargo around this program, or a person for this machine, has set.
fn clean(mut command: Command) -> Command {
    for name in [
        "CARGO",
        "CARGO_BUILD_RUSTC",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "LD_LIBRARY_PATH",
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
    ] {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        let known = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if known {
            command.env_remove(name);
        }
    }
    command
}
