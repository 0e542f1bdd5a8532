//! Transfers by hand: a folder in memory, and senders who say whatever the test wants, at any pace.

use std::collections::BTreeMap;
use std::io;

use super::*;
use crate::codec::transfer::Header;
use crate::engine::{Moment, Now};
use crate::limits;

/// What was published, and what is kept, by name and key.
#[derive(Debug, Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    kept: BTreeMap<String, Vec<u8>>,
    /// Bytes that a write takes at most.
    write_bytes_max: usize,
    free_bytes: u64,
    /// Whether it can be seen how many are free.
    knows_free_bytes: bool,
    /// Parts that are still to be had.
    descriptors: usize,
    /// Whether kept parts can be read.
    is_readable: bool,
}

#[derive(Debug, Default)]
struct Part {
    key: Option<String>,
    bytes: Vec<u8>,
}

impl Folder for Memory {
    type Part = Part;

    fn free_bytes(&self) -> io::Result<u64> {
        if self.knows_free_bytes { Ok(self.free_bytes) } else { Err(io::Error::from(rustix::io::Errno::IO)) }
    }

    fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    fn create(&mut self) -> io::Result<Part> {
        self.descriptors =
            self.descriptors.checked_sub(1).ok_or_else(|| io::Error::from(rustix::io::Errno::MFILE))?;
        Ok(Part::default())
    }

    fn resume(&mut self, key: &str) -> io::Result<(Part, u64)> {
        let bytes = self.kept.remove(key).unwrap_or_default();
        let length = bytes.len() as u64;
        Ok((Part { key: Some(key.into()), bytes }, length))
    }

    fn read(&mut self, part: &mut Part, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_readable {
            return Err(io::Error::from(rustix::io::Errno::IO));
        }
        let rest = &part.bytes[offset as usize..];
        let bytes = rest.len().min(buffer.len()).min(10_000);
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn write(&mut self, part: &mut Part, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        assert!(bytes.len() <= limits::WRITE_CHUNK_BYTES, "a write is bounded");
        assert_eq!(offset, part.bytes.len() as u64, "without holes");
        let bytes = &bytes[..bytes.len().min(self.write_bytes_max)];
        if bytes.len() as u64 > self.free_bytes {
            return Err(io::Error::from(rustix::io::Errno::NOSPC));
        }
        self.free_bytes -= bytes.len() as u64;
        part.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn clear(&mut self, part: &mut Part) -> io::Result<()> {
        part.bytes.clear();
        Ok(())
    }

    fn keep(&mut self, part: Part) {
        self.kept.insert(part.key.expect("only what can be found again is kept"), part.bytes);
    }

    fn publish(&mut self, part: Part, name: &str, conflict: Conflict) -> io::Result<String> {
        if conflict == Conflict::Refuse && self.has(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.files.insert(name.into(), part.bytes);
        Ok(name.into())
    }
}

#[derive(Debug)]
struct Deaf;

impl Progress for Deaf {
    fn begin(&mut self, _: Now, _: u32, _: &str, _: u64, _: Option<u64>) {}
    fn advance(&mut self, _: Now, _: u32, _: u64) {}
    fn end(&mut self, _: Now, _: u32, _: Result<String, String>) {}
}

fn receiver() -> Receiver<Memory> {
    let settings = Settings {
        on_conflict: Conflict::Refuse,
        file_bytes_max: Some(10_000_000),
        transfers_max: 10,
        transfers_per_address_max: 10,
        idle: Duration::from_secs(60),
        deadline: Duration::from_secs(600),
        reserved_bytes: 0,
        is_once: false,
    };
    let folder = Memory {
        write_bytes_max: usize::MAX,
        free_bytes: 1 << 40,
        knows_free_bytes: true,
        descriptors: 10,
        is_readable: true,
        ..Memory::default()
    };
    Receiver::new(settings, folder, Box::new(Deaf))
}

const CALLER: Caller = Caller { now: Now { moment: Moment::START, unix_s: 0 }, number: 1, peer: Peer::Unix };

/// A connection, with the loop's part played by hand: what is not consumed is offered again.
struct Line {
    transfer: Transfer<Memory>,
    unread: Vec<u8>,
    said: String,
}

impl Line {
    fn new() -> Self {
        Line { transfer: Transfer::default(), unread: Vec::new(), said: String::new() }
    }

    fn send(&mut self, receiver: &mut Receiver<Memory>, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        loop {
            let consumed = self.transfer.take(receiver, CALLER, &self.unread);
            self.unread.drain(..consumed);
            if consumed == 0 || self.unread.is_empty() {
                break;
            }
        }
        self.said += &self.transfer.take_said();
        assert!(self.unread.len() <= limits::TRANSFER_HEADER_BYTES_MAX + 4, "what is left is bounded");
    }

    fn end(&mut self, receiver: &mut Receiver<Memory>) {
        self.transfer.end(receiver, CALLER, !self.unread.is_empty());
        self.said += &self.transfer.take_said();
    }

    /// Lets the check of what is there come to its end.
    fn check(&mut self, receiver: &mut Receiver<Memory>) {
        for _ in 0..1000 {
            if self.transfer.patience(Duration::ZERO).is_some() {
                break;
            }
            self.transfer.handle_timeout(receiver, CALLER);
        }
        self.said += &self.transfer.take_said();
    }

    fn answers(&mut self) -> Vec<Answer> {
        let said = std::mem::take(&mut self.said);
        said.lines().map(|line| Answer::decode(line.as_bytes()).expect(line)).collect()
    }

    /// The one answer, which must be that it failed: why.
    #[track_caller]
    fn failure(&mut self) -> String {
        assert!(self.transfer.is_over());
        match self.answers().pop() {
            Some(Answer::Failed(why)) => why,
            other => panic!("no failure: {other:?}"),
        }
    }
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn header(name: &str, content: &[u8]) -> Header {
    Header { name: name.into(), bytes: Some(content.len() as u64), has_trailer: true, resume: None }
}

/// All that a sender sends.
fn stream(header: &Header, content: &[u8]) -> Vec<u8> {
    let hash = blake3::hash(content);
    let trailer: &[u8] = if header.has_trailer { hash.as_bytes() } else { &[] };
    [&header.encode(), content, trailer].concat()
}

fn done(content: &[u8]) -> Answer {
    Answer::Done { bytes: content.len() as u64, hash: blake3::hash(content), name: None, warning: None }
}

#[test]
fn a_file_is_the_same_however_its_bytes_arrive() {
    let content = content(300);
    for has_trailer in [true, false] {
        let stream = stream(&Header { has_trailer, ..header("a", &content) }, &content);
        for split in 0..=stream.len() {
            let mut receiver = receiver();
            let mut line = Line::new();
            line.send(&mut receiver, &stream[..split]);
            assert_eq!(receiver.folder.files.is_empty(), split < stream.len());
            line.send(&mut receiver, &stream[split..]);
            assert_eq!(line.answers(), [done(&content)], "{split}");
            assert_eq!(receiver.folder.files["a"], content);
            assert!(line.transfer.is_over());
        }
    }
}

#[test]
fn files_around_the_size_of_a_chunk_arrive_byte_by_byte_and_at_once() {
    let chunk = limits::WRITE_CHUNK_BYTES;
    for bytes in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk] {
        let content = content(bytes);
        let stream = stream(&header("a", &content), &content);
        for piece in [1, 13, 16 * 1024, usize::MAX] {
            let mut receiver = receiver();
            receiver.folder.write_bytes_max = 1000;
            let mut line = Line::new();
            for bytes in stream.chunks(piece.min(stream.len())) {
                line.send(&mut receiver, bytes);
            }
            assert_eq!(line.answers(), [done(&content)], "{bytes} bytes, {piece} at once");
            assert_eq!(receiver.folder.files["a"], content);
        }
    }
}

#[test]
fn without_a_size_the_file_ends_where_the_connection_ends() {
    let content = content(100_000);
    let header = Header { bytes: None, has_trailer: false, ..header("a", &content) };
    let mut receiver = receiver();
    let mut line = Line::new();
    line.send(&mut receiver, &stream(&header, &content));
    assert_eq!(line.answers(), []);
    line.end(&mut receiver);
    let Some(Answer::Done { bytes: 100_000, warning: Some(warning), .. }) = line.answers().pop() else {
        panic!("not done, or without a warning")
    };
    assert!(warning.contains("length could not be checked"), "{warning}");
    assert_eq!(receiver.folder.files["a"], content);
}

#[test]
fn what_is_not_whole_is_never_published() {
    let content = content(1000);
    let stream = stream(&header("a", &content), &content);
    for end in 0..stream.len() {
        let mut receiver = receiver();
        let mut line = Line::new();
        line.send(&mut receiver, &stream[..end]);
        line.end(&mut receiver);
        assert!(line.transfer.is_over());
        assert!(receiver.folder.files.is_empty() && receiver.folder.kept.is_empty(), "{end}");
        assert_eq!(line.said.is_empty(), end == 0, "only who said nothing is told nothing");
    }
}

#[test]
fn one_wrong_bit_is_found_wherever_it_is() {
    let content = content(300);
    let header = header("a", &content);
    let stream = stream(&header, &content);
    for at in header.encode().len()..stream.len() {
        let mut wrong = stream.clone();
        wrong[at] ^= 1;
        let mut receiver = receiver();
        let mut line = Line::new();
        line.send(&mut receiver, &wrong);
        assert!(line.failure().contains("do not have the hash"), "{at}");
        assert!(receiver.folder.files.is_empty());
    }
}

#[test]
fn more_bytes_than_announced_are_no_file() {
    let content = content(300);
    for has_trailer in [true, false] {
        let mut receiver = receiver();
        let mut line = Line::new();
        let stream = stream(&Header { has_trailer, ..header("a", &content) }, &content);
        line.send(&mut receiver, &[&stream[..], b"x"].concat());
        assert!(line.failure().contains("more bytes came"));
        assert!(receiver.folder.files.is_empty());
    }
}

#[test]
fn what_is_refused_is_refused_before_a_file_is_begun() {
    let small = content(10);
    let sized = |bytes| Header { bytes: Some(bytes), ..header("a", &small) };
    for (header, why) in [
        (header("..", &small), "no name that can be used"),
        (sized(10_000_001), "at most 10000000 are taken"),
        (sized(u64::MAX), "at most 10000000 are taken"),
        (header("there", &small), "there exists already"),
        (sized(5_000_000), "no room: 5000000 bytes are to come, 4000000 are free"),
    ] {
        let mut receiver = receiver();
        receiver.folder.files.insert("there".into(), Vec::new());
        receiver.folder.free_bytes = 4_000_000;
        receiver.folder.descriptors = 0;
        let mut line = Line::new();
        line.send(&mut receiver, &stream(&header, &small));
        let failure = line.failure();
        assert!(failure.contains(why), "{failure}");
    }
}

#[test]
fn no_descriptor_is_an_answer_to_that_sender_alone() {
    let content = content(100);
    let mut receiver = receiver();
    receiver.folder.descriptors = 1;
    let (mut first, mut second) = (Line::new(), Line::new());
    let stream = stream(&header("a", &content), &content);
    first.send(&mut receiver, &stream[..100]);
    second.send(&mut receiver, &stream);
    assert!(second.failure().contains("cannot create a file: too many open files"));
    first.send(&mut receiver, &stream[100..]);
    assert_eq!(first.answers(), [done(&content)]);
}

#[test]
fn a_disk_that_fills_up_is_told_and_nothing_is_left() {
    let content = content(200_000);
    let header = Header { bytes: None, has_trailer: false, ..header("a", &content) };
    let mut receiver = receiver();
    receiver.folder.free_bytes = 100_000;
    let mut line = Line::new();
    line.send(&mut receiver, &stream(&header, &content));
    assert!(line.failure().contains("cannot write: no space left on device"));
    assert!(receiver.folder.files.is_empty());
}

#[test]
fn what_is_to_stay_free_is_refused_before_a_byte_is_taken_and_looked_at_now_and_then() {
    let content = content(4_000_000);
    let sized = header("a", &content);
    let unsized_header = Header { bytes: None, has_trailer: false, ..sized.clone() };
    for (header, free_bytes, why) in [
        (
            &sized,
            4_999_999,
            "no room: 4000000 bytes are to come, 4999999 are free, and 1000000 are to stay so",
        ),
        (&unsized_header, 999_999, "no room: 999999 bytes are free, and 1000000 are to stay so"),
    ] {
        let mut receiver = receiver();
        (receiver.settings.reserved_bytes, receiver.folder.free_bytes) = (1_000_000, free_bytes);
        receiver.folder.descriptors = 0;
        let mut line = Line::new();
        line.send(&mut receiver, &header.encode());
        let failure = line.failure();
        assert!(failure.contains(why) && failure.contains("(--reserve-free)"), "{failure}");
    }
    let mut receiver = receiver();
    (receiver.settings.reserved_bytes, receiver.folder.free_bytes) = (2_000_000, 4_000_000);
    let mut line = Line::new();
    line.send(&mut receiver, &stream(&unsized_header, &content));
    assert!(line.failure().contains("2000000 are to stay so (--reserve-free)"));
    assert!(receiver.folder.free_bytes > 2_000_000 - limits::FREE_LOOK_BYTES - 20_000, "it looked too late");
    assert!(receiver.folder.files.is_empty());
    // Nothing is to come of an empty file, nor of one that is there.
    receiver.folder.free_bytes = 0;
    let mut line = Line::new();
    line.send(&mut receiver, &stream(&self::header("empty", &[]), &[]));
    assert_eq!(line.answers(), [done(&[])]);
}

#[test]
fn a_file_without_a_size_is_bounded_too() {
    let content = content(200_000);
    let header = Header { bytes: None, has_trailer: false, ..header("a", &content) };
    let mut receiver = receiver();
    receiver.settings.file_bytes_max = Some(150_000);
    let mut line = Line::new();
    line.send(&mut receiver, &stream(&header, &content));
    assert!(line.failure().contains("more than the 150000 bytes"));
}

// ---- resuming ----

const OFFER_BYTES: usize = 150_000;

/// A receiver that holds the first [`OFFER_BYTES`] of this content, from a transfer that was cut.
fn cut_off(content: &[u8]) -> (Receiver<Memory>, Header) {
    let mut receiver = receiver();
    let header = Header { resume: Some("17".into()), ..header("a", content) };
    let mut line = Line::new();
    line.send(&mut receiver, &[&header.encode(), &content[..OFFER_BYTES]].concat());
    assert_eq!(line.answers(), [Answer::Resume { offset: 0, hash: None }]);
    line.end(&mut receiver);
    assert!(line.failure().contains("after 150000 of 300000 bytes; what is there is kept"));
    assert_eq!(receiver.folder.kept.len(), 1);
    (receiver, header)
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let content = content(300_000);
    let (mut receiver, header) = cut_off(&content);
    let mut line = Line::new();
    line.send(&mut receiver, &header.encode());
    let offset = OFFER_BYTES as u64;
    assert_eq!(line.answers(), [Answer::Resume { offset, hash: None }]);
    line.check(&mut receiver);
    let hash = blake3::hash(&content[..OFFER_BYTES]);
    assert_eq!(line.answers(), [Answer::Resume { offset, hash: Some(hash) }]);
    let rest = [&hash.as_bytes()[..], &content[OFFER_BYTES..], blake3::hash(&content).as_bytes()].concat();
    for bytes in rest.chunks(7) {
        line.send(&mut receiver, bytes);
    }
    assert_eq!(line.answers(), [done(&content)]);
    assert_eq!(receiver.folder.files["a"], content);
    assert!(receiver.folder.kept.is_empty());
}

#[test]
fn who_sends_from_the_beginning_is_understood_at_any_time() {
    let content = content(300_000);
    for (is_checked, piece) in [(false, usize::MAX), (false, 1), (true, usize::MAX), (true, 1)] {
        let (mut receiver, header) = cut_off(&content);
        let mut line = Line::new();
        line.send(&mut receiver, &header.encode());
        if is_checked {
            line.check(&mut receiver);
        } else {
            line.transfer.handle_timeout(&mut receiver, CALLER);
        }
        let stream = stream(&header, &content);
        for bytes in stream[header.encode().len()..].chunks(piece.min(stream.len())) {
            line.send(&mut receiver, bytes);
        }
        assert_eq!(line.answers().pop(), Some(done(&content)), "{is_checked}, {piece}");
        assert_eq!(receiver.folder.files["a"], content);
    }
}

#[test]
fn what_is_there_is_kept_until_the_sender_decided() {
    let content = content(300_000);
    let (mut receiver, header) = cut_off(&content);
    for is_checked in [false, true] {
        let mut line = Line::new();
        line.send(&mut receiver, &header.encode());
        if is_checked {
            line.check(&mut receiver);
            line.send(&mut receiver, &[0; 31]);
        }
        line.end(&mut receiver);
        assert_eq!(receiver.folder.kept.values().map(Vec::len).collect::<Vec<_>>(), [OFFER_BYTES]);
    }
    receiver.folder.free_bytes = 1000;
    let mut line = Line::new();
    line.send(&mut receiver, &header.encode());
    assert!(line.failure().contains("150000 bytes are to come, 1000 are free"));
    assert_eq!(receiver.folder.kept.len(), 1);
    receiver.folder.knows_free_bytes = false;
    let mut line = Line::new();
    line.send(&mut receiver, &header.encode());
    assert!(line.failure().contains("cannot see what is free"));
    assert_eq!(receiver.folder.kept.len(), 1);
}

#[test]
fn another_file_of_that_name_is_never_spliced() {
    let content = content(300_000);
    let (mut receiver, header) = cut_off(&content);
    for other in [
        Header { resume: Some("18".into()), ..header.clone() },
        Header { bytes: Some(300_001), ..header.clone() },
        Header { name: "b".into(), ..header.clone() },
    ] {
        let mut line = Line::new();
        line.send(&mut receiver, &other.encode());
        assert_eq!(line.answers(), [Answer::Resume { offset: 0, hash: None }], "{other:?}");
    }
    // The same name, size and time, but other bytes: a sender that does not look is found out in the end.
    let mut line = Line::new();
    line.send(&mut receiver, &header.encode());
    line.check(&mut receiver);
    let hash = blake3::hash(&content[..OFFER_BYTES]);
    let mut changed = content.clone();
    changed[0] ^= 1;
    let rest = [&hash.as_bytes()[..], &changed[OFFER_BYTES..], blake3::hash(&changed).as_bytes()].concat();
    line.send(&mut receiver, &rest);
    assert!(line.failure().contains("do not have the hash"));
    assert!(receiver.folder.files.is_empty() && receiver.folder.kept.is_empty());
}

#[test]
fn what_cannot_be_read_again_is_not_offered() {
    let content = content(300_000);
    let (mut receiver, header) = cut_off(&content);
    receiver.folder.is_readable = false;
    let mut line = Line::new();
    line.send(&mut receiver, &header.encode());
    line.check(&mut receiver);
    assert_eq!(line.answers().pop(), Some(Answer::Resume { offset: 0, hash: None }));
    line.send(&mut receiver, &stream(&header, &content)[header.encode().len()..]);
    assert_eq!(line.answers(), [done(&content)]);
}

#[test]
fn little_is_not_worth_being_kept_and_nothing_is_that_nobody_asked_for() {
    let content = content(300_000);
    for (resume, bytes) in [(Some("17".to_string()), 10_000), (None, OFFER_BYTES)] {
        let mut receiver = receiver();
        let header = Header { resume, ..header("a", &content) };
        let mut line = Line::new();
        line.send(&mut receiver, &[&header.encode(), &content[..bytes]].concat());
        line.end(&mut receiver);
        assert!(receiver.folder.kept.is_empty());
    }
}

#[test]
fn one_file_is_one_file() {
    let content = content(100);
    let mut receiver = receiver();
    receiver.settings.is_once = true;
    let stream = stream(&header("a", &content), &content);
    let (mut scan, mut first, mut second) = (Line::new(), Line::new(), Line::new());
    scan.send(&mut receiver, b"GET / HTTP/1.1\r\n\r\n");
    assert!(scan.failure().contains("no header's length"));
    assert_eq!(receiver.last(), None);
    first.send(&mut receiver, &stream[..90]);
    second.send(&mut receiver, &stream);
    assert!(second.failure().contains("another sender was first"));
    assert_eq!(receiver.last(), None);
    first.send(&mut receiver, &stream[90..]);
    assert_eq!((first.answers(), receiver.last()), (vec![done(&content)], Some(true)));
}

mod pair;
