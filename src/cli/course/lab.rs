//! `onepoll lab`: the list of the lessons, one of them, or the narrated loop.

mod turns;

use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::{Exit, complain, parse, show};
use crate::lab::{LESSONS, Lesson, Telling};

/// The arguments of `onepoll lab`.
#[derive(Debug, clap::Args)]
#[command(after_help = help(), args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    program: Option<Program>,

    /// The lesson; without it, they are listed, in the order to take them in
    #[arg(value_name = "LESSON")]
    lesson: Option<String>,

    /// Pause after each step
    #[arg(long, value_name = "MS", default_value = "0", value_parser = parse::milliseconds)]
    slow: Duration,

    /// Print only the table of what was observed
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Program {
    /// Serve a real chat, and tell of each turn of its loop
    Turns(turns::Arguments),
}

/// Lists the lessons, tells one, or serves the narrated chat.
pub(super) fn run(arguments: &Arguments) -> Exit {
    if let Some(Program::Turns(arguments)) = &arguments.program {
        return turns::run(arguments);
    }
    let Some(name) = &arguments.lesson else { return print_list() };
    let Some(lesson) = LESSONS.iter().find(|lesson| lesson.name == name) else {
        return complain(Exit::Usage, unknown(name));
    };
    let telling = Telling { pause: arguments.slow, is_quiet: arguments.quiet };
    match lesson.tell(Box::new(std::io::stdout()), telling) {
        Ok(()) => Exit::Done,
        Err(why) => complain(Exit::Failed, format!("lab {name}: {why}")),
    }
}

fn print_list() -> Exit {
    let list = list()
        + "\n`onepoll lab LESSON` tells one; `onepoll lab turns` serves a chat and tells of its loop.\n";
    show(&list)
}

/// One line for each lesson.
fn list() -> String {
    let width = LESSONS.iter().map(|lesson| lesson.name.len()).max().unwrap_or_default();
    LESSONS.iter().fold(String::new(), |mut list, Lesson { name, about, .. }| {
        // Writing to a string cannot fail.
        let _ = writeln!(list, "{name:width$}  {about}");
        list
    })
}

fn help() -> String {
    format!(
        "Each lesson is an experiment on real sockets, in one process and one thread. It prints every\n\
         system call that matters with its result and its time, and ends with a table of what it claimed\n\
         and what was observed, and what to remember. The exit code is 0 only if every claim was observed.\n\n\
         Lessons, in the order to take them in:\n{}",
        list().trim_end()
    )
}

fn unknown(name: &str) -> String {
    let nearest = LESSONS
        .iter()
        .map(|lesson| (strsim::osa_distance(lesson.name, name), lesson.name))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    let advice = match nearest {
        Some((_, nearest)) => format!("did you mean {nearest}?"),
        None => "`onepoll lab` lists them".into(),
    };
    format!("lab: no lesson is called {name:?}: {advice}")
}
