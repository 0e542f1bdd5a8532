//! What a test needs of the machine beside Rust: a program, a right, a file.
//!
//! A test whose need is not met does not run. libtest has no result for that at run time, and hides what a
//! passing test prints, so each missing need is written past libtest to standard error and appended to a report,
//! which `tests/zz_not_run.rs` shows at the end of `cargo test`. A line of the report is the test, what is missing
//! and a probe, separated by tabs; the probe is a shell command that succeeds where the need is met. `.ci/run`
//! runs the probes, and fails where one succeeds.

use std::fs::File;
use std::io::Write;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// The file of the report: what `ONEPOLL_NOT_RUN` names, or one for each run of cargo, the parent of its tests.
pub fn report_path() -> PathBuf {
    std::env::var_os("ONEPOLL_NOT_RUN").map_or_else(default_report_path, PathBuf::from)
}

fn default_report_path() -> PathBuf {
    let parent = rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("not-run-{parent}"))
}

/// Reports that the calling test does not run, or not all of it: `what` is missing, and `probe` would succeed
/// where it is there.
#[track_caller]
pub fn not_run(what: &str, probe: &str) {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (test, what, probe) = (test_name(), one_line(what), one_line(probe));
    let _ = writeln!(std::io::stderr(), "not run: {test}: {what}");
    // Where the report cannot be written, the line above is all there is.
    let report = File::options().append(true).create(true).open(report_path());
    let _ = report.and_then(|mut report| report.write_all(format!("{test}\t{what}\t{probe}\n").as_bytes()));
}

/// The running test: libtest gives its name to the thread that runs it, unless there is one thread only.
#[track_caller]
fn test_name() -> String {
    let binary = env!("CARGO_CRATE_NAME");
    let thread = std::thread::current();
    match thread.name().filter(|name| *name != "main") {
        Some(name) => format!("{binary}::{name}"),
        None => format!("{binary}, a test at {}", Location::caller()),
    }
}

/// Whether `is_met`; reports the test as not run where it is not.
#[track_caller]
#[must_use]
pub fn need(is_met: bool, what: &str, probe: &str) -> bool {
    if !is_met {
        not_run(what, probe);
    }
    is_met
}

/// Whether a program is installed; reports the test as not run where it is not.
#[track_caller]
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let what = format!("{program} is not installed");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    need(is_there, &what, &format!("command -v {program}"))
}

/// Whether all of these programs are installed; reports each that is not.
#[track_caller]
#[must_use]
pub fn are_installed(programs: &[&str]) -> bool {
    let mut are_there = true;
    for program in programs {
        are_there &= is_installed(program);
    }
    are_there
}

/// Whether this process may open as many descriptors; raises its limit as far as it goes.
#[track_caller]
#[must_use]
pub fn may_open(descriptors: u64) -> bool {
    let allowed = raise_descriptor_limit();
    need(
        allowed >= descriptors,
        &format!("{descriptors} descriptors are needed, and {allowed} are allowed (ulimit -Hn)"),
        &format!("hard=$(ulimit -Hn); [ $hard = unlimited ] || [ $hard -ge {descriptors} ]"),
    )
}

/// Lets this process open as many descriptors as it may; returns how many.
pub fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether this machine has IPv6, at least on its loopback interface.
#[track_caller]
#[must_use]
pub fn has_ipv6() -> bool {
    let has = std::net::TcpListener::bind("[::1]:0").is_ok();
    need(has, "this machine has no IPv6", "grep -q '^0*1 ' /proc/net/if_inet6")
}

/// Whether the file is there; reports the test as not run where it is not.
#[track_caller]
#[must_use]
pub fn is_there(file: &str) -> bool {
    need(Path::new(file).exists(), &format!("{file} is not there"), &format!("test -e {file}"))
}
