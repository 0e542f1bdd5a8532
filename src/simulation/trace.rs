//! What happened, as one number that two runs of a seed must share, and, when asked for, in words.

use std::collections::VecDeque;
use std::fmt;

/// Events that are kept in words.
const WORDS_MAX: usize = 80;

/// The history of a run.
#[derive(Debug)]
pub struct Trace {
    /// FNV-1a of everything that happened.
    hash: u64,
    events: u64,
    /// The last events; `None`: not asked for, which is much faster.
    words: Option<VecDeque<String>>,
}

impl Trace {
    /// An empty history, `in_words` or only as a hash.
    #[must_use]
    pub fn new(in_words: bool) -> Self {
        Trace { hash: 0xcbf2_9ce4_8422_2325, events: 0, words: in_words.then(VecDeque::new) }
    }

    /// Adds an event: `kind` and `numbers` say all of it to the hash, `words` to a person.
    pub fn add(&mut self, kind: u8, numbers: &[u64], words: impl FnOnce() -> String) {
        self.events += 1;
        self.hash_bytes(&[kind]);
        for number in numbers {
            self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        }
        if let Some(kept) = &mut self.words {
            if kept.len() == WORDS_MAX {
                kept.pop_front();
            }
            kept.push_back(words());
        }
    }

    /// Adds bytes to the hash.
    pub fn hash_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The number that two runs of a seed share.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.words.iter().flatten() {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
