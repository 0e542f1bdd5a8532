//! The real folder, on the real disk: names that are taken, planted things, and what earlier receivers left.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::*;

/// A directory of this test's own, removed when it ends.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("onepoll-folder-{}-{test}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        Place(path)
    }

    fn open(&self) -> (DiskFolder, Remains) {
        DiskFolder::open(&self.0, false).expect("a folder")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.file(name), content).expect("a file");
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn names(&self) -> Vec<String> {
        names(&self.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn part(folder: &mut DiskFolder, content: &str) -> DiskPart {
    let mut part = folder.create().expect("a part");
    assert_eq!(folder.write(&mut part, 0, content.as_bytes()).expect("room"), content.len());
    part
}

fn key(letter: char) -> String {
    letter.to_string().repeat(KEY_BYTES)
}

fn resume_name(letter: char) -> String {
    format!("{PREFIX}{RESUMABLE}{}", key(letter))
}

const STALE: &str = ".onepoll-new-0123456789abcdef";

#[test]
fn a_part_is_private_and_hidden_until_it_is_published() {
    let place = Place::new("private");
    let (mut folder, _) = place.open();
    let part = part(&mut folder, "hello");
    let names = place.names();
    assert!(names.len() == 1 && names[0].starts_with(".onepoll-new-"), "{names:?}");
    assert_eq!(fs::metadata(place.file(&names[0])).expect("it").mode() & 0o7777, 0o600);
    assert_eq!(folder.publish(part, "a", Conflict::Refuse).expect("published"), "a");
    assert_eq!(place.names(), ["a"]);
    assert_eq!(fs::metadata(place.file("a")).expect("it").mode() & 0o7777, 0o600);
    assert_eq!(place.content("a"), "hello");
}

#[test]
fn a_part_that_is_dropped_is_gone() {
    let place = Place::new("dropped");
    let (mut folder, _) = place.open();
    drop(part(&mut folder, "hello"));
    let (resumed, bytes) = folder.resume(&key('a')).expect("a part");
    assert_eq!((place.names(), bytes), (vec![resume_name('a')], 0));
    drop(resumed);
    assert!(place.names().is_empty());
}

#[test]
fn a_name_that_is_taken_is_settled_as_the_operator_wants() {
    let place = Place::new("conflict");
    let (mut folder, _) = place.open();
    place.put("a.txt", "old");
    for expected in ["a-1.txt", "a-2.txt"] {
        let new = part(&mut folder, "new");
        assert_eq!(folder.publish(new, "a.txt", Conflict::Rename).expect("published"), expected);
        assert_eq!(place.content(expected), "new");
    }
    let new = part(&mut folder, "new");
    let error = folder.publish(new, "a.txt", Conflict::Refuse).expect_err("it is there");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(place.content("a.txt"), "old");
    let new = part(&mut folder, "new");
    assert_eq!(folder.publish(new, "a.txt", Conflict::Overwrite).expect("published"), "a.txt");
    assert_eq!(place.content("a.txt"), "new");
    assert_eq!(place.names(), ["a-1.txt", "a-2.txt", "a.txt"], "nothing is left over");
}

#[test]
fn numbers_end_somewhere() {
    let place = Place::new("numbers");
    let (mut folder, _) = place.open();
    place.put("a", "");
    for number in 1..=limits::FILE_NUMBERS_MAX {
        place.put(&name::numbered("a", number), "");
    }
    let new = part(&mut folder, "new");
    let error = folder.publish(new, "a", Conflict::Rename).expect_err("all are taken");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn links_that_were_planted_lead_nowhere() {
    let place = Place::new("links");
    let outside = Place::new("links-outside");
    outside.put("victim", "precious");
    let (mut folder, _) = place.open();
    symlink(outside.file("victim"), place.file("a")).expect("a link");
    symlink(&outside.0, place.file("directory")).expect("a link");
    symlink(outside.file("not-there"), place.file("dangling")).expect("a link");
    symlink(outside.file("victim"), place.file(&resume_name('a'))).expect("a link");
    for name in ["a", "directory", "dangling"] {
        assert!(folder.has(name));
        let new = part(&mut folder, "new");
        let published = folder.publish(new, name, Conflict::Rename).expect("published");
        assert_eq!(published, format!("{name}-1"));
        let new = part(&mut folder, "new");
        assert!(folder.publish(new, name, Conflict::Refuse).is_err());
        let new = part(&mut folder, "newer");
        folder.publish(new, name, Conflict::Overwrite).expect("the link itself is replaced");
        assert_eq!(place.content(name), "newer");
    }
    let error = folder.resume(&key('a')).expect_err("it is a link");
    assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()), "it is not even opened");
    assert_eq!(outside.names(), ["victim"]);
    assert_eq!(outside.content("victim"), "precious");
}

#[test]
fn what_was_planted_under_the_name_of_a_part_is_not_written_to() {
    let place = Place::new("planted");
    let (mut folder, _) = place.open();
    place.put("victim", "precious");
    fs::hard_link(place.file("victim"), place.file(&resume_name('a'))).expect("a link");
    fs::create_dir(place.file(&resume_name('b'))).expect("a directory");
    let fifo = place.file(&resume_name('c'));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    for letter in ['a', 'b', 'c'] {
        assert!(folder.resume(&key(letter)).is_err(), "{letter}");
    }
    let before = place.names();
    let (_folder, remains) = place.open();
    assert_eq!((place.names(), remains.removed), (before, 0));
    assert_eq!(place.content("victim"), "precious");
}

#[test]
fn the_next_start_removes_what_nobody_writes_to_and_nothing_else() {
    let place = Place::new("remains");
    let (mut first, _) = place.open();
    let in_use = part(&mut first, "in use");
    let (resumed_in_use, _) = first.resume(&key('a')).expect("a part");
    place.put(STALE, "stale");
    place.put(&resume_name('b'), "young");
    place.put(&resume_name('c'), "old");
    let old = SystemTime::now() - limits::PART_AGE_MAX - Duration::from_secs(60);
    fs::File::options()
        .write(true)
        .open(place.file(&resume_name('c')))
        .and_then(|file| file.set_modified(old))
        .expect("an old file");
    for ordinary in ["file", ".onepoll-new-short", ".onepoll-resume-notes", ".onepoll-new-0123456789abcde/"] {
        place.put(ordinary.trim_end_matches('/'), "somebody's");
    }
    let (_second, remains) = place.open();
    assert_eq!(remains, Remains { removed: 2, kept: 1 });
    let names = place.names();
    for kept in ["file", ".onepoll-new-short", ".onepoll-resume-notes", &resume_name('a'), &resume_name('b')]
    {
        assert!(names.iter().any(|name| name == kept), "{kept} is gone: {names:?}");
    }
    assert_eq!(names.len(), 7, "{names:?}");
    // The first receiver goes on as if nothing had been.
    assert_eq!(first.publish(in_use, "done", Conflict::Refuse).expect("published"), "done");
    first.publish(resumed_in_use, "resumed", Conflict::Refuse).expect("published");
}

#[test]
fn a_part_that_is_kept_is_continued_and_only_by_one() {
    let place = Place::new("kept");
    let (mut folder, _) = place.open();
    let (mut first, bytes) = folder.resume(&key('a')).expect("a part");
    assert_eq!(bytes, 0);
    folder.write(&mut first, 0, b"hello").expect("room");
    assert!(folder.resume(&key('a')).is_err(), "it is being written to");
    folder.keep(first);
    let (mut other, _) = place.open();
    let (mut again, bytes) = other.resume(&key('a')).expect("the part");
    assert!(folder.resume(&key('a')).is_err(), "another receiver has it");
    let mut content = [0; 8];
    assert_eq!((other.read(&mut again, 0, &mut content).expect("read"), bytes), (5, 5));
    other.clear(&mut again).expect("cleared");
    assert_eq!(other.read(&mut again, 0, &mut content).expect("read"), 0);
}

#[test]
fn not_more_are_kept_than_there_is_a_place_for() {
    let place = Place::new("many");
    let letters: Vec<char> = ('a'..='z').collect();
    let (mut folder, _) = place.open();
    for letter in &letters {
        let (part, _) = folder.resume(&key(*letter)).expect("a part");
        folder.keep(part);
    }
    let newest: Vec<String> =
        letters[letters.len() - limits::PARTS_KEPT_MAX..].iter().map(|letter| resume_name(*letter)).collect();
    assert_eq!(place.names(), newest);
    drop(folder);
    // Killed receivers can leave more than they would have kept.
    for letter in &letters {
        place.put(&resume_name(*letter), "");
    }
    let (_folder, remains) = place.open();
    assert_eq!(remains.kept, limits::PARTS_KEPT_MAX);
    assert_eq!(place.names().len(), limits::PARTS_KEPT_MAX);
}

#[test]
fn a_part_that_gets_its_name_while_it_is_being_opened_is_not_written_to() {
    let place = Place::new("race");
    let (mut first, _) = place.open();
    let (mut part, _) = first.resume(&key('a')).expect("a part");
    first.write(&mut part, 0, b"whole").expect("room");
    // The other receiver opens it, and before it can lock it, the first one is done.
    let opened =
        fs::File::options().read(true).write(true).open(place.file(&resume_name('a'))).expect("open");
    first.publish(part, "done", Conflict::Refuse).expect("published");
    let (other, _) = place.open();
    assert!(
        other.lock(opened.try_clone().expect("a copy").into(), &resume_name('a')).expect("a lock").is_none()
    );
    place.put(&resume_name('a'), "somebody else's");
    assert!(other.lock(opened.into(), &resume_name('a')).expect("a lock").is_none());
    assert_eq!(place.content("done"), "whole");
}

#[test]
fn what_is_no_folder_is_told_at_once() {
    let place = Place::new("none");
    place.put("file", "");
    let error = DiskFolder::open(&place.file("file"), false).expect_err("no folder");
    assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    let error = DiskFolder::open(&place.file("nothing"), false).expect_err("nothing");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_durable_folder_does_the_same() {
    let place = Place::new("durable");
    let (mut folder, _) = DiskFolder::open(&place.0, true).expect("a folder");
    let mut part = folder.create().expect("a part");
    let chunk = vec![7; limits::WRITE_CHUNK_BYTES];
    for n in 0..20 {
        let offset = n * chunk.len() as u64;
        assert_eq!(folder.write(&mut part, offset, &chunk).expect("room"), chunk.len());
    }
    assert!(part.unsynced_bytes < limits::PART_UNSYNCED_BYTES_MAX);
    folder.publish(part, "a", Conflict::Refuse).expect("published");
    let file = fs::File::open(place.file("a")).expect("it");
    let mut last = [0; 1];
    file.read_exact_at(&mut last, 20 * chunk.len() as u64 - 1).expect("it is whole");
    assert_eq!(last, [7]);
    assert!(folder.free_bytes().expect("a number") > 0);
}
