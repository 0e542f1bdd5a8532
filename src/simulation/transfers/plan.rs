//! What a run of transfers consists of, all of it drawn from one seed: what the operator chose, the faults of
//! the network and of the disk, the senders, and how long.

use std::time::Duration;

use super::super::plan::{Fault, Faults, Reading, draw_budgets};
use super::super::random::Random;
use crate::event_loop::{Budgets, Linger};
use crate::servers::receive::Settings;
use crate::servers::receive::folder::Conflict;

/// What can go wrong with a disk. Each run has some of it, each at a rate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskFault {
    /// It fills up: it was small, or others write to it.
    Full,
    /// A write takes less than was offered, a read gives less than is there.
    Short,
    /// Reading or writing fails (`EIO`).
    Broken,
    /// `EINTR`.
    Interrupts,
    /// A write takes nothing, and does not say why.
    TakesNothing,
    /// No file can be created, or taken up again.
    NotCreated,
    /// No file can be given its name.
    NotPublished,
    /// A file cannot be made empty.
    NotCleared,
    /// What is free cannot be seen.
    FreeUnknown,
    /// A call takes up to a second.
    Slow,
}

impl DiskFault {
    /// All of them.
    pub const ALL: [DiskFault; 10] = [
        DiskFault::Full,
        DiskFault::Short,
        DiskFault::Broken,
        DiskFault::Interrupts,
        DiskFault::TakesNothing,
        DiskFault::NotCreated,
        DiskFault::NotPublished,
        DiskFault::NotCleared,
        DiskFault::FreeUnknown,
        DiskFault::Slow,
    ];

    /// Its name among what happened sometimes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DiskFault::Full => "disk: full",
            DiskFault::Short => "disk: short",
            DiskFault::Broken => "disk: broken",
            DiskFault::Interrupts => "disk: interrupts",
            DiskFault::TakesNothing => "disk: takes nothing",
            DiskFault::NotCreated => "disk: not created",
            DiskFault::NotPublished => "disk: not published",
            DiskFault::NotCleared => "disk: not cleared",
            DiskFault::FreeUnknown => "disk: free unknown",
            DiskFault::Slow => "disk: slow",
        }
    }
}

/// How often each fault of the disk strikes, in a thousand occasions; 0: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFaults([u32; DiskFault::ALL.len()]);

impl DiskFaults {
    fn draw(random: &mut Random) -> Self {
        let mut faults = DiskFaults::default();
        let share = *random.pick(&[0, 300, 600]);
        for rate in &mut faults.0 {
            if random.chance(share) {
                *rate = random.log_between(10, 500) as u32;
            }
        }
        faults
    }

    /// How often it strikes.
    #[must_use]
    pub fn rate(&self, fault: DiskFault) -> u32 {
        self.0[fault as usize]
    }

    fn without(mut self, fault: DiskFault) -> Self {
        self.0[fault as usize] = 0;
        self
    }
}

/// What a sender is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Character {
    /// Of its transfers, how many in a thousand are as they should be.
    pub honesty: u32,
    /// How it reads answers.
    pub reading: Reading,
    /// Whether it sends next to nothing at a time.
    pub drips: bool,
    /// Milliseconds between what it does, about.
    pub pace_ms: u64,
    /// Where it comes from: one of a few addresses, or a Unix socket.
    pub address: u8,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything below, and everything that happens, is drawn from.
    pub seed: u64,
    /// What goes wrong below the loop.
    pub faults: Faults,
    /// What goes wrong on the disk.
    pub disk_faults: DiskFaults,
    /// Bytes that the disk has room for, before everything calms down.
    pub disk_bytes: u64,
    /// Those who were taken out of a plan are `None`.
    pub senders: Vec<Option<Character>>,
    /// Of all transfers, how many in a thousand try to get one of a few long files through, which are to be
    /// continued where they broke off.
    pub resumes: u32,
    /// Bytes of the longest file that is sent.
    pub file_bytes_max: u64,
    /// Things that senders do, in all, before everything calms down.
    pub steps: u32,
    /// After how many of them the operator's signal ends the server.
    pub signal_at: Option<u32>,
    /// What the operator chose.
    pub settings: Settings,
    /// How long a close waits for who takes nothing.
    pub linger: Duration,
    /// How much a turn does.
    pub budgets: Budgets,
}

/// Bytes of the longest file of all runs: two that are worth continuing, and more.
const FILE_BYTES_MAX: u64 = 180_000;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, "transfers", 0);
        let faults = Faults::draw(&mut Random::new(seed, "faults", 0));
        let disk = &mut Random::new(seed, "disk faults", 0);
        let disk_faults = DiskFaults::draw(disk);
        let is_small = random.chance(disk_faults.rate(DiskFault::Full).saturating_mul(3));
        let disk_bytes = if is_small { disk.log_between(1000, 2 * FILE_BYTES_MAX) } else { 1 << 40 };
        let budgets = draw_budgets(&mut Random::new(seed, "budgets", 0), 16..=64 * 1024);
        let resumes = *random.pick(&[0, 0, 100, 900]);
        // Long files take many steps.
        let is_long = resumes == 900;
        let pace_max_ms = if is_long { 50 } else { 2000 };
        let senders =
            (0..random.between(1, 6)).map(|_| Some(draw_character(&mut random, pace_max_ms))).collect();
        let file_bytes_max = FILE_BYTES_MAX.min(budgets.read_bytes as u64 * 200);
        let steps = if is_long { random.between(200, 1500) } else { random.log_between(20, 400) } as u32;
        let signal_at = random.chance(300).then(|| random.below(u64::from(steps)) as u32);
        let linger = Duration::from_millis(random.log_between(100, 10_000));
        let settings = draw_settings(&mut Random::new(seed, "settings", 0));
        Plan {
            seed,
            faults,
            disk_faults,
            disk_bytes,
            senders,
            resumes,
            file_bytes_max,
            steps,
            signal_at,
            settings,
            linger,
            budgets,
        }
    }

    /// How closes wait.
    #[must_use]
    pub fn linger(&self) -> Linger {
        Linger::Stalled(self.linger)
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
        for index in (0..self.senders.len()).filter(|index| self.senders[*index].is_some()) {
            let mut plan = self.clone();
            plan.senders[index] = None;
            plans.push(plan);
        }
        for fault in Fault::ALL.into_iter().filter(|fault| self.faults.rate(*fault) > 0) {
            plans.push(Plan { faults: self.faults.without(fault), ..self.clone() });
        }
        for fault in DiskFault::ALL.into_iter().filter(|fault| self.disk_faults.rate(*fault) > 0) {
            plans.push(Plan { disk_faults: self.disk_faults.without(fault), ..self.clone() });
        }
        if self.signal_at.is_some() {
            plans.push(Plan { signal_at: None, ..self.clone() });
        }
        plans
    }
}

fn draw_character(random: &mut Random, pace_max_ms: u64) -> Character {
    Character {
        honesty: *random.pick(&[0, 300, 700, 1000]),
        reading: match random.below(10) {
            0..7 => Reading::Eager,
            7 => Reading::Bursts,
            8 => Reading::Drip,
            _ => Reading::Stalled,
        },
        drips: random.chance(100),
        pace_ms: random.log_between(1, pace_max_ms),
        address: random.below(5) as u8,
    }
}

fn draw_settings(random: &mut Random) -> Settings {
    let settings = Settings {
        on_conflict: *random.pick(&[Conflict::Rename, Conflict::Refuse, Conflict::Overwrite]),
        file_bytes_max: random.chance(300).then(|| random.log_between(100, FILE_BYTES_MAX)),
        transfers_max: random.between(1, 6) as usize,
        transfers_per_address_max: random.between(1, 4) as usize,
        idle: Duration::from_millis(random.log_between(100, 60_000)),
        is_once: random.chance(80),
        deadline: Duration::MAX,
        reserved_bytes: if random.chance(300) { random.log_between(1, FILE_BYTES_MAX) } else { 0 },
    };
    // Silences enough to fill it are not too many to be waited for.
    Settings { deadline: settings.idle * random.log_between(1, 50) as u32, ..settings }
}
