//! Defence in depth: what a process that has been hardened can still do, and what it
//! cannot. That jobs still run with all that they need is shown by all other tests,
//! which run the program hardened.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{collections::BTreeMap, fs, net::TcpListener, os::unix::fs::symlink, process::Command};

use cofferdam_tests::{Place, probe};
use rustix::io::Errno;

/// What came of each attempt of a process in this role.
struct Tried(BTreeMap<String, String>);

impl Tried {
    fn as_role(role: &str) -> Self {
        let place = Place::new();
        for dir in ["folder/below", "listed", "out"] {
            fs::create_dir_all(place.path(dir)).unwrap();
        }
        for file in ["in.txt", "secret.txt", "folder/below/a.txt", "listed/a.txt"] {
            place.write(file, "x");
        }
        symlink(place.path("secret.txt"), place.path("folder/link")).unwrap();
        // Both are listened to; one may be connected to.
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = listeners.each_ref().map(|l| l.local_addr().unwrap().port().to_string());
        let ended =
            Command::new(probe()).arg(role).arg(place.path("")).args(ports).output().unwrap();
        let text = String::from_utf8(ended.stdout).unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success(), "{}\n{said}\n{text}", ended.status);
        let lines = text.lines().map(|line| line.split_once('\t').unwrap());
        Self(lines.map(|(name, result)| (name.to_owned(), result.to_owned())).collect())
    }

    fn all(&self, attempts: &[&str], expected: &str) {
        for attempt in attempts {
            let came = self.0.get(*attempt).unwrap_or_else(|| panic!("`{attempt}` was not tried"));
            assert_eq!(came, expected, "{attempt}: {:?}", self.0);
        }
    }

    fn work(&self, attempts: &[&str]) {
        self.all(attempts, "ok");
    }

    fn fail(&self, attempts: &[&str], error: Errno) {
        self.all(attempts, &error.raw_os_error().to_string());
    }
}

const CALLS: [&str; 12] = [
    "mount",
    "ptrace",
    "process_vm_readv",
    "unshare",
    "setns",
    "bpf",
    "io_uring_setup",
    "keyctl",
    "chroot",
    "a call of x32",
    "clone with a namespace",
    "type into the terminal",
];

#[test]
fn a_hardened_host_opens_nothing_but_what_the_job_needs() {
    let host = Tried::as_role("host");
    host.work(&["read what was open", "read an input", "read in a folder", "read its own", "list"]);
    host.fail(
        &[
            "read through a link in a folder",
            "read through dots",
            "read beside",
            "read the system's",
            "read another process's",
            "read what is listed",
            "list beside",
        ],
        Errno::ACCESS,
    );
}

#[test]
fn a_hardened_host_writes_only_where_outputs_go() {
    let host = Tried::as_role("host");
    host.work(&[
        "make an output",
        "rename an output",
        "cut an output",
        "make a folder for outputs",
        "rename between folders",
        "delete an output",
        "write to nothing",
    ]);
    host.fail(
        &[
            "write an input",
            "write in a folder",
            "link an output",
            "delete an input",
            "write beside",
        ],
        Errno::ACCESS,
    );
    // To another directory, that is another device to it.
    host.fail(&["move an output away"], Errno::ACCESS);
}

#[test]
fn a_hardened_host_starts_threads_and_itself_and_no_other_program() {
    let host = Tried::as_role("host");
    host.work(&["start a thread", "start itself", "map code", "fork"]);
    host.fail(&["start a program"], Errno::ACCESS);
    host.fail(&["signal its parent"], Errno::PERM);
}

#[test]
fn a_hardened_host_has_no_network_and_none_of_the_calls_that_attack_a_kernel() {
    let host = Tried::as_role("host");
    host.work(&["pair of sockets"]);
    host.fail(&["socket of the system's", "socket of TCP", "socket of UDP"], Errno::PERM);
    host.fail(&["connect to the port", "connect to another port"], Errno::PERM);
    host.fail(&OTHER_SOCKETS, Errno::PERM);
    host.fail(&["read the names of hosts"], Errno::ACCESS);
    host.fail(&CALLS, Errno::PERM);
    // So that the C library takes the call whose flags can be seen.
    host.fail(&["clone3"], Errno::NOSYS);
}

const OTHER_SOCKETS: [&str; 6] = [
    "socket that is raw",
    "socket of packets",
    "socket of MPTCP",
    "socket of ICMP",
    "socket to the kernel",
    "socket of files",
];

#[test]
fn a_hardened_host_whose_job_sends_requests_connects_to_their_ports_and_no_other() {
    for (role, looks_up_names) in [("sender", true), ("sender to an address", false)] {
        let sender = Tried::as_role(role);
        sender.work(&["connect to the port"]);
        sender.fail(&["connect to another port"], Errno::ACCESS);
        // It is made, and bound to no port: nobody connects to it.
        sender.fail(&["socket of TCP"], Errno::ACCESS);
        sender.fail(&OTHER_SOCKETS, Errno::PERM);
        sender.fail(&["read the system's", "read beside"], Errno::ACCESS);
        if looks_up_names {
            sender.work(&["socket of UDP", "read the names of hosts"]);
        } else {
            sender.fail(&["socket of UDP"], Errno::PERM);
            sender.fail(&["read the names of hosts"], Errno::ACCESS);
        }
        sender.fail(&CALLS, Errno::PERM);
    }
}

#[test]
fn the_compilers_child_has_its_pipes_and_memory_and_nothing_else() {
    let child = Tried::as_role("compiler");
    child.work(&["read what was open", "start a thread"]);
    for attempt in [
        "read an input",
        "read in a folder",
        "read beside",
        "read its own",
        "read the system's",
        "list",
        "make an output",
        "write to nothing",
        "start itself",
        "start a program",
        "fork",
        "signal its parent",
        "pair of sockets",
        "socket of TCP",
        "connect to the port",
        "socket of UDP",
        "map code",
    ] {
        child.fail(&[attempt], Errno::PERM);
    }
    child.fail(&CALLS, Errno::PERM);
    child.fail(&["clone3"], Errno::NOSYS);
}

#[test]
fn without_hardening_the_same_attempts_are_answered_otherwise() {
    let open = Tried::as_role("open");
    open.work(&[
        "read beside",
        "read the system's",
        "read what is listed",
        "write an input",
        "write beside",
        "link an output",
        "start a program",
        "signal its parent",
        "socket of TCP",
        "connect to the port",
        "connect to another port",
        "socket of UDP",
        "read the names of hosts",
        "socket to the kernel",
        "socket of files",
        "map code",
    ]);
    for attempt in ["ptrace", "process_vm_readv", "setns", "clone3", "socket of the system's"] {
        assert_ne!(open.0[attempt], Errno::PERM.raw_os_error().to_string(), "{attempt}");
    }
}

const JOB: &str = "
[job]\nname = 'j'
[[source]]\nname = 'in'\nconnector = 'lines'\npath = 'in.txt'
[[operator]]\nname = 'op'\nartifact = 'identity'\ninput = 'in'
[[sink]]\nname = 'out'\ninput = 'op'\nconnector = 'lines'\npath = 'made/for/it.txt'\n";

#[test]
fn a_run_says_how_it_was_hardened() {
    let place = Place::new();
    place.write("in.txt", "a\nb\n");
    for (mode, new_privileges) in [("auto", true), ("on", true), ("off", false)] {
        let ended = place.run_job(JOB, &["--hardening", mode]).finished();
        let report = &ended.summary["hardening"];
        assert_eq!(
            (&report["mode"], &report["no_new_privileges"]),
            (&mode.into(), &new_privileges.into())
        );
        assert_eq!(report["landlock"].is_number(), new_privileges, "{report}");
        assert_eq!(report["missing"], serde_json::json!([]));
        assert_eq!(place.lines("made/for/it.txt"), ["a", "b"]);
    }
    // A person reads it in one line.
    let mut program = cofferdam_tests::program();
    let ended = program.current_dir(place.path("")).args(["run", "job.toml"]).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let line = said.lines().next().unwrap();
    assert!(
        line.starts_with("hardening: no new privileges, ") && line.contains("seccomp"),
        "{said}"
    );
}

#[test]
fn operators_are_compiled_and_kept_by_a_hardened_program() {
    let place = Place::new();
    place.write("in.txt", "a\n");
    place.write("job.toml", JOB);
    // A cache that is not there yet: the compiler's child has to do its work.
    for command in [&["job", "check", "job.toml"][..], &["run", "job.toml", "--json"]] {
        let mut program = cofferdam_tests::program();
        program.env("XDG_CACHE_HOME", place.path("cache")).current_dir(place.path(""));
        let ended = program.args(command).args(["--hardening", "on"]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success() && !said.contains("cache"), "{said}");
    }
    let kept = fs::read_dir(place.path("cache/cofferdam/compiled")).unwrap().flatten();
    assert_eq!(kept.map(|dir| fs::read_dir(dir.path()).unwrap().count()).sum::<usize>(), 1);
}
