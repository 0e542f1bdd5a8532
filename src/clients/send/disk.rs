//! The files that are sent: what the sender needs of a disk, and the real one.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// What tells whether a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its bytes.
    pub bytes: u64,
    /// When it was changed last, in seconds since 1970 and nanoseconds.
    pub modified: (i64, i64),
}

/// What the sender needs of a disk. Each call is bounded by [`limits::READ_CHUNK_BYTES`](crate::limits).
pub trait Disk {
    /// A file that is being sent.
    type File: fmt::Debug;

    /// Opens a file.
    ///
    /// # Errors
    /// Where it is not there, may not be read, or is no regular file.
    fn open(&mut self, path: &Path) -> io::Result<Self::File>;

    /// What the file is now.
    ///
    /// # Errors
    /// Those of the system.
    fn facts(&mut self, file: &Self::File) -> io::Result<Facts>;

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// Those of the system.
    fn read(&mut self, file: &Self::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// The disks of this machine.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    type File = File;

    fn open(&mut self, path: &Path) -> io::Result<File> {
        // Opening a pipe would wait for somebody to write to it.
        let file: File =
            open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into();
        let metadata = file.metadata()?;
        match metadata.is_file() {
            true => Ok(file),
            false if metadata.is_dir() => Err(io::Error::other("it is a folder, and only files are sent")),
            false => Err(io::Error::other("it is no regular file")),
        }
    }

    fn facts(&mut self, file: &File) -> io::Result<Facts> {
        let metadata = file.metadata()?;
        Ok(Facts { bytes: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }

    fn read(&mut self, file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }
}
