//! `cargo xtask release`: the program as it is given away, optimised and with the operators of the
//! shelf in it, so that one file is all that anybody needs.

use anyhow::Result;

use crate::{
    guests::{self, Choice, component::pack_shelf},
    process,
    workspace::Workspace,
};

/// The environment variable by which `host/build.rs` is told where the operators are.
const SHELF_VARIABLE: &str = "COFFERDAM_SHELF";

/// What may be said on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which toolchain builds the operators
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    toolchain: Choice,
    /// What goes to `cargo rustc`, such as `--locked`
    #[arg(last = true)]
    cargo: Vec<String>,
}

/// Builds it.
///
/// # Errors
/// If an operator or the program does not build.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    guests::build(&workspace, arguments.toolchain)?;
    let shelf = workspace.target.join("shelf");
    let packed = pack_shelf(&workspace.artifacts(), &shelf)?;
    let mut cargo = process::cargo();
    cargo.args(["rustc", "--release", "--package", "cofferdam", "--bin", "cofferdam"]);
    // Lines are four fifths of the file, and for who develops it; names of functions stay.
    cargo.args(&arguments.cargo).args(["--", "-C", "strip=debuginfo"]);
    process::run(cargo.env(SHELF_VARIABLE, &shelf).current_dir(&workspace.root))?;
    let program = workspace.target.join("release/cofferdam");
    let size = std::fs::metadata(&program)?.len();
    let shown = workspace.shown(&program);
    eprintln!("{shown}: {} MiB, with operators of {} KiB", size >> 20, packed >> 10);
    Ok(())
}
