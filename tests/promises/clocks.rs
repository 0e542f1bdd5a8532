//! P23: clocks that jump.

use crate::faults::{can, wrap};
use crate::harness::{Directory, Server, command, is_installed, tool};

/// The libraries that `faketime` puts before a program's own.
#[track_caller]
fn faked_clock() -> Option<String> {
    if !is_installed("faketime") {
        return None;
    }
    let output = tool("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output();
    Some(String::from_utf8_lossy(&output.expect("it is installed").stdout).trim().to_string())
}

#[test]
fn p23_a_wall_clock_that_jumps_is_shown_and_moves_no_deadline() {
    let Some(library) = faked_clock() else { return };
    let directory = Directory::new();
    let offset = directory.file("offset");
    // Whole at once: the server may read it at any time.
    let set_clock = |to: &str| {
        std::fs::write(directory.file("new"), to).expect("a file");
        std::fs::rename(directory.file("new"), &offset).expect("a file");
    };
    set_clock("+0");
    let mut command = command(&["--quiet", "--history", "0", "--idle", "600", "--rate", "20:20"]);
    command.env("LD_PRELOAD", library).env("DONT_FAKE_MONOTONIC", "1");
    command.env("FAKETIME_TIMESTAMP_FILE", &offset).env("FAKETIME_NO_CACHE", "1");
    let server = Server::spawn(command);
    let (mut ann, mut idle) = (server.join(), server.join());
    let year = |line: String| -> i32 { line[..4].parse().expect("a timestamp") };
    let first = year(ann.ask("hello"));
    for (offset, years) in [("+3660d", 10), ("-3660d", -10), ("+0", 0)] {
        set_clock(offset);
        // More than the rate lets pass at once: what waits for its deadline comes whichever way the clock went.
        ann.send("hello\n".repeat(40));
        for _ in 0..40 {
            assert!(
                (first + years - 1..=first + years + 1).contains(&year(ann.line())),
                "the clock did not jump"
            );
        }
        assert!(idle.fence().iter().all(|line| line.ends_with(": hello")), "nobody was thrown out");
    }
}

#[test]
fn p23_a_machine_that_is_up_for_years_is_no_different() {
    let unshare = ["unshare", "--time", "--monotonic", "1000000000", "--fork", "--kill-child"];
    if !can(&format!("{} true", unshare.join(" "))) {
        return;
    }
    let mut command = command(&["--quiet", "--history", "0", "--idle", "1"]);
    wrap(&mut command, &unshare);
    let server = Server::spawn(command);
    let mut ann = server.join();
    assert!(ann.fence().is_empty());
    assert_eq!(ann.rest_lines(), ["-- you said nothing for 1 s: closing --"]);
}
