//! The folder that files are received into: what the receiver needs of a disk, and the real one.
//!
//! A file that is not whole has a name of our own (`.onepoll-…`) and is locked (`flock`) for as long as
//! somebody writes to it; so whoever starts next can tell remains, which nobody holds, from another
//! receiver's work. All calls are relative to a descriptor of the folder, opened once, and none follows a
//! symbolic link. A whole file gets its name by a rename that replaces nothing, unless that is wanted.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, flock, fstat, fstatvfs, fsync,
    ftruncate, linkat, open, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::codec::transfer::name;
use crate::limits;

/// What happens where a file of that name is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The new one gets a number.
    Rename,
    /// The new one is refused.
    Refuse,
    /// The old one is replaced, at the moment that the new one is whole.
    Overwrite,
}

/// What the receiver needs of a disk. Each call is bounded by [`limits::WRITE_CHUNK_BYTES`] or
/// [`limits::READ_CHUNK_BYTES`].
pub trait Folder {
    /// A file that is not whole yet, and that nobody else writes to. Dropping it removes it.
    type Part: fmt::Debug;

    /// Bytes that it has room for.
    ///
    /// # Errors
    /// Those of the system.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Whether anything has this name.
    fn has(&self, name: &str) -> bool;

    /// A new, empty part.
    ///
    /// # Errors
    /// Those of the system.
    fn create(&mut self) -> io::Result<Self::Part>;

    /// The part that was kept under this key, which is a word of letters and digits, and its bytes; an
    /// empty one where there is none.
    ///
    /// # Errors
    /// Where it is being written to, or is no file of ours; those of the system.
    fn resume(&mut self, key: &str) -> io::Result<(Self::Part, u64)>;

    /// Reads what was written; 0 at the end.
    ///
    /// # Errors
    /// Those of the system.
    fn read(&mut self, part: &mut Self::Part, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the bytes, and returns how many.
    ///
    /// # Errors
    /// Those of the system.
    fn write(&mut self, part: &mut Self::Part, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Makes it empty.
    ///
    /// # Errors
    /// Those of the system.
    fn clear(&mut self, part: &mut Self::Part) -> io::Result<()>;

    /// Keeps a part that has a key for later. Too many are not kept: the oldest go.
    fn keep(&mut self, part: Self::Part);

    /// Gives a whole file its name, and returns that.
    ///
    /// # Errors
    /// `AlreadyExists` where that name is another's and [`Conflict::Refuse`] forbids it, or all numbers
    /// are taken; those of the system. The part is removed.
    fn publish(&mut self, part: Self::Part, name: &str, conflict: Conflict) -> io::Result<String>;
}

/// A folder of the real disk.
#[derive(Debug)]
pub struct DiskFolder {
    directory: Rc<OwnedFd>,
    /// Makes names that nobody can plant a file under beforehand.
    random: RandomState,
    parts: u64,
    /// Parts that were kept, the oldest first.
    kept: VecDeque<String>,
    /// Whether what was written is on the disk itself when it gets its name.
    is_durable: bool,
}

/// What was found of earlier receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Files that were removed.
    pub removed: usize,
    /// Files that a sender may still continue.
    pub kept: usize,
}

/// A file that is not whole yet.
#[derive(Debug)]
pub struct DiskPart {
    directory: Rc<OwnedFd>,
    file: std::fs::File,
    name: String,
    /// Whether its name is to stay when this is dropped.
    stays: bool,
    unsynced_bytes: usize,
}

/// In front of everything that is ours; [`name::clean`] lets no sender begin a name with a dot.
const PREFIX: &str = ".onepoll-";

/// A part that nobody can continue: random digits follow.
const NEW: &str = "new-";
const NEW_DIGITS: usize = 16;

/// A part that can be continued: its key follows.
const RESUMABLE: &str = "resume-";

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Tries at a name that somebody else has each time.
const ATTEMPTS: u32 = 8;

const PART_FLAGS: OFlags =
    OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

impl DiskFolder {
    /// Opens a folder, shows that it can be written to, and removes the remains in it: parts that nobody
    /// writes to, but for the newest that senders may continue.
    ///
    /// A whole file is the kernel's to write to the disk, as after `cp`: a loss of power soon after can
    /// take it back. With `is_durable` it is on the disk before it has its name, and its name before
    /// anybody is told; everybody waits for the disk then, for at most
    /// [`limits::PART_UNSYNCED_BYTES_MAX`] at once.
    ///
    /// # Errors
    /// Where it is no folder, or cannot be written to.
    pub fn open(path: &Path, is_durable: bool) -> io::Result<(Self, Remains)> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = Rc::new(open(path, flags, Mode::empty())?);
        let mut folder =
            DiskFolder { directory, random: RandomState::new(), parts: 0, kept: VecDeque::new(), is_durable };
        // The disk's own clock is the one that its files have their times from.
        let now_s = fstat(&folder.create()?.file)?.st_mtime;
        let remains = folder.remove_remains(now_s)?;
        Ok((folder, remains))
    }

    /// Bytes of the file system that it is on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn disk_bytes(&self) -> io::Result<u64> {
        let system = fstatvfs(&*self.directory)?;
        Ok(system.f_blocks.saturating_mul(system.f_frsize))
    }

    fn remove_remains(&mut self, now_s: i64) -> io::Result<Remains> {
        let mut removed = 0;
        // The newest, the oldest of them first. No more are open at once than are kept.
        let mut resumable = Vec::new();
        let mut entries = Dir::read_from(&*self.directory)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let Some(is_resumable) = kind_of(entry.file_name()) else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            // One that is in use, or that is no file of ours, is no remains.
            let Ok((part, stat)) = self.take(&name) else { continue };
            let age_s = u64::try_from(now_s.saturating_sub(stat.st_mtime)).unwrap_or(0);
            if is_resumable && Duration::from_secs(age_s) <= limits::PART_AGE_MAX {
                resumable.push((stat.st_mtime, part));
                resumable.sort_by_key(|(modified_s, _)| *modified_s);
            } else {
                removed += 1;
            }
            if resumable.len() > limits::PARTS_KEPT_MAX {
                resumable.remove(0);
                removed += 1;
            }
        }
        let kept = resumable.len();
        for (_, part) in resumable {
            self.keep(part);
        }
        Ok(Remains { removed, kept })
    }

    /// Creates a part of this name. `None`: somebody else has the name.
    fn create_as(&self, name: &str) -> io::Result<Option<DiskPart>> {
        let flags = PART_FLAGS | OFlags::CREATE | OFlags::EXCL;
        let file = match openat(&*self.directory, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let locked = self.lock(file, name);
        if locked.is_err() {
            // Where a file system has no locks, what was made for one must not stay.
            let _ = unlinkat(&*self.directory, name, AtFlags::empty());
        }
        locked.map(|locked| locked.map(|(part, _)| part))
    }

    /// Opens a part that is there, if it is ours and nobody holds it.
    fn take(&self, name: &str) -> io::Result<(DiskPart, Stat)> {
        let file = openat(&*self.directory, name, PART_FLAGS, Mode::empty())?;
        let stat = fstat(&file)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_uid != geteuid().as_raw() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.lock(file, name)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// `None`: somebody else holds it, or took it away or gave it its final name before it was locked.
    fn lock(&self, file: OwnedFd, name: &str) -> io::Result<Option<(DiskPart, Stat)>> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let opened = fstat(&file)?;
        match statat(&*self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) if (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino) => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let directory = Rc::clone(&self.directory);
        let part =
            DiskPart { directory, file: file.into(), name: name.into(), stays: false, unsynced_bytes: 0 };
        Ok(Some((part, opened)))
    }

    /// Renames, and replaces nothing. File systems without such a rename have links.
    fn rename_to_new(&self, part: &DiskPart, name: &str) -> Result<(), Errno> {
        let directory = &*self.directory;
        match renameat_with(directory, &*part.name, directory, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                linkat(directory, &*part.name, directory, name, AtFlags::empty())?;
                // If that fails, the next start does it.
                let _ = unlinkat(directory, &*part.name, AtFlags::empty());
                Ok(())
            }
            renamed => renamed,
        }
    }

    fn rename(&self, part: &DiskPart, name: &str, conflict: Conflict) -> io::Result<String> {
        if conflict == Conflict::Overwrite {
            renameat(&*self.directory, &*part.name, &*self.directory, name)?;
            return Ok(name.into());
        }
        let numbers = if conflict == Conflict::Rename { limits::FILE_NUMBERS_MAX } else { 0 };
        for number in 0..=numbers {
            let tried = if number == 0 { name.into() } else { name::numbered(name, number) };
            match self.rename_to_new(part, &tried) {
                Ok(()) => return Ok(tried),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Whether a name is one that we give: whether the part can be continued.
fn kind_of(name: &CStr) -> Option<bool> {
    let rest = name.to_bytes().strip_prefix(PREFIX.as_bytes())?;
    let is_of = |kind: &str, digits: usize| {
        rest.strip_prefix(kind.as_bytes())
            .is_some_and(|rest| rest.len() == digits && rest.iter().all(u8::is_ascii_alphanumeric))
    };
    if is_of(NEW, NEW_DIGITS) { Some(false) } else { is_of(RESUMABLE, KEY_BYTES).then_some(true) }
}

impl Folder for DiskFolder {
    type Part = DiskPart;

    fn free_bytes(&self) -> io::Result<u64> {
        let system = fstatvfs(&*self.directory)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn has(&self, name: &str) -> bool {
        statat(&*self.directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    fn create(&mut self) -> io::Result<DiskPart> {
        for _ in 0..ATTEMPTS {
            self.parts += 1;
            let random = self.random.hash_one(self.parts);
            if let Some(part) = self.create_as(&format!("{PREFIX}{NEW}{random:0NEW_DIGITS$x}"))? {
                return Ok(part);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn resume(&mut self, key: &str) -> io::Result<(DiskPart, u64)> {
        debug_assert!(key.len() == KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let name = format!("{PREFIX}{RESUMABLE}{key}");
        self.kept.retain(|kept| *kept != name);
        match self.take(&name) {
            // By a second name somebody else would have what we write.
            Ok((mut part, stat)) if stat.st_nlink != 1 => {
                part.stays = true;
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Ok((part, stat)) => Ok((part, u64::try_from(stat.st_size).unwrap_or(0))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let part = self.create_as(&name)?.ok_or(io::ErrorKind::WouldBlock)?;
                Ok((part, 0))
            }
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, part: &mut DiskPart, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        part.file.read_at(buffer, offset)
    }

    fn write(&mut self, part: &mut DiskPart, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let written = part.file.write_at(bytes, offset)?;
        part.unsynced_bytes += written;
        if self.is_durable && part.unsynced_bytes >= limits::PART_UNSYNCED_BYTES_MAX {
            part.file.sync_data()?;
            part.unsynced_bytes = 0;
        }
        Ok(written)
    }

    fn clear(&mut self, part: &mut DiskPart) -> io::Result<()> {
        Ok(ftruncate(&part.file, 0)?)
    }

    fn keep(&mut self, mut part: DiskPart) {
        part.stays = true;
        self.kept.push_back(part.name.clone());
        drop(part);
        while self.kept.len() > limits::PARTS_KEPT_MAX {
            // Taking it and letting it go removes it, unless somebody continues it just now.
            let oldest = self.kept.pop_front();
            drop(oldest.and_then(|name| self.take(&name).ok()));
        }
    }

    fn publish(&mut self, mut part: DiskPart, name: &str, conflict: Conflict) -> io::Result<String> {
        if self.is_durable {
            part.file.sync_all()?;
        }
        let name = self.rename(&part, name, conflict)?;
        part.stays = true;
        if self.is_durable {
            fsync(&*self.directory)?;
        }
        Ok(name)
    }
}

impl Drop for DiskPart {
    fn drop(&mut self) {
        if !self.stays {
            // While it is locked, nobody gives its name to another file. What cannot be removed now, the
            // next start tries again.
            let _ = unlinkat(&*self.directory, &*self.name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests;
