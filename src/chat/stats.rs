//! What the server has done, and does: for the operator as a table, for programs as figures.
//!
//! A delivery is a message that a reader's socket took, or at least began to take: what its cursor passed in a
//! room's log. So a message to a hundred members is a record and a hundred deliveries; history counts again
//! for whom it is shown to, and so does the operator who watches. What a reader missed is no delivery, nor
//! are notices, replies and private messages. Nobody counts them one by one: a cursor knows how many messages
//! are before it.

use std::fmt::Write as _;

use crate::engine::{ConnectionId, Moment, Now, Reason};
use crate::metrics::{Measured, Metric, Value};

use super::limit::Limit;
use super::session::Pause;
use super::{Chat, render};

/// What no counter holds, for it is how things are now.
struct Present {
    log_bytes: usize,
    private_bytes: usize,
    slow_readers: usize,
    paused: usize,
}

impl Chat {
    fn present(&self) -> Present {
        let clients = || self.sessions.iter().filter(|session| !session.is_console());
        Present {
            log_bytes: self.rooms.iter().map(|(_, room)| room.log.capacity_bytes()).sum(),
            private_bytes: self.sessions.iter().map(|session| session.private_bytes()).sum(),
            slow_readers: clients().filter(|session| session.is_lagging).count(),
            paused: clients().filter(|session| session.pause != Pause::None).count(),
        }
    }

    pub(super) fn reply_stats(&mut self, now: Now, console: ConnectionId) {
        let Present { log_bytes, private_bytes, slow_readers, paused } = self.present();
        let counters = &self.counters;
        let turns = &counters.turns;
        let (count, bytes) = (render::count, render::bytes);
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            // A String takes all that is written to it.
            let _ = writeln!(text, "{name:<14} {value}");
        };
        row("up", render::duration(now.moment.since(Moment::START)));
        let (peak, most) = (counters.clients_peak, self.config.clients_max);
        row("clients", format!("{} now, {peak} at most, {most} allowed", self.clients()));
        let (accepted, refused, closed) = (counters.accepted, counters.refused, counters.closed());
        row("connections", format!("{accepted} accepted, {refused} refused, {closed} closed"));
        row("received", format!("{}, {}", count(counters.lines_in, "line"), bytes(counters.bytes_in)));
        let records = count(counters.records, "record");
        row("sent", format!("{records}, {} deliveries, {}", counters.deliveries, bytes(counters.bytes_out)));
        row("slow readers", format!("{slow_readers} now, {} missed", count(counters.missed, "message")));
        let (rate, room) = (counters.limits_met.of(Limit::Rate), counters.limits_met.of(Limit::LogSpace));
        row("back-pressure", format!("{paused} wait now; {rate} by --rate, {room} by a full room"));
        row("refused lines", format!("{} too long", counters.limits_met.of(Limit::LineBytes)));
        let rooms = count(self.rooms.len() as u64, "room");
        let (logs, replies) = (bytes(log_bytes as u64), bytes(private_bytes as u64));
        row("memory", format!("{logs} in {rooms} of logs, {replies} of replies"));
        let longest_ms = turns.longest().as_secs_f64() * 1e3;
        row("turns", format!("{}, {} slow, the longest {longest_ms:.1} ms", turns.count(), turns.slow()));
        let (accepts, reads, writes) = (turns.accepts, turns.reads, turns.writes);
        let blocked = turns.blocked_writes;
        row("work", format!("{accepts} accepts, {reads} reads, {writes} writes, {blocked} to a full socket"));
        for (reason, closes) in Reason::ALL.iter().zip(counters.closes).filter(|(_, closes)| *closes > 0) {
            row("closed", format!("{closes}: {reason}"));
        }
        for (limit, times) in counters.limits_met.iter() {
            row("limit met", format!("{times}: {}", limit.name()));
        }
        self.reply(console, &text);
    }
}

impl Measured for Chat {
    fn metrics(&self) -> Vec<Metric> {
        let Present { log_bytes, private_bytes, slow_readers, paused } = self.present();
        let counters = &self.counters;
        let (counter, gauge) = (Metric::counter, Metric::gauge);
        let began_unix_s = u64::try_from(self.began_unix_s.unwrap_or(0)).unwrap_or(0);
        // Why newcomers were not let in is told by the limits.
        let closes = Reason::ALL.iter().zip(counters.closes).filter(|(reason, _)| !reason.is_refusal());
        let closes = closes.map(|(reason, closes)| (reason.name(), closes));
        let limits_met = Limit::ALL.iter().map(|limit| (limit.name(), counters.limits_met.of(*limit)));
        let mut metrics = vec![
            Metric {
                name: "build_info",
                help: "What is running.",
                value: Value::Info("version", env!("CARGO_PKG_VERSION")),
            },
            gauge("start_time_seconds", "When it started, in seconds since 1970.", began_unix_s),
            counter("connections_accepted_total", "Clients let in.", counters.accepted),
            counter("connections_refused_total", "Newcomers not let in.", counters.refused),
            gauge("connections_open", "Clients now.", self.clients() as u64),
            gauge("connections_peak", "The most clients at the same time.", counters.clients_peak as u64),
            gauge(
                "connections_allowed",
                "Clients that --max-clients allows.",
                self.config.clients_max as u64,
            ),
            Metric {
                name: "closes_total",
                help: "Clients that left or were closed, by the reason.",
                value: Value::Counters("reason", closes.collect()),
            },
            Metric {
                name: "limits_met_total",
                help: "How often each limit was met: --show-limits lists them.",
                value: Value::Counters("limit", limits_met.collect()),
            },
            counter("lines_received_total", "Lines that clients sent, commands included.", counters.lines_in),
            counter("received_bytes_total", "Bytes that clients sent.", counters.bytes_in),
            counter("sent_bytes_total", "Bytes that the sockets of clients took.", counters.bytes_out),
            counter("records_total", "Messages and notices put into a room's log.", counters.records),
            counter("deliveries_total", "Messages times readers that got them.", counters.deliveries),
            counter("skipped_messages_total", "Messages times readers too slow for them.", counters.missed),
            gauge("slow_readers", "Clients whose socket is full.", slow_readers as u64),
            gauge("paused_clients", "Clients from whom nothing is read for now.", paused as u64),
            gauge("rooms", "Rooms, those that are only remembered included.", self.rooms.len() as u64),
            gauge("log_bytes", "Memory of the rooms' logs.", log_bytes as u64),
            gauge("private_bytes", "Replies and private messages that wait.", private_bytes as u64),
        ];
        metrics.extend(counters.turns.metrics());
        metrics
    }
}
