//! A simulated disk, and the folder on it: it fills up, takes less than it is offered, fails, is slow; and it
//! writes down what became visible, and what is held of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;

use super::super::network::Network;
use super::super::random::Random;
use super::plan::{DiskFault, DiskFaults, Plan};
use crate::codec::transfer::name;
use crate::limits;
use crate::servers::receive::folder::{Conflict, Folder, KEY_BYTES};

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

fn failed<T>(code: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(code))
}

/// A file that got its name.
#[derive(Debug)]
pub(super) struct Published {
    /// The name that was asked for.
    pub(super) asked: String,
    /// The name that it got.
    pub(super) given: String,
    pub(super) content: Vec<u8>,
}

/// What the last call did that somebody has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Published,
    Kept,
    /// A part that was kept for later was removed as it was.
    Lost,
}

/// What was asked of the disk in one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DiskCalls {
    pub(super) reads: usize,
    pub(super) bytes_written: usize,
}

/// All of the disk.
#[derive(Debug)]
pub(super) struct Disk {
    network: Rc<RefCell<Network>>,
    random: Random,
    faults: DiskFaults,
    conflict: Conflict,
    room_bytes: u64,
    /// What is visible, by name.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Parts that can be continued, by key, the oldest first.
    pub(super) kept: VecDeque<(String, Vec<u8>)>,
    /// Keys whose parts are being written to.
    held: BTreeSet<String>,
    /// Parts that somebody has.
    pub(super) parts_open: usize,
    /// What became visible and was not looked at yet.
    pub(super) published: Vec<Published>,
    pub(super) last_deed: Option<Deed>,
    pub(super) calls: DiskCalls,
}

impl Disk {
    pub(super) fn new(plan: &Plan, network: Rc<RefCell<Network>>) -> Rc<RefCell<Self>> {
        let conflict = plan.settings.on_conflict;
        let mut disk = Disk {
            network,
            random: Random::new(plan.seed, "disk", 0),
            faults: plan.disk_faults,
            conflict,
            room_bytes: plan.disk_bytes,
            files: BTreeMap::new(),
            kept: VecDeque::new(),
            held: BTreeSet::new(),
            parts_open: 0,
            published: Vec::new(),
            last_deed: None,
            calls: DiskCalls::default(),
        };
        // Somebody else's file, which is to stay what it is, unless it may be replaced.
        disk.files.insert("taken".into(), b"somebody else's".to_vec());
        Rc::new(RefCell::new(disk))
    }

    /// There is room for everything from now on.
    pub(super) fn calm(&mut self) {
        self.room_bytes = 1 << 40;
    }

    /// Whether the fault strikes now.
    fn strikes(&mut self, fault: DiskFault) -> bool {
        let rate = self.faults.rate(fault);
        let mut network = self.network.borrow_mut();
        let strikes = rate > 0 && !network.is_calm && self.random.chance(rate);
        if strikes {
            network.sometimes(fault.name());
        }
        strikes
    }

    /// A call takes its time.
    fn spend(&mut self) {
        if self.strikes(DiskFault::Slow) {
            let time = self.random.log_between(1_000_000, 1_000_000_000);
            self.network.borrow_mut().time_at_work += time;
        }
    }

    /// Somebody else writes to the same disk.
    fn let_others_write(&mut self) {
        if self.strikes(DiskFault::Full) {
            self.room_bytes = self.random.below(self.room_bytes.min(20_000) + 1);
        }
    }

    fn tell(&mut self, kind: u8, numbers: &[u64], words: impl FnOnce() -> String) {
        self.network.borrow_mut().trace.add(kind, numbers, words);
    }

    fn fits(&self, part: &Part, bytes: u64) -> bool {
        bytes.saturating_sub(part.bytes.len() as u64) <= self.room_bytes
    }
}

/// The folder that the receiver has on it.
#[derive(Debug)]
pub(super) struct SimulatedFolder(pub(super) Rc<RefCell<Disk>>);

/// A file that is not whole; dropping it removes it.
#[derive(Debug)]
pub(super) struct Part {
    disk: Rc<RefCell<Disk>>,
    key: Option<String>,
    bytes: Vec<u8>,
    /// It is what was kept for later, and nobody wrote to it since.
    is_as_kept: bool,
}

impl Part {
    /// Takes what was written out of it.
    fn take(mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // While something panics, the disk may be at work.
        let Ok(mut disk) = self.disk.try_borrow_mut() else { return };
        disk.parts_open -= 1;
        disk.room_bytes += self.bytes.len() as u64;
        if self.is_as_kept && !self.bytes.is_empty() {
            disk.last_deed = Some(Deed::Lost);
        }
        if let Some(key) = &self.key {
            disk.held.remove(key);
        }
    }
}

impl SimulatedFolder {
    fn part(&self, disk: &mut Disk, key: Option<&str>, bytes: Vec<u8>) -> Part {
        disk.parts_open += 1;
        disk.held.extend(key.map(String::from));
        Part { disk: Rc::clone(&self.0), key: key.map(String::from), bytes, is_as_kept: key.is_some() }
    }
}

impl Folder for SimulatedFolder {
    type Part = Part;

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = &mut *self.0.borrow_mut();
        disk.let_others_write();
        if disk.strikes(DiskFault::FreeUnknown) { failed(EIO) } else { Ok(disk.room_bytes) }
    }

    fn has(&self, name: &str) -> bool {
        self.0.borrow().files.contains_key(name)
    }

    fn create(&mut self) -> io::Result<Part> {
        let disk = &mut *self.0.borrow_mut();
        disk.spend();
        if disk.strikes(DiskFault::NotCreated) {
            return failed(*disk.random.pick(&[EMFILE, EACCES, ENOSPC, EIO]));
        }
        Ok(self.part(disk, None, Vec::new()))
    }

    fn resume(&mut self, key: &str) -> io::Result<(Part, u64)> {
        let is_fit = key.len() == KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(is_fit, "I15: {key:?} is no key");
        let disk = &mut *self.0.borrow_mut();
        disk.spend();
        if disk.held.contains(key) {
            disk.network.borrow_mut().sometimes("disk: a part is held");
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if disk.strikes(DiskFault::NotCreated) {
            return failed(*disk.random.pick(&[EMFILE, EACCES, EIO]));
        }
        let place = disk.kept.iter().position(|(kept, _)| kept == key);
        let bytes = place.and_then(|place| disk.kept.remove(place)).map_or(Vec::new(), |(_, bytes)| bytes);
        let length = bytes.len() as u64;
        disk.tell(50, &[length], || format!("disk: part {key} of {length} bytes is taken up"));
        Ok((self.part(disk, Some(key), bytes), length))
    }

    fn read(&mut self, part: &mut Part, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(buffer.len() <= limits::READ_CHUNK_BYTES, "I6: {} bytes in one read", buffer.len());
        let disk = &mut *self.0.borrow_mut();
        disk.calls.reads += 1;
        disk.spend();
        if disk.strikes(DiskFault::Interrupts) {
            return failed(EINTR);
        }
        if disk.strikes(DiskFault::Broken) {
            return failed(EIO);
        }
        let rest = part.bytes.get(offset as usize..).unwrap_or_default();
        let mut bytes = rest.len().min(buffer.len());
        if bytes > 0 && disk.strikes(DiskFault::Short) {
            bytes = disk.random.log_between(1, bytes as u64) as usize;
        }
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        disk.tell(51, &[offset, bytes as u64], || format!("disk: {bytes} bytes at {offset} are read"));
        Ok(bytes)
    }

    fn write(&mut self, part: &mut Part, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        assert!(bytes.len() <= limits::WRITE_CHUNK_BYTES, "I6: {} bytes in one write", bytes.len());
        let disk = &mut *self.0.borrow_mut();
        part.is_as_kept = false;
        disk.spend();
        disk.let_others_write();
        if disk.strikes(DiskFault::Interrupts) {
            return failed(EINTR);
        }
        if disk.strikes(DiskFault::Broken) {
            return failed(EIO);
        }
        if disk.strikes(DiskFault::TakesNothing) {
            return Ok(0);
        }
        let mut taken = bytes.len();
        if disk.strikes(DiskFault::Short) {
            taken = disk.random.log_between(1, taken as u64) as usize;
        }
        let end = offset + taken as u64;
        if !disk.fits(part, end) {
            disk.network.borrow_mut().sometimes("disk: no room for a write");
            return failed(*disk.random.pick(&[ENOSPC, EDQUOT]));
        }
        disk.room_bytes -= end.saturating_sub(part.bytes.len() as u64);
        // As pwrite(2): what was left out reads as zeros.
        part.bytes.resize(part.bytes.len().max(end as usize), 0);
        part.bytes[offset as usize..end as usize].copy_from_slice(&bytes[..taken]);
        disk.calls.bytes_written += taken;
        let offered = bytes.len();
        disk.tell(52, &[offset, taken as u64], || {
            format!("disk: {taken} of {offered} bytes at {offset} are written")
        });
        Ok(taken)
    }

    fn clear(&mut self, part: &mut Part) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        part.is_as_kept = false;
        if disk.strikes(DiskFault::NotCleared) {
            return failed(EIO);
        }
        disk.room_bytes += part.bytes.len() as u64;
        part.bytes.clear();
        Ok(())
    }

    fn keep(&mut self, part: Part) {
        let key = part.key.clone().expect("I15: a part is kept that nobody can find again");
        let bytes = part.take();
        let disk = &mut *self.0.borrow_mut();
        let length = bytes.len();
        disk.tell(53, &[length as u64], || format!("disk: part {key} of {length} bytes is kept"));
        disk.kept.push_back((key, bytes));
        if disk.kept.len() > limits::PARTS_KEPT_MAX {
            let oldest = disk.kept.pop_front();
            disk.room_bytes += oldest.map_or(0, |(_, bytes)| bytes.len() as u64);
        }
        disk.last_deed = Some(Deed::Kept);
    }

    fn publish(&mut self, part: Part, name: &str, conflict: Conflict) -> io::Result<String> {
        {
            let disk = &mut *self.0.borrow_mut();
            disk.spend();
            if disk.strikes(DiskFault::NotPublished) {
                return failed(*disk.random.pick(&[EIO, EACCES, ENOSPC]));
            }
            assert_eq!(conflict, disk.conflict, "I15: not what the operator chose");
        }
        let is_taken = |name: &str| self.has(name);
        let given = match conflict {
            Conflict::Overwrite => Some(name.to_string()),
            Conflict::Refuse => Some(name.to_string()).filter(|name| !is_taken(name)),
            Conflict::Rename if !is_taken(name) => Some(name.to_string()),
            Conflict::Rename => (1..=limits::FILE_NUMBERS_MAX)
                .map(|number| name::numbered(name, number))
                .find(|name| !is_taken(name)),
        };
        let Some(given) = given else { return Err(io::ErrorKind::AlreadyExists.into()) };
        let content = part.take();
        let disk = &mut *self.0.borrow_mut();
        disk.tell(54, &[content.len() as u64], || {
            format!("disk: {} bytes become visible as {given:?}", content.len())
        });
        disk.network.borrow_mut().trace.hash_bytes(given.as_bytes());
        let replaced = disk.files.insert(given.clone(), content.clone());
        if let Some(replaced) = replaced {
            disk.room_bytes += replaced.len() as u64;
            disk.network.borrow_mut().sometimes("visible: in place of another");
        } else if given != name {
            disk.network.borrow_mut().sometimes("visible: under a number");
        }
        disk.published.push(Published { asked: name.into(), given: given.clone(), content });
        disk.last_deed = Some(Deed::Published);
        Ok(given)
    }
}
