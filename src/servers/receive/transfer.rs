//! One file on its way in: the header, what is there of it already, its bytes, the hash behind them, and the
//! answer.
//!
//! Knows nothing of sockets, nor which disk it is. A chunk of bytes is collected before it is hashed and
//! written: chunks begin at multiples of their size, which is what BLAKE3 is fast at, and what a sender that
//! sends byte by byte would make millions of writes of otherwise.

use std::io;
use std::mem;
use std::time::Duration;

use blake3::{Hash, Hasher};

use super::Receiver;
use super::folder::{Conflict, Folder, KEY_BYTES};
use crate::codec::text::describe;
use crate::codec::transfer::{self, Answer, Decoded, HASH_BYTES, Header, name};
use crate::engine::{Now, Peer};
use crate::limits;

/// Whose call it is, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) now: Now,
    pub(super) number: u32,
    pub(super) peer: Peer,
}

/// A connection's transfer.
#[derive(Debug)]
pub(super) struct Transfer<F: Folder> {
    stage: Stage<F::Part>,
    /// Its header came, and nobody's before it where only one is taken.
    counts: bool,
    /// What the sender is to be told.
    said: String,
}

#[derive(Debug)]
enum Stage<P> {
    Header,
    /// Boxed, for those who only connected wait by the thousand.
    Body(Box<Body<P>>),
    Over,
}

/// A file whose header came.
#[derive(Debug)]
struct Body<P> {
    /// Cleaned.
    name: String,
    /// What people are told that it is.
    what: String,
    /// Its bytes; `None`: up to the end of the connection.
    total: Option<u64>,
    /// Beyond which it is refused.
    bytes_max: u64,
    has_trailer: bool,
    is_resumable: bool,
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
enum Taken {
    /// So many bytes are done with, and more are to come.
    Some(usize),
    /// That was the end of the file.
    All,
}

impl<F: Folder> Default for Transfer<F> {
    fn default() -> Self {
        Transfer { stage: Stage::Header, counts: false, said: String::new() }
    }
}

impl<F: Folder> Transfer<F> {
    /// What the sender is to be told now.
    pub(super) fn take_said(&mut self) -> String {
        mem::take(&mut self.said)
    }

    /// Whether the sender has its answer, or is gone.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// How long to wait for the sender; `None`: not at all, for there is something to be done.
    pub(super) fn patience(&self, idle: Duration) -> Option<Duration> {
        match &self.stage {
            Stage::Body(body) => match body.offer {
                Offer::Checking(_) => None,
                // The sender reads as many bytes as we did, from a disk that may be slower.
                Offer::Made(_) => Some(idle + transfer::check_time_max(body.hashed)),
                Offer::Settled => Some(idle),
            },
            Stage::Header | Stage::Over => Some(idle),
        }
    }

    /// Takes what came; returns how many bytes are done with.
    pub(super) fn take(&mut self, receiver: &mut Receiver<F>, caller: Caller, input: &[u8]) -> usize {
        match &mut self.stage {
            Stage::Header => match transfer::decode(input) {
                Decoded::Incomplete => 0,
                Decoded::Malformed(malformed) => {
                    self.fail(receiver, caller, &malformed.to_string());
                    input.len()
                }
                Decoded::Complete { header, length } => {
                    self.begin(receiver, caller, &header);
                    length
                }
            },
            Stage::Body(body) => match body.take(&mut receiver.folder, input) {
                Ok(Taken::Some(bytes)) => {
                    receiver.progress.advance(caller.now, caller.number, body.bytes());
                    bytes
                }
                Ok(Taken::All) => {
                    self.publish(receiver, caller);
                    input.len()
                }
                Err(why) => {
                    self.fail(receiver, caller, &why);
                    input.len()
                }
            },
            Stage::Over => input.len(),
        }
    }

    /// The sender sends no more; whether bytes are left that were not taken.
    pub(super) fn end(&mut self, receiver: &mut Receiver<F>, caller: Caller, has_rest: bool) {
        match &self.stage {
            // It only looked whether somebody is here.
            Stage::Header if !has_rest => self.stage = Stage::Over,
            Stage::Body(body) if body.total.is_none() => self.publish(receiver, caller),
            _ => self.cut(receiver, caller, "the connection ended early"),
        }
    }

    /// Goes on with the check of what is there, or waits no longer for the sender.
    pub(super) fn handle_timeout(&mut self, receiver: &mut Receiver<F>, caller: Caller) {
        match &mut self.stage {
            Stage::Body(body) if matches!(body.offer, Offer::Checking(_)) => {
                match body.check(&mut receiver.folder) {
                    Ok(None) => {}
                    Ok(Some(offer)) => {
                        let done = body.bytes();
                        receiver.progress.begin(caller.now, caller.number, &body.what, done, body.total);
                        self.said += &offer.encode();
                    }
                    Err(why) => self.fail(receiver, caller, &why),
                }
            }
            _ => {
                let idle = receiver.settings.idle;
                self.cut(receiver, caller, &format!("nothing came for {idle:?}"));
            }
        }
    }

    /// The sender is gone, or is sent away: what is there of the file is kept, if it may be continued.
    pub(super) fn cut(&mut self, receiver: &mut Receiver<F>, caller: Caller, why: &str) {
        let Stage::Body(mut body) = mem::replace(&mut self.stage, Stage::Header) else {
            // Without a header nothing was lost.
            self.said += &Answer::Failed(why.into()).encode();
            self.stage = Stage::Over;
            return;
        };
        let bytes = body.bytes();
        let of_total = body.total.map_or(String::new(), |total| format!(" of {total}"));
        let mut why = format!("{why}, after {bytes}{of_total} bytes");
        let is_kept = body.is_resumable && body.settle_for_later(&mut receiver.folder);
        let Body { part, what, .. } = *body;
        if is_kept {
            receiver.folder.keep(part);
            why += "; what is there is kept for --resume";
        }
        self.close(receiver, caller, &what, Err(why));
    }

    fn begin(&mut self, receiver: &mut Receiver<F>, caller: Caller, header: &Header) {
        if receiver.settings.is_once && receiver.has_begun {
            return self.fail(receiver, caller, "one file is taken here, and another sender was first");
        }
        receiver.has_begun = true;
        self.counts = true;
        let body = match receiver.body_of(caller, header) {
            Ok(body) => body,
            Err(why) => return self.fail(receiver, caller, &why),
        };
        receiver.progress.begin(caller.now, caller.number, &body.what, 0, body.total);
        if header.resume.is_some() {
            let offset = if let Offer::Checking(bytes) = body.offer { bytes } else { 0 };
            self.said += &Answer::Resume { offset, hash: None }.encode();
        }
        let is_whole = body.total == Some(0) && !body.has_trailer;
        self.stage = Stage::Body(Box::new(body));
        if is_whole {
            self.publish(receiver, caller);
        }
    }

    /// The file is whole: it gets its name.
    fn publish(&mut self, receiver: &mut Receiver<F>, caller: Caller) {
        let Stage::Body(mut body) = mem::replace(&mut self.stage, Stage::Header) else { return };
        if let Err(why) = body.write(&mut receiver.folder) {
            return self.close(receiver, caller, &body.what, Err(why));
        }
        let Body { part, name, what, hasher, hashed: bytes, total, .. } = *body;
        let published = receiver.folder.publish(part, &name, receiver.settings.on_conflict);
        let result = published.map_err(|error| why_unpublished(&name, &error)).map(|published| {
            let warning =
                total.is_none().then(|| "without a filesize the length could not be checked".into());
            Answer::Done {
                bytes,
                hash: hasher.finalize(),
                name: (published != name).then_some(published),
                warning,
            }
        });
        self.close(receiver, caller, &what, result);
    }

    fn fail(&mut self, receiver: &mut Receiver<F>, caller: Caller, why: &str) {
        let what = match mem::replace(&mut self.stage, Stage::Header) {
            Stage::Body(body) => body.what,
            _ => caller.peer.to_string(),
        };
        self.close(receiver, caller, &what, Err(why.into()));
    }

    /// Answers, and tells people the same.
    fn close(
        &mut self,
        receiver: &mut Receiver<F>,
        caller: Caller,
        what: &str,
        result: Result<Answer, String>,
    ) {
        self.stage = Stage::Over;
        if self.counts {
            receiver.last = Some(result.is_ok());
        }
        let how = match &result {
            Ok(done) => Ok(format!("{what}: {}", done.in_words())),
            Err(why) => Err(format!("{what}: {why}")),
        };
        receiver.progress.end(caller.now, caller.number, how);
        self.said += &result.unwrap_or_else(Answer::Failed).encode();
    }
}

impl<F: Folder> Receiver<F> {
    /// What a header begins, or why it is refused. Nothing is allocated for what is refused.
    fn body_of(&mut self, caller: Caller, header: &Header) -> Result<Body<F::Part>, String> {
        let name = name::clean(&header.name).ok_or("the filename leaves no name that can be used here")?;
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
        let free_bytes =
            self.folder.free_bytes().map_err(|error| cannot("cannot see what is free", error))?;
        let needed_bytes = header.bytes.unwrap_or(0).saturating_sub(kept_bytes);
        if needed_bytes > free_bytes {
            if let Some((part, _)) = kept.filter(|(_, bytes)| *bytes > 0) {
                self.folder.keep(part);
            }
            return Err(format!("{name}: no room: {needed_bytes} bytes are to come, {free_bytes} are free"));
        }
        let is_resumable = kept.is_some();
        let part = match kept {
            Some((part, _)) => part,
            None => self.folder.create().map_err(|error| cannot("cannot create a file", error))?,
        };
        Ok(Body {
            what: format!("{name} from {}", caller.peer),
            name,
            total: header.bytes,
            bytes_max,
            has_trailer: header.has_trailer,
            is_resumable,
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
    /// Bytes of the file that are there, as far as anybody checked.
    fn bytes(&self) -> u64 {
        self.hashed + self.chunk.len() as u64
    }

    fn take(&mut self, folder: &mut impl Folder<Part = P>, input: &[u8]) -> Result<Taken, String> {
        let mut decided_bytes = 0;
        match self.offer {
            Offer::Settled => {}
            Offer::Made(hash) => match input.split_first_chunk::<HASH_BYTES>() {
                None => return Ok(Taken::Some(0)),
                Some((front, _)) if *front == *hash.as_bytes() => {
                    self.offer = Offer::Settled;
                    decided_bytes = HASH_BYTES;
                }
                Some(_) => self.start_over(folder)?,
            },
            // Whoever sends before the offer is made sends the file from its beginning.
            Offer::Checking(_) => self.start_over(folder)?,
        }
        Ok(match self.take_bytes(folder, &input[decided_bytes..])? {
            Taken::Some(bytes) => Taken::Some(decided_bytes + bytes),
            Taken::All => Taken::All,
        })
    }

    /// Takes bytes of the file, up to the end of a chunk, or else what is behind them.
    fn take_bytes(&mut self, folder: &mut impl Folder<Part = P>, input: &[u8]) -> Result<Taken, String> {
        let left = self.total.map_or(u64::MAX, |total| total - self.bytes());
        if left == 0 && self.has_trailer {
            return self.take_trailer(folder, input);
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let room = limits::TRANSFER_CHUNK_BYTES - (self.bytes() % CHUNK_BYTES) as usize;
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
        Ok(Taken::Some(bytes))
    }

    fn take_trailer(&mut self, folder: &mut impl Folder<Part = P>, input: &[u8]) -> Result<Taken, String> {
        let Some((trailer, rest)) = input.split_first_chunk::<HASH_BYTES>() else {
            return Ok(Taken::Some(0));
        };
        self.write(folder)?;
        if *trailer != *self.hasher.finalize().as_bytes() {
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
                Ok(bytes) => {
                    self.hashed += bytes as u64;
                    unwritten = &unwritten[bytes..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot write: {}", describe(&error))),
            }
        }
        self.chunk.clear();
        Ok(())
    }

    /// Reads a chunk of what is there again; the offer, once all was read.
    fn check(&mut self, folder: &mut impl Folder<Part = P>) -> Result<Option<Answer>, String> {
        let Offer::Checking(kept_bytes) = self.offer else { return Ok(None) };
        let mut buffer = mem::take(&mut self.chunk);
        let bytes = (kept_bytes - self.hashed).min(CHUNK_BYTES);
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

const CHUNK_BYTES: u64 = limits::TRANSFER_CHUNK_BYTES as u64;

/// The file is whole, unless something follows it.
fn all_of(rest: &[u8]) -> Result<Taken, String> {
    if rest.is_empty() { Ok(Taken::All) } else { Err("more bytes came than the header announced".into()) }
}

fn why_unpublished(name: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AlreadyExists {
        format!("{name} exists already")
    } else {
        format!("{name}: cannot be given its name: {}", describe(error))
    }
}
