//! A process that hardens itself as it is told, tries what an attacker would, and
//! prints what came of each: `NAME<tab>ok`, or the error's number. What has to come
//! of it stands in `tests/hardening.rs`. It is a program since hardening binds a
//! whole process, before it has other threads.

#![expect(unsafe_code, reason = "system calls that no library makes, to see them refused")]
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::{
    fs,
    io::{self, Read as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    ptr::null,
};

use cofferdam::hardening::{self, Mode, Needs};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [role, dir, ports @ ..] = &words[..] else { return };
    // One that it may connect to, if any, and one that it may not.
    let ports: Vec<u16> = ports.iter().filter_map(|port| port.parse().ok()).collect();
    let dir = Path::new(dir);
    // Opened before: it stays open.
    let before = fs::File::open(dir.join("secret.txt"));
    match *role {
        "nothing" => {}
        "compiler" => {
            let report = hardening::confine_compiler(Mode::On).expect("this kernel has all of it");
            println!("report\t{report}");
        }
        _ => {
            let mode = if *role == "open" { Mode::Off } else { Mode::On };
            let sends = ["sender", "sender to an address"].contains(role);
            let needs = Needs {
                read: vec![dir.join("in.txt"), dir.join("folder")],
                list: vec![dir.join("listed")],
                write: vec![dir.join("out"), dir.join("is not there")],
                starts_itself: true,
                tcp_ports: ports.iter().copied().take(usize::from(sends)).collect(),
                looks_up_names: *role == "sender",
            };
            let report = hardening::apply(mode, &needs).expect("this kernel has all of it");
            println!("report\t{report}");
        }
    }
    if *role != "nothing" {
        try_files(dir, before);
        try_processes();
        try_sockets(&ports);
        try_calls();
    }
}

fn told<T>(name: &str, result: io::Result<T>) {
    match result {
        Ok(_) => println!("{name}\tok"),
        Err(error) => println!("{name}\t{}", error.raw_os_error().unwrap_or_default()),
    }
}

fn try_files(dir: &Path, before: io::Result<fs::File>) {
    let at = |name: &str| dir.join(name);
    told("read what was open", before.and_then(|mut file| file.read_to_end(&mut Vec::new())));
    told("read an input", fs::read(at("in.txt")));
    told("read in a folder", fs::read(at("folder/below/a.txt")));
    told("read through a link in a folder", fs::read(at("folder/link")));
    told("read through dots", fs::read(at("folder/../secret.txt")));
    told("read beside", fs::read(at("secret.txt")));
    told("read the system's", fs::read("/etc/passwd"));
    told("read another process's", fs::read("/proc/1/cmdline"));
    told("read its own", fs::read("/proc/self/status"));
    told("list", fs::read_dir(at("listed")));
    told("read what is listed", fs::read(at("listed/a.txt")));
    told("list beside", fs::read_dir(dir));
    told("write an input", fs::OpenOptions::new().write(true).open(at("in.txt")));
    told("write in a folder", fs::write(at("folder/new"), "x"));
    told("make an output", fs::write(at("out/part"), "x"));
    told("rename an output", fs::rename(at("out/part"), at("out/whole")));
    told("cut an output", fs::OpenOptions::new().write(true).truncate(true).open(at("out/whole")));
    told("make a folder for outputs", fs::create_dir_all(at("out/more/of/it")));
    told("rename between folders", fs::rename(at("out/whole"), at("out/more/whole")));
    told("link an output", std::os::unix::fs::symlink("/etc/passwd", at("out/link")));
    told("move an output away", fs::rename(at("out/more/whole"), at("folder/whole")));
    told("delete an output", fs::remove_file(at("out/more/whole")));
    told("delete an input", fs::remove_file(at("in.txt")));
    told("write beside", fs::write(at("new"), "x"));
    told("write to nothing", fs::write("/dev/null", "x"));
}

fn try_processes() {
    let thread = std::thread::Builder::new().spawn(|| vec![1_u8; 1 << 22].len());
    told("start a thread", thread.map(std::thread::JoinHandle::join));
    told("start itself", Command::new("/proc/self/exe").arg("nothing").status());
    told("start a program", Command::new("/bin/true").status());
    // SAFETY: no memory is touched; the signal is none.
    told("signal its parent", called(|| unsafe { libc::kill(libc::getppid(), 0) }.into()));
    // SAFETY: the child does nothing but end.
    told(
        "fork",
        called(|| unsafe {
            match libc::fork() {
                0 => libc::_exit(0),
                child => child.into(),
            }
        }),
    );
}

fn try_sockets(ports: &[u16]) {
    told("pair of sockets", UnixStream::pair());
    told("socket of the system's", UnixStream::connect("/nowhere"));
    told("socket of TCP", TcpListener::bind("127.0.0.1:0"));
    if let [granted, other] = ports {
        told("connect to the port", TcpStream::connect(("127.0.0.1", *granted)));
        told("connect to another port", TcpStream::connect(("127.0.0.1", *other)));
    }
    told("socket of UDP", UdpSocket::bind("127.0.0.1:0"));
    told("read the names of hosts", fs::read("/etc/hosts"));
    let socket = |family, kind, protocol| {
        // SAFETY: it takes numbers.
        called(|| unsafe { libc::socket(family, kind, protocol) }.into())
    };
    told("socket that is raw", socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP));
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    told("socket of packets", socket(libc::AF_INET, libc::SOCK_SEQPACKET | flags, 0));
    told("socket of MPTCP", socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP));
    told("socket of ICMP", socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP));
    told("socket to the kernel", socket(libc::AF_NETLINK, libc::SOCK_RAW, 0));
    told("socket of files", socket(libc::AF_UNIX, libc::SOCK_STREAM, 0));
}

/// Arguments that make no sense: without a filter each is refused for that.
fn try_calls() {
    let none = null::<u8>();
    for (name, number) in [
        ("mount", libc::SYS_mount),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("bpf", libc::SYS_bpf),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("keyctl", libc::SYS_keyctl),
        ("chroot", libc::SYS_chroot),
        ("clone3", libc::SYS_clone3),
        ("a call of x32", libc::SYS_getpid | 0x4000_0000),
    ] {
        // SAFETY: the kernel checks arguments, and these are null or too large.
        told(name, called(|| unsafe { libc::syscall(number, -1_i64, none, 0, none, 0) }));
    }
    // SAFETY: as above.
    told(
        "clone with a namespace",
        called(|| unsafe {
            let flags = i64::from(libc::CLONE_NEWUSER | libc::CLONE_THREAD);
            libc::syscall(libc::SYS_clone, flags, none, none, none, none)
        }),
    );
    // SAFETY: what it would read is a byte of ours.
    told(
        "type into the terminal",
        called(|| unsafe { libc::ioctl(0, libc::TIOCSTI, b"x".as_ptr()).into() }),
    );
    // SAFETY: a new mapping touches no memory that is in use.
    told(
        "map code",
        called(|| unsafe {
            let rights = libc::PROT_READ | libc::PROT_EXEC;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), 4096, rights, flags, -1, 0) as i64
        }),
    );
}

fn called(call: impl FnOnce() -> i64) -> io::Result<i64> {
    match call() {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}
