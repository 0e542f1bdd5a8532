//! What was offered, what became visible, and what senders were told: the oracle of transfers. A file may be
//! visible only because one sender announced and completely sent just that; who is told that it is there finds
//! it under the name that was told; who is told that it is not has not made anything visible.

use std::rc::Rc;

use super::disk::Published;
use super::script::Offered;
use crate::codec::transfer::Answer;
use crate::limits;

/// One transfer, as its sender knows it.
#[derive(Debug)]
struct Attempt {
    name: String,
    clean_name: Option<String>,
    content: Rc<[u8]>,
    has_true_hash: bool,
    /// All that makes it a file was sent.
    is_complete: bool,
    /// It became visible under this name.
    visible_as: Option<String>,
    /// The sender was told how it ended: whether it is there.
    told: Option<bool>,
}

impl Attempt {
    /// Whether nobody could tell the two by what became visible.
    fn is_like(&self, other: &Attempt) -> bool {
        self.clean_name == other.clean_name && self.content == other.content
    }

    fn may_become_visible(&self) -> bool {
        self.is_complete && self.visible_as.is_none() && self.told != Some(false)
    }
}

/// All attempts.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    attempts: Vec<Attempt>,
}

impl Ledger {
    /// A transfer begins; returns its number.
    pub(super) fn begin(&mut self, offered: &Offered) -> usize {
        self.attempts.push(Attempt {
            name: offered.name.clone(),
            clean_name: offered.clean_name(),
            content: Rc::clone(&offered.content),
            has_true_hash: offered.has_true_hash,
            is_complete: false,
            visible_as: None,
            told: None,
        });
        self.attempts.len() - 1
    }

    /// Its file was sent completely.
    pub(super) fn complete(&mut self, attempt: usize) {
        self.attempts[attempt].is_complete = true;
    }

    /// Whether its sender was told that the file is there.
    pub(super) fn was_told_done(&self, attempt: usize) -> bool {
        self.attempts[attempt].told == Some(true)
    }

    /// A file became visible: there must be somebody who sent it.
    pub(super) fn publish(&mut self, published: &Published) -> Result<(), String> {
        let Published { asked, given, content } = published;
        for name in [asked, given] {
            if !is_harmless(name) {
                return Err(format!("I15: {name:?} is no name for a file in the folder"));
            }
        }
        let sender = self.attempts.iter_mut().find(|attempt| {
            attempt.may_become_visible()
                && attempt.clean_name.as_ref() == Some(asked)
                && *attempt.content == **content
        });
        match sender {
            Some(attempt) => attempt.visible_as = Some(given.clone()),
            None => {
                let bytes = content.len();
                return Err(format!("I15: {given:?} is visible, of {bytes} bytes that nobody sent as that"));
            }
        }
        Ok(())
    }

    /// A sender reads the last answer.
    pub(super) fn tell(&mut self, attempt: usize, answer: &Answer) -> Result<(), String> {
        if self.attempts[attempt].told.is_some() {
            return Err(format!("I15: a second answer: {answer:?}"));
        }
        match answer {
            Answer::Done { bytes, hash, name, .. } => {
                let Attempt { content, name: own_name, .. } = &self.attempts[attempt];
                if *bytes != content.len() as u64 || *hash != blake3::hash(content) {
                    return Err(format!("I15: told of another file than was sent: {answer:?}"));
                }
                let name = name.as_ref().unwrap_or(own_name).clone();
                self.confirm(attempt, &name)
            }
            Answer::Failed(why) => self.deny(attempt, why),
            Answer::Resume { .. } => Err(format!("I15: no last answer: {answer:?}")),
        }
    }

    /// The file is said to be there: it is, and for nobody else.
    fn confirm(&mut self, attempt: usize, name: &str) -> Result<(), String> {
        let is_it = |other: &Attempt| {
            other.is_like(&self.attempts[attempt])
                && other.visible_as.as_deref() == Some(name)
                && other.told.is_none()
        };
        let Some(other) = self.attempts.iter().position(is_it) else {
            return Err(format!("I15: told that {name:?} is there, and it never was"));
        };
        self.exchange(attempt, other);
        self.attempts[attempt].told = Some(true);
        Ok(())
    }

    /// The file is said not to be there: what is, is another's.
    fn deny(&mut self, attempt: usize, why: &str) -> Result<(), String> {
        if self.attempts[attempt].has_true_hash && why.contains("do not have the hash") {
            return Err("I15: told that the bytes have another hash, and they have not".into());
        }
        self.attempts[attempt].told = Some(false);
        if self.attempts[attempt].visible_as.is_some() {
            let is_it =
                |other: &Attempt| other.may_become_visible() && other.is_like(&self.attempts[attempt]);
            let Some(other) = self.attempts.iter().position(is_it) else {
                return Err(format!("I15: told that it failed ({why}), and it is visible"));
            };
            self.exchange(attempt, other);
        }
        Ok(())
    }

    fn exchange(&mut self, one: usize, other: usize) {
        if let Ok([one, other]) = self.attempts.get_disjoint_mut([one, other]) {
            std::mem::swap(&mut one.visible_as, &mut other.visible_as);
        }
    }
}

/// Whether a name stays in the folder, and shows what it is: said again in other words than
/// [`name::clean`](crate::codec::transfer::name::clean) does.
fn is_harmless(name: &str) -> bool {
    let is_shown = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | '\u{202a}'..='\u{202e}');
    !name.is_empty()
        && !name.starts_with(['.', '-', ' '])
        && !name.ends_with(['.', ' '])
        && name.len() <= limits::FILE_NAME_BYTES_MAX + "_-999".len()
        && name.chars().all(is_shown)
}
