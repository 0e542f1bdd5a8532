//! Regressions: what a review of the engine and a random load found, each with the scenario that showed it.

use std::time::Duration;

use super::*;

/// Bytes arrive that are no text.
fn feed(world: &mut World, id: ConnectionId, bytes: &[u8]) {
    world.sockets.get_mut(&id).expect("there").unread.extend_from_slice(bytes);
    world.offer(id);
}

#[test]
fn lines_behind_a_long_line_and_a_telnet_command_are_handled_at_once() {
    let mut world = World::new(quiet());
    let ann = world.connect();
    world.take(ann);
    feed(&mut world, ann, &[b'x'; 5000]);
    feed(&mut world, ann, b"rest\n\xff\xfd\x06one\ntwo\nthree\n");
    world.settle();
    let got = String::from_utf8_lossy(&world.sockets[&ann].received).into_owned();
    assert!(got.contains("ack one\nack two\nack three\n"), "{got:?} unread {:?}", world.sockets[&ann].unread);
}

#[test]
fn who_joins_many_rooms_is_still_heard() {
    let config = Config { format: Format::Ack, rate: None, rooms_per_client_max: 100, ..Config::default() };
    let mut world = World::new(config);
    let ann = world.connect();
    for n in 0..70 {
        world.send(ann, &format!("/join r{n}\n"));
        world.settle();
    }
    world.take(ann);
    world.send(ann, "/ping\n");
    world.settle();
    assert!(world.take(ann).contains("pong"), "{:?}", world.chat.sessions.get(ann).map(|s| s.pause));
}

#[test]
fn who_speaks_in_many_rooms_without_echo_is_still_heard() {
    let config = Config {
        format: Format::Ack,
        rate: None,
        notices: false,
        echo: false,
        history_messages: 0,
        rooms_per_client_max: 40,
        ..Config::default()
    };
    let mut world = World::new(config);
    let ann = world.connect();
    for n in 0..39 {
        world.send(ann, &format!("/join r{n}\nhello\n"));
        world.settle();
    }
    // one read: speaks in two rooms in turn
    let burst: String = (0..40).map(|n| format!("/join r{}\nx\n", n % 2)).collect();
    world.send(ann, &burst);
    world.settle();
    world.take(ann);
    world.send(ann, "/ping\n");
    world.settle();
    assert!(world.take(ann).contains("pong"), "{:?}", world.chat.sessions.get(ann).map(|s| s.pause));
}

#[test]
fn history_comes_before_what_is_said_after_it() {
    let config = Config { history_messages: 20, ..quiet() };
    let mut world = World::new(config);
    let (ann, bob, cho) = (world.connect(), world.connect(), world.connect());
    world.send(cho, "/join r\nold\n");
    world.settle();
    world.take(ann);
    world.send(bob, "in the lobby\n");
    world.send(ann, "/join r\n");
    world.send(cho, "new\n");
    world.settle();
    let got = world.take(ann);
    assert!(got.find("ack old") < got.find("ack new"), "{got}");
}

fn fill(world: &mut World, id: ConnectionId, lines: usize) {
    for n in 0..lines {
        world.send(id, &format!("{n:06} {}\n", "x".repeat(200)));
        world.settle();
    }
}

#[test]
fn a_leaving_reader_holds_nobody_up_for_longer_than_slow_wait() {
    let config = Config { slow: SlowPolicy::Wait(Duration::from_secs(1)), log_bytes_max: 20_000, ..quiet() };
    let mut world = World::new(config);
    let (ann, bob) = (world.connect(), world.connect());
    world.give_room(bob, 0);
    world.settle();
    world.send(ann, "first\n");
    world.settle();
    world.send(bob, "quit\n");
    world.settle();
    fill(&mut world, ann, 200);
    let waiting = |world: &World| !world.sockets[&ann].unread.is_empty();
    assert!(waiting(&world));
    for _ in 0..4 {
        world.advance(Duration::from_millis(1001));
    }
    let outbox = world.chat.sessions.get(bob).map(|s| s.private_bytes());
    assert!(!waiting(&world), "still waits; outbox of the leaver: {outbox:?}");
}

#[test]
fn a_slow_reader_that_was_closed_holds_nobody_up() {
    let config = Config {
        slow: SlowPolicy::Wait(Duration::from_secs(1)),
        log_bytes_max: 20_000,
        history_messages: 20,
        ..quiet()
    };
    let mut world = World::new(config);
    let ann = world.connect();
    world.send(ann, "old\n");
    world.settle();
    // connects and never reads: its history is due first
    let bob = world.connect_from(Peer::Unix).expect("ok");
    world.sockets.get_mut(&bob).expect("it connected").room = Some(0);
    world.settle();
    fill(&mut world, ann, 200);
    for _ in 0..3 {
        world.advance(Duration::from_millis(1001));
    }
    assert_eq!(world.sockets[&bob].closing, Some(Reason::TooSlow));
    assert!(world.sockets[&ann].unread.is_empty(), "still held up by a reader that was closed");
}

#[test]
fn the_console_is_not_closed_as_slow() {
    let config = Config { slow: SlowPolicy::Wait(Duration::from_secs(1)), log_bytes_max: 20_000, ..quiet() };
    let mut world = World::new(config);
    let console = world.connect_from(Peer::Console).expect("ok");
    let ann = world.connect();
    world.send(console, "watch\n");
    world.settle();
    world.give_room(console, 0);
    world.settle();
    world.send(ann, "one\n");
    world.settle();
    world.send(console, "watch\n");
    world.settle();
    fill(&mut world, ann, 200);
    world.advance(Duration::from_millis(1001));
    world.advance(Duration::from_millis(1001));
    assert_eq!(world.sockets[&console].closing, None);
}

#[test]
fn the_wait_of_a_sender_that_left_is_nobodys() {
    let config = Config { slow: SlowPolicy::Wait(Duration::from_secs(10)), log_bytes_max: 20_000, ..quiet() };
    let mut world = World::new(config);
    let (ann, bob, cho) = (world.connect(), world.connect(), world.connect());
    world.give_room(bob, 0);
    fill(&mut world, ann, 200);
    assert!(!world.sockets[&ann].unread.is_empty());
    world.sockets.remove(&ann);
    world.chat.handle_closed(world.now, ann, Reason::Reset);
    world.act();
    world.settle();
    world.advance(Duration::from_millis(9_900));
    world.send(cho, &format!("{}\n", "y".repeat(200)));
    world.settle();
    world.advance(Duration::from_millis(200));
    assert_eq!(world.sockets[&bob].closing, None, "closed after 0.2 s of anyone's waiting");
}

#[test]
fn lines_in_no_room_cost_what_lines_cost() {
    let rate = Some(Rate { lines_per_second: 1, burst_lines: 20 });
    let mut world = World::new(Config { rate, ..quiet() });
    let ann = world.connect();
    world.send(ann, "/leave\n");
    world.settle();
    for _ in 0..200 {
        world.send(ann, "hello\n");
        world.settle();
    }
    assert!(world.take(ann).matches("in no room; /join ROOM").count() <= 20);
}

#[test]
fn a_line_that_waits_is_counted_once() {
    let rate = Some(Rate { lines_per_second: 1, burst_lines: 1 });
    let mut world = World::new(Config { rate, ..quiet() });
    let ann = world.connect();
    world.send(ann, "one\ntwo\n");
    world.advance(Duration::from_secs(2));
    assert_eq!(world.chat.counters.records, 2);
    assert_eq!(world.chat.counters.lines_in, 2);
}

#[test]
fn memory_is_given_back_when_the_last_slow_reader_caught_up() {
    let mut world = World::new(quiet());
    let (ann, bob) = (world.connect(), world.connect());
    world.give_room(bob, 0);
    fill(&mut world, ann, 4000);
    world.advance(Duration::from_secs(10));
    world.open_wide(bob);
    world.settle();
    world.advance(Duration::from_secs(10));
    let bytes = world.chat.rooms[world.chat.first_room.index()].log.capacity_bytes();
    assert!(bytes < 64 * 1024, "{bytes}");
}

#[test]
fn own_lines_are_not_missed_without_echo() {
    let config = Config { echo: false, log_bytes_max: 4000, line_bytes_max: 300, ..quiet() };
    let mut world = World::new(config);
    let (ann, bob) = (world.connect(), world.connect());
    world.give_room(ann, 0);
    world.send(bob, "one\n");
    world.settle();
    world.take(ann);
    fill(&mut world, ann, 100);
    world.open_wide(ann);
    world.settle();
    assert_eq!(world.take(ann), "-- you missed 1 message --\n");
}

#[test]
fn own_lines_that_fell_off_are_left_out_of_one_gap_alone() {
    let config = Config { echo: false, log_bytes_max: 4000, line_bytes_max: 300, ..quiet() };
    let mut world = World::new(config);
    let (ann, bob) = (world.connect(), world.connect());
    world.take(ann);
    for _ in 0..2 {
        world.give_room(ann, 0);
        world.send(bob, "one\n");
        world.settle();
        fill(&mut world, ann, 100);
        // The gap is noted, and nothing is written.
        world.give_room(ann, 0);
        world.settle();
    }
    world.open_wide(ann);
    world.settle();
    assert_eq!(world.take(ann), "-- you missed 1 message --\n-- you missed 1 message --\n");
}

#[test]
fn a_long_first_line_of_a_person_is_no_http() {
    let mut world = World::new(quiet());
    let ann = world.connect();
    world.send(ann, &format!("I {}\n", "have a long story ".repeat(400)));
    world.settle();
    assert!(world.take(ann).contains("too long"));
}

#[test]
fn the_operator_sees_the_last_words_of_a_room() {
    let mut world = World::new(quiet());
    let console = world.connect_from(Peer::Console).expect("ok");
    let ann = world.connect();
    world.send(console, "watch\n");
    world.send(ann, "/join r\n");
    world.settle();
    world.take(console);
    world.send(ann, "last words\n/leave\n");
    world.settle();
    assert!(world.take(console).contains("last words"));
}

#[test]
fn one_who_is_leaving_cannot_be_kicked() {
    let mut world = World::new(quiet());
    let console = world.connect_from(Peer::Console).expect("ok");
    let ann = world.connect();
    world.give_room(ann, 0);
    world.send(ann, "quit\n");
    world.settle();
    world.take(console);
    world.send(console, "kick unix#2\n");
    world.settle();
    assert!(world.take(console).contains("no such client"));
}

#[test]
fn a_wait_of_nothing_does_not_spin() {
    let config = Config { slow: SlowPolicy::Wait(Duration::ZERO), log_bytes_max: 20_000, ..quiet() };
    let mut world = World::new(config);
    let (ann, bob) = (world.connect(), world.connect());
    world.give_room(bob, 0);
    world.settle();
    world.send(ann, "first\n");
    world.settle();
    world.send(bob, "quit\n");
    world.settle();
    fill(&mut world, ann, 200);
    let before = world.chat.sessions.get(bob).map(|s| s.private_bytes());
    for _ in 0..1000 {
        world.turn();
    }
    let after = world.chat.sessions.get(bob).map(|s| s.private_bytes());
    assert!(world.chat.poll_timeout().is_none_or(|due| due > world.now.moment), "due now, for ever");
    assert_eq!(before, after);
}

#[test]
fn what_the_last_one_said_who_was_too_slow_is_seen_by_a_console_that_watches() {
    let config = Config {
        slow: SlowPolicy::Close,
        notices: false,
        log_bytes_max: 2048,
        line_bytes_max: 64,
        ..quiet()
    };
    let mut world = World::new(config);
    let console = world.connect_from(Peer::Console).expect("there is one");
    world.send(console, "watch\n");
    let ann = world.connect();
    world.settle();
    world.give_room(ann, 0);
    let mut said = 0;
    while world.sockets[&ann].closing.is_none() {
        said += 1;
        world.send(ann, &format!("line {said}\n"));
        world.settle();
    }
    let seen = world.take(console);
    assert!(seen.contains(&format!("ack line {said}\n")), "{said} said:\n{seen}");
}

#[test]
fn deadlines_of_waits_do_not_pile_up() {
    let config =
        Config { slow: SlowPolicy::Wait(Duration::from_secs(86400)), log_bytes_max: 20_000, ..quiet() };
    let mut world = World::new(config);
    let (ann, bob) = (world.connect(), world.connect());
    world.give_room(bob, 0);
    fill(&mut world, ann, 100);
    for _ in 0..20_000 {
        world.send(ann, &format!("{}\n", "x".repeat(207)));
        world.settle();
        world.give_room(bob, 212);
        world.settle();
    }
    let far = world.now.moment + Duration::from_secs(1_000_000);
    let mut n = 0;
    while world.chat.deadlines.poll_due(far).is_some() {
        n += 1;
    }
    assert!(n < 100, "{n} deadlines");
}

#[test]
fn a_room_keeps_its_order_for_one_who_leaves_and_returns() {
    let mut world = World::new(quiet());
    let (ann, bob, cho) = (world.connect(), world.connect(), world.connect());
    world.send(ann, "/join r\n");
    world.send(cho, "/join r\n");
    world.settle();
    world.take(ann);
    world.give_room(ann, 0);
    world.send(cho, "one\n");
    world.send(bob, "in lobby\n");
    world.settle();
    // A reply is due in the lobby, then what was unread of r, then r again.
    world.send(ann, "/join lobby\n/ping\n/join r\n/leave\n/join r\n");
    world.send(cho, "two\n");
    world.settle();
    world.open_wide(ann);
    world.settle();
    let got = world.take(ann);
    assert!(got.find("ack one") < got.find("ack two"), "{got}");
}

#[test]
fn who_is_closed_behind_the_log_is_told_of_the_gap_also_behind_what_it_was_not_to_be_sent() {
    let config = Config { format: Format::Ack, rate: None, history_messages: 0, ..Config::default() };
    let mut world = World::new(Config { log_bytes_max: 2048, line_bytes_max: 64, ..config });
    let ann = world.connect();
    let bob = world.connect_from(Peer::Unix).expect("there is room");
    world.sockets.get_mut(&bob).expect("it connected").room = Some(0);
    // That it joined is not told to itself: this is what it skips.
    world.settle();
    for n in 0..500 {
        world.send(ann, &format!("line {n}\n"));
        world.settle();
    }
    world.chat.handle_signal(world.now);
    world.act();
    world.open_wide(bob);
    world.settle();
    let got = world.take(bob);
    let kept = got.lines().filter(|line| line.starts_with("ack line ")).count();
    let missed =
        got.lines().find_map(|line| line.strip_prefix("-- you missed ")?.strip_suffix(" messages --"));
    assert_eq!(missed.and_then(|count| count.parse().ok()), Some(500 - kept), "{kept} kept:\n{got}");
}

#[test]
fn who_is_closed_behind_the_log_does_not_miss_its_own_words() {
    let config =
        Config { format: Format::Ack, rate: None, history_messages: 0, echo: false, ..Config::default() };
    let mut world = World::new(Config { log_bytes_max: 2048, line_bytes_max: 64, notices: false, ..config });
    let ann = world.connect();
    let bob = world.connect();
    world.take(bob);
    world.sockets.get_mut(&bob).expect("it connected").room = Some(0);
    for n in 0..500 {
        world.send(ann, &format!("line {n}\n"));
        world.settle();
        // Some of its own words are lost with the others', the last ones are kept, and skipped there.
        if n % 100 == 99 {
            world.send(bob, "my own\nwords\n");
            world.settle();
        }
    }
    world.chat.handle_signal(world.now);
    world.act();
    world.open_wide(bob);
    world.settle();
    let got = world.take(bob);
    let kept = got.lines().filter(|line| line.starts_with("ack line ")).count();
    let missed =
        got.lines().find_map(|line| line.strip_prefix("-- you missed ")?.strip_suffix(" messages --"));
    assert_eq!(missed.and_then(|count| count.parse().ok()), Some(500 - kept), "{kept} kept:\n{got}");
    assert!(!got.contains("own"), "{got}");
}

#[test]
fn who_leaves_and_is_not_waited_for_is_told_that_the_rest_is_dropped() {
    let patience = Duration::from_secs(2);
    let mut world = World::new(Config { log_bytes_max: 100, slow: SlowPolicy::Wait(patience), ..quiet() });
    let (ann, slow) = (world.connect(), world.connect());
    world.take(slow);
    world.give_room(slow, 0);
    world.send(ann, &(0..30).map(|n| format!("m{n:02}\n")).collect::<String>());
    world.settle();
    world.send(slow, "quit\n");
    world.settle();
    world.advance(patience);
    world.settle();
    assert!(world.chat.wants_input(ann), "nobody is waited for any more");
    world.open_wide(slow);
    world.settle();
    let rest = world.take(slow);
    assert!(
        rest.contains("-- you read too slowly: the rest of what was said is dropped (--slow) --"),
        "{rest}"
    );
}

#[test]
fn a_console_that_ended_is_no_member_of_rooms_that_are_made_later() {
    let mut world = World::new(Config { notices: false, rate: None, ..Config::default() });
    let console = world.connect_from(Peer::Console).expect("the console is let in");
    let ann = world.connect();
    world.send(console, "watch\n");
    world.give_room(console, 0);
    world.send(ann, "hello\n");
    world.settle();
    assert!(world.chat.handle_eof(world.now, console, b""));
    world.act();
    world.send(ann, "/join red\n");
    world.settle();
    assert_eq!(world.chat.check(world.now.moment), Ok(()));
    world.chat.handle_closed(world.now, console, Reason::EndOfInput);
    assert_eq!(world.chat.check(world.now.moment), Ok(()));
}

#[test]
fn own_lines_before_a_reply_are_not_left_out_of_a_gap_behind_it() {
    let mut world = World::new(Config { echo: false, log_bytes_max: 100, ..quiet() });
    let (ann, slow) = (world.connect(), world.connect());
    world.take(slow);
    world.give_room(slow, 0);
    // One stretch of the log that is not sent, with a reply due in its middle.
    world.send(slow, "a\n/ping\nb\n");
    world.settle();
    world.send(ann, &(0..30).map(|n| format!("m{n:02}\n")).collect::<String>());
    world.settle();
    world.open_wide(slow);
    world.settle();
    let kept: String = (18..30).map(|n| format!("ack m{n:02}\n")).collect();
    assert_eq!(world.take(slow), format!("-- pong --\n-- you missed 18 messages --\n{kept}"));
}
