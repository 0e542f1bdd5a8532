//! What the server says by itself: greeting, message of the day, joins, leaves, history.

use jiff::tz::{TimeZone, offset};

use crate::harness::{Client, Directory, Server, command, is_there, untimed};

#[test]
fn a_newcomer_is_greeted_in_one_line() {
    let server = Server::start(&[]);
    let mut ann = server.connect();
    let address = ann.tcp().local_addr().expect("connected");
    assert_eq!(ann.line(), format!("-- you are {address} in lobby; /help lists the commands --"));
    assert!(ann.fence().is_empty());
}

#[test]
fn where_commands_are_off_the_greeting_names_quit() {
    let server = Server::start(&["--plain"]);
    let mut ann = server.connect();
    assert!(ann.line().contains("quit leaves"));
}

#[test]
fn joins_and_leaves_are_told_to_the_others_alone() {
    let server = Server::start(&[]);
    let mut ann = server.join_as("ann");
    let mut bob = server.join();
    bob.nick("bob");
    assert_eq!(ann.line(), "-- bob joined --");
    bob.say("quit");
    assert_eq!(bob.rest_lines(), ["-- bye --"]);
    assert_eq!(ann.line(), "-- bob left --");
}

#[test]
fn a_line_comes_behind_the_notices_of_what_its_author_did_before() {
    let server = Server::start(&["--history", "0"]);
    let mut ann = server.join_as("ann");
    ann.ask("/join dev");
    let mut ci = server.join();
    ci.send("hello\n/nick ci\nhello again\n/join dev\nhello dev\n/msg ann psst\nquit\n");
    let address = ci.name.clone();
    ci.rest();
    let mut heard = ann.until("-- ci left dev --");
    heard.extend(ann.fence());
    let words = |line: &String| if line.starts_with("--") { line.clone() } else { untimed(line) };
    let (of_dev, of_lobby): (Vec<String>, Vec<String>) =
        heard.iter().map(words).partition(|line| line.contains("dev") || line.contains("->"));
    let joined = format!("-- {address} joined --");
    let (said, renamed) = (format!("{address}: hello"), format!("-- {address} is now ci --"));
    assert_eq!(of_lobby, [&joined, &said, &renamed, "ci: hello again", "-- ci left --"]);
    assert_eq!(
        of_dev,
        ["-- ci joined dev --", "[dev] ci: hello dev", "ci -> you: psst", "-- ci left dev --"]
    );
}

#[test]
fn who_only_connects_is_told_of_to_nobody() {
    let mut server = Server::start(&[]);
    let mut ann = server.join_as("ann");
    // As a health check, a browser, a scanner and a follower do.
    for said in ["", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\0\x05hello", "\r\n", "quit\n"] {
        let mut visitor = server.connect();
        visitor.send(said);
        visitor.half_close();
        visitor.rest();
        server.log().until(" left: ");
    }
    assert!(ann.fence().is_empty());
    let mut follower = server.join();
    assert_eq!(ann.ask("/who"), "-- 1 in lobby: ann; 1 listening --");
    follower.say("hello");
    assert_eq!(ann.line(), format!("-- {} joined --", follower.name));
    assert_eq!(ann.ask("/who").matches("; ").count(), 0);
}

/// How many are told of in lines that end so: `-- ann, bob and 3 others joined --`.
fn told(lines: &[String], end: &str) -> usize {
    let names = lines.iter().filter_map(|line| line.strip_prefix("-- ")?.strip_suffix(end));
    let parts = names.flat_map(|names| names.split(" and ").flat_map(|names| names.split(", ")));
    parts.map(|part| part.strip_suffix(" others").map_or(1, |n| n.parse().expect("a number"))).sum()
}

#[test]
fn a_crowd_that_comes_and_goes_is_told_of_in_full() {
    // How many share a line depends on how many turns the server took: `joins_of_one_turn_are_one_line_and_so_are_leaves`.
    let server = Server::start(&[]);
    let mut ann = server.join_as("ann");
    let mut crowd: Vec<Client> = (0..40).map(|_| server.join()).collect();
    server.in_one_turn(|| crowd.iter_mut().enumerate().for_each(|(n, one)| one.say(&format!("/nick p{n}"))));
    let mut lines = Vec::new();
    while told(&lines, " joined --") < 40 {
        lines.push(ann.line());
    }
    server.in_one_turn(|| drop(crowd));
    while told(&lines, " left --") < 40 {
        lines.push(ann.line());
    }
    lines.extend(ann.fence());
    assert_eq!((told(&lines, " joined --"), told(&lines, " left --")), (40, 40), "{lines:?}");
}

#[test]
fn a_room_names_itself_in_its_notices() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    ann.ask("/join kitchen");
    ann.fence();
    bob.say("/join kitchen");
    ann.expect("-- bob joined kitchen --");
    bob.until("you speak in kitchen now");
    bob.say("/leave");
    ann.expect("-- bob left kitchen --");
}

#[test]
fn a_notice_in_a_later_room_is_not_hidden_by_an_earlier_one() {
    let server = Server::start(&["--history", "0"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    // Alone in a room with a long name, which is forgotten when she leaves it.
    ann.say(&format!("/join {}", "x".repeat(32)));
    ann.fence();
    ann.say("/leave");
    ann.fence();
    ann.say("/join b");
    ann.fence();
    bob.say("/join b");
    bob.fence();
    let seen = ann.fence();
    assert_eq!(seen, ["-- bob joined b --"]);
}

#[test]
fn rooms_of_more_than_notice_members_announce_nothing() {
    let server = Server::start(&["--notice-members", "3", "--history", "0"]);
    let mut members: Vec<Client> = (0..3).map(|_| server.join()).collect();
    // Each is there from its first question on.
    members.iter_mut().for_each(Client::appear);
    members.iter_mut().for_each(|member| drop(member.fence()));
    let mut fourth = server.join();
    fourth.ask("/nick dora");
    fourth.say("quit");
    fourth.rest();
    for member in &mut members {
        assert!(member.fence().is_empty(), "nobody is told that the fourth came, nor that it left");
    }
    // Who was told to have joined is told to have left.
    let mut third = members.remove(2);
    third.say("quit");
    third.rest();
    assert_eq!(members[0].line(), format!("-- {} left --", third.name));
}

#[test]
fn quiet_announces_nothing_at_all() {
    let server = Server::start(&["--quiet"]);
    let mut ann = server.join_as("ann");
    let mut bob = server.join_as("bob");
    bob.ask("/nick bert");
    bob.ask("/join kitchen");
    bob.ask("/leave");
    bob.say("quit");
    bob.rest();
    assert!(ann.fence().is_empty());
}

#[test]
fn the_message_of_the_day_follows_the_greeting() {
    let server = Server::start(&["--motd", "welcome 你好\x1b[2J"]);
    let mut ann = server.join();
    assert_eq!(ann.line(), "welcome 你好[2J");
    assert!(ann.fence().is_empty());
}

#[test]
fn the_message_of_the_day_can_be_a_file() {
    let directory = Directory::new();
    let file = directory.file("motd");
    std::fs::write(&file, "first\r\n\nthird\n\n").expect("a file");
    let server = Server::start(&["--motd", &format!("@{}", file.display())]);
    let mut ann = server.join();
    assert_eq!(ann.fence(), ["first", "", "third"]);
}

#[test]
fn a_newcomer_sees_the_last_messages_marked_as_such() {
    let server = Server::start(&["--history", "3"]);
    let mut ann = server.join_as("ann");
    for number in 0..10 {
        ann.echo(&number.to_string());
    }
    let mut bob = server.join();
    assert_eq!(bob.line(), "-- history: the last 3 messages --");
    for number in 7..10 {
        assert_eq!(untimed(&bob.line()), format!("ann: {number}"));
    }
    assert_eq!(bob.line(), "-- end of history --");
    assert!(bob.fence().is_empty());
}

#[test]
fn history_is_twenty_messages_unless_said_otherwise() {
    let server = Server::start(&["--quiet"]);
    let mut ann = server.join_as("ann");
    for number in 0..50 {
        ann.echo(&number.to_string());
    }
    let history = server.join().fence();
    assert_eq!(history.first().map(String::as_str), Some("-- history: the last 20 messages --"));
    assert_eq!(history.len(), 22);
    assert_eq!(untimed(&history[1]), "ann: 30");
}

#[test]
fn without_history_a_newcomer_sees_nothing_of_the_past() {
    let server = Server::start(&["--history", "0"]);
    let mut ann = server.join_as("ann");
    ann.echo("past");
    assert!(server.join().fence().is_empty());
}

#[test]
fn history_outlives_the_members() {
    let server = Server::start(&[]);
    let mut ann = server.join_as("ann");
    ann.echo("remember me");
    ann.say("quit");
    ann.rest();
    let mut bob = server.join();
    let history = bob.fence();
    assert_eq!(history.len(), 3, "{history:?}");
    assert_eq!(untimed(&history[1]), "ann: remember me");
}

#[test]
fn a_rooms_history_is_its_own() {
    let server = Server::start(&["--quiet"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    ann.ask("/join kitchen");
    ann.echo("in the kitchen");
    bob.say("/join kitchen");
    let seen = bob.fence();
    assert_eq!(seen[1], "-- history: the last 1 message --");
    assert_eq!(untimed(&seen[2]), "[kitchen] ann: in the kitchen");
}

#[test]
fn messages_have_the_time_of_the_zone_that_tz_names() {
    if !is_there("/usr/share/zoneinfo/Asia/Shanghai") {
        return;
    }
    let now = || {
        let zoned = jiff::Timestamp::now().to_zoned(TimeZone::fixed(offset(8)));
        zoned.strftime("%Y/%m/%d %H:%M:%S").to_string()
    };
    for name in ["Asia/Shanghai", ":/usr/share/zoneinfo/Asia/Shanghai", "CST-8"] {
        let mut command = command(&["--history", "0"]);
        command.env("TZ", name);
        let server = Server::spawn(command);
        let mut ann = server.join();
        let before = now();
        let line = ann.ask("what time is it?");
        assert!(before <= line && line[..before.len()] <= *now(), "TZ={name}: {line}");
    }
}
