//! The whole core, the production loop and the production chat, in simulation.

use onepoll::simulation::plan::Plan;
use onepoll::simulation::run;

/// The input is a seed and changes to its plan: limits, faults, people, and how long. All invariants hold.
pub fn core(input: &[u8]) {
    let plan = Plan::from_bytes(input);
    if run(&plan, false).failure.is_some() {
        let failure = run(&plan, true).failure.expect("the same plan is the same run");
        panic!("{plan:#?}\n{failure}");
    }
}
