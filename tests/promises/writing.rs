//! P7, P8, P17, P18 and P26: readers whose sockets take little, late or nothing, and what writing costs.

use std::process::Command;

use onepoll::limits;

use crate::crowds::{Guest, server_at};
use crate::faults::{Strace, can, in_network_of, memory_kib};
use crate::harness::{BARE, Client, Server, command, is_installed, tool, untimed};

/// The bare lines of one who says much, to one who hears only that.
const RAW: [&str; 9] = ["--format", "raw", "--no-echo", "--rate", "off", "--unsent", "8K", "--drain", "60"];

/// Less than a room's log: nobody may miss any of it.
const LINES: u64 = 1500;

fn text(number: u64) -> String {
    format!("{number:06} {}\n", "x".repeat(80))
}

/// Has somebody say all lines, and gives what `reader` gets until the server ends.
fn heard(server: &mut Server, reader: &mut Client) -> Vec<u8> {
    let mut ann = server.connect();
    ann.send((0..LINES).map(text).collect::<String>());
    ann.half_close();
    assert!(ann.rest().is_empty(), "all was heard when her end is answered");
    server.operate("quit");
    let mut heard = Vec::new();
    // In small pieces at first, so that the socket has room for a part of a line again and again.
    for bytes in 1..100 {
        heard.extend(reader.bytes(bytes));
    }
    heard.extend(reader.rest());
    heard
}

/// What is wrong with what was heard.
fn check(heard: &[u8]) -> Result<(), String> {
    let said: Vec<u8> = (0..LINES).flat_map(|number| text(number).into_bytes()).collect();
    if heard == said {
        return Ok(());
    }
    let at = heard.iter().zip(&said).position(|(heard, said)| heard != said);
    Err(format!("{} of {} bytes, the first that differs is {at:?}", heard.len(), said.len()))
}

/// What a traced call was given to write, and how much of that was written.
fn offered_and_taken(call: &str) -> Option<(u64, u64)> {
    let (call, result) = call.strip_prefix("sendto(")?.rsplit_once(") = ")?;
    let offered = call.split(", MSG_NOSIGNAL").next()?.rsplit(", ").next()?;
    Some((offered.parse().ok()?, result.split(' ').next()?.parse().ok()?))
}

#[test]
fn p07_a_write_that_takes_a_part_loses_and_repeats_nothing() {
    let mut server = Server::start(&RAW);
    let mut reader = server.connect_with_little_room();
    let strace = Strace::attach(&server, "sendto", &[]);
    check(&heard(&mut server, &mut reader)).expect("every byte once");
    if let Some(strace) = strace {
        let writes: Vec<(u64, u64)> =
            strace.detach().iter().filter_map(|call| offered_and_taken(call)).collect();
        let short = writes.iter().filter(|(offered, taken)| taken < offered).count();
        assert!(short > 0, "no write was short: nothing was tested by {writes:?}");
    }
}

#[test]
fn p07_bytes_that_the_kernel_says_it_took_and_did_not_are_missed_by_the_check() {
    let mut server = Server::start(&RAW);
    let mut reader = server.connect_with_little_room();
    let Some(strace) = Strace::attach(&server, "sendto", &["sendto:retval=3:when=1"]) else { return };
    let heard = heard(&mut server, &mut reader);
    assert!(strace.detach().iter().any(|call| call.contains("INJECTED")));
    let said = LINES * text(0).len() as u64;
    assert_eq!(heard.len() as u64, said - 3);
    let fault = check(&heard).expect_err("three bytes are lost");
    assert!(fault.contains(&format!("{} of {said} bytes", said - 3)), "{fault}");
}

#[test]
fn p08_a_write_that_the_kernel_has_no_buffers_for_is_tried_again_without_a_further_event() {
    // A socket that was writable and is full again tells of its room (tcp(7)), so EAGAIN comes once.
    for (error, times) in [("ENOBUFS", 3), ("ENOMEM", 3), ("EAGAIN", 1)] {
        let server = Server::bare(&["--no-echo"]);
        let (mut ann, mut bob) = (server.join(), server.join());
        let inject = format!("sendto:error={error}:when=1..{times}");
        let Some(strace) = Strace::attach(&server, "sendto,epoll_wait", &[&inject]) else { return };
        ann.say("one");
        bob.expect("one");
        let calls = strace.detach();
        let count = |name: &str| calls.iter().filter(|call| call.starts_with(name)).count();
        assert_eq!(
            calls.iter().filter(|call| call.contains("INJECTED")).count(),
            times,
            "{error}: {calls:?}"
        );
        assert_eq!(count("sendto("), times + 1, "{error}: {calls:?}");
        assert!(count("epoll_wait(") <= 20, "it spins: {calls:?}");
    }
}

#[test]
fn p17_those_who_never_read_cost_no_memory_however_much_is_said() {
    const LINES: u64 = 4000;
    let server = Server::bare(&["--rate", "off", "--log-bytes", "64K", "--unsent", "8K"]);
    let mut deaf: Vec<Client> = (0..200).map(|_| server.join_with_little_room()).collect();
    let (mut ann, mut bob) = (server.join_as("ann"), server.join());
    let long = "x".repeat(4000);
    let mut resident = Vec::new();
    for number in 0..LINES {
        // What bob hears and when does not depend on them either: line by line.
        ann.echo(&format!("{number:06} {long}"));
        bob.expect(&format!("ann: {number:06} "));
        if number % (LINES / 4) == LINES / 8 {
            resident.push(memory_kib(&server, "VmRSS"));
        }
    }
    let grown = resident[3].saturating_sub(resident[0]);
    assert!(grown <= 1024, "{grown} KiB for 12 MB that 200 did not read: {resident:?}");
    // And each is told, once it reads: every line was heard or is counted as missed.
    let mut next = 0;
    while next < LINES {
        next += heard_or_missed(&deaf[7].line(), next);
    }
    assert!(deaf[8].fence().iter().any(|line| line.starts_with("-- you missed ")));
}

#[test]
fn p17_a_stalled_reader_costs_the_kernel_128_kib_at_most() {
    if !is_installed("ss") {
        return;
    }
    for line_bytes in [60, 1000, 4000] {
        let server = Server::bare(&["--rate", "off"]);
        let mut ann = server.join_as("ann");
        let stalled = [server.join(), server.join_with_little_room()];
        for _ in 0..(2 << 20) / line_bytes {
            ann.echo(&"x".repeat(line_bytes));
        }
        for client in &stalled {
            let port = client.tcp().local_addr().expect("connected").port();
            let waiting = Waiting::of(tool("ss"), &server, &format!("dport = :{port}"));
            assert!(waiting.bytes >= 8 * 1024, "{waiting:?}: it does not stall");
            let most = limits::stalled_bytes_max(limits::UNSENT_BYTES);
            assert!(most <= 128 * 1024 && waiting.memory_bytes <= most, "{waiting:?}, lines of {line_bytes}");
        }
    }
}

/// The mark for what is unsent does not count what is on its way: the send buffer bounds that.
#[test]
fn p17_a_peer_that_acknowledges_nothing_costs_its_send_buffer_at_most() {
    let listen = ["--no-echo", "--rate", "off", "--listen", "198.51.100.1:0"];
    if !can("unshare --net nft list ruleset") || !is_installed("ss") {
        return;
    }
    let addresses = ["198.51.100.1/24", "198.51.100.2/24"];
    let Some(server) = server_at(&addresses, command(&[&BARE[..], &listen].concat())) else { return };
    let mut mute = Guest::from(&server, "198.51.100.2");
    mute.lines.expect("-- you are ");
    let mut ann = Guest::from(&server, "198.51.100.1");
    ann.lines.expect("-- you are ");
    let batch = format!("{}\n", "x".repeat(1000)).repeat(256);
    // Its window and the server's idea of the network grow with what it reads.
    for number in 0..64 {
        ann.say(format!("{batch}batch {number} ends\n").as_bytes());
        mute.lines.until(&format!(": batch {number} ends"));
    }
    let cut = "nft add table t && nft add chain t c '{ type filter hook input priority 0; }' && \
               nft add rule t c ip saddr 198.51.100.2 drop";
    assert!(in_network_of(&server, &["sh", "-c", cut]).status().expect("sh is there").success());
    for _ in 0..16 {
        ann.say(batch.as_bytes());
    }
    ann.say(b"/ping said\n");
    ann.lines.until("-- pong said --");
    let waiting = Waiting::of(in_network_of(&server, &["ss"]), &server, "dst 198.51.100.2");
    assert!(waiting.bytes > 2 * limits::SEGMENT_BYTES_MAX, "{waiting:?}: its window is closed");
    assert!(waiting.memory_bytes <= limits::MUTE_BYTES_MAX, "{waiting:?}");
}

/// What waits for a client in the kernel, on the server's side (ss(8)).
#[derive(Debug)]
struct Waiting {
    /// `Send-Q`: bytes that it has not acknowledged, sent or not.
    bytes: usize,
    /// `w` of `skmem`: the memory that they take.
    memory_bytes: usize,
}

impl Waiting {
    /// Asks `ss` about the server's connection that `filter` tells from its others.
    fn of(mut ss: Command, server: &Server, filter: &str) -> Self {
        let port = server.addresses[0].rsplit_once(':').expect("a port").1;
        let output = ss.args(["-tnmOH", &format!("sport = :{port} and {filter}")]).output().expect("ss runs");
        let line = String::from_utf8(output.stdout).expect("text");
        let bytes = line.split_whitespace().nth(2).expect("a send queue");
        let memory = line.split(",w").nth(1).and_then(|rest| rest.split(',').next()).expect("its memory");
        Waiting { bytes: bytes.parse().expect("a number"), memory_bytes: memory.parse().expect("a number") }
    }
}

/// How many messages this line stands for: itself, the `next` one, or those that it says were missed.
#[track_caller]
fn heard_or_missed(line: &str, next: u64) -> u64 {
    if let Some(count) = line.strip_prefix("-- you missed ").and_then(|rest| rest.split(' ').next()) {
        return count.parse().expect("a number");
    }
    let said = untimed(line);
    let number = said.strip_prefix("ann: ").and_then(|text| text.split(' ').next()).expect("a line of ann's");
    assert_eq!(number.parse(), Ok(next), "{line:?}");
    1
}

#[test]
fn p18_one_who_reads_near_the_tail_of_a_tiny_log_gets_whole_lines_and_the_exact_count_of_the_others() {
    const LINES: u64 = 3000;
    let server = Server::bare(&["--rate", "off", "--log-bytes", "512", "--max-line", "64", "--unsent", "4K"]);
    let mut slow = server.join_with_little_room();
    let mut ann = server.join_as("ann");
    let (mut next, mut lines, mut gaps) = (0, 0, 0);
    let mut hear = |slow: &mut Client, next: &mut u64| {
        let line = slow.line();
        let count = heard_or_missed(&line, *next);
        *next += count;
        lines += 1;
        gaps += u32::from(line.starts_with("-- you missed "));
    };
    for number in 0..LINES {
        // Lines of every length, so that the tail is at every place of one.
        ann.echo(&format!("{number:06} {}", "x".repeat((number % 50) as usize)));
        // It reads a line while many are said.
        if number > 1000 && number % 10 == 0 {
            hear(&mut slow, &mut next);
        }
    }
    while next < LINES {
        hear(&mut slow, &mut next);
    }
    assert_eq!(next, LINES);
    assert!(gaps > 1 && lines > 100, "{gaps} gaps in {lines} lines");
}

#[test]
fn p26_a_message_costs_one_system_call_for_each_reader_and_none_for_the_idle() {
    const READERS: usize = 40;
    let server = Server::bare(&[]);
    let mut idle: Vec<Client> = (0..60).map(|_| server.join()).collect();
    for client in &mut idle {
        client.ask("/join elsewhere");
        client.ask("/join lobby");
        client.ask("/leave");
    }
    let mut ann = server.join_as("ann");
    let mut readers: Vec<Client> = (1..READERS).map(|_| server.join()).collect();
    let Some(strace) = Strace::attach(&server, "all", &[]) else { return };
    ann.echo("hello");
    for reader in &mut readers {
        reader.expect("ann: hello");
    }
    let calls = strace.detach();
    let sent = calls.iter().filter(|call| call.starts_with("sendto(")).count();
    assert_eq!(sent, READERS, "{calls:?}");
    assert!(calls.len() <= READERS + 12, "{} system calls: {calls:?}", calls.len());
}
