//! The engine driven by hand through its promises.

mod announcing;
mod bounds;
mod regressions;
mod world;

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::config::{Config, ConnectRate, Format, Rate, SlowPolicy};
use super::session::Extras;
use super::*;
use world::World;

fn quiet() -> Config {
    Config { format: Format::Ack, notices: false, rate: None, history_messages: 0, ..Config::default() }
}

#[test]
fn a_newcomer_is_greeted_and_everyone_hears_a_line() {
    let mut world = World::new(Config { rate: None, ..Config::default() });
    let ann = world.connect();
    let bob = world.connect();
    assert_eq!(world.take(ann), "-- you are unix#1 in lobby; /help lists the commands --\n");
    world.send(bob, "你好\n");
    world.settle();
    assert_eq!(world.take(ann), "-- unix#2 joined --\n2026/11/21 10:00:00 unix#2: 你好\n");
    assert!(world.take(bob).ends_with("unix#2: 你好\n"));
}

#[test]
fn replies_stand_where_they_were_caused() {
    let mut world = World::new(quiet());
    let ann = world.connect();
    world.take(ann);
    world.send(ann, "one\n/ping\ntwo\n/ping 2\nthree\n");
    world.settle();
    assert_eq!(world.take(ann), "ack one\n-- pong --\nack two\n-- pong 2 --\nack three\n");
}

#[test]
fn replies_stand_where_they_were_caused_for_one_who_leaves_too() {
    let mut world = World::new(quiet());
    let ann = world.connect();
    world.take(ann);
    world.send(ann, "one\n/ping\ntwo\n/ping 2\nthree\nquit\n");
    world.settle();
    assert_eq!(world.take(ann), "ack one\n-- pong --\nack two\n-- pong 2 --\nack three\n-- bye --\n");
    assert!(world.chat.sessions.is_empty());
    assert!(!world.chat.rooms[world.chat.first_room.index()].is_pinned());
}

#[test]
fn the_last_line_counts_without_an_end() {
    let mut world = World::new(quiet());
    let (ann, bob) = (world.connect(), world.connect());
    world.take(bob);
    assert!(world.chat.handle_eof(world.now, ann, b"last words"));
    world.act();
    world.settle();
    assert!(world.take(ann).ends_with("ack last words\n"));
    assert_eq!(world.take(bob), "ack last words\n");
    assert_eq!(world.chat.clients(), 1);
}

#[test]
fn history_is_marked_and_has_no_notices() {
    let config = Config { format: Format::Ack, history_messages: 2, rate: None, ..Config::default() };
    let mut world = World::new(config);
    let ann = world.connect();
    world.send(ann, "one\ntwo\n");
    world.settle();
    let bob = world.connect();
    world.send(ann, "three\n");
    world.settle();
    let cho = world.connect();
    world.take(bob);
    let seen = world.take(cho);
    let (_, history) = seen.split_once('\n').expect("a greeting");
    assert_eq!(history, "-- history: the last 2 messages --\nack two\nack three\n-- end of history --\n");
    world.send(cho, "/last 1\n");
    world.settle();
    assert_eq!(world.take(cho), "-- the last 1 message --\nack three\n-- end --\n");
}

#[test]
fn a_sender_without_echo_gets_everything_but_its_own_lines() {
    let mut world = World::new(Config { echo: false, ..quiet() });
    let (ann, bob) = (world.connect(), world.connect());
    world.take(ann);
    world.take(bob);
    for round in 0..3 {
        world.send(ann, &format!("a{round}\nb{round}\n"));
        world.send(bob, &format!("c{round}\n"));
    }
    world.settle();
    assert_eq!(world.take(ann), "ack c0\nack c1\nack c2\n");
    assert_eq!(world.take(bob), "ack a0\nack b0\nack a1\nack b1\nack a2\nack b2\n");
    world.send(ann, "mine\nquit\n");
    world.settle();
    assert_eq!(world.take(ann), "-- bye --\n");
}

#[test]
fn a_slow_reader_is_told_how_many_it_missed_at_their_place() {
    let mut world = World::new(Config { log_bytes_max: 100, ..quiet() });
    let (ann, slow) = (world.connect(), world.connect());
    world.take(slow);
    world.give_room(slow, 12);
    for n in 0..30 {
        world.send(ann, &format!("m{n:02}\n"));
        world.settle();
    }
    world.open_wide(slow);
    world.settle();
    let seen = world.take(slow);
    let kept = 100 / 8;
    let missed = 30 - 2 - kept;
    let expected: String = (0..30)
        .filter(|n| *n < 2 || *n >= 30 - kept)
        .map(|n| {
            let gap =
                if n == 30 - kept { format!("-- you missed {missed} messages --\n") } else { String::new() };
            format!("{gap}ack m{n:02}\n")
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_slow_reader_is_closed_where_the_policy_says_so() {
    let mut world = World::new(Config { log_bytes_max: 100, slow: SlowPolicy::Close, ..quiet() });
    let (ann, slow) = (world.connect(), world.connect());
    world.take(slow);
    world.give_room(slow, 12);
    for n in 0..30 {
        world.send(ann, &format!("m{n:02}\n"));
        world.settle();
    }
    assert_eq!(world.sockets[&slow].closing, Some(Reason::TooSlow));
    world.open_wide(slow);
    world.settle();
    assert_eq!(world.take(slow), "ack m00\nack m01\n-- you read too slowly: closing (--slow) --\n");
    assert_eq!(world.chat.clients(), 1);
}

#[test]
fn senders_wait_for_a_slow_reader_and_nothing_is_lost() {
    let patience = Duration::from_secs(2);
    let mut world = World::new(Config { log_bytes_max: 100, slow: SlowPolicy::Wait(patience), ..quiet() });
    let (ann, slow) = (world.connect(), world.connect());
    world.take(slow);
    world.give_room(slow, 0);
    let lines: String = (0..30).map(|n| format!("m{n:02}\n")).collect();
    world.send(ann, &lines);
    world.settle();
    assert!(!world.chat.wants_input(ann));
    world.advance(patience / 2);
    world.open_wide(slow);
    for _ in 0..10 {
        world.settle();
    }
    let expected: String = (0..30).map(|n| format!("ack m{n:02}\n")).collect();
    assert_eq!(world.take(slow), expected);
    assert!(world.chat.wants_input(ann));
    world.advance(patience * 2);
    assert!(world.chat.sessions.get(slow).is_some(), "it caught up in time");
}

#[test]
fn a_little_space_is_enough_for_those_who_wait() {
    let patience = Duration::from_secs(2);
    let mut world = World::new(Config { log_bytes_max: 100, slow: SlowPolicy::Wait(patience), ..quiet() });
    let (ann, bob, slow) = (world.connect(), world.connect(), world.connect());
    world.take(bob);
    world.give_room(slow, 0);
    world.send(ann, &(0..30).map(|n| format!("m{n:02}\n")).collect::<String>());
    world.settle();
    let heard_before = world.take(bob).lines().count();
    world.give_room(slow, 24);
    for _ in 0..10 {
        world.settle();
    }
    assert_eq!((heard_before, world.take(bob).lines().count()), (12, 3), "it is behind still, but by less");
}

#[test]
fn senders_wait_no_longer_than_the_deadline() {
    let patience = Duration::from_secs(2);
    let mut world = World::new(Config { log_bytes_max: 100, slow: SlowPolicy::Wait(patience), ..quiet() });
    let (ann, bob, slow) = (world.connect(), world.connect(), world.connect());
    world.take(bob);
    world.give_room(slow, 0);
    let lines: String = (0..30).map(|n| format!("m{n:02}\n")).collect();
    world.send(ann, &lines);
    world.settle();
    world.advance(patience - Duration::from_millis(1));
    assert!(world.sockets[&slow].closing.is_none());
    world.advance(Duration::from_millis(1));
    assert_eq!(world.sockets[&slow].closing, Some(Reason::TooSlow));
    for _ in 0..10 {
        world.settle();
    }
    assert_eq!(world.take(bob), (0..30).map(|n| format!("ack m{n:02}\n")).collect::<String>());
}

#[test]
fn a_flood_in_one_turn_waits_for_those_who_read() {
    // Far more than the log holds arrives before anything is flushed: nobody who reads loses a line.
    let mut world = World::new(Config { log_bytes_max: 100, ..quiet() });
    let (ann, bob) = (world.connect(), world.connect());
    world.take(bob);
    let lines: String = (0..300).map(|n| format!("m{n:03}\n")).collect();
    world.send(ann, &lines);
    for _ in 0..100 {
        world.settle();
    }
    assert_eq!(world.take(bob), (0..300).map(|n| format!("ack m{n:03}\n")).collect::<String>());
}

#[test]
fn the_rate_limit_slows_and_loses_nothing() {
    let rate = Rate { lines_per_second: 10, burst_lines: 5 };
    let mut world = World::new(Config { rate: Some(rate), ..quiet() });
    let ann = world.connect();
    world.take(ann);
    world.send(ann, &(0..12).map(|n| format!("m{n:02}\n")).collect::<String>());
    world.settle();
    assert_eq!(world.take(ann).lines().count(), 5);
    for _ in 0..7 {
        world.advance(Duration::from_millis(99));
        assert_eq!(world.take(ann), "");
        world.advance(Duration::from_millis(1));
        assert_eq!(world.take(ann).lines().count(), 1);
    }
    assert!(world.sockets[&ann].unread.is_empty());
}

#[test]
fn addresses_are_limited_by_block_and_loopback_is_exempt() {
    let mut world = World::new(Config { clients_per_ip_max: 2, ..quiet() });
    let peer = |ip: &str| Peer::from(std::net::SocketAddr::new(ip.parse::<IpAddr>().expect("an address"), 1));
    for (ip, is_admitted) in [
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", true),
        ("192.0.2.1", false),
        ("192.0.2.2", true),
        ("2001:db8::1", true),
        ("2001:db8::2", true),
        ("2001:db8::3", false),
        ("2001:db8:0:1::3", true),
        ("127.0.0.1", true),
        ("127.0.0.1", true),
        ("127.0.0.1", true),
        ("::1", true),
        ("::1", true),
        ("::1", true),
    ] {
        let admitted = world.connect_from(peer(ip));
        assert_eq!(admitted.is_ok(), is_admitted, "{ip}");
        if let Err(refusal) = admitted {
            assert_eq!(refusal.text, "-- too many connections from your address: 2 at most --\n");
        }
    }
    let gone = *world.sockets.keys().min_by_key(|id| id.serial()).expect("some are in");
    world.chat.handle_closed(world.now, gone, Reason::Reset);
    assert!(world.connect_from(peer("192.0.2.1")).is_ok(), "a close makes room");
}

#[test]
fn a_class_behind_one_address_that_loses_its_connections_again_and_again_is_back_within_a_minute() {
    let mut world = World::new(quiet());
    let peer = Peer::Inet([192, 0, 2, 1].into(), 1);
    for round in 0..5 {
        let class: Vec<_> = (0..32)
            .map(|_| {
                let mut seconds = 0;
                loop {
                    match world.connect_from(peer) {
                        Ok(id) => break id,
                        Err(refusal) => {
                            assert_eq!(refusal.reason, Reason::AddressBusy);
                            assert_eq!(
                                refusal.text,
                                "-- too many newcomers from your address: try again in 1 s --\n"
                            );
                        }
                    }
                    seconds += 1;
                    assert!(round >= 2 && seconds <= 1, "the first two times all are back at once");
                    world.advance(Duration::from_secs(1));
                }
            })
            .collect();
        for id in class {
            world.chat.handle_closed(world.now, id, Reason::Reset);
        }
    }
}

#[test]
fn who_is_not_let_in_for_another_reason_is_no_newcomer_of_its_address() {
    let rate = ConnectRate { connects_per_minute: 1, burst_connects: 2, addresses_max: 1 };
    let mut world = World::new(Config { clients_per_ip_max: 1, connect_rate: Some(rate), ..quiet() });
    let peer = Peer::Inet([192, 0, 2, 1].into(), 1);
    let reason = |world: &mut World| world.connect_from(peer).map_err(|refusal| refusal.reason);
    let ann = reason(&mut world).expect("the first is let in");
    for _ in 0..10 {
        assert_eq!(reason(&mut world), Err(Reason::AddressFull));
    }
    world.chat.handle_closed(world.now, ann, Reason::Quit);
    let bob = reason(&mut world).expect("there is a token left");
    world.chat.handle_closed(world.now, bob, Reason::Quit);
    assert_eq!(reason(&mut world), Err(Reason::AddressBusy));
}

#[test]
fn rooms_are_made_remembered_and_forgotten() {
    let config =
        Config { format: Format::Ack, notices: false, rate: None, rooms_max: 3, ..Config::default() };
    let mut world = World::new(config);
    let ann = world.connect();
    world.send(ann, "/join one\nhello one\n/leave\n/join two\nhello two\n/leave\n");
    world.settle();
    world.take(ann);
    world.send(ann, "/rooms\n");
    world.settle();
    assert_eq!(world.take(ann), "-- 3 rooms: lobby (1), one (0), two (0) --\n");
    world.send(ann, "/join three\n/rooms\n");
    world.settle();
    assert!(
        world.take(ann).ends_with("-- 3 rooms: lobby (1), three (1), two (0) --\n"),
        "the oldest memory went"
    );
    world.send(ann, "/leave\n/rooms\n");
    world.settle();
    assert!(world.take(ann).ends_with("-- 2 rooms: lobby (1), two (0) --\n"), "nothing was said in three");
    world.send(ann, "/join two\n");
    world.settle();
    assert!(world.take(ann).contains("-- history: the last 1 message --\nack hello two\n"));
}

#[test]
fn what_one_sends_goes_to_the_current_room_alone() {
    let mut world = World::new(Config { format: Format::Line, ..quiet() });
    let (ann, bob) = (world.connect(), world.connect());
    world.send(ann, "/join rust\n");
    world.send(bob, "/join rust\n/join lobby\n");
    world.settle();
    world.take(ann);
    world.take(bob);
    world.send(ann, "in rust\n/join lobby\nin lobby\n/leave\nrust again\n");
    world.settle();
    let lines = |text: String| text.lines().map(|line| line[20..].to_string()).collect::<Vec<_>>();
    let heard = lines(world.take(bob));
    assert!(heard.contains(&"[rust] unix#1: in rust".to_string()));
    assert!(heard.contains(&"unix#1: in lobby".to_string()));
    assert!(heard.contains(&"[rust] unix#1: rust again".to_string()));
    assert_eq!(heard.len(), 3);
}

#[test]
fn memory_is_given_back_when_it_is_quiet() {
    let mut world = World::new(quiet());
    let (ann, slow) = (world.connect(), world.connect());
    world.give_room(slow, 0);
    for _ in 0..2000 {
        world.send(ann, &format!("{}\n", "x".repeat(100)));
        world.settle();
    }
    let log_bytes = |world: &World| world.chat.rooms[world.chat.first_room.index()].log.capacity_bytes();
    assert!(log_bytes(&world) > 200_000);
    world.open_wide(slow);
    world.settle();
    world.send(ann, "bye\n");
    world.settle();
    world.advance(room::SHRINK_AFTER);
    world.advance(room::SHRINK_AFTER);
    assert!(log_bytes(&world) < 4096, "{} bytes are kept", log_bytes(&world));
    assert_eq!(world.chat.poll_timeout(), None, "an idle server wakes for nothing");
    let extras = |id| world.chat.sessions.get(id).and_then(|session: &Session| session.extras.as_deref());
    assert!(extras(ann).is_none_or(|_: &Extras| false) && extras(slow).is_none());
}

#[test]
fn an_idle_client_is_closed_and_a_paused_one_is_not_idle() {
    let idle = Duration::from_secs(10);
    let rate = Rate { lines_per_second: 1, burst_lines: 1 };
    let mut world = World::new(Config { idle_max: Some(idle), rate: Some(rate), ..quiet() });
    let (ann, bob) = (world.connect(), world.connect());
    world.send(bob, &"x\n".repeat(15));
    for _ in 0..11 {
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(world.sockets[&ann].closing, Some(Reason::Idle));
    assert!(world.take(ann).ends_with("-- you said nothing for 10 s: closing --\n"));
    assert!(world.sockets[&bob].closing.is_none());
}

#[test]
fn a_browser_and_a_tls_client_are_shown_the_door() {
    let mut world = World::new(quiet());
    for first in ["GET / HTTP/1.1\r\n/nick x\r\nhello\r\n", "\u{16}\u{3}\u{1}"] {
        let id = world.connect();
        world.send(id, first);
        world.settle();
        assert_eq!(world.sockets[&id].closing, Some(Reason::WrongProtocol), "{first:?}");
    }
    let ann = world.connect();
    world.send(ann, "hello\nGET / HTTP/1.1\n");
    world.settle();
    assert!(
        world.take(ann).ends_with("ack hello\nack GET / HTTP/1.1\n"),
        "only a first line is taken for HTTP"
    );
}

#[test]
fn the_console_is_not_a_client() {
    let mut world = World::new(Config { console_prompt: true, ..quiet() });
    let console = world.connect_from(Peer::Console).expect("the operator is always let in");
    let ann = world.connect();
    world.send(ann, "/nick ann\n");
    world.send(console, "watch\nsay dinner\nkick ann too loud\n");
    world.settle();
    world.settle();
    let seen = world.take(ann);
    assert!(seen.contains("-- the operator closed your connection: too loud --\n"), "{seen}");
    assert_eq!(world.sockets[&ann].closing, Some(Reason::Kicked));
    let seen = world.take(console);
    assert!(seen.starts_with(">> ") && seen.contains("kicked ann: too loud\n"), "{seen}");
    assert!(seen.contains("ack dinner\n"), "{seen}");
    assert!(world.chat.handle_eof(world.now, console, b""));
    world.act();
    world.settle();
    let seen = world.take(console);
    assert!(seen.ends_with("-- end of input: the server goes on; Ctrl-C ends it --\n"), "{seen}");
    assert!(world.chat.console.is_none());
    let bob = world.connect();
    assert!(world.chat.wants_input(bob));
}

/// One thing that happens to a small world.
#[derive(Clone, Debug)]
enum Step {
    Say { who: usize, lines: usize },
    Room { who: usize, bytes: usize },
    OpenWide { who: usize },
    Ask { who: usize },
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..4, 1_usize..12).prop_map(|(who, lines)| Step::Say { who, lines }),
        3 => (0_usize..4, 0_usize..40).prop_map(|(who, bytes)| Step::Room { who, bytes }),
        1 => (0_usize..4).prop_map(|who| Step::OpenWide { who }),
        1 => (0_usize..4).prop_map(|who| Step::Ask { who }),
        3 => Just(Step::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the sockets take: every member gets the room's messages in order, in whole lines,
    /// and each hole in them is told, with its exact size, where it is.
    #[test]
    fn holes_are_told_exactly_and_lines_are_whole(
        steps in proptest::collection::vec(step(), 1..80),
        waits in any::<bool>(),
    ) {
        let slow = if waits { SlowPolicy::Wait(Duration::from_secs(3600)) } else { SlowPolicy::Skip };
        let mut world = World::new(Config { log_bytes_max: 120, slow, ..quiet() });
        let ids: Vec<_> = (0..4).map(|_| world.connect()).collect();
        for id in &ids {
            world.take(*id);
        }
        let mut said = 0;
        for step in steps {
            match step {
                Step::Say { who, lines } => {
                    let text: String = (said..said + lines).map(|n| format!("m{n}\n")).collect();
                    // Numbers are in the order of the log only if no other sender's lines wait.
                    if ids.iter().all(|id| world.sockets[id].unread.is_empty()) {
                        world.send(ids[who], &text);
                        said += lines;
                    }
                }
                Step::Room { who, bytes } => world.give_room(ids[who], bytes),
                Step::OpenWide { who } => world.open_wide(ids[who]),
                Step::Ask { who } => world.send(ids[who], "/ping\n"),
                Step::Settle => world.settle(),
            }
        }
        for _ in 0..50 {
            for id in &ids {
                world.open_wide(*id);
            }
            world.settle();
        }
        for id in &ids {
            prop_assert!(world.sockets[id].unread.is_empty(), "input still waits");
            let mut next = 0;
            for line in world.take(*id).lines() {
                if let Some(number) = line.strip_prefix("ack m") {
                    prop_assert_eq!(number.parse::<usize>().ok(), Some(next));
                    next += 1;
                } else if let Some(missed) = line.strip_prefix("-- you missed ") {
                    prop_assert!(!waits, "nothing may be missed where senders wait");
                    next += missed.split(' ').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
                } else {
                    prop_assert_eq!(line, "-- pong --");
                }
            }
            prop_assert_eq!(next, said);
        }
    }
}
