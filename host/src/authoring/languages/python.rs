//! Python: `componentize-py`, which puts an interpreter, the SDK and the author's modules into one
//! component, and runs their imports beforehand.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    authoring::{
        language::Recipe,
        project::{BUILD, Project},
        tool::{self, ToolError, Tools},
    },
    sandbox::componentize_py,
};

pub(in crate::authoring) static RECIPE: Recipe = Recipe {
    project: "guest-sdk/python/project",
    sources: &[
        ("guest-sdk/python/operators/{kind_}.py", "app.py"),
        ("guest-sdk/python/operators/{kind_}_test.py", "test_app.py"),
    ],
    sdk: &[("guest-sdk/python/cofferdam", "")],
    settings: &[],
    native_test: "python3 -m unittest",
    build,
};

const INSTALL: &str = "`python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1` \
                       in the project, or `pip install componentize-py==0.25.1`";
/// The SDK's half that imports `app`; and the one for which lists of numbers are bytes.
const GUEST: &str = "cofferdam.guest";
const FAST_GUEST: &str = "cofferdam.fast_guest";
const FAST_FILE: &str = "cofferdam/fast_guest.py";
/// Where the author's packages are, if they are in the project.
const VENVS: [&str; 2] = [".venv", "venv"];

fn build(project: &Project, tools: &Tools<'_>) -> Result<PathBuf, ToolError> {
    if project.wasi {
        let why = "`wasi = true` is not for Python: its components have no WASI, and what needs \
                   it raises an exception that says so; leave it out of operator.toml";
        return Err(ToolError::Unfit(why.to_owned()));
    }
    let program = tools.need(&["componentize-py"], "componentize-py", INSTALL)?;
    let version = tools.ask(tools.command(&program).arg("--version"))?;
    // SDKs of before have not this half.
    let numbers_as_bytes = tool::version(&version) == Some(componentize_py::LISTS_KNOWN)
        && project.dir.join(FAST_FILE).is_file();
    let made = tools.folder(BUILD)?.join("python.wasm");
    let mut command = tools.command(program);
    command
        .args(["--quiet", "--wit-path", "cofferdam/wit", "--world", project.world.word()])
        .args(["componentize", "--python-path", ".", "--stub-wasi", "--output"])
        .arg(&made)
        .arg(if numbers_as_bytes { FAST_GUEST } else { GUEST })
        .env("RUST_BACKTRACE", "0");
    // Packages of pure Python that are installed in the project are found.
    if let Some(venv) = VENVS.iter().map(|name| project.dir.join(name)).find(|venv| venv.is_dir()) {
        command.env("VIRTUAL_ENV", venv);
    }
    run(&mut command, &made, &project.dir)?;
    if is_to_be_mended(&version) {
        mend(&made, numbers_as_bytes)?;
    }
    tools.made(made)
}

/// Runs it; what it says of a failure is cut to what an author can use.
fn run(command: &mut Command, made: &Path, project: &Path) -> Result<(), ToolError> {
    // What an earlier build has left must not be taken for what this one made.
    let _ = fs::remove_file(made);
    let said = command.stdin(Stdio::null()).output();
    let said =
        said.map_err(|reason| ToolError::NotRun { command: "componentize-py".to_owned(), reason })?;
    if said.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&said.stderr);
    let text = of_author(&text);
    let hint = missing_module(&text).map(|name| format!("\n{}", why_missing(name, project)));
    Err(ToolError::Unfit(format!("app.py cannot be built:\n{text}{}", hint.unwrap_or_default())))
}

/// The module that an import did not find, if that is what went wrong.
fn missing_module(said: &str) -> Option<&str> {
    let (_, name) = said.rsplit_once("No module named '")?;
    name.split_once('\'').map(|(name, _)| name)
}

/// Why a module is not found, and what to do.
fn why_missing(name: &str, project: &Path) -> String {
    let (parent, leaf) = name.rsplit_once('.').unwrap_or(("", name));
    let of_machine = packages_of(project).any(|packages| {
        let files = fs::read_dir(packages.join(parent.replace('.', "/"))).into_iter().flatten();
        files.flatten().any(|file| {
            let file = file.file_name();
            let file = file.to_string_lossy();
            let begins = file.split('.').next() == Some(leaf);
            begins && (file.ends_with(".so") || file.ends_with(".pyd"))
        })
    });
    if of_machine {
        return format!(
            "`{name}` is compiled for this machine, and cannot be in a component: use a package \
             that is Python alone, or one that can do without that module"
        );
    }
    format!(
        "`{name}` is neither beside app.py, nor in the project's .venv, nor in the library of \
         Python as components have it: is it spelled so, or is `.venv/bin/pip install` to do?"
    )
}

/// Where the packages are that are installed in a project.
fn packages_of(project: &Path) -> impl Iterator<Item = PathBuf> {
    VENVS.into_iter().flat_map(move |venv| {
        let libs = fs::read_dir(project.join(venv).join("lib")).into_iter().flatten().flatten();
        let unix = libs.map(|lib| lib.path().join("site-packages"));
        unix.chain([project.join(venv).join("Lib/site-packages")])
    })
}

/// What of an error is about the author's modules: behind the tool's own traceback, and before
/// what the runtime says of itself.
fn of_author(said: &str) -> String {
    let begin = said.find("AssertionError: ").map_or(0, |at| at + "AssertionError: ".len());
    let rest = &said[begin..];
    let end =
        ["\nCaused by:", "\nStack backtrace:"].iter().filter_map(|mark| rest.find(mark)).min();
    let text = rest[..end.unwrap_or(rest.len())].trim_end();
    let mut is_sdk = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = in_project(line).unwrap_or_else(|| line.to_owned());
        // A frame, and its source below it; until the next one, or what was raised.
        if line.starts_with("  File \"") {
            is_sdk = line.starts_with("  File \"cofferdam/");
        } else if !line.starts_with("    ") {
            is_sdk = false;
        }
        if !is_sdk {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// A line of a traceback without the place where the project was mounted, such as `/0`.
fn in_project(line: &str) -> Option<String> {
    let (before, path) = line.split_once("File \"/")?;
    let (mount, inside) = path.split_once('/')?;
    let is_ours = !mount.is_empty() && mount.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| format!("{before}File \"{inside}"))
}

/// Whether a version loses what is emitted, as far as is known.
fn is_to_be_mended(said: &str) -> bool {
    tool::version(said).is_none_or(|version| version < componentize_py::GOOD_FROM)
}

fn mend(made: &Path, numbers_as_bytes: bool) -> Result<(), ToolError> {
    let failed = |reason| ToolError::File { path: made.to_owned(), reason };
    let bytes = fs::read(made).map_err(failed)?;
    let mended = componentize_py::mended(&bytes, numbers_as_bytes)
        .map_err(|error| ToolError::Unfit(format!("componentize-py: {error}")))?;
    fs::write(made, mended).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_nobody_has_looked_at_are_left_alone() {
        for (said, mended) in [
            ("componentize-py 0.25.1\n", true),
            ("componentize-py 0.17.2", true),
            ("componentize-py 0.26.0", false),
            ("componentize-py 1.0.0", false),
        ] {
            assert_eq!(is_to_be_mended(said), mended, "{said}");
        }
    }

    #[test]
    fn a_module_that_is_missing_is_told_with_the_reason() {
        let said = "ImportError: of the C part\nModuleNotFoundError: No module named 'fast.core'";
        assert_eq!(missing_module(said), Some("fast.core"));
        assert_eq!(missing_module("SyntaxError: expected ':'"), None);
        let place = tempfile::tempdir().unwrap();
        let of_fast = place.path().join(".venv/lib/python3.14/site-packages/fast");
        fs::create_dir_all(&of_fast).unwrap();
        fs::write(of_fast.join("core.cpython-314-x86_64-linux-gnu.so"), "").unwrap();
        let shown = |name| why_missing(name, place.path());
        assert!(shown("fast.core").contains("compiled for this machine"));
        assert!(shown("fast.cor").contains("neither beside app.py"));
        assert!(shown("numppy").contains("is it spelled so"));
    }

    #[test]
    fn an_error_is_the_authors_traceback_and_nothing_else() {
        let said = "Traceback (most recent call last):\n  File \"/x/bin/componentize-py\", line 8, \
                    in <module>\nAssertionError: Traceback (most recent call last):\n  File \
                    \"/0/cofferdam/guest.py\", line 29, in <module>\n    import app\n    ^^^^^^\n  File \
                    \"/0/app.py\", line 3, in <module>\n    import numppy\nModuleNotFoundError: No \
                    module named 'numppy'\n\n\nCaused by:\n    ModuleNotFoundError\n\nStack \
                    backtrace:\n   0: <anyhow::Error>::msg";
        assert_eq!(
            of_author(said),
            "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\n    \
             import numppy\nModuleNotFoundError: No module named 'numppy'"
        );
        assert_eq!(of_author("no such world\n"), "no such world");
        assert_eq!(of_author("File \"/usr/lib/x.py\""), "File \"/usr/lib/x.py\"");
    }
}
