//! Recordings: a run of the loop as a file, and the run again from that file.
//!
//! The loop and its engine do the same whenever the system answers the same. So [`Recording`], a system around
//! the real one, writes down each answer, and [`Replaying`], a system without any, gives the answers back: the
//! production loop and the production engine run through the same turns, and what they write is what they wrote.
//! Nothing is compared by hand: each call must be the one that was recorded, and a sum over all that was written
//! must come out as it did.
//!
//! The file: [`MAGIC`], a byte for the version of this format, then frames. A frame is the length of its payload
//! (2 bytes), the same again with each bit flipped, so that damage to it is no end of the file, and the payload's
//! checksum (4), all little-endian; then the payload: the [`Head`] in the first, whole [entries](entry) in the
//! others. Each is written by one call, and before the engine sees what came in with it: the time, newcomers,
//! bytes. A kill or a crash loses at most what the sockets took since.
//!
//! A redacted recording has the lengths of what was read, no bytes, and numbers for addresses: it can be listed,
//! and not replayed, for an engine that is not told what was said cannot do what it did.

pub mod entry;
mod head;
mod io;
mod reader;
mod recorder;
mod replaying;
mod sum;
#[cfg(test)]
mod tests;

pub use head::Head;
pub use io::{Recorded, Recording};
pub use reader::{Fault, Reader, Tail};
pub use recorder::{Recorder, memory_parts};
pub use replaying::{Audience, Divergence, Ending, Replayed, Replaying};

/// What every recording begins with.
pub const MAGIC: &[u8] = b"onepoll recording\n";

/// The version of the format that is written and read.
pub const FORMAT: u8 = 2;

/// Bytes of a frame before its payload: the length, its complement and the sum.
const FRAME_HEAD_BYTES: usize = 2 + 2 + 4;

/// Bytes of a payload, as its length has two.
const PAYLOAD_BYTES_MAX: usize = u16::MAX as usize;
