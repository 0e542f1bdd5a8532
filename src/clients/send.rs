//! The sender of files as an engine: one after another, each on a connection of its own.
//!
//! A file that fails is told of, and the next one sent; where nobody can be connected to, all end. A file
//! counts as sent only once the receiver says that it has the same bytes. A classic receiver says
//! nothing: there, if that is asked for, its orderly end of the connection is what there is.

pub mod disk;
mod outgoing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::codec::text::describe;
use crate::codec::transfer::Answer;
use crate::engine::{
    Action, ConnectionId, Endpoint, Engine, ListenerId, Moment, Now, Output, Peer, Reason, Written,
};
use crate::limits;
use crate::progress::Progress;

use disk::Disk;
use outgoing::Outgoing;

/// What is to be sent, where, and how.
#[derive(Debug)]
pub struct Settings {
    /// The receiver's address, as people know it.
    pub address: String,
    /// Where it may be, in the order to try; at least one.
    pub endpoints: Vec<Endpoint>,
    /// The files, in the order to send them.
    pub files: Vec<PathBuf>,
    /// Whether a file that the receiver has a part of is continued.
    pub resumes: bool,
    /// Whether the receiver is one that never answers.
    pub is_classic: bool,
    /// How long the receiver may take nothing and say nothing.
    pub patience: Duration,
}

/// The sender.
#[derive(Debug)]
pub struct Sender<D: Disk> {
    settings: Settings,
    disk: D,
    progress: Box<dyn Progress>,
    files: VecDeque<PathBuf>,
    /// The file's number, for the progress.
    number: u32,
    current: Option<Current<D::File>>,
    /// Files that did not get through.
    failed: usize,
    /// Why there was no connection.
    no_connection: Option<String>,
    endpoint: usize,
    stage: Stage,
    actions: VecDeque<Action>,
}

/// A file that is being sent, until how it ended is known.
#[derive(Debug)]
struct Current<F> {
    name: String,
    outgoing: Outgoing<F>,
    /// When it has taken too long.
    deadline: Moment,
    /// The first thing that the receiver said and that is no answer.
    unknown_words: Option<String>,
    has_finished_output: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next file is due.
    Idle,
    Connecting,
    Connected {
        id: ConnectionId,
        is_blocked: bool,
        is_ready: bool,
    },
    /// All is over.
    Stopped,
}

impl<D: Disk> Sender<D> {
    /// A sender that begins with its first turn.
    pub fn new(settings: Settings, disk: D, progress: Box<dyn Progress>) -> Self {
        debug_assert!(!settings.endpoints.is_empty());
        Sender {
            files: settings.files.iter().cloned().collect(),
            settings,
            disk,
            progress,
            number: 0,
            current: None,
            failed: 0,
            no_connection: None,
            endpoint: 0,
            stage: Stage::Idle,
            actions: VecDeque::new(),
        }
    }

    /// Files that did not get through, or were not even tried.
    pub fn failed(&self) -> usize {
        self.failed + self.files.len()
    }

    /// Why there was no connection, if that was so.
    pub fn no_connection(&self) -> Option<&str> {
        self.no_connection.as_deref()
    }

    /// Opens the next file that can be opened, and connects for it.
    fn begin_next(&mut self, now: Now) {
        while let Some(path) = self.files.pop_front() {
            self.number += 1;
            let name = path.display().to_string();
            let Settings { resumes, is_classic, .. } = self.settings;
            match Outgoing::open(&mut self.disk, &path, resumes, !is_classic) {
                Ok(outgoing) => {
                    self.current = Some(Current {
                        name,
                        outgoing,
                        deadline: now.moment + self.settings.patience,
                        unknown_words: None,
                        has_finished_output: false,
                    });
                    return self.connect();
                }
                Err(error) => {
                    self.failed += 1;
                    self.progress.end(now, self.number, Err(format!("{name}: {}", describe(&error))));
                }
            }
        }
        self.stop(Duration::ZERO);
    }

    fn connect(&mut self) {
        self.stage = Stage::Connecting;
        self.actions.push_back(Action::Connect(self.settings.endpoints[self.endpoint].clone()));
    }

    fn stop(&mut self, within: Duration) {
        self.stage = Stage::Stopped;
        self.actions.push_back(Action::Stop(within));
    }

    /// How the current file ended is known.
    fn settle(&mut self, now: Now, how: Result<String, String>) {
        let Some(current) = self.current.take() else { return };
        self.failed += usize::from(how.is_err());
        let name = current.name;
        let how = how.map(|how| format!("{name}: {how}")).map_err(|why| format!("{name}: {why}"));
        self.progress.end(now, self.number, how);
        if let Stage::Connected { id, .. } = self.stage {
            self.actions.push_back(Action::Close(id, Reason::Quit));
        }
    }

    fn fail(&mut self, now: Now, why: impl Into<String>) {
        self.settle(now, Err(why.into()));
    }

    /// The receiver says a line.
    fn hear(&mut self, now: Now, line: &[u8]) {
        let Some(current) = &mut self.current else { return };
        match Answer::decode(line) {
            Some(done @ Answer::Done { bytes, hash, .. }) => {
                let confirmed = current.outgoing.confirm(bytes, hash);
                self.settle(now, confirmed.map(|()| done.in_words()));
            }
            Some(Answer::Failed(why)) => self.fail(now, format!("the receiver says: {why}")),
            Some(Answer::Resume { offset, hash }) => {
                let was_expected = current.outgoing.expects_offer();
                let is_agreed = current.outgoing.handle_offer(offset, hash);
                // One that changes nothing puts nothing off: it could be said for ever.
                if was_expected || is_agreed {
                    self.renew_deadline(now);
                }
                if is_agreed {
                    self.begin_to_send(now);
                }
            }
            None => {
                let words = line.trim_ascii();
                if !words.is_empty() {
                    current.unknown_words.get_or_insert_with(|| String::from_utf8_lossy(words).into_owned());
                }
            }
        }
    }

    /// It is known where the file begins: its bytes are due.
    fn begin_to_send(&mut self, now: Now) {
        let Some(Current { name, outgoing, .. }) = &self.current else { return };
        self.progress.begin(now, self.number, name, outgoing.done(), Some(outgoing.total()));
        self.make_ready();
    }

    /// Something moved.
    fn renew_deadline(&mut self, now: Now) {
        if let Some(current) = &mut self.current {
            current.deadline = now.moment + current.outgoing.patience(self.settings.patience);
        }
    }

    fn make_ready(&mut self) {
        if let Stage::Connected { is_blocked: false, is_ready, .. } = &mut self.stage {
            *is_ready = true;
        }
    }

    /// The receiver said nothing more than this.
    fn judge_silence(&mut self, now: Now, how: &str) {
        let Some(current) = &self.current else { return };
        let outgoing = &current.outgoing;
        let words = current.unknown_words.as_ref();
        let words = words.map_or(String::new(), |words| format!(", after it said {words:?}"));
        if !outgoing.is_sent() {
            let (done, total) = (outgoing.done(), outgoing.total());
            return self.fail(now, format!("{how}{words}, at {done} of {total} bytes"));
        }
        let remedy =
            if self.settings.is_classic { "" } else { "; --classic is for receivers that never answer" };
        let doubt = "it was sent, but nobody knows whether it arrived";
        self.fail(now, format!("{doubt}: {how}{words}{remedy}"));
    }

    fn id(&self) -> Option<ConnectionId> {
        match self.stage {
            Stage::Connected { id, .. } => Some(id),
            _ => None,
        }
    }
}

impl<D: Disk> Engine for Sender<D> {
    fn handle_accepted(&mut self, _now: Now, _id: ConnectionId, _listener: Option<ListenerId>, _peer: Peer) {
        debug_assert!(false, "a client listens nowhere");
    }

    fn handle_connected(&mut self, now: Now, id: ConnectionId, _peer: Peer) {
        let Some(current) = &self.current else {
            // A signal came first: no other file is begun.
            return self.actions.push_back(Action::Close(id, Reason::Quit));
        };
        let expects_offer = current.outgoing.expects_offer();
        self.stage = Stage::Connected { id, is_blocked: false, is_ready: true };
        self.renew_deadline(now);
        if !expects_offer {
            self.begin_to_send(now);
        }
    }

    fn handle_connect_failed(&mut self, _now: Now, error: io::Error) {
        if self.current.is_some() && self.endpoint + 1 < self.settings.endpoints.len() {
            self.endpoint += 1;
            return self.connect();
        }
        let is_absent = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
        let remedy = if is_absent { "; is the receiver running? (onepoll receive)" } else { "" };
        let why = format!("cannot connect to {}: {}{remedy}", self.settings.address, describe(&error));
        self.no_connection = Some(why);
        self.failed += usize::from(self.current.take().is_some());
        self.stop(Duration::ZERO);
    }

    fn handle_bytes(&mut self, now: Now, _id: ConnectionId, bytes: &[u8]) -> usize {
        let mut consumed = 0;
        while let Some(end) = bytes[consumed..].iter().position(|byte| *byte == b'\n') {
            self.hear(now, &bytes[consumed..consumed + end]);
            consumed += end + 1;
        }
        if bytes.len() - consumed > limits::TRANSFER_ANSWER_BYTES_MAX {
            self.fail(now, "what listens there is no receiver of files: it sends what is no answer");
        }
        if self.current.is_none() { bytes.len() } else { consumed }
    }

    fn handle_eof(&mut self, now: Now, id: ConnectionId, rest: &[u8]) -> bool {
        self.hear(now, rest);
        let is_sent = self.current.as_ref().is_some_and(|current| current.outgoing.is_sent());
        if self.settings.is_classic && is_sent {
            self.settle(now, Ok("sent; a classic receiver does not say whether it has it".into()));
        } else {
            self.judge_silence(now, "the receiver closed the connection");
        }
        self.actions.push_back(Action::Close(id, Reason::EndOfInput));
        true
    }

    fn wants_input(&self, _id: ConnectionId) -> bool {
        true
    }

    fn poll_ready(&mut self, _now: Now) -> Option<ConnectionId> {
        let Stage::Connected { id, is_ready, .. } = &mut self.stage else { return None };
        std::mem::take(is_ready).then_some(*id)
    }

    fn has_ready(&self) -> bool {
        let wants_compare = || self.current.as_ref().is_some_and(|current| current.outgoing.wants_compare());
        match self.stage {
            Stage::Idle => true,
            Stage::Connected { is_ready, .. } => is_ready || wants_compare(),
            Stage::Connecting | Stage::Stopped => false,
        }
    }

    fn poll_output(&mut self, now: Now, id: ConnectionId) -> Output<'_> {
        let prepared = self.current.as_mut().map(|current| current.outgoing.prepare(&mut self.disk));
        if let Some(Err(why)) = prepared {
            self.fail(now, why);
        }
        let Some(current) = &mut self.current else { return Output::default() };
        if current.outgoing.is_sent() && !std::mem::replace(&mut current.has_finished_output, true) {
            self.actions.push_back(Action::FinishOutput(id));
        }
        Output::one(current.outgoing.due())
    }

    fn handle_written(&mut self, now: Now, _id: ConnectionId, bytes: usize, written: Written) {
        if let Stage::Connected { is_blocked, .. } = &mut self.stage {
            *is_blocked = written == Written::Blocked;
        }
        let Some(current) = &mut self.current else { return };
        current.outgoing.handle_taken(bytes);
        if bytes > 0 {
            self.progress.advance(now, self.number, current.outgoing.done());
            self.renew_deadline(now);
        }
    }

    fn handle_writable(&mut self, id: ConnectionId) {
        if self.id() == Some(id) {
            self.stage = Stage::Connected { id, is_blocked: false, is_ready: true };
        }
    }

    fn handle_closed(&mut self, now: Now, _id: ConnectionId, reason: Reason) {
        self.judge_silence(now, &reason.to_string());
        if self.stage != Stage::Stopped {
            self.stage = Stage::Idle;
        }
    }

    fn handle_signal(&mut self, now: Now) {
        self.fail(now, "interrupted");
        self.stop(limits::CLIENT_STOP);
    }

    fn handle_timeout(&mut self, now: Now) {
        let Some(current) = self.current.as_mut().filter(|current| current.deadline <= now.moment) else {
            return;
        };
        if current.outgoing.expects_offer() {
            // A receiver that knows nothing of offers waits for the file.
            current.outgoing.start();
            self.renew_deadline(now);
            return self.begin_to_send(now);
        }
        let patience = self.settings.patience;
        self.judge_silence(now, &format!("the receiver took nothing and said nothing for {patience:?}"));
    }

    fn handle_turn(&mut self, now: Now) {
        if self.stage == Stage::Idle {
            return self.begin_next(now);
        }
        let Some(current) = &mut self.current else { return };
        if current.outgoing.wants_compare() {
            match current.outgoing.compare(&mut self.disk) {
                Ok(true) => self.begin_to_send(now),
                Ok(false) => {}
                Err(why) => self.fail(now, why),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Moment> {
        let is_connected = matches!(self.stage, Stage::Connected { .. });
        self.current.as_ref().filter(|_| is_connected).map(|current| current.deadline)
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
