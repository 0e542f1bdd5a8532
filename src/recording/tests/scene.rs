//! A system that plays a script: one step a turn, sockets that take little and differing amounts.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::engine::{Endpoint, Moment, Now, Peer};
use crate::event_loop::io::{Event, Io, Source};

/// Talk in two rooms, private and strange and too long, one too many, a reset, an end of input, a signal.
pub(super) const SCRIPT: [Step; 22] = [
    Step::Come("192.0.2.1"),
    Step::Come("192.0.2.2"),
    Step::Say(1, "/nick ann\n"),
    Step::Say(2, "hello there\nhow are"),
    Step::Say(2, " you?\n"),
    Step::Come("2001:db8::7"),
    Step::Come("192.0.2.9"),
    Step::Say(3, "a line that is too long, for sixty-four bytes are all that it may have here\n"),
    Step::Say(1, "/join garden\nflowers\n"),
    Step::Say(3, "/join garden\n/who\n"),
    Step::Reset(2),
    Step::Come("192.0.2.2"),
    Step::Say(4, "back again\n\u{7}\u{202e}strange\n"),
    Step::Say(4, "/msg ann a secret\n"),
    Step::Say(1, "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n"),
    Step::Say(3, "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n"),
    Step::End(3),
    Step::Say(1, "nine\n"),
    Step::Say(4, "/last\n"),
    Step::Say(1, "ten\n"),
    Step::Say(1, "eleven\n"),
    Step::Signal,
];

/// What happens before a turn.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Come(&'static str),
    Say(usize, &'static str),
    End(usize),
    Reset(usize),
    Signal,
}

/// Bytes that went out to each connection, by its number.
pub(super) type Received = BTreeMap<usize, Vec<u8>>;

/// A system that plays a script: one step a turn, sockets that take little and differing amounts.
pub(super) struct Scene {
    script: VecDeque<Step>,
    moment: Moment,
    newcomers: VecDeque<Peer>,
    /// By slot: the connection's number, what it sends, and whether it waits for room.
    sockets: BTreeMap<usize, Socket>,
    connections: usize,
    writes: usize,
    received: Rc<RefCell<Received>>,
}

#[derive(Default)]
struct Socket {
    number: usize,
    input: VecDeque<Result<Vec<u8>, i32>>,
    wants_write: bool,
}

impl Scene {
    pub(super) fn new(script: &[Step]) -> (Self, Rc<RefCell<Received>>) {
        let received = Rc::default();
        let scene = Scene {
            script: script.iter().cloned().collect(),
            moment: Moment::START,
            newcomers: VecDeque::new(),
            sockets: BTreeMap::new(),
            connections: 0,
            writes: 0,
            received: Rc::clone(&received),
        };
        (scene, received)
    }

    fn slot_of(&self, number: usize) -> usize {
        let found = self.sockets.iter().find(|(_, socket)| socket.number == number);
        *found.expect("the script is about those who are there").0
    }

    fn act(&mut self, step: &Step, events: &mut Vec<Event>) {
        let event = |source| Event {
            source,
            is_readable: true,
            is_writable: false,
            is_read_closed: false,
            is_broken: false,
        };
        match step {
            Step::Come(ip) => {
                self.newcomers.push_back(Peer::Inet(ip.parse().expect("an address"), 1000));
                events.push(event(Source::Listener(0)));
            }
            Step::Signal => events.push(event(Source::Waker)),
            Step::Say(number, _) | Step::End(number) | Step::Reset(number) => {
                let slot = self.slot_of(*number);
                events.push(event(Source::Connection(slot)));
                self.sockets.get_mut(&slot).expect("it is there").input.push_back(match step {
                    Step::Say(_, text) => Ok(text.as_bytes().to_vec()),
                    Step::Reset(_) => Err(104),
                    _ => Ok(Vec::new()),
                });
            }
        }
    }
}

impl Io for Scene {
    type Stream = usize;
    type Listener = ();

    fn now(&mut self) -> Now {
        Now { moment: self.moment, unix_s: 1_795_255_200 + self.moment.as_nanos() as i64 / 1_000_000_000 }
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.moment = self.moment + timeout.unwrap_or(Duration::from_millis(700));
        for (slot, _) in self.sockets.iter().filter(|(_, socket)| socket.wants_write) {
            let source = Source::Connection(*slot);
            events.push(Event {
                source,
                is_readable: false,
                is_writable: true,
                is_read_closed: false,
                is_broken: false,
            });
        }
        if let Some(step) = self.script.pop_front() {
            self.act(&step, events);
        }
        Ok(())
    }

    fn listen(&mut self, (): &mut (), _index: usize) -> io::Result<()> {
        Ok(())
    }

    fn accept(&mut self, (): &mut ()) -> io::Result<(usize, Peer)> {
        let peer = self.newcomers.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        Ok((usize::MAX, peer))
    }

    fn accept_on_reserve(&mut self, (): &mut ()) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn refuse(&mut self, _stream: usize, text: &str) -> usize {
        let taken = &text.as_bytes()[..30];
        self.received.borrow_mut().entry(0).or_default().extend_from_slice(taken);
        taken.len()
    }

    fn connect(&mut self, _endpoint: &Endpoint) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connected(&mut self, _stream: &usize) -> io::Result<Peer> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn register(&mut self, stream: &mut usize, slot: usize, _wants_write: bool) -> io::Result<bool> {
        self.connections += 1;
        *stream = slot;
        self.sockets.insert(slot, Socket { number: self.connections, ..Socket::default() });
        Ok(false)
    }

    fn set_interest(&mut self, _stream: &mut usize, slot: usize, wants_write: bool) -> io::Result<()> {
        self.sockets.get_mut(&slot).expect("it is registered").wants_write = wants_write;
        Ok(())
    }

    fn deregister(&mut self, stream: &mut usize) {
        self.sockets.remove(stream);
    }

    fn read(&mut self, stream: &mut usize, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = self.sockets.get_mut(stream).expect("it is registered");
        let input = socket.input.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let bytes = input.map_err(io::Error::from_raw_os_error)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn short_read_drains(&self, _stream: &usize) -> bool {
        false
    }

    fn write(&mut self, stream: &mut usize, parts: [&[u8]; 2]) -> io::Result<usize> {
        self.writes += 1;
        let bytes = parts.concat();
        let taken = bytes.len().min([1000, 70, 0, 64, 300][self.writes % 5]);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let number = self.sockets[stream].number;
        self.received.borrow_mut().entry(number).or_default().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn shutdown_write(&mut self, _stream: &mut usize) -> io::Result<bool> {
        Ok(true)
    }

    fn abort(&mut self, _stream: &mut usize) {}
}
