//! One file on its way out: its header, the agreement on where to begin, its bytes, their hash.
//!
//! Knows nothing of connections: it gives the bytes that are due, a chunk at a time, and is told what the
//! receiver says. A file that changes meanwhile never ends with its hash: what was sent of it is no file.

use std::io;
use std::path::Path;
use std::time::Duration;

use blake3::{Hash, Hasher};

use super::disk::{Disk, Facts};
use crate::codec::text::describe;
use crate::codec::transfer::{Header, check_time_max};
use crate::limits;

/// A file on its way.
#[derive(Debug)]
pub(super) struct Outgoing<F> {
    file: F,
    facts: Facts,
    has_trailer: bool,
    /// Of the first `hashed` bytes of the file.
    hasher: Hasher,
    hashed: u64,
    phase: Phase,
    /// What is due next, and how much of it was taken already.
    chunk: Vec<u8>,
    taken: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The receiver may say how much it has.
    ExpectsOffer,
    /// It has so many bytes, and says what their hash is; ours is computed meanwhile.
    Compares { offset: u64, theirs: Option<Hash> },
    /// The bytes of the file come.
    Sends,
    /// All was given, the hash included.
    Sent,
}

impl<F> Outgoing<F> {
    /// Opens a file, and makes its header due. With `resumes`, no more is due before
    /// [`handle_offer`](Self::handle_offer), [`compare`](Self::compare) or [`start`](Self::start) said where
    /// it begins.
    pub(super) fn open(
        disk: &mut impl Disk<File = F>,
        path: &Path,
        resumes: bool,
        has_trailer: bool,
    ) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
        let file = disk.open(path)?;
        let facts = disk.facts(&file)?;
        let Facts { bytes, modified: (seconds, nanoseconds) } = facts;
        let header = Header {
            name: name.to_string_lossy().into_owned(),
            bytes: Some(bytes),
            has_trailer,
            resume: resumes.then(|| format!("{seconds}.{nanoseconds:09}")),
        };
        let phase = if resumes { Phase::ExpectsOffer } else { Phase::Sends };
        let chunk = header.encode();
        let hasher = Hasher::new();
        Ok(Outgoing { file, facts, has_trailer, hasher, hashed: 0, phase, chunk, taken: 0 })
    }

    /// Bytes of the file.
    pub(super) fn total(&self) -> u64 {
        self.facts.bytes
    }

    /// Bytes of the file that were given, or need not be.
    pub(super) fn done(&self) -> u64 {
        self.hashed
    }

    /// Whether nothing was agreed yet on where to begin.
    pub(super) fn expects_offer(&self) -> bool {
        self.phase == Phase::ExpectsOffer
    }

    /// Whether [`compare`](Self::compare) has something to do.
    pub(super) fn wants_compare(&self) -> bool {
        matches!(self.phase, Phase::Compares { offset, .. } if self.hashed < offset)
    }

    /// Whether all was given and taken.
    pub(super) fn is_sent(&self) -> bool {
        self.phase == Phase::Sent && self.taken == self.chunk.len()
    }

    /// How long to wait for the receiver, whose patience is `patience` otherwise.
    pub(super) fn patience(&self, patience: Duration) -> Duration {
        match self.phase {
            Phase::ExpectsOffer => limits::RESUME_OFFER,
            // It reads as many bytes as we do, from a disk that may be slower.
            Phase::Compares { offset, .. } => patience + check_time_max(offset),
            Phase::Sends | Phase::Sent => patience,
        }
    }

    /// Reads what is due next, if all before was taken.
    pub(super) fn prepare(&mut self, disk: &mut impl Disk<File = F>) -> Result<(), String> {
        if self.taken == self.chunk.len() && self.phase == Phase::Sends { self.fill(disk) } else { Ok(()) }
    }

    /// What is due next; empty where nothing is.
    pub(super) fn due(&self) -> &[u8] {
        &self.chunk[self.taken..]
    }

    /// So many bytes of what was due were taken.
    pub(super) fn handle_taken(&mut self, bytes: usize) {
        self.taken += bytes;
        debug_assert!(self.taken <= self.chunk.len());
    }

    /// The receiver says how much it has. Returns whether it is now known where the file begins.
    pub(super) fn handle_offer(&mut self, offset: u64, theirs: Option<Hash>) -> bool {
        match self.phase {
            Phase::ExpectsOffer if offset == 0 || offset > self.facts.bytes => self.start(),
            Phase::ExpectsOffer => self.phase = Phase::Compares { offset, theirs },
            // It could not read what it has.
            Phase::Compares { .. } if offset == 0 => self.start(),
            Phase::Compares { offset: before, .. } if before == offset && theirs.is_some() => {
                self.phase = Phase::Compares { offset, theirs };
                self.decide();
            }
            // The file was begun without it, which the receiver will see.
            _ => return false,
        }
        self.phase == Phase::Sends
    }

    /// Reads a chunk of what the receiver may have. Returns whether it is now known where the file begins.
    pub(super) fn compare(&mut self, disk: &mut impl Disk<File = F>) -> Result<bool, String> {
        let Phase::Compares { offset, .. } = self.phase else { return Ok(false) };
        let due = std::mem::take(&mut self.chunk);
        let read = self.read(disk, offset);
        self.chunk = due;
        read?;
        self.decide();
        Ok(self.phase == Phase::Sends)
    }

    /// Sends the file from its beginning, whatever the receiver may have.
    pub(super) fn start(&mut self) {
        self.hasher.reset();
        self.hashed = 0;
        self.phase = Phase::Sends;
    }

    /// What an answer that the file is there is worth.
    pub(super) fn confirm(&self, bytes: u64, hash: Hash) -> Result<(), String> {
        if !self.is_sent() {
            return Err("the receiver says that it has all, before it was sent".into());
        }
        if bytes != self.facts.bytes || hash != self.hasher.finalize() {
            return Err(format!("the receiver has other bytes: {bytes}, blake3 {hash}"));
        }
        Ok(())
    }

    /// Sends on from the offset if both have the same bytes before it, once that is known.
    fn decide(&mut self) {
        let Phase::Compares { offset, theirs: Some(theirs) } = self.phase else { return };
        if self.hashed < offset {
            return;
        }
        if self.hasher.finalize() == theirs {
            // It stands behind the header, which may not have been taken yet.
            self.chunk.extend_from_slice(theirs.as_bytes());
            self.phase = Phase::Sends;
        } else {
            self.start();
        }
    }

    /// The next chunk of the file; with the last one, its hash.
    fn fill(&mut self, disk: &mut impl Disk<File = F>) -> Result<(), String> {
        self.taken = 0;
        self.read(disk, self.facts.bytes)?;
        if self.hashed < self.facts.bytes {
            return Ok(());
        }
        let now = disk.facts(&self.file).map_err(|error| describe(&error))?;
        if now != self.facts {
            return Err("it changed while it was sent".into());
        }
        // Files of the kernel's own, as in /proc, have any size that it likes to tell.
        let beyond = disk.read(&self.file, self.facts.bytes, &mut [0]).map_err(|error| describe(&error))?;
        if beyond > 0 {
            return Err(format!("it has more than the {} bytes that its size says", self.facts.bytes));
        }
        if self.has_trailer {
            self.chunk.extend_from_slice(self.hasher.finalize().as_bytes());
        }
        self.phase = Phase::Sent;
        Ok(())
    }

    /// Reads up to a whole chunk, but not beyond `end`, and hashes it.
    fn read(&mut self, disk: &mut impl Disk<File = F>, end: u64) -> Result<(), String> {
        let left = usize::try_from(end - self.hashed).unwrap_or(usize::MAX);
        // Chunks begin at multiples of their size, which is what BLAKE3 is fast at.
        let before = (self.hashed % limits::READ_CHUNK_BYTES as u64) as usize;
        self.chunk.resize(left.min(limits::READ_CHUNK_BYTES - before), 0);
        let mut filled = 0;
        while filled < self.chunk.len() {
            match disk.read(&self.file, self.hashed + filled as u64, &mut self.chunk[filled..]) {
                Ok(0) => return Err("it became shorter while it was sent".into()),
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(describe(&error)),
            }
        }
        self.hasher.update(&self.chunk);
        self.hashed += filled as u64;
        Ok(())
    }
}
