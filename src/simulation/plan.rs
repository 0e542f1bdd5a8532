//! What a run consists of, all of it drawn from one seed: limits, faults, people, and how long. A plan is
//! plain data, so that one that fails can be shrunk: a fault, a person or half of the steps are taken
//! away, and if it still fails, they had no part in it.

mod bytes;

use std::time::Duration;

use jiff::tz::TimeZone;

use super::random::Random;
use crate::chat::config::{Config, ConnectRate, Format, Rate, SlowPolicy, Unnamed};
use crate::event_loop::{Budgets, Linger};
use crate::limits;

/// What can go wrong below the loop. Each run has some of them, each at a rate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A read gives less than is there; the rest arrives later.
    ShortReads,
    /// A write takes less than there is room for; room is told later.
    ShortWrites,
    /// `WouldBlock`, although there is something, or room; that is told later.
    WouldBlock,
    /// Events of what is not so.
    SpuriousEvents,
    /// Events that come some polls later.
    DelayedEvents,
    /// Events in any order.
    ShuffledEvents,
    /// Bytes on their way for up to a second.
    Latency,
    /// Newcomers who are gone before they are accepted.
    AbortedNewcomers,
    /// Accepting fails in a way that goes away with the newcomer, or is never heard of.
    AcceptErrors,
    /// Fewer descriptors than clients are allowed.
    FewDescriptors,
    /// The kernel has no buffers for a while, which no event ends.
    NoBuffers,
    /// `EINTR`, anywhere.
    Interrupts,
    /// The wall clock steps, by up to a year.
    WallSteps,
    /// The machine sleeps for seconds, in the middle of a turn or between two.
    Suspends,
    /// Sockets that hold next to nothing.
    SmallSockets,
    /// Watching a socket fails.
    UnwatchedSockets,
    /// People who are cut off: their connections are reset at any time.
    Resets,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 17] = [
        Fault::ShortReads,
        Fault::ShortWrites,
        Fault::WouldBlock,
        Fault::SpuriousEvents,
        Fault::DelayedEvents,
        Fault::ShuffledEvents,
        Fault::Latency,
        Fault::AbortedNewcomers,
        Fault::AcceptErrors,
        Fault::FewDescriptors,
        Fault::NoBuffers,
        Fault::Interrupts,
        Fault::WallSteps,
        Fault::Suspends,
        Fault::SmallSockets,
        Fault::UnwatchedSockets,
        Fault::Resets,
    ];

    /// Its name in reports, and among what happened sometimes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::ShortReads => "short reads",
            Fault::ShortWrites => "short writes",
            Fault::WouldBlock => "would block",
            Fault::SpuriousEvents => "spurious events",
            Fault::DelayedEvents => "delayed events",
            Fault::ShuffledEvents => "shuffled events",
            Fault::Latency => "latency",
            Fault::AbortedNewcomers => "aborted newcomers",
            Fault::AcceptErrors => "accept errors",
            Fault::FewDescriptors => "few descriptors",
            Fault::NoBuffers => "no buffers",
            Fault::Interrupts => "interrupts",
            Fault::WallSteps => "wall clock steps",
            Fault::Suspends => "suspends",
            Fault::SmallSockets => "small sockets",
            Fault::UnwatchedSockets => "unwatched sockets",
            Fault::Resets => "resets",
        }
    }
}

/// How often each fault strikes, in a thousand occasions; 0: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults([u32; Fault::ALL.len()]);

impl Faults {
    /// A random subset, at random rates.
    pub(super) fn draw(random: &mut Random) -> Self {
        let mut faults = Faults::default();
        // Some runs have none: what fails there is found without noise.
        let share = *random.pick(&[0, 200, 500, 800]);
        for rate in &mut faults.0 {
            if random.chance(share) {
                *rate = random.log_between(5, 500) as u32;
            }
        }
        faults
    }

    /// How often it strikes.
    #[must_use]
    pub fn rate(&self, fault: Fault) -> u32 {
        self.0[fault as usize]
    }

    /// The same without this one.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.0[fault as usize] = 0;
        self
    }
}

/// What a person is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Character {
    /// What they do.
    pub habit: Habit,
    /// How they read.
    pub reading: Reading,
    /// Milliseconds between what they do, about.
    pub pace_ms: u64,
    /// Where they come from: one of a few addresses, or a Unix socket.
    pub address: u8,
}

/// What a person does, mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Says something now and then, and tries a command.
    Chatter,
    /// Sends as much as the socket takes.
    Flood,
    /// Enters and leaves rooms.
    Hopper,
    /// Changes names.
    Renamer,
    /// Sends commands with something wrong in them.
    Mutator,
    /// Sends bytes without meaning.
    Garbage,
    /// Sends no line in one piece.
    Dripper,
    /// Connects, says a word, ends its side, and reads the rest.
    OneShot,
    /// Comes and goes.
    Visitor,
    /// Listens.
    Listener,
    /// Says something now and then, and never goes: not drawn, but for who is to be left in peace.
    Steady,
}

impl Habit {
    const ALL: [Habit; 10] = [
        Habit::Chatter,
        Habit::Flood,
        Habit::Hopper,
        Habit::Renamer,
        Habit::Mutator,
        Habit::Garbage,
        Habit::Dripper,
        Habit::OneShot,
        Habit::Visitor,
        Habit::Listener,
    ];
}

/// How a person reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All that is there.
    Eager,
    /// All that is there, after long pauses.
    Bursts,
    /// A byte at a time.
    Drip,
    /// Nothing.
    Stalled,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything below, and everything that happens, is drawn from.
    pub seed: u64,
    /// How often what goes wrong.
    pub faults: Faults,
    /// Who takes part; those who were taken out of a plan are `None`, so that the others stay who they are.
    pub people: Vec<Option<Character>>,
    /// Whether an operator sits at the console.
    pub has_operator: bool,
    /// Things that people do, in all, before everything calms down.
    pub steps: u32,
    /// After how many of them the operator's signal ends the server.
    pub signal_at: Option<u32>,
    /// What an operator can choose.
    pub config: Config,
    /// How long closes wait.
    pub linger: Duration,
    /// How much a turn does.
    pub budgets: Budgets,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, "plan", 0);
        let faults = Faults::draw(&mut Random::new(seed, "faults", 0));
        let config = draw_config(&mut Random::new(seed, "config", 0));
        let budgets = draw_budgets(&mut Random::new(seed, "budgets", 0), 1..=512);
        let people = (0..random.between(1, 7)).map(|_| Some(draw_character(&mut random))).collect();
        let steps = random.log_between(20, 400) as u32;
        let has_operator = random.chance(400);
        let signal_at = random.chance(300).then(|| random.below(u64::from(steps)) as u32);
        let linger = Duration::from_millis(random.log_between(100, 10_000));
        Plan { seed, faults, people, has_operator, steps, signal_at, config, linger, budgets }
    }

    /// How closes wait.
    #[must_use]
    pub fn linger(&self) -> Linger {
        Linger::InAll(self.linger)
    }

    /// Plans that are a little less than this one.
    #[must_use]
    pub fn smaller(&self) -> Vec<Plan> {
        let mut plans = Vec::new();
        for steps in [self.steps / 2, self.steps - self.steps / 8] {
            if steps < self.steps {
                plans.push(Plan { steps, ..self.clone() });
            }
        }
        for index in 0..self.people.len() {
            if self.people[index].is_some() {
                let mut plan = self.clone();
                plan.people[index] = None;
                plans.push(plan);
            }
        }
        for fault in Fault::ALL {
            if self.faults.rate(fault) > 0 {
                plans.push(Plan { faults: self.faults.without(fault), ..self.clone() });
            }
        }
        if self.has_operator {
            plans.push(Plan { has_operator: false, ..self.clone() });
        }
        if self.signal_at.is_some() {
            plans.push(Plan { signal_at: None, ..self.clone() });
        }
        plans
    }
}

fn draw_character(random: &mut Random) -> Character {
    let reading = match random.below(10) {
        0..6 => Reading::Eager,
        6..8 => Reading::Bursts,
        8 => Reading::Drip,
        _ => Reading::Stalled,
    };
    Character {
        habit: *random.pick(&Habit::ALL),
        reading,
        pace_ms: random.log_between(1, 5000),
        address: random.below(5) as u8,
    }
}

fn draw_config(random: &mut Random) -> Config {
    let format = *random.pick(&[Format::Line, Format::Line, Format::Classic, Format::Raw, Format::Ack]);
    let line_bytes_max = random.log_between(8, 300) as usize;
    // What the checks of an operator's choice see to: the longest record fits.
    let record_bytes_max = match format {
        Format::Raw => line_bytes_max + 1,
        _ => limits::record_bytes_max(line_bytes_max),
    };
    let log_bytes_max = random.log_between(record_bytes_max.max(64) as u64, 8192) as usize;
    let config = Config {
        format,
        unnamed: Unnamed::Address,
        echo: random.chance(750),
        plain: random.chance(100),
        notices: random.chance(800),
        notice_members_max: random.between(1, 6) as usize,
        motd: if random.chance(200) { "be kind\n".into() } else { String::new() },
        history_messages: *random.pick(&[0, 1, 3, 20]),
        slow: match random.below(5) {
            0 => SlowPolicy::Close,
            1 => SlowPolicy::Wait(Duration::from_millis(random.log_between(10, 20_000))),
            _ => SlowPolicy::Skip,
        },
        log_bytes_max,
        line_bytes_max,
        clients_max: random.between(1, 10) as usize,
        clients_per_ip_max: random.between(1, 4) as usize,
        rooms_max: random.between(1, 5) as usize,
        rooms_per_client_max: random.between(1, 4) as usize,
        private_bytes_max: random.log_between(256, 16 * 1024) as usize,
        rate: random.chance(500).then(|| Rate {
            lines_per_second: random.log_between(1, 1000) as u32,
            burst_lines: random.log_between(1, 1000) as u32,
        }),
        idle_max: random.chance(300).then(|| Duration::from_millis(random.log_between(500, 60_000))),
        coalesce: if random.chance(200) {
            Duration::from_millis(random.log_between(1, 200))
        } else {
            Duration::ZERO
        },
        drain: Duration::from_millis(random.log_between(50, 10_000)),
        time_zone: TimeZone::UTC,
        console_prompt: random.chance(500),
        connect_rate: random.chance(300).then(|| ConnectRate {
            connects_per_minute: random.log_between(1, 1000) as u32,
            burst_connects: random.log_between(1, 10) as u32,
            addresses_max: random.between(1, 3) as usize,
        }),
    };
    // Last, so that the seeds so far draw what they drew.
    Config { unnamed: if random.chance(500) { Unnamed::Guest } else { Unnamed::Address }, ..config }
}

/// Budgets, of which a read has so many bytes.
pub(super) fn draw_budgets(random: &mut Random, read_bytes: std::ops::RangeInclusive<u64>) -> Budgets {
    if random.chance(400) {
        return Budgets::default();
    }
    Budgets {
        accepts: random.log_between(1, 64) as usize,
        connection_reads: random.between(1, 4) as usize,
        reads: random.log_between(1, 64) as usize,
        read_bytes: random.log_between(*read_bytes.start(), *read_bytes.end()) as usize,
        flushes: random.log_between(2, 64) as usize,
        connection_writes: random.between(1, 16) as usize,
    }
}
