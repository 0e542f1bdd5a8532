//! Every limit, and what who meets it is told.

use std::time::{Duration, Instant};

use crate::harness::{Client, Server, command, not_run, onepoll, run, untimed};

#[test]
fn one_more_than_max_clients_is_told_and_closed() {
    let server = Server::bare(&["--max-clients", "3"]);
    let mut members: Vec<Client> = (0..3).map(|_| server.join()).collect();
    let mut fourth = server.connect();
    assert_eq!(fourth.rest_lines(), ["-- the server is full: 3 clients at most; try again later --"]);
    // The others are not disturbed, and a place that is free is given away.
    assert!(members[0].fence().is_empty());
    members.remove(1).say("quit");
    members[0].ask_until("/who", "; 1 listening");
    let until = Instant::now() + Duration::from_secs(20);
    while !server.connect().line().contains("you are") {
        assert!(Instant::now() < until, "the place was never given away");
    }
}

#[test]
fn more_clients_than_descriptors_cannot_be_asked_for() {
    let (code, _, stderr) = run(command(&["--max-clients", "999999999"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("ulimit -n"), "{stderr}");
}

#[test]
fn one_more_than_max_per_ip_is_told_and_closed_and_loopback_is_exempt() {
    // This machine's own address, by way of a route that nothing is sent on (RFC 5737, RFC 3849).
    let own = ["0.0.0.0:0 192.0.2.1:9", "[::]:0 [2001:db8::1]:9"].iter().find_map(|pair| {
        let (from, to) = pair.split_once(' ')?;
        let socket = std::net::UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
    });
    let Some(own) = own else {
        let probe = "ip route get 192.0.2.1 || ip -6 route get 2001:db8::1";
        not_run("this machine has only loopback addresses, or no route from another one", probe);
        return;
    };
    let mut server = Server::bare(&["--listen", ":0", "--max-per-ip", "2"]);
    let port = server.addresses[0].rsplit_once(':').expect("a port").1.to_string();
    server.next_address();
    let address = std::net::SocketAddr::new(own, port.parse().expect("a port")).to_string();
    let members: Vec<Client> = (0..2).map(|_| Client::connect(&address).greeted()).collect();
    let mut third = Client::connect(&address);
    assert_eq!(third.rest_lines(), ["-- too many connections from your address: 2 at most --"]);
    let stats = server.answer("stats").join("\n");
    assert!(stats.contains("1: clients_per_ip"), "{stats}");
    let closed = server.answer("closed").join("\n");
    assert!(closed.contains("--max-per-ip  3 connections from its address  raise --max-per-ip"), "{closed}");
    for _ in 0..5 {
        Client::connect(&format!("127.0.0.1:{port}")).greeted();
    }
    drop(members);
    let until = Instant::now() + Duration::from_secs(20);
    while !Client::connect(&address).line().contains("you are") {
        assert!(Instant::now() < until, "the place was never given away");
    }
}

#[test]
fn a_line_of_exactly_the_longest_length_is_said() {
    let server = Server::bare(&["--max-line", "64"]);
    let mut ann = server.join_as("ann");
    let longest = "x".repeat(64);
    for end in ["\n", "\r\n", "\r\0"] {
        ann.send(format!("{longest}{end}"));
        assert_eq!(untimed(&ann.line()), format!("ann: {longest}"), "{end:?}");
    }
}

#[test]
fn a_long_line_in_single_bytes_is_refused_too() {
    let server = Server::bare(&["--max-line", "16"]);
    let mut ann = server.join_as("ann");
    for byte in "0123456789abcdefX and more\nafter\n".bytes() {
        ann.send([byte]);
    }
    ann.expect("too long");
    assert_eq!(untimed(&ann.line()), "ann: after");
}

#[test]
fn a_last_line_that_is_too_long_is_not_said_either() {
    let server = Server::bare(&["--max-line", "16"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    ann.send("x".repeat(40));
    ann.half_close();
    assert_eq!(ann.rest_lines().len(), 1);
    assert!(bob.fence().is_empty());
}

#[test]
fn one_room_more_than_max_rooms_is_refused() {
    let server = Server::bare(&["--max-rooms", "2"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    ann.ask("/join kitchen");
    assert!(bob.ask("/join cellar").contains("all rooms are taken (--max-rooms)"));
    // A room that is left makes way.
    ann.ask("/leave");
    assert!(bob.ask("/join cellar").contains("you speak in cellar now"));
}

#[test]
fn a_remembered_room_makes_way_for_one_that_is_wanted() {
    let server = Server::start(&["--max-rooms", "2", "--quiet"]);
    let mut ann = server.join_as("ann");
    ann.ask("/join kitchen");
    ann.echo("remembered");
    ann.ask("/leave");
    assert!(ann.ask("/join cellar").contains("you speak in cellar now"));
    ann.ask("/leave");
    ann.say("/join kitchen");
    assert_eq!(ann.fence().len(), 1, "its history is gone");
}

#[test]
fn one_room_more_than_max_rooms_per_client_is_refused() {
    let server = Server::bare(&["--max-rooms-per-client", "2"]);
    let mut ann = server.join_as("ann");
    ann.ask("/join kitchen");
    let reply = ann.ask("/join cellar");
    assert_eq!(reply, "-- you are in 2 rooms, 2 at most (--max-rooms-per-client); /leave one --");
    assert!(ann.ask("/join lobby").contains("you speak in lobby again"), "returning is no further room");
    ann.ask("/leave");
    assert!(ann.ask("/join cellar").contains("you speak in cellar now"));
}

#[test]
fn the_rate_slows_a_paste_and_loses_nothing() {
    let server = Server::bare(&["--rate", "20:1"]);
    let mut bob = server.join();
    let mut ann = server.join();
    let began = Instant::now();
    ann.send((0..10).map(|number| format!("{number}\n")).collect::<String>());
    for number in 0..10 {
        assert_eq!(untimed(&bob.line()), format!("{}: {number}", ann.name));
    }
    // Nine pauses of 50 ms lie between ten lines.
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

#[test]
fn the_rate_lets_a_burst_pass_at_once() {
    // Were the burst not let pass, the lines would take hours.
    let server = Server::bare(&["--rate", "1:10000"]);
    let mut ann = server.join();
    ann.send((0..5000).map(|number| format!("{number}\n")).collect::<String>());
    for number in 0..5000 {
        assert!(ann.line().ends_with(&format!(": {number}")));
    }
}

#[test]
fn the_rate_counts_commands_and_delays_even_the_last_line() {
    let server = Server::bare(&["--rate", "20:1"]);
    let mut bob = server.join();
    let mut ann = server.join();
    let began = Instant::now();
    ann.send("/ping\n/ping\n/nope\n/who\none\nlast without an end");
    ann.half_close();
    assert_eq!(untimed(&bob.line()), format!("{}: one", ann.name));
    assert_eq!(untimed(&bob.line()), format!("{}: last without an end", ann.name));
    assert!(began.elapsed() >= Duration::from_millis(240), "{:?}", began.elapsed());
    assert_eq!(ann.rest_lines().len(), 6);
}

#[test]
fn the_rate_of_one_slows_nobody_else() {
    let server = Server::bare(&["--rate", "1:20"]);
    let mut ann = server.join();
    ann.send("x\n".repeat(100));
    let mut bob = server.join();
    // Ann's hundred lines take 80 s; bob's need not wait for them.
    bob.say("hello");
    let name = bob.name.clone();
    assert!(bob.until(&format!("{name}: hello")).len() < 100);
}

#[test]
fn who_is_silent_for_idle_is_told_and_closed() {
    // Long enough for bob to say something each time, on the busiest machine.
    let server = Server::bare(&["--idle", "3"]);
    let mut bob = server.join();
    let began = Instant::now();
    let mut ann = server.join();
    // What bob says keeps bob here, not ann.
    bob.ask_until("/who", &format!("-- 1 in lobby: {} --", bob.name));
    assert!(began.elapsed() >= Duration::from_millis(2990), "{:?}", began.elapsed());
    assert_eq!(ann.rest_lines(), ["-- you said nothing for 3 s: closing --"]);
}

#[test]
fn linger_ends_a_close_that_the_peer_never_answers() {
    let mut server = Server::bare(&["--linger", "0.3"]);
    let mut ann = server.join();
    ann.say("quit");
    assert_eq!(ann.rest_lines(), ["-- bye --"]);
    // Ann never closes her side; the server does not wait for that for ever.
    let log = server.log().until(": left: quit");
    assert!(!log.is_empty());
    drop(ann);
}

#[test]
fn linger_ends_a_close_whose_last_bytes_nobody_takes() {
    let mut server = Server::bare(&["--linger", "0.3", "--rate", "off", "--unsent", "8K"]);
    let mut ann = server.join_as("ann");
    let mut stalled = server.join_with_little_room();
    for _ in 0..400 {
        ann.echo(&"x".repeat(4000));
    }
    stalled.say("quit");
    server.log().until("left: did not take its last bytes in time");
    assert_eq!(ann.ask("/who"), "-- 1 in lobby: ann --");
}

#[test]
fn log_bytes_bound_what_a_newcomer_can_be_shown() {
    let server = Server::start(&["--log-bytes", "4K", "--max-line", "512", "--history", "1000", "--quiet"]);
    let mut ann = server.join_as("ann");
    for number in 0..200 {
        ann.echo(&format!("{number:0100}"));
    }
    let history = server.join().fence();
    let bytes: usize = history[1..history.len() - 1].iter().map(|line| line.len() + 1).sum();
    assert!((3900..=4096).contains(&bytes), "{bytes}");
    assert!(history[history.len() - 2].ends_with(&format!("{:0100}", 199)));
}

#[test]
fn limits_that_cannot_be_are_usage_errors() {
    for (arguments, why) in [
        (&["--max-line", "15"][..], "16 to"),
        (&["--max-line", "1G"], "--max-line"),
        (&["--log-bytes", "100"], "--log-bytes"),
        (&["--log-bytes", "4K", "--max-line", "4096"], "--log-bytes"),
        (&["--max-clients", "0"], "--max-clients"),
        (&["--max-rooms", "0"], "--max-rooms"),
        (&["--max-rooms-per-client", "0"], "--max-rooms-per-client"),
        (&["--max-per-ip", "0"], "--max-per-ip"),
        (&["--connect-rate", "0"], "--connect-rate"),
        (&["--connect-rate", "5:0"], "--connect-rate"),
        (&["--rate", "0"], "--rate"),
        (&["--rate", "fast"], "--rate"),
        (&["--slow", "never"], "--slow"),
        (&["--slow", "wait"], "--slow"),
        (&["--idle=-1"], "--idle"),
        (&["--format", "xml"], "--format"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--listen", "127.0.0.1:65536"], "--listen"),
        (&["--listen", "unix:"], "--listen"),
        (&["--motd", "@/no/such/file"], "--motd"),
        (&["--unsent", "1M"], "--unsent 1048576: 1 to 262144 bytes"),
        (&["--unsent", "0"], "--unsent 0: 1 to 262144 bytes"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let (code, stdout, stderr) = run(command(arguments));
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(why), "{arguments:?}: {stderr}");
        assert!(stdout.is_empty(), "{arguments:?}: {stdout}");
    }
}

#[test]
fn what_cannot_be_shown_is_told_and_is_a_failure_but_for_who_has_read_enough() {
    for arguments in [&["serve", "--show-limits"][..], &["serve", "--help"], &["--help"], &["--version"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let output = onepoll(arguments).stdout(full).output().expect("the binary starts");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert_eq!(said, "onepoll: standard output: no space left on device\n", "{arguments:?}");
        let (reader, nobody) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = onepoll(arguments).stdout(nobody).output().expect("the binary starts");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
