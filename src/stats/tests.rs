//! Visitors, and a program that does not notice them.

use std::collections::VecDeque;
use std::time::Duration;

use super::Watched;
use crate::engine::{
    Action, ConnectionId, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Refusal, Written,
};
use crate::limits;
use crate::metrics::{Measured, Metric};

const CLIENTS: ListenerId = ListenerId::new(0);
const STATS: ListenerId = ListenerId::new(1);
const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

/// A program that notes what it is told, and of whom.
#[derive(Default)]
struct Program {
    told: Vec<String>,
    actions: VecDeque<Action>,
    timeout: Option<Moment>,
}

impl Program {
    fn tell(&mut self, what: &str, id: ConnectionId) {
        self.told.push(format!("{what} {}", id.serial()));
    }
}

impl Measured for Program {
    fn metrics(&self) -> Vec<Metric> {
        vec![Metric::counter("told_total", "What it was told.", self.told.len() as u64)]
    }
}

impl Engine for Program {
    fn admit(&mut self, _now: Now, _listener: ListenerId, _peer: Peer) -> Result<(), Refusal> {
        self.told.push("asked".into());
        Ok(())
    }

    fn handle_turned_away(&mut self, _now: Now, _listener: ListenerId, newcomers: usize) {
        self.told.push(format!("turned away {newcomers}"));
    }

    fn handle_accepted(&mut self, _now: Now, id: ConnectionId, _listener: Option<ListenerId>, _peer: Peer) {
        self.tell("accepted", id);
    }

    fn handle_bytes(&mut self, _now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        self.tell("bytes of", id);
        bytes.len()
    }

    fn handle_eof(&mut self, _now: Now, id: ConnectionId, _rest: &[u8]) -> bool {
        self.tell("end of", id);
        true
    }

    fn wants_input(&self, _id: ConnectionId) -> bool {
        true
    }

    fn poll_ready(&mut self, _now: Now) -> Option<ConnectionId> {
        None
    }

    fn has_ready(&self) -> bool {
        false
    }

    fn poll_output(&mut self, _now: Now, _id: ConnectionId) -> Output<'_> {
        Output::one(b"for a client")
    }

    fn handle_written(&mut self, _now: Now, id: ConnectionId, _bytes: usize, _written: Written) {
        self.tell("written to", id);
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        self.tell("writable", id);
    }

    fn handle_closed(&mut self, _now: Now, id: ConnectionId, _reason: Reason) {
        self.tell("closed", id);
    }

    fn handle_signal(&mut self, _now: Now) {
        self.actions.push_back(Action::Stop(limits::DRAIN));
    }

    fn handle_timeout(&mut self, _now: Now) {
        self.told.push("timeout".into());
        self.timeout = None;
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.timeout
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

fn at(seconds: u64) -> Now {
    Now { moment: Moment::START + Duration::from_secs(seconds), unix_s: 1_795_255_200 }
}

fn id(serial: u32) -> ConnectionId {
    ConnectionId::new(serial, serial)
}

/// A program that is watched from [`STATS`].
fn watched() -> Watched<Program> {
    let mut watched = Watched::new(Program::default(), false);
    watched.watch_from(STATS);
    watched
}

fn come(watched: &mut Watched<Program>, listener: ListenerId, id: ConnectionId) -> Result<(), Refusal> {
    watched.admit(at(0), listener, Peer::Unix)?;
    watched.handle_accepted(at(0), id, Some(listener), Peer::Unix);
    Ok(())
}

fn output(watched: &mut Watched<Program>, id: ConnectionId) -> String {
    String::from_utf8(watched.poll_output(at(0), id).parts.concat()).expect("text")
}

#[test]
fn the_program_is_told_of_its_clients_and_the_console_and_of_no_visitor() {
    let mut watched = watched();
    let (client, visitor, console) = (id(1), id(2), id(3));
    watched.handle_accepted(at(0), console, None, Peer::Console);
    for (listener, id) in [(CLIENTS, client), (STATS, visitor)] {
        come(&mut watched, listener, id).expect("there is a place");
        watched.handle_turned_away(at(0), listener, 7);
        watched.handle_bytes(at(0), id, GET);
        watched.handle_writable(id);
        watched.handle_written(at(0), id, 1, Written::Blocked);
        watched.handle_eof(at(0), id, b"");
        watched.handle_closed(at(0), id, Reason::Quit);
    }
    let expected = [
        "accepted 3",
        "asked",
        "accepted 1",
        "turned away 7",
        "bytes of 1",
        "writable 1",
        "written to 1",
        "end of 1",
        "closed 1",
    ];
    assert_eq!(watched.engine.told, expected);
    assert!(watched.visitors.is_empty());
}

#[test]
fn an_answer_is_written_from_where_the_socket_was_full() {
    let mut watched = watched();
    come(&mut watched, STATS, id(1)).expect("there is a place");
    assert_eq!(watched.handle_bytes(at(0), id(1), &GET[..9]), 0);
    assert_eq!(watched.poll_action(), None, "the head has not ended");
    let request = [GET, b"GET /more HTTP/1.1\r\n"].concat();
    assert_eq!(watched.handle_bytes(at(0), id(1), &request), GET.len());
    assert_eq!(watched.poll_action(), Some(Action::Close(id(1), Reason::Quit)));
    assert!(!watched.wants_input(id(1)), "one request is answered");
    watched.handle_writable(id(1));
    assert_eq!(watched.poll_ready(at(0)), Some(id(1)));
    assert!(!watched.has_ready());
    let all = output(&mut watched, id(1));
    assert!(all.ends_with("\nonepoll_told_total 0\n"), "{all}");
    watched.handle_written(at(0), id(1), 100, Written::Blocked);
    assert!(!watched.has_ready(), "its socket is full");
    watched.handle_writable(id(1));
    assert_eq!(watched.poll_ready(at(0)), Some(id(1)));
    assert_eq!(output(&mut watched, id(1)), all[100..]);
    watched.handle_written(at(0), id(1), all.len() - 100, Written::All);
    assert_eq!(output(&mut watched, id(1)), "");
    assert_eq!(output(&mut watched, id(2)), "for a client");
}

#[test]
fn visitors_are_few_and_who_is_one_too_many_is_told_in_http() {
    let mut watched = watched();
    for serial in 1..=limits::STATS_VISITORS_MAX as u32 {
        come(&mut watched, STATS, id(serial)).expect("there is a place");
    }
    let refusal = come(&mut watched, STATS, id(99)).expect_err("all places are taken");
    assert!(refusal.text.starts_with("HTTP/1.1 503 "), "{refusal:?}");
    assert!(watched.full_notice(STATS).starts_with("HTTP/1.1 503 "));
    assert!(watched.full_notice(CLIENTS).starts_with("-- "));
    come(&mut watched, CLIENTS, id(100)).expect("clients have places of their own");
    watched.handle_closed(at(0), id(3), Reason::Reset);
    come(&mut watched, STATS, id(99)).expect("a place came free");
}

#[test]
fn a_visitor_has_so_long_to_ask_however_much_it_sends_meanwhile() {
    let mut watched = watched();
    watched.engine.timeout = Some(at(7).moment);
    come(&mut watched, STATS, id(1)).expect("there is a place");
    come(&mut watched, STATS, id(2)).expect("there is a place");
    come(&mut watched, STATS, id(3)).expect("there is a place");
    let due = Moment::START + limits::STATS_PATIENCE;
    for sent in 1..5 {
        watched.handle_bytes(at(sent as u64), id(1), &GET[..sent]);
        assert_eq!(watched.poll_timeout(), Some(due));
    }
    watched.handle_bytes(at(4), id(3), GET);
    assert_eq!(watched.poll_action(), Some(Action::Close(id(3), Reason::Quit)));
    watched.handle_timeout(at(5));
    assert_eq!(watched.poll_action(), Some(Action::Close(id(1), Reason::Idle)));
    assert_eq!(watched.poll_action(), Some(Action::Close(id(2), Reason::Idle)));
    assert_eq!(watched.poll_action(), None, "an answer may take longer to be read");
    let answered = at(9).moment;
    assert!(output(&mut watched, id(1)).starts_with("HTTP/1.1 408 "), "it is told");
    assert_eq!(output(&mut watched, id(2)), "", "it said nothing, and is told nothing");
    assert_eq!(watched.engine.told, [""; 0], "the program's own time has not come");
    assert_eq!(watched.poll_timeout(), Some(at(7).moment));
    watched.handle_timeout(at(7));
    assert_eq!((&watched.engine.told[..], watched.poll_timeout()), (&["timeout".into()][..], Some(answered)));
    watched.handle_timeout(at(8));
    assert_eq!(watched.poll_action(), None);
    watched.handle_timeout(at(9));
    assert_eq!(watched.poll_action(), Some(Action::CutOff(id(3), Reason::LingerExpired)), "but not for ever");
    assert_eq!(watched.poll_action(), None);
}

#[test]
fn the_end_of_the_program_waits_for_no_visitor() {
    let mut watched = watched();
    for serial in 1..=2 {
        come(&mut watched, STATS, id(serial)).expect("there is a place");
    }
    watched.handle_bytes(at(0), id(2), GET);
    assert_eq!(watched.poll_action(), Some(Action::Close(id(2), Reason::Quit)));
    watched.handle_written(at(0), id(2), 100, Written::Blocked);
    watched.handle_signal(at(0));
    // First, so that the closes have the end's deadline.
    assert_eq!(watched.poll_action(), Some(Action::Stop(limits::DRAIN)));
    for serial in 1..=2 {
        assert_eq!(watched.poll_action(), Some(Action::CutOff(id(serial), Reason::ServerClosing)));
    }
    assert_eq!(watched.poll_action(), None);
}

#[test]
fn a_name_that_can_be_anybody_s_is_refused_unless_the_figures_are_public() {
    let local = Peer::Inet(std::net::Ipv4Addr::LOCALHOST.into(), 1);
    let requests = [
        ("GET /stats HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        ("HEAD /metrics HTTP/1.0\r\nHost: a\r\n\r\n", 421),
        ("GET /stats HTTP/1.1\r\nHost: localhost:9100\r\n\r\n", 200),
        ("GET /stats HTTP/1.1\r\nHost: [::1]\r\n\r\n", 200),
        ("GET /stats HTTP/1.0\r\n\r\n", 200),
    ];
    for (peer, is_public, is_strict) in
        [(local, false, true), (local, true, false), (Peer::Unix, false, false)]
    {
        for (request, status) in requests {
            let mut watched = Watched::new(Program::default(), is_public);
            watched.watch_from(STATS);
            watched.handle_accepted(at(0), id(1), Some(STATS), peer);
            watched.handle_bytes(at(0), id(1), request.as_bytes());
            let expected = if is_strict { status } else { 200 };
            let answer = output(&mut watched, id(1));
            assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{peer} {request}: {answer}");
        }
    }
}

#[test]
fn a_peer_that_ends_before_its_head_does_is_told_and_one_that_said_nothing_is_not() {
    let mut watched = watched();
    for (serial, rest, begin) in [(1, &GET[..20], "HTTP/1.1 400 "), (2, b"", ""), (3, b"\r\n", "")] {
        come(&mut watched, STATS, id(serial)).expect("there is a place");
        assert!(watched.handle_eof(at(0), id(serial), rest));
        let said = output(&mut watched, id(serial));
        assert!(said.starts_with(begin) && said.is_empty() == begin.is_empty(), "{said}");
        assert!(matches!(watched.poll_action(), Some(Action::Close(closed, _)) if closed == id(serial)));
    }
}

#[test]
fn the_kernel_is_asked_for_whom_it_lost_when_a_visitor_comes_and_only_then() {
    for (lost, line) in [(Some(7), "onepoll_listen_overflows_total 7\n"), (None, "")] {
        let mut watched = watched();
        come(&mut watched, CLIENTS, id(1)).expect("there is a place");
        assert!(!watched.wants_lost_newcomers());
        come(&mut watched, STATS, id(2)).expect("there is a place");
        assert!(watched.wants_lost_newcomers());
        watched.handle_lost_newcomers(lost);
        assert!(!watched.wants_lost_newcomers());
        watched.handle_bytes(at(0), id(2), GET);
        let page = output(&mut watched, id(2));
        assert!(page.ends_with(line) && page.contains("listen_overflows") == lost.is_some(), "{page}");
    }
}
