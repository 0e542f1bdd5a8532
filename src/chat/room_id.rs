//! How the chat's parts refer to a room: by a small number, as sessions are many.

use std::num::NonZeroU32;

/// Names a room for as long as it exists; the next room made may have the same name then.
///
/// A deadline or an announcement that outlives its room reaches the next one, where it finds nothing
/// to do; whatever else holds an id keeps its room alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(NonZeroU32);

impl RoomId {
    /// The id of the room at `index`.
    #[must_use]
    pub fn new(index: usize) -> Self {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        RoomId(number.expect("invariant: `rooms_max` is far below 2^32"))
    }

    /// The index of the room.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}
