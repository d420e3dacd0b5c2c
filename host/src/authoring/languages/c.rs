//! C and C++: clang for wasm32 with wasi-libc, or `zig cc`, which brings both. How C++ differs is in
//! `cpp.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::authoring::{
    language::Recipe,
    project::Project,
    tool::{ToolError, Tools},
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/c/project",
    sources: &[
        ("guest-sdk/c/operators/{kind}.c", "src/operator.c"),
        ("guest-sdk/c/operators/{kind}_test.c", "tests/operator_test.c"),
    ],
    sdk: &[
        ("guest-sdk/c/cofferdam.h", "cofferdam.h"),
        ("guest-sdk/c/cofferdam_test.h", "cofferdam_test.h"),
    ],
    settings: &SETTINGS,
    native_test: "make test",
    build,
};

/// What may stand in `[build]`: more for the compiler and linker, as `["-O3"]`.
pub(super) const SETTINGS: [&str; 1] = ["flags"];

/// One of the two languages.
pub(super) struct Dialect {
    /// What files end with.
    pub(super) endings: &'static [&'static str],
    /// Names of clang, best first.
    pub(super) clang: &'static [&'static str],
    /// What zig calls its compiler.
    pub(super) zig: &'static str,
    /// What must be there beside the compiler.
    pub(super) library: &'static str,
    /// What tells the compiler about the language.
    pub(super) flags: &'static [&'static str],
    /// What is missing, and what installs it.
    pub(super) missing: [&'static str; 2],
}

const C: Dialect = Dialect {
    endings: &["c"],
    clang: &["clang-22", "clang-21", "clang-20", "clang-19", "clang"],
    zig: "cc",
    library: "libc.a",
    flags: &["-std=c11"],
    missing: [
        "clang for wasm32",
        "`apt-get install clang-22 lld-22 libclang-rt-22-dev-wasm32 wasi-libc`, or `pip install ziglang`",
    ],
};

/// Debian's wasi-libc and older SDKs are where this name says; later clangs warn of it.
const TARGET: &str = "--target=wasm32-wasi";

/// For both languages and compilers.
const FLAGS: [&str; 8] = [
    "-O2",
    "-g",
    "-msimd128",
    "-Wall",
    "-Wextra",
    "-Icofferdam",
    "-Wl,--no-entry",
    "-Wl,-z,stack-size=131072",
];
/// The header calls constructors itself, in `open`: no file that starts a program is needed. A stack
/// below the data traps where it ends.
const FLAGS_OF_CLANG: [&str; 4] = [TARGET, "-Wno-deprecated", "-nostartfiles", "-Wl,--stack-first"];
/// It runs `wasm-opt` on what it made if there is one on `PATH`, which takes functions' names and makes
/// lines wrong. Old ones have no such flag.
const NO_WASM_OPT: [&str; 1] = ["--no-wasm-opt"];
/// zig has a linker of its own, which puts the stack there anyway, and always adds what starts a
/// program: that of a reactor, which is none.
const FLAGS_OF_ZIG: [&str; 4] =
    ["-target", "wasm32-wasi", "-mexec-model=reactor", "-fno-sanitize=undefined"];

fn build(project: &Project, tools: &Tools<'_>) -> Result<PathBuf, ToolError> {
    compile(project, tools, &C)
}

/// Makes a core module of all files in `src/`.
pub(super) fn compile(
    project: &Project,
    tools: &Tools<'_>,
    dialect: &Dialect,
) -> Result<PathBuf, ToolError> {
    let mut compiler = compiler(tools, dialect)?;
    let module = Path::new("build").join("module.wasm");
    compiler.args(FLAGS).args(dialect.flags).arg(here(project)?);
    compiler.args(settings(project, "flags")?).args(sources(project, dialect)?);
    compiler.arg("-o").arg(&module);
    tools.make(&mut compiler, &module)
}

/// Debug information names files from the project's folder on: the same wherever that is.
fn here(project: &Project) -> Result<String, ToolError> {
    let dir = std::path::absolute(&project.dir)
        .map_err(|reason| ToolError::File { path: project.dir.clone(), reason })?;
    Ok(format!("-ffile-prefix-map={}=.", dir.display()))
}

/// A compiler that has its libraries for the target.
fn compiler(tools: &Tools<'_>, dialect: &Dialect) -> Result<Command, ToolError> {
    let sdk = std::env::var_os("WASI_SDK_PATH").map(|sdk| PathBuf::from(sdk).join("bin"));
    let of_sdk = sdk.and_then(|bin| {
        let last = dialect.clang.last()?;
        Some(bin.join(last)).filter(|program| program.is_file())
    });
    let of_system = dialect.clang.iter().filter_map(|name| tools.find(&[name]));
    for clang in of_sdk.into_iter().chain(of_system) {
        // It prints the name alone where there is no such file.
        let library = format!("-print-file-name={}", dialect.library);
        let has_library = |more: &&[&str]| {
            let mut ask = tools.command(&clang);
            ask.args([TARGET, "-Wno-deprecated", &library]).args(*more);
            tools.ask(&mut ask).is_ok_and(|path| Path::new(path.trim()).is_file())
        };
        if let Some(more) = [&NO_WASM_OPT[..], &[]].iter().find(|more| has_library(more)) {
            let mut command = tools.command(clang);
            command.args(FLAGS_OF_CLANG).args(*more);
            return Ok(command);
        }
    }
    let [what, install] = dialect.missing;
    let zig = tools.need(&["zig", "python-zig"], what, install)?;
    let mut command = tools.command(zig);
    command.arg(dialect.zig).args(FLAGS_OF_ZIG);
    Ok(command)
}

/// The project's files, in the order of their names.
fn sources(project: &Project, dialect: &Dialect) -> Result<Vec<PathBuf>, ToolError> {
    let folder = project.dir.join("src");
    let entries =
        fs::read_dir(&folder).map_err(|reason| ToolError::File { path: folder.clone(), reason })?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| Path::new("src").join(entry.file_name()))
        .filter(|path| {
            path.extension().is_some_and(|end| dialect.endings.iter().any(|e| end == *e))
        })
        .collect();
    files.sort();
    if files.is_empty() {
        let endings = dialect.endings.join(" or .");
        return Err(ToolError::Unfit(format!("there is no file in src/ that ends in .{endings}")));
    }
    Ok(files)
}

/// A list of texts of `[build]`.
///
/// # Errors
/// If it is none.
pub(super) fn settings(project: &Project, key: &str) -> Result<Vec<String>, ToolError> {
    let Some(value) = project.settings.get(key) else { return Ok(Vec::new()) };
    let list = value.as_array().map(|list| {
        list.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    list.flatten().ok_or_else(|| {
        ToolError::Unfit(format!("`build.{key}` in operator.toml is a list of texts, as [\"-O3\"]"))
    })
}
