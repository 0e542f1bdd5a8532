//! Faults of the kernel for one process, injected by strace(1).

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::is_installed;

/// The command under strace, which writes the system calls named in `expressions` (`-e`) to a file and injects
/// faults into them. The process is the command's own, for strace runs behind it. `None`: that cannot be had here.
pub fn traced(command: &Command, expressions: &[&str], trace: &Path) -> Option<Command> {
    if !is_installed("strace") {
        return None;
    }
    let probe = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("skipped: strace may not trace here");
        return None;
    }
    let mut traced = Command::new("strace");
    traced.args(["-D", "-qq", "-o"]).arg(trace);
    for expression in expressions {
        traced.args(["-e", expression]);
    }
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(traced)
}
