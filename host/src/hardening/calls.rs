//! Seccomp: which system calls are refused.
//!
//! The host has a list of what it may **not** do: what it may do is too many, and
//! changes with the C library, the allocator and wasmtime; a list of that would break
//! jobs on other machines than ours. The compiler's child has a list of what it
//! **may** do: it computes, and that is few.
//!
//! A refused call fails with `EPERM`, as if a right were missing, except for `clone3`:
//! its flags lie in memory where no filter can look, and on `ENOSYS` the C library
//! takes `clone`, whose flags can be seen.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Cmp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use super::Needs;

/// What nothing here needs, and attacks on a kernel are made of. Mostly the sets of
/// that name of systemd's `SystemCallFilter`.
const REFUSED: &[c_long] = &[
    // @mount
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    // Namespaces; those of `clone` see below.
    libc::SYS_setns,
    libc::SYS_unshare,
    // @module
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    // @reboot and @swap
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // @debug: other processes' memory, and measuring the machine
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_lookup_dcookie,
    // @keyring
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // @clock
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // Whole machines inside the kernel. What goes through a ring of `io_uring` passes
    // no filter.
    libc::SYS_bpf,
    // A job that saves guests' memories has made the one that it needs before.
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    // Around the rights of files
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    // The machine's name, log and terminals, and how memory is laid out
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_personality,
    // There is no server in here.
    libc::SYS_listen,
    // @obsolete
    libc::SYS_nfsservctl,
];

/// What only this architecture has: @raw-io, @cpu-emulation, and more that is @obsolete.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    libc::SYS_afs_syscall,
    libc::SYS_tuxcall,
    libc::SYS_security,
    libc::SYS_getpmsg,
    libc::SYS_putpmsg,
    libc::SYS_vserver,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// Flags with which `clone` makes namespaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// What a compiler does: memory, threads, and the descriptors that it has.
const COMPUTING: &[c_long] = &[
    // Descriptors
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ppoll,
    // Memory; `mmap` and `mprotect` see below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_mbind,
    libc::SYS_get_mempolicy,
    // Threads; `clone` see below.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals to itself
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time, random numbers, and who and where it is
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_prctl,
    // For its own limits; `prlimit64` see below.
    libc::SYS_getrlimit,
    // Not refused here, so that the answer of the filter for it is given.
    libc::SYS_clone3,
];

#[cfg(target_arch = "x86_64")]
const COMPUTING_HERE: &[c_long] = &[libc::SYS_poll, libc::SYS_arch_prctl, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const COMPUTING_HERE: &[c_long] = &[];

/// The bits of a socket's type that are no flags.
const SOCKET_TYPES: libc::c_int = 0xf;

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Which sockets can be made, beside pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sockets {
    None,
    Tcp,
    TcpAndUdp,
}

/// Refuses what the host does not need. Returns how many calls that are.
pub(super) fn of_the_host(needs: &Needs) -> Result<usize, String> {
    let sockets = match (&*needs.tcp_ports, needs.looks_up_names) {
        ([], _) => Sockets::None,
        (_, false) => Sockets::Tcp,
        (_, true) => Sockets::TcpAndUdp,
    };
    let rules = refused(sockets).map_err(|error| error.to_string())?;
    let refused = rules.len();
    install(rules, SeccompAction::Allow, errno(libc::EPERM))?;
    refuse_the_unseen()?;
    Ok(refused)
}

/// Refuses all but what a compiler needs. Returns how many calls the host's list has:
/// it is refused more.
pub(super) fn of_the_compiler() -> Result<usize, String> {
    let rules = computing().map_err(|error| error.to_string())?;
    // First: the other filter has no room for a further one.
    refuse_the_unseen()?;
    install(rules, errno(libc::EPERM), SeccompAction::Allow)?;
    Ok(refused(Sockets::None).map_err(|error| error.to_string())?.len())
}

fn refused(sockets: Sockets) -> Result<Rules, BackendError> {
    let mut rules: Rules =
        REFUSED.iter().chain(REFUSED_HERE).map(|number| (*number, Vec::new())).collect();
    let mut namespaces = Vec::new();
    for flag in NAMESPACES {
        let flag = bits(flag);
        namespaces.push(SeccompRule::new(vec![argument(
            0,
            Len::Qword,
            Cmp::MaskedEq(flag),
            flag,
        )?])?);
    }
    rules.insert(libc::SYS_clone, namespaces);
    rules.insert(libc::SYS_socket, refused_sockets(sockets)?);
    let family = argument(0, Len::Dword, Cmp::Ne, bits(libc::AF_UNIX))?;
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![family])?]);
    // Typing into the terminal that it was started from.
    let mut typing = Vec::new();
    for command in [libc::TIOCSTI, libc::TIOCLINUX] {
        #[expect(clippy::useless_conversion, reason = "its type differs between C libraries")]
        let command = u64::from(command);
        typing.push(SeccompRule::new(vec![argument(1, Len::Dword, Cmp::Eq, command)?])?);
    }
    rules.insert(libc::SYS_ioctl, typing);
    Ok(rules)
}

/// Without a rule, all of them.
fn refused_sockets(sockets: Sockets) -> Result<Vec<SeccompRule>, BackendError> {
    let (types, protocols): (&[libc::c_int], &[libc::c_int]) = match sockets {
        Sockets::None => return Ok(Vec::new()),
        Sockets::Tcp => (&[libc::SOCK_STREAM], &[0, libc::IPPROTO_TCP]),
        Sockets::TcpAndUdp => {
            (&[libc::SOCK_STREAM, libc::SOCK_DGRAM], &[0, libc::IPPROTO_TCP, libc::IPPROTO_UDP])
        }
    };
    // Other than all of these.
    let other_than = |index, values: &[libc::c_int]| {
        let each = values.iter().map(|value| argument(index, Len::Dword, Cmp::Ne, bits(*value)));
        SeccompRule::new(each.collect::<Result<_, _>>()?)
    };
    // None to services of this machine, and none to the kernel.
    let mut rules = vec![other_than(0, &[libc::AF_INET, libc::AF_INET6])?];
    // Landlock does not count SCTP and MPTCP as TCP.
    rules.push(other_than(2, protocols)?);
    // Beside the type there are flags, so that each other type is a rule.
    for other in (0..=SOCKET_TYPES).filter(|other| !types.contains(other)) {
        let is = argument(1, Len::Dword, Cmp::MaskedEq(bits(SOCKET_TYPES)), bits(other))?;
        rules.push(SeccompRule::new(vec![is])?);
    }
    Ok(rules)
}

fn computing() -> Result<Rules, BackendError> {
    let mut rules: Rules =
        COMPUTING.iter().chain(COMPUTING_HERE).map(|number| (*number, Vec::new())).collect();
    let only_if = |condition| Ok::<_, BackendError>(vec![SeccompRule::new(vec![condition])?]);
    // It writes code, and does not run it.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let no_code = argument(2, Len::Dword, Cmp::MaskedEq(bits(libc::PROT_EXEC)), 0)?;
        rules.insert(call, only_if(no_code)?);
    }
    // Threads, and neither processes nor namespaces.
    let thread = bits(libc::CLONE_THREAD);
    let looked_at = NAMESPACES.into_iter().map(bits).fold(thread, |all, flag| all | flag);
    let condition = argument(0, Len::Qword, Cmp::MaskedEq(looked_at), thread)?;
    rules.insert(libc::SYS_clone, only_if(condition)?);
    // To abort, and to kill nobody else.
    let own = argument(0, Len::Dword, Cmp::Eq, u64::from(std::process::id()))?;
    rules.insert(libc::SYS_tgkill, only_if(own)?);
    // To read limits, and to set none.
    let read_only = argument(2, Len::Qword, Cmp::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, only_if(read_only)?);
    Ok(rules)
}

/// Calls whose meaning a filter cannot see.
fn refuse_the_unseen() -> Result<(), String> {
    let clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    install(clone3, SeccompAction::Allow, errno(libc::ENOSYS))?;
    if cfg!(target_arch = "x86_64") {
        apply(&refuse_x32())?;
    }
    Ok(())
}

/// Every call of x86-64 has a second number, that of the x32 ABI, which the other
/// filters do not know.
fn refuse_x32() -> BpfProgram {
    const LOAD_WORD: u16 = 0x20;
    const IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const NUMBER: u32 = 0;
    const X32_BIT: u32 = 0x4000_0000;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD_WORD, 0, 0, NUMBER),
        step(IF_AT_LEAST, 0, 1, X32_BIT),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

fn errno(number: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// A flag or constant of C as the filter compares it.
fn bits(constant: libc::c_int) -> u64 {
    u64::from(constant.cast_unsigned())
}

fn argument(
    index: u8,
    len: Len,
    compare: Cmp,
    with: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, len, compare, with)
}

fn install(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<(), String> {
    let program = TargetArch::try_from(std::env::consts::ARCH)
        .and_then(|arch| SeccompFilter::new(rules, others, these, arch))
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())?;
    apply(&program)
}

fn apply(program: &BpfProgram) -> Result<(), String> {
    seccompiler::apply_filter(program).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_may_do_nothing_that_the_host_may_not() {
        let (refused, allowed) = (refused(Sockets::None).unwrap(), computing().unwrap());
        let both: Vec<_> = allowed.keys().filter(|call| refused.contains_key(call)).collect();
        // Of this one each has a rule about other flags.
        assert_eq!(both, [&libc::SYS_clone]);
    }

    #[test]
    fn no_call_is_listed_twice() {
        let (refused, allowed) = (refused(Sockets::None).unwrap(), computing().unwrap());
        assert_eq!(refused.len(), REFUSED.len() + REFUSED_HERE.len() + 4);
        assert_eq!(allowed.len(), COMPUTING.len() + COMPUTING_HERE.len() + 5);
    }

    #[test]
    fn all_lists_become_programs() {
        let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        for (rules, others, these) in [
            (refused(Sockets::None).unwrap(), SeccompAction::Allow, errno(libc::EPERM)),
            (refused(Sockets::Tcp).unwrap(), SeccompAction::Allow, errno(libc::EPERM)),
            (refused(Sockets::TcpAndUdp).unwrap(), SeccompAction::Allow, errno(libc::EPERM)),
            (computing().unwrap(), errno(libc::EPERM), SeccompAction::Allow),
        ] {
            let filter = SeccompFilter::new(rules, others, these, arch).unwrap();
            // As many as the kernel takes.
            assert!(BpfProgram::try_from(filter).unwrap().len() < 4096);
        }
    }
}
