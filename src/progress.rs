//! How engines tell of transfers, to whoever shows that to people.

use std::fmt;

use crate::engine::Now;

/// Hears of transfers, each by its number. It must not block, and must not fail.
pub trait Progress: fmt::Debug {
    /// A transfer of `what` begins, or begins again: `done` bytes are there of `total`, where that is known.
    fn begin(&mut self, now: Now, number: u32, what: &str, done: u64, total: Option<u64>);

    /// `done` bytes are there now.
    fn advance(&mut self, now: Now, number: u32, done: u64);

    /// A transfer is over, also one that never began; how, for people.
    fn end(&mut self, now: Now, number: u32, how: Result<String, String>);
}
