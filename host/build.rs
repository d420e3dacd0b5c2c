//! Puts the text of the SDKs, and of the projects that `cofferdam operator new` makes, into the
//! program: whatever stands below `guest-sdk/`, but what builds leave there, and links to the
//! contract, which the program has anyway. A file that is added there is in the program without
//! being named anywhere else. And the operators of the shelf, if the variable `COFFERDAM_SHELF`
//! names a directory of them, as `cargo xtask release` does: `index.json`, and each component
//! compressed, `NAME.wasm.zst`. Without it there are none in the program, and it looks for them
//! beside itself.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// Folders that builds and tools leave.
const LEFT_BY_TOOLS: [&str; 8] =
    ["target", "node_modules", "build", "dist", "zig-cache", "zig-out", "__pycache__", "tests"];
/// What the texts of languages end with.
const TEXTS: [&str; 20] = [
    "c", "cfg", "cpp", "go", "h", "hpp", "js", "json", "jsonl", "md", "mjs", "mod", "py", "rs",
    "toml", "ts", "typed", "wit", "zig", "zon",
];
/// Texts that are known by their whole name.
const NAMES: [&str; 5] =
    [".gitignore", "Makefile", "compile_flags.txt", "gitignore", "requirements.txt"];

fn main() -> io::Result<()> {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = host.parent().unwrap_or(&host);
    let mut files = Vec::new();
    collect(&root.join("guest-sdk"), &mut files)?;
    files.sort();
    let mut table = "&[\n".to_owned();
    for path in &files {
        let inside = path.strip_prefix(root).unwrap_or(path);
        let written = writeln!(table, "    ({inside:?}, include_str!({path:?})),");
        written.map_err(io::Error::other)?;
    }
    table += "]\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("embedded.rs"), table)?;
    fs::write(out.join("shelf.rs"), shelf()?)
}

/// The operators of the shelf, as Rust.
fn shelf() -> io::Result<String> {
    println!("cargo::rerun-if-env-changed=COFFERDAM_SHELF");
    let (mut index, mut files) = ("None".to_owned(), String::new());
    if let Some(dir) = env::var_os("COFFERDAM_SHELF").filter(|dir| !dir.is_empty()) {
        let dir = PathBuf::from(dir);
        println!("cargo::rerun-if-changed={}", dir.display());
        let list = dir.join("index.json");
        if !list.is_file() {
            let missing = format!("COFFERDAM_SHELF: there is no {}", list.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, missing));
        }
        index = format!("Some(include_str!({list:?}))");
        let mut packed: Vec<_> =
            fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        packed.retain(|path| path.extension().is_some_and(|ending| ending == "zst"));
        packed.sort();
        for path in packed {
            let name = path.file_name().unwrap_or_default();
            let written = writeln!(files, "    ({name:?}, include_bytes!({path:?})),");
            written.map_err(io::Error::other)?;
        }
    }
    Ok(format!(
        "pub(super) static INDEX: Option<&str> = {index};\n\
         pub(super) static FILES: &[(&str, &[u8])] = &[\n{files}];\n"
    ))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_symlink() {
            continue;
        }
        let path = entry.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            let hidden = name.starts_with('.');
            // Tests of the SDK itself are not; those of a project are.
            let left = LEFT_BY_TOOLS.contains(&name) && !path.ends_with("project/tests");
            if !hidden && !left {
                collect(&path, files)?;
            }
            continue;
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if TEXTS.contains(&ending) || NAMES.contains(&name) {
            files.push(path);
        }
    }
    Ok(())
}
