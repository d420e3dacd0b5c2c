//! `cofferdam completions` and `cofferdam man`: what a shell and `man` are to know of the command
//! line, made of its definition.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{args::Cli, exit::Exit, terminal};

/// Prints a script for a shell.
pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cofferdam", &mut script);
    terminal::print(&String::from_utf8_lossy(&script)).into()
}

/// Writes a page for each command.
pub(super) fn man(directory: &Path) -> Exit {
    let written = fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    match written {
        Ok(()) => Exit::Success,
        Err(error) => {
            let directory = directory.display();
            terminal::refuse(&format!("cannot write man pages to {directory}: {error}"))
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

    /// The commands that do something, by their whole names.
    fn verbs<'a>(
        command: &'a clap::Command,
        name: &str,
        into: &mut Vec<(String, &'a clap::Command)>,
    ) {
        let below: Vec<_> = command.get_subcommands().filter(|c| !c.is_hide_set()).collect();
        if below.is_empty() {
            into.push((name.to_owned(), command));
        }
        for below in below {
            verbs(below, format!("{name} {}", below.get_name()).trim_start(), into);
        }
    }

    #[test]
    fn every_command_answers_in_json_but_those_that_answer_nothing() {
        let mut command = Cli::command();
        command.build();
        let mut all = Vec::new();
        verbs(&command, "", &mut all);
        all.retain(|(name, _)| !name.split(' ').any(|word| word == "help"));
        let takes = |command: &clap::Command, long: &str| {
            command.get_arguments().any(|argument| argument.get_long() == Some(long))
        };
        let asks = all.iter().filter(|(_, command)| takes(command, "server"));
        let silent: Vec<_> = asks
            .clone()
            .filter(|(_, command)| !takes(command, "json"))
            .map(|(name, _)| name)
            .collect();
        assert!(asks.count() > 40 && silent.is_empty(), "{silent:?}");
        let others: BTreeSet<&str> = all
            .iter()
            .filter(|(_, command)| !takes(command, "json"))
            .map(|(name, _)| name.as_str())
            .collect();
        // What they are for is files, a script, a service, something that is looked at, or its
        // exit code.
        let quiet = ["completions", "config check", "man", "operator dev", "operator new", "serve"];
        assert_eq!(others, BTreeSet::from(quiet));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(man(&dir.path().join("file/man1")), Exit::Usage);
    }
}
