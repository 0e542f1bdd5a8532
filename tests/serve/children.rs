//! How the tests start programs: alike, whatever surroundings the tests themselves were started in.
//!
//! A program inherits the signals that its parent ignores: all of them where the tests run under `nohup`, or in
//! the background of a script. Tests of signals would wait in vain, so `env` restores what was ignored. It becomes
//! the program that it starts, under the same process id.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The signals of which a test may expect that they end a program, and their numbers (signal(7)).
const SIGNALS: [(&str, u32); 4] = [("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15)];

/// The names of those that the tests were started to ignore, separated by commas.
pub fn ignored_signals() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let ignored = SIGNALS.iter().filter(|(_, number)| mask & 1 << (number - 1) != 0);
    ignored.map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

/// What stands before a program so that it ignores no signal; nothing where none is ignored, or where there is no
/// `env` that can do it (coreutils 8.31 or later).
fn prefix() -> &'static [OsString] {
    static PREFIX: OnceLock<Vec<OsString>> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let ignored = ignored_signals();
        let prefix = ["env".to_string(), format!("--default-signal={ignored}")].map(OsString::from);
        let has_worked = || {
            let mut probe = Command::new(&prefix[0]);
            probe.arg(&prefix[1]).arg("env").stdout(Stdio::null()).stderr(Stdio::null());
            probe.status().is_ok_and(|status| status.success())
        };
        if !ignored.is_empty() && has_worked() { prefix.into() } else { Vec::new() }
    })
}

/// Whether the signal of this number stays ignored in the programs that are started, because no `env` could
/// restore it.
pub fn is_left_ignored(number: i32) -> bool {
    let name =
        SIGNALS.iter().find(|(_, known)| i64::from(*known) == i64::from(number)).map(|(name, _)| *name);
    prefix().is_empty() && ignored_signals().split(',').any(|ignored| Some(ignored) == name)
}

/// A tool, all piped. Its messages are in English, and text is UTF-8.
pub fn tool(name: impl AsRef<OsStr>) -> Command {
    let mut command = program(name);
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// A program, all piped.
pub fn program(program: impl AsRef<OsStr>) -> Command {
    let mut command = match prefix() {
        [] => Command::new(program),
        [env, arguments @ ..] => {
            let mut command = Command::new(env);
            command.args(arguments).arg(program);
            command
        }
    };
    command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The program of a command and its arguments.
pub fn words(command: &Command) -> Vec<OsString> {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.skip(if command.get_program() == "env" { prefix().len() } else { 0 }).map(OsString::from).collect()
}

/// A command that runs another one, which it is given as its last arguments.
pub fn wrapped(by: &[&str], command: &Command) -> Command {
    let mut wrapper = tool(by[0]);
    wrapper.args(&by[1..]).args(words(command));
    wrapper
}

/// A command that a shell script runs, which ends in `exec "$@"`. Every system has its shell at this path.
pub fn shelled(script: &str, command: &Command) -> Command {
    wrapped(&["/bin/sh", "-c", script, "sh"], command)
}

/// A shell script with these arguments.
pub fn script(script: &str, arguments: &[&str]) -> Command {
    let mut command = tool("/bin/sh");
    command.args(["-c", script, "sh"]).args(arguments);
    command
}
