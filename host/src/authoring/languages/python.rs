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
        tool::{ToolError, Tools},
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
    let made = tools.folder(BUILD)?.join("python.wasm");
    let mut command = tools.command(program);
    command
        .args(["--quiet", "--wit-path", "cofferdam/wit", "--world", project.world.word()])
        .args(["componentize", "--python-path", ".", "--stub-wasi", "--output"])
        .arg(&made)
        // The SDK's half that imports `app`.
        .arg("cofferdam.guest")
        .env("RUST_BACKTRACE", "0");
    // Packages of pure Python that are installed in the project are found.
    if let Some(venv) = VENVS.iter().map(|name| project.dir.join(name)).find(|venv| venv.is_dir()) {
        command.env("VIRTUAL_ENV", venv);
    }
    run(&mut command, &made)?;
    if is_to_be_mended(&version) {
        mend(&made)?;
    }
    tools.made(made)
}

/// Runs it; what it says of a failure is cut to what an author can use.
fn run(command: &mut Command, made: &Path) -> Result<(), ToolError> {
    // What an earlier build has left must not be taken for what this one made.
    let _ = fs::remove_file(made);
    let said = command.stdin(Stdio::null()).output();
    let said =
        said.map_err(|reason| ToolError::NotRun { command: "componentize-py".to_owned(), reason })?;
    if said.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&said.stderr);
    Err(ToolError::Unfit(format!("app.py cannot be built:\n{}", of_author(&text))))
}

/// What of an error is about the author's modules: behind the tool's own traceback, and before
/// what the runtime says of itself.
fn of_author(said: &str) -> String {
    let begin = said.find("AssertionError: ").map_or(0, |at| at + "AssertionError: ".len());
    let rest = &said[begin..];
    let end =
        ["\nCaused by:", "\nStack backtrace:"].iter().filter_map(|mark| rest.find(mark)).min();
    let text = rest[..end.unwrap_or(rest.len())].trim_end();
    text.lines()
        .map(|line| in_project(line).unwrap_or_else(|| line.to_owned()))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A line of a traceback without the place where the project was mounted, such as `/0`.
fn in_project(line: &str) -> Option<String> {
    let (before, path) = line.split_once("File \"/")?;
    let (mount, inside) = path.split_once('/')?;
    let is_ours = !mount.is_empty() && mount.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| format!("{before}File \"{inside}"))
}

/// Whether a version loses what is emitted, as far as is known.
fn is_to_be_mended(version: &str) -> bool {
    let number = version.split_whitespace().last().unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < componentize_py::GOOD_FROM
}

fn mend(made: &Path) -> Result<(), ToolError> {
    let failed = |reason| ToolError::File { path: made.to_owned(), reason };
    let bytes = fs::read(made).map_err(failed)?;
    let mended = componentize_py::mended(&bytes)
        .map_err(|error| ToolError::Unfit(format!("componentize-py made no component: {error}")))?;
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
    fn an_error_is_the_authors_traceback_and_nothing_else() {
        let said = "Traceback (most recent call last):\n  File \"/x/bin/componentize-py\", line 8, \
                    in <module>\nAssertionError: Traceback (most recent call last):\n  File \
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
