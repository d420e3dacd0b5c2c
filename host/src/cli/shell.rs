//! `cofferdam completions` and `cofferdam man`: what a shell and `man` are to know of the command
//! line, made of its definition.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{args::Cli, exit::Exit, terminal};

/// Prints a script for a shell.
pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cofferdam", &mut script);
    match io::stdout().lock().write_all(&script) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            terminal::say(&format!("error: cannot print: {error}"));
            Exit::Usage
        }
        _ => Exit::Success,
    }
}

/// Writes a page for each command.
pub(super) fn man(directory: &Path) -> Exit {
    let written = fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    match written {
        Ok(()) => Exit::Success,
        Err(error) => {
            let directory = directory.display();
            terminal::say(&format!("error: cannot write man pages to {directory}: {error}"));
            Exit::Usage
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pages(command: &clap::Command, name: &str, into: &mut BTreeSet<String>) {
        into.insert(format!("{name}.1"));
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            pages(below, &format!("{name}-{}", below.get_name()), into);
        }
    }

    #[test]
    fn each_command_has_a_page_and_what_is_hidden_has_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(man(&dir.path().join("man1")), Exit::Success);
        let mut expected = BTreeSet::new();
        pages(&Cli::command(), "cofferdam", &mut expected);
        let found = fs::read_dir(dir.path().join("man1")).unwrap();
        let found: BTreeSet<String> =
            found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        // `help` is a command, too, of clap's own.
        let found: BTreeSet<_> = found.into_iter().filter(|name| !name.contains("-help")).collect();
        assert_eq!(found, expected);
        let page = fs::read_to_string(dir.path().join("man1/cofferdam-job-submit.1")).unwrap();
        assert!(page.contains(".TH cofferdam-job-submit 1"), "{page}");
        assert!(page.contains("job submit job.toml"), "its examples: {page}");
        assert!(!dir.path().join("man1/cofferdam-compile-artifact.1").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(man(&dir.path().join("file/man1")), Exit::Usage);
    }
}
