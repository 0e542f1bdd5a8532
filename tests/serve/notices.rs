//! What the server says by itself: greeting, message of the day, joins, leaves, history.

use jiff::tz::{TimeZone, offset};

use crate::harness::{Client, Directory, Server, command, untimed};

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
    ann.expect(&format!("-- {} joined --", bob.name));
    bob.nick("bob");
    ann.expect("is now bob");
    bob.say("quit");
    assert_eq!(bob.rest_lines(), ["-- bye --"]);
    assert_eq!(ann.line(), "-- bob left --");
}

/// A busy kernel may deliver what was sent at once in two parts, between which there is a turn of the server:
/// there are some tries.
const TRIES: usize = 5;

/// So many come in one turn and are greeted. Returns them, and the lines in which `ann` is told of it.
fn come_together(server: &Server, ann: &mut Client, newcomers: usize) -> (Vec<Client>, Vec<String>) {
    let crowd: Vec<Client> = server.in_one_turn(|| (0..newcomers).map(|_| server.connect()).collect());
    let crowd = crowd.into_iter().map(Client::greeted).collect();
    (crowd, ann.fence())
}

/// They go in one turn. Returns the lines in which `ann`, who is alone then, is told of it.
fn go_together(server: &Server, ann: &mut Client, crowd: Vec<Client>) -> Vec<String> {
    server.in_one_turn(|| drop(crowd));
    let mut told = Vec::new();
    loop {
        ann.say("/who");
        let lines = ann.fence();
        let is_alone = lines.iter().any(|line| line.contains("1 in lobby"));
        // Who left is told at the end of a turn, behind the answers of that turn.
        told.extend(lines.into_iter().chain(ann.fence()).filter(|line| line.ends_with(" left --")));
        if is_alone {
            return told;
        }
    }
}

#[test]
fn those_of_one_turn_join_and_leave_in_one_line() {
    let server = Server::start(&[]);
    let mut ann = server.join_as("ann");
    let is_one = |lines: &[String], end| matches!(lines, [line] if line.ends_with(end));
    assert!((0..TRIES).any(|_| {
        let (crowd, joined) = come_together(&server, &mut ann, 40);
        let left = go_together(&server, &mut ann, crowd);
        is_one(&joined, " and 38 others joined --") && is_one(&left, " and 38 others left --")
    }));
}

#[test]
fn two_or_three_who_come_together_are_all_named() {
    let server = Server::start(&[]);
    let mut ann = server.join_as("ann");
    for newcomers in [2, 3] {
        assert!((0..TRIES).any(|_| {
            let (crowd, joined) = come_together(&server, &mut ann, newcomers);
            let names: Vec<&str> = crowd.iter().map(|member| member.name.as_str()).collect();
            let (last, others) = names.split_last().expect("they came");
            let is_told = joined == [format!("-- {} and {last} joined --", others.join(", "))];
            go_together(&server, &mut ann, crowd);
            is_told
        }));
    }
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
    for member in &mut members {
        member.fence();
    }
    let mut fourth = server.join();
    fourth.ask("/nick dora");
    for member in &mut members {
        assert!(member.fence().is_empty(), "nobody is told of the fourth");
    }
    // Back to three: leaves are told again.
    fourth.say("quit");
    fourth.rest();
    assert_eq!(members[0].line(), "-- dora left --");
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
    if !std::path::Path::new("/usr/share/zoneinfo/Asia/Shanghai").exists() {
        eprintln!("skipped: /usr/share/zoneinfo is not installed");
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
