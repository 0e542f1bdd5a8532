//! What only the server knows: which of two things came first, and when something happened that no byte tells of.
//! It says so in hints, which the model applies where they are due, and holds against what it knows itself.

use super::Model;
use crate::chat::config::SlowPolicy;
use crate::chat::{Hint, Hinted};
use crate::engine::{ConnectionId, Reason};

impl Model {
    /// Applies the hints that are due by now, in the middle of what was consumed.
    pub(super) fn apply_due_hints(&mut self) -> Result<(), String> {
        self.apply_hints(false)
    }

    /// Applies all that come before what needs more than a hint.
    pub(super) fn apply_all_hints(&mut self) -> Result<(), String> {
        self.apply_hints(true)
    }

    fn apply_hints(&mut self, are_all_due: bool) -> Result<(), String> {
        if std::mem::replace(&mut self.is_applying, true) {
            // What a hint makes the server reply comes before the next hint.
            return Ok(());
        }
        let result = self.apply_each_hint(are_all_due);
        self.is_applying = false;
        result
    }

    fn apply_each_hint(&mut self, are_all_due: bool) -> Result<(), String> {
        while let Some(Hinted { inputs, records, hint }) = self.hints.front() {
            if !are_all_due && (*inputs > self.inputs || *records > self.records) {
                return Ok(());
            }
            match hint.clone() {
                Hint::Rolled(name) => {
                    if let Some(room) = self.room_named(&name) {
                        self.close_rolls(room);
                    }
                }
                Hint::Announced(name, bytes) => {
                    let room = self.room_named(&name);
                    let record = room.and_then(|room| self.rooms[room].announced(&bytes));
                    let (Some(room), Some(record)) = (room, record) else {
                        let text = bytes.escape_ascii();
                        return Err(format!("I2: \"{text}\" is announced in room {name}, and was not due"));
                    };
                    self.append(room, record);
                    self.last_announced = Some(room);
                }
                Hint::NotSkipped => {
                    if let Some(room) = self.last_announced {
                        self.rooms[room].is_for_all();
                    }
                }
                Hint::Forgot(name) => {
                    let Some(room) = self.room_named(&name) else {
                        return Err(format!("I12: room {name} is forgotten, and there was none"));
                    };
                    if self.rooms[room].readers > 0 {
                        return Ok(());
                    }
                    self.rooms[room].exists = false;
                }
                Hint::Unrolled(name) => {
                    let Some(room) = self.room_named(&name) else {
                        return Err(format!("I12: room {name} is empty, and there was none"));
                    };
                    if self.rooms[room].readers > 0 {
                        return Ok(());
                    }
                    self.rooms[room].drop_rolls();
                }
                Hint::Arrived(id) => self.arrive(id)?,
                Hint::Left(id, Reason::TooSlow) => self.close_slow(id)?,
                Hint::Dropped(id) => {
                    self.drop_logs(id);
                    self.tell(id, "you read too slowly: the rest of what was said is dropped (--slow)");
                }
                Hint::Left(id, Reason::Idle) => {
                    let idle = self.config.idle_max.unwrap_or_default().as_secs();
                    let text = if idle < 60 { format!("{idle} s") } else { format!("{} min", idle / 60) };
                    self.part_with(id, &format!("you said nothing for {text}: closing"), true);
                }
                _ => return Ok(()),
            }
            self.hints.pop_front();
        }
        Ok(())
    }

    pub(super) fn close_slow(&mut self, id: ConnectionId) -> Result<(), String> {
        if self.config.slow == SlowPolicy::Skip {
            return Err(format!("I1: client {} is closed as too slow, which is not the policy", id.serial()));
        }
        self.drop_logs(id);
        self.part_with(id, "you read too slowly: closing (--slow)", false);
        Ok(())
    }

    /// Nobody waits for what this one has not read.
    pub(super) fn drop_logs(&mut self, id: ConnectionId) {
        for reader in self.members.get_mut(&id).into_iter().flat_map(|member| &mut member.readers) {
            reader.drop_logs();
        }
    }
}
