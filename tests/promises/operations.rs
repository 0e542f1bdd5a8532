//! P62, P64 to P69: signals; figures, files and logs that others could read; the operator's terminal, ends and kills.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    BARE, Client, Directory, Server, command, on_a_terminal, raise_descriptor_limit, run, shell, untimed,
};

const CLOSING: &str = "-- the server is closing --";

#[test]
fn p62_there_is_nothing_to_reload_and_a_hangup_ends_in_good_order_even_without_descriptors() {
    let directory = Directory::new();
    let motd = directory.file("motd");
    fs::write(&motd, "welcome").expect("a file");
    let mut server = Server::bare(&["--motd", &format!("@{}", motd.display())]);
    let mut members: Vec<Client> = (0..3).map(|_| server.join()).collect();
    // What is read at the start is read once: a file that changes or goes, changes nothing.
    fs::remove_file(&motd).expect("it is there");
    for member in &mut members {
        assert_eq!(member.line(), "welcome");
    }
    let mut late = server.join();
    assert_eq!(late.line(), "welcome");
    server.limit_descriptors(None);
    server.signal(Signal::HUP);
    for member in members.iter_mut().chain([&mut late]) {
        assert_eq!(member.rest_lines(), [CLOSING]);
    }
    drop((members, late));
    assert_eq!(server.exit_code(), 0);
    assert_eq!(run(command(&["--config", "onepoll.conf"])).0, 2);
}

#[test]
fn p64_what_watches_the_server_sees_no_word_of_anybody_and_never_more_than_at_first() {
    let directory = Directory::new();
    let stats = directory.socket("stats");
    let mut server = Server::bare(&["--stats", &stats, "--rate", "off", "--max-rooms", "50"]);
    let page = |path: &str| {
        let mut visitor = Client::connect(&stats);
        visitor.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        String::from_utf8(visitor.rest()).expect("text")
    };
    let names = |page: &str| -> Vec<String> {
        let figures = page.lines().filter(|line| line.starts_with("onepoll_"));
        figures.map(|line| line.rsplit_once(' ').expect("a name and a value").0.to_string()).collect()
    };
    let before = page("/metrics");
    assert!(names(&before).len() > 50, "{before}");
    let mut ann = server.join();
    for number in 0..5000 {
        ann.say(&format!("/nick xyzzy{number}"));
        ann.say(&format!("/join xyzzy{number}"));
        ann.say(&format!("xyzzy\"{{}}\\ {number}"));
    }
    ann.fence();
    let after = page("/metrics");
    assert_eq!(names(&before), names(&after));
    for page in [after, page("/stats")] {
        assert!(!page.contains("xyzzy") && !page.contains("127.0.0.1"), "{page}");
    }
    // It is read, and nothing else: no method, no body, no path does anything.
    for request in ["POST /metrics", "DELETE /stats", "GET /quit", "PUT /"] {
        let mut visitor = Client::connect(&stats);
        visitor.send(format!("{request} HTTP/1.0\r\n\r\nquit\r\n"));
        assert!(visitor.line().starts_with("HTTP/1.1 40"), "{request}");
    }
    assert!(ann.fence().is_empty());
    // Nobody but this machine reads it, unless that is meant; and by default there is nothing to read.
    assert_eq!(run(command(&["--stats", "0.0.0.0:0"])).0, 2);
    server.signal(Signal::TERM);
    drop(ann);
    assert_eq!(server.exit_code(), 0);
    let log = server.log().rest_lines();
    assert_eq!(log.iter().filter(|line| line.contains("stats on")).count(), 1, "{log:?}");
    let mut server = Server::bare(&[]);
    let pid = server.pid().as_raw_nonzero();
    let sockets = server.descriptors().into_iter().filter(|number| {
        let target = fs::read_link(format!("/proc/{pid}/fd/{number}"));
        target.is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    });
    assert_eq!(sockets.count(), 1, "the chat's port alone");
    server.kill();
}

/// What of a directory others than its owner may do anything with.
fn open_to_others(directory: &Directory) -> String {
    let entries =
        fs::read_dir(directory.file("")).expect("it is there").map(|entry| entry.expect("it is there"));
    entries
        .filter(|entry| entry.metadata().expect("it is there").permissions().mode() & 0o077 != 0)
        .map(|entry| format!("{}\n", entry.path().display()))
        .collect()
}

#[test]
fn p65_what_is_created_is_its_owners_alone_and_the_log_has_no_word_of_anybody() {
    let directory = Directory::new();
    let (socket, stats) = (directory.socket("chat"), directory.socket("stats"));
    // Whatever the umask lets through is not asked for.
    let mut server = Server::spawn(shell("umask 0; exec \"$@\"", &["--listen", &socket, "--stats", &stats]));
    let mut ann = Client::connect(&socket).greeted();
    let mut bob = Client::connect(&socket).greeted();
    bob.nick("bob");
    for secret in ["xyzzy", "/msg bob xyzzy", "/me xyzzy", "/ping xyzzy", "/xyzzy", "/nick xyzzy!"] {
        ann.say(secret);
    }
    ann.say("quit");
    ann.until("-- bye --");
    assert_eq!(open_to_others(&directory), "");
    server.signal(Signal::TERM);
    drop((ann, bob));
    assert_eq!(server.exit_code(), 0);
    let log = String::from_utf8(server.log().rest()).expect("text");
    assert!(log.contains("is now bob") && !log.contains("xyzzy"), "{log}");
}

#[cfg(feature = "course")]
#[test]
fn p65_files_that_arrive_are_their_owners_alone_from_their_first_byte_on() {
    use crate::faults::wrap;
    use crate::peers::{Inbox, checked, content, done};
    let inbox = Inbox::new();
    let mut command = inbox.command(&[]);
    wrap(&mut command, &["/bin/sh", "-c", "umask 0; exec \"$@\"", "sh"]);
    let server = Server::spawn(command);
    let content = content(200_000);
    let stream = checked("a", &content);
    let mut client = server.connect();
    client.send(&stream[..100_000]);
    crate::peers::assert_well(&server);
    let modes = |inbox: &Inbox| -> Vec<u32> {
        inbox.names().iter().map(|name| crate::peers::mode(&inbox.file(name))).collect()
    };
    assert_eq!(modes(&inbox), [0o600, 0o600], "a part, and a whole file");
    client.send(&stream[100_000..]);
    done(&mut client, &content);
    assert_eq!(modes(&inbox), [0o600, 0o600]);
}

const IDLE: [&str; 5] = ["--idle", "1.5", "--quiet", "--history", "0"];

/// Serves, and costs next to nothing while somebody is idle for a second and a half.
fn serves_and_sleeps(server: &Server) {
    let mut ann = server.join();
    assert_eq!(ann.echo("hello"), format!("{}: hello", ann.name));
    let before = server.cpu_ticks();
    // Ann says nothing until --idle ends it: that is the wait.
    assert_eq!(ann.rest_lines(), ["-- you said nothing for 1 s: closing --"]);
    let used = server.cpu_ticks() - before;
    assert!(used <= 10, "{used} ticks of 10 ms in 1.5 s of doing nothing");
}

#[test]
fn p66_the_end_of_standard_input_leaves_the_server_up_and_idle() {
    let mut server = Server::start(&IDLE);
    drop(server.stdin.take());
    serves_and_sleeps(&server);
}

#[test]
fn p66_dev_null_as_standard_input_is_fine() {
    let mut command = command(&IDLE);
    command.stdin(Stdio::null());
    serves_and_sleeps(&Server::spawn(command));
}

#[test]
fn p66_a_closed_standard_input_is_fine_and_never_a_socket() {
    let server = Server::spawn(shell("exec \"$@\" <&-", &IDLE));
    let pid = server.pid().as_raw_nonzero();
    let target = std::fs::read_link(format!("/proc/{pid}/fd/0")).expect("descriptor 0 is open");
    assert!(!target.to_string_lossy().contains("socket"), "{target:?}");
    serves_and_sleeps(&server);
}

#[test]
fn p66_a_regular_file_as_standard_input_is_run_and_then_forgotten() {
    let directory = Directory::new();
    let script = directory.file("script");
    std::fs::write(&script, "help\nclients\nsay").expect("a file");
    let mut command = command(&IDLE);
    command.stdin(std::fs::File::open(&script).expect("the file"));
    let mut server = Server::spawn(command);
    assert!(server.console().line().starts_with("quit"));
    server.console().until("0 clients");
    server.console().expect("usage: say TEXT");
    serves_and_sleeps(&server);
}

#[test]
fn p66_a_writer_who_never_stops_does_not_stop_the_server() {
    // `yes clients | onepoll serve`, whose answers nobody reads.
    let mut server = Server::bare(&[]);
    let mut stdin = server.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || while stdin.write_all(&b"clients\n".repeat(512)).is_ok() {});
    let mut members: Vec<Client> = (0..3).map(|_| server.join()).collect();
    for number in 0..200 {
        for member in &mut members {
            member.say(&number.to_string());
        }
        for member in &mut members {
            for _ in 0..3 {
                assert!(member.line().ends_with(&format!(": {number}")));
            }
        }
    }
    server.kill();
    writer.join().expect("the writer ends with its reader");
}

#[test]
fn p66_the_end_of_input_at_a_terminal_is_told_and_ends_the_console_alone() {
    let directory = Directory::new();
    let socket = directory.socket("chat");
    let binary = env!("CARGO_BIN_EXE_onepoll");
    let Some(command) = on_a_terminal(&format!("exec {binary} serve --listen {socket} 2>/dev/null")) else {
        return;
    };
    let mut terminal = Server::spawn(command);
    let stdin = terminal.stdin.as_mut().expect("piped");
    stdin.write_all(b"\x04").expect("the terminal takes it");
    terminal.console().until("end of input: the server goes on");
    let mut ann = Client::connect(&socket).greeted();
    assert!(ann.echo("hello").ends_with(": hello"));
    // The end of its terminal is the server's.
    drop(terminal);
    assert_eq!(ann.rest_lines(), [CLOSING]);
}

#[test]
fn p67_a_terminal_is_left_as_it_was_for_whoever_has_it_next() {
    // Afterwards a blocking `cat` must still work on the terminal.
    let binary = env!("CARGO_BIN_EXE_onepoll");
    let inner = format!("{binary} serve --listen 127.0.0.1:0 {} 2>/dev/null; cat", BARE.join(" "));
    let Some(command) = on_a_terminal(&inner) else { return };
    let mut terminal = Server::spawn(command);
    assert_eq!(terminal.console().bytes(3), b">> ");
    terminal.operate("say");
    terminal.console().until("usage: say TEXT");
    terminal.operate("quit");
    terminal.console().until("closing:");
    terminal.operate("cat works");
    // Once by the terminal's echo, once by cat.
    terminal.console().until("cat works");
    terminal.console().until("cat works");
}

#[test]
fn p68_a_thousand_who_are_behind_get_all_that_was_said_before_the_notice() {
    let limit = raise_descriptor_limit();
    let count = usize::try_from(limit / 2).unwrap_or(usize::MAX).min(1000);
    let mut server = Server::bare(&["--rate", "off", "--drain", "60", "--unsent", "8K"]);
    let mut members: Vec<Client> = (0..count).map(|_| server.join_with_little_room()).collect();
    // Nobody but the sender reads: most of it waits in the server for each when the signal comes.
    let mut ann = server.join_as("ann");
    let mut said = Vec::new();
    for number in 0..16 {
        ann.say(&format!("{number:04000}"));
        let line = ann.line();
        assert_eq!(untimed(&line), format!("ann: {number:04000}"));
        said.extend(format!("{line}\n").into_bytes());
    }
    said.extend(format!("{CLOSING}\n").into_bytes());
    server.signal(Signal::TERM);
    assert_eq!(ann.rest_lines(), [CLOSING]);
    for member in &mut members {
        assert!(member.rest() == said, "not what was said");
    }
    drop((members, ann));
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn p68_a_never_reader_costs_no_more_than_the_drain() {
    let mut server = Server::bare(&["--drain", "0.5", "--rate", "off", "--unsent", "8K"]);
    let mut ann = server.join_as("ann");
    let _stalled = server.join_with_little_room();
    for _ in 0..100 {
        ann.echo(&"x".repeat(4000));
    }
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(ann.rest_lines(), [CLOSING]);
    // Only the other one is to be waited for.
    drop(ann);
    assert_eq!(server.exit_code(), 0);
    assert!(began.elapsed() >= Duration::from_millis(490), "it did not wait for the reader");
    let log = server.log().rest_lines();
    assert!(log.iter().any(|line| line.contains("1 connection did not take all that was due")), "{log:?}");
}

#[test]
fn p68_a_second_signal_ends_at_once() {
    let mut server = Server::bare(&["--drain", "600", "--rate", "off", "--unsent", "8K"]);
    let mut ann = server.join_as("ann");
    let _stalled = server.join_with_little_room();
    for _ in 0..100 {
        ann.echo(&"x".repeat(4000));
    }
    server.signal(Signal::TERM);
    assert_eq!(ann.rest_lines(), [CLOSING]);
    server.signal(Signal::INT);
    assert_eq!(server.exit_code(), 1);
    let log = server.log().rest_lines();
    assert!(log.last().is_some_and(|line| line.contains("second signal")), "{log:?}");
}

#[test]
fn p69_a_killed_chat_starts_again_at_once_at_the_same_places() {
    let directory = Directory::new();
    let unix = directory.socket("chat");
    // An address that nobody else uses: no other test can come to have the port meanwhile.
    let port = {
        let server = Server::bare(&["--listen", "127.0.69.3:0"]);
        server.addresses[0].clone()
    };
    for round in 0..40 {
        let mut server = Server::bare(&["--listen", &port, "--listen", &unix, "--rate", "off"]);
        server.next_address();
        let mut ann = server.join_as("ann");
        let mut bob = Client::connect(&unix).greeted();
        assert!(bob.fence().is_empty(), "somebody is remembered");
        // Killed in the middle of one thing or another, each time of another.
        ann.send("x".repeat(997 * round));
        bob.send("hello\n/join kitchen\n/last\n".repeat(round));
        server.kill();
    }
    assert_eq!(fs::read_dir(directory.file("")).expect("it is there").count(), 1, "the socket alone");
}

#[cfg(feature = "course")]
#[test]
fn p69_a_killed_receiver_has_whole_files_or_none_and_its_next_start_sweeps_up() {
    use crate::peers::{Inbox, checked, content};
    let inbox = Inbox::new();
    let content = content(200_000);
    for round in 0..40 {
        let mut server = inbox.receive(&[]);
        assert!(inbox.names().iter().all(|name| name.starts_with("file")), "{:?}", inbox.names());
        let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            let stream = checked(&format!("file-{round}-{n}"), &content);
            // The third is whole in every other round, and may have been taken or not.
            let bytes = (round * 5013 * (n + 1)).min(stream.len());
            client.send(&stream[..if n == 2 && round % 2 == 0 { stream.len() } else { bytes }]);
        }
        server.kill();
        for name in inbox.names().iter().filter(|name| name.starts_with("file")) {
            assert!(inbox.read(name) == content, "{name} is there and not whole");
        }
    }
    let _server = inbox.receive(&[]);
    assert!(inbox.names().iter().all(|name| name.starts_with("file")), "{:?}", inbox.names());
}
