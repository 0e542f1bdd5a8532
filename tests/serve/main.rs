//! `onepoll serve` as people meet it: the real binary on a free port, real sockets, a real pipe as the
//! operator's terminal. One file for each promise:

#[allow(dead_code)]
mod harness;

/// How bytes become lines, and what others see of them.
mod lines;

/// What people can ask for with a slash.
mod commands;

/// What the server says by itself: greeting, message of the day, joins, leaves, history.
mod notices;

/// What people are called who took no nick.
mod names;

/// Members who do not read: skip, close, wait.
mod slow;

/// Every limit, and what who meets it is told.
mod limits;

/// Each limit met once, as the operator sees it.
mod limits_met;

/// Who was closed, why, and what to change.
mod closed;

/// What a server can come to hold.
mod memory;

/// The operator.
mod console;

/// Where it listens, and why not.
mod listen;

/// Ends and new beginnings: half-close, drain, signals, kill.
mod ends;

/// Peers and surroundings that mean harm.
mod hostile;

/// The programs that people really use: nc, telnet, socat, python.
mod tools;

/// What a recording keeps, and a replay gives back.
mod recordings;
