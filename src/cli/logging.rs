//! The log on standard error: one line an event, with the time, and never in anybody's way.

use std::io::Write;

use env_logger::{Builder, Target};
use jiff::Zoned;
use log::LevelFilter;

use crate::event_loop::io::LossyOutput;

/// Turns the log on: `RUST_LOG` decides, or else how often `-v` and `-q` were given.
pub(super) fn init(verbose: u8, quiet: u8) {
    let level = match i16::from(verbose) - i16::from(quiet) {
        ..=-2 => LevelFilter::Error,
        -1 => LevelFilter::Warn,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        2.. => LevelFilter::Trace,
    };
    Builder::new()
        .filter_level(level)
        .parse_default_env()
        .target(Target::Pipe(Box::new(LossyOutput::log())))
        .format(|out, record| {
            let time = Zoned::now().strftime("%Y/%m/%d %H:%M:%S").to_string();
            let level = record.level().as_str().to_lowercase();
            writeln!(out, "{time} {level}: {}", record.args())
        })
        .init();
}
