//! The writing side: entries into frames, frames into a file.
//!
//! It never stands in the way: whatever the disk does, the recording ends there, the log says so once, and the
//! caller goes on. Its writes are short, but a disk that hangs is waited for, as by everything that writes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use log::warn;
use rustix::fs::OFlags;

use super::entry::{Answer, Call, Codec, Entry};
use super::sum::Sum;
use super::{FORMAT, FRAME_HEAD_BYTES, Head, MAGIC, PAYLOAD_BYTES_MAX};
use crate::codec::text::describe;
use crate::engine::Peer;
use crate::limits;
use crate::memory::{Part, doubling, hashed};

/// Bytes of a frame that says that the recording is full, and no more.
const FULL_FRAME_BYTES: usize = FRAME_HEAD_BYTES + 1;

// The largest entries, a read and a poll of events with ten bytes each, still fit behind what was not flushed.
const _: () = assert!(
    limits::RECORDING_FLUSH_BYTES + limits::READ_BYTES_MAX + FRAME_HEAD_BYTES + 100 < PAYLOAD_BYTES_MAX
);
const _: () = assert!(
    limits::RECORDING_FLUSH_BYTES + limits::EVENTS_PER_TURN_MAX * 10 + FRAME_HEAD_BYTES + 100
        < PAYLOAD_BYTES_MAX
);
// A head always fits.
const _: () = assert!(limits::RECORDING_BYTES_MIN > (PAYLOAD_BYTES_MAX + 100) as u64);

/// What a recorder can come to hold.
#[must_use]
pub fn memory_parts(is_redacted: bool) -> [Part; 2] {
    // The head is there three times while it is made, and later as much room as it took.
    let frames_bytes = 3 * doubling(FRAME_HEAD_BYTES + PAYLOAD_BYTES_MAX) + size_of::<Recorder>();
    let addresses = if is_redacted { limits::RECORDED_ADDRESSES_MAX as usize } else { 0 };
    [
        Part::new("the recording", 1, frames_bytes),
        Part::new("its numbers for addresses", addresses, hashed(size_of::<(IpAddr, u32)>())),
    ]
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    /// `None`: the recording has ended.
    file: Option<File>,
    /// The frame under way, with room for what comes before its payload.
    frame: Vec<u8>,
    codec: Codec,
    /// Of all that was written to anybody.
    written: Sum,
    /// Something was written since the last sum.
    is_sum_due: bool,
    bytes: u64,
    bytes_max: u64,
    /// Numbers in place of addresses.
    addresses: HashMap<IpAddr, u32>,
}

impl Recorder {
    /// Begins a recording in a new file of mode 0600, which will have at most `bytes_max` bytes, at least
    /// [`limits::RECORDING_BYTES_MIN`].
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken, by whatever it is; those of the system.
    pub fn create(path: &Path, head: &Head, bytes_max: u64) -> io::Result<Self> {
        let mut frame = vec![0; FRAME_HEAD_BYTES];
        head.encode(&mut frame);
        if frame.len() - FRAME_HEAD_BYTES > PAYLOAD_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the arguments are too long for its head",
            ));
        }
        seal(&mut frame);
        let first = [MAGIC, &[FORMAT], &frame].concat();
        let no_follow = OFlags::NOFOLLOW.bits() as i32;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(no_follow).open(path)?;
        if let Err(error) = file.write_all(&first) {
            // It is ours, and nothing.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        frame.truncate(FRAME_HEAD_BYTES);
        Ok(Recorder {
            path: path.to_path_buf(),
            file: Some(file),
            frame,
            codec: Codec::new(head.is_redacted),
            written: Sum::NOTHING,
            is_sum_due: false,
            bytes: first.len() as u64,
            bytes_max,
            addresses: HashMap::new(),
        })
    }

    /// Takes a call and its answer, to be written with the next flush.
    pub(super) fn note(&mut self, call: Call, slot: usize, answer: Result<Answer<'_>, &io::Error>) {
        if self.file.is_none() {
            return;
        }
        let answer = match answer {
            Ok(Answer::Peer(peer)) => Ok(Answer::Peer(self.recorded_peer(peer))),
            Ok(answer) => Ok(answer),
            Err(error) => Err(super::entry::number_of(error)),
        };
        self.codec.encode(&Entry { call, slot, answer }, &mut self.frame);
        if self.frame.len() > limits::RECORDING_FLUSH_BYTES {
            self.flush();
        }
    }

    /// Takes what went out, for the sum: the first `taken` bytes of both parts. Before its call is noted, which
    /// may write the sum behind it.
    pub(super) fn add_written(&mut self, parts: [&[u8]; 2], taken: usize) {
        if self.file.is_some() && !self.codec.is_redacted {
            add_written(&mut self.written, parts, taken);
            self.is_sum_due = true;
        }
    }

    /// Hands to the system all that was noted.
    pub(super) fn flush(&mut self) {
        if self.file.is_none() {
            return;
        }
        if std::mem::take(&mut self.is_sum_due) {
            let answer = Ok(Answer::Number(self.written.short().into()));
            self.codec.encode(&Entry { call: Call::Sum, slot: 0, answer }, &mut self.frame);
        }
        if self.frame.len() == FRAME_HEAD_BYTES {
            return;
        }
        let is_full = self.bytes + (self.frame.len() + FULL_FRAME_BYTES) as u64 > self.bytes_max;
        if is_full {
            self.frame.truncate(FRAME_HEAD_BYTES);
            self.codec
                .encode(&Entry { call: Call::Full, slot: 0, answer: Ok(Answer::Done) }, &mut self.frame);
        }
        if self.write_frame() && is_full {
            self.end(&format!("it has {} bytes (--record-bytes)", self.bytes_max));
        }
        self.frame.truncate(FRAME_HEAD_BYTES);
    }

    /// Whether the frame under way was written; the recording has ended where it was not.
    fn write_frame(&mut self) -> bool {
        seal(&mut self.frame);
        let Some(file) = &mut self.file else { return false };
        match file.write_all(&self.frame) {
            Ok(()) => {
                self.bytes += self.frame.len() as u64;
                true
            }
            Err(error) => {
                // A part of the frame may be there; where it cannot be cut off, a replay sees that it is torn.
                let _ = file.set_len(self.bytes);
                self.end(&describe(&error));
                false
            }
        }
    }

    fn end(&mut self, why: &str) {
        warn!("recording: {}: {why}: it ends here, the server goes on", self.path.display());
        self.file = None;
        self.frame = Vec::new();
        self.addresses = HashMap::new();
    }

    /// The peer; redacted: with a number for its address, the same for the same address, as long as there are
    /// no more than [`limits::RECORDED_ADDRESSES_MAX`]: the others are all number 0.
    fn recorded_peer(&mut self, peer: Peer) -> Peer {
        let Peer::Inet(ip, _) = peer else { return peer };
        if !self.codec.is_redacted {
            return peer;
        }
        let next = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX) + 1;
        let number = match self.addresses.get(&ip) {
            Some(number) => *number,
            None if next > limits::RECORDED_ADDRESSES_MAX => 0,
            None => {
                self.addresses.insert(ip, next);
                next
            }
        };
        Peer::Inet(Ipv4Addr::from_bits(number).into(), 0)
    }
}

impl Drop for Recorder {
    /// What the sockets took last is still to be written.
    fn drop(&mut self) {
        self.flush();
    }
}

/// Puts the length, its complement and the sum of the payload before it.
fn seal(frame: &mut [u8]) {
    let (head, payload) = frame.split_at_mut(FRAME_HEAD_BYTES);
    let length = u16::try_from(payload.len()).expect("invariant: a payload is flushed before it is too long");
    head[..2].copy_from_slice(&length.to_le_bytes());
    head[2..4].copy_from_slice(&(!length).to_le_bytes());
    head[4..].copy_from_slice(&Sum::of(payload).to_le_bytes());
}

/// Adds the first `taken` bytes of both parts.
pub(super) fn add_written(sum: &mut Sum, parts: [&[u8]; 2], taken: usize) {
    let first = taken.min(parts[0].len());
    sum.add(&parts[0][..first]);
    if taken > first {
        sum.add(&parts[1][..taken - first]);
    }
}
