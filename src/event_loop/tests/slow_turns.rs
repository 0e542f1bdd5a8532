//! Turns that keep everybody waiting, and the log that tells of them.

use std::cell::RefCell;
use std::time::Duration;

use super::system::Virtual;
use super::{Echo, settle, world};
use crate::engine::Peer;
use crate::event_loop::EventLoop;
use crate::limits;

thread_local! {
    /// What was logged by the test on this thread, if it asked for that: the others would only collect it, and
    /// some reckon their memory.
    static LOGGED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Catcher;

impl log::Log for Catcher {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.with_borrow_mut(|logged| {
                if let Some(logged) = logged {
                    logged.push(format!("{}: {}", record.level(), record.args()));
                }
            });
        }
    }

    fn flush(&self) {}
}

fn logged() -> Vec<String> {
    LOGGED.replace(Some(Vec::new())).unwrap_or_default()
}

/// A world whose log is caught.
fn logged_world() -> (Virtual, EventLoop<Virtual, Echo>) {
    // Another test may have been the first.
    let _ = log::set_logger(&Catcher);
    LOGGED.set(Some(Vec::new()));
    log::set_max_level(log::LevelFilter::Warn);
    world()
}

#[test]
fn a_turn_that_took_too_long_is_logged_with_what_it_did() {
    let (net, mut event_loop) = logged_world();
    let keys: Vec<usize> = (0..2).map(|_| net.connect()).collect();
    settle(&mut event_loop);
    assert_eq!(logged(), [""; 0]);
    net.0.borrow_mut().write_takes = limits::SLOW_TURN / 2;
    net.send(keys[0], b"hello");
    net.send(keys[1], b"you");
    settle(&mut event_loop);
    assert_eq!(logged(), [""; 0], "as long as it may take is not too long");
    net.0.borrow_mut().write_takes += Duration::from_millis(1);
    net.send(keys[0], b"hello");
    net.send(keys[1], b"you");
    net.give_room(keys[1], 2);
    settle(&mut event_loop);
    let line = "WARN: a turn took 52 ms: events 2, accepts 0, reads 2 (8 bytes), \
                writes 2 (7 bytes, 1 to full sockets), closes 0, left over 0";
    assert_eq!(logged(), [line]);
}

#[test]
fn a_client_whose_turn_took_long_says_nothing_of_it() {
    let (net, mut event_loop) = logged_world();
    event_loop.listeners.clear();
    let key = net.connect();
    event_loop.adopt(key, Peer::Console).expect("the virtual system watches it");
    net.0.borrow_mut().write_takes = 2 * limits::SLOW_TURN;
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hi ");
    assert_eq!(logged(), [""; 0], "nobody waited for it");
}

#[test]
fn slow_turns_do_not_fill_the_log() {
    let (net, mut event_loop) = logged_world();
    let key = net.connect();
    settle(&mut event_loop);
    net.0.borrow_mut().write_takes = limits::SLOW_TURN + Duration::from_millis(1);
    let turns = 1000;
    for _ in 0..turns {
        net.send(key, b"a");
        settle(&mut event_loop);
    }
    let lines = logged();
    let took = limits::SLOW_TURN * turns;
    let windows = took.div_duration_f64(limits::LOG_WINDOW).ceil() as usize;
    assert!(lines.len() <= (windows + 1) * (limits::LOG_LINES_PER_WINDOW as usize + 1), "{}", lines.len());
    let told = "lines like the next were left out";
    assert!(lines.iter().any(|line| line.starts_with("WARN: log: ") && line.ends_with(told)), "{lines:?}");
}
