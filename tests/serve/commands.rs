//! What people can ask for with a slash.

use crate::harness::{Client, Server, untimed};

fn pair(arguments: &[&str]) -> (Server, Client, Client) {
    let server = Server::bare(arguments);
    let (ann, bob) = (server.join_as("ann"), server.join_as("bob"));
    (server, ann, bob)
}

#[test]
fn help_fits_a_terminal_of_80_by_24_and_names_every_command() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    ann.say("/help");
    let page = ann.fence();
    assert!(page.len() < 24, "{} lines", page.len());
    assert!(page.iter().all(|line| line.chars().count() < 80), "{page:?}");
    let text = page.join("\n");
    for command in [
        "/help",
        "/nick NAME",
        "/say TEXT",
        "/me TEXT",
        "/who",
        "/join ROOM",
        "/leave",
        "/rooms",
        "/msg NAME TEXT",
        "/last [N]",
        "/lag",
        "/ping",
        "/quit",
        "//",
    ] {
        assert!(text.contains(command), "{command} is missing in {text}");
    }
}

#[test]
fn a_nick_is_shown_from_then_on_and_told_to_the_others() {
    let server = Server::start(&["--history", "0"]);
    let mut ann = server.join();
    let mut bob = server.join();
    bob.nick("bob");
    ann.expect("-- bob joined --");
    bob.nick("bert");
    ann.expect("-- bob is now bert --");
    bob.say("hello");
    assert_eq!(untimed(&ann.line()), "bert: hello");
    assert_eq!(untimed(&bob.line()), "bert: hello", "the bearer is not told twice");
}

#[test]
fn p37_a_nick_has_one_bearer_whatever_its_case_and_looks() {
    let (_server, mut ann, mut bob) = pair(&[]);
    ann.nick("paul");
    for (taken, why) in [
        ("paul", "taken"),
        ("PAUL", "taken"),
        ("pauI", "looks like"),
        ("pau1", "looks like"),
        ("р\u{430}ul", "looks like"),
        ("operator", "reserved"),
        ("0perator", "reserved"),
    ] {
        let reply = bob.ask(&format!("/nick {taken}"));
        assert!(reply.contains(why), "{taken}: {reply}");
    }
    assert_eq!(bob.echo("still bob"), "bob: still bob");
}

#[test]
fn a_nick_that_is_none_is_refused_with_the_reason() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    for (nick, why) in [
        ("a b", "cannot be in a name"),
        ("a:b", "cannot be in a name"),
        ("-ann", "cannot begin"),
        ("123", "needs a letter"),
        ("abcdefghijklmnopqrstuvwxyzabcdefg", "at most 32 bytes"),
        ("<b>", "cannot be in a name"),
        ("🎉", "cannot be in a name"),
    ] {
        let reply = ann.ask(&format!("/nick {nick}"));
        assert!(reply.contains(why), "{nick}: {reply}");
    }
    ann.nick("安娜");
    assert_eq!(ann.echo("你好"), "安娜: 你好");
}

#[test]
fn a_nick_is_free_again_when_its_bearer_leaves_or_takes_another() {
    let (_server, mut ann, mut bob) = pair(&[]);
    ann.nick("anna");
    bob.nick("ann");
    ann.say("quit");
    ann.rest();
    bob.nick("anna");
}

#[test]
fn me_says_what_one_does() {
    let (_server, mut ann, mut bob) = pair(&[]);
    ann.say("/me waves");
    assert_eq!(untimed(&bob.line()), "* ann waves");
}

#[test]
fn who_names_those_in_the_room() {
    let (_server, mut ann, mut bob) = pair(&[]);
    assert_eq!(ann.ask("/who"), "-- 2 in lobby: ann, bob --");
    bob.ask("/join kitchen");
    assert_eq!(ann.ask("/who"), "-- 2 in lobby: ann, bob --");
    assert_eq!(bob.ask("/who"), "-- 1 in kitchen: bob --");
    bob.say("quit");
    bob.rest();
    assert_eq!(ann.ask("/who"), "-- 1 in lobby: ann --");
}

#[test]
fn a_room_is_heard_by_its_members_only() {
    let (_server, mut ann, mut bob) = pair(&[]);
    bob.ask("/join kitchen");
    assert_eq!(bob.echo("tea?"), "[kitchen] bob: tea?");
    assert!(ann.fence().is_empty());
    ann.ask("/join kitchen");
    bob.say("more tea?");
    assert_eq!(untimed(&ann.line()), "[kitchen] bob: more tea?");
    // Both hear the lobby still.
    ann.ask("/join lobby");
    ann.say("in the lobby");
    bob.expect("more tea?");
    assert_eq!(untimed(&bob.line()), "ann: in the lobby");
}

#[test]
fn leaving_a_room_goes_back_to_the_one_before_and_out_of_the_last() {
    let (_server, mut ann, mut bob) = pair(&[]);
    ann.ask("/join one");
    ann.ask("/join two");
    assert_eq!(ann.ask("/leave"), "-- you left two and speak in one now --");
    assert_eq!(ann.ask("/leave"), "-- you left one and speak in lobby now --");
    assert_eq!(ann.ask("/leave"), "-- you left lobby and are in no room; /join lobby goes back --");
    for lost in ["hello?", "/leave", "/who", "/lag", "/last", "/me sighs"] {
        ann.say(lost);
        ann.expect("no room");
    }
    assert!(bob.fence().is_empty());
    ann.ask("/join lobby");
    assert_eq!(ann.echo("back"), "ann: back");
    assert_eq!(untimed(&bob.line()), "ann: back");
}

#[test]
fn what_was_said_before_leaving_a_room_is_still_read() {
    let (_server, mut ann, mut bob) = pair(&[]);
    ann.ask("/join kitchen");
    bob.ask("/join kitchen");
    for number in 0..100 {
        bob.say(&number.to_string());
    }
    bob.fence();
    ann.say("/leave");
    for number in 0..100 {
        assert_eq!(untimed(&ann.line()), format!("[kitchen] bob: {number}"));
    }
    ann.expect("you left kitchen");
    bob.say("gone?");
    bob.fence();
    assert!(ann.fence().is_empty());
}

#[test]
fn join_explains_names_that_are_none_and_rooms_one_is_in() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    assert_eq!(ann.ask("/join lobby"), "-- you speak in lobby again --");
    ann.ask("/join #kitchen");
    assert_eq!(ann.ask("/who"), format!("-- 1 in kitchen: {} --", ann.name));
    for (name, why) in [
        ("a b", "letters, digits"),
        ("a/b", "letters, digits"),
        (&"x".repeat(33), "1 to 32 bytes"),
        ("#", "1 to"),
    ] {
        let reply = ann.ask(&format!("/join {name}"));
        assert!(reply.contains(why), "{name}: {reply}");
    }
    ann.ask("/join 厨房");
    assert!(ann.echo("茶").starts_with("[厨房] "));
}

#[test]
fn rooms_are_listed_with_their_members_the_fullest_first() {
    let (_server, mut ann, mut bob) = pair(&[]);
    bob.ask("/join kitchen");
    assert_eq!(ann.ask("/rooms"), "-- 2 rooms: lobby (2), kitchen (1) --");
}

#[test]
fn msg_reaches_one_person_alone() {
    let (server, mut ann, mut bob) = pair(&[]);
    let mut cho = server.join();
    // Nobody knows of one who only listens.
    assert!(ann.ask(&format!("/msg {} hi", cho.name)).contains("nobody here is called"));
    cho.appear();
    ann.say("/msg bob  two  words");
    assert_eq!(untimed(&bob.line()), "ann -> you: two  words");
    assert_eq!(untimed(&ann.line()), "you -> bob: two  words");
    ann.say(&format!("/msg {} hi", cho.name));
    assert_eq!(untimed(&cho.line()), "ann -> you: hi");
    ann.line();
    ann.say("/msg BOB case");
    assert_eq!(untimed(&bob.line()), "ann -> you: case");
    ann.line();
    assert!(ann.ask("/msg nobody hi").contains("nobody here is called nobody"));
    assert!(ann.ask("/msg operator hi").contains("nobody here is called operator"));
    assert!(cho.fence().is_empty());
}

#[test]
fn last_repeats_the_last_messages_and_no_notices() {
    let server = Server::start(&[]);
    let mut ann = server.join_as("ann");
    for number in 0..30 {
        ann.echo(&number.to_string());
    }
    let mut bob = server.join();
    bob.say("/nick bob");
    ann.until("-- bob joined --");
    bob.say("quit");
    ann.until("-- bob left --");
    assert_eq!(ann.ask("/last 3"), "-- the last 3 messages --");
    for number in 27..30 {
        assert_eq!(untimed(&ann.line()), format!("ann: {number}"));
    }
    assert_eq!(ann.line(), "-- end --");
    ann.say("/last");
    assert_eq!(ann.until("-- end --").len(), 22);
    assert!(ann.ask("/last many").contains("usage: /last [N]"));
    assert!(ann.ask("/last -1").contains("usage: /last [N]"));
}

#[test]
fn last_says_so_where_nothing_is_kept() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    assert_eq!(ann.ask("/last"), "-- no messages are kept --");
}

#[test]
fn lag_names_who_is_behind_and_by_how_much() {
    let server = Server::bare(&["--rate", "off", "--log-bytes", "1M", "--unsent", "4K"]);
    let mut ann = server.join_as("ann");
    assert_eq!(ann.ask("/lag"), "-- nobody in lobby is behind --");
    let mut stalled = server.join_with_little_room();
    stalled.appear();
    let mut said = 0;
    while ann.ask("/lag").contains("nobody") {
        assert!(said < 100_000, "nobody is ever behind");
        for _ in 0..100 {
            said += 1;
            ann.echo(&format!("{said:060}"));
        }
    }
    // The question itself is no message: only what was asked for before is behind.
    ann.line();
    ann.say("/lag");
    ann.expect("-- 1 reader behind in lobby --");
    let line = ann.line();
    let rest = line.strip_prefix(&format!("  {}: ", stalled.name)).expect("the stalled member's line");
    let (messages, bytes) = rest.split_once(" messages, ").expect("how much");
    let messages: u64 = messages.parse().expect("a number");
    assert!((1..=said).contains(&messages), "{line}");
    assert!(bytes.ends_with('B'), "{line}");
}

#[test]
fn ping_is_answered_with_what_it_carries() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    assert_eq!(ann.ask("/ping"), "-- pong --");
    assert_eq!(ann.ask("/ping 7"), "-- pong 7 --");
}

#[test]
fn two_slashes_say_a_line_that_begins_with_one() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    assert_eq!(ann.echo("//help"), "ann: /help");
    assert_eq!(ann.echo("///"), "ann: //");
    assert_eq!(ann.echo(" /help"), "ann:  /help");
}

#[test]
fn say_says_a_text_whatever_it_is_with_its_white_space() {
    let (_server, mut ann, mut bob) = pair(&[]);
    for text in
        ["quit", "/quit", "/nick x", "//", "/say", "/usr/bin/cc -o x x.c", "  indented", "GET / HTTP/1.1"]
    {
        assert_eq!(ann.echo(&format!("/say {text}")), format!("ann: {text}"));
        assert_eq!(untimed(&bob.line()), format!("ann: {text}"));
    }
    // Controls are removed before anything is taken for a command.
    assert_eq!(ann.echo("/say qu\x01it"), "ann: quit");
}

#[test]
fn say_takes_as_long_a_text_as_a_plain_line() {
    let server = Server::bare(&["--max-line", "64"]);
    let mut ann = server.join_as("ann");
    let text = format!("/{}", "x".repeat(63));
    assert_eq!(ann.echo(&format!("/say {text}")), format!("ann: {text}"));
    let too_long = ann.ask(&format!("/say {text}x"));
    assert!(too_long.contains("too long and was not sent: 64 bytes at most"), "{too_long}");
    assert_eq!(ann.echo(&format!("/say {text}")), format!("ann: {text}"));
}

#[test]
fn an_unknown_command_names_the_nearest_and_is_not_said() {
    let (_server, mut ann, mut bob) = pair(&[]);
    assert!(ann.ask("/hepl").contains("no command /hepl; did you mean /help?"));
    assert!(ann.ask("/nik ann").contains("did you mean /nick?"));
    assert!(ann.ask("/xyzzy").contains("no command /xyzzy; /help lists the commands"));
    assert!(ann.ask("/").contains("no command /"));
    assert!(bob.fence().is_empty());
}

#[test]
fn a_command_without_what_it_needs_shows_its_usage() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    for (line, usage) in [
        ("/nick", "-- usage: /nick NAME --"),
        ("/say", "-- usage: /say TEXT --"),
        ("/say  ", "-- usage: /say TEXT --"),
        ("/me", "-- usage: /me TEXT --"),
        ("/me  ", "-- usage: /me TEXT --"),
        ("/join", "-- usage: /join ROOM --"),
        ("/msg", "-- usage: /msg NAME TEXT --"),
        ("/msg bob", "-- usage: /msg NAME TEXT --"),
    ] {
        assert_eq!(ann.ask(line), usage);
    }
}

#[test]
fn plain_says_every_slash_and_leaves_with_quit_only() {
    let server = Server::bare(&["--plain"]);
    let mut ann = server.join();
    for line in ["/help", "//x", "/nick ann", "/ping"] {
        assert_eq!(ann.echo(line), format!("{}: {line}", ann.name));
    }
    ann.say("quit");
    assert_eq!(ann.rest_lines(), ["-- bye --"]);
}

#[test]
fn quit_and_slash_quit_leave_with_a_word() {
    for farewell in ["quit", "/quit", "quit\r"] {
        let server = Server::bare(&[]);
        let mut ann = server.join();
        ann.send(format!("{farewell}\nnever said\n"));
        assert_eq!(ann.rest_lines(), ["-- bye --"], "{farewell:?}");
    }
}

#[test]
fn quit_is_a_word_only_when_it_is_the_whole_line() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    assert_eq!(ann.echo("quite so"), "ann: quite so");
    assert_eq!(ann.echo("I quit"), "ann: I quit");
}
