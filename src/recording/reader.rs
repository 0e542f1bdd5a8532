//! The reading side: frames out of a file, entries out of frames.
//!
//! It takes any file: what is no recording, or a damaged one, is a [`Fault`], and one that ends inside a frame has
//! a torn [`Tail`]. No more than one frame is in memory.

use std::fmt;
use std::io::{self, Read};

use super::entry::{Call, Codec, Entry, Input};
use super::sum::Sum;
use super::{FORMAT, FRAME_HEAD_BYTES, Head, MAGIC};
use crate::codec::text::describe;

/// Reads a recording.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    codec: Codec,
    payload: Vec<u8>,
    /// Bytes of the payload that were decoded.
    decoded: usize,
    /// Where the next frame begins in the file.
    offset: u64,
    tail: Option<Tail>,
}

/// Why a file cannot be replayed.
#[derive(Debug)]
pub enum Fault {
    /// It does not begin like one.
    NoRecording,
    /// It is of this format, which is not [`FORMAT`].
    OtherFormat(u8),
    /// It ends before its head does.
    NoHead,
    /// What begins at this byte is not what was written.
    Damaged(u64),
    /// It cannot be read.
    Unreadable(io::Error),
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Behind a whole frame: the server ended, or was killed.
    Whole,
    /// Inside a frame: the server was killed, or the disk full.
    Torn,
    /// It had all the bytes that it was allowed.
    Full,
}

impl<R: Read> Reader<R> {
    /// Reads up to the first entry.
    ///
    /// # Errors
    /// Where it is no recording that this program can read.
    pub fn new(source: R) -> Result<(Self, Head), Fault> {
        let mut reader = Reader {
            source,
            codec: Codec::new(false),
            payload: Vec::new(),
            decoded: 0,
            offset: 0,
            tail: None,
        };
        let mut magic = [0; MAGIC.len() + 1];
        if !reader.fill(&mut magic)? || magic[..MAGIC.len()] != *MAGIC {
            return Err(Fault::NoRecording);
        }
        if magic[MAGIC.len()] != FORMAT {
            return Err(Fault::OtherFormat(magic[MAGIC.len()]));
        }
        reader.offset = magic.len() as u64;
        if !reader.read_frame()? {
            return Err(Fault::NoHead);
        }
        let head = Head::decode(&mut Input(&reader.payload)).ok_or(Fault::Damaged(magic.len() as u64))?;
        reader.decoded = reader.payload.len();
        reader.codec = Codec::new(head.is_redacted);
        Ok((reader, head))
    }

    /// The next entry; `None` at the end, of which [`Reader::tail`] tells.
    ///
    /// # Errors
    /// Where the file is damaged or cannot be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'static>>, Fault> {
        if self.tail.is_some() {
            return Ok(None);
        }
        let begin = self.offset;
        if self.decoded == self.payload.len() && !self.read_frame()? {
            return Ok(None);
        }
        let mut input = Input(&self.payload[self.decoded..]);
        let entry = self.codec.decode(&mut input).ok_or(Fault::Damaged(begin))?;
        self.decoded = self.payload.len() - input.0.len();
        if entry.call == Call::Full {
            self.tail = Some(Tail::Full);
            return Ok(None);
        }
        Ok(Some(entry))
    }

    /// How the recording ends, once there is no next entry.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail.unwrap_or(Tail::Whole)
    }

    /// Reads the next frame with something in it. False: there is none.
    fn read_frame(&mut self) -> Result<bool, Fault> {
        let mut head = [0; FRAME_HEAD_BYTES];
        if !self.fill(&mut head)? {
            return Ok(false);
        }
        let [length_low, length_high, complement_low, complement_high, sum @ ..] = head;
        let length = u16::from_le_bytes([length_low, length_high]);
        if length != !u16::from_le_bytes([complement_low, complement_high]) {
            return Err(Fault::Damaged(self.offset));
        }
        let length = usize::from(length);
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(length, 0);
        let is_whole = self.fill(&mut payload)?;
        self.payload = payload;
        self.decoded = 0;
        if !is_whole {
            self.tail = Some(Tail::Torn);
            return Ok(false);
        }
        if length == 0 || Sum::of(&self.payload) != u32::from_le_bytes(sum) {
            return Err(Fault::Damaged(self.offset));
        }
        self.offset += (FRAME_HEAD_BYTES + length) as u64;
        Ok(true)
    }

    /// Fills the buffer. False where the file ends before: notes whether that is inside something.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, Fault> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.source.read(&mut buffer[filled..]) {
                Ok(0) => {
                    self.tail = Some(if filled == 0 { Tail::Whole } else { Tail::Torn });
                    return Ok(false);
                }
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Unreadable(error)),
            }
        }
        Ok(true)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoRecording => f.write_str("no recording: `onepoll serve --record FILE` makes one"),
            Fault::OtherFormat(format) => write!(
                f,
                "a recording of format {format}, and this onepoll reads format {FORMAT}; replay it with the one \
                 that recorded it"
            ),
            Fault::NoHead => f.write_str("it ends before the recording begins: nothing was recorded"),
            Fault::Damaged(offset) => {
                write!(f, "damaged at byte {offset}: what is there is not what was written")
            }
            Fault::Unreadable(error) => f.write_str(&describe(error)),
        }
    }
}
