//! What onepoll promises of faults, each promise with the test that could refute it: the real binary, and real
//! faults of the kernel, of peers and of people. A test bears the number of its promise; README.md, "What it
//! promises", lists both. One file for each kind of fault:

/// A kernel that is made to fail.
mod faults;
/// The real binary and its peers, as the chat's tests have them.
#[allow(dead_code)]
#[path = "../serve/harness.rs"]
mod harness;
/// One who visits the page of `hello`, as its tests have it.
#[allow(dead_code)]
#[cfg(feature = "course")]
#[path = "../hello/visitor.rs"]
mod visitor;

/// Senders, receivers and folders, as the tests of file transfer have them.
#[allow(dead_code)]
#[cfg(feature = "course")]
#[path = "../transfer/peers.rs"]
mod peers;

/// That network, between a client and a server.
mod proxy;
/// Chance that can be had again.
mod seeds;

/// P1 to P6: newcomers, and a kernel that cannot take them.
mod accepting;
/// P24, P25, P27 and P28: addresses that are taken, that are two, or that are files.
mod addresses;
/// P21 once more: all that people can do to a server, at full speed.
mod churn;
/// P23: clocks that jump.
mod clocks;
/// P38 to P42: commands that would reach too many, come too fast, or come when nobody expects them.
mod commands;
/// P19 to P22: those who hold on to what others need: places, memory, the log.
mod crowds;
/// P29: datagrams, whose senders may lie about who they are.
mod datagrams;
/// P14 to P16: peers that end their side, break off, or are silently gone.
mod ending;
/// P55 to P59: files that lie, break off, or meet a disk that is full, broken or slow.
#[cfg(feature = "course")]
mod files;
/// P30 to P32: lines that do not end, lines that do not come, lines that come byte by byte.
mod framing;
/// P46 and P47: heads of requests that can be misread, are too large, or never end.
#[cfg(feature = "course")]
mod http;
/// P69 once more: kills at any moment.
mod kills;
/// The list of all promises in README.md.
mod listed;
/// P53 and P54: names of files from far away, and what was planted in the folder.
#[cfg(feature = "course")]
mod names;
/// P7, P17 and P56 once more, through a network that delays, slices, holds, cuts and resets.
mod networks;
/// P62, P64 to P69: signals; figures, files and logs that others could read; the operator's terminal, ends and kills.
mod operations;
/// P43 and P44: browsers and TLS clients on the chat's port.
mod protocols;
/// P9 to P13: what the kernel says once, says in vain, or does not say at all.
mod readiness;
/// P70 and P77: the source itself, what it is built on, and bytes that end no server.
mod source;
/// P33 to P36: bytes that would be more than text where they arrive.
mod text;
/// P7, P8, P17, P18 and P26: readers whose sockets take little, late or nothing.
mod writing;
