//! Isolation (I8): what one person does to the server changes nothing of what the others hear of each other.
//!
//! The same seed is run twice, with and without somebody who misbehaves, in a world without faults in which
//! nobody has to miss anything; each of the others must get the same messages of each other one.

use std::time::Duration;

use super::plan::{Character, Faults, Habit, Plan, Reading};
use super::random::Random;
use super::run_in;
use crate::chat::config::{Config, Format, SlowPolicy};

/// People who only talk, beside the one who misbehaves.
const STEADY: usize = 4;

/// The first thing that one person's misbehaviour changed for the others.
///
/// # Errors
/// Whose messages another one did not get as without that person; or what did not hold in either run.
pub fn check(seed: u64) -> Result<(), String> {
    let plan = plan(seed);
    let mut without = plan.clone();
    without.people[0] = None;
    let (heard_with, heard_without) = (heard(&plan)?, heard(&without)?);
    for reader in 1..=STEADY {
        for speaker in 1..=STEADY {
            let with = messages(&heard_with[reader], speaker);
            let without = messages(&heard_without[reader], speaker);
            // Who joined just before the other spoke may have joined just after.
            if !with.ends_with(&without) && !without.ends_with(&with) {
                let misbehaving = plan.people[0];
                return Err(format!(
                    "I8: {reader} heard {with:?} of {speaker} beside {misbehaving:?}, else {without:?}"
                ));
            }
        }
    }
    Ok(())
}

fn plan(seed: u64) -> Plan {
    let mut random = Random::new(seed, "isolation", 0);
    let mut plan = Plan::draw(seed);
    let misbehaving = Character {
        habit: *random.pick(&[
            Habit::Flood,
            Habit::Hopper,
            Habit::Renamer,
            Habit::Mutator,
            Habit::Garbage,
            Habit::Dripper,
            Habit::Visitor,
        ]),
        reading: *random.pick(&[Reading::Eager, Reading::Bursts, Reading::Drip, Reading::Stalled]),
        pace_ms: random.log_between(1, 20),
        address: 2,
    };
    let steady = Character { habit: Habit::Steady, reading: Reading::Eager, pace_ms: 40, address: 4 };
    plan.people = vec![Some(steady); STEADY + 1];
    plan.people[0] = Some(misbehaving);
    plan.faults = Faults::default();
    plan.has_operator = false;
    plan.signal_at = None;
    plan.steps = 40 * (STEADY as u32 + 1);
    plan.config = Config {
        format: Format::Line,
        plain: false,
        slow: SlowPolicy::Skip,
        clients_max: 10,
        clients_per_ip_max: 10,
        connect_rate: None,
        // Nobody who reads has to miss anything.
        log_bytes_max: 1 << 20,
        line_bytes_max: 200,
        idle_max: None,
        coalesce: Duration::ZERO,
        ..plan.config
    };
    plan
}

/// What each person was written.
fn heard(plan: &Plan) -> Result<Vec<Vec<u8>>, String> {
    let (outcome, network) = run_in(plan, false);
    if let Some(failure) = outcome.failure {
        return Err(failure.to_string());
    }
    let mut heard = vec![Vec::new(); plan.people.len() + 1];
    for socket in network.borrow().sockets.iter().filter_map(|socket| Some((socket.person?, &socket.written)))
    {
        heard[socket.0].extend_from_slice(socket.1);
    }
    Ok(heard)
}

/// The messages of one speaker in what somebody heard.
fn messages(heard: &[u8], speaker: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(heard);
    let begin = format!("p{speaker}m");
    let said = text.lines().filter_map(|line| line.split_once(": ")).map(|(_, said)| said);
    said.filter(|said| said.starts_with(&begin)).map(String::from).collect()
}
