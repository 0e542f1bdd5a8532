//! Throughput: fan-out through the real loop, the log, lines in, and the course's servers.
//!
//! Timings of one machine at one time: compare only what one run measured. What must not grow is counted
//! in instructions instead, by the `gauge` beside this. One binary, since linking is most of the build.

#[cfg(feature = "course")]
mod echo;
mod fan_out;
#[cfg(feature = "course")]
mod hello;
mod lines;
mod log;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Short, so that `cargo bench` is something that people run: the figures move by a few percent anyway.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
        .without_plots()
}

criterion_group!(name = chat; config = short(); targets = fan_out::bench, log::bench, lines::bench);
#[cfg(feature = "course")]
criterion_group!(name = course; config = short(); targets = echo::bench, hello::bench);
#[cfg(feature = "course")]
criterion_main!(chat, course);
#[cfg(not(feature = "course"))]
criterion_main!(chat);
