//! Figures of a program, for people and machines that watch it: what each is called, what it says, its value.
//!
//! They are numbers under fixed names, never text that came from a peer; a label has a fixed set of values,
//! all of which are there from the start. So the figures are as many on a busy day as on the first.

use std::time::Duration;

use crate::engine::{Shortage, TurnReport};
use crate::limits;

/// A program that can be watched.
pub trait Measured {
    /// All of its figures, always the same ones in the same order. It may cost a look at each connection.
    fn metrics(&self) -> Vec<Metric>;
}

/// A figure, or a family of figures that differ by a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// What it is called: words in lower case, the unit last.
    pub name: &'static str,
    /// What it says, in a line.
    pub help: &'static str,
    /// How much.
    pub value: Value,
}

/// How much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// How often something happened since the start.
    Counter(u64),
    /// The same for each value of a label.
    Counters(&'static str, Vec<(&'static str, u64)>),
    /// How much there is now.
    Gauge(u64),
    /// How long.
    Seconds(Duration),
    /// How often something took how long.
    Histogram {
        /// The longest time that each count is about, in rising order.
        bounds: &'static [Duration],
        /// How often it took no longer than the bound, but longer than the one before; the last one is
        /// about all that took longer still.
        counts: Vec<u64>,
        /// How long all of it took.
        sum: Duration,
    },
    /// What the program is: the value of a label.
    Info(&'static str, &'static str),
}

impl Metric {
    /// How often something happened since the start.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, count: u64) -> Self {
        Metric { name, help, value: Value::Counter(count) }
    }

    /// How much there is now.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, amount: u64) -> Self {
        Metric { name, help, value: Value::Gauge(amount) }
    }
}

/// What the turns of a loop did until now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    /// How long they took in all.
    took_ns: u64,
    /// How long the longest took.
    longest_ns: u64,
    /// Events that the polls told.
    pub events: u64,
    /// Newcomers taken from the listeners.
    pub accepts: u64,
    /// Newcomers that could not be taken, for want of each [`Shortage`].
    pub shortages: [u64; Shortage::ALL.len()],
    /// Reads and datagrams received.
    pub reads: u64,
    /// Writes and datagrams sent.
    pub writes: u64,
    /// Writes that met a full socket.
    pub blocked_writes: u64,
    by_bound: [u64; BOUNDS.len() + 1],
}

// As the help text says.
const _: () = assert!(limits::SLOW_TURN.as_millis() == 50);

/// Of the histogram of turns.
const BOUNDS: [Duration; 7] = [
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    limits::SLOW_TURN,
    Duration::from_millis(250),
    Duration::from_secs(1),
];

/// The first count of turns that took longer than [`limits::SLOW_TURN`].
const SLOW_AT: usize = 5;

impl Turns {
    /// Counts another turn.
    pub fn add(&mut self, report: &TurnReport) {
        self.took_ns = self.took_ns.saturating_add(report.took_ns);
        self.longest_ns = self.longest_ns.max(report.took_ns);
        self.events += report.events as u64;
        self.accepts += report.accepts as u64;
        for (sum, shortages) in self.shortages.iter_mut().zip(report.shortages) {
            *sum += shortages as u64;
        }
        self.reads += report.reads as u64;
        self.writes += report.writes as u64;
        self.blocked_writes += report.blocked_writes as u64;
        // Nearly all turns are in the first.
        let keeps = |bound: &Duration| u128::from(report.took_ns) <= bound.as_nanos();
        let index = BOUNDS.iter().position(keeps).unwrap_or(BOUNDS.len());
        self.by_bound[index] += 1;
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.by_bound.iter().sum()
    }

    /// Those that took longer than [`limits::SLOW_TURN`].
    #[must_use]
    pub fn slow(&self) -> u64 {
        self.by_bound[SLOW_AT..].iter().sum()
    }

    /// How long the longest took.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns)
    }

    /// All of it.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let counter = Metric::counter;
        let shortages = Shortage::ALL.iter().map(|shortage| shortage.name()).zip(self.shortages);
        vec![
            counter("turns_total", "Turns of the loop.", self.count()),
            Metric {
                name: "turn_seconds",
                help: "How long turns of the loop took, from the end of the poll.",
                value: Value::Histogram {
                    bounds: &BOUNDS,
                    counts: self.by_bound.to_vec(),
                    sum: Duration::from_nanos(self.took_ns),
                },
            },
            Metric {
                name: "turn_longest_seconds",
                help: "How long the longest turn since the start took.",
                value: Value::Seconds(self.longest()),
            },
            counter("slow_turns_total", "Turns longer than 50 ms: the log tells what they did.", self.slow()),
            counter("events_total", "Events that the polls of the loop told.", self.events),
            counter(
                "accepts_total",
                "Newcomers taken from all listeners, also to ask for this.",
                self.accepts,
            ),
            Metric {
                name: "accept_shortages_total",
                help: "How often newcomers had to wait, by what the system had too little of.",
                value: Value::Counters("of", shortages.collect()),
            },
            counter("reads_total", "Reads from all connections, also those that found nothing.", self.reads),
            counter("writes_total", "Writes to all connections.", self.writes),
            counter("blocked_writes_total", "Writes that met a full socket.", self.blocked_writes),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_counted_once_at_the_bound_that_it_kept() {
        let mut turns = Turns::default();
        for took in [Duration::ZERO, BOUNDS[0], BOUNDS[0] + Duration::from_nanos(1), BOUNDS[4], BOUNDS[6] * 2]
        {
            let took_ns = u64::try_from(took.as_nanos()).expect("not that long");
            turns.add(&TurnReport { took_ns, reads: 2, ..TurnReport::default() });
        }
        assert_eq!(turns.by_bound, [2, 1, 0, 0, 1, 0, 0, 1]);
        assert_eq!((turns.count(), turns.slow(), turns.reads, turns.longest()), (5, 1, 10, BOUNDS[6] * 2));
        let sum = 2 * BOUNDS[0] + Duration::from_nanos(1) + BOUNDS[4] + 2 * BOUNDS[6];
        assert_eq!(Duration::from_nanos(turns.took_ns), sum);
        assert_eq!(BOUNDS[SLOW_AT - 1], limits::SLOW_TURN);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn names_are_words_in_lower_case_and_say_what_counts() {
        for Metric { name, help, value } in Turns::default().metrics() {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), matches!(value, Value::Counter(_) | Value::Counters(..)));
            assert!(help.ends_with('.') && !help.contains(['\\', '\n']), "{help}");
        }
    }
}
