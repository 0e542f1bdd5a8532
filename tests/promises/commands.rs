//! P38 to P42: commands that would reach too many, come too fast, or come when nobody expects them.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use crate::faults::memory_kib;
use crate::harness::{Client, Server, raise_descriptor_limit, until, untimed};

#[test]
fn p38_one_command_reaches_one_person_or_room_however_many_it_names() {
    let mut server = Server::bare(&["--max-line", "64K", "--log-bytes", "1M", "--rate", "off"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    let many = vec!["bob"; 10_000].join(",");
    for command in [
        format!("/msg {many} hello"),
        format!("/join {many}"),
        format!("/nick {many}"),
        format!("/who {many}"),
    ] {
        ann.say(&command);
        assert_eq!(ann.fence().len(), 1, "{}", &command[..20]);
    }
    assert!(bob.fence().is_empty());
    assert_eq!(ann.ask("/rooms"), "-- 1 room: lobby (2) --");
    // Who is named twice is reached once.
    ann.say("/msg bob bob hello");
    assert_eq!(untimed(&bob.line()), "ann -> you: bob hello");
    assert_eq!(ann.fence().len(), 1);
    // Nor does the operator throw out more than one.
    assert_eq!(server.answer(&format!("kick {many}")).len(), 1);
    assert_eq!(server.answer("kick bob,ann"), ["kick: bob,ann: no such client; clients lists them"]);
    assert!(bob.fence().is_empty() && ann.fence().is_empty());
}

/// Sends without end until the server breaks the connection off.
fn flood(server: &Server, bytes: Vec<u8>) -> (TcpStream, std::thread::JoinHandle<()>) {
    let flood = TcpStream::connect(&server.addresses[0]).expect("the server accepts");
    let mut writer = flood.try_clone().expect("a second handle");
    (flood, std::thread::spawn(move || while writer.write_all(&bytes).is_ok() {}))
}

#[test]
fn p39_a_flood_is_heard_at_its_rate_and_others_as_if_it_were_not_there() {
    const RATE: usize = 50;
    const BURST: usize = 100;
    let server = Server::bare(&["--rate", "50:100"]);
    let mut watcher = server.join_as("watcher");
    let mut people: Vec<Client> = (0..100).map(|_| server.join()).collect();
    let began = Instant::now();
    let (socket, flooding) = flood(&server, b"flood\n".repeat(10_000));
    for person in &mut people {
        // Each has the burst of its own.
        let name = person.name.clone();
        person.say("one");
        person.until(&format!("{name}: one"));
    }
    let mut heard = 0;
    while heard < BURST + RATE {
        heard += usize::from(watcher.line().ends_with(": flood"));
    }
    // So many came at once, the others took their time. What comes after them is on its way.
    let seconds = began.elapsed().as_secs_f64();
    assert!(seconds >= 0.9, "{heard} lines of a flood in {seconds} s");
    heard += watcher.fence().iter().filter(|line| line.ends_with(": flood")).count();
    let most = BURST as f64 + RATE as f64 * began.elapsed().as_secs_f64() + 1.0;
    assert!(heard as f64 <= most, "{heard} lines of a flood, {most} at most");
    // It was not thrown out: its lines wait where it sent them from.
    watcher.say("/who");
    watcher.until("-- 102 in lobby: ");
    socket.shutdown(std::net::Shutdown::Both).expect("open until now");
    flooding.join().expect("the flood ends");
}

#[test]
fn p39_what_says_nothing_is_heard_at_the_rate_like_what_is_said() {
    const RATE: usize = 50;
    const BURST: usize = 100;
    for (what, bytes, lines_for_one) in [
        ("empty lines", &b"\n"[..], 64),
        ("carriage returns", b"\r\0", 64),
        ("lines that are empty once cleaned", b"\x01\n", 1),
        ("commands without their text", b"/me\n", 1),
        ("options of telnet", b"\xff\xfd\x01\xff\xfd\x01\n", 1),
        ("a line without an end", b"xxxxxxxx", 1),
    ] {
        let mut server = Server::bare(&["--rate", "50:100"]);
        let mut watcher = server.join_as("watcher");
        let began = Instant::now();
        let (socket, flooding) = flood(&server, bytes.repeat(64 * 1024 / bytes.len()));
        // Somebody reads what it is told.
        let mut reader = socket.try_clone().expect("a second handle");
        let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        until(what, || server.answer("stats").iter().any(|line| line.ends_with(": rate")));
        assert!(watcher.fence().is_empty());
        let stats = server.answer("stats");
        let received = stats.iter().find_map(|line| line.strip_prefix("received")).expect("a row");
        let lines: usize = received.split_whitespace().next().expect("a number").parse().expect("of lines");
        // The watcher's are among them.
        let most = BURST as f64 + RATE as f64 * began.elapsed().as_secs_f64() + 10.0;
        assert!(lines as f64 <= most * f64::from(lines_for_one), "{what}: {lines}, {most} at most");
        socket.shutdown(std::net::Shutdown::Both).expect("open until now");
        flooding.join().expect("the flood ends");
        let _ = reading.join().expect("it ends, too");
    }
}

#[test]
fn p40_thousands_who_only_connect_hold_up_nobody_and_leave_nothing_behind() {
    raise_descriptor_limit();
    let server = Server::bare(&["--rate", "off"]);
    let mut ann = server.join_as("ann");
    drop(server.join());
    ann.ask_until("/who", "-- 1 in lobby");
    let before = server.descriptors().len();
    let address = server.addresses[0].clone();
    let flooding = std::thread::spawn(move || {
        for _ in 0..5000 {
            drop(TcpStream::connect(&address).expect("the server accepts"));
        }
    });
    let mut rounds = 0;
    while !flooding.is_finished() || rounds < 100 {
        assert_eq!(ann.echo(&rounds.to_string()), format!("ann: {rounds}"));
        rounds += 1;
    }
    flooding.join().expect("all connected");
    ann.ask_until("/who", "-- 1 in lobby");
    until("as few descriptors as before", || {
        ann.fence();
        server.descriptors().len() <= before
    });
}

#[test]
fn p40_who_is_refused_costs_a_line_of_text_and_no_memory() {
    let mut server = Server::bare(&["--max-clients", "1", "-qq"]);
    let mut ann = server.join_as("ann");
    let mut refuse = |count: usize| {
        for _ in 0..count {
            let told = server.connect().rest_lines();
            assert_eq!(told, ["-- the server is full: 1 client at most; try again later --"]);
        }
        assert!(ann.fence().is_empty());
        memory_kib(&server, "VmRSS")
    };
    let before = refuse(200);
    let grown = refuse(2000).saturating_sub(before);
    assert!(grown < 256, "{grown} KiB for 2,000 who were refused");
    assert!(server.answer("stats").iter().any(|line| line.contains("1 accepted, 2200 refused")));
}

#[test]
fn p41_names_and_rooms_that_change_without_end_cost_ten_lines_each() {
    for flood in [&["/nick a", "/nick b"][..], &["/join kitchen", "/leave"]] {
        let server = Server::start(&["--rate", "100:100", "--history", "0"]);
        let mut ann = server.join_as("ann");
        let mut bob = server.join_as("bob");
        if flood[0].contains("join") {
            bob.ask("/join kitchen");
        }
        let began = Instant::now();
        ann.send(format!("{}\n{}\n", flood[0], flood[1]).repeat(500));
        // Ten at once, then ten a second.
        let mut told = 0;
        while told < 10 + 5 {
            let line = bob.line();
            told += usize::from(
                ["is now", "joined kitchen", "left kitchen"].iter().any(|what| line.contains(what)),
            );
        }
        let seconds = began.elapsed().as_secs_f64();
        assert!(seconds >= 0.4, "{told} changes in {seconds} s");
        // Bob waits for nobody.
        bob.fence();
    }
}

/// The states that a client can be in.
const STATES: [&str; 7] =
    ["new", "spoken", "named", "in no room", "in two rooms", "long line", "half a line"];

/// Somebody in a state.
fn in_state(server: &Server, state: &str) -> Client {
    let mut client = server.join();
    match state {
        "new" => {}
        "spoken" => client.say("hello"),
        "named" => client.say("/nick zoe"),
        "in no room" => client.say("/leave"),
        "in two rooms" => client.say("/join kitchen"),
        "long line" => client.send(format!("{}\n", "x".repeat(5000))),
        "half a line" => client.send("/pi"),
        _ => unreachable!("{state}"),
    }
    if !["new", "half a line"].contains(&state) {
        client.line();
    }
    client
}

/// Lines, and what answers them in a room, or elsewhere in no room; empty: nothing does.
const LINES: [(&str, &str, &str); 50] = [
    ("", "", ""),
    ("hello", ": hello", "in no room"),
    ("//help", ": /help", "in no room"),
    ("/", "no command /;", "no command /;"),
    ("/help", "Type a line", "Type a line"),
    ("/help me", "Type a line", "Type a line"),
    ("/HELP", "Type a line", "Type a line"),
    ("/nick", "usage: /nick NAME", "usage: /nick NAME"),
    ("/nick ann", "you are now ann", "you are now ann"),
    ("/nick bob", "is taken", "is taken"),
    ("/nick 1", "needs a letter", "needs a letter"),
    ("/nick a b", "cannot be in a name", "cannot be in a name"),
    ("/say", "usage: /say TEXT", "usage: /say TEXT"),
    ("/say  ", "usage: /say TEXT", "usage: /say TEXT"),
    ("/say hello", ": hello", "in no room"),
    ("/say quit", ": quit", "in no room"),
    ("/SAY /say", ": /say", "in no room"),
    ("/me", "usage: /me TEXT", "usage: /me TEXT"),
    ("/me waves", " waves", "in no room"),
    ("/who", "in ", "in no room"),
    ("/who bob", "in ", "in no room"),
    ("/join", "usage: /join ROOM", "usage: /join ROOM"),
    ("/join cellar", "you speak in cellar now", "you speak in cellar now"),
    ("/join lobby", "you speak in lobby", "you speak in lobby"),
    ("/join #", "1 to 32 bytes", "1 to 32 bytes"),
    ("/join a b", "letters, digits", "letters, digits"),
    ("/leave", "you left", "in no room"),
    ("/leave lobby", "you left", "in no room"),
    ("/rooms", "lobby (", "lobby ("),
    ("/rooms x", "lobby (", "lobby ("),
    ("/msg", "usage: /msg NAME TEXT", "usage: /msg NAME TEXT"),
    ("/msg bob", "usage: /msg NAME TEXT", "usage: /msg NAME TEXT"),
    ("/msg bob hi", "you -> bob: hi", "you -> bob: hi"),
    ("/msg nobody hi", "nobody here is called nobody", "nobody here is called nobody"),
    ("/msg operator hi", "nobody here is called operator", "nobody here is called operator"),
    ("/last", "no messages are kept", "in no room"),
    ("/last 0", "no messages are kept", "in no room"),
    ("/last -1", "usage: /last [N]", "usage: /last [N]"),
    ("/last 99999999999999999999", "usage: /last [N]", "usage: /last [N]"),
    ("/lag", "is behind", "in no room"),
    ("/lag x", "is behind", "in no room"),
    ("/ping", "pong", "pong"),
    ("/ping x", "pong x", "pong x"),
    ("/quit", "bye", "bye"),
    ("/quit now", "bye", "bye"),
    ("quit", "bye", "bye"),
    ("QUIT", ": QUIT", "in no room"),
    ("/nope", "no command /nope", "no command /nope"),
    ("\u{7}", "", ""),
    ("\0\0", "", ""),
];

#[test]
fn p42_every_line_has_its_answer_in_every_state() {
    let server = Server::bare(&["--rate", "off"]);
    let mut bob = server.join_as("bob");
    for state in STATES {
        for (line, in_room, in_none) in LINES {
            let mut client = in_state(&server, state);
            let (line, expected) = match state {
                // What is half of a line has its other half.
                "half a line" => (format!("ng {line}"), "pong"),
                "in no room" => (line.to_string(), in_none),
                _ => (line.to_string(), in_room),
            };
            client.say(&line);
            if expected == "bye" {
                assert_eq!(client.rest_lines(), ["-- bye --"], "{line:?}, {state}");
                continue;
            }
            let answers = client.fence();
            let is_answered = match expected {
                "" => answers.is_empty(),
                _ => answers.first().is_some_and(|answer| answer.contains(expected)),
            };
            assert!(is_answered, "{line:?}, {state}: {answers:?}");
            // Whatever it was, the server is whole, and the client gone for everyone before the next.
            client.say("quit");
            client.until("-- bye --");
        }
    }
    bob.ask_until("/who", "-- 1 in lobby: bob --");
}

#[test]
fn p42_who_left_is_heard_no_more_whatever_comes_behind_the_farewell() {
    let server = Server::bare(&["--rate", "off"]);
    let mut bob = server.join_as("bob");
    for (line, _, _) in LINES {
        let mut client = server.join();
        client.send(format!("quit\n{line}\n{line}"));
        assert_eq!(client.rest_lines(), ["-- bye --"], "{line:?}");
    }
    assert!(bob.fence().is_empty());
}
