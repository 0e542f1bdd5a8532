//! Each fuzz target over its corpus, which keeps what libFuzzer found, and over some thousand mutations of it,
//! the same in each run. What is found here is told as bytes that can be kept in the corpus.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

mod targets;

/// Mutations that each target is given.
const MUTATIONS: usize = 2000;

/// As libFuzzer has it (`-max_len`).
const INPUT_BYTES_MAX: usize = 4096;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name)
}

/// What is kept for a target, in an order that is the same everywhere.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let directory = fs::read_dir(corpus(name)).unwrap_or_else(|error| panic!("corpus of {name}: {error}"));
    let mut paths: Vec<PathBuf> = directory.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {name} is empty");
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

/// Runs a target, and tells the input where it fails.
fn run((name, target): targets::Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("{name}: to keep it: printf '{}' > {}/NAME", octal(input), corpus(name).display());
        resume_unwind(panic);
    }
}

/// As printf(1) takes it.
fn octal(input: &[u8]) -> String {
    input.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

/// The generator SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end as u64).max(1)) as usize
    }
}

/// Changes an input: bits, bytes that mean something somewhere, pieces lost, repeated, or from another input.
fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const TELLING: &[u8] = b"\n\r\0\t \x1b\xff\xfa\xf0\xfd:/\\.-\"{}";
    let at = random.below(input.len());
    let end = at + random.below(input.len() - at + 1);
    match random.below(6) {
        0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[at] = TELLING[random.below(TELLING.len())],
        2 => input.insert(at, TELLING[random.below(TELLING.len())]),
        3 => drop(input.drain(at..end)),
        4 => {
            let piece = input[at..end].repeat(1 + random.below(8));
            input.splice(at..at, piece);
        }
        _ => {
            let from = random.below(other.len());
            let to = from + random.below(other.len() - from + 1);
            input.splice(at..at, other[from..to].iter().copied());
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

#[test]
fn what_was_found_once_holds() {
    for target in targets::ALL {
        run(*target, b"");
        kept(target.0).iter().for_each(|input| run(*target, input));
    }
}

#[test]
fn what_holds_for_the_corpus_holds_for_what_is_nearly_like_it() {
    for target in targets::ALL {
        let kept = kept(target.0);
        let mut random = Random(0);
        for _ in 0..MUTATIONS {
            let mut input = kept[random.below(kept.len())].clone();
            for _ in 0..=random.below(4) {
                mutate(&mut input, &kept[random.below(kept.len())], &mut random);
            }
            run(*target, &input);
        }
    }
}

#[test]
fn every_corpus_has_its_target_and_small_files() {
    let directory = fs::read_dir(corpus("")).expect("the corpora");
    for entry in directory {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        // Some targets are there with a feature only.
        let is_known = targets::ALL.iter().any(|(known, _)| *known == name);
        let has_all = cfg!(all(feature = "course", feature = "simulation"));
        assert!(is_known || !has_all, "{name} has no target");
        assert!(kept(&name).iter().all(|input| input.len() <= INPUT_BYTES_MAX), "{name} has a large file");
    }
}
