//! README.md lists every promise with the tests that could refute it; this holds the list and the tests together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all tests below a directory.
fn tests_in(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path);
            for test in text.split("#[test]").skip(1) {
                let name = test.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
                found.extend(name.map(|(name, _)| name.to_string()));
            }
        }
    }
}

/// The promises that README.md lists, each with the tests it names.
fn promises() -> BTreeMap<u32, Vec<String>> {
    let readme = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let (_, section) = readme.split_once("\n## What it promises\n").expect("the section is there");
    let section = section.split("\n## ").next().expect("a section");
    let mut promises = BTreeMap::new();
    for row in section.lines().filter_map(|line| line.strip_prefix("| P")) {
        let (number, rest) = row.split_once(' ').expect("a number and what is promised");
        let number = number.parse().expect("the number of a promise");
        let tests = rest.trim_end_matches(" |").rsplit_once(" | ").expect("two columns").1;
        let tests = tests.split(", ").map(|test| test.trim_matches('`').to_string()).collect();
        assert!(promises.insert(number, tests).is_none(), "P{number} is listed twice");
    }
    promises
}

#[test]
fn every_promise_that_is_listed_has_its_tests() {
    let mut tests = BTreeSet::new();
    for directory in ["src", "tests"] {
        tests_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut tests);
    }
    let promises = promises();
    for (number, named) in &promises {
        for test in named {
            assert!(tests.contains(test), "P{number}: there is no test {test}");
        }
        let own = format!("p{number:02}_");
        assert!(named.iter().any(|test| test.starts_with(&own)), "P{number} has no test of its own");
    }
}

#[test]
fn every_promise_is_listed_but_of_what_is_not_there() {
    // Those of passwords, certificates, TLS, WebSocket and further nodes, of which there are none.
    let is_due = |number: &u32| !matches!(number, 45 | 48..=52 | 60 | 61 | 63 | 71..=76);
    let listed: Vec<u32> = promises().into_keys().collect();
    assert_eq!(listed, (1..=77).filter(is_due).collect::<Vec<_>>());
}
