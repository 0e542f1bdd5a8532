//! One connection's transfer, from its header to the answer.
//!
//! Knows nothing of sockets: it is shown what came, and asked what there is to say.

use std::mem;
use std::time::Duration;

use super::Receiver;
use super::body::{Body, Taken};
use super::folder::Folder;
use crate::codec::transfer::{self, Answer, Decoded, Header};
use crate::engine::{Now, Peer};
use crate::sabotage::sabotaged;

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

    /// Whether it is not settled yet what of the file is there: that takes its time by itself.
    pub(super) fn is_settling(&self) -> bool {
        matches!(&self.stage, Stage::Body(body) if body.is_settling())
    }

    /// How long to wait for the sender; `None`: not at all, for there is something to be done.
    pub(super) fn patience(&self, idle: Duration) -> Option<Duration> {
        match &self.stage {
            Stage::Body(body) => body.patience(idle),
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
                Ok(Taken::Part(bytes)) => {
                    receiver.progress.advance(caller.now, caller.number, body.bytes());
                    bytes
                }
                Ok(Taken::Whole) => {
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
            Stage::Body(body) if body.total().is_none() => self.publish(receiver, caller),
            _ => self.cut(receiver, caller, "the connection ended early"),
        }
    }

    /// Goes on with the check of what is there, or waits no longer for the sender.
    pub(super) fn handle_timeout(&mut self, receiver: &mut Receiver<F>, caller: Caller) {
        match &mut self.stage {
            Stage::Body(body) if body.kept_bytes() > 0 => match body.check(&mut receiver.folder) {
                Ok(None) => {}
                Ok(Some(offer)) => {
                    let done = body.bytes();
                    receiver.progress.begin(caller.now, caller.number, body.what(), done, body.total());
                    self.said += &offer.encode();
                }
                Err(why) => self.fail(receiver, caller, &why),
            },
            _ => {
                let idle = receiver.settings.idle;
                self.cut(receiver, caller, &format!("nothing came for {idle:?}"));
            }
        }
    }

    /// The sender is gone, or is sent away: what is there of the file is kept, if it may be continued.
    pub(super) fn cut(&mut self, receiver: &mut Receiver<F>, caller: Caller, why: &str) {
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Body(body) if body.total().is_none() && sabotaged!(PublishCut) => {
                let (what, result) = body.publish(&mut receiver.folder, receiver.settings.on_conflict);
                self.close(receiver, caller, &what, result);
            }
            Stage::Body(body) => {
                let (what, why) = body.cut(&mut receiver.folder, why);
                self.close(receiver, caller, &what, Err(why));
            }
            // Without a header nothing was lost.
            Stage::Header => self.said += &Answer::Failed(why.into()).encode(),
            Stage::Over => {}
        }
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
        receiver.progress.begin(caller.now, caller.number, body.what(), 0, body.total());
        if header.resume.is_some() {
            self.said += &Answer::Resume { offset: body.kept_bytes(), hash: None }.encode();
        }
        let is_whole = body.is_whole();
        self.stage = Stage::Body(Box::new(body));
        if is_whole {
            self.publish(receiver, caller);
        }
    }

    /// The file is whole: it gets its name.
    fn publish(&mut self, receiver: &mut Receiver<F>, caller: Caller) {
        if let Stage::Body(body) = mem::replace(&mut self.stage, Stage::Over) {
            let (what, result) = body.publish(&mut receiver.folder, receiver.settings.on_conflict);
            self.close(receiver, caller, &what, result);
        }
    }

    fn fail(&mut self, receiver: &mut Receiver<F>, caller: Caller, why: &str) {
        let what = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Body(body) if sabotaged!(KeepRefused) => body.cut(&mut receiver.folder, why).0,
            Stage::Body(body) if sabotaged!(ForgetPart) => {
                let what = body.what().into();
                mem::forget(body);
                what
            }
            Stage::Body(body) => body.into_what(),
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
        if result.is_ok() || !sabotaged!(ForgetFailure) {
            self.said += &result.unwrap_or_else(Answer::Failed).encode();
        }
    }
}
