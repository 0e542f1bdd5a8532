//! The bytes of one file on their way in: what is there of them already, those that come, and the hash
//! behind them.
//!
//! Knows nothing of connections, nor which disk it is. A chunk is collected before it is hashed and written:
//! chunks begin at multiples of their size, which is what BLAKE3 is fast at, and of what a sender that
//! sends byte by byte there would be millions of writes otherwise.

use std::io;
use std::mem;
use std::time::Duration;

use blake3::{Hash, Hasher};

use super::Receiver;
use super::folder::{Conflict, Folder, KEY_BYTES};
use super::transfer::Caller;
use crate::codec::text::describe;
use crate::codec::transfer::{Answer, HASH_BYTES, Header, check_time_max, name};
use crate::limits;
use crate::sabotage::sabotaged;

/// A file whose header came.
#[derive(Debug)]
pub(super) struct Body<P> {
    /// Cleaned.
    name: String,
    /// Whether the sender gave it another.
    is_renamed: bool,
    /// What people are told that it is.
    what: String,
    /// Its bytes; `None`: up to the end of the connection.
    total: Option<u64>,
    /// Beyond which it is refused.
    bytes_max: u64,
    /// Bytes of the disk that are to stay free.
    reserved_bytes: u64,
    /// Bytes that were written since somebody looked whether they do.
    unlooked_bytes: u64,
    has_trailer: bool,
    is_resumable: bool,
    /// What the sender is to know, though the file is there.
    warning: Option<String>,
    part: P,
    /// Of the first `hashed` bytes of the file.
    hasher: Hasher,
    hashed: u64,
    /// What came behind those; hashed and written together.
    chunk: Vec<u8>,
    offer: Offer,
}

/// What the sender may continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// Nothing, or it was decided: bytes of the file come.
    Settled,
    /// So many bytes are there; those that are hashed were read again.
    Checking(u64),
    /// All of them were, and the sender was told their hash.
    Made(Hash),
}

/// What was done with some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many bytes are done with, and more are to come.
    Part(usize),
    /// That was the end of the file.
    Whole,
}

impl<F: Folder> Receiver<F> {
    /// What a header begins, or why it is refused, which is settled before there is room made for any byte.
    pub(super) fn body_of(&mut self, caller: Caller, header: &Header) -> Result<Body<F::Part>, String> {
        let name = name::clean(&header.name).ok_or("the filename leaves no name that can be used here")?;
        let name = if sabotaged!(HonourName) { header.name.clone() } else { name };
        let bytes_max = self.settings.file_bytes_max.unwrap_or(u64::MAX);
        if let Some(bytes) = header.bytes.filter(|bytes| *bytes > bytes_max) {
            return Err(format!("{name}: {bytes} bytes, and at most {bytes_max} are taken (--max-size)"));
        }
        if self.settings.on_conflict == Conflict::Refuse && self.folder.has(&name) {
            return Err(why_unpublished(&name, &io::ErrorKind::AlreadyExists.into()));
        }
        let cannot = |what: &str, error: io::Error| format!("{name}: {what}: {}", describe(&error));
        // Where that cannot be had, the file begins anew and is not kept.
        let kept = header.resume.as_ref().and_then(|identity| self.kept_part(&name, header.bytes?, identity));
        let kept_bytes = kept.as_ref().map_or(0, |(_, bytes)| *bytes);
        let needed_bytes = header.bytes.unwrap_or(0).saturating_sub(kept_bytes);
        let reserved_bytes = self.settings.reserved_bytes;
        let refusal = match self.folder.free_bytes() {
            // What is there already takes no room.
            Ok(_) if needed_bytes == 0 && header.bytes.is_some() => None,
            Ok(free_bytes) => {
                why_no_room(needed_bytes, free_bytes, reserved_bytes).map(|why| format!("{name}: {why}"))
            }
            Err(error) => Some(cannot("cannot see what is free", error)),
        };
        if let Some(why) = refusal {
            if let Some((part, _)) = kept.filter(|(_, bytes)| *bytes > 0) {
                self.folder.keep(part);
            }
            return Err(why);
        }
        let is_resumable = kept.is_some();
        let warning = if header.bytes.is_none() {
            Some("without a filesize the length could not be checked".into())
        } else if header.resume.is_some() && !is_resumable {
            // A connection that broke off without a word holds what came over it until its silence ends it.
            let idle = self.settings.idle;
            Some(format!(
                "nothing could be continued: an earlier transfer may hold it for {idle:?} more (--idle)"
            ))
        } else {
            None
        };
        let part = match kept {
            Some((part, _)) => part,
            None => self.folder.create().map_err(|error| cannot("cannot create a file", error))?,
        };
        Ok(Body {
            what: format!("{name} from {}", caller.peer),
            is_renamed: name != header.name,
            name,
            total: header.bytes,
            bytes_max,
            reserved_bytes,
            unlooked_bytes: 0,
            has_trailer: header.has_trailer,
            is_resumable,
            warning,
            part,
            hasher: Hasher::new(),
            hashed: 0,
            chunk: Vec::new(),
            offer: if kept_bytes > 0 { Offer::Checking(kept_bytes) } else { Offer::Settled },
        })
    }

    /// What is there of a file with this name, size and identity; empty where that is too little or too much.
    fn kept_part(&mut self, name: &str, bytes: u64, identity: &str) -> Option<(F::Part, u64)> {
        let mut key = Hasher::new();
        key.update(name.as_bytes()).update(&[0]).update(&bytes.to_le_bytes()).update(identity.as_bytes());
        let key = key.finalize().to_hex();
        let (mut part, kept_bytes) = self.folder.resume(&key[..KEY_BYTES]).ok()?;
        if (limits::PART_BYTES_MIN..=bytes).contains(&kept_bytes) {
            return Some((part, kept_bytes));
        }
        self.folder.clear(&mut part).ok()?;
        Some((part, 0))
    }
}

impl<P> Body<P> {
    /// What people are told that it is.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The same; what is there of the file is gone with it.
    pub(super) fn into_what(self) -> String {
        self.what
    }

    /// The file's bytes; `None`: up to the end of the connection.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Bytes of the file that are there, as far as anybody checked.
    pub(super) fn bytes(&self) -> u64 {
        self.hashed + self.chunk.len() as u64
    }

    /// Whether nothing more is to come, not even a hash.
    pub(super) fn is_whole(&self) -> bool {
        self.total == Some(self.bytes()) && !self.has_trailer
    }

    /// Whether the sender may still continue what was kept.
    pub(super) fn is_settling(&self) -> bool {
        self.offer != Offer::Settled
    }

    /// Bytes that were kept, and that are to be checked.
    pub(super) fn kept_bytes(&self) -> u64 {
        if let Offer::Checking(bytes) = self.offer { bytes } else { 0 }
    }

    /// How long to wait for the sender; `None`: not at all, for [`check`](Self::check) is due.
    pub(super) fn patience(&self, idle: Duration) -> Option<Duration> {
        match self.offer {
            Offer::Checking(_) => None,
            // The sender reads as many bytes as we did, from a disk that may be slower.
            Offer::Made(_) => Some(idle + check_time_max(self.hashed)),
            Offer::Settled => Some(idle),
        }
    }

    /// Gives the whole file its name; what it was, and the answer.
    pub(super) fn publish<F: Folder<Part = P>>(
        mut self,
        folder: &mut F,
        conflict: Conflict,
    ) -> (String, Result<Answer, String>) {
        if let Err(why) = self.write(folder) {
            return (self.into_what(), Err(why));
        }
        let Body { part, name, is_renamed, what, hasher, hashed: bytes, warning, .. } = self;
        let published = folder.publish(part, &name, conflict).map_err(|error| why_unpublished(&name, &error));
        let answer = published.map(|published| Answer::Done {
            bytes,
            hash: hasher.finalize(),
            name: (is_renamed || published != name).then_some(published),
            warning,
        });
        (what, answer)
    }

    /// Keeps what is there, if it may be continued; what it was, and why it ended.
    pub(super) fn cut<F: Folder<Part = P>>(mut self, folder: &mut F, why: &str) -> (String, String) {
        let of_total = self.total.map_or(String::new(), |total| format!(" of {total}"));
        let why = format!("{why}, after {}{of_total} bytes", self.bytes());
        if self.is_resumable && self.settle_for_later(folder) {
            folder.keep(self.part);
            return (self.what, why + "; what is there is kept for --resume");
        }
        (self.into_what(), why)
    }

    /// Takes some of what came.
    pub(super) fn take(&mut self, folder: &mut impl Folder<Part = P>, input: &[u8]) -> Result<Taken, String> {
        let mut decided_bytes = 0;
        match self.offer {
            Offer::Settled => {}
            Offer::Made(hash) => match input.split_first_chunk::<HASH_BYTES>() {
                None => return Ok(Taken::Part(0)),
                Some((front, _)) if *front == *hash.as_bytes() || sabotaged!(TakeUpAnything) => {
                    self.offer = Offer::Settled;
                    decided_bytes = HASH_BYTES;
                }
                Some(_) => self.start_over(folder)?,
            },
            // Whoever sends before the offer is made sends the file from its beginning.
            Offer::Checking(_) => self.start_over(folder)?,
        }
        Ok(match self.take_bytes(folder, &input[decided_bytes..])? {
            Taken::Part(bytes) => Taken::Part(decided_bytes + bytes),
            Taken::Whole => Taken::Whole,
        })
    }

    /// Takes bytes of the file, up to the end of a chunk, or else what is behind them.
    fn take_bytes(&mut self, folder: &mut impl Folder<Part = P>, input: &[u8]) -> Result<Taken, String> {
        let left = self.total.map_or(u64::MAX, |total| total - self.bytes());
        if left == 0 && self.has_trailer {
            return self.take_trailer(folder, input);
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let room = limits::WRITE_CHUNK_BYTES - (self.bytes() % CHUNK_BYTES) as usize;
        let bytes = input.len().min(room).min(left);
        self.chunk.extend_from_slice(&input[..bytes]);
        if self.bytes() > self.bytes_max {
            return Err(format!("more than the {} bytes that are taken (--max-size)", self.bytes_max));
        }
        if bytes == room {
            self.write(folder)?;
        }
        if bytes == left && !self.has_trailer {
            return all_of(&input[bytes..]);
        }
        Ok(Taken::Part(bytes))
    }

    fn take_trailer(&mut self, folder: &mut impl Folder<Part = P>, input: &[u8]) -> Result<Taken, String> {
        let Some((trailer, rest)) = input.split_first_chunk::<HASH_BYTES>() else {
            return Ok(Taken::Part(0));
        };
        self.write(folder)?;
        if *trailer != *self.hasher.finalize().as_bytes() && !sabotaged!(PublishUnchecked) {
            return Err("the bytes do not have the hash that follows them: they changed on their way".into());
        }
        all_of(rest)
    }

    /// Hashes and writes what was collected.
    fn write(&mut self, folder: &mut impl Folder<Part = P>) -> Result<(), String> {
        self.hasher.update(&self.chunk);
        let mut unwritten = &self.chunk[..];
        while !unwritten.is_empty() {
            match folder.write(&mut self.part, self.hashed, unwritten) {
                Ok(0) => return Err("cannot write: the disk takes nothing".into()),
                Ok(_) if sabotaged!(CountUnwritten) => {
                    self.hashed += unwritten.len() as u64;
                    unwritten = &[];
                }
                Ok(bytes) => {
                    self.hashed += bytes as u64;
                    unwritten = &unwritten[bytes..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot write: {}", describe(&error))),
            }
        }
        self.unlooked_bytes += self.chunk.len() as u64;
        self.chunk.clear();
        self.look_for_room(folder)
    }

    /// Other files grow meanwhile, and one without a size may be of any: looks now and then what is left.
    fn look_for_room(&mut self, folder: &impl Folder<Part = P>) -> Result<(), String> {
        if self.reserved_bytes == 0 || self.unlooked_bytes < limits::FREE_LOOK_BYTES {
            return Ok(());
        }
        self.unlooked_bytes = 0;
        match folder.free_bytes() {
            Ok(free_bytes) => why_no_room(0, free_bytes, self.reserved_bytes).map_or(Ok(()), Err),
            Err(error) => Err(format!("cannot see what is free: {}", describe(&error))),
        }
    }

    /// Reads a chunk of what is there again; the offer, once all was read.
    pub(super) fn check(&mut self, folder: &mut impl Folder<Part = P>) -> Result<Option<Answer>, String> {
        let Offer::Checking(kept_bytes) = self.offer else { return Ok(None) };
        let mut buffer = mem::take(&mut self.chunk);
        let bytes = (kept_bytes - self.hashed).min(limits::READ_CHUNK_BYTES as u64);
        buffer.resize(bytes as usize, 0);
        let read = folder.read(&mut self.part, self.hashed, &mut buffer);
        if let Ok(bytes) = read {
            self.hasher.update(&buffer[..bytes]);
            self.hashed += bytes as u64;
        }
        buffer.clear();
        self.chunk = buffer;
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            // What cannot be read is worth nothing.
            Ok(0) | Err(_) => {
                self.start_over(folder)?;
                return Ok(Some(Answer::Resume { offset: 0, hash: None }));
            }
            Ok(_) => {}
        }
        if self.hashed < kept_bytes {
            return Ok(None);
        }
        let hash = self.hasher.finalize();
        self.offer = Offer::Made(hash);
        Ok(Some(Answer::Resume { offset: kept_bytes, hash: Some(hash) }))
    }

    /// Drops what is there: the file comes from its beginning.
    fn start_over(&mut self, folder: &mut impl Folder<Part = P>) -> Result<(), String> {
        folder.clear(&mut self.part).map_err(|error| format!("cannot write: {}", describe(&error)))?;
        self.hasher.reset();
        self.hashed = 0;
        self.offer = Offer::Settled;
        Ok(())
    }

    /// Has all that came in the part. False: it is not worth being kept.
    fn settle_for_later(&mut self, folder: &mut impl Folder<Part = P>) -> bool {
        match self.offer {
            Offer::Checking(_) | Offer::Made(_) => true,
            Offer::Settled => self.write(folder).is_ok() && self.hashed >= limits::PART_BYTES_MIN,
        }
    }
}

const CHUNK_BYTES: u64 = limits::WRITE_CHUNK_BYTES as u64;

/// The file is whole, unless something follows it.
fn all_of(rest: &[u8]) -> Result<Taken, String> {
    if rest.is_empty() { Ok(Taken::Whole) } else { Err("more bytes came than the header announced".into()) }
}

/// Why so many bytes more may not be written, if they may not.
fn why_no_room(needed_bytes: u64, free_bytes: u64, reserved_bytes: u64) -> Option<String> {
    if needed_bytes.saturating_add(reserved_bytes) <= free_bytes {
        return None;
    }
    let to_come = match needed_bytes {
        0 => format!("{free_bytes} bytes are free"),
        _ => format!("{needed_bytes} bytes are to come, {free_bytes} are free"),
    };
    let to_stay = match reserved_bytes {
        0 => String::new(),
        _ => format!(", and {reserved_bytes} are to stay so (--reserve-free)"),
    };
    Some(format!("no room: {to_come}{to_stay}"))
}

fn why_unpublished(name: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AlreadyExists {
        format!("{name} exists already")
    } else {
        format!("{name}: cannot be given its name: {}", describe(error))
    }
}
