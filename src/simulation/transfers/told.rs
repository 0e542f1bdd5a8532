//! What people at the receiver are told of transfers, held against what the disk did at that moment.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::disk::{Deed, Disk};
use crate::engine::Now;
use crate::progress::Progress;

/// Who hears of transfers.
#[derive(Debug)]
pub(super) struct Told(pub(super) Rc<RefCell<Books>>);

/// What was heard.
#[derive(Debug)]
pub(super) struct Books {
    disk: Rc<RefCell<Disk>>,
    under_way: BTreeSet<u32>,
    ended: BTreeSet<u32>,
    /// The first thing that was not as it should be.
    pub(super) failure: Option<String>,
}

impl Books {
    pub(super) fn new(disk: Rc<RefCell<Disk>>) -> Self {
        Books { disk, under_way: BTreeSet::new(), ended: BTreeSet::new(), failure: None }
    }

    /// Each transfer that people saw begin, they saw end.
    pub(super) fn check_at_rest(&self) -> Result<(), String> {
        match self.under_way.first() {
            Some(number) => Err(format!("I15: transfer {number} is shown as under way, and is not")),
            None => Ok(()),
        }
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.failure.get_or_insert_with(what);
        }
    }
}

impl Progress for Told {
    fn begin(&mut self, _: Now, number: u32, what: &str, _: u64, _: Option<u64>) {
        let books = &mut *self.0.borrow_mut();
        books.expect(!books.ended.contains(&number), || {
            format!("I15: transfer {number} begins again: {what}")
        });
        books.under_way.insert(number);
    }

    fn advance(&mut self, _: Now, number: u32, _: u64) {
        let books = &mut *self.0.borrow_mut();
        books.expect(books.under_way.contains(&number), || format!("I15: transfer {number} goes on"));
    }

    fn end(&mut self, _: Now, number: u32, how: Result<String, String>) {
        let books = &mut *self.0.borrow_mut();
        books.under_way.remove(&number);
        let is_first = books.ended.insert(number);
        books.expect(is_first, || format!("I15: transfer {number} ends twice"));
        let deed = books.disk.borrow_mut().last_deed.take();
        let is_true = match &how {
            Ok(_) => deed == Some(Deed::Published),
            Err(why) if why.contains("is kept") => deed == Some(Deed::Kept),
            // What was there before stays.
            Err(why) if why.contains("no room") || why.contains("what is free") => {
                matches!(deed, None | Some(Deed::Kept))
            }
            // What was there before is shown to be worth nothing.
            Err(why) if why.contains("hash") || why.contains("more bytes") => {
                matches!(deed, None | Some(Deed::Lost))
            }
            Err(_) => deed.is_none(),
        };
        books.expect(is_true, || format!("I15: transfer {number} is said to end as {how:?}: {deed:?}"));
    }
}
