//! Every bound of the program: what it limits, its unit, and how it relates to the others.
//!
//! What an operator can set has its default here and its flag in `cli/serve.rs`; what nobody should need to
//! set is a constant that the code uses by name. A relation that another module relies on is
//! asserted at compile time at the end of this file.

use std::time::Duration;

// ---- the turn of the loop ----

/// Bytes asked of a socket by one read; the size of the loop's one shared scratch buffer, and so the
/// most that a paused connection can hold beside its unfinished line.
pub const READ_BYTES_MAX: usize = 16 * 1024;

/// Reads from one connection in a turn; the rest waits on the pending list for the next turn.
pub const CONNECTION_READS_PER_TURN_MAX: usize = 4;

/// Reads from all connections in a turn; bounds how long a turn can keep the others waiting.
pub const READS_PER_TURN_MAX: usize = 1024;

/// Bytes of a datagram: more than UDP can carry (65,507 over IPv4). A longer one, which Unix sockets
/// allow, is lost, and the program told.
pub const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Datagrams received from a socket in a turn, and the most sent on it.
pub const DATAGRAMS_PER_TURN_MAX: usize = 64;

/// Bytes of answers that wait on one datagram socket; what is beyond is lost, as datagrams may be.
pub const DATAGRAM_ANSWERS_BYTES_MAX: usize = 1 << 20;

/// Answers that wait on one datagram socket, for empty ones cost memory too.
pub const DATAGRAM_ANSWERS_MAX: usize = 1024;

/// Answers that wait for one receiver whose queue is full.
pub const BLOCKED_DATAGRAMS_MAX: usize = 64;

/// How long an answer waits for such a receiver.
pub const DATAGRAM_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of output that wait for a connection of a [`Handler`](crate::socketserver::Handler), beyond which
/// its input waits too.
pub const HANDLER_OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Bytes that a handler may leave unread, beyond which its connection is closed: more input would be
/// needed to go on, and none is read.
pub const HANDLER_UNREAD_BYTES_MAX: usize = 256 * 1024;

/// Connections accepted from one listener in a turn (P4).
pub const ACCEPTS_PER_TURN_MAX: usize = 64;

/// Connections flushed in a turn; the others keep their place and go first in the next one.
pub const FLUSHES_PER_TURN_MAX: usize = 4096;

/// Members of rooms flushed in a turn. Small, so that what is said while a large room is being written
/// to joins the walk under way: it reaches the members still to come in the same system call, and
/// everyone within one walk instead of up to two. Against no bound, this cut a third of the
/// processor time for each delivery at 100 members and half of it at 1,000; smaller gains nothing.
pub const WALK_FLUSHES_PER_TURN_MAX: usize = 24;

/// Writes to one connection in a turn, each of at most a room's log.
pub const CONNECTION_WRITES_PER_TURN_MAX: usize = 16;

/// Readiness events taken from the kernel at once.
pub const EVENTS_PER_TURN_MAX: usize = 1024;

/// A turn that takes longer is logged with what it did: everybody else waited for so long.
pub const SLOW_TURN: Duration = Duration::from_millis(50);

/// Pause before accepting again after the kernel ran out of descriptors or memory (P1, P2).
pub const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// Pause before writing again after the kernel had no buffers, which no event follows (P8).
pub const WRITE_RETRY: Duration = Duration::from_millis(50);

/// Connections waiting in the kernel to be accepted; the kernel lowers it to `somaxconn` (P5).
pub const LISTEN_BACKLOG: i32 = 4096;

/// Descriptors kept back from `--max-clients`: the standard three, epoll, the waker, the listeners,
/// the reserve that turns newcomers away, who reads the figures, and room for the libraries.
pub const RESERVED_DESCRIPTORS: u64 = 32;

/// The most descriptors that a kernel gives a process: their numbers are `int`s.
pub const DESCRIPTORS_MAX: u64 = 1 << 31;

/// The most that `--max-clients` derives from a huge descriptor limit; asking for more is allowed.
pub const CLIENTS_MAX_DERIVED: u64 = 1 << 20;

/// The longest duration that can be asked for, and that a run can have: no deadline overflows.
pub const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86400);

// ---- keep-alive (P16) ----

/// Silence after which the kernel asks whether the peer is still there.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Pause between two such questions.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unanswered questions after which the connection is lost.
pub const KEEPALIVE_PROBES: u32 = 4;

// ---- the chat server ----

/// `--max-line`: bytes of a line, its terminator excluded (P30).
pub const LINE_BYTES_MAX: usize = 4096;

/// The least and the most that `--max-line` takes.
pub const LINE_BYTES_RANGE: std::ops::RangeInclusive<usize> = 16..=READ_BYTES_MAX * 4;

/// `--log-bytes`: bytes of records that a room keeps for readers who are behind, and for history.
pub const LOG_BYTES_MAX: usize = 1 << 20;

/// The most that `--log-bytes` takes.
pub const LOG_BYTES_ALLOWED: usize = 1 << 30;

/// Records that a room keeps, for each byte of `--log-bytes`, as a divisor; and at least so many: each
/// takes eight bytes of memory beside its own, which short lines would make the larger part.
pub const LOG_BYTES_PER_RECORD_MIN: usize = 16;
/// See [`LOG_BYTES_PER_RECORD_MIN`].
pub const LOG_RECORDS_MIN: usize = 64;

/// Bytes that a record can have beyond twice its line (see `record_bytes_max`): the timestamp, the
/// name, the room's tag and the punctuation.
pub const RECORD_OVERHEAD_BYTES_MAX: usize = 256;

/// `--history`: messages shown to a newcomer.
pub const HISTORY_MESSAGES: usize = 20;

/// `--max-per-ip`: connections from one IPv4 address or one IPv6 /64 (P20).
pub const CLIENTS_PER_IP_MAX: usize = 64;

/// `--connect-rate`: newcomers a minute from one such address in the long run (P40): those who all lost their
/// connections behind one address and spent its burst are back within a minute, and one a second costs nothing.
pub const CONNECTS_PER_MINUTE: u32 = 60;

/// How many of them may come at once, if `--max-per-ip` is not more: as many as may be there at once.
pub const CONNECT_BURST: u32 = CLIENTS_PER_IP_MAX as u32;

/// Addresses whose newcomers are counted at the same time.
pub const CONNECT_ADDRESSES_MAX: usize = 1024;

/// `--max-rooms`: rooms at the same time, empty ones that keep a history included.
pub const ROOMS_MAX: usize = 256;

/// The most that `--max-rooms` takes.
pub const ROOMS_ALLOWED: usize = 1 << 20;

/// `--max-rooms-per-client`: rooms that one client is in at the same time.
pub const ROOMS_PER_CLIENT_MAX: usize = 20;

/// `--rate`: lines a second, and how many may come at once (P39).
pub const RATE_LINES_PER_SECOND: u32 = 100;
/// See [`RATE_LINES_PER_SECOND`].
pub const RATE_BURST_LINES: u32 = 1000;

/// What joining, leaving and renaming cost in lines: they are told to everyone (P41).
pub const MEMBERSHIP_COST_LINES: u32 = 10;

/// What `/last` costs in lines: it is answered with many.
pub const HISTORY_COST_LINES: u32 = 10;

/// Empty lines that together take from a client's rate what one line takes: they are work, though little.
pub const EMPTY_LINES_PER_LINE: u8 = 64;

/// `--notice-members`: rooms with more members than this announce no joins and leaves.
pub const NOTICE_MEMBERS_MAX: usize = 50;

/// `--linger`: how long a connection that is being closed has to take its last bytes.
pub const LINGER: Duration = Duration::from_secs(5);

/// `--drain`: how long the server's end waits for everyone to take what is due to them.
pub const DRAIN: Duration = Duration::from_secs(3);

/// How long the end of the server waits for a peer that was told of it and sends nothing: long enough for
/// its last bytes to arrive, for closing under them would reset the connection.
pub const STOP_LINGER: Duration = Duration::from_millis(250);

/// `--unsent`: bytes that may wait unsent in the kernel for a TCP connection; once there are as many, a write is
/// short (tcp(7), `TCP_NOTSENT_LOWAT`). This bounds what a stalled reader costs, and not what is on its way to
/// one that reads.
pub const UNSENT_BYTES: usize = 16 * 1024;

/// The most that `--unsent` takes.
pub const UNSENT_BYTES_MAX: usize = 256 * 1024;

/// Bytes asked of the kernel for the send buffer of an accepted TCP connection; the kernel doubles them for its
/// bookkeeping. The buffer holds what is unsent and what is sent but not acknowledged, so it bounds a peer that
/// opens its window and acknowledges nothing. A buffer small enough to bound a stalled reader would hold less than
/// two segments of loopback, and the peer acknowledges a segment alone only after some 40 ms (RFC 1122, 4.2.3.2).
pub const TCP_SEND_BUFFER_BYTES: usize = 256 * 1024;

/// The most by which the bytes that wait unsent exceed `--unsent`: the kernel looks at the mark only before it
/// begins another segment.
pub const SEGMENT_BYTES_MAX: usize = 64 * 1024;

/// Memory that the kernel takes at most for a TCP client that does not read: what is unsent, a segment, and as a
/// measured bound three fifths of both for its own bookkeeping.
#[must_use]
pub const fn stalled_bytes_max(unsent_bytes: usize) -> usize {
    (unsent_bytes + SEGMENT_BYTES_MAX) / 5 * 8
}

/// The same for one that opens its window and acknowledges nothing: the whole buffer, and the segment that was
/// begun before it was full.
pub const MUTE_BYTES_MAX: usize = 2 * TCP_SEND_BUFFER_BYTES + SEGMENT_BYTES_MAX;

/// The send buffer of an accepted Unix socket, as a multiple of `--unsent`: there is no mark for what is unsent,
/// and no acknowledgement to wait for. With half as much, lines of 4,000 bytes go a third as fast.
pub const UNIX_SEND_BUFFER_PER_UNSENT: usize = 4;

/// Bytes of the program itself in memory: its code and libraries, which are pages of files, its stack, and
/// what the allocator keeps. It takes half of them; without optimization, which what is derived must not
/// depend on, all.
pub const PROGRAM_BYTES: usize = 12 << 20;

/// Bytes of a nick.
pub const NICK_BYTES_MAX: usize = 32;

/// Bytes of a room's name.
pub const ROOM_NAME_BYTES_MAX: usize = 32;

/// `--private-bytes`: bytes of replies that wait for a client, beyond which its commands wait too.
pub const PRIVATE_BYTES_MAX: usize = 16 * 1024;

/// The least and the most that `--private-bytes` takes.
pub const PRIVATE_BYTES_RANGE: std::ops::RangeInclusive<usize> = 1024..=1 << 30;

/// Bytes of a room's announcements that wait for space in its log, beyond which what would add to them
/// waits too.
pub const ANNOUNCEMENT_BYTES_MAX: usize = 4 * 1024;

/// Closes that the operator can look at.
pub const CLOSES_KEPT_MAX: usize = 100;

/// Bytes of a line of the operator's, or of a person's on a terminal that edits the line itself. Linux keeps 4,095
/// bytes of such a line and drops the rest without a word, so a line of that length is not known to be whole.
pub const TERMINAL_LINE_BYTES_MAX: usize = 4094;

/// Bytes of the reason that an operator gives to whom is kicked; with more of them nobody is.
pub const KICK_REASON_BYTES_MAX: usize = 256;

/// The same as [`PRIVATE_BYTES_MAX`] for the chat's operator; one more table may follow.
pub const OPERATOR_PRIVATE_BYTES_MAX: usize = 256 * 1024;

/// The same for the operator of `ask`, whose table of questions is long.
pub const CONSOLE_PRIVATE_BYTES_MAX: usize = 4 << 20;

/// Spans of its own messages that a sender's session holds to skip under `--no-echo`, beyond which
/// its lines wait until it has read some.
pub const SKIPPED_SPANS_MAX: usize = 64;

/// Bytes of the message of the day, once it is cleaned.
pub const MOTD_BYTES_MAX: usize = 8 * 1024;

/// Members named by `/who` and `/lag`, and the most rooms named by `/rooms`.
pub const LISTED_MAX: usize = 100;

/// Names in one notice before the rest is counted.
pub const NOTICE_NAMES_MAX: usize = 3;

/// Log lines of one kind in a window; what is beyond is counted and told later (P22).
pub const LOG_LINES_PER_WINDOW: u32 = 100;
/// The window of [`LOG_LINES_PER_WINDOW`].
pub const LOG_WINDOW: Duration = Duration::from_secs(10);

/// Bytes that a record of a line of `line_bytes_max` can have, whatever the format: cleaning can
/// turn one bad byte into the three of U+FFFD.
#[must_use]
pub const fn record_bytes_max(line_bytes_max: usize) -> usize {
    line_bytes_max * 3 + RECORD_OVERHEAD_BYTES_MAX
}

/// The longest line whose record surely fits into a log of `log_bytes`.
#[must_use]
pub const fn line_bytes_fitting(log_bytes: usize) -> usize {
    log_bytes.saturating_sub(RECORD_OVERHEAD_BYTES_MAX) / 3
}

// ---- recordings ----

/// `--record-bytes`: bytes of a recording, at which it ends.
pub const RECORDING_BYTES_MAX: u64 = 64 << 20;

/// The least that `--record-bytes` takes: the arguments and a little more.
pub const RECORDING_BYTES_MIN: u64 = 128 << 10;

/// Bytes of a recording that wait in memory, at most, but for one entry: what the sockets took in a turn.
pub const RECORDING_FLUSH_BYTES: usize = 16 * 1024;

/// Bytes of the file of a time zone in a recording's head: the longest of all zones has some 3,600.
pub const ZONE_FILE_BYTES_MAX: usize = 8 * 1024;

/// Addresses that a redacted recording tells apart.
pub const RECORDED_ADDRESSES_MAX: u32 = 65536;

// ---- the chat client ----

/// First pause before connecting again; it doubles up to [`RECONNECT_PAUSE_MAX`].
pub const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(500);
/// See [`RECONNECT_PAUSE_MIN`].
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long a connection may take to be established.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of the server's text that wait for a slow terminal or pipe, beyond which reading stops.
pub const CLIENT_OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the user's lines that wait for the server, beyond which reading standard input stops.
pub const CLIENT_INPUT_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a line that a client sends, typed, pasted or piped: the longest that any server takes. What it
/// thinks of shorter ones the server says itself.
pub const CLIENT_LINE_BYTES_MAX: usize = *LINE_BYTES_RANGE.end();

/// How long a client waits for the server's first words before it sends its own.
pub const CLIENT_GREETING: Duration = Duration::from_millis(200);

/// The same where what is to be sent depends on whether the server has commands.
pub const CLIENT_GREETING_LONG: Duration = Duration::from_secs(10);

/// How long the server may say nothing before it answers a nick or a room that is asked for. At a slow `--rate` the
/// answer takes longer, but then it says the lines before.
pub const CLIENT_ANSWER: Duration = Duration::from_secs(30);

/// How long a client in a pipe asks again for a nick or a room that it had before its connection was lost: the
/// old connection can hold it until the server finds out, as a rule after [`KEEPALIVE_IDLE`] and the probes.
pub const CLIENT_WISH: Duration = Duration::from_secs(180);

/// Bytes of the server's words that a client repeats when it tells why something failed.
pub const CLIENT_WORDS_BYTES_MAX: usize = 512;

/// The least time between two questions for the same nick or room.
pub const CLIENT_WISH_PAUSE_MIN: Duration = Duration::from_secs(1);

/// Silence of the server after which a person who leaves waits no longer for its end.
pub const CLIENT_LEAVE: Duration = Duration::from_secs(5);

/// How long the client's last bytes have when it is to end now.
pub const CLIENT_STOP: Duration = Duration::from_secs(1);

/// Silence after Escape that makes it a key of its own, not the start of a longer one.
pub const CLIENT_KEY: Duration = Duration::from_millis(100);

// ---- questions, answers and calls ----

/// Silence after which text without a line end counts as complete, from peers that end no lines. Longer than a
/// second, so that a line that comes byte by byte, as somebody types it, stays a line.
pub const TEXT_SILENCE: Duration = Duration::from_millis(1500);

/// The same where it seems that more is to come: inside a character, or from a peer that does end lines.
pub const TEXT_SILENCE_LONG: Duration = Duration::from_secs(5);

/// The same for what answers a program, which comes at once, and is waited for each time.
pub const ANSWER_SILENCE: Duration = Duration::from_millis(200);

/// The same inside a character.
pub const ANSWER_SILENCE_LONG: Duration = Duration::from_secs(2);

/// Bytes of a question.
pub const QUESTION_BYTES_MAX: usize = 4096;

/// Open questions of one client, beyond which no more is read from it.
pub const QUESTIONS_PER_CLIENT_MAX: usize = 8;

/// Open questions of all clients: as many as an operator can hope to answer.
pub const QUESTIONS_MAX: usize = 4096;

/// Bytes of a line that a call waits for the end of, from either side: as long as a datagram.
pub const CALL_TEXT_BYTES_MAX: usize = DATAGRAM_BYTES_MAX;

/// How often in a row the same message is acknowledged.
pub const ACKS_ALIKE_MAX: u32 = 16;

// ---- HTTP (P47) ----

/// Bytes of a request's head, its request line and its empty line included.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;

/// Fields of a request's head.
pub const HTTP_FIELDS_MAX: usize = 64;

// ---- who reads the figures of `--stats` ----

/// Connections at the same time: one or two programs ask every few seconds, and a person now and then.
pub const STATS_VISITORS_MAX: usize = 8;

/// How long a connection may take to ask; it is answered once.
pub const STATS_PATIENCE: Duration = Duration::from_secs(5);

// ---- file transfer ----

/// Bytes of a transfer's header: what the longest path of any system needs, escaped (P30).
pub const TRANSFER_HEADER_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a line that a receiver says.
pub const TRANSFER_ANSWER_BYTES_MAX: usize = 4 * 1024;

/// Bytes that are written to a file at once: how long a disk can hold the others up (P58). Larger chunks
/// would save system calls, but some kernels take three times as long to find memory for them.
pub const WRITE_CHUNK_BYTES: usize = 16 * 1024;

/// Bytes that are read from a file at once, for the same reason bounded.
pub const READ_CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of a name in the receiver's folder: a number may follow, and 255 are what file systems take.
pub const FILE_NAME_BYTES_MAX: usize = 240;

/// Numbers tried for a file whose name is taken.
pub const FILE_NUMBERS_MAX: u32 = 999;

/// Bytes of the word that tells a file from others of its name and size.
pub const FILE_IDENTITY_BYTES_MAX: usize = 64;

/// `--idle`: silence of a sender after which its transfer is over.
pub const TRANSFER_IDLE: Duration = Duration::from_secs(60);

/// `--deadline`: how long a transfer may take, beyond a second for each
/// [`TRANSFER_BYTES_PER_SECOND_MIN`] that came (P59).
pub const TRANSFER_DEADLINE: Duration = Duration::from_secs(600);

/// How fast, at least, a transfer has to be that takes longer than that: less than the slowest of modems was.
pub const TRANSFER_BYTES_PER_SECOND_MIN: u64 = 1024;

/// `--reserve-free`: the part of a disk that stays free, in a hundred (P57), and the most bytes of it.
pub const RESERVED_PERCENT: u64 = 5;
/// See [`RESERVED_PERCENT`].
pub const RESERVED_BYTES_MAX: u64 = 1 << 30;

/// Bytes of a transfer that are written before somebody looks what is free: so much less may be left.
pub const FREE_LOOK_BYTES: u64 = 1 << 20;

/// How long a sender that could go on with a broken transfer waits for the receiver to say what it has: one
/// that knows of such things says it at once.
pub const RESUME_OFFER: Duration = Duration::from_secs(2);

/// Transfers at the same time, if the descriptor limit allows them: each holds at most a chunk in memory.
pub const TRANSFERS_MAX: usize = 1000;

/// Bytes written before the disk is waited for, where a file is to survive a loss of power.
pub const PART_UNSYNCED_BYTES_MAX: usize = 1 << 20;

/// Bytes of a broken transfer that are worth being continued.
pub const PART_BYTES_MIN: u64 = 64 * 1024;

/// Broken transfers that are kept for their senders to continue; the oldest give way (P59).
pub const PARTS_KEPT_MAX: usize = 16;

/// How long a broken transfer is kept, which the next start looks at.
pub const PART_AGE_MAX: Duration = Duration::from_secs(7 * 86400);

/// How fast, at least, a disk is read to check what is there of a broken transfer: how long the other side
/// waits for that, beyond [`TRANSFER_IDLE`].
pub const PART_BYTES_PER_SECOND_MIN: u64 = 8 << 20;

// What is continued is longer than the hash that says so.
const _: () = assert!(PART_BYTES_MIN >= 32);
// A header that is not all there yet is no reason to close its connection.
const _: () = assert!(HANDLER_UNREAD_BYTES_MAX > TRANSFER_HEADER_BYTES_MAX + READ_BYTES_MAX);

// What may wait unsent fits into the buffer.
const _: () = assert!(UNSENT_BYTES <= UNSENT_BYTES_MAX && UNSENT_BYTES_MAX <= TCP_SEND_BUFFER_BYTES);

// Every connection that was read or accepted in a turn can be flushed in it, and the rooms are walked
// in every turn: neither starves the other.
const _: () = assert!(
    FLUSHES_PER_TURN_MAX >= 2 * (READS_PER_TURN_MAX + ACCEPTS_PER_TURN_MAX) + WALK_FLUSHES_PER_TURN_MAX
);
// The default log holds many of the longest records, so that a skip is the exception.
const _: () = assert!(LOG_BYTES_MAX >= 16 * record_bytes_max(LINE_BYTES_MAX));
// The longest line of a person can wait for the client's socket.
const _: () = assert!(CLIENT_INPUT_BYTES_MAX > *LINE_BYTES_RANGE.end());
// What held a lost connection's nick is gone before its client gives up.
const _: () = assert!(
    CLIENT_WISH.as_secs() > KEEPALIVE_IDLE.as_secs() + KEEPALIVE_PROBES as u64 * KEEPALIVE_INTERVAL.as_secs()
);
// A name and a room's tag fit into a record's overhead: 20 for the time, the rest punctuation. An
// IPv6 address with its port has at most 48 bytes.
const _: () = assert!(20 + 48 + NICK_BYTES_MAX + ROOM_NAME_BYTES_MAX + 32 <= RECORD_OVERHEAD_BYTES_MAX);
// Whoever watches a full server takes no client's place.
const _: () = assert!(RESERVED_DESCRIPTORS as usize >= STATS_VISITORS_MAX + 16);
// A head that is too long is answered, before the loop closes for it.
const _: () = assert!(HTTP_HEAD_BYTES_MAX < HANDLER_UNREAD_BYTES_MAX);
