//! Scripted senders, at the other ends of the connections: each makes one transfer after the other, and holds
//! the receiver to what it answers.

use super::super::network::{Happening, Network};
use super::super::plan::{Fault, Reading};
use super::super::random::Random;
use super::super::system::Crowd;
use super::ledger::Ledger;
use super::plan::{Character, Plan};
use super::script::{Complete, Ending, Resuming, Script};
use crate::codec::transfer::Answer;

/// All senders, and how much they will still do.
#[derive(Debug)]
pub(super) struct Senders {
    plan: Plan,
    senders: Vec<Sender>,
    pub(super) ledger: Ledger,
    pub(super) steps_left: u32,
    /// The first thing that was not as it should be.
    pub(super) failure: Option<String>,
}

#[derive(Debug)]
struct Sender {
    character: Option<Character>,
    random: Random,
    transfer: Option<Transfer>,
    /// When one who drips while all is calm sends the next byte.
    drips_at: u64,
}

/// A transfer under way, as its sender sees it.
#[derive(Debug)]
struct Transfer {
    key: usize,
    attempt: usize,
    script: Script,
    /// Bytes of the script's stream that the socket took.
    sent: usize,
    /// It did what it does in the end.
    has_ended: bool,
    /// Bytes of a line that is not whole yet.
    heard: Vec<u8>,
    has_answer: bool,
}

impl Senders {
    pub(super) fn new(plan: &Plan) -> Self {
        let sender = |(index, character): (usize, &Option<Character>)| Sender {
            character: *character,
            random: Random::new(plan.seed, "sender", index),
            transfer: None,
            drips_at: 0,
        };
        Senders {
            plan: plan.clone(),
            senders: plan.senders.iter().enumerate().map(sender).collect(),
            ledger: Ledger::default(),
            steps_left: plan.steps,
            failure: None,
        }
    }

    /// Everyone's first step is to come.
    pub(super) fn begin(&mut self, network: &mut Network) {
        for (index, sender) in self.senders.iter_mut().enumerate() {
            if let Some(character) = sender.character {
                let at = sender.random.below(character.pace_ms * 1_000_000 + 1);
                network.schedule(network.time + at, Happening::Person(index));
            }
        }
    }

    /// Everyone goes on with what it began, from now on, and reads.
    pub(super) fn calm(&mut self, network: &mut Network) {
        for index in 0..self.senders.len() {
            network.schedule(network.time, Happening::Person(index));
        }
    }

    /// Somebody comes with a small file; returns the number of the attempt.
    pub(super) fn send_one_more(&mut self, network: &mut Network) -> usize {
        let character =
            Character { honesty: 1000, reading: Reading::Eager, drips: false, pace_ms: 1, address: 1 };
        let transfer = Transfer::begin(network, &mut self.ledger, character, Script::newcomer());
        let attempt = transfer.attempt;
        let random = Random::new(self.plan.seed, "newcomer", 0);
        self.senders.push(Sender {
            character: Some(character),
            random,
            transfer: Some(transfer),
            drips_at: 0,
        });
        network.schedule(network.time, Happening::Person(self.senders.len() - 1));
        attempt
    }

    /// Everyone reads what is still there.
    pub(super) fn read_all(&mut self, network: &mut Network) {
        for index in 0..self.senders.len() {
            self.be_calm(network, index);
        }
    }

    fn be_calm(&mut self, network: &mut Network, index: usize) {
        // Never silent for as long as would end it: that is what the deadline is for.
        let pause_ns = (self.plan.settings.idle * 3 / 4).as_nanos() as u64;
        let sender = &mut self.senders[index];
        let drips = sender.character.is_some_and(|character| character.drips);
        let bytes_max = match network.time {
            time if drips && time < sender.drips_at => 0,
            _ if drips => 1,
            _ => usize::MAX,
        };
        let sent = |sender: &Sender| sender.transfer.as_ref().map(|transfer| transfer.sent);
        let sent_before = sent(sender);
        let result = sender.be_calm(network, &mut self.ledger, bytes_max);
        // Who has nothing to send, or no room for it, acts again when something happens to it.
        if bytes_max == 1 && sent(sender) > sent_before {
            sender.drips_at = network.time + pause_ns;
            network.schedule(sender.drips_at, Happening::Person(index));
        }
        self.note(index, result);
    }

    fn note(&mut self, index: usize, result: Result<(), String>) {
        if let Err(what) = result {
            self.failure.get_or_insert(format!("{what} (sender {index})"));
        }
    }
}

impl Crowd for Senders {
    fn act(&mut self, network: &mut Network, index: usize) {
        let Some(character) = self.senders[index].character else { return };
        if network.is_calm {
            return self.be_calm(network, index);
        }
        if self.steps_left == 0 {
            return;
        }
        self.steps_left -= 1;
        if self.plan.signal_at == Some(self.plan.steps - self.steps_left) {
            network.waker_edge = true;
            network.sometimes("signal");
            network.trace.add(30, &[], || "a signal".into());
        }
        let result = self.senders[index].act(&self.plan, network, &mut self.ledger, character);
        self.note(index, result);
        let pause = self.senders[index].random.log_between(1, character.pace_ms * 2) * 1_000_000;
        network.schedule(network.time + pause, Happening::Person(index));
    }

    fn will_act(&self, network: &mut Network, key: usize) {
        let has_it = |sender: &Sender| sender.transfer.as_ref().is_some_and(|transfer| transfer.key == key);
        if let Some(index) = self.senders.iter().position(has_it) {
            network.schedule(network.time + 1_000_000, Happening::Person(index));
        }
    }
}

impl Sender {
    fn act(
        &mut self,
        plan: &Plan,
        network: &mut Network,
        ledger: &mut Ledger,
        character: Character,
    ) -> Result<(), String> {
        let Some(transfer) = &mut self.transfer else {
            let script = Script::draw(plan, character.honesty, &mut self.random);
            self.transfer = Some(Transfer::begin(network, ledger, character, script));
            return Ok(());
        };
        let key = transfer.key;
        if network.sockets[key].is_reset || network.sockets[key].person_left {
            self.transfer = None;
            return Ok(());
        }
        let bytes_max = match character.reading {
            Reading::Eager => usize::MAX,
            Reading::Bursts if self.random.chance(100) => usize::MAX,
            Reading::Drip => 1,
            Reading::Bursts | Reading::Stalled => 0,
        };
        transfer.read(network, ledger, bytes_max)?;
        if transfer.is_over(network) {
            transfer.check_over(network)?;
            network.leave(key);
            self.transfer = None;
            return Ok(());
        }
        if network.strikes(Fault::Resets) && self.random.chance(300) {
            network.reset(key);
            self.transfer = None;
            return Ok(());
        }
        // Whoever has the answer stops, or does not hear of it.
        if transfer.has_answer && self.random.chance(700) {
            return Ok(());
        }
        let bytes_max = match character.drips {
            true => self.random.between(1, 3) as usize,
            false if self.random.chance(300) => self.random.log_between(1, 1000) as usize,
            false => usize::MAX,
        };
        transfer.send(network, ledger, bytes_max);
        Ok(())
    }

    fn be_calm(
        &mut self,
        network: &mut Network,
        ledger: &mut Ledger,
        bytes_max: usize,
    ) -> Result<(), String> {
        let Some(transfer) = &mut self.transfer else { return Ok(()) };
        let key = transfer.key;
        if network.sockets[key].person_left || network.sockets[key].is_reset {
            self.transfer = None;
            return Ok(());
        }
        transfer.read(network, ledger, usize::MAX)?;
        if transfer.is_over(network) {
            transfer.check_over(network)?;
            network.leave(key);
            self.transfer = None;
        } else if !transfer.has_answer {
            transfer.send(network, ledger, bytes_max);
        }
        Ok(())
    }
}

impl Transfer {
    fn begin(network: &mut Network, ledger: &mut Ledger, character: Character, script: Script) -> Self {
        let attempt = ledger.begin(&script.offered);
        let key = network.connect(character.address, None);
        network.trace.add(40, &[key as u64, script.stream.len() as u64], || {
            let bytes = script.offered.content.len();
            format!(
                "socket {key}: will send {:?}, {bytes} bytes, complete {:?}, then {:?}; {:?}",
                script.offered.name, script.complete, script.ending, script.resuming
            )
        });
        Transfer { key, attempt, script, sent: 0, has_ended: false, heard: Vec::new(), has_answer: false }
    }

    /// Whether the receiver ended its side, and all was read.
    fn is_over(&self, network: &Network) -> bool {
        let outbound = &network.sockets[self.key].outbound;
        outbound.is_finished && outbound.there.is_empty()
    }

    /// Who reads to the end has its one answer.
    fn check_over(&self, network: &Network) -> Result<(), String> {
        let socket = &network.sockets[self.key];
        // Who said nothing need not be answered; who was turned away gets what its socket takes at once.
        let is_exempt = self.sent == 0
            || socket.was_refused
            || socket.is_reset
            || network.faults.rate(Fault::UnwatchedSockets) > 0;
        if (self.has_answer && self.heard.is_empty()) || is_exempt {
            return Ok(());
        }
        let heard = self.heard.escape_ascii();
        Err(format!("I15: socket {} was closed without an answer; last heard: \"{heard}\"", self.key))
    }

    fn send(&mut self, network: &mut Network, ledger: &mut Ledger, bytes_max: usize) {
        if self.has_ended {
            return;
        }
        let unsent = &self.script.stream[self.sent..];
        self.sent += network.send(self.key, &unsent[..unsent.len().min(bytes_max)]);
        if matches!(self.script.complete, Complete::At(bytes) if self.sent >= bytes) {
            ledger.complete(self.attempt);
        }
        let waits_for_offer = self.script.resuming.as_ref().is_some_and(|resuming| !resuming.is_settled);
        if self.sent < self.script.stream.len() || waits_for_offer {
            return;
        }
        self.has_ended = true;
        match self.script.ending {
            Ending::Wait => {}
            Ending::Finish => {
                if self.script.complete == Complete::AtEnd {
                    ledger.complete(self.attempt);
                }
                network.finish(self.key);
            }
            Ending::Leave => network.leave(self.key),
            Ending::Reset => network.reset(self.key),
        }
    }

    fn read(&mut self, network: &mut Network, ledger: &mut Ledger, bytes_max: usize) -> Result<(), String> {
        let heard = &mut self.heard;
        network.receive_by(self.key, bytes_max, |bytes| {
            let before = heard.len();
            heard.extend(bytes);
            heard.len() - before
        });
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            let Some(answer) = Answer::decode(&line) else {
                return Err(format!("I15: no answer: \"{}\"", line.escape_ascii()));
            };
            self.hear(network, ledger, &answer)?;
        }
        Ok(())
    }

    fn hear(&mut self, network: &mut Network, ledger: &mut Ledger, answer: &Answer) -> Result<(), String> {
        let key = self.key;
        network.trace.add(41, &[key as u64], || format!("socket {key}: hears: {}", answer.in_words()));
        network.sometimes(outcome(answer));
        match answer {
            Answer::Resume { offset, hash } => {
                if *offset > self.script.offered.content.len() as u64 || self.has_answer {
                    return Err(format!("I15: an offer that makes no sense: {answer:?}"));
                }
                let hash = hash.map(|hash| *hash.as_bytes());
                if let Some(resuming) = self.script.resuming.clone().filter(|resuming| !resuming.is_settled) {
                    self.decide(*offset as usize, hash, &resuming);
                }
                Ok(())
            }
            _ => {
                self.has_answer = true;
                ledger.tell(self.attempt, answer)
            }
        }
    }

    /// Goes on behind what is there, or from the beginning, or waits for the hash.
    fn decide(&mut self, offset: usize, hash: Option<[u8; 32]>, resuming: &Resuming) {
        let content = &self.script.offered.content;
        let is_same =
            |hash: &[u8; 32]| resuming.is_blind || *hash == *blake3::hash(&content[..offset]).as_bytes();
        let mut body = match hash {
            Some(hash) if is_same(&hash) => [&hash[..], &content[offset..]].concat(),
            None if offset > 0 && !resuming.is_impatient => return,
            _ => content.to_vec(),
        };
        body.extend(blake3::hash(content).as_bytes());
        match resuming.cut_after {
            Some(bytes) if bytes < body.len() => body.truncate(bytes),
            _ => self.script.complete = Complete::At(self.script.stream.len() + body.len()),
        }
        self.script.stream.extend(body);
        self.script.resuming = Some(Resuming { is_settled: true, ..resuming.clone() });
    }
}

/// What an answer is counted as.
fn outcome(answer: &Answer) -> &'static str {
    let why = match answer {
        Answer::Done { warning: Some(warning), .. } if warning.starts_with("nothing could be continued") => {
            return "answer: done, and nothing continued";
        }
        Answer::Done { bytes: 0, .. } => return "answer: done, an empty file",
        Answer::Done { name: Some(_), .. } => return "answer: done, under another name",
        Answer::Done { .. } => return "answer: done",
        Answer::Resume { offset: 0, .. } => return "answer: nothing is there",
        Answer::Resume { hash: None, .. } => return "answer: something is there",
        Answer::Resume { .. } => return "answer: its hash",
        Answer::Failed(why) => why,
    };
    FAILURES.into_iter().find(|(words, _)| why.contains(words)).map_or("failed: otherwise", |(_, name)| name)
}

/// Words of an answer, and what it is counted as.
pub(super) const FAILURES: [(&str, &str); 26] = [
    ("is kept for --resume", "failed: kept"),
    ("--deadline", "failed: too slow"),
    ("--reserve-free", "failed: none to spare"),
    ("do not have the hash", "failed: wrong hash"),
    ("more bytes came", "failed: too many bytes"),
    ("ended early", "failed: ended early"),
    ("nothing came for", "failed: idle"),
    ("exists already", "failed: exists"),
    ("no room", "failed: no room"),
    ("cannot see what is free", "failed: free unknown"),
    ("cannot create", "failed: not created"),
    ("cannot be given its name", "failed: not published"),
    ("the disk takes nothing", "failed: the disk takes nothing"),
    ("cannot write", "failed: not written"),
    ("--max-size", "failed: too large"),
    ("--max-per-ip", "failed: address full"),
    ("transfers are running", "failed: too many transfers"),
    ("no descriptor is left", "failed: no descriptor"),
    ("no header's length", "failed: no length"),
    ("header", "failed: malformed"),
    ("no number of bytes", "failed: malformed"),
    ("trailer", "failed: malformed"),
    ("not given", "failed: malformed"),
    ("leaves no name", "failed: no name"),
    ("the receiver was stopped", "failed: stopped"),
    ("another sender was first", "failed: not the first"),
];
