//! What clients could make grow for as long as they like, and what holds it.

use std::time::Duration;

use super::outbox::Skip;
use super::*;
use crate::limits;

/// Anything may be sent at any speed.
fn unpaced() -> Config {
    Config { rate: None, history_messages: 0, ..Config::default() }
}

fn announcement_bytes(world: &World) -> usize {
    world
        .chat
        .rooms
        .iter()
        .flat_map(|(_, room)| &room.announcements)
        .map(|announcement| announcement.text.len() + size_of_val(announcement))
        .sum()
}

#[test]
fn a_thousand_renames_at_once_wait_for_each_other_and_are_all_told() {
    let mut world = World::new(unpaced());
    let (ann, bob) = (world.connect(), world.connect());
    world.settle();
    world.take(bob);
    let names: String = (0..1000).map(|n| format!("/nick ann{n}\n")).collect();
    world.send(ann, &names);
    assert!(
        announcement_bytes(&world) < limits::ANNOUNCEMENT_BYTES_MAX + 1024,
        "{}",
        announcement_bytes(&world)
    );
    while !world.sockets[&ann].unread.is_empty() {
        world.settle();
    }
    world.settle();
    let told = world.take(bob);
    assert!(told.starts_with("-- ann0 joined --\n-- ann0 is now ann1 --\n"), "{told}");
    assert_eq!(told.matches(" is now ").count(), 999);
    assert!(told.ends_with("-- ann998 is now ann999 --\n"));
}

#[test]
fn what_the_operator_pastes_waits_and_is_all_said() {
    let mut world = World::new(unpaced());
    let console = world.connect_from(Peer::Console).expect("there is one");
    let ann = world.connect();
    world.settle();
    world.take(ann);
    let paste: String = (0..1000).map(|n| format!("say {n}\n")).collect();
    world.send(console, &paste);
    assert!(
        announcement_bytes(&world) < limits::ANNOUNCEMENT_BYTES_MAX + 1024,
        "{}",
        announcement_bytes(&world)
    );
    while !world.sockets[&console].unread.is_empty() {
        world.settle();
    }
    world.settle();
    assert_eq!(world.take(ann).matches("operator: ").count(), 1000);
}

#[test]
fn rooms_that_come_and_go_leave_no_deadlines_behind() {
    let config = Config { coalesce: Duration::from_secs(60), rooms_max: 4, ..unpaced() };
    let mut world = World::new(config);
    let ann = world.connect();
    for n in 0..1000 {
        world.send(ann, &format!("/join r{n}\nhello\n/leave\n"));
        world.settle();
    }
    assert!(world.chat.deadlines.count() <= 3 * 4, "{}", world.chat.deadlines.count());
    assert!(world.chat.announcing.len() <= 2);
}

#[test]
fn who_came_and_went_leaves_no_deadlines_behind_and_who_stays_keeps_its_own() {
    let idle = Duration::from_secs(3600);
    let mut world = World::new(Config { idle_max: Some(idle), ..unpaced() });
    let stays = world.connect();
    for _ in 0..1000 {
        let id = world.connect();
        world.send(id, "/quit\n");
        world.settle();
    }
    assert!(world.chat.deadlines.count() < 500, "{} deadlines", world.chat.deadlines.count());
    world.advance(idle);
    assert_eq!(world.sockets[&stays].closing, Some(Reason::Idle));
}

#[test]
fn a_turn_of_joins_and_leaves_is_one_entry_on_the_list_of_what_is_to_be_announced() {
    let mut world = World::new(unpaced());
    let (ann, bob) = (world.connect(), world.connect());
    world.send(bob, "/join kitchen\n");
    world.settle();
    world.send(ann, &"/join kitchen\n/leave\n".repeat(500));
    assert!(world.chat.announcing.len() <= 2, "{}", world.chat.announcing.len());
}

#[test]
fn what_a_reader_is_not_shown_of_its_own_notices_is_bounded() {
    let config = Config { rooms_per_client_max: 30, ..unpaced() };
    let mut world = World::new(config);
    let (ann, bob) = (world.connect(), world.connect());
    for id in [ann, bob] {
        for n in 0..19 {
            world.send(id, &format!("/join r{n}\n"));
            world.settle();
        }
    }
    world.give_room(ann, 0);
    for n in 0..30 {
        world.send(ann, &format!("/nick ann{n}\n"));
        world.send(bob, &format!("/nick bob{n}\n"));
    }
    world.settle();
    let skips = world.chat.sessions.get(ann).and_then(|s| s.extras.as_ref()).map(|extras| extras.skips.len());
    assert!(skips.is_some_and(|skips| skips > 0 && skips <= limits::SKIPPED_SPANS_MAX), "{skips:?}");
}

/// Bytes that a part of the ceiling allows for each.
fn allowed(config: &Config, what: &str) -> usize {
    let part = memory::parts(config).into_iter().find(|part| part.what == what).expect("a part");
    usize::try_from(part.bytes_each).expect("it fits")
}

#[test]
fn one_who_does_its_worst_costs_no_more_than_the_ceiling_says() {
    let config = Config {
        history_messages: 20,
        private_bytes_max: 4096,
        line_bytes_max: 1024,
        log_bytes_max: 16 << 10,
        echo: false,
        ..unpaced()
    };
    let (replies_max, room_max) = (allowed(&config, "their replies"), allowed(&config, "rooms"));
    let mut world = World::new(config);
    let (ann, bob) = (world.connect(), world.connect());
    let text = "x".repeat(1000);
    for n in 0..19 {
        world.send(bob, &format!("/join r{n}\n{text}\n"));
        world.send(ann, &format!("/join r{n}\n"));
        world.settle();
    }
    world.take(ann);
    let (mut most, mut most_announced) = (0, 0);
    let mut look = |world: &World| {
        let extras = world.chat.sessions.get(ann).and_then(|session| session.extras.as_ref());
        let taken = extras.map_or(0, |extras| {
            extras.outbox.capacity_bytes() + extras.skips.capacity() * size_of::<Skip>() + size_of::<Extras>()
        });
        most = most.max(taken);
        most_announced = most_announced.max(announcement_bytes(world));
    };
    // Torn in the middle of a record, which is then the log's no more.
    world.give_room(ann, 300);
    world.send(ann, &format!("/ping {text}\n").repeat(100));
    look(&world);
    for round in 0..200 {
        world.send(bob, &format!("/join r{}\n{text}\n/msg unix#1 {text}\n", round % 19));
        let r = round % 7;
        world.send(ann, &format!("/join r{r}\nmine\n/ping {text}\n/last\nmine\n/who\n/nick ann{round}\n"));
        look(&world);
        world.settle();
        look(&world);
        world.give_room(ann, 1);
        world.settle();
    }
    world.send(ann, &"/leave\n".repeat(25));
    look(&world);
    world.chat.handle_signal(world.now);
    look(&world);
    assert!(most > 4096, "it did little: {most}");
    assert!(most <= replies_max, "{most} of {replies_max}");
    assert!(most_announced <= room_max, "{most_announced} of {room_max}");
}

#[test]
fn whatever_comes_in_bulk_costs_what_lines_cost_and_waits() {
    let rate = Some(Rate { lines_per_second: 1, burst_lines: 20 });
    let config = || Config { rate, line_bytes_max: 100, ..quiet() };
    let refused = [&[b'x'; 101][..], b"\n"].concat();
    let empty = |end: &str| end.repeat(limits::EMPTY_LINES_PER_LINE.into()).into_bytes();
    let empty = ["\n", "\r\n", "\r\0"].map(empty);
    let others = [&b"\x01\n"[..], b"\xff\xf1\n", b"/\n", b"//\n", b"/me\n", &refused];
    for sent in empty.iter().map(Vec::as_slice).chain(others) {
        let mut world = World::new(config());
        let ann = world.connect();
        world.send(ann, &sent.repeat(200));
        world.settle();
        let unread = world.sockets[&ann].unread.len();
        assert!(unread >= 179 * sent.len(), "{unread} unread of {}", sent.escape_ascii());
        world.advance(Duration::from_secs(5));
        let later = world.sockets[&ann].unread.len();
        assert!(later < unread && later >= 174 * sent.len(), "{later} unread of {}", sent.escape_ascii());
    }
    // A piece of a refused line as long as the longest.
    let mut world = World::new(config());
    let ann = world.connect();
    world.send(ann, &[b'x'; 200 * 100]);
    assert_eq!(world.sockets[&ann].unread.len(), 200 * 100 - 102, "all but what told that it is too long");
    world.advance(Duration::from_secs(2));
    assert_eq!(world.sockets[&ann].unread.len(), 0);
    // An answer to telnet, of which a line holds many.
    let mut world = World::new(Config { line_bytes_max: 4000, ..config() });
    let ann = world.connect();
    let greeting = world.take(ann).len();
    assert!(greeting > 0);
    world.send(ann, &[&b"\xff\xfd\x01".repeat(200)[..], b"hello\n"].concat());
    world.settle();
    assert_eq!(world.sockets[&ann].received, b"\xff\xfc\x01".repeat(20));
    for _ in 0..200 {
        world.advance(Duration::from_secs(1));
    }
    assert!(world.sockets[&ann].received.ends_with(b"ack hello\n"));
}

#[test]
fn a_paste_with_empty_lines_in_it_flows_and_the_operator_may_press_enter() {
    let rate = Some(Rate { lines_per_second: 1, burst_lines: 20 });
    let mut world = World::new(Config { rate, ..quiet() });
    let ann = world.connect();
    world.take(ann);
    world.send(ann, &"one\n\n\ntwo\n".repeat(5));
    world.settle();
    assert_eq!(world.take(ann), "ack one\nack two\n".repeat(5));
    let console = world.connect_from(Peer::Console).expect("it is let in");
    world.send(console, &"\n".repeat(1000));
    assert!(world.sockets[&console].unread.is_empty());
}

#[test]
fn who_asks_who_is_behind_is_shown_as_many_as_are_listed_for_the_price_of_those() {
    let allocations = [300, 3000].map(|behind| {
        let mut world = World::new(Config { clients_max: 4000, ..quiet() });
        let ids: Vec<_> = (0..behind).map(|_| world.connect()).collect();
        let ann = world.connect();
        ids[1..].iter().for_each(|id| world.send(*id, "/me is there\n"));
        world.settle();
        ids.iter().for_each(|id| world.give_room(*id, 0));
        world.send(ann, "hello\n");
        world.settle();
        world.take(ann);
        let asked = allocation_counter::measure(|| world.send(ann, "/lag\n"));
        world.settle();
        let told = world.take(ann);
        assert!(told.starts_with(&format!("-- {behind} readers behind in lobby --\n  unix#")), "{told}");
        let others = behind - limits::LISTED_MAX;
        // Whom `/who` does not name, this does not either.
        assert!(!told.contains("unix#1:"), "{told}");
        assert!(told.ends_with(&format!(": 1 message, 10 B\n  and {others} others\n")), "{told}");
        assert_eq!(told.lines().count(), 1 + limits::LISTED_MAX + 1);
        asked.count_total
    });
    assert!(allocations[1] < 2 * allocations[0], "{allocations:?}");
}

#[test]
fn what_a_leaving_reader_did_not_take_is_no_more_than_was_kept_for_it() {
    let mut world = World::new(Config { log_bytes_max: 1000, ..quiet() });
    let (ann, bob) = (world.connect(), world.connect());
    world.give_room(bob, 0);
    for _ in 0..500 {
        world.send(ann, "hello\n");
        world.settle();
    }
    world.send(bob, "quit\n");
    world.chat.handle_closed(world.now, bob, Reason::LingerExpired);
    let end = world.chat.journal.closes.iter().last().expect("one is kept").end;
    let not_taken = end.met.expect("it met a limit").value;
    assert!((1..=1100).contains(&not_taken), "{not_taken} B of the 1,000 that are kept, and its farewell");
}

#[test]
fn how_long_it_is_up_does_not_hang_on_the_wall_clock() {
    let mut world = World::new(quiet());
    let console = world.connect_from(Peer::Console).expect("it is let in");
    world.settle();
    world.advance(Duration::from_secs(120));
    world.now.unix_s -= 400 * 86_400;
    world.send(console, "stats\n");
    world.settle();
    let told = world.take(console);
    assert!(told.lines().any(|line| line.split_whitespace().eq(["up", "2", "min"])), "{told}");
}
