//! P30 to P32: lines that do not end, lines that do not come, lines that come byte by byte.

use onepoll::chat::Chat;
use onepoll::chat::config::Config;
use onepoll::engine::{ConnectionId, Engine, Moment, Now, Peer};
use onepoll::limits;

use crate::faults::memory_kib;
use crate::harness::{Client, Server, is_installed, tool, untimed};

#[test]
fn p30_a_quarter_of_a_gigabyte_without_a_line_end_costs_no_memory_and_the_next_line_is_heard_once() {
    const FLOODS: usize = 100;
    static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    let mut floods: Vec<Client> = (0..FLOODS).map(|_| server.join()).collect();
    let before = memory_kib(&server, "VmHWM");
    for _ in 0..(1 << 28) / FLOODS / CHUNK.len() {
        for flood in &mut floods {
            flood.send(CHUNK);
        }
    }
    for flood in &mut floods {
        flood.expect("that line was too long and was not sent: 4096 bytes at most");
        let name = flood.name.clone();
        flood.say("\nafter");
        // It hears those before it, too.
        flood.until(&format!("{name}: after"));
        assert_eq!(untimed(&ann.line()), format!("{name}: after"));
    }
    assert!(ann.fence().is_empty());
    let grown = memory_kib(&server, "VmHWM") - before;
    // Each may have the longest line and what one read brings behind it, in a buffer that doubles.
    let bound = FLOODS * 2 * (limits::LINE_BYTES_MAX + limits::READ_BYTES_MAX) / 1024;
    assert!(grown < bound as u64, "{grown} KiB for {FLOODS} floods");
}

#[test]
fn p30_one_line_that_is_too_long_is_one_word_of_the_server_at_every_length_about_the_limit() {
    let server = Server::bare(&["--max-line", "64", "--rate", "off"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    for length in (60..=70).chain([127, 128, 129, 16_383, 16_384, 16_385, 65_536]) {
        let line = "x".repeat(length);
        for end in ["\n", "\r\n", "\r\0"] {
            // CR NUL ends a line only as long as that is a line: what is too long goes on to its LF.
            let resync = if end == "\r\0" && length > 64 { "\n" } else { "" };
            ann.send(format!("{line}{end}{resync}after\n"));
            if length <= 64 {
                assert_eq!(untimed(&ann.line()), format!("ann: {line}"), "{length} {end:?}");
                assert_eq!(untimed(&bob.line()), format!("ann: {line}"), "{length} {end:?}");
            } else {
                ann.expect("that line was too long and was not sent: 64 bytes at most (--max-line)");
            }
            assert_eq!(untimed(&ann.line()), "ann: after", "{length} {end:?}");
            assert_eq!(untimed(&bob.line()), "ann: after", "{length} {end:?}");
        }
    }
}

#[test]
fn p31_a_full_line_without_its_end_is_waited_for_and_nothing_spins() {
    let server = Server::bare(&["--idle", "2"]);
    let longest = "x".repeat(limits::LINE_BYTES_MAX);
    let mut idler = server.join();
    let mut patient = server.join_as("patient");
    let mut full: Vec<Client> = (0..20).map(|_| server.join()).collect();
    let mut ann = server.join_as("ann");
    // A byte more is told at once, without the end of the line.
    ann.send(format!("{longest}y"));
    ann.expect("too long");
    for client in &mut full {
        client.send(&longest);
    }
    patient.send(&longest);
    let before = server.cpu_ticks();
    // Nobody says anything until the first is closed for that: that is the wait.
    assert!(idler.rest_lines().last().is_some_and(|line| line.contains("you said nothing for 2 s")));
    let used = server.cpu_ticks() - before;
    assert!(used <= 10, "{used} ticks of 10 ms in 2 s");

    let server = Server::bare(&[]);
    let mut patient = server.join_as("patient");
    patient.send(&longest);
    server.join().fence();
    patient.say("");
    assert_eq!(untimed(&patient.line()), format!("patient: {longest}"));
}

/// Feeds an engine as the loop does that reads one byte in each turn: what it leaves is shown again.
fn feed_byte_by_byte(engine: &mut impl Engine, bytes: usize) {
    let id = ConnectionId::new(0, 1);
    let input = vec![b'x'; bytes];
    let mut from = 0;
    for end in 1..=input.len() {
        from += engine.handle_bytes(NOW, id, &input[from..end]);
    }
    assert_eq!(from, 0, "a line or a head that has not ended");
}

const NOW: Now = Now { moment: Moment::START, unix_s: 0 };

/// What this process is to do when callgrind counts it: so many bytes of `line` or `head`.
const WORK: &str = "ONEPOLL_P32_WORK";

fn work(words: &str) {
    let (kind, bytes) = words.split_once(' ').expect("what, and how many bytes");
    let bytes: usize = bytes.parse().expect("a number");
    if kind == "line" {
        let config = Config { line_bytes_max: *limits::LINE_BYTES_RANGE.end(), ..Config::default() };
        let mut chat = Chat::new(config);
        chat.handle_accepted(NOW, ConnectionId::new(0, 1), None, Peer::Unix);
        feed_byte_by_byte(&mut chat, bytes);
    } else {
        #[cfg(feature = "course")]
        {
            let site = onepoll::servers::hello::Site::new(200, None, None);
            let mut hello = onepoll::socketserver::Dispatch::new(move |_| site.visitor());
            hello.handle_accepted(NOW, ConnectionId::new(0, 1), None, Peer::Unix);
            feed_byte_by_byte(&mut hello, bytes);
        }
    }
}

/// Instructions of so much work, counted by callgrind over this very test.
fn instructions(test: &str, kind: &str, bytes: usize) -> u64 {
    let output = tool("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", test])
        .env(WORK, format!("{kind} {bytes}"))
        .output()
        .expect("valgrind starts");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    let collected = messages.lines().find_map(|line| line.split_once("Collected : "));
    collected.expect("a count").1.trim().parse().expect("a number")
}

#[track_caller]
fn assert_linear(test: &str, kind: &str, bytes: usize) {
    if let Ok(words) = std::env::var(WORK) {
        return work(&words);
    }
    if !is_installed("valgrind") {
        return;
    }
    // What a start costs is in all of them.
    let start = instructions(test, kind, 0);
    let (once, twice) =
        (instructions(test, kind, bytes) - start, instructions(test, kind, 2 * bytes) - start);
    assert!(once > bytes as u64, "{once} instructions for {bytes} bytes");
    let ratio = twice as f64 / once as f64;
    assert!(ratio < 2.2, "twice the bytes cost {ratio:.2} times the work: {once} and {twice} instructions");
}

#[test]
fn p32_a_line_that_comes_byte_by_byte_costs_work_in_proportion_to_its_length() {
    let test = "framing::p32_a_line_that_comes_byte_by_byte_costs_work_in_proportion_to_its_length";
    assert_linear(test, "line", limits::LINE_BYTES_RANGE.end() / 8);
}

#[cfg(feature = "course")]
#[test]
fn p32_a_head_that_comes_byte_by_byte_costs_work_in_proportion_to_its_length() {
    let test = "framing::p32_a_head_that_comes_byte_by_byte_costs_work_in_proportion_to_its_length";
    assert_linear(test, "head", limits::HTTP_HEAD_BYTES_MAX / 2 - 1);
}
