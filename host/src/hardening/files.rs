//! Landlock: which files may be opened, and how; which TCP ports may be connected to;
//! no signals to processes outside. What is open already, such as standard input, stays open.
//!
//! A rule is for what lies under a path when the rule is made, not for the path: a
//! directory's goes for all that is ever put into it, a file's not for another file
//! that takes its place.

use std::{fs, path::PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, make_bitflags,
    path_beneath_rules,
};

use super::Needs;

/// The newest version whose rights are asked for. An older kernel limits what it knows.
const NEWEST: ABI = ABI::V6;
/// The oldest version that counts as Landlock: with it, no file is cut off unasked.
const OLDEST: u32 = 3;
/// The oldest version that limits TCP ports.
const OLDEST_WITH_PORTS: u32 = 4;

/// What the runtime reads whatever the job is: how much of the machine it may use,
/// and where its own code and stack lie.
const OF_THE_RUNTIME: [&str; 5] = [
    "/proc/self",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    "/sys/fs/cgroup",
    "/dev/urandom",
];
/// What a program reads before its `main`, beside the files that it consists of.
const OF_THE_LOADER: [&str; 2] = ["/etc/ld.so.cache", "/etc/ld.so.preload"];

/// What the C library reads to look up the name of a host.
const OF_NAMES: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];
/// The port of name servers: an answer that is long comes by TCP.
const DNS: u16 = 53;

/// Landlock is in force.
pub(super) struct InForce {
    /// Of this version.
    pub(super) version: u32,
    /// The only ports that can be connected to, if any can.
    pub(super) tcp_ports: Vec<u16>,
    /// What it does not cover.
    pub(super) missing: Vec<String>,
}

/// Allows what is needed.
pub(super) fn limit(needs: &Needs) -> Result<InForce, String> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // Of all that can be done to files only what the host does: no devices, pipes,
    // sockets or links.
    let write = read
        | make_bitflags!(AccessFs::{
            WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
        });
    let mut ports = needs.tcp_ports.clone();
    if needs.looks_up_names {
        ports.push(DNS);
    }
    ports.sort_unstable();
    ports.dedup();
    let of_ports =
        ports.iter().map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    let mut in_force = enforce(|mut rules| {
        let allow = |rules: RulesetCreated, paths: &[PathBuf], access: BitFlags<AccessFs>| {
            rules.add_rules(path_beneath_rules(paths, access))
        };
        rules = allow(rules, &OF_THE_RUNTIME.map(PathBuf::from), read)?;
        rules = allow(rules, &["/dev/null".into()], AccessFs::ReadFile | AccessFs::WriteFile)?;
        rules = allow(rules, &needs.read, read)?;
        rules = allow(rules, &needs.list, AccessFs::ReadDir.into())?;
        rules = allow(rules, &needs.write, write)?;
        rules = rules.add_rules(of_ports)?;
        if needs.looks_up_names {
            rules = allow(rules, &OF_NAMES.map(PathBuf::from), AccessFs::ReadFile.into())?;
        }
        if needs.starts_itself {
            let run = AccessFs::ReadFile | AccessFs::Execute;
            rules = allow(rules, &own_code(), run)?;
            rules = allow(rules, &OF_THE_LOADER.map(PathBuf::from), AccessFs::ReadFile.into())?;
        }
        Ok(rules)
    })?;
    if ports.is_empty() || in_force.version >= OLDEST_WITH_PORTS {
        in_force.tcp_ports = ports;
    } else {
        let version = in_force.version;
        in_force.missing.push(format!("Landlock {version} does not limit TCP ports"));
    }
    Ok(in_force)
}

/// Allows nothing.
pub(super) fn forbid() -> Result<InForce, String> {
    enforce(Ok)
}

fn enforce(
    allow: impl FnOnce(RulesetCreated) -> Result<RulesetCreated, RulesetError>,
) -> Result<InForce, String> {
    let enforced = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(allow)
        .and_then(RulesetCreated::restrict_self)
        .map_err(|error| error.to_string())?;
    let version = match enforced.landlock {
        LandlockStatus::NotImplemented => return Err("the kernel has no Landlock".to_owned()),
        LandlockStatus::NotEnabled => {
            return Err("Landlock is not enabled in the kernel (boot option `lsm=`)".to_owned());
        }
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            let kernel = kernel_abi.and_then(|version| u32::try_from(version).ok());
            kernel.unwrap_or(effective_abi as u32)
        }
    };
    if enforced.ruleset == RulesetStatus::NotEnforced {
        return Err("the kernel does not enforce it".to_owned());
    }
    let missing = (version < OLDEST)
        .then(|| format!("Landlock {version} does not keep files from being cut off"));
    Ok(InForce { version, tcp_ports: Vec::new(), missing: missing.into_iter().collect() })
}

/// The program and the libraries that it was linked with, wherever they lie: what
/// is mapped into this process as code. The program is named by the file that runs,
/// even if another lies under its name by now.
fn own_code() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut files = code_in(&maps);
    files.push("/proc/self/exe".into());
    files
}

/// The paths of executable mappings, each once.
fn code_in(maps: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| {
            // Address, rights, offset, device, inode, path.
            let rights = line.split_ascii_whitespace().nth(1)?;
            let path = line.get(line.find('/')?..)?;
            rights.contains('x').then(|| PathBuf::from(path))
        })
        .collect();
    files.sort();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_code_is_what_is_mapped_as_code() {
        let maps = "\
55d0-55d1 r--p 00000000 fe:00 1 /opt/my programs/cofferdam
55d1-55d2 r-xp 00001000 fe:00 1 /opt/my programs/cofferdam
7f00-7f01 r-xp 00000000 fe:00 2 /usr/lib/libc.so.6
7f01-7f02 r-xp 00002000 fe:00 2 /usr/lib/libc.so.6
7f02-7f03 rw-p 00003000 fe:00 3 /home/somebody/data
7f03-7f04 rwxp 00000000 00:00 0
7ffe-7fff r-xp 00000000 00:00 0 [vdso]
";
        let expected = ["/opt/my programs/cofferdam", "/usr/lib/libc.so.6"].map(PathBuf::from);
        assert_eq!(code_in(maps), expected);
        assert!(own_code().contains(&std::env::current_exe().unwrap()));
    }
}
