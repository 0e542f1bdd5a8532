//! Seeds of transfers: those that failed once, many others, and those that find each sabotage of the receiver.
//!
//! `ONEPOLL_SIM_SEEDS=100000 cargo test --profile simulation --lib simulation::transfers` runs more seeds,
//! and `ONEPOLL_SIM_SEED=0x1f cargo test --lib simulation::transfers::tests::one_seed -- --nocapture` one again,
//! in words.

use super::super::tests::{Simulation, Tally, base, count};
use super::plan::{DiskFault, Plan};
use super::senders::FAILURES;
use super::{run, tell};
use crate::sabotage::Sabotage;

/// Seeds that failed once: one in a line, in hexadecimal, with what was wrong.
const CORPUS: &str = include_str!("seeds.txt");

/// Further seeds of a run of the tests.
const SEEDS: u64 = 400;

/// The first seeds of all, which show that everything happens sometimes, whatever the others are.
const FIRST_SEEDS: u64 = 400;

const OF_TRANSFERS: Simulation = Simulation {
    run: |seed, in_words| run(&Plan::draw(seed), in_words),
    tell,
    tests: "simulation::transfers::tests",
};

#[test]
fn seeds_of_transfers_that_failed_once_hold() {
    OF_TRANSFERS.hold_corpus(CORPUS);
}

#[test]
fn seeds_of_transfers_hold() {
    // Behind the first ones, which have a test of their own.
    let Tally { sometimes, .. } = OF_TRANSFERS.hold_all(base().wrapping_add(FIRST_SEEDS), count(SEEDS));
    assert!(!sometimes.contains_key("failed: otherwise"), "somebody failed for a reason of no name");
}

#[test]
fn everything_happens_sometimes_to_a_transfer() {
    let Tally { sometimes, .. } = OF_TRANSFERS.hold_all(0, FIRST_SEEDS);
    // A fault that never strikes, or an answer that nobody gets, would prove nothing.
    let faults = DiskFault::ALL.iter().map(|fault| fault.name());
    let failures = FAILURES.iter().map(|(_, name)| *name);
    for what in faults.chain(failures).chain(MUST_HAPPEN) {
        assert!(sometimes.contains_key(what), "never in {FIRST_SEEDS} seeds: {what}");
    }
}

const MUST_HAPPEN: [&str; 16] = [
    "answer: done",
    "answer: done, an empty file",
    "answer: done, under another name",
    "answer: done, and nothing continued",
    "answer: nothing is there",
    "answer: something is there",
    "answer: its hash",
    "disk: a part is held",
    "disk: no room for a write",
    "visible: in place of another",
    "visible: under a number",
    "once: received",
    "once: failed",
    "ended: done",
    "ended: overdue",
    "signal",
];

#[test]
fn the_same_seed_is_the_same_run_of_transfers() {
    OF_TRANSFERS.hold_twice();
}

#[test]
fn one_seed() {
    OF_TRANSFERS.tell_one();
}

#[test]
fn every_sabotage_of_the_receiver_is_found() {
    OF_TRANSFERS.find_all(&Sabotage::OF_RECEIVER);
}
