//! The dispatch without a loop: what its handlers are told, and when.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::engine::{Action, ConnectionId, Endpoint, Engine, ListenerId, Moment, Now, Peer, Written};
use crate::limits;

type Told = Rc<RefCell<Vec<String>>>;

/// Notes what it is told, and does what the input says.
struct Noting(Told);

impl Noting {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }
}

impl Handler for Noting {
    fn setup(&mut self, request: &mut Request<'_>) {
        self.note(format!("setup {}", request.peer_name()));
    }

    fn handle(&mut self, request: &mut Request<'_>) {
        let Some(line) = request.read_line(64) else { return };
        match line {
            Ok(line) => {
                let line = String::from_utf8_lossy(line).into_owned();
                match line.split_once(' ') {
                    Some(("send", bytes)) => request.send(&vec![b'x'; bytes.parse().expect("a number")]),
                    Some(("timeout", seconds)) => {
                        let seconds = seconds.parse().expect("a number");
                        request.set_timeout(Some(Duration::from_secs(seconds)));
                    }
                    Some(("say", text)) => request.send(text.as_bytes()),
                    _ if line == "close" => request.close(),
                    _ if line == "finish" => {
                        request.finish_output();
                        request.send(b"too late");
                    }
                    _ if line == "shutdown" => request.server().shutdown(),
                    _ => {}
                }
                self.note(line);
            }
            Err(LineTooLong) => self.note("too long"),
        }
    }

    fn handle_eof(&mut self, request: &mut Request<'_>) {
        self.note(format!("eof {}", String::from_utf8_lossy(request.unread())));
        request.close();
    }

    fn handle_timeout(&mut self, request: &mut Request<'_>) {
        self.note("timeout");
        request.close_for(Reason::Idle);
    }

    fn handle_shutdown(&mut self, _request: &mut Request<'_>) {
        self.note("shutdown");
    }

    fn finish(&mut self, _request: &mut Request<'_>, reason: Reason) {
        self.note(format!("finish: {reason}"));
    }
}

fn at(seconds: u64) -> Now {
    Now { moment: Moment::START + Duration::from_secs(seconds), unix_s: 0 }
}

fn peer() -> Peer {
    Peer::Inet([127, 0, 0, 1].into(), 7)
}

fn noting() -> (Told, Dispatch<Noting, impl FnMut(Peer) -> Noting>) {
    let told = Told::default();
    let new = Rc::clone(&told);
    (told, Dispatch::new(move |_peer| Noting(Rc::clone(&new))))
}

fn actions(engine: &mut impl Engine) -> Vec<Action> {
    std::iter::from_fn(|| engine.poll_action()).collect()
}

const ID: ConnectionId = ConnectionId::new(0, 1);
const LISTENER: ListenerId = ListenerId::new(0);

#[test]
fn a_handler_is_called_again_while_it_takes_something_and_keeps_what_it_leaves() {
    let (told, mut dispatch) = noting();
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    assert_eq!(dispatch.handle_bytes(at(0), ID, b"one\r\ntwo\nthr"), 9);
    assert_eq!(dispatch.handle_bytes(at(0), ID, b"three"), 0);
    assert!(dispatch.handle_eof(at(0), ID, b"three"));
    dispatch.handle_closed(at(0), ID, Reason::EndOfInput);
    assert_eq!(*told.borrow(), ["setup 127.0.0.1:7", "one", "two", "eof three", "finish: end of input"]);
    assert_eq!(actions(&mut dispatch), [Action::Close(ID, Reason::EndOfInput)]);
    assert_eq!((dispatch.shared().connections(), dispatch.shared().requests()), (0, 1));
}

#[test]
fn a_line_that_is_too_long_is_told_once_and_the_next_is_heard() {
    let (told, mut dispatch) = noting();
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    let long = [b'x'; 100];
    assert_eq!(dispatch.handle_bytes(at(0), ID, &long), 100);
    assert_eq!(dispatch.handle_bytes(at(0), ID, b"xx\nnext\n"), 8);
    assert_eq!(told.borrow()[1..], ["too long", "next"]);
}

#[test]
fn after_a_close_a_handler_is_told_only_of_the_end() {
    let (told, mut dispatch) = noting();
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    assert_eq!(dispatch.handle_bytes(at(0), ID, b"close\nmore\n"), 11);
    assert_eq!(dispatch.handle_bytes(at(0), ID, b"more\n"), 5);
    assert!(dispatch.handle_eof(at(0), ID, b""));
    dispatch.handle_closed(at(0), ID, Reason::Quit);
    assert_eq!(told.borrow()[1..], ["close", "finish: quit"]);
    assert_eq!(actions(&mut dispatch), [Action::Close(ID, Reason::Quit)]);
}

#[test]
fn a_peer_that_does_not_read_is_not_read_either() {
    let (told, mut dispatch) = noting();
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    let input = b"send 60000\nsend 60000\nlater\n";
    let consumed = dispatch.handle_bytes(at(0), ID, input);
    assert_eq!(told.borrow()[1..], ["send 60000", "send 60000"]);
    assert!(!dispatch.wants_input(ID));
    assert_eq!(dispatch.poll_output(at(0), ID).len(), 120_000);
    dispatch.handle_written(at(0), ID, 50_000, Written::Blocked);
    assert_eq!(actions(&mut dispatch), []);
    dispatch.handle_written(at(0), ID, 50_000, Written::Blocked);
    assert_eq!(actions(&mut dispatch), [Action::Resume(ID)]);
    assert!(dispatch.wants_input(ID));
    assert_eq!(dispatch.handle_bytes(at(0), ID, &input[consumed..]), 6);
    assert_eq!(told.borrow().last().map(String::as_str), Some("later"));
}

#[test]
fn a_handler_that_takes_nothing_does_not_grow_the_memory() {
    let mut dispatch = Dispatch::new(|_peer| |_request: &mut Request<'_>| {});
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    let input = vec![b'x'; limits::HANDLER_UNREAD_BYTES_MAX + 1];
    assert_eq!(dispatch.handle_bytes(at(0), ID, &input[1..]), 0);
    assert_eq!(dispatch.handle_bytes(at(0), ID, &input), input.len());
    assert_eq!(actions(&mut dispatch), [Action::Close(ID, Reason::WrongProtocol)]);
}

#[test]
fn a_timeout_fires_once_and_not_before_the_last_one_that_was_set() {
    let (told, mut dispatch) = noting();
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    assert_eq!(dispatch.poll_timeout(), None);
    dispatch.handle_bytes(at(0), ID, b"timeout 5\n");
    dispatch.handle_bytes(at(3), ID, b"timeout 5\n");
    assert_eq!(dispatch.poll_timeout(), Some(at(5).moment));
    dispatch.handle_timeout(at(5));
    assert_eq!(dispatch.poll_timeout(), Some(at(8).moment));
    assert_eq!(told.borrow().last().map(String::as_str), Some("timeout 5"));
    // A shorter one than before counts, too.
    dispatch.handle_bytes(at(5), ID, b"timeout 1\n");
    dispatch.handle_timeout(at(6));
    assert_eq!(told.borrow().last().map(String::as_str), Some("timeout"));
    assert!(actions(&mut dispatch).contains(&Action::Close(ID, Reason::Idle)));
    dispatch.handle_timeout(at(100));
    assert_eq!(told.borrow().iter().filter(|what| *what == "timeout").count(), 1);
}

#[test]
fn thousands_of_requests_that_put_their_timeout_off_leave_one_entry() {
    let (_, mut dispatch) = noting();
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    for second in 0..10_000 {
        dispatch.handle_bytes(at(second), ID, b"timeout 100000\n");
    }
    dispatch.handle_timeout(at(100_000));
    assert_eq!(dispatch.poll_timeout(), Some(at(109_999).moment));
}

#[test]
fn a_shorter_timeout_now_and_then_leaves_no_entries_for_ever() {
    let (_, mut dispatch) = noting();
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    for turn in 0..1000 {
        let now = at(20 * turn);
        dispatch.handle_timeout(now);
        dispatch.handle_bytes(now, ID, b"timeout 60\ntimeout 5\ntimeout 60\n");
    }
    assert!(dispatch.deadlines.count() <= 10, "{} entries", dispatch.deadlines.count());
}

/// Wants to be called again in no time.
struct Hasty(u32);

impl Handler for Hasty {
    fn setup(&mut self, request: &mut Request<'_>) {
        request.set_timeout(Some(Duration::ZERO));
    }

    fn handle(&mut self, _request: &mut Request<'_>) {}

    fn handle_timeout(&mut self, request: &mut Request<'_>) {
        self.0 += 1;
        assert!(self.0 < 1000, "nobody else has a turn");
        request.set_timeout(Some(Duration::ZERO));
    }
}

#[test]
fn a_timeout_of_nothing_waits_for_the_next_turn() {
    let mut dispatch = Dispatch::new(|_peer| Hasty(0));
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    for second in 1..100 {
        dispatch.handle_timeout(at(second));
        assert!(dispatch.poll_timeout() > Some(at(second).moment));
    }
}

#[test]
fn timeouts_of_connections_that_are_gone_do_not_pile_up() {
    let (_, mut dispatch) = noting();
    for serial in 0..10_000 {
        let id = ConnectionId::new(0, serial);
        dispatch.handle_accepted(at(0), id, Some(LISTENER), peer());
        dispatch.handle_bytes(at(0), id, b"timeout 100000\n");
        dispatch.handle_closed(at(0), id, Reason::Reset);
        dispatch.handle_turn(at(0));
    }
    assert!(dispatch.deadlines.count() <= 1000, "{} entries for nobody", dispatch.deadlines.count());
}

#[test]
fn a_line_is_found_also_by_handlers_that_take_other_pieces_between_two_lines() {
    let lines = Told::default();
    let new = Rc::clone(&lines);
    // It takes a line where there is one, and else two bytes of what is there.
    let mut dispatch = Dispatch::new(move |_peer| {
        let lines = Rc::clone(&new);
        move |request: &mut Request<'_>| {
            let taken = match request.read_line(64) {
                Some(line) => line.expect("it is short"),
                None => request.recv(2),
            };
            lines.borrow_mut().push(String::from_utf8_lossy(taken).into_owned());
        }
    });
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    assert_eq!(dispatch.handle_bytes(at(0), ID, b"abc"), 3);
    assert_eq!(dispatch.handle_bytes(at(0), ID, b"\nd\n"), 3);
    assert_eq!(*lines.borrow(), ["ab", "c", "", "d"]);
}

/// Reads a line whenever it is called, whatever for.
struct Reading;

impl Handler for Reading {
    fn handle(&mut self, request: &mut Request<'_>) {
        let _ = request.read_line(64);
        request.set_timeout(Some(Duration::from_secs(1)));
    }

    fn handle_timeout(&mut self, request: &mut Request<'_>) {
        assert_eq!(request.read_line(64), None);
        request.consume(usize::MAX);
        request.consume(usize::MAX);
    }
}

#[test]
fn reading_where_nothing_is_shown_finds_nothing_and_forgets_nothing() {
    let mut dispatch = Dispatch::new(|_peer| Reading);
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    assert_eq!(dispatch.handle_bytes(at(0), ID, b"half a li"), 0);
    dispatch.handle_timeout(at(1));
    assert_eq!(dispatch.handle_bytes(at(1), ID, b"half a line\n"), 12);
}

#[test]
fn what_is_too_long_to_be_sent_at_once_is_sent_a_chunk_at_a_time() {
    struct Chunks(u8);

    impl Handler for Chunks {
        fn handle(&mut self, request: &mut Request<'_>) {
            request.recv(usize::MAX);
            // Also where nothing waits.
            request.tell_when_sent();
        }

        fn handle_sent(&mut self, request: &mut Request<'_>) {
            assert_eq!(request.waiting_bytes(), 0);
            if self.0 == 3 {
                return request.close();
            }
            self.0 += 1;
            request.send(&[b'0' + self.0; 1000]);
            request.tell_when_sent();
        }
    }

    let mut dispatch = Dispatch::new(|_peer| Chunks(0));
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    dispatch.handle_bytes(at(0), ID, b"go");
    let mut got = Vec::new();
    while let Some(id) = dispatch.poll_ready(at(0)) {
        loop {
            let chunk = dispatch.poll_output(at(0), id).parts.concat();
            if chunk.is_empty() {
                break;
            }
            assert!(chunk.len() <= 1000);
            // The socket takes some of it, and later the rest.
            let taken = chunk.len().min(600);
            got.extend_from_slice(&chunk[..taken]);
            let written = if taken == chunk.len() { Written::All } else { Written::Blocked };
            dispatch.handle_written(at(0), id, taken, written);
            if written == Written::Blocked {
                dispatch.handle_writable(id);
                break;
            }
        }
    }
    assert_eq!(got, [[b'1'; 1000], [b'2'; 1000], [b'3'; 1000]].concat());
    assert_eq!(actions(&mut dispatch), [Action::Close(ID, Reason::Quit)]);
}

#[test]
fn a_handler_that_took_nothing_yet_is_shown_it_again_after_its_timeout() {
    let (_, mut dispatch) = noting();
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    dispatch.handle_bytes(at(0), ID, b"timeout 1\nrest");
    actions(&mut dispatch);
    dispatch.handle_timeout(at(1));
    assert!(actions(&mut dispatch).contains(&Action::Resume(ID)));
}

#[test]
fn nothing_is_sent_after_the_end_of_the_output() {
    let (_, mut dispatch) = noting();
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    dispatch.handle_bytes(at(0), ID, b"say a\nfinish\nsay b\n");
    assert_eq!(dispatch.poll_output(at(0), ID).parts.concat(), b"a");
    assert_eq!(actions(&mut dispatch), [Action::FinishOutput(ID)]);
}

#[test]
fn an_answer_to_a_datagram_is_one_datagram_also_an_empty_one() {
    let (told, mut dispatch) = noting();
    dispatch.handle_bound(at(0), ID);
    let from = Endpoint::Udp(([127, 0, 0, 1], 9).into());
    for request in [&b"say a\nsay b\n"[..], b"send 0\n", b"quiet\n"] {
        dispatch.handle_datagram(at(0), ID, Some(&from), request);
    }
    assert_eq!(told.borrow()[0], "setup 127.0.0.1:9");
    assert_eq!(dispatch.poll_ready(at(0)), Some(ID));
    let mut answers = Vec::new();
    while let Some(datagram) = dispatch.poll_datagram(at(0), ID) {
        assert_eq!(datagram.to, Some(&from));
        answers.push(String::from_utf8_lossy(datagram.bytes).into_owned());
        dispatch.handle_written(at(0), ID, datagram_bytes(&answers), Written::All);
    }
    assert_eq!(answers, ["ab", ""]);
    assert_eq!(dispatch.shared().requests(), 3);
}

#[test]
fn a_datagram_that_is_closed_is_handled_no_further() {
    let (told, mut dispatch) = noting();
    dispatch.handle_bound(at(0), ID);
    dispatch.handle_datagram(at(0), ID, None, b"one\nclose\ntwo\n");
    assert_eq!(*told.borrow(), ["setup unix", "one", "close", "finish: quit"]);
    let mut refusing = Dispatch::new(|_peer| Refusing);
    refusing.handle_bound(at(0), ID);
    refusing.handle_datagram(at(0), ID, None, b"one");
    assert_eq!(refusing.shared().requests(), 1);
}

/// Nobody is let in.
struct Refusing;

impl Handler for Refusing {
    fn setup(&mut self, request: &mut Request<'_>) {
        request.close();
    }

    fn handle(&mut self, _request: &mut Request<'_>) {
        panic!("it was closed in its setup");
    }
}

fn datagram_bytes(answers: &[String]) -> usize {
    answers.last().map_or(0, String::len)
}

#[test]
fn a_shutdown_is_told_to_all_and_only_once() {
    let (told, mut dispatch) = noting();
    let (other, socket) = (ConnectionId::new(1, 2), ConnectionId::new(2, 3));
    dispatch.handle_accepted(at(0), ID, Some(LISTENER), peer());
    dispatch.handle_accepted(at(0), other, Some(LISTENER), peer());
    dispatch.handle_bound(at(0), socket);
    dispatch.handle_bytes(at(0), ID, b"shutdown\n");
    dispatch.handle_signal(at(0));
    // The one that asks for it is told before it goes on.
    assert_eq!(told.borrow()[2..], ["shutdown", "shutdown", "shutdown"]);
    let expected = [Action::Stop(limits::DRAIN), Action::Close(socket, Reason::ServerClosing)];
    assert_eq!(actions(&mut dispatch), expected);
    // Who comes in the same turn is too late, and nobody would tell it of the end.
    assert_eq!(
        dispatch.admit(at(0), LISTENER, peer()).map_err(|refusal| refusal.reason),
        Err(Reason::ServerClosing)
    );
}
