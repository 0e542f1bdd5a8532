//! Input that the engine did not take yet: all of it is shown again, and no memory is kept for none.

use super::system::Virtual;
use super::{Echo, settle, world};
use crate::engine::Action;
use crate::event_loop::EventLoop;

/// Has the one who paused go on.
fn resume(event_loop: &mut EventLoop<Virtual, Echo>) {
    let id = event_loop.engine.paused.pop().expect("it paused");
    event_loop.engine.actions.push_back(Action::Resume(id));
    settle(event_loop);
}

#[test]
fn what_is_taken_in_pieces_is_taken_once_and_whole() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.received(key);
    net.send(key, b"abpcdpefpgh");
    settle(&mut event_loop);
    for _ in 0..3 {
        resume(&mut event_loop);
    }
    assert_eq!(net.received(key), "abcdefgh");
}

#[test]
fn no_memory_is_kept_for_input_that_was_taken() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.send(key, b"hello");
    settle(&mut event_loop);
    assert!(event_loop.inputs.is_empty());
    net.send(key, b"abpcd");
    settle(&mut event_loop);
    assert_eq!(event_loop.inputs.len(), 1);
    resume(&mut event_loop);
    assert!(event_loop.inputs.is_empty());
}

#[test]
fn a_few_bytes_do_not_keep_the_buffer_of_a_whole_read_and_most_of_it_is_not_copied_for_a_few_less() {
    let (net, mut event_loop) = world();
    let key = net.connect();
    settle(&mut event_loop);
    net.send(key, &[b"p", &[b'a'; 1999][..], b"p", &[b'a'; 9899], b"p", &[b'a'; 100]].concat());
    settle(&mut event_loop);
    for (length, capacity) in [(12_000, 12_000), (10_000, 12_000), (100, 100)] {
        let kept: Vec<_> = event_loop.inputs.values().map(|kept| (kept.len(), kept.capacity())).collect();
        assert_eq!(kept, [(length, capacity)]);
        resume(&mut event_loop);
    }
}
