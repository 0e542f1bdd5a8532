//! A place for the files of a lesson, removed when the lesson ends, however it ends.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// How many names are tried: some may be left from a lesson that was killed.
const ATTEMPTS: u32 = 100;

/// A directory below the system's temporary one, which nobody else can enter.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> io::Result<Self> {
        let mut number = 0;
        loop {
            let path = std::env::temp_dir().join(format!("onepoll-lab-{}-{number}", std::process::id()));
            // It fails where something is there already, a symbolic link included: nothing is taken over.
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < ATTEMPTS => {
                    number += 1
                }
                created => return created.map(|()| Scratch(path)),
            }
        }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which cleans its temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
