//! Faults that the kernel is made to have: system calls that fail by `strace`, networks of a test's own.
//!
//! Where a tool or a permission is missing, each reports the test as not run and gives `None`.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::harness::{Directory, Lines, Server, is_installed, need, not_run, onepoll, script, tool, wrapped};

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
    #[track_caller]
    pub fn attach(server: &Server, traced: &str, inject: &[&str]) -> Option<Strace> {
        if !is_installed("strace") {
            return None;
        }
        let directory = Directory::new();
        let log = directory.file("calls");
        let mut command = tool("strace");
        command.arg("-o").arg(&log).args(["-p", &server.pid().as_raw_nonzero().to_string()]);
        command.args(["-s", "256", "-e", &format!("trace={traced}")]);
        for what in inject {
            command.args(["-e", &format!("inject={what}")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = command.spawn().expect("it is installed");
        let messages = Lines::new(process.stderr.take().expect("piped"));
        let mut strace = Strace { process, messages, log, _directory: directory };
        // From this line on the next call that the server begins is a traced one.
        let line = strace.messages.line();
        if line.contains("attached") {
            return Some(strace);
        }
        assert!(line.contains("not permitted"), "{line}");
        let probe = "sleep 1 & exec strace -qq -o /dev/null -p $!";
        not_run(&format!("strace may not trace another process: {line}"), probe);
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

/// Whether a program can be started under `strace`; reports the test as not run where it cannot.
#[track_caller]
#[must_use]
pub fn may_trace() -> bool {
    is_installed("strace") && can("strace -D -qq -o /dev/null true")
}

/// `onepoll` with these arguments, under `strace` with these options from its first system call on. The server
/// is the child, and `strace` its grandchild, which ends with it.
#[track_caller]
pub fn under_strace(options: &[&str], arguments: &[&str]) -> Option<Command> {
    if !may_trace() {
        return None;
    }
    let mut command = onepoll(arguments);
    wrap(&mut command, &[&["strace", "-D", "-f"], options].concat());
    Some(command)
}

/// Has the command be run by another one, which is given it as its last arguments.
pub fn wrap(command: &mut Command, by: &[&str]) {
    *command = wrapped(by, command);
}

/// Whether this shell script succeeds; reports the test as not run where it does not.
#[track_caller]
#[must_use]
pub fn can(probe: &str) -> bool {
    let output = script(probe, &[]).stdin(Stdio::null()).output().expect("sh is there");
    let why = String::from_utf8_lossy(&output.stderr);
    need(output.status.success(), &format!("not possible here: {probe}: {}", why.trim()), probe)
}

/// A command in the network of a server that was started in one of its own.
pub fn in_network_of(server: &Server, arguments: &[&str]) -> Command {
    let mut command = tool("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", server.pid().as_raw_nonzero())).args(arguments);
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
