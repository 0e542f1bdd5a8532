//! The production loop over a virtual operating system, as stingy with events as an edge trigger may be.
//!
//! Each test is named after what goes wrong without the line it guards: the letters are the
//! experiments with the real system that showed it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use super::io::{Event, Io, Source};
use super::*;
use crate::engine::{Endpoint, Output, Refusal, Written};

/// The far side of everything: what the tests see and change between turns.
#[derive(Default)]
struct Net {
    moment: Moment,
    sockets: BTreeMap<usize, Socket>,
    /// Sockets that wait to be accepted.
    backlog: VecDeque<usize>,
    events: Vec<Event>,
    /// What the next accepts fail with.
    accept_errors: VecDeque<i32>,
    /// What the next polls fail with.
    poll_errors: VecDeque<i32>,
    last_timeout: Option<Option<Duration>>,
    refused: Vec<String>,
}

#[derive(Default)]
struct Socket {
    slot: Option<usize>,
    inbound: VecDeque<u8>,
    peer_finished: bool,
    outbound: Vec<u8>,
    room: usize,
    wants_write: bool,
    fin_sent: bool,
    is_gone: bool,
    error: Option<i32>,
    write_errors: VecDeque<i32>,
    reads: usize,
}

#[derive(Clone, Default)]
struct Virtual(Rc<RefCell<Net>>);

fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

const EINTR: i32 = 4;
const EMFILE: i32 = 24;
const ECONNABORTED: i32 = 103;
const ECONNRESET: i32 = 104;
const ENOBUFS: i32 = 105;

impl Virtual {
    /// A peer connects: the listener tells of it only if nobody waited before.
    fn connect(&self) -> usize {
        let mut net = self.0.borrow_mut();
        let key = net.sockets.len();
        net.sockets.insert(key, Socket { room: 1 << 20, ..Socket::default() });
        if net.backlog.is_empty() {
            net.tell(Source::Listener(0), |event| event.is_readable = true);
        }
        net.backlog.push_back(key);
        key
    }

    /// A peer sends: its socket tells of it only if nothing was there before.
    fn send(&self, key: usize, bytes: &[u8]) {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(&key).expect("it connected");
        let was_empty = socket.inbound.is_empty();
        socket.inbound.extend(bytes);
        if was_empty {
            net.tell_socket(key, |event| event.is_readable = true);
        }
    }

    fn finish(&self, key: usize) {
        let mut net = self.0.borrow_mut();
        net.sockets.get_mut(&key).expect("it connected").peer_finished = true;
        net.tell_socket(key, |event| {
            event.is_readable = true;
            event.is_read_closed = true;
        });
    }

    fn reset(&self, key: usize) {
        let mut net = self.0.borrow_mut();
        net.sockets.get_mut(&key).expect("it connected").error = Some(ECONNRESET);
        net.tell_socket(key, |event| {
            event.is_readable = true;
            event.is_read_closed = true;
            event.is_writable = true;
        });
    }

    fn give_room(&self, key: usize, bytes: usize) {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(&key).expect("it connected");
        let was_full = socket.room == 0;
        socket.room = bytes;
        if was_full && socket.wants_write {
            net.tell_socket(key, |event| event.is_writable = true);
        }
    }

    fn with<R>(&self, key: usize, look: impl FnOnce(&mut Socket) -> R) -> R {
        look(self.0.borrow_mut().sockets.get_mut(&key).expect("it connected"))
    }

    fn received(&self, key: usize) -> String {
        self.with(key, |socket| String::from_utf8(std::mem::take(&mut socket.outbound)).expect("text"))
    }

    fn advance(&self, duration: Duration) {
        let mut net = self.0.borrow_mut();
        net.moment = net.moment + duration;
    }
}

impl Net {
    fn tell(&mut self, source: Source, mark: impl FnOnce(&mut Event)) {
        let mut event = Event { source, is_readable: false, is_writable: false, is_read_closed: false };
        mark(&mut event);
        self.events.push(event);
    }

    fn tell_socket(&mut self, key: usize, mark: impl FnOnce(&mut Event)) {
        if let Some(slot) = self.sockets[&key].slot {
            self.tell(Source::Connection(slot), mark);
        }
    }
}

impl Io for Virtual {
    type Stream = usize;
    type Listener = ();

    fn now(&mut self) -> Now {
        Now { moment: self.0.borrow().moment, unix_s: 0 }
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let mut net = self.0.borrow_mut();
        net.last_timeout = Some(timeout);
        if let Some(code) = net.poll_errors.pop_front() {
            return Err(os_error(code));
        }
        events.append(&mut net.events);
        if events.is_empty()
            && let Some(timeout) = timeout
        {
            net.moment = net.moment + timeout;
        }
        Ok(())
    }

    fn listen(&mut self, (): &mut (), _index: usize) -> io::Result<()> {
        Ok(())
    }

    fn accept(&mut self, (): &mut ()) -> io::Result<(usize, Peer)> {
        let mut net = self.0.borrow_mut();
        if net.backlog.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(code) = net.accept_errors.pop_front() {
            if code == ECONNABORTED {
                net.backlog.pop_front();
            }
            return Err(os_error(code));
        }
        let key = net.backlog.pop_front().expect("it is not empty");
        Ok((key, Peer::Inet(Ipv4Addr::LOCALHOST.into(), 1)))
    }

    fn accept_on_reserve(&mut self, (): &mut ()) -> io::Result<usize> {
        self.0.borrow_mut().backlog.pop_front().ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn refuse(&mut self, _stream: usize, text: &str) {
        self.0.borrow_mut().refused.push(text.to_string());
    }

    fn connect(&mut self, _endpoint: &Endpoint) -> io::Result<usize> {
        let mut net = self.0.borrow_mut();
        let key = net.sockets.len();
        net.sockets.insert(key, Socket { room: 1 << 20, ..Socket::default() });
        Ok(key)
    }

    fn connected(&mut self, stream: &usize) -> io::Result<Peer> {
        match self.0.borrow().sockets[stream].error {
            Some(code) => Err(os_error(code)),
            None => Ok(Peer::Unix),
        }
    }

    fn register(&mut self, stream: &mut usize, slot: usize, wants_write: bool) -> io::Result<bool> {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(stream).expect("it connected");
        socket.slot = Some(slot);
        socket.wants_write = wants_write;
        if !socket.inbound.is_empty() {
            net.tell_socket(*stream, |event| event.is_readable = true);
        }
        Ok(false)
    }

    fn set_interest(&mut self, stream: &mut usize, _slot: usize, wants_write: bool) -> io::Result<()> {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(stream).expect("it connected");
        socket.wants_write = wants_write;
        if wants_write && socket.room > 0 {
            net.tell_socket(*stream, |event| event.is_writable = true);
        }
        Ok(())
    }

    fn deregister(&mut self, stream: &mut usize) {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(stream).expect("it connected");
        socket.slot = None;
        socket.is_gone = true;
    }

    fn read(&mut self, stream: &mut usize, buffer: &mut [u8]) -> io::Result<usize> {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(stream).expect("it connected");
        socket.reads += 1;
        if let Some(code) = socket.error {
            return Err(os_error(code));
        }
        if socket.inbound.is_empty() {
            return if socket.peer_finished { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let bytes = buffer.len().min(socket.inbound.len());
        for (place, byte) in buffer.iter_mut().zip(socket.inbound.drain(..bytes)) {
            *place = byte;
        }
        Ok(bytes)
    }

    fn short_read_drains(&self, _stream: &usize) -> bool {
        true
    }

    fn write(&mut self, stream: &mut usize, parts: [&[u8]; 2]) -> io::Result<usize> {
        let mut net = self.0.borrow_mut();
        let socket = net.sockets.get_mut(stream).expect("it connected");
        if let Some(code) = socket.write_errors.pop_front() {
            return Err(os_error(code));
        }
        let bytes = parts.concat();
        let taken = socket.room.min(bytes.len());
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        socket.outbound.extend_from_slice(&bytes[..taken]);
        socket.room -= taken;
        Ok(taken)
    }

    fn shutdown_write(&mut self, stream: &mut usize) -> io::Result<bool> {
        self.with(*stream, |socket| socket.fin_sent = true);
        Ok(true)
    }
}

/// Answers every byte with itself; `x` is only counted, `q` leaves, `k` has everyone else closed, `p` pauses
/// its sender.
#[derive(Default)]
struct Echo {
    waiting: BTreeMap<ConnectionId, Vec<u8>>,
    ready: VecDeque<ConnectionId>,
    actions: VecDeque<Action>,
    paused: Vec<ConnectionId>,
    closed: Vec<(u32, Reason)>,
    given: usize,
    given_most: usize,
    given_in_all: usize,
    connected: Vec<Result<Peer, io::ErrorKind>>,
    timeout: Option<Moment>,
}

impl Engine for Echo {
    fn admit(&mut self, _now: Now, _peer: Peer) -> Result<(), Refusal> {
        Ok(())
    }

    fn handle_accepted(&mut self, _now: Now, id: ConnectionId, _peer: Peer) {
        self.waiting.insert(id, b"hi ".to_vec());
        self.ready.push_back(id);
    }

    fn handle_connected(&mut self, _now: Now, id: ConnectionId, peer: Peer) {
        self.waiting.insert(id, Vec::new());
        self.connected.push(Ok(peer));
    }

    fn handle_connect_failed(&mut self, _now: Now, error: io::Error) {
        self.connected.push(Err(error.kind()));
    }

    fn handle_bytes(&mut self, _now: Now, id: ConnectionId, bytes: &[u8]) -> usize {
        self.given += bytes.len();
        self.given_in_all += bytes.len();
        if bytes.iter().all(|byte| *byte == b'x') {
            return bytes.len();
        }
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'q' => self.actions.push_back(Action::Close(id, Reason::Quit)),
                b'k' => {
                    let others = self.waiting.keys().filter(|other| **other != id);
                    self.actions.extend(others.map(|other| Action::Close(*other, Reason::Kicked)));
                }
                b'p' => {
                    self.paused.push(id);
                    return index + 1;
                }
                _ => self.waiting.entry(id).or_default().push(*byte),
            }
        }
        self.ready.push_back(id);
        bytes.len()
    }

    fn handle_eof(&mut self, _now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        assert!(rest.is_empty());
        self.actions.push_back(Action::Close(id, Reason::EndOfInput));
        true
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        !self.paused.contains(&id)
    }

    fn poll_ready(&mut self, _now: Now) -> Option<ConnectionId> {
        self.ready.pop_front()
    }

    fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn poll_output(&mut self, _now: Now, id: ConnectionId) -> Output<'_> {
        self.waiting.get(&id).map_or(Output::default(), |bytes| Output::one(bytes))
    }

    fn handle_written(&mut self, _now: Now, id: ConnectionId, bytes: usize, written: Written) {
        self.waiting.entry(id).or_default().drain(..bytes);
        if written == Written::OutOfBudget {
            self.ready.push_back(id);
        }
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        self.ready.push_back(id);
    }

    fn handle_closed(&mut self, _now: Now, id: ConnectionId, reason: Reason) {
        assert!(self.waiting.remove(&id).is_some(), "closed twice, or never opened");
        self.closed.push((id.serial(), reason));
    }

    fn handle_signal(&mut self, _now: Now) {
        for id in self.waiting.keys() {
            self.actions.push_back(Action::Close(*id, Reason::ServerClosing));
        }
        self.actions.push_back(Action::Stop(Duration::from_secs(3)));
    }

    fn handle_timeout(&mut self, _now: Now) {
        self.timeout = None;
    }

    fn handle_turn(&mut self, _now: Now) {
        self.given_most = self.given_most.max(std::mem::take(&mut self.given));
    }

    fn poll_timeout(&self) -> Option<Moment> {
        self.timeout
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

const LINGER: Duration = Duration::from_secs(5);

fn world() -> (Virtual, EventLoop<Virtual, Echo>) {
    let net = Virtual::default();
    let mut event_loop = EventLoop::new(net.clone(), Echo::default(), LINGER);
    event_loop.listen(()).expect("the virtual system listens");
    (net, event_loop)
}

/// Turns until the loop would sleep.
fn settle(event_loop: &mut EventLoop<Virtual, Echo>) {
    for _ in 0..10_000 {
        assert_eq!(event_loop.turn().expect("the virtual poll works"), None);
        if event_loop.timeout() != Some(Duration::ZERO) && event_loop.io.0.borrow().events.is_empty() {
            return;
        }
    }
    panic!("the loop does not come to rest");
}

#[test]
fn b_newcomers_beyond_the_accept_budget_need_no_further_event() {
    let (net, mut event_loop) = world();
    let keys: Vec<usize> = (0..5 * limits::ACCEPTS_PER_TURN_MAX).map(|_| net.connect()).collect();
    assert_eq!(net.0.borrow().events.len(), 1);
    event_loop.turn().expect("a turn");
    assert_eq!(event_loop.connections.len(), limits::ACCEPTS_PER_TURN_MAX, "the budget holds");
    settle(&mut event_loop);
    for key in keys {
        assert_eq!(net.received(key), "hi ");
    }
}

#[test]
fn d_input_beyond_the_read_budget_needs_no_further_event() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    let flood = vec![b'x'; 1 << 20];
    net.send(key, &flood);
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.given_in_all, flood.len());
    let budget = limits::READ_BYTES_MAX * limits::CONNECTION_READS_PER_TURN_MAX;
    assert_eq!(event_loop.engine.given_most, budget, "and the budget holds");
}

#[test]
fn a_flood_keeps_nobody_else_waiting() {
    let (net, mut event_loop) = world();
    let flooders: Vec<usize> = (0..300).map(|_| net.connect()).collect();
    let quiet = net.connect();
    settle(&mut event_loop);
    net.received(quiet);
    for key in flooders {
        net.send(key, &vec![b'x'; 1 << 17]);
    }
    net.send(quiet, b"hello");
    let mut turns = 0;
    while net.received(quiet).is_empty() {
        event_loop.turn().expect("a turn");
        turns += 1;
    }
    assert!(turns <= 4, "{turns} turns");
    assert!(event_loop.engine.given_most <= limits::READS_PER_TURN_MAX * limits::READ_BYTES_MAX);
}

#[test]
fn e_a_half_closed_peer_gets_what_is_due_to_it() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.send(key, b"hello");
    net.finish(key);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hi hello");
    assert!(net.with(key, |socket| socket.is_gone));
    assert_eq!(event_loop.engine.closed, [(1, Reason::EndOfInput)]);
}

#[test]
fn f_a_reset_is_one_close_whatever_else_is_due() {
    let (net, mut event_loop) = world();
    let keys: Vec<usize> = (0..100).map(|_| net.connect()).collect();
    settle(&mut event_loop);
    for key in &keys {
        net.send(*key, b"hello");
        net.reset(*key);
    }
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.closed.len(), 100);
    assert!(event_loop.engine.closed.iter().all(|(_, reason)| *reason == Reason::Reset));
    assert!(event_loop.connections.is_empty() && event_loop.inputs.is_empty());
}

#[test]
fn g_an_event_of_a_closed_connection_does_not_reach_who_has_its_slot() {
    let (net, mut event_loop) = world();
    let killer = net.connect();
    let victim = net.connect();
    settle(&mut event_loop);
    // In one batch: the victim's reset, its kick, and a newcomer.
    net.send(killer, b"k");
    net.reset(victim);
    let newcomer = net.connect();
    settle(&mut event_loop);
    assert_eq!(net.received(newcomer), "hi ");
    assert!(!net.with(newcomer, |socket| socket.is_gone));
    assert_eq!(event_loop.engine.closed.len(), 1);
    assert_ne!(net.with(newcomer, |socket| socket.slot), None);
}

#[test]
fn i_without_descriptors_a_deadline_accepts_again() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().accept_errors.extend([EMFILE]);
    let key = net.connect();
    event_loop.turn().expect("a turn");
    assert_eq!(event_loop.timeout(), Some(limits::ACCEPT_RETRY), "it neither spins nor sleeps for ever");
    settle(&mut event_loop);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hi ", "descriptors are free again: no newcomer was needed");
}

#[test]
fn i_when_no_descriptor_comes_free_the_newcomers_are_told() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().accept_errors.extend([EMFILE; 2]);
    for _ in 0..3 {
        net.connect();
    }
    for _ in 0..4 {
        event_loop.turn().expect("a turn");
    }
    assert_eq!(net.0.borrow().refused.len(), 3);
    assert!(net.0.borrow().refused[0].contains("full"));
    let key = net.connect();
    settle(&mut event_loop);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hi ");
}

#[test]
fn an_aborted_newcomer_costs_the_next_one_nothing() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().accept_errors.extend([ECONNABORTED, EINTR]);
    net.connect();
    let key = net.connect();
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hi ");
}

#[test]
fn j_an_interrupted_poll_is_a_retry() {
    let (net, mut event_loop) = world();
    net.0.borrow_mut().poll_errors.extend([EINTR; 3]);
    let key = net.connect();
    for _ in 0..5 {
        event_loop.turn().expect("EINTR is no error");
    }
    assert_eq!(net.received(key), "hi ");
}

#[test]
fn writable_is_of_interest_only_for_what_a_full_socket_left_over() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    assert!(!net.with(key, |socket| socket.wants_write));
    net.received(key);
    net.give_room(key, 4);
    net.send(key, b"0123456789");
    settle(&mut event_loop);
    assert!(net.with(key, |socket| socket.wants_write));
    net.give_room(key, 100);
    settle(&mut event_loop);
    assert!(!net.with(key, |socket| socket.wants_write), "a drained socket would be told of for ever");
    assert_eq!(net.received(key), "0123456789");
}

#[test]
fn a_write_without_kernel_buffers_is_tried_again_by_a_deadline() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    net.with(key, |socket| socket.write_errors.push_back(ENOBUFS));
    net.send(key, b"hello");
    settle(&mut event_loop);
    net.advance(limits::WRITE_RETRY);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "hello");
}

#[test]
fn what_back_pressure_holds_is_offered_again_and_the_end_after_it() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    net.send(key, b"abpcd");
    net.finish(key);
    settle(&mut event_loop);
    assert_eq!(net.received(key), "", "a paused echo has not spoken");
    let reads = net.with(key, |socket| socket.reads);
    settle(&mut event_loop);
    assert_eq!(net.with(key, |socket| socket.reads), reads, "nothing is read for one who is paused");
    let id = event_loop.engine.paused.pop().expect("it paused");
    event_loop.engine.actions.push_back(Action::Resume(id));
    settle(&mut event_loop);
    assert_eq!(net.received(key), "abcd");
    assert_eq!(event_loop.engine.closed, [(1, Reason::EndOfInput)]);
}

#[test]
fn one_who_leaves_is_awaited_for_no_longer_than_the_linger() {
    let (net, mut event_loop) = world();
    let polite = net.connect();
    let rude = net.connect();
    let stalled = net.connect();
    settle(&mut event_loop);
    net.give_room(stalled, 0);
    for key in [polite, rude, stalled] {
        net.send(key, b"byeq");
    }
    settle(&mut event_loop);
    assert!(net.with(polite, |socket| socket.fin_sent && !socket.is_gone), "the peer's own end is awaited");
    net.finish(polite);
    settle(&mut event_loop);
    assert!(net.with(polite, |socket| socket.is_gone));
    assert!(!net.with(rude, |socket| socket.is_gone));
    net.advance(LINGER);
    settle(&mut event_loop);
    event_loop.engine.closed.sort_unstable();
    let reasons = [(1, Reason::Quit), (2, Reason::Quit), (3, Reason::LingerExpired)];
    assert_eq!(event_loop.engine.closed, reasons);
}

#[test]
fn an_idle_loop_sleeps_without_a_timeout() {
    let (net, mut event_loop) = world();
    for _ in 0..10 {
        net.connect();
    }
    settle(&mut event_loop);
    event_loop.turn().expect("a turn");
    assert_eq!(net.0.borrow().last_timeout, Some(None));
}

#[test]
fn a_stop_ends_when_all_is_written_and_not_later_than_its_deadline() {
    for (is_stalled, end) in [(false, End::Done), (true, End::Overdue(1))] {
        let (net, mut event_loop) = world();
        let key = net.connect();
        settle(&mut event_loop);
        net.received(key);
        net.give_room(key, if is_stalled { 4 } else { 100 });
        net.send(key, b"last words.");
        event_loop.turn().expect("a turn");
        net.0.borrow_mut().tell(Source::Waker, |_| {});
        assert_eq!(event_loop.run().expect("it runs"), end);
        if !is_stalled {
            assert_eq!(net.received(key), "last words.");
            assert!(net.with(key, |socket| socket.fin_sent && socket.is_gone));
        }
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.give_room(key, 0);
    net.send(key, b"hello");
    settle(&mut event_loop);
    net.0.borrow_mut().tell(Source::Waker, |_| {});
    assert_eq!(event_loop.turn().expect("a turn"), None);
    net.0.borrow_mut().tell(Source::Waker, |_| {});
    assert_eq!(event_loop.turn().expect("a turn"), Some(End::CutShort(1)));
}

#[test]
fn connecting_ends_well_badly_or_by_its_deadline() {
    let (net, mut event_loop) = world();
    let endpoint = Endpoint::Unix("/anywhere".into());
    for _ in 0..3 {
        event_loop.engine.actions.push_back(Action::Connect(endpoint.clone()));
    }
    settle(&mut event_loop);
    net.0.borrow_mut().tell_socket(0, |event| event.is_writable = true);
    net.reset(1);
    settle(&mut event_loop);
    net.advance(limits::CONNECT_TIMEOUT);
    settle(&mut event_loop);
    let kinds = [Ok(Peer::Unix), Err(ErrorKind::ConnectionReset), Err(ErrorKind::TimedOut)];
    assert_eq!(event_loop.engine.connected, kinds);
    assert_eq!(event_loop.connections.len(), 1);
    assert!(!net.with(0, |socket| socket.wants_write));
}
