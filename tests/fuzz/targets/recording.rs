//! Recordings: any file at all, and any that is sealed as recordings are.

use std::io::{self, Read};

use onepoll::recording::entry::Entry;
use onepoll::recording::{FORMAT, Fault, Head, MAGIC, Reader, Tail};

/// How reading ended: the number of the byte where the file is damaged, or how the recording ends.
type End = Result<Tail, Option<u64>>;

/// The input is a file, the payload of a head, and the payload of entries: in one frame, and in two.
///
/// It does not matter how the file arrives. No more comes out than its bytes can say; a file that is cut off gives
/// what is before, and one with a bit flipped is damaged.
pub fn recording(input: &[u8]) {
    check(input);
    let magic = [MAGIC, &[FORMAT]].concat();
    check(&[&magic[..], &frame(input)].concat());
    for is_redacted in [0, 1] {
        // No version, no arguments, no facts.
        let head = [&magic[..], &frame(&[0, is_redacted, 0, 0])].concat();
        let file = [&head[..], &frame(input)].concat();
        check(&file);
        let (first, second) = input.split_at(input.len() / 2);
        check(&[&head[..], &frame(first), &frame(second)].concat());
        check_damage(&head, &file);
    }
}

fn check(file: &[u8]) {
    let whole = read(file);
    assert_eq!(read(Slow { rest: file, is_interrupted: false }), whole, "one byte at a time");
    if let Some((_, entries, _)) = whole {
        assert!(entries.len() < file.len(), "{} entries of {} bytes", entries.len(), file.len());
    }
}

/// The file has one frame behind its head.
fn check_damage(head: &[u8], file: &[u8]) {
    let Some((_, entries, end)) = read(file) else { panic!("a head that is well") };
    let begin = head.len();
    for cut in [begin + 1, begin + 8, file.len() - 1] {
        if (begin + 1..file.len()).contains(&cut) {
            let (_, before, end) = read(&file[..cut]).expect("the head is there");
            assert_eq!((before, end), (vec![], Ok(Tail::Torn)));
        }
    }
    if entries.is_empty() || end.is_err() {
        return;
    }
    let bits = 8 * (file.len() - begin);
    for bit in [0, 13, 26, 39, 52, bits / 2, bits - 1] {
        let mut flipped = file.to_vec();
        flipped[begin + bit / 8] ^= 1 << (bit % 8);
        let (_, before, end) = read(&flipped[..]).expect("the head is there");
        assert!(before.is_empty() && matches!(end, Err(Some(_))), "bit {bit} is flipped");
    }
}

/// `None`: it has no head. Reading on behind the end changes nothing.
fn read(source: impl Read) -> Option<(Head, Vec<Entry<'static>>, End)> {
    let (mut reader, head) = match Reader::new(source) {
        Ok(begun) => begun,
        Err(fault) => {
            assert!(!fault.to_string().is_empty());
            return None;
        }
    };
    let mut entries = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {
                assert!(matches!(reader.next_entry(), Ok(None)));
                return Some((head, entries, Ok(reader.tail())));
            }
            Err(Fault::Damaged(offset)) => return Some((head, entries, Err(Some(offset)))),
            Err(_) => return Some((head, entries, Err(None))),
        }
    }
}

/// A frame as the format has it; too long a payload is cut.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let payload = &payload[..usize::from(length)];
    [&length.to_le_bytes()[..], &(!length).to_le_bytes(), &sum(payload).to_le_bytes(), payload].concat()
}

/// FNV-1a over words of eight bytes, and then their length, mixed.
fn sum(payload: &[u8]) -> u32 {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    let words = payload.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    for word in words.chain([payload.len() as u64]) {
        sum = (sum ^ word).wrapping_mul(0x0000_0100_0000_01B3);
        sum ^= sum >> 32;
    }
    sum as u32
}

/// One byte at a time, and a signal before each.
struct Slow<'a> {
    rest: &'a [u8],
    is_interrupted: bool,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.is_interrupted = !self.is_interrupted;
        if self.is_interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(1);
        self.rest.read(&mut buffer[..most])
    }
}
