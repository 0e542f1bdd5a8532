//! `onepoll serve --record`: the chat on a system whose answers are written down.

use std::path::{Path, PathBuf};

use log::info;

use super::surroundings::Surroundings;
use super::{Exit, complain, parse};
use crate::codec::text::describe;
use crate::event_loop::io::System;
use crate::memory::Part;
use crate::recording::{self, Head, Recorder, Recording};

/// The arguments of `onepoll serve` that are about its recording.
#[derive(Debug, clap::Args)]
pub(super) struct RecordArguments {
    /// Write all that comes in to a new file, for `onepoll replay`: what people say is in it
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,

    /// Bytes of that file, at which the recording ends, and the server goes on
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = parse::recording_bytes)]
    #[arg(requires = "record")]
    pub(super) record_bytes: u64,

    /// Record when, who and how much, but nothing that people say, and numbers for their addresses
    #[arg(long, requires = "record")]
    redact: bool,
}

impl RecordArguments {
    /// What recording can come to hold, if there is any.
    pub(super) fn memory_parts(&self) -> Vec<Part> {
        let parts = |_: &PathBuf| recording::memory_parts(self.redact).to_vec();
        self.record.as_ref().map_or(Vec::new(), parts)
    }

    /// The system, which is recorded to `path` from now on; or the complaint.
    pub(super) fn begin(
        &self,
        path: &Path,
        system: System,
        surroundings: &Surroundings,
    ) -> Result<Recording<System>, Exit> {
        let version = env!("CARGO_PKG_VERSION").into();
        let (head, what) = if self.redact {
            // The arguments name addresses, files and the message of the day.
            let head = Head { version, is_redacted: true, ..Head::default() };
            (head, "who comes and how much they say, not what")
        } else {
            let arguments = std::env::args_os().skip(1).collect();
            let facts = surroundings
                .facts()
                .map_err(|why| complain(Exit::Failed, format!("--record {}: {why}", path.display())))?;
            (Head { version, is_redacted: false, arguments, facts }, "all that people say")
        };
        let recorder = Recorder::create(path, &head, self.record_bytes)
            .map_err(|error| complain(Exit::Failed, cannot_create(path, &error)))?;
        info!("recording: {}: {what}, {} bytes at most", path.display(), self.record_bytes);
        Ok(Recording::new(system, recorder))
    }
}

fn cannot_create(path: &Path, error: &std::io::Error) -> String {
    let path = path.display();
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("--record {path}: is there already, and no recording replaces anything: name a new file")
        }
        _ => format!("--record {path}: {}", describe(error)),
    }
}
