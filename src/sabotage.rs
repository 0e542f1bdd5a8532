//! Defects that can be switched on, to see that the simulation finds them: what it could not find, it would
//! not prove the absence of. They are compiled for tests alone; in the program, [`sabotaged`] is `false`.

/// A defect, named after what the code then does.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The loop: newcomers beyond the accept budget wait for a further event (experiment B).
    ForgetNewcomers,
    /// The loop: input beyond the read budget waits for a further event (experiment D).
    ForgetPending,
    /// The loop: no deadline accepts again when descriptors were out (experiment I).
    ForgetAcceptRetry,
    /// The loop: no deadline writes again when the kernel had no buffers.
    ForgetWriteRetry,
    /// The loop: room to write is told of for ever.
    NeverDisarm,
    /// The loop: room to write is never asked for.
    NeverArm,
    /// The loop: a short read counts as the last one although the peer has ended.
    LoseEndAfterShortRead,
    /// The loop: who waits with the last line is not told of the end again.
    LoseEndWhilePaused,
    /// The loop: an id stands for whoever has its slot now.
    ForgetGeneration,
    /// The loop: a write counts as complete however little was taken.
    CountAllAsWritten,
    /// The loop: a close does not wait for what is due.
    CloseWithoutFlush,
    /// The loop: nothing ends a close that its peer does not take.
    ForgetLinger,
    /// The loop: an interrupted poll ends it.
    FailOnInterrupt,
    /// The chat: the cursor moves by what was offered.
    AdvanceByOffered,
    /// The chat: of a record that was torn by a full socket, the rest is dropped.
    DropTornRest,
    /// The log: one record more is dropped than has to be.
    TrimOneMore,
    /// The chat: who was overtaken is told of one message too many.
    MiscountGap,
    /// The chat: who was overtaken is not told.
    ForgetGap,
    /// The chat: a reply is written at once, wherever the reader is.
    ReplyOutOfOrder,
    /// The chat: a private reply is written inside a record.
    ReplyInsideRecord,
    /// The chat: senders who wait for space are not woken.
    ForgetWaiting,
    /// The chat: who used up the rate is not woken.
    ForgetRefill,
    /// The chat: who caught up does not follow again.
    ForgetFollow,
    /// The chat: one's own messages come although echo is off, where they come behind others'.
    ForgetSkip,
    /// The chat: what was due to a member who left a room is dropped.
    DropUnreadOnLeave,
    /// The chat: the end of the server does not tell the clients, nor wait for them.
    SkipDrain,
    /// The chat: a client that is gone is still counted for its address.
    ForgetAddress,
    /// The chat: an ended session keeps its nick.
    KeepNick,
    /// The chat: an ended session keeps its number.
    KeepGuestNumber,
    /// The chat: who leaves a room and comes back is told of in the same breath.
    MergeRolls,
    /// The chat: a message is said before what was to be announced before it.
    SayBeforeNotices,
    /// The chat: a reply comes before what was to be announced before it.
    ReplyBeforeNotices,
    /// The chat: who only connected is told of as there.
    TellOfListener,
    /// The chat: of somebody whose joining was not told, the leave is.
    TellUntoldLeave,
    /// The chat: everyone has a limit of one more line than the longest.
    LineTooLong,
    /// The receiver: a file gets its name whatever hash follows it.
    #[cfg(feature = "course")]
    PublishUnchecked,
    /// The receiver: a file without a size that is cut off counts as whole.
    #[cfg(feature = "course")]
    PublishCut,
    /// The receiver: what the disk did not take counts as written.
    #[cfg(feature = "course")]
    CountUnwritten,
    /// The receiver: what was refused is kept to be continued, as if it had been cut off.
    #[cfg(feature = "course")]
    KeepRefused,
    /// The receiver: what is there of a file that failed is not removed.
    #[cfg(feature = "course")]
    ForgetPart,
    /// The receiver: a transfer that failed keeps its place.
    #[cfg(feature = "course")]
    ForgetPlace,
    /// The receiver: nothing ends the wait for a silent sender.
    #[cfg(feature = "course")]
    ForgetIdle,
    /// The receiver: a transfer may take as long as it likes, as long as something comes.
    #[cfg(feature = "course")]
    ForgetDeadline,
    /// The receiver: who failed is not told.
    #[cfg(feature = "course")]
    ForgetFailure,
    /// The receiver: a file gets the name that its sender gave it.
    #[cfg(feature = "course")]
    HonourName,
    /// The receiver: any 32 bytes take up an offer.
    #[cfg(feature = "course")]
    TakeUpAnything,
}

#[cfg(test)]
impl Sabotage {
    /// Those of the loop and of the chat.
    pub(crate) const ALL: [Sabotage; 35] = [
        Sabotage::ForgetNewcomers,
        Sabotage::ForgetPending,
        Sabotage::ForgetAcceptRetry,
        Sabotage::ForgetWriteRetry,
        Sabotage::NeverDisarm,
        Sabotage::NeverArm,
        Sabotage::LoseEndAfterShortRead,
        Sabotage::LoseEndWhilePaused,
        Sabotage::ForgetGeneration,
        Sabotage::CountAllAsWritten,
        Sabotage::CloseWithoutFlush,
        Sabotage::ForgetLinger,
        Sabotage::FailOnInterrupt,
        Sabotage::AdvanceByOffered,
        Sabotage::DropTornRest,
        Sabotage::TrimOneMore,
        Sabotage::MiscountGap,
        Sabotage::ForgetGap,
        Sabotage::ReplyOutOfOrder,
        Sabotage::ReplyInsideRecord,
        Sabotage::ForgetWaiting,
        Sabotage::ForgetRefill,
        Sabotage::ForgetFollow,
        Sabotage::ForgetSkip,
        Sabotage::DropUnreadOnLeave,
        Sabotage::SkipDrain,
        Sabotage::ForgetAddress,
        Sabotage::KeepNick,
        Sabotage::KeepGuestNumber,
        Sabotage::MergeRolls,
        Sabotage::SayBeforeNotices,
        Sabotage::ReplyBeforeNotices,
        Sabotage::TellOfListener,
        Sabotage::TellUntoldLeave,
        Sabotage::LineTooLong,
    ];

    /// Those of the receiver of files.
    #[cfg(feature = "course")]
    pub(crate) const OF_RECEIVER: [Sabotage; 11] = [
        Sabotage::PublishUnchecked,
        Sabotage::PublishCut,
        Sabotage::CountUnwritten,
        Sabotage::KeepRefused,
        Sabotage::ForgetPart,
        Sabotage::ForgetPlace,
        Sabotage::ForgetIdle,
        Sabotage::ForgetDeadline,
        Sabotage::ForgetFailure,
        Sabotage::HonourName,
        Sabotage::TakeUpAnything,
    ];
}

/// Whether a defect is switched on; constant, and false, outside of tests.
macro_rules! sabotaged {
    ($defect:ident) => {{
        #[cfg(test)]
        let is_on = $crate::sabotage::is_on($crate::sabotage::Sabotage::$defect);
        #[cfg(not(test))]
        let is_on = false;
        is_on
    }};
}
pub(crate) use sabotaged;
#[cfg(test)]
pub(crate) use switch::{is_any_on, is_on, with};

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Sabotage;

    thread_local! {
        /// Each test has a thread of its own.
        static ON: Cell<Option<Sabotage>> = const { Cell::new(None) };
    }

    pub(crate) fn is_on(defect: Sabotage) -> bool {
        ON.get() == Some(defect)
    }

    pub(crate) fn is_any_on() -> bool {
        ON.get().is_some()
    }

    /// Runs something with a defect in the code.
    pub(crate) fn with<R>(defect: Sabotage, run: impl FnOnce() -> R) -> R {
        ON.set(Some(defect));
        let result = run();
        ON.set(None);
        result
    }
}
