//! The receiver of files: `onepoll receive`.
//!
//! Teaches a protocol with a length in front, a header, and a body that is far longer than any buffer:
//! what is there is written, a bounded chunk at a time, and nobody is waited for. Each connection is a
//! [`Sender`]; what they share is the [`Receiver`]. A file has its name only once it is whole
//! ([`folder`]).

mod body;
pub mod folder;
mod transfer;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::codec::transfer::Answer;
use crate::engine::{AddressBlock, Moment, Peer, Reason};
use crate::limits;
use crate::progress::Progress;
use crate::sabotage::sabotaged;
use crate::socketserver::{Dispatch, Handler, Request};

use folder::{Conflict, Folder};
use transfer::{Caller, Transfer};

/// What the operator decides.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What becomes of a file whose name is taken.
    pub on_conflict: Conflict,
    /// Bytes that a file may have; `None`: as many as there is room for.
    pub file_bytes_max: Option<u64>,
    /// Transfers at the same time.
    pub transfers_max: usize,
    /// Of those, the most from one address.
    pub transfers_per_address_max: usize,
    /// Silence of a sender that ends its transfer.
    pub idle: Duration,
    /// What ends it however busy it is, but for what came: see [`limits::TRANSFER_BYTES_PER_SECOND_MIN`].
    pub deadline: Duration,
    /// Bytes of the disk that are to stay free.
    pub reserved_bytes: u64,
    /// Whether one file is taken, and no more.
    pub is_once: bool,
}

/// What all transfers share.
#[derive(Debug)]
pub struct Receiver<F> {
    settings: Settings,
    folder: F,
    progress: Box<dyn Progress>,
    /// Held once more by each connection whose transfer is not over. One that is only being closed, of
    /// which the sender knows nothing, must not keep its next file out.
    places: Rc<()>,
    /// The same for each address that is limited.
    addresses: HashMap<AddressBlock, Rc<()>>,
    /// A sender's header came.
    has_begun: bool,
    /// How the last transfer that began ended.
    last: Option<bool>,
}

impl<F: Folder> Receiver<F> {
    /// A receiver into a folder.
    pub fn new(settings: Settings, folder: F, progress: Box<dyn Progress>) -> Self {
        let (places, addresses) = (Rc::default(), HashMap::new());
        Receiver { settings, folder, progress, places, addresses, has_begun: false, last: None }
    }

    /// A place for one more transfer, or why there is none.
    fn place_for(&mut self, peer: Peer) -> Result<Place, (Reason, String)> {
        let Settings { transfers_max, transfers_per_address_max, .. } = self.settings;
        self.addresses.retain(|_, transfers| Rc::strong_count(transfers) > 1);
        let of_address = AddressBlock::of(peer).map(|block| self.addresses.entry(block).or_default());
        if Rc::strong_count(&self.places) > transfers_max {
            return Err((
                Reason::ServerFull,
                format!("{transfers_max} transfers are running: try again later"),
            ));
        }
        if of_address
            .as_ref()
            .is_some_and(|transfers| Rc::strong_count(transfers) > transfers_per_address_max)
        {
            let why =
                format!("{transfers_per_address_max} transfers from your address are running, the most");
            return Err((Reason::AddressFull, format!("{why} (--max-per-ip): try again later")));
        }
        Ok(Place {
            _of_all: Rc::clone(&self.places),
            _of_address: of_address.map(|transfers| Rc::clone(transfers)),
        })
    }

    /// Whether the last transfer that began got its file through; `None`: none ended yet.
    pub fn last(&self) -> Option<bool> {
        self.last
    }
}

/// The engine: a handler for each sender, on what they share.
pub fn engine<F: Folder>(
    receiver: &Rc<RefCell<Receiver<F>>>,
) -> Dispatch<Sender<F>, impl FnMut(Peer) -> Sender<F>> {
    let receiver = Rc::clone(receiver);
    let full = Answer::Failed("no descriptor is left: try again later".into()).encode();
    Dispatch::new(move |_peer| {
        let receiver = Rc::clone(&receiver);
        Sender { receiver, transfer: Transfer::default(), place: None, began: Moment::START, came_bytes: 0 }
    })
    .with_full_notice(full)
}

/// A connection: who sends a file.
#[derive(Debug)]
pub struct Sender<F: Folder> {
    receiver: Rc<RefCell<Receiver<F>>>,
    transfer: Transfer<F>,
    place: Option<Place>,
    /// When it came, or when it was settled what of the file is there.
    began: Moment,
    /// Bytes of the transfer that came.
    came_bytes: u64,
}

/// One of the places that there are for transfers, for as long as it is held.
#[derive(Debug)]
struct Place {
    _of_all: Rc<()>,
    _of_address: Option<Rc<()>>,
}

/// What has the loop come back after everybody else had a turn.
const NEXT_TURN: Duration = Duration::from_nanos(1);

impl<F: Folder> Sender<F> {
    /// When the transfer has to be over. Silence is no measure: a byte now and then would hold a place for ever.
    fn due(&self, deadline: Duration) -> Moment {
        if sabotaged!(ForgetDeadline) {
            return Moment::START + Duration::MAX;
        }
        let came = Duration::from_secs(self.came_bytes / limits::TRANSFER_BYTES_PER_SECOND_MIN);
        self.began + deadline.saturating_add(came)
    }

    /// Makes one step of the transfer, then says what there is to say, and when to go on.
    fn step<R>(
        &mut self,
        request: &mut Request<'_>,
        step: impl FnOnce(&mut Transfer<F>, &mut Receiver<F>, Caller) -> R,
    ) -> R {
        let receiver = &mut *self.receiver.borrow_mut();
        let caller = Caller { now: request.now(), number: request.number(), peer: request.peer() };
        let (now, deadline) = (request.now().moment, receiver.settings.deadline);
        if self.due(deadline) <= now {
            let why =
                format!("took longer than {deadline:?} and a second for each KiB that came (--deadline)");
            self.transfer.cut(receiver, caller, &why);
        }
        let result = step(&mut self.transfer, receiver, caller);
        request.send(self.transfer.take_said().as_bytes());
        if self.transfer.is_over() {
            let place = self.place.take();
            if sabotaged!(ForgetPlace) {
                std::mem::forget(place);
            }
            request.close();
            if receiver.settings.is_once && receiver.last.is_some() {
                request.server().shutdown();
            }
        } else {
            if self.transfer.is_settling() {
                self.began = now;
            }
            let patience = self.transfer.patience(receiver.settings.idle).unwrap_or(NEXT_TURN);
            let patience = patience.min(self.due(deadline).since(now));
            request.set_timeout((!sabotaged!(ForgetIdle)).then_some(patience));
        }
        result
    }
}

impl<F: Folder> Handler for Sender<F> {
    fn setup(&mut self, request: &mut Request<'_>) {
        let mut receiver = self.receiver.borrow_mut();
        self.began = request.now().moment;
        request.set_timeout(Some(receiver.settings.idle.min(receiver.settings.deadline)));
        match receiver.place_for(request.peer()) {
            Ok(place) => self.place = Some(place),
            Err((reason, why)) => {
                request.send(Answer::Failed(why).encode().as_bytes());
                request.close_for(reason);
            }
        }
    }

    fn handle(&mut self, request: &mut Request<'_>) {
        let input = request.unread();
        let consumed =
            self.step(request, |transfer, receiver, caller| transfer.take(receiver, caller, input));
        self.came_bytes += consumed as u64;
        request.consume(consumed);
    }

    fn handle_eof(&mut self, request: &mut Request<'_>) {
        let has_rest = !request.unread().is_empty();
        self.step(request, |transfer, receiver, caller| transfer.end(receiver, caller, has_rest));
    }

    fn handle_timeout(&mut self, request: &mut Request<'_>) {
        self.step(request, Transfer::handle_timeout);
    }

    fn handle_shutdown(&mut self, request: &mut Request<'_>) {
        self.step(request, |transfer, receiver, caller| {
            transfer.cut(receiver, caller, "the receiver was stopped");
        });
    }

    fn finish(&mut self, request: &mut Request<'_>, reason: Reason) {
        self.step(request, |transfer, receiver, caller| {
            transfer.cut(receiver, caller, &reason.to_string());
        });
    }
}

#[cfg(test)]
mod tests;
