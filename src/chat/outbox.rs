//! What waits for one session besides its rooms' logs: replies, and parts of logs.
//!
//! A reply is text of its own; history, and what was due to a member that left, are spans: places in a
//! log, read when their turn comes, so they hold no copy. An item that is due at an offset waits until
//! the session's cursor is there. The front text may be written in part; nothing is put before it then.

use std::collections::VecDeque;

use super::log::{Cursor, Log};
use super::room_id::RoomId;

/// Replies and parts of logs that wait for one session, in the order in which it gets them.
#[derive(Debug, Default)]
pub struct Outbox {
    items: VecDeque<Item>,
    /// Bytes of the front item's text that the socket took.
    front_written: usize,
    /// Bytes of text in all items, of the front one's also those that were written.
    bytes: usize,
}

/// One thing that waits.
#[derive(Debug)]
pub struct Item {
    /// Written once the session's cursor in this room is at this offset: a reply comes after what
    /// was said before it. `None`, or no member of the room any more: at once.
    pub due: Option<(RoomId, u64)>,
    /// What is written.
    pub content: Content,
}

/// What is written.
#[derive(Debug)]
pub enum Content {
    /// Text of its own.
    Text(Vec<u8>),
    /// A part of a log, read when its turn comes: history, or what was due to a member that left.
    Span(Span),
}

/// A part of a log to be read; both ends are record boundaries.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The room, which knows of this span by its `pins`.
    pub room: RoomId,
    /// Where reading goes on.
    pub cursor: Cursor,
    /// Where it ends.
    pub to: Cursor,
    /// Leave the notices out.
    pub is_history: bool,
}

/// Bytes that a span takes: its place in the queue, which grows by doubling, and the room's note of whose spans
/// read its log.
pub const SPAN_BYTES: usize = 2 * size_of::<Item>() + 80;

/// Bytes that an item takes beside its text: its place, and the span that leaving its room may put before it.
pub const ITEM_BYTES: usize = 2 * size_of::<Item>() + SPAN_BYTES;

impl Outbox {
    /// Bytes of memory that what waits takes, or can come to take without anybody asking for more.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.items.len() * ITEM_BYTES
    }

    /// Bytes of memory that are taken for what waits, used or not.
    #[cfg(test)]
    pub fn capacity_bytes(&self) -> usize {
        let texts = self.items.iter().map(|item| match &item.content {
            Content::Text(text) => text.capacity(),
            Content::Span(_) => 0,
        });
        texts.sum::<usize>() + self.items.capacity() * size_of::<Item>()
    }

    /// Bytes of text that are still to be written.
    #[must_use]
    pub fn due_text_bytes(&self) -> u64 {
        (self.bytes - self.front_written) as u64
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The first thing that waits.
    #[must_use]
    pub fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    /// The span at the front, to be moved on.
    pub fn front_span_mut(&mut self) -> Option<&mut Span> {
        match self.items.front_mut() {
            Some(Item { content: Content::Span(span), .. }) => Some(span),
            _ => None,
        }
    }

    /// What of the front text is not written yet.
    #[must_use]
    pub fn front_text(&self) -> &[u8] {
        match self.items.front() {
            Some(Item { content: Content::Text(text), .. }) => &text[self.front_written..],
            _ => &[],
        }
    }

    /// Adds text behind all that waits; to the last text where that is due at the same place. Not to one
    /// that is being written: it would keep what was written for as long as there is more.
    pub fn push_text(&mut self, due: Option<(RoomId, u64)>, text: &[u8]) {
        self.bytes += text.len();
        let is_begun = self.items.len() == 1 && self.front_written > 0;
        match self.items.back_mut() {
            Some(Item { due: last_due, content: Content::Text(last) }) if *last_due == due && !is_begun => {
                // Not doubled: what is counted is what it takes.
                last.reserve_exact(text.len());
                last.extend_from_slice(text);
            }
            _ => self.items.push_back(Item { due, content: Content::Text(text.to_vec()) }),
        }
    }

    /// Adds a part of a log behind all that waits, due at once.
    pub fn push_span(&mut self, span: Span) {
        self.items.push_back(Item { due: None, content: Content::Span(span) });
    }

    /// The session left the room, of whose log it is still due `from..to` but for its `skips`: the spans
    /// go to where they would have been written, between the replies that are due in that room.
    /// Returns their number.
    pub fn release_room(
        &mut self,
        room: RoomId,
        from: Cursor,
        to: Cursor,
        log: &Log,
        skips: &[Skip],
    ) -> usize {
        let count_before = self.items.len();
        let mut next = from;
        let base = log.base();
        // The log does not know the places of what it lost, and nobody needs them: what counts is how much
        // of it was to be sent.
        let own: u64 = skips.iter().map(|skip| skip.messages_before_base(log)).sum();
        if from.offset < base.offset {
            next.messages = base.messages.min(from.messages + own);
        }
        let skips: Vec<Skip> = skips.iter().filter(|skip| skip.to > base.offset).copied().collect();
        let mut index = 0;
        while let Some(item) = self.items.get_mut(index) {
            if let Some((_, offset)) = item.due.take_if(|(due_room, _)| *due_room == room)
                && to.offset.min(offset) > next.offset.max(base.offset)
            {
                // What it is due behind may have been about to be announced, and is not for this session any more.
                let stop = if offset < to.offset { log.cursor_at(offset) } else { to };
                index = self.insert_spans(index, room, next, stop, log, &skips);
                next = stop;
            }
            index += 1;
        }
        self.insert_spans(self.items.len(), room, next, to, log, &skips);
        self.items.len() - count_before
    }

    /// Inserts the stretches of `from..to` that are not skipped; returns the index behind them.
    fn insert_spans(
        &mut self,
        mut index: usize,
        room: RoomId,
        from: Cursor,
        to: Cursor,
        log: &Log,
        skips: &[Skip],
    ) -> usize {
        let mut next = from;
        while next.offset < to.offset {
            let skip = skips.iter().find(|skip| skip.to > next.offset);
            let stop = match skip.filter(|skip| skip.from < to.offset) {
                Some(skip) if skip.from <= next.offset => {
                    next = if skip.to < to.offset { log.cursor_at(skip.to) } else { to };
                    continue;
                }
                Some(skip) => log.cursor_at(skip.from.max(log.base().offset)),
                None => to,
            };
            let span = Span { room, cursor: next, to: stop, is_history: false };
            self.items.insert(index, Item { due: None, content: Content::Span(span) });
            index += 1;
            next = stop;
        }
        index
    }

    /// Drops all spans, so that only text waits; returns their rooms.
    pub fn drop_spans(&mut self) -> Vec<RoomId> {
        let rooms = self.spans().map(|span| span.room).collect();
        self.items.retain(|item| matches!(item.content, Content::Text(_)));
        rooms
    }

    /// The spans in it.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.items.iter().filter_map(|item| match &item.content {
            Content::Span(span) => Some(span),
            Content::Text(_) => None,
        })
    }

    /// Puts text before all that waits: the rest of a record that was begun, or news of a gap.
    pub fn push_front(&mut self, text: Vec<u8>) {
        debug_assert_eq!(self.front_written, 0);
        self.bytes += text.len();
        self.items.push_front(Item { due: None, content: Content::Text(text) });
    }

    /// Counts `bytes` of the front text as written, and drops it when nothing of it is left.
    pub fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.front_text().len());
        self.front_written += bytes;
        if self.front_text().is_empty() {
            self.pop_front();
        }
    }

    /// Drops the front item.
    pub fn pop_front(&mut self) -> Option<Item> {
        self.front_written = 0;
        self.bytes -= self.front_text().len();
        let item = self.items.pop_front();
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        item
    }
}

/// A part of a log that one member is not sent; both ends are record boundaries.
#[derive(Clone, Copy, Debug)]
pub struct Skip {
    /// The room.
    pub room: RoomId,
    /// Offset of its first byte.
    pub from: u64,
    /// Offset behind its last byte.
    pub to: u64,
    /// Messages in it.
    pub messages: u64,
}

impl Skip {
    /// Messages in it that fell off the log: nobody missed them, they were not due.
    #[must_use]
    pub fn messages_before_base(&self, log: &Log) -> u64 {
        if self.from >= log.base().offset {
            return 0;
        }
        let kept = log.cursor_at(self.to.max(log.base().offset)).messages - log.base().messages;
        self.messages.saturating_sub(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::log::Kind;

    #[test]
    fn what_is_counted_is_what_it_takes() {
        let mut outbox = Outbox::default();
        for n in 0..2000_u64 {
            outbox.push_text((n % 400 > 0).then_some((RoomId::new(0), n / 400)), b"a reply");
            if n % 4 == 0 {
                outbox.advance(5.min(outbox.front_text().len()));
            }
            let takes = outbox.capacity_bytes();
            // A queue has room for four from the start.
            assert!(takes <= outbox.bytes() + 4 * size_of::<Item>(), "{takes} of {}", outbox.bytes());
        }
    }

    #[test]
    fn replies_due_at_the_same_place_are_one_text() {
        let mut outbox = Outbox::default();
        outbox.push_text(None, b"one ");
        outbox.push_text(None, b"two");
        outbox.push_text(Some((RoomId::new(0), 7)), b"three");
        assert_eq!(outbox.front_text(), b"one two");
        outbox.advance(4);
        assert_eq!((outbox.front_text(), outbox.bytes), (&b"two"[..], 12), "its memory is still there");
        outbox.advance(3);
        outbox.push_front(b"gap ".to_vec());
        assert_eq!((outbox.front_text(), outbox.bytes), (&b"gap "[..], 9));
        outbox.advance(4);
        outbox.advance(5);
        assert!(outbox.front().is_none());
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn what_is_written_of_a_text_is_not_due_any_more() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty());
        outbox.push_text(None, b"twelve bytes");
        outbox.push_text(Some((RoomId::new(0), 7)), b"six...");
        outbox.advance(5);
        assert_eq!(outbox.due_text_bytes(), 13);
        outbox.advance(7);
        assert_eq!(outbox.due_text_bytes(), 6);
        assert!(!outbox.is_empty());
    }

    #[test]
    fn what_is_left_of_a_room_stands_in_its_order_around_the_replies_and_without_what_is_skipped() {
        let room = RoomId::new(0);
        let mut log = Log::new(100);
        for letter in [b"a", b"b", b"c", b"d", b"e", b"f"] {
            log.append(Kind::Message, &[letter]);
        }
        let skip = |from| Skip { room, from, to: from + 1, messages: 1 };
        let mut outbox = Outbox::default();
        outbox.push_text(Some((room, 4)), b"reply");
        let spans = outbox.release_room(room, log.base(), log.end(), &log, &[skip(1), skip(4)]);
        let items: Vec<String> = outbox
            .items
            .iter()
            .map(|item| match &item.content {
                Content::Text(text) => String::from_utf8_lossy(text).into_owned(),
                Content::Span(span) => format!("{}..{}", span.cursor.offset, span.to.offset),
            })
            .collect();
        assert_eq!((spans, &items[..]), (3, &["0..1", "2..4", "reply", "5..6"].map(String::from)[..]));
    }

    #[test]
    fn nothing_is_added_to_a_text_that_is_being_written() {
        let mut outbox = Outbox::default();
        outbox.push_text(None, b"one");
        outbox.advance(1);
        outbox.push_text(None, b"two");
        assert_eq!(outbox.front_text(), b"ne");
        // Behind it, replies are one text again.
        outbox.push_text(None, b"three");
        outbox.advance(2);
        assert_eq!(outbox.front_text(), b"twothree");
    }
}
