//! Scripted people, at the other ends of the connections: each follows its own stream of random numbers, so
//! that the others do the same whether it is there or not.

use super::network::{Happening, Network};
use super::plan::{Character, Fault, Habit, Plan, Reading};
use super::random::Random;
use super::speech::{self, Intent};
use super::system::Crowd;

/// Everyone, and how much they will still do.
#[derive(Debug)]
pub struct People {
    people: Vec<Person>,
    /// Things that were done, by all together.
    steps: u32,
    signal_at: Option<u32>,
}

/// One person; the last one is the operator.
#[derive(Debug)]
struct Person {
    index: usize,
    character: Option<Character>,
    random: Random,
    socket: Option<usize>,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    /// What it did, counted, so that no two messages are alike.
    acts: u64,
    /// How much it still does: its own share, whoever else there is.
    steps_left: u32,
    has_finished: bool,
    is_operator: bool,
}

impl People {
    pub(super) fn new(plan: &Plan) -> Self {
        let share = plan.steps.div_ceil(plan.people.len() as u32);
        let mut people: Vec<Person> = plan
            .people
            .iter()
            .enumerate()
            .map(|(index, character)| Person::new(plan.seed, index, *character, share))
            .collect();
        let operator = Character { habit: Habit::Chatter, reading: Reading::Eager, pace_ms: 300, address: 0 };
        let operator = plan.has_operator.then_some(operator);
        people.push(Person { is_operator: true, ..Person::new(plan.seed, people.len(), operator, share) });
        People { people, steps: 0, signal_at: plan.signal_at }
    }

    /// Whether anybody will still do anything.
    pub(super) fn has_steps_left(&self) -> bool {
        self.people.iter().any(|person| person.steps_left > 0)
    }

    /// Everyone's first step is to come.
    pub(super) fn begin(&mut self, network: &mut Network, console: Option<usize>) {
        for (index, person) in self.people.iter_mut().enumerate() {
            if person.is_operator {
                person.socket = console;
            }
            if let Some(character) = person.character {
                let at = person.random.below(character.pace_ms * 1_000_000 + 1);
                network.schedule(network.time + at, Happening::Person(index));
            }
        }
    }

    /// Everyone takes what is there, and sends what they began, from now on.
    pub(super) fn calm(&mut self, network: &mut Network) {
        for index in 0..self.people.len() {
            network.schedule(network.time, Happening::Person(index));
        }
    }
}

impl Crowd for People {
    /// One person's turn to do something, or only to read when everything has calmed down.
    fn act(&mut self, network: &mut Network, index: usize) {
        let person = &mut self.people[index];
        let Some(character) = person.character else { return };
        if network.is_calm {
            return person.be_calm(network);
        }
        if person.steps_left == 0 {
            return;
        }
        person.steps_left -= 1;
        self.steps += 1;
        if self.signal_at == Some(self.steps) {
            network.waker_edge = true;
            network.sometimes("signal");
            network.trace.add(30, &[], || "a signal".into());
        }
        person.act(network, character);
        let pause = person.random.log_between(1_000_000, character.pace_ms * 2_000_000);
        network.schedule(network.time + pause, Happening::Person(index));
    }

    /// Who has this socket does something soon.
    fn will_act(&self, network: &mut Network, key: usize) {
        if let Some(index) = self.people.iter().position(|person| person.socket == Some(key)) {
            network.schedule(network.time + 1_000_000, Happening::Person(index));
        }
    }
}

impl Person {
    fn new(seed: u64, index: usize, character: Option<Character>, steps: u32) -> Self {
        Person {
            index,
            character,
            random: Random::new(seed, "person", index),
            socket: None,
            unsent: Vec::new(),
            acts: 0,
            steps_left: if character.is_some() { steps } else { 0 },
            has_finished: false,
            is_operator: false,
        }
    }

    fn act(&mut self, network: &mut Network, character: Character) {
        let Some(key) = self.socket else {
            return self.come(network, character);
        };
        if network.sockets[key].is_reset || network.sockets[key].person_left {
            self.forget();
            return;
        }
        self.read(network, key, character.reading);
        if network.sockets[key].outbound.is_finished && network.sockets[key].outbound.there.is_empty() {
            // The server ended: most people go then, some do not.
            if self.random.chance(600) {
                network.leave(key);
                self.forget();
            }
            return;
        }
        if !self.is_operator && network.strikes(Fault::Resets) && self.random.chance(300) {
            network.reset(key);
            return self.forget();
        }
        self.acts += 1;
        let Person { random, index, acts, .. } = self;
        let intent = if self.is_operator {
            speech::operation(random)
        } else {
            speech::intent(random, character.habit, *index, *acts)
        };
        match intent {
            Intent::Say(bytes) => {
                if self.unsent.len() < 4096 {
                    self.unsent.extend(bytes);
                }
                self.send(network, key, character.habit == Habit::Dripper);
            }
            Intent::Finish => self.finish(network, key),
            Intent::Leave => {
                network.leave(key);
                self.forget();
            }
            Intent::Reset => {
                network.reset(key);
                self.forget();
            }
            Intent::Nothing => {}
        }
    }

    fn come(&mut self, network: &mut Network, character: Character) {
        if !self.is_operator {
            self.socket = Some(network.connect(character.address, Some(self.index)));
            self.has_finished = false;
        }
    }

    fn forget(&mut self) {
        self.socket = None;
        self.unsent.clear();
    }

    fn finish(&mut self, network: &mut Network, key: usize) {
        if !self.has_finished {
            self.has_finished = true;
            network.finish(key);
        }
    }

    fn send(&mut self, network: &mut Network, key: usize, drips: bool) {
        if self.has_finished {
            return;
        }
        let bytes_max = match drips {
            true => self.random.between(1, 3) as usize,
            false if self.random.chance(300) => self.random.log_between(1, 100) as usize,
            false => usize::MAX,
        };
        let bytes = self.unsent.len().min(bytes_max);
        let sent = network.send(key, &self.unsent[..bytes]);
        self.unsent.drain(..sent);
    }

    fn read(&mut self, network: &mut Network, key: usize, reading: Reading) {
        let bytes_max = match reading {
            Reading::Eager => usize::MAX,
            Reading::Bursts if self.random.chance(100) => usize::MAX,
            Reading::Drip => 1,
            Reading::Bursts | Reading::Stalled => return,
        };
        network.receive(key, bytes_max);
    }

    fn be_calm(&mut self, network: &mut Network) {
        let Some(key) = self.socket else { return };
        if network.sockets[key].person_left || network.sockets[key].is_reset {
            return self.forget();
        }
        network.receive(key, usize::MAX);
        if network.sockets[key].outbound.is_finished {
            network.leave(key);
            return self.forget();
        }
        if !self.unsent.is_empty() && !self.has_finished {
            // What the socket does not take, it may once the server has read: see `will_act`.
            let sent = network.send(key, &self.unsent);
            self.unsent.drain(..sent);
        }
    }
}
