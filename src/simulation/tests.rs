//! Seeds: those that failed once, many others, and those that find each sabotage. The others follow from the
//! commit, so that the tests of each try other ones, and the tests of one the same ones again.
//!
//! `ONEPOLL_SIM_SEEDS=100000 ONEPOLL_SIM_BASE=0x7000 cargo test --profile simulation --lib simulation` runs more
//! and other ones, and `ONEPOLL_SIM_SEED=0x1f cargo test --lib simulation::tests::one_seed -- --nocapture` one
//! again, in words.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::plan::{Fault, Plan};
use super::random::Random;
use super::{Outcome, isolation, run, shrink, tell};
use crate::sabotage::{self, Sabotage};

/// Seeds that failed once: one in a line, in hexadecimal, with what was wrong.
const CORPUS: &str = include_str!("seeds.txt");

/// Seeds of a run of the tests.
const SEEDS: u64 = 2000;

/// Within how many seeds each sabotage must be found.
const SABOTAGE_SEEDS_MAX: u64 = 5000;

/// Seeds that failed, after which no more are tried.
const FAILED_MAX: usize = 20;

pub(super) fn seed_of(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a seed is a number in hexadecimal")
}

/// The seeds of a corpus.
pub(super) fn seeds_of(corpus: &str) -> impl Iterator<Item = u64> {
    let lines = corpus.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| seed_of(line.split_whitespace().next().unwrap_or_default()))
}

/// The first of the seeds: others for each commit, and for a commit the same, or those that are asked for.
pub(super) fn base() -> u64 {
    if let Ok(base) = std::env::var("ONEPOLL_SIM_BASE") {
        return seed_of(&base);
    }
    let git = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"]).output();
    let commit = git.ok().filter(|output| output.status.success());
    let commit = commit.and_then(|output| String::from_utf8(output.stdout).ok());
    if let Some(base) = commit.and_then(|commit| u64::from_str_radix(commit.get(..16)?, 16).ok()) {
        return base;
    }
    eprintln!("no commit is known here: the seeds are the same as always, from 0x1 on");
    1
}

/// How many seeds to run, of which `usual` are enough for a run of the tests.
pub(super) fn count(usual: u64) -> u64 {
    let count = std::env::var("ONEPOLL_SIM_SEEDS").ok();
    count.map_or(usual, |text| text.parse().expect("ONEPOLL_SIM_SEEDS is a number"))
}

/// A simulation, for its tests.
#[derive(Clone, Copy)]
pub(super) struct Simulation {
    /// What became of a seed, and the last events in words where that is asked for.
    pub(super) run: fn(u64, bool) -> Outcome,
    /// What became of a seed, in words.
    pub(super) tell: fn(u64) -> String,
    /// The module of its tests.
    pub(super) tests: &'static str,
}

const OF_CHAT: Simulation =
    Simulation { run: |seed, in_words| run(&Plan::draw(seed), in_words), tell, tests: "simulation::tests" };

impl Simulation {
    /// Runs the seeds of a corpus.
    pub(super) fn hold_corpus(&self, corpus: &str) {
        let mut tally = Tally::default();
        seeds_of(corpus).for_each(|seed| tally.add(seed, (self.run)(seed, false)));
        self.conclude(&tally);
    }

    /// Runs so many seeds, two at a time; where some fail, the test fails, and tells of the first in words.
    pub(super) fn hold_all(self, base: u64, count: u64) -> Tally {
        let began = Instant::now();
        let halves: Vec<_> = (0..2)
            .map(|half| {
                std::thread::spawn(move || {
                    let mut tally = Tally::default();
                    for seed in (half..count).step_by(2).map(|n| base.wrapping_add(n)) {
                        if tally.failed.len() < FAILED_MAX {
                            let began = Instant::now();
                            tally.add(seed, (self.run)(seed, false));
                            tally.slowest = tally.slowest.max((began.elapsed(), seed));
                        }
                    }
                    tally
                })
            })
            .collect();
        let mut all = Tally::default();
        for half in halves {
            all.add_all(half.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        eprintln!("seeds from {base:#x}, in {:.1?}: {all}", began.elapsed());
        self.conclude(&all);
        all
    }

    /// Runs some seeds twice: each is the same run again, and when it is told.
    pub(super) fn hold_twice(&self) {
        let base = base();
        for seed in (0..40).map(|n| base.wrapping_add(n * 7919)) {
            let (once, again) = ((self.run)(seed, false), (self.run)(seed, true));
            assert_eq!((once.hash, once.turns), (again.hash, again.turns), "seed {seed:#x}");
        }
    }

    /// Tells of the seed that is asked for, if one is.
    pub(super) fn tell_one(&self) {
        if let Ok(seed) = std::env::var("ONEPOLL_SIM_SEED") {
            let told = (self.tell)(seed_of(&seed));
            eprintln!("{told}");
            assert!(told.contains("all holds"), "it failed");
        }
    }

    /// The first seed that shows the defect, and as what.
    fn found(&self, defect: Sabotage) -> Option<(u64, String)> {
        (0..SABOTAGE_SEEDS_MAX).find_map(|seed| {
            let outcome = sabotage::with(defect, || (self.run)(seed, false));
            Some((seed, outcome.failure?.what))
        })
    }

    /// Each of these defects fails some seed.
    pub(super) fn find_all(self, defects: &'static [Sabotage]) {
        silence_panics_of_sabotages();
        let half = |half: usize| {
            std::thread::spawn(move || -> Vec<_> {
                let defects = defects.iter().skip(half).step_by(2);
                defects.map(|defect| (defect, self.found(*defect))).collect()
            })
        };
        let halves = [half(0), half(1)];
        let found = halves.into_iter().flat_map(|half| half.join().expect("what is found is no panic here"));
        let found: Vec<_> = found.collect();
        let mut missed = Vec::new();
        for (defect, found) in found {
            match found {
                Some((seed, what)) => eprintln!("{defect:?}: seed {seed}: {what}"),
                None => missed.push(defect),
            }
        }
        assert!(missed.is_empty(), "not found in {SABOTAGE_SEEDS_MAX} seeds: {missed:?}");
    }

    fn conclude(&self, tally: &Tally) {
        if let [first, others @ ..] = &tally.failed[..] {
            let others: Vec<String> = others.iter().map(|seed| format!("{seed:#x}")).collect();
            panic!(
                "{}\nagain: ONEPOLL_SIM_SEED={first:#x} cargo test --lib {}::one_seed -- --nocapture\nfailed too: {others:?}",
                (self.tell)(*first),
                self.tests
            );
        }
    }
}

/// What came of many seeds.
#[derive(Default)]
pub(super) struct Tally {
    seeds: u64,
    turns: u64,
    /// What happened, how often, and in how many seeds.
    pub(super) sometimes: BTreeMap<&'static str, (u64, u64)>,
    failed: Vec<u64>,
    slowest: (Duration, u64),
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.turns += outcome.turns;
        for (what, times) in outcome.sometimes {
            let sum = self.sometimes.entry(what).or_default();
            *sum = (sum.0 + times, sum.1 + 1);
        }
        if let Some(failure) = outcome.failure {
            eprintln!("seed {seed:#x} fails in turn {}: {}", failure.turn, failure.what);
            self.failed.push(seed);
        }
    }

    fn add_all(&mut self, other: Tally) {
        self.seeds += other.seeds;
        self.turns += other.turns;
        for (what, (times, seeds)) in other.sometimes {
            let sum = self.sometimes.entry(what).or_default();
            *sum = (sum.0 + times, sum.1 + seeds);
        }
        self.failed.extend(other.failed);
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seeds, {} failed, {} turns", self.seeds, self.failed.len(), self.turns)?;
        write!(f, "; the slowest was {:#x}, {:.1?}", self.slowest.1, self.slowest.0)?;
        for (what, (times, seeds)) in &self.sometimes {
            write!(f, "\n  {what}: {times} times, in {seeds} seeds")?;
        }
        Ok(())
    }
}

#[test]
fn seeds_that_failed_once_hold() {
    OF_CHAT.hold_corpus(CORPUS);
}

#[test]
fn seeds_hold_and_everything_happens_sometimes() {
    let count = count(SEEDS);
    let Tally { sometimes, .. } = OF_CHAT.hold_all(base(), count);
    if count >= SEEDS {
        // A fault that never strikes, or a close that never comes, would prove nothing.
        let faults = Fault::ALL.iter().map(|fault| fault.name());
        for what in faults.chain(MUST_HAPPEN) {
            assert!(sometimes.contains_key(what), "never in {count} seeds: {what}");
        }
    }
}

const MUST_HAPPEN: [&str; 17] = [
    "closed: quit",
    "closed: end of input",
    "closed: reset",
    "closed: kicked",
    "closed: idle",
    "closed: too slow",
    "closed: wrong protocol",
    "closed: server closing",
    "closed: linger expired",
    "closed: system error",
    "refused: server full",
    "refused: address full",
    "refused: address busy",
    "turned away on the reserve",
    "ended: done",
    "ended: overdue",
    "signal",
];

/// What libFuzzer found, and some plans of any bytes; `tests/fuzz/targets/core.rs` is the same for libFuzzer.
#[test]
fn plans_out_of_bytes_hold() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/core");
    let entries = std::fs::read_dir(corpus).expect("the corpus is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let mut inputs: Vec<Vec<u8>> =
        paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect();
    let mut random = Random::new(base(), "bytes", 0);
    inputs.extend((0..count(SEEDS / 10)).map(|_| {
        let length = random.log_between(8, 120);
        (0..length).map(|_| random.draw() as u8).collect()
    }));
    for input in inputs {
        let plan = Plan::from_bytes(&input);
        if let Some(silent) = run(&plan, false).failure {
            // Once more with its trace, which must end in the same.
            let told = run(&plan, true)
                .failure
                .map_or_else(|| format!("not found again: {silent}"), |failure| failure.to_string());
            panic!("bytes {input:?}: {plan:#?}\n{told}");
        }
    }
}

#[test]
fn one_who_misbehaves_changes_nothing_for_the_others() {
    let base = base();
    for seed in (0..count(SEEDS) / 100).map(|n| base.wrapping_add(n * 104_729)) {
        if let Err(what) = isolation::check(seed) {
            panic!("seed {seed:#x}: {what}");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    OF_CHAT.hold_twice();
}

#[test]
fn one_seed() {
    OF_CHAT.tell_one();
}

/// A defect may be found by a panic, which is told as what was found. There is one hook for the tests of all
/// threads, so it is never taken back, and every other panic is told as ever.
fn silence_panics_of_sabotages() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !sabotage::is_any_on() {
                tell(panic);
            }
        }));
    });
}

#[test]
fn every_sabotage_is_found() {
    OF_CHAT.find_all(&Sabotage::ALL);
}

#[test]
fn a_failure_is_shrunk_to_what_it_needs() {
    silence_panics_of_sabotages();
    let (seed, what) = OF_CHAT.found(Sabotage::ForgetAcceptRetry).expect("it is found");
    let plan = Plan::draw(seed);
    let invariant = what.split(':').next().expect("it has a number").to_string();
    let (shrunk, failure) = sabotage::with(Sabotage::ForgetAcceptRetry, || {
        let shrunk = shrink(&plan, &invariant);
        let failure = run(&shrunk, true).failure;
        (shrunk, failure)
    });
    let failure = failure.expect("it fails still");
    assert_eq!(failure.invariant(), invariant);
    assert!(failure.events.contains("accept"), "{failure}");
    let people = |plan: &Plan| plan.people.iter().flatten().count();
    assert!(people(&shrunk) < people(&plan) && shrunk.steps < plan.steps, "{shrunk:?}");
}
