//! `onepoll lab`: every lesson that the list names is run, and has to see what it claims.
#![cfg(feature = "course")]

/// The real binary and its peers, as the chat's tests have them.
#[allow(dead_code)]
#[path = "../serve/harness.rs"]
mod harness;

/// The narrated loop.
mod turns;

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use unicode_width::UnicodeWidthStr;

/// How long a lesson may take: each is over within seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a run of `onepoll lab` came to.
struct Run {
    exit: Option<i32>,
    stdout: String,
    stderr: String,
}

fn start(arguments: &[&str]) -> Child {
    let mut lab = harness::onepoll(&[&["lab"], arguments].concat());
    lab.stdin(Stdio::null()).spawn().expect("the binary starts")
}

/// Reads a pipe to its end, or kills the child at the deadline.
fn drain(child: &mut Child, mut pipe: impl Read + AsFd) -> String {
    let until = Instant::now() + DEADLINE;
    let mut text = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match rustix::event::poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                child.kill().expect("it is ours");
                panic!("not over before the deadline:\n{}", String::from_utf8_lossy(&text));
            }
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready.expect("poll works"),
        };
        let mut chunk = [0; 4096];
        match pipe.read(&mut chunk).expect("the pipe is read") {
            0 => return String::from_utf8(text).expect("lessons are told in UTF-8"),
            bytes => text.extend_from_slice(&chunk[..bytes]),
        }
    }
}

fn run(arguments: &[&str]) -> Run {
    let mut child = start(arguments);
    let (stdout, stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let stdout = drain(&mut child, stdout);
    let stderr = drain(&mut child, stderr);
    let exit = child.wait().expect("it has ended").code();
    Run { exit, stdout, stderr }
}

/// The names that `onepoll lab` lists, each with its line about it.
fn listed() -> Vec<String> {
    let list = run(&[]);
    assert_eq!((list.exit, list.stderr.as_str()), (Some(0), ""));
    let names: Vec<String> = list
        .stdout
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_once("  ").unwrap_or_else(|| panic!("a name and a line: {line:?}")).0.into())
        .collect();
    assert!(!names.is_empty());
    names
}

#[track_caller]
fn assert_told(told: &Run, name: &str) {
    let Run { exit, stdout, stderr } = told;
    assert_eq!(*exit, Some(0), "{name}: {stderr}\n{stdout}");
    assert_eq!(stderr, "", "{name}");
    let mut table = stdout.lines().skip_while(|line| !line.starts_with("  claim "));
    assert!(
        table.next().is_some_and(|head| head.ends_with("  observed                     holds")),
        "{stdout}"
    );
    assert!(table.next().is_some_and(|line| line.starts_with("  ----")), "{stdout}");
    assert!(table.any(|line| line.ends_with("  yes")), "{name}: no claim holds:\n{stdout}");
    assert!(!stdout.contains("  NO"), "{name}:\n{stdout}");
}

#[test]
fn every_listed_lesson_sees_what_it_claims_and_tells_its_calls() {
    for name in listed() {
        let told = run(&[&name]);
        assert_told(&told, &name);
        assert!(told.stdout.starts_with(&format!("{name}: ")), "{}", told.stdout);
        assert!(told.stdout.contains("\nRemember: "), "{}", told.stdout);
        let calls = told.stdout.lines().filter(|line| line.starts_with("  ") && line.contains(" = "));
        assert!(calls.count() > 1, "{name} makes no calls:\n{}", told.stdout);
        for line in told.stdout.lines() {
            assert!(line.width() <= 80, "{name}: wider than a terminal: {line:?}");
        }
    }
}

#[test]
fn quiet_prints_the_table_alone() {
    for name in listed() {
        let told = run(&[&name, "--quiet"]);
        assert_told(&told, &name);
        assert!(told.stdout.starts_with("  claim "), "{name}:\n{}", told.stdout);
        assert!(!told.stdout.contains("Remember"), "{name}:\n{}", told.stdout);
    }
}

#[test]
fn a_pause_between_the_steps_changes_nothing_but_the_time() {
    for name in listed() {
        let told = run(&[&name, "--slow", "20"]);
        assert_told(&told, &name);
    }
}

#[test]
fn a_lesson_pauses_after_each_step() {
    let began = Instant::now();
    let told = run(&["blocking", "--slow", "50"]);
    let steps = told.stdout.lines().filter(|line| line.contains(" = ")).count() as u32;
    assert!(steps > 10 && began.elapsed() >= steps * Duration::from_millis(50), "{steps} steps");
}

#[test]
fn a_lesson_that_is_not_there_is_a_usage_error_that_names_the_nearest() {
    let near = run(&["blokcing"]);
    assert_eq!((near.exit, near.stdout.as_str()), (Some(2), ""));
    assert_eq!(near.stderr, "onepoll: lab: no lesson is called \"blokcing\": did you mean blocking?\n");
    let far = run(&["quantum"]);
    assert_eq!(far.exit, Some(2));
    assert_eq!(far.stderr, "onepoll: lab: no lesson is called \"quantum\": `onepoll lab` lists them\n");
    assert_eq!(run(&["blocking", "--slow", "soon"]).exit, Some(2));
}

#[test]
fn help_says_what_is_taught_and_lists_every_lesson() {
    let help = run(&["--help"]);
    assert_eq!(help.exit, Some(0));
    for name in listed() {
        assert!(help.stdout.lines().any(|line| line.starts_with(&name)), "{name}:\n{}", help.stdout);
    }
}

#[test]
fn a_reader_who_leaves_ends_nothing_badly() {
    for name in listed() {
        let mut child = start(&[&name]);
        let mut first = String::new();
        // As `head -1` does: one line, and the pipe is closed.
        BufReader::with_capacity(16, child.stdout.take().expect("a pipe"))
            .read_line(&mut first)
            .expect("a line");
        assert!(first.starts_with(&name), "{first:?}");
        let stderr = child.stderr.take().expect("a pipe");
        assert_eq!(drain(&mut child, stderr), "", "{name}");
        assert_eq!(child.wait().expect("it has ended").code(), Some(0), "{name}");
    }
}

#[test]
fn an_output_that_takes_nothing_is_said() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    for arguments in [&["lab"][..], &["lab", "blocking"]] {
        let run = harness::onepoll(arguments)
            .stdout(full.try_clone().expect("a descriptor"))
            .output()
            .expect("the binary runs");
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{stderr}");
        assert!(stderr.ends_with("standard output: no space left on device\n"), "{stderr}");
    }
}
