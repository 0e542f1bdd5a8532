//! Who joined a room and who left it since that was said last, to be said in one line each.
//!
//! All on the one roll came, or went, before all on the other. Who joined after one who left after one who
//! joined fits on neither: the rolls so far are said first. So a reader who goes by the last line with a name in
//! it is right about whether somebody of that name is there.

use crate::engine::ConnectionId;
use crate::limits;

/// Who joined and who left.
#[derive(Debug, Default)]
pub struct Rolls {
    joined: Roll,
    left: Roll,
    /// All who left did so before the others joined; else after.
    left_first: bool,
}

impl Rolls {
    /// Whether who joins now comes behind all who left, or before them.
    #[must_use]
    pub fn join_fits(&self) -> bool {
        self.joined.is_empty() || self.left.is_empty() || self.left_first
    }

    /// The same of who leaves now.
    #[must_use]
    pub fn leave_fits(&self) -> bool {
        self.joined.is_empty() || self.left.is_empty() || !self.left_first
    }

    /// Somebody joined, and fits.
    pub fn join(&mut self, id: ConnectionId, name: impl ToString) {
        if self.joined.is_empty() {
            self.left_first = !self.left.is_empty();
        }
        self.joined.add(id, name);
    }

    /// Somebody left, and fits.
    pub fn leave(&mut self, id: ConnectionId, name: impl ToString) {
        self.left.add(id, name);
    }

    /// Whether there is nothing to be said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }

    /// Those on whom there is something to say, with the verb, in the order in which it is to be said.
    pub fn in_order(self) -> impl Iterator<Item = (Roll, &'static str)> {
        let (joined, left) = ((self.joined, "joined"), (self.left, "left"));
        let both = if self.left_first { [left, joined] } else { [joined, left] };
        both.into_iter().filter(|(roll, _)| !roll.is_empty())
    }
}

/// Those to whom the same happened.
#[derive(Debug, Default)]
pub struct Roll {
    names: Vec<String>,
    total: usize,
    first: Option<ConnectionId>,
}

impl Roll {
    fn add(&mut self, id: ConnectionId, name: impl ToString) {
        if self.names.len() < limits::NOTICE_NAMES_MAX {
            self.names.push(name.to_string());
        }
        self.first.get_or_insert(id);
        self.total += 1;
    }

    fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Who it is, where it is one alone.
    #[must_use]
    pub fn only(&self) -> Option<ConnectionId> {
        self.first.filter(|_| self.total == 1)
    }

    /// `ann`, `ann and bob`, `ann, bob and cho`, `ann, bob and 37 others`.
    #[must_use]
    pub fn sentence(&self) -> String {
        match (&self.names[..], self.total) {
            ([one], _) => one.clone(),
            ([one, two], _) => format!("{one} and {two}"),
            ([one, two, three], 3) => format!("{one}, {two} and {three}"),
            ([one, two, ..], total) => format!("{one}, {two} and {} others", total - 2),
            ([], _) => String::new(),
        }
    }
}
