//! Faults that the kernel is made to have: system calls that fail by `strace`, networks of a test's own.
//!
//! Where a tool or a permission is missing, each says so on standard error and gives `None`.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Instant;

use crate::harness::{Directory, Lines, Server, is_installed, onepoll};

/// `strace` on a server: it notes system calls, and has some of them fail.
pub struct Strace {
    process: Child,
    messages: Lines<ChildStderr>,
    log: PathBuf,
    _directory: Directory,
}

impl Strace {
    /// Notes the system calls `traced` (comma-separated) of the server's one thread from now on, and tampers with
    /// them as each of `inject` says (strace(1), `inject=`). That has to be over before [`Strace::detach`]: a call
    /// that is being tampered with at that moment fails as one that does not exist (ENOSYS).
    pub fn attach(server: &Server, traced: &str, inject: &[&str]) -> Option<Strace> {
        if !is_installed("strace") {
            return None;
        }
        let directory = Directory::new();
        let log = directory.file("calls");
        let mut command = Command::new("strace");
        command.arg("-o").arg(&log).args(["-p", &server.pid().as_raw_nonzero().to_string()]);
        command.args(["-s", "256", "-e", &format!("trace={traced}")]);
        for what in inject {
            command.args(["-e", &format!("inject={what}")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it is installed");
        let messages = Lines::new(process.stderr.take().expect("piped"));
        let mut strace = Strace { process, messages, log, _directory: directory };
        // From this line on the next call that the server begins is a traced one.
        let line = strace.messages.line();
        if line.contains("attached") {
            return Some(strace);
        }
        assert!(line.contains("not permitted"), "{line}");
        eprintln!("skipped: {line}");
        None
    }

    /// Lets go of the server; returns the calls that were noted, one a line.
    pub fn detach(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("our own child");
        self.messages.rest();
        self.process.wait().expect("our own child");
        let log = std::fs::read_to_string(&self.log).expect("strace wrote it");
        log.lines().map(String::from).collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `onepoll` with these arguments, under `strace` with these options from its first system call on. The server
/// is the child, and `strace` its grandchild, which ends with it.
pub fn under_strace(options: &[&str], arguments: &[&str]) -> Option<Command> {
    if !is_installed("strace") {
        return None;
    }
    let mut command = onepoll(arguments);
    wrap(&mut command, &[&["strace", "-D", "-f"], options].concat());
    Some(command)
}

/// Has the command be run by another one, which is given it as its last arguments.
pub fn wrap(command: &mut Command, by: &[&str]) {
    let mut wrapped = Command::new(by[0]);
    wrapped.args(&by[1..]).arg(command.get_program()).args(command.get_args());
    wrapped.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
    wrapped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    *command = wrapped;
}

/// Whether this shell script succeeds; says so where it does not.
pub fn can(script: &str) -> bool {
    let output = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().expect("sh is there");
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        eprintln!("skipped: not possible here: {script}: {}", why.trim());
    }
    output.status.success()
}

/// A command in the network of a server that was started in one of its own.
pub fn in_network_of(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", server.pid().as_raw_nonzero())).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A figure of `/proc/PID/status`, in KiB.
pub fn memory_kib(server: &Server, name: &str) -> u64 {
    let status = server.proc("status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let figure = line.expect("a figure of proc(5)").trim().trim_end_matches(" kB");
    figure.parse().expect("a number")
}

/// Whether something comes from it within `milliseconds`; it stays there to be read.
pub fn speaks_within(source: impl AsFd, milliseconds: i64) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let mut polled = [PollFd::new(&source, PollFlags::IN)];
    let patience = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    rustix::event::poll(&mut polled, Some(&patience)).expect("poll works") > 0
}

/// Until `is_so`, which is asked again and again; fails at the deadline.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + crate::harness::DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be: {what}");
    }
}
