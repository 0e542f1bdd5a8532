//! A sender and a receiver, both as they are in production, with nothing but two queues of bytes between
//! them: any pace, any split, offers that come too late, connections that are cut, files that change. Whatever
//! happens, only the whole file is ever published, and in the end it is.

use std::path::{Path, PathBuf};

use super::*;
use crate::clients::send;
use crate::clients::send::disk::{Disk, Facts};
use crate::engine::{Action, ConnectionId, Endpoint, Engine, ListenerId, Written};

/// A disk with one file.
#[derive(Clone, Debug)]
struct Shelf {
    content: Vec<u8>,
    modified: i64,
}

impl Disk for Shelf {
    type File = ();

    fn open(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn facts(&mut self, (): &()) -> io::Result<Facts> {
        Ok(Facts { bytes: self.content.len() as u64, modified: (self.modified, 0) })
    }

    fn read(&mut self, (): &(), offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.content.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len()).min(5000);
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }
}

/// splitmix64 (Steele, Lea, Flood: Fast Splittable PRNGs, 2014).
struct Random(u64);

impl Random {
    /// Less than `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    /// A length: often small, seldom large.
    fn length(&mut self, most: usize) -> usize {
        let scale = self.below(18);
        1 + self.below(most.min(1 << scale))
    }
}

/// One engine's end of the connection, with the loop's part played by hand.
struct Side<'a> {
    engine: &'a mut dyn Engine,
    id: ConnectionId,
    /// Bytes on their way to the other side.
    sent: Vec<u8>,
    unread: Vec<u8>,
    is_closing: bool,
    is_finishing: bool,
    has_sent_fin: bool,
    has_seen_fin: bool,
}

impl<'a> Side<'a> {
    fn new(engine: &'a mut dyn Engine, serial: u32) -> Self {
        Side {
            engine,
            id: ConnectionId::new(0, serial),
            sent: Vec::new(),
            unread: Vec::new(),
            is_closing: false,
            is_finishing: false,
            has_sent_fin: false,
            has_seen_fin: false,
        }
    }

    /// True: the loop is to end.
    fn apply_actions(&mut self) -> bool {
        let mut stops = false;
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Close(id, _) if id == self.id => self.is_closing = true,
                Action::FinishOutput(id) if id == self.id => self.is_finishing = true,
                Action::Stop(_) => stops = true,
                _ => {}
            }
            self.engine.handle_writable(self.id);
        }
        stops
    }

    /// Writes some of what is due.
    fn flush(&mut self, now: Now, random: &mut Random) {
        if self.has_sent_fin {
            return;
        }
        self.engine.handle_turn(now);
        self.engine.handle_writable(self.id);
        if self.engine.poll_ready(now) != Some(self.id) {
            return;
        }
        let output = self.engine.poll_output(now, self.id);
        let offered = output.len();
        if offered == 0 {
            self.has_sent_fin = self.is_closing || self.is_finishing;
            return;
        }
        let taken = random.length(offered).min(offered);
        self.sent.extend_from_slice(&output.parts.concat()[..taken]);
        let written = if taken == offered { Written::All } else { Written::Blocked };
        self.engine.handle_written(now, self.id, taken, written);
    }

    /// Some of what the other side sent arrives.
    fn receive(&mut self, now: Now, from: &mut Side<'_>, random: &mut Random) {
        let bytes = random.length(from.sent.len()).min(from.sent.len()).min(limits::READ_BYTES_MAX);
        self.unread.extend(from.sent.drain(..bytes));
        if self.is_closing {
            self.unread.clear();
        } else if bytes > 0 {
            let consumed = self.engine.handle_bytes(now, self.id, &self.unread);
            self.unread.drain(..consumed);
        }
        if from.has_sent_fin && from.sent.is_empty() && !self.has_seen_fin {
            self.has_seen_fin = true;
            if !self.is_closing {
                self.engine.handle_eof(now, self.id, &self.unread);
            }
        }
    }

    fn is_done(&self) -> bool {
        self.has_sent_fin && self.has_seen_fin
    }
}

/// How often out of a hundred steps what happens.
#[derive(Clone, Copy)]
struct Odds {
    late: usize,
    cut: usize,
}

/// Lets a sender send its file once. Returns how many did not get through: 0 or 1.
fn send_once(
    receiver: &Rc<RefCell<Receiver<Memory>>>,
    shelf: &mut Shelf,
    resumes: bool,
    odds: Odds,
    random: &mut Random,
    now: &mut Now,
) -> usize {
    let century = Duration::from_secs(100 * 365 * 86400);
    let settings = send::Settings {
        address: "there".into(),
        endpoints: vec![Endpoint::Unix("there".into())],
        files: vec![PathBuf::from("a")],
        resumes,
        is_classic: false,
        patience: century,
    };
    let mut sender = send::Sender::new(settings, shelf.clone(), Box::new(Deaf));
    let mut dispatch = engine(receiver);
    sender.handle_turn(*now);
    assert!(matches!(sender.poll_action(), Some(Action::Connect(_))));
    let (mut here, mut there) = (Side::new(&mut sender, 1), Side::new(&mut dispatch, 2));
    there.engine.handle_accepted(*now, there.id, Some(ListenerId::new(0)), Peer::Unix);
    here.engine.handle_connected(*now, here.id, Peer::Unix);
    for _ in 0..1_000_000 {
        here.apply_actions();
        there.apply_actions();
        if here.is_done() && there.is_done() || random.below(10_000) < odds.cut {
            here.engine.handle_closed(*now, here.id, Reason::Reset);
            there.engine.handle_closed(*now, there.id, Reason::Reset);
            here.engine.handle_turn(*now);
            assert!(here.apply_actions(), "it has nothing more to do");
            return sender.failed();
        }
        match random.below(100) {
            0..24 => here.flush(*now, random),
            24..48 => there.flush(*now, random),
            48..72 => there.receive(*now, &mut here, random),
            72..96 => here.receive(*now, &mut there, random),
            _ => {
                let dues = [here.engine.poll_timeout(), there.engine.poll_timeout()];
                let Some(due) = dues.into_iter().flatten().min() else { continue };
                let is_soon = due.since(now.moment) < Duration::from_millis(1);
                let is_offer = due.since(now.moment) <= limits::RESUME_OFFER;
                if is_soon || is_offer && random.below(100) < odds.late {
                    now.moment = now.moment.max(due);
                    for side in [&mut here, &mut there] {
                        if side.engine.poll_timeout().is_some_and(|due| due <= now.moment) {
                            side.engine.handle_timeout(*now);
                        }
                    }
                }
            }
        }
    }
    panic!("it never ended")
}

#[test]
fn whatever_happens_on_the_way_the_whole_file_arrives_or_none() {
    let mut resumed = 0;
    for seed in 0..150 {
        let mut random = Random(seed);
        let content = content(random.below(400_000));
        let mut shelf = Shelf { content, modified: 1 };
        let receiver = Rc::new(RefCell::new(receiver()));
        receiver.borrow_mut().settings.idle = Duration::from_secs(1 << 40);
        receiver.borrow_mut().settings.deadline = Duration::from_secs(1 << 40);
        receiver.borrow_mut().folder.write_bytes_max = 1 + random.below(100_000);
        let mut now = Now { moment: Moment::START, unix_s: 0 };
        let mut odds = Odds { late: random.below(100), cut: random.below(30) };
        for attempt in 0.. {
            if attempt == 6 {
                odds.cut = 0;
            }
            resumed += usize::from(!receiver.borrow().folder.kept.is_empty());
            let failed = send_once(&receiver, &mut shelf, true, odds, &mut random, &mut now);
            let folder = &receiver.borrow().folder;
            if let Some(published) = folder.files.get("a") {
                assert!(*published == shelf.content, "seed {seed}: other bytes were published");
                break;
            }
            assert_eq!(failed, 1, "seed {seed}: told as sent, and not there");
            assert!(odds.cut > 0, "seed {seed}: it never got through");
            if random.below(4) == 0 {
                // It is another file now, perhaps with the same time and size.
                let at = random.below(shelf.content.len());
                shelf.content.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
                shelf.modified += random.below(2) as i64;
            }
        }
    }
    assert!(resumed > 50, "only {resumed} transfers found something to continue");
}
