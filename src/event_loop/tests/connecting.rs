//! Connections that the engine asked for, and that are not there yet.

use super::{settle, world};
use crate::engine::{Action, Endpoint, Peer};
use crate::event_loop::End;
use crate::event_loop::io::Source;

const ENOTCONN: i32 = 107;

#[test]
fn an_event_that_comes_before_the_connection_does_is_no_failure() {
    let (net, mut event_loop) = world();
    event_loop.engine.actions.push_back(Action::Connect(Endpoint::Unix("/anywhere".into())));
    settle(&mut event_loop);
    net.with(0, |socket| socket.error = Some(ENOTCONN));
    net.0.borrow_mut().tell_socket(0, |event| event.is_writable = true);
    settle(&mut event_loop);
    assert!(event_loop.engine.connected.is_empty());
    net.with(0, |socket| socket.error = None);
    net.0.borrow_mut().tell_socket(0, |event| event.is_writable = true);
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.connected, [Ok(Peer::Unix)]);
}

#[test]
fn a_datagram_socket_is_connected_at_once() {
    let (_, mut event_loop) = world();
    let endpoint = Endpoint::Udp(([127, 0, 0, 1], 9).into());
    event_loop.engine.actions.push_back(Action::Connect(endpoint));
    settle(&mut event_loop);
    assert_eq!(event_loop.engine.connected, [Ok(Peer::Unix)]);
    assert_eq!(event_loop.timeout(), None, "nothing is waited for");
}

#[test]
fn who_was_still_being_connected_to_when_the_loop_ended_was_nobody_yet() {
    let (net, mut event_loop) = world();
    event_loop.engine.actions.push_back(Action::Connect(Endpoint::Unix("/anywhere".into())));
    settle(&mut event_loop);
    net.0.borrow_mut().tell(Source::Waker, |_| {});
    assert_eq!(event_loop.run().expect("it runs"), End::Overdue(1));
    assert_eq!((event_loop.engine.connected, event_loop.engine.closed), (vec![], vec![]));
}
