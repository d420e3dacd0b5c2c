//! The programs of a language: found in the project, then where the system has them; run with
//! what they say going to standard error; and told in one line what to install where one is
//! missing.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where projects keep programs of their own.
const IN_PROJECT: [&str; 3] = ["node_modules/.bin", ".venv/bin", "venv/bin"];

/// Why a language's tools did not make a module.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is no such program.
    #[error("{what} is not installed; install it with: {install}")]
    Missing {
        /// What is needed.
        what: String,
        /// One line that installs it.
        install: String,
    },
    /// It is there, and does not do.
    #[error("{0}")]
    Unfit(String),
    /// It ran, and failed; it has said why.
    #[error("`{command}` failed ({status}): what it said stands above")]
    Failed {
        /// As one would type it.
        command: String,
        /// How it ended.
        status: String,
    },
    /// It does not start.
    #[error("cannot run `{command}`: {reason}")]
    NotRun {
        /// As one would type it.
        command: String,
        /// What the system said.
        #[source]
        reason: io::Error,
    },
    /// It succeeded, and made nothing.
    #[error("the build went well, but made no {}", path.display())]
    NotMade {
        /// What it should have made.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        reason: io::Error,
    },
}

/// Finds and runs programs for one project.
#[derive(Debug, Clone, Copy)]
pub struct Tools<'a> {
    dir: &'a Path,
}

impl<'a> Tools<'a> {
    /// Those of the project in a folder.
    #[must_use]
    pub fn of(dir: &'a Path) -> Self {
        Self { dir }
    }

    /// The first of some programs that is there: in the project, then on `PATH`.
    #[must_use]
    pub fn find(&self, names: &[&str]) -> Option<PathBuf> {
        let inside = IN_PROJECT.iter().map(|folder| self.dir.join(folder));
        let path = env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = inside.chain(env::split_paths(&path)).collect();
        names.iter().find_map(|name| {
            folders.iter().map(|folder| folder.join(name)).find(|file| is_program(file))
        })
    }

    /// The same, or what to install.
    ///
    /// # Errors
    /// If none of them is there.
    pub fn need(&self, names: &[&str], what: &str, install: &str) -> Result<PathBuf, ToolError> {
        self.find(names).ok_or_else(|| ToolError::Missing {
            what: what.to_owned(),
            install: install.to_owned(),
        })
    }

    /// A program that is to be run in the project's folder.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir);
        command
    }

    /// Runs it to its end. What it says goes to standard error: standard output is for answers.
    ///
    /// # Errors
    /// If it does not start, or fails.
    pub fn run(&self, command: &mut Command) -> Result<(), ToolError> {
        let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
        let status =
            status.map_err(|reason| ToolError::NotRun { command: shown(command), reason })?;
        if status.success() {
            return Ok(());
        }
        Err(ToolError::Failed { command: shown(command), status: status.to_string() })
    }

    /// Runs it, and takes what it says on standard output.
    ///
    /// # Errors
    /// If it does not start, or fails.
    pub fn ask(&self, command: &mut Command) -> Result<String, ToolError> {
        let said = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
        let said = said.map_err(|reason| ToolError::NotRun { command: shown(command), reason })?;
        if !said.status.success() {
            let status = said.status.to_string();
            return Err(ToolError::Failed { command: shown(command), status });
        }
        Ok(String::from_utf8_lossy(&said.stdout).into_owned())
    }

    /// That a build has made what it should have.
    ///
    /// # Errors
    /// If not.
    pub fn made(&self, path: PathBuf) -> Result<PathBuf, ToolError> {
        if path.is_file() { Ok(path) } else { Err(ToolError::NotMade { path }) }
    }

    /// Runs what makes a file of the project's, and gives its path. What an earlier build has left
    /// there is not taken for what this one made.
    ///
    /// # Errors
    /// If it does not start, fails, or makes no such file.
    pub fn make(&self, command: &mut Command, file: &Path) -> Result<PathBuf, ToolError> {
        let path = self.dir.join(file);
        let _ = std::fs::remove_file(&path);
        self.run(command)?;
        self.made(path)
    }

    /// A folder below the project's, made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn folder(&self, inside: &str) -> Result<PathBuf, ToolError> {
        let path = self.dir.join(inside);
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(reason) => Err(ToolError::File { path, reason }),
        }
    }
}

/// The major and the minor number of a version, such as `0.17.1`, `1.0-rc.2` or `tool 0.25.1`.
#[must_use]
pub fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_whitespace().last()?.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// As one would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_the_project_goes_before_one_of_the_system() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let tools = Tools::of(dir.path());
        let systems = tools.find(&["sh"]).unwrap();
        let ours = dir.path().join("node_modules/.bin/sh");
        std::fs::create_dir_all(ours.parent().unwrap()).unwrap();
        std::fs::write(&ours, "").unwrap();
        assert_eq!(tools.find(&["sh"]).unwrap(), systems, "it cannot be run");
        std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(tools.find(&["sh"]).unwrap(), ours);
        let error = tools.need(&["no-such-program"], "a thing", "get it").unwrap_err();
        assert_eq!(error.to_string(), "a thing is not installed; install it with: get it");
    }

    #[test]
    fn versions_are_read_as_numbers() {
        for (said, read) in [
            ("0.17.1\n", Some((0, 17))),
            ("0.18.0-dev.12+abc", Some((0, 18))),
            ("1.0-rc.2", Some((1, 0))),
            ("componentize-py 0.25.1\n", Some((0, 25))),
            ("", None),
            ("zig", None),
            ("1", None),
        ] {
            assert_eq!(version(said), read, "{said}");
        }
    }

    #[test]
    fn what_an_earlier_build_left_is_not_what_this_one_made() {
        let dir = tempfile::tempdir().unwrap();
        let (tools, file) = (Tools::of(dir.path()), Path::new("made"));
        std::fs::write(dir.path().join(file), "old").unwrap();
        let error = tools.make(&mut tools.command("true"), file).unwrap_err();
        assert!(matches!(error, ToolError::NotMade { .. }), "{error}");
        let made = tools.make(tools.command("sh").args(["-c", "echo new > made"]), file).unwrap();
        assert_eq!(std::fs::read_to_string(made).unwrap(), "new\n");
    }

    #[test]
    fn a_program_that_fails_is_told_with_its_command() {
        let dir = tempfile::tempdir().unwrap();
        let tools = Tools::of(dir.path());
        let error = tools.run(tools.command("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(error.to_string().contains("`sh -c exit 3` failed (exit status: 3)"), "{error}");
        assert_eq!(tools.ask(tools.command("sh").args(["-c", "echo x"])).unwrap(), "x\n");
    }
}
