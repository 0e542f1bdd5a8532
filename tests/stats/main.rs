//! `onepoll serve --stats`: the real binary, as those see it who watch it. One file for each promise:

/// A kernel that is made to be slow.
#[allow(dead_code)]
#[path = "../promises/faults.rs"]
mod faults;
/// The real binary and its peers, as the chat's tests have them.
#[allow(dead_code)]
#[path = "../serve/harness.rs"]
mod harness;
/// One who asks, and reads what it gets with suspicion.
mod reader;

/// Each figure moves when the thing happens, and by as much.
mod counts;
/// Visitors and clients that mean harm: to the server, or to who reads the page.
mod hostile;
/// What is asked, and what is answered.
mod pages;
/// Where it can be asked, and where not.
mod places;
