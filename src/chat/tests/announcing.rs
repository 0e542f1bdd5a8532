//! Who is told of, in which order, and what stands behind that.

use super::*;

#[test]
fn a_new_name_stands_before_the_next_line() {
    let mut world = World::new(Config { format: Format::Line, ..quiet() });
    let (ann, bob) = (world.connect(), world.connect());
    world.take(bob);
    world.send(ann, "one\n/nick ann\ntwo\n/nick anna\nthree\n");
    world.settle();
    let heard = world.take(bob);
    let heard: Vec<&str> = heard.lines().map(|line| &line[20..]).collect();
    assert_eq!(heard, ["unix#1: one", "ann: two", "anna: three"]);
}

/// So many connect, and take names in one turn.
fn come_together(world: &mut World, newcomers: usize) -> Vec<ConnectionId> {
    let crowd: Vec<ConnectionId> = (0..newcomers).map(|_| world.connect()).collect();
    for (n, id) in crowd.iter().enumerate() {
        world.send(*id, &format!("/nick p{n}\n"));
    }
    world.settle();
    crowd
}

#[test]
fn joins_of_one_turn_are_one_line_and_so_are_leaves() {
    let mut world = World::new(Config { rate: None, ..Config::default() });
    let ann = world.connect();
    world.take(ann);
    let crowd = come_together(&mut world, 5);
    assert_eq!(world.take(ann), "-- p0, p1 and 3 others joined --\n");
    for id in crowd {
        world.send(id, "quit\n");
    }
    world.settle();
    assert_eq!(world.take(ann), "-- p0, p1 and 3 others left --\n");
    for (newcomers, told) in [(2, "p0 and p1"), (3, "p0, p1 and p2")] {
        let crowd = come_together(&mut world, newcomers);
        assert_eq!(world.take(ann), format!("-- {told} joined --\n"));
        crowd.iter().for_each(|id| world.send(*id, "quit\n"));
        world.settle();
        world.take(ann);
    }
}

#[test]
fn who_joined_untold_leaves_untold_and_who_joined_told_leaves_told() {
    let mut world = World::new(Config { notice_members_max: 4, rate: None, ..Config::default() });
    let ann = world.connect();
    world.take(ann);
    // Who only listens is none of them.
    for _ in 0..10 {
        world.connect();
    }
    let crowd = come_together(&mut world, 5);
    assert_eq!(world.take(ann), "-- p0, p1 and 2 others joined --\n");
    world.send(crowd[4], "/nick fay\nquit\n");
    world.settle();
    assert_eq!(world.take(ann), "");
    world.send(crowd[3], "quit\n");
    let dora = world.connect();
    world.send(dora, "/nick dora\n");
    world.settle();
    assert_eq!(world.take(ann), "-- p3 left --\n-- dora joined --\n");
    let untold = world.connect();
    world.send(untold, "/nick untold\n");
    world.send(dora, "/nick eve\n");
    world.settle();
    world.send(untold, "/nick fay\nquit\n");
    world.send(dora, "quit\n");
    world.settle();
    assert_eq!(world.take(ann), "-- dora is now eve --\n-- eve left --\n");
}

#[test]
fn who_only_listens_is_no_member_to_the_others() {
    let mut world = World::new(Config { rate: None, history_messages: 0, ..Config::default() });
    let ann = world.connect();
    world.take(ann);
    for said in [
        "",
        "\n\n",
        "GET / HTTP/1.1\n",
        "\x16\x03\x01\n",
        "quit\n",
        "/quit\n",
        "/ping\n",
        "/nope\n/nick you\n",
    ] {
        let visitor = world.connect();
        world.send(visitor, said);
        world.settle();
        world.send(visitor, "quit\n");
        world.settle();
    }
    let listener = world.connect();
    assert_eq!(world.take(ann), "", "none of them is told of");
    world.send(ann, "/who\n/rooms\n");
    world.settle();
    assert_eq!(world.take(ann), "-- 1 in lobby: unix#1; 1 listening --\n-- 1 room: lobby (1) --\n");
    world.send(listener, "/rooms\n");
    world.settle();
    assert_eq!(world.take(ann), "-- unix#10 joined --\n");
}

#[test]
fn a_new_name_is_announced_after_the_join() {
    let mut world = World::new(Config { rate: None, history_messages: 0, ..Config::default() });
    let (ann, bob) = (world.connect(), world.connect());
    world.send(ann, "/join r\n");
    world.settle();
    world.take(ann);
    world.send(bob, "/join r\n/nick bob\n");
    world.settle();
    let got = world.take(ann);
    assert!(got.find("joined r") < got.find("is now bob"), "{got}");
}

#[test]
fn who_left_and_came_back_is_said_to_have_come_last() {
    let mut world = World::new(Config { rate: None, history_messages: 0, ..Config::default() });
    let (ann, bob) = (world.connect(), world.connect());
    world.take(ann);
    world.send(bob, "/leave\n/join lobby\n");
    world.settle();
    assert!(!world.take(ann).ends_with("left --\n"));
}

/// What ann reads in a room of bob, `sent` by him in one turn.
fn heard_of(sent: &str) -> String {
    let mut world = World::new(Config { rate: None, history_messages: 0, ..Config::default() });
    let (ann, bob) = (world.connect(), world.connect());
    world.send(ann, "/join r\n");
    world.send(bob, "/who\n");
    world.settle();
    world.take(ann);
    for line in sent.split_inclusive('|') {
        world.send(bob, &line.replace('|', ""));
        if line.ends_with('|') {
            world.settle();
            world.take(ann);
        }
    }
    world.settle();
    world.take(ann)
}

#[test]
fn who_comes_and_goes_and_comes_again_is_told_of_in_that_order() {
    const JOINED: &str = "-- unix#2 joined r --\n";
    const LEFT: &str = "-- unix#2 left r --\n";
    assert_eq!(heard_of("/join r\n/leave\n"), [JOINED, LEFT].concat());
    assert_eq!(heard_of("/join r\n/leave\n/join r\n"), [JOINED, LEFT, JOINED].concat());
    assert_eq!(heard_of("/join r\n|/leave\n/join r\n"), [LEFT, JOINED].concat());
    assert_eq!(heard_of("/join r\n|/leave\n/join r\n/leave\n"), [LEFT, JOINED, LEFT].concat());
}

#[test]
fn who_comes_and_goes_behind_one_who_left_is_not_told_of_as_there() {
    let mut world = World::new(Config { rate: None, history_messages: 0, ..Config::default() });
    let (ann, bob) = (world.connect(), world.connect());
    world.send(bob, "/nick bob\n");
    world.settle();
    world.take(ann);
    world.send(bob, "quit\n");
    let cho = world.connect_from(Peer::Unix).expect("there is room");
    world.send(cho, "/nick cho\nquit\n");
    world.settle();
    assert_eq!(world.take(ann), "-- bob left --\n-- cho joined --\n-- cho left --\n");
}

#[test]
fn a_name_that_was_taken_over_within_a_turn_is_told_of_as_there() {
    let mut world = World::new(Config { rate: None, history_messages: 0, ..Config::default() });
    let (zed, ann) = (world.connect(), world.connect());
    world.send(ann, "/nick ann\n");
    world.settle();
    world.take(zed);
    let (other, heir) = (world.connect(), world.connect());
    world.send(other, "/nick other\n");
    world.send(ann, "quit\n");
    world.send(heir, "/nick ann\n");
    world.settle();
    assert_eq!(world.take(zed), "-- other joined --\n-- ann left --\n-- ann joined --\n");
    // The other way round.
    world.send(heir, "quit\n");
    let heir = world.connect();
    world.send(heir, "/nick ann\n");
    world.send(other, "quit\n");
    world.settle();
    assert_eq!(world.take(zed), "-- ann left --\n-- ann joined --\n-- other left --\n");
}

#[test]
fn who_comes_and_goes_while_announcements_wait_is_told_of_in_that_order() {
    let mut world = World::new(Config { rate: None, history_messages: 0, ..Config::default() });
    let (ann, bob) = (world.connect(), world.connect());
    world.settle();
    world.take(ann);
    // More than may wait to be announced in one turn.
    let names: String = (0..100).map(|n| format!("/nick bob{n}\n")).collect();
    world.send(bob, &format!("{names}/leave\n/join lobby\n/leave\n/join lobby\n"));
    while !world.sockets[&bob].unread.is_empty() {
        world.settle();
    }
    world.settle();
    let heard = world.take(ann);
    let (_, moves) = heard.split_once("is now bob99 --\n").expect("every name is told");
    let (left, joined) = ("-- bob99 left --\n", "-- bob99 joined --\n");
    assert_eq!(moves, [left, joined, left, joined].concat());
}

#[test]
fn a_line_comes_behind_the_notices_of_what_its_author_did_before() {
    let mut world = World::new(Config { rate: None, history_messages: 0, ..Config::default() });
    let (ann, bob) = (world.connect(), world.connect());
    world.send(ann, "/nick ann\n/join r\n");
    world.settle();
    world.take(ann);
    world.send(bob, "/nick bob\n/join r\nhello\n/leave\n/msg ann hi\n/nick rob\n/join r\n/me waves\nquit\n");
    world.settle();
    let heard = world.take(ann);
    let heard: Vec<&str> =
        heard.lines().map(|line| line.trim_start_matches("2026/11/21 10:00:00 ")).collect();
    let expected = [
        "-- bob joined --",
        "-- bob joined r --",
        "[r] bob: hello",
        "-- bob left r --",
        "bob -> you: hi",
        "-- rob joined r --",
        "[r] * rob waves",
        "-- rob left r --",
    ];
    // Two rooms are two streams: those of the room that ann is in are in their order.
    let is_of_r = |line: &&str| line.contains(" r --") || line.contains("[r]") || line.contains("->");
    assert_eq!(
        heard.iter().copied().filter(is_of_r).collect::<Vec<_>>(),
        expected.iter().copied().filter(is_of_r).collect::<Vec<_>>(),
        "{heard:?}"
    );
    assert_eq!(heard.iter().filter(|line| line.contains("is now")).count(), 1, "{heard:?}");
}

#[test]
fn a_line_waits_for_the_space_of_the_notice_before_it() {
    // The log takes the one or the other, and a reader who is behind needs both.
    let config = Config {
        rate: None,
        history_messages: 0,
        log_bytes_max: 330,
        line_bytes_max: 20,
        ..Config::default()
    };
    let mut world = World::new(config);
    let (ann, bob) = (world.connect(), world.connect());
    world.send(bob, "/who\n");
    world.settle();
    world.take(ann);
    let names: String = (0..20).map(|n| format!("/nick name-{n}\nline {n}\n")).collect();
    world.send(bob, &names);
    while !world.sockets[&bob].unread.is_empty() {
        world.settle();
    }
    world.settle();
    let heard = world.take(ann);
    let lines: Vec<&str> = heard.lines().collect();
    assert_eq!(lines.len(), 40, "{heard}");
    for (n, pair) in lines.chunks(2).enumerate() {
        assert!(pair[0].ends_with(&format!(" is now name-{n} --")), "{pair:?}");
        assert!(pair[1].ends_with(&format!(" name-{n}: line {n}")), "{pair:?}");
    }
}
