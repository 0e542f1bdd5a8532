//! The least of a loop that a chat needs: virtual sockets with as much room as a test gives them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::chat::Chat;
use crate::chat::config::Config;
use crate::engine::{Action, ConnectionId, Engine, ListenerId, Moment, Now, Peer, Reason, Refusal, Written};

/// A chat, and who is connected to it: what `EventLoop` does, without sockets.
pub(super) struct World {
    pub(super) chat: Chat,
    pub(super) now: Now,
    pub(super) sockets: BTreeMap<ConnectionId, Socket>,
    pub(super) next_serial: u32,
    pub(super) free_slots: Vec<u32>,
}

#[derive(Default)]
pub(super) struct Socket {
    pub(super) received: Vec<u8>,
    /// Bytes that it still takes; `None`: any number.
    pub(super) room: Option<usize>,
    /// Input that the engine did not take yet.
    pub(super) unread: Vec<u8>,
    pub(super) closing: Option<Reason>,
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        World {
            chat: Chat::new(config),
            now: Now { moment: Moment::START, unix_s: 1_795_255_200 },
            sockets: BTreeMap::new(),
            next_serial: 1,
            free_slots: Vec::new(),
        }
    }

    pub(super) fn connect_from(&mut self, peer: Peer) -> Result<ConnectionId, Refusal> {
        self.chat.admit(self.now, ListenerId::new(0), peer)?;
        let slot = self.free_slots.pop().unwrap_or(self.sockets.len() as u32);
        let id = ConnectionId::new(slot, self.next_serial);
        self.next_serial += 1;
        self.sockets.insert(id, Socket::default());
        self.chat.handle_accepted(self.now, id, Some(ListenerId::new(0)), peer);
        Ok(id)
    }

    pub(super) fn connect(&mut self) -> ConnectionId {
        let id = self.connect_from(Peer::Unix).expect("the test's server is not full");
        self.turn();
        id
    }

    /// Bytes arrive; what the engine does not take waits for it.
    pub(super) fn send(&mut self, id: ConnectionId, bytes: &(impl AsRef<[u8]> + ?Sized)) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.unread.extend_from_slice(bytes.as_ref());
        self.offer(id);
    }

    pub(super) fn offer(&mut self, id: ConnectionId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if socket.closing.is_none() && self.chat.wants_input(id) {
            let consumed = self.chat.handle_bytes(self.now, id, &socket.unread);
            socket.unread.drain(..consumed);
        }
        self.act();
    }

    pub(super) fn act(&mut self) {
        while let Some(action) = self.chat.poll_action() {
            match action {
                Action::Resume(id) => self.offer(id),
                Action::Close(id, reason) => {
                    if let Some(socket) = self.sockets.get_mut(&id) {
                        socket.closing = Some(reason);
                    }
                }
                Action::Stop(_) => {}
                other => panic!("a server does not ask for {other:?}"),
            }
        }
    }

    /// The second half of a turn: deadlines, announcements, flush, reap.
    pub(super) fn turn(&mut self) {
        if self.chat.poll_timeout().is_some_and(|due| due <= self.now.moment) {
            self.chat.handle_timeout(self.now);
        }
        self.act();
        self.chat.handle_turn(self.now);
        while let Some(id) = self.chat.poll_ready(self.now) {
            self.flush(id);
        }
        self.act();
        let done: Vec<_> = self.sockets.iter().filter_map(|(id, s)| Some((*id, s.closing?))).collect();
        for (id, reason) in done {
            if self.chat.sessions.get(id).is_some() && self.chat.poll_output(self.now, id).is_empty() {
                self.chat.handle_closed(self.now, id, reason);
                self.free_slots.push(id.slot() as u32);
            }
        }
    }

    pub(super) fn flush(&mut self, id: ConnectionId) {
        loop {
            let output = self.chat.poll_output(self.now, id);
            if output.is_empty() {
                return;
            }
            let Some(socket) = self.sockets.get_mut(&id) else { return };
            let bytes = output.parts.concat();
            let taken = socket.room.map_or(bytes.len(), |room| room.min(bytes.len()));
            socket.received.extend_from_slice(&bytes[..taken]);
            if let Some(room) = &mut socket.room {
                *room -= taken;
            }
            let written = if taken == bytes.len() { Written::All } else { Written::Blocked };
            self.chat.handle_written(self.now, id, taken, written);
            if written == Written::Blocked {
                return;
            }
        }
    }

    pub(super) fn settle(&mut self) {
        self.turn();
        while self.chat.has_ready() {
            self.turn();
        }
    }

    /// A full socket has room for so many bytes more.
    pub(super) fn give_room(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.room = Some(bytes);
            self.chat.handle_writable(id);
        }
    }

    pub(super) fn open_wide(&mut self, id: ConnectionId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.room = None;
            self.chat.handle_writable(id);
        }
    }

    pub(super) fn advance(&mut self, duration: Duration) {
        self.now.moment = self.now.moment + duration;
        self.settle();
    }

    /// What the socket received since the last call.
    pub(super) fn take(&mut self, id: ConnectionId) -> String {
        let received = std::mem::take(&mut self.sockets.get_mut(&id).expect("it connected").received);
        String::from_utf8(received).expect("whole characters")
    }
}
