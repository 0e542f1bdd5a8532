//! One direction of a connection: what is on its way, what is there, and how it ends.

use std::collections::VecDeque;

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Bytes(Vec<u8>),
    Fin,
}

/// A byte pipe with a capacity and a latency.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// What is on its way, with the time at which it is there; times never go back.
    on_the_way: VecDeque<(u64, Segment)>,
    on_the_way_bytes: usize,
    /// What can be read.
    pub(super) there: VecDeque<u8>,
    /// Nothing follows what is there.
    pub(super) is_finished: bool,
    pub(super) capacity_bytes: usize,
}

impl Pipe {
    pub(super) fn new(capacity_bytes: usize) -> Self {
        Pipe { capacity_bytes, ..Pipe::default() }
    }

    /// Bytes that can be put in now.
    pub(super) fn room(&self) -> usize {
        self.capacity_bytes.saturating_sub(self.there.len() + self.on_the_way_bytes)
    }

    /// Puts bytes in, which are there at `time` or behind those before them; returns when.
    pub(super) fn put(&mut self, time: u64, bytes: &[u8]) -> u64 {
        self.on_the_way_bytes += bytes.len();
        self.send(time, Segment::Bytes(bytes.to_vec()))
    }

    /// Nothing follows; returns when that is known at the other end.
    pub(super) fn finish(&mut self, time: u64) -> u64 {
        self.send(time, Segment::Fin)
    }

    fn send(&mut self, time: u64, segment: Segment) -> u64 {
        let time = self.on_the_way.back().map_or(time, |(last, _)| time.max(*last));
        self.on_the_way.push_back((time, segment));
        time
    }

    /// Moves on to `time`.
    pub(super) fn advance(&mut self, time: u64) {
        while self.on_the_way.front().is_some_and(|(there_at, _)| *there_at <= time) {
            match self.on_the_way.pop_front() {
                Some((_, Segment::Bytes(bytes))) => {
                    self.on_the_way_bytes -= bytes.len();
                    self.there.extend(bytes);
                }
                Some((_, Segment::Fin)) => self.is_finished = true,
                None => {}
            }
        }
    }

    /// Takes out what fits into `buffer`.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let bytes = buffer.len().min(self.there.len());
        for (place, byte) in buffer.iter_mut().zip(self.there.drain(..bytes)) {
            *place = byte;
        }
        bytes
    }

    /// What was on its way is lost.
    pub(super) fn cut(&mut self) {
        self.on_the_way.clear();
        self.on_the_way_bytes = 0;
    }
}
