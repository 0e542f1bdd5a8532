//! Output that waits, for engines that keep a queue of bytes for each connection.
//!
//! It answers the half of the [`Engine`](crate::engine::Engine) contract that is about output: who is
//! ready, what is due, what was written. Its invariant: a connection is on the ready list, blocked, or
//! has nothing to write.

use std::collections::VecDeque;

use crate::engine::{ConnectionId, Output, Written};

/// Memory that an empty queue keeps for the next answer; what is beyond is given back.
const KEPT_BYTES_MAX: usize = 512;

/// The output of all connections.
#[derive(Debug, Default)]
pub struct OutputQueues {
    queues: Vec<Option<Queue>>,
    ready: VecDeque<ConnectionId>,
}

#[derive(Debug)]
struct Queue {
    id: ConnectionId,
    bytes: VecDeque<u8>,
    is_ready: bool,
    is_blocked: bool,
}

impl OutputQueues {
    /// Nobody's output.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection is there.
    pub fn open(&mut self, id: ConnectionId) {
        if self.queues.len() <= id.slot() {
            self.queues.resize_with(id.slot() + 1, || None);
        }
        self.queues[id.slot()] =
            Some(Queue { id, bytes: VecDeque::new(), is_ready: false, is_blocked: false });
    }

    /// A connection is gone, and what waited for it.
    pub fn close(&mut self, id: ConnectionId) {
        if self.queue(id).is_some() {
            self.queues[id.slot()] = None;
        }
    }

    /// Adds output for a connection; nothing, where it is gone.
    pub fn push(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(queue) = self.queue(id) {
            queue.bytes.extend(bytes);
            self.make_ready(id);
        }
    }

    /// Bytes that wait for a connection.
    #[must_use]
    pub fn waiting_bytes(&self, id: ConnectionId) -> usize {
        let queue = self.queues.get(id.slot()).and_then(Option::as_ref);
        queue.filter(|queue| queue.id == id).map_or(0, |queue| queue.bytes.len())
    }

    /// For [`Engine::poll_ready`](crate::engine::Engine::poll_ready).
    pub fn poll_ready(&mut self) -> Option<ConnectionId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(queue) = self.queue(id) {
                queue.is_ready = false;
                return Some(id);
            }
        }
        None
    }

    /// For [`Engine::has_ready`](crate::engine::Engine::has_ready).
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// For [`Engine::poll_output`](crate::engine::Engine::poll_output).
    #[must_use]
    pub fn output(&self, id: ConnectionId) -> Output<'_> {
        match self.queues.get(id.slot()) {
            Some(Some(queue)) if queue.id == id => {
                let (front, back) = queue.bytes.as_slices();
                Output { parts: [front, back] }
            }
            _ => Output::default(),
        }
    }

    /// For [`Engine::handle_written`](crate::engine::Engine::handle_written).
    pub fn handle_written(&mut self, id: ConnectionId, bytes: usize, written: Written) {
        let Some(queue) = self.queue(id) else { return };
        debug_assert!(bytes <= queue.bytes.len());
        if bytes >= queue.bytes.len() {
            queue.bytes.clear();
            if queue.bytes.capacity() > KEPT_BYTES_MAX {
                queue.bytes = VecDeque::new();
            }
        } else {
            queue.bytes.drain(..bytes);
        }
        // Who has output left is asked for more in the same turn, or told of by `handle_writable`.
        queue.is_blocked = written != Written::All;
    }

    /// For [`Engine::handle_writable`](crate::engine::Engine::handle_writable): the loop looks at the
    /// connection again, also where nothing waits, for that may be what a close waits for.
    pub fn handle_writable(&mut self, id: ConnectionId) {
        if let Some(queue) = self.queue(id) {
            queue.is_blocked = false;
            self.make_ready(id);
        }
    }

    /// Has the loop look at the connection, unless it is blocked.
    pub fn make_ready(&mut self, id: ConnectionId) {
        if let Some(queue) = self.queue(id)
            && !queue.is_ready
            && !queue.is_blocked
        {
            queue.is_ready = true;
            self.ready.push_back(id);
        }
    }

    fn queue(&mut self, id: ConnectionId) -> Option<&mut Queue> {
        self.queues.get_mut(id.slot())?.as_mut().filter(|queue| queue.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_waits_in_order_and_only_for_its_own_connection() {
        let mut queues = OutputQueues::new();
        let (first, second) = (ConnectionId::new(0, 1), ConnectionId::new(0, 2));
        queues.open(first);
        queues.push(first, b"one ");
        queues.push(first, b"two");
        assert!(queues.has_ready());
        assert_eq!(queues.poll_ready(), Some(first));
        assert!(!queues.has_ready());
        assert_eq!(queues.poll_ready(), None);
        assert_eq!(queues.output(first).parts.concat(), b"one two");
        queues.handle_written(first, 4, Written::Blocked);
        queues.push(first, b"!");
        assert_eq!(queues.poll_ready(), None, "it is blocked");
        queues.handle_writable(first);
        assert_eq!(queues.poll_ready(), Some(first));
        assert_eq!(queues.output(first).parts.concat(), b"two!");
        queues.close(first);
        queues.push(first, b"late");
        assert_eq!((queues.waiting_bytes(first), queues.poll_ready()), (0, None), "it is gone");
        // The slot is another's now.
        queues.open(second);
        queues.push(first, b"late");
        assert_eq!((queues.waiting_bytes(first), queues.waiting_bytes(second)), (0, 0));
        assert_eq!(queues.poll_ready(), None);
        queues.push(second, b"mine");
        assert_eq!((queues.waiting_bytes(first), queues.output(first).len()), (0, 0));
        assert_eq!(queues.output(second).parts.concat(), b"mine");
    }

    #[test]
    fn memory_that_grew_for_a_burst_is_given_back() {
        let mut queues = OutputQueues::new();
        let id = ConnectionId::new(0, 1);
        queues.open(id);
        queues.push(id, &[b'x'; 100_000]);
        queues.handle_written(id, 100_000, Written::All);
        assert_eq!(queues.queues[0].as_ref().map(|queue| queue.bytes.capacity()), Some(0));
    }
}
