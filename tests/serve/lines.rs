//! How bytes become lines, and what others see of them.

use crate::harness::{Server, until, untimed};

const CHINESE: &str = "你好，世界 🎉 e\u{301}";

#[test]
fn every_member_gets_every_line_in_the_same_order() {
    let server = Server::bare(&[]);
    let mut members: Vec<_> = ["ann", "bob", "cho"].map(|nick| server.join_as(nick)).into();
    for round in 0..20 {
        for member in &mut members {
            let name = member.name.clone();
            member.say(&format!("{name} {round}"));
        }
    }
    let seen: Vec<Vec<String>> =
        members.iter_mut().map(|member| (0..60).map(|_| untimed(&member.line())).collect()).collect();
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    for name in ["ann", "bob", "cho"] {
        let theirs: Vec<&String> = seen[0].iter().filter(|line| line.starts_with(name)).collect();
        let sent: Vec<String> = (0..20).map(|round| format!("{name}: {name} {round}")).collect();
        assert_eq!(theirs, sent.iter().collect::<Vec<_>>());
    }
}

#[test]
fn who_has_no_nick_is_called_by_its_address() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    let address = ann.tcp().local_addr().expect("connected").to_string();
    assert_eq!(ann.name, address);
    assert_eq!(ann.echo("hello"), format!("{address}: hello"));
}

#[test]
fn several_lines_in_one_read_are_several_messages() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    ann.send("one\ntwo\nthree\n");
    for text in ["one", "two", "three"] {
        assert_eq!(untimed(&ann.line()), format!("ann: {text}"));
    }
}

#[test]
fn a_line_in_fragments_is_one_message_once_it_ends() {
    let server = Server::bare(&[]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    ann.send("hel");
    // Bob's line comes first although ann began before.
    assert_eq!(bob.echo("first"), "bob: first");
    ann.send("lo\nne");
    assert_eq!(untimed(&bob.line()), "ann: hello");
    assert!(bob.fence().is_empty());
    ann.send("xt\n");
    assert_eq!(untimed(&bob.line()), "ann: next");
}

#[test]
fn one_byte_at_a_time_is_enough() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    for byte in format!("{CHINESE}\nnext\n").bytes() {
        ann.send([byte]);
    }
    assert_eq!(untimed(&ann.line()), format!("ann: {CHINESE}"));
    assert_eq!(untimed(&ann.line()), "ann: next");
}

#[test]
fn a_line_split_inside_a_chinese_character_stays_one_line() {
    let server = Server::bare(&[]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    let line = format!("{CHINESE}\r\n");
    for split in 0..line.len() {
        let (before, after) = line.as_bytes().split_at(split);
        ann.send(before);
        // By the time bob has an answer, the server has read what ann sent before.
        assert!(bob.fence().is_empty(), "split at {split}");
        ann.send(after);
        assert_eq!(untimed(&bob.line()), format!("ann: {CHINESE}"), "split at {split}");
        assert_eq!(untimed(&ann.line()), format!("ann: {CHINESE}"), "split at {split}");
    }
}

#[test]
fn lines_end_in_lf_crlf_or_cr_nul_alike() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    ann.send(b"lf\ncrlf\r\ncr nul\r\0mixed\n");
    for text in ["lf", "crlf", "cr nul", "mixed"] {
        assert_eq!(ann.line().split_once("ann: ").expect("said").1, text);
    }
}

#[test]
fn an_empty_line_is_neither_a_message_nor_a_farewell() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    ann.send("\n\r\n\r\0\nstill here\n");
    assert_eq!(untimed(&ann.line()), "ann: still here");
}

#[test]
fn a_line_of_controls_only_is_as_good_as_empty() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    ann.send(b"\x1b\x07\x00\n\xe2\x80\xae\nafter\n");
    assert_eq!(untimed(&ann.line()), "ann: after");
}

#[test]
fn what_could_harm_a_terminal_does_not_reach_one() {
    let server = Server::bare(&[]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    for (sent, seen) in [
        (&b"\x1b[2Jclear"[..], "[2Jclear"),
        (b"bell\x07 back\x08 del\x7f", "bell back del"),
        (b"c1 \xc2\x9b31m", "c1 31m"),
        (b"raw c1 \x9b31m", "raw c1 \u{FFFD}31m"),
        (b"a\rb", "ab"),
        (b"nul\0nul", "nulnul"),
        (b"tab\tstays", "tab\tstays"),
        ("left\u{202E}right\u{2066}isolate\u{2069}".as_bytes(), "leftrightisolate"),
        (b"latin \xe9 end", "latin \u{FFFD} end"),
        (b"cut \xe4\xbd", "cut \u{FFFD}"),
        (b"overlong \xc0\xaf", "overlong \u{FFFD}\u{FFFD}"),
        ("עברית العربية".as_bytes(), "עברית العربية"),
        ("👩\u{200D}🚀".as_bytes(), "👩\u{200D}🚀"),
        ("line\u{2028}separator".as_bytes(), "lineseparator"),
    ] {
        ann.send([sent, b"\n"].concat());
        assert_eq!(untimed(&bob.line()), format!("ann: {seen}"), "{:?}", sent.escape_ascii().to_string());
    }
}

#[test]
fn every_single_byte_gives_one_clean_line() {
    let server = Server::bare(&[]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    for byte in (0..=255u8).filter(|byte| *byte != b'\n') {
        ann.send([b'<', byte, b'>', b'\n']);
        let line = untimed(&bob.line());
        let text = line.strip_prefix("ann: <").and_then(|text| text.strip_suffix('>'));
        let text = text.unwrap_or_else(|| panic!("{byte:#x}: {line:?}"));
        assert!(text.chars().count() <= 1, "{byte:#x}: {text:?}");
        assert!(text.chars().all(|c| c == '\t' || !c.is_control()), "{byte:#x}: {text:?}");
    }
}

#[test]
fn telnet_options_are_refused_and_never_shown() {
    const IAC: u8 = 0xFF;
    const WILL: u8 = 0xFB;
    const DO: u8 = 0xFD;
    const DONT: u8 = 0xFE;
    const WONT: u8 = 0xFC;
    let server = Server::bare(&[]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    ann.send([IAC, DO, 6]);
    assert_eq!(ann.bytes(3), [IAC, WONT, 6]);
    ann.send([IAC, WILL, 31]);
    assert_eq!(ann.bytes(3), [IAC, DONT, 31]);
    ann.send([&[IAC, 0xF4][..], b"one", &[IAC, 0xFA, 24, 0, b'x', IAC, 0xF0], b" line\n"].concat());
    assert_eq!(untimed(&bob.line()), "ann: one line");
}

#[test]
fn raw_passes_bytes_through_and_says_nothing_itself() {
    let mut server = Server::start(&["--format", "raw"]);
    let (mut ann, mut bob) = (server.connect(), server.connect());
    // Nobody tells them that they are in.
    until("both are members", || server.answer("clients").last().is_some_and(|last| last == "2 clients"));
    let bytes: Vec<u8> = (0..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    ann.send([&bytes[..], b"\n/nick ann\n//x\nGET / HTTP/1.1\n\n\ra\r\n"].concat());
    for member in [&mut ann, &mut bob] {
        assert_eq!(member.next_bytes().expect("the line"), bytes);
        for line in ["/nick ann", "//x", "GET / HTTP/1.1", "\ra"] {
            assert_eq!(member.line(), line);
        }
    }
}

#[test]
fn classic_is_two_lines_as_the_tutorial_server_sends_them() {
    let server = Server::bare(&["--format", "classic"]);
    let mut ann = server.join();
    ann.say("hello");
    assert_eq!(untimed(&ann.line()), ann.name);
    assert_eq!(ann.line(), "hello");
}

#[test]
fn ack_is_the_line_behind_ack() {
    let server = Server::bare(&["--format", "ack"]);
    let (mut ann, mut bob) = (server.join(), server.join());
    ann.say("hello");
    assert_eq!(ann.line(), "ack hello");
    assert_eq!(bob.line(), "ack hello");
}

#[test]
fn no_echo_leaves_out_the_sender_alone_and_keeps_the_order() {
    let server = Server::bare(&["--no-echo"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    ann.say("a1");
    assert_eq!(untimed(&bob.line()), "ann: a1");
    bob.say("b1");
    assert_eq!(untimed(&ann.line()), "bob: b1");
    for number in 0..200 {
        ann.say(&format!("a {number}"));
        assert_eq!(untimed(&bob.line()), format!("ann: a {number}"));
        bob.say(&format!("b {number}"));
        assert_eq!(untimed(&ann.line()), format!("bob: b {number}"));
    }
    assert!(ann.fence().is_empty());
    assert!(bob.fence().is_empty());
}

#[test]
fn no_echo_loses_nothing_of_the_others_in_a_burst() {
    let server = Server::bare(&["--no-echo", "--rate", "off"]);
    let mut members: Vec<_> = (0..3).map(|_| server.join()).collect();
    for round in 0..300 {
        for (number, member) in members.iter_mut().enumerate() {
            member.say(&format!("{number} {round}"));
        }
    }
    for (number, member) in members.iter_mut().enumerate() {
        let lines: Vec<String> =
            (0..600).map(|_| untimed(&member.line()).split_once(": ").expect("said").1.into()).collect();
        for other in (0..3).filter(|other| *other != number) {
            let theirs: Vec<&String> =
                lines.iter().filter(|line| line.starts_with(&format!("{other} "))).collect();
            let sent: Vec<String> = (0..300).map(|round| format!("{other} {round}")).collect();
            assert_eq!(theirs, sent.iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn no_echo_holds_up_a_sender_who_does_not_read_until_it_does() {
    let server = Server::bare(&["--no-echo", "--rate", "off", "--unsent", "8K"]);
    let mut bob = server.join_as("bob");
    let mut ann = server.join_with_little_room();
    let long = "x".repeat(1000);
    // Each of ann's lines stands between two of bob's, so each is a part to be left out of what she
    // gets; she reads nothing, and what is remembered of that is bounded.
    for number in 0..300 {
        bob.say(&format!("{number} {long}"));
        assert!(bob.fence().iter().all(|line| line.contains(": a ")));
        ann.say(&format!("a {number}"));
    }
    let mut bobs = 0;
    while bobs < 300 {
        let line = untimed(&ann.line());
        assert_eq!(line, format!("bob: {bobs} {long}"));
        bobs += 1;
    }
    // Now that she has read, all of hers are heard.
    bob.say("/who");
    ann.say("last of ann");
    let heard = bob.until("last of ann");
    assert!(heard.len() <= 302);
    assert!(ann.fence().is_empty());
}

#[test]
fn no_echo_does_not_hide_what_is_said_in_a_later_room() {
    // A room that nobody remembers gives its place to the next one; what a member was not to be sent
    // of the first must not be taken for a part of the second.
    let server = Server::bare(&["--no-echo"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    ann.ask("/join first");
    ann.say(&"x".repeat(4000));
    ann.fence();
    ann.ask("/leave");
    ann.ask("/join second");
    bob.ask("/join second");
    bob.say("hello ann");
    bob.fence();
    let seen: Vec<String> = ann.fence().iter().map(|line| untimed(line)).collect();
    assert_eq!(seen, ["[second] bob: hello ann"]);
}

#[test]
fn coalescing_keeps_the_order_and_delivers_everything() {
    let server = Server::bare(&["--coalesce", "20", "--rate", "off"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    for number in 0..2000 {
        ann.say(&number.to_string());
        if number % 100 == 99 {
            assert!(ann.fence().len() <= 2000);
        }
    }
    for number in 0..2000 {
        assert_eq!(untimed(&bob.line()), format!("ann: {number}"));
    }
}

#[test]
fn coalescing_makes_messages_wait_and_no_longer() {
    let server = Server::bare(&["--coalesce", "300"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    let began = std::time::Instant::now();
    ann.say("one");
    assert_eq!(untimed(&bob.line()), "ann: one");
    assert!(began.elapsed() >= std::time::Duration::from_millis(290), "{:?}", began.elapsed());
}

#[test]
fn private_replies_stand_where_they_were_asked_for() {
    let server = Server::bare(&["--rate", "off"]);
    let mut ann = server.join_as("ann");
    let mut sent = String::new();
    for number in 0..500 {
        sent.push_str(&format!("{number}\n/ping {number}\n"));
    }
    ann.send(sent);
    for number in 0..500 {
        assert_eq!(untimed(&ann.line()), format!("ann: {number}"));
        assert_eq!(ann.line(), format!("-- pong {number} --"));
    }
}

#[test]
fn sixty_four_kilobytes_of_newlines_are_nothing() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    ann.send(vec![b'\n'; 64 * 1024]);
    assert_eq!(ann.echo("after"), "ann: after");
}
