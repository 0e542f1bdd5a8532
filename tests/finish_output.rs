//! `Action::FinishOutput` on the real loop: the peer sees the end, and is still heard after it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use onepoll::engine::{
    Action, ConnectionId, Endpoint, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Written,
};
use onepoll::event_loop::io::{SocketOptions, System};
use onepoll::event_loop::{EventLoop, Linger};

/// Says `hello`, finishes its output, and keeps what it hears.
struct HalfCloser {
    actions: Vec<Action>,
    ready: Option<ConnectionId>,
    unsent: &'static [u8],
    heard: Vec<u8>,
}

impl Engine for HalfCloser {
    fn handle_accepted(&mut self, _: Now, _: ConnectionId, _: Option<ListenerId>, _: Peer) {}
    fn handle_connected(&mut self, _: Now, id: ConnectionId, _: Peer) {
        self.actions.push(Action::FinishOutput(id));
    }
    fn handle_bytes(&mut self, _: Now, _: ConnectionId, bytes: &[u8]) -> usize {
        self.heard.extend_from_slice(bytes);
        bytes.len()
    }
    fn handle_eof(&mut self, _: Now, id: ConnectionId, _: &[u8]) -> bool {
        self.actions.push(Action::Stop(Duration::ZERO));
        self.actions.push(Action::Close(id, Reason::EndOfInput));
        true
    }
    fn wants_input(&self, _: ConnectionId) -> bool {
        true
    }
    fn poll_ready(&mut self, _: Now) -> Option<ConnectionId> {
        self.ready.take()
    }
    fn has_ready(&self) -> bool {
        self.ready.is_some() || !self.actions.is_empty()
    }
    fn poll_output(&mut self, _: Now, _: ConnectionId) -> Output<'_> {
        Output::one(self.unsent)
    }
    fn handle_written(&mut self, _: Now, id: ConnectionId, bytes: usize, written: Written) {
        self.unsent = &self.unsent[bytes..];
        if written == Written::OutOfBudget {
            self.ready = Some(id);
        }
    }
    fn handle_writable(&mut self, id: ConnectionId) {
        self.ready = Some(id);
    }
    fn handle_closed(&mut self, _: Now, _: ConnectionId, _: Reason) {}
    fn handle_signal(&mut self, _: Now) {}
    fn handle_timeout(&mut self, _: Now) {}
    fn poll_timeout(&self) -> Option<Moment> {
        // So that a turn always ends and the test can look at its own deadline.
        Some(Moment::START)
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop()
    }
}

#[test]
fn the_peer_sees_the_end_of_the_output_and_is_still_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let system = System::new(SocketOptions { unsent_bytes: 4096 }).expect("a poll");
    let engine = HalfCloser {
        actions: vec![Action::Connect(Endpoint::Tcp(address))],
        ready: None,
        unsent: b"hello",
        heard: Vec::new(),
    };
    let mut event_loop = EventLoop::new(system, engine, Linger::InAll(Duration::from_secs(5)));
    let deadline = Instant::now() + Duration::from_secs(20);
    let (mut peer, _) = {
        // The kernel accepts by itself: two turns connect, write and shut down.
        event_loop.turn().expect("poll");
        listener.accept().expect("a connection")
    };
    peer.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
    let mut received = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "no end of output: {received:?}");
        assert_eq!(event_loop.turn().expect("poll"), None);
        let mut buffer = [0; 64];
        match peer.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => received.extend_from_slice(&buffer[..bytes]),
            Err(_) => {}
        }
    }
    assert_eq!(received, b"hello");
    peer.write_all(b"late").expect("the reading side is open");
    drop(peer);
    while event_loop.turn().expect("poll").is_none() {
        assert!(Instant::now() < deadline, "no end of the loop");
    }
    assert_eq!(event_loop.engine().heard, b"late");
}
