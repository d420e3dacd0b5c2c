//! Puts the text of the SDKs, and of the projects that `cofferdam operator new` makes, into the
//! program: whatever stands below `guest-sdk/` and `wit/`, but what builds leave there. A file
//! that is added there is in the program without being named anywhere else.

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
    for folder in ["guest-sdk", "wit"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut table = "&[\n".to_owned();
    for path in &files {
        let inside = path.strip_prefix(root).unwrap_or(path);
        let written = writeln!(table, "    ({inside:?}, include_str!({path:?})),");
        written.map_err(io::Error::other)?;
    }
    table += "]\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("embedded.rs"), table)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
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
