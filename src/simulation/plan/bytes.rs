//! Plans out of bytes, for a fuzzer: the first eight are a seed, and each four behind them change one thing of its
//! plan. So every input is a plan, a byte more or less changes little, and a seed is an input of eight bytes.

use std::time::Duration;

use super::{Character, Fault, Habit, Plan, Reading};
use crate::chat::config::{Format, Rate, SlowPolicy, Unnamed};
use crate::limits;

/// Bytes of the seed.
const SEED_BYTES: usize = 8;

/// Bytes of a change: what, which of them, and a number, little-endian.
const CHANGE_BYTES: usize = 4;

/// As many people as a seed has at most, and one more.
const PEOPLE_MAX: usize = 8;

/// As many steps as a seed has at most, and some more.
const STEPS_MAX: u16 = 600;

impl Plan {
    /// The plan of these bytes; those that are missing are 0.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (seed, changes) = bytes.split_at(bytes.len().min(SEED_BYTES));
        let mut seed_bytes = [0; SEED_BYTES];
        seed_bytes[..seed.len()].copy_from_slice(seed);
        let mut plan = Plan::draw(u64::from_le_bytes(seed_bytes));
        for change in changes.as_chunks::<CHANGE_BYTES>().0 {
            let [what, which, low, high] = *change;
            plan.change(what, usize::from(which), u16::from_le_bytes([low, high]));
        }
        plan.make_possible();
        plan
    }

    fn change(&mut self, what: u8, which: usize, number: u16) {
        match what % 8 {
            0 => self.faults.0[which % Fault::ALL.len()] = u32::from(number % 1000),
            1 => self.change_person(which, number),
            2 => {
                let person = which % PEOPLE_MAX;
                if person < self.people.len() {
                    self.people[person] = None;
                }
            }
            3 => self.steps = u32::from(number % STEPS_MAX),
            4 => self.signal_at = (number > 0).then_some(u32::from(number % STEPS_MAX)),
            5 => self.change_limit(which, number),
            6 => self.change_budget(which, usize::from(number)),
            _ => self.change_choice(which, number),
        }
    }

    /// Somebody who was there, or comes in addition.
    fn change_person(&mut self, which: usize, number: u16) {
        let [habit, rest] = number.to_le_bytes();
        let reading = [Reading::Eager, Reading::Bursts, Reading::Drip, Reading::Stalled];
        let character = Character {
            habit: Habit::ALL[usize::from(habit) % Habit::ALL.len()],
            reading: reading[usize::from(rest) % 4],
            pace_ms: 1 << (rest >> 4),
            address: rest / 4 % 5,
        };
        match self.people.get_mut(which % PEOPLE_MAX) {
            Some(person) => *person = Some(character),
            None => self.people.push(Some(character)),
        }
    }

    /// The sizes of the configuration, of at most as much as a run can fill.
    fn change_limit(&mut self, which: usize, number: u16) {
        let number = usize::from(number);
        let config = &mut self.config;
        match which % 9 {
            0 => config.line_bytes_max = number % 600,
            1 => config.log_bytes_max = number,
            2 => config.clients_max = number % 16,
            3 => config.clients_per_ip_max = number % 8,
            4 => config.rooms_max = number % 8,
            5 => config.rooms_per_client_max = number % 8,
            6 => config.private_bytes_max = number,
            7 => config.notice_members_max = number % 16,
            _ => config.history_messages = number as u64 % 64,
        }
    }

    fn change_budget(&mut self, which: usize, number: usize) {
        let budgets = &mut self.budgets;
        match which % 6 {
            0 => budgets.accepts = 1 + number % 64,
            1 => budgets.connection_reads = 1 + number % 8,
            2 => budgets.reads = 1 + number % 64,
            3 => budgets.read_bytes = 1 + number % 4096,
            // What is told to newcomers is written, too.
            4 => budgets.flushes = 2 + number % 64,
            _ => budgets.connection_writes = 1 + number % 16,
        }
    }

    fn change_choice(&mut self, which: usize, number: u16) {
        let time = Duration::from_millis(u64::from(number));
        let config = &mut self.config;
        match which % 11 {
            0 => {
                let formats = [Format::Line, Format::Classic, Format::Raw, Format::Ack];
                config.format = formats[usize::from(number) % 4];
            }
            1 => {
                config.slow = match number % 3 {
                    0 => SlowPolicy::Close,
                    1 => SlowPolicy::Wait(Duration::from_millis(u64::from(number / 3).max(1))),
                    _ => SlowPolicy::Skip,
                }
            }
            2 => {
                let [lines_per_second, burst_lines] = number.to_le_bytes().map(u32::from);
                let is_limited = lines_per_second > 0 && burst_lines > 0;
                config.rate = is_limited.then_some(Rate { lines_per_second, burst_lines });
            }
            3 => config.idle_max = (number > 0).then_some(time),
            4 => config.coalesce = time / 64,
            5 => config.drain = time,
            6 => self.linger = time,
            7 => self.has_operator = number % 2 == 1,
            8 => config.motd = "be kind\n".repeat(usize::from(number % 4)),
            9 => (config.echo, config.plain) = (number % 2 == 1, number / 2 % 2 == 1),
            _ => {
                (config.notices, config.console_prompt) = (number % 2 == 1, number / 2 % 2 == 1);
                let is_guest = number / 4 % 2 == 1;
                config.unnamed = if is_guest { Unnamed::Guest } else { Unnamed::Address };
            }
        }
    }

    /// What the checks of an operator's choice see to, and whoever draws a plan.
    fn make_possible(&mut self) {
        let config = &mut self.config;
        config.line_bytes_max = config.line_bytes_max.max(8);
        let record_bytes_max = match config.format {
            Format::Raw => config.line_bytes_max + 1,
            _ => limits::record_bytes_max(config.line_bytes_max),
        };
        config.log_bytes_max = config.log_bytes_max.max(record_bytes_max).max(64);
        config.clients_max = config.clients_max.max(1);
        config.clients_per_ip_max = config.clients_per_ip_max.max(1);
        config.rooms_max = config.rooms_max.max(1);
        config.rooms_per_client_max = config.rooms_per_client_max.max(1);
        config.private_bytes_max = config.private_bytes_max.max(256);
        config.notice_members_max = config.notice_members_max.max(1);
        config.idle_max = config.idle_max.map(|idle| idle.max(Duration::from_millis(500)));
        config.drain = config.drain.max(Duration::from_millis(50));
        self.linger = self.linger.max(Duration::from_millis(100));
    }
}
