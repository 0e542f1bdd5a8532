//! P70 and P77: what is promised of the source and of what it is built on; and that no bytes end a server.

use std::fs;
use std::io::Write;
use std::path::Path;

use rustix::process::Signal;

use crate::faults::can;
use crate::harness::{Directory, Server, is_installed, onepoll, tool};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A section of a TOML file, `[name]` not included.
fn section<'a>(toml: &'a str, name: &str) -> &'a str {
    let (_, rest) = toml.split_once(&format!("\n[{name}]\n")).unwrap_or_else(|| panic!("no [{name}]"));
    rest.split("\n[").next().unwrap_or_default()
}

/// The files of a directory and below, with what is in them.
fn sources(directory: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).expect("it is there") {
        let entry = entry.expect("an entry");
        let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(sources(&path));
        } else {
            found.push((path.clone(), read(&path)));
        }
    }
    found
}

#[test]
fn p70_nothing_that_comes_in_may_meet_an_unwrap_and_numbers_that_overflow_are_found_in_releases_too() {
    let release = read("Cargo.toml");
    let release = section(&release, "profile.release");
    assert!(release.contains("overflow-checks = true") && release.contains("panic = \"abort\""), "{release}");
    let lints = "#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::panic, clippy::unreachable";
    assert!(read("src/lib.rs").contains(lints), "clippy does not look for what panics");
    for (path, text) in sources("src") {
        let exempt = ["src/lab", "src/cli", "src/simulation"];
        let is_exempt = path.contains("/tests") || exempt.iter().any(|place| path.starts_with(place));
        let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in program.lines().enumerate().filter(|_| !is_exempt) {
            let line = line.trim();
            if line.starts_with("//") {
                continue;
            }
            // What cannot be is said to be impossible, and why.
            if let Some((_, why)) = line.split_once(".expect(") {
                assert!(why.starts_with("\"invariant: "), "{path}:{}: {line}", number + 1);
            }
        }
    }
}

/// The same bytes in every run (xorshift), of which many mean something to one server or another.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    const WORDS: [&[u8]; 24] = [
        b"\n",
        b"\r\n",
        b"\r\0",
        b"\0",
        b"\xff\xfd\x06",
        b"\xff\xfa",
        b"\xff\xf0",
        b"/nick ",
        b"/join ",
        b"/last ",
        b"/msg ",
        b"/leave\n",
        b"[1] ",
        b"18446744073709551616",
        b"-1",
        b"GET / HTTP/1.1\r\n",
        b"Host: a\r\n\r\n",
        b"Content-Length: ",
        b"\x16\x03\x01",
        b"\x40\0\0\0",
        b"{\"filename\": \"a\", \"filesize\": 3}",
        b"\xe4\xbd",
        "你".as_bytes(),
        b"\x1b[2J",
    ];
    let mut state = seed;
    let mut noise = Vec::new();
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state % 3 {
            0 => noise.extend_from_slice(WORDS[(state >> 8) as usize % WORDS.len()]),
            1 => noise.extend_from_slice(&state.to_le_bytes()),
            _ => noise.extend(std::iter::repeat_n(state as u8, (state >> 8) as usize % 300)),
        }
    }
    noise
}

#[test]
fn p70_no_bytes_end_a_server() {
    let mut servers =
        vec![vec!["serve", "--rate", "off", "-qq"], vec!["serve", "--format", "raw", "--no-echo", "-qq"]];
    let directory = Directory::new();
    let folder = directory.file("").display().to_string();
    if cfg!(feature = "course") {
        servers.extend([
            vec!["hello"],
            vec!["receive", &folder, "--quiet"],
            vec!["ask"],
            vec!["greet"],
            vec!["echo", "--lines", "--reply", "{peer}: {}"],
        ]);
    }
    for arguments in servers {
        let mut server = Server::spawn(onepoll(&[&arguments[..], &["--listen", "127.0.0.1:0"]].concat()));
        // What the operator's screen shows is of no interest here, and must not stop it.
        drop(server.console.take());
        let mut half_closed = Vec::new();
        for seed in 1..=60_u64 {
            let mut client = server.connect();
            // It may be closed for what it seems to speak.
            for piece in noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 8 * 1024)
                .chunks(1 + 997 * seed as usize % 4096)
            {
                if client.source.write_all(piece).is_err() {
                    break;
                }
            }
            let _ = client.source.write_all(b"\n");
            match seed % 3 {
                0 => client.reset(),
                1 => drop(client),
                _ => {
                    let _ = client.tcp().shutdown(std::net::Shutdown::Write);
                    half_closed.push(client);
                }
            }
        }
        drop((server.connect(), half_closed));
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(), 0, "{arguments:?}");
    }
}

/// The packages that `Cargo.toml` names, and the versions that it asks for.
fn direct_dependencies() -> Vec<(String, String)> {
    let manifest = read("Cargo.toml");
    let lines =
        section(&manifest, "dependencies").lines().chain(section(&manifest, "dev-dependencies").lines());
    lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, rest)| {
            let version = rest.strip_prefix("{ version = ").unwrap_or(rest);
            (name.into(), version.split('"').nth(1).expect("a version").into())
        })
        .collect()
}

#[test]
fn p77_every_package_is_a_stable_release_of_the_registry_and_locked() {
    let lock = read("Cargo.lock");
    // Another user's repository is not read by git; one that was copied without its `.git` is none.
    if is_installed("git") && can(&format!("git -C '{}' rev-parse HEAD", env!("CARGO_MANIFEST_DIR"))) {
        let mut tracked = tool("git");
        tracked.args(["-C", env!("CARGO_MANIFEST_DIR"), "ls-files", "--error-unmatch", "Cargo.lock"]);
        let tracked = tracked.output().expect("it is installed");
        assert!(tracked.status.success(), "Cargo.lock is not committed");
    }
    let mut packages = 0;
    for package in lock.split("\n[[package]]\n").skip(1) {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.map(|value| value.trim_matches('"').to_string())
        };
        let name = field("name").expect("a name");
        if name == "onepoll" {
            continue;
        }
        packages += 1;
        let version = field("version").expect("a version");
        assert!(
            !version.split('+').next().unwrap_or_default().contains('-'),
            "{name} {version} is no release"
        );
        assert_eq!(
            field("source").as_deref(),
            Some("registry+https://github.com/rust-lang/crates.io-index"),
            "{name}"
        );
        assert!(field("checksum").is_some(), "{name} has no checksum");
    }
    assert!(packages > 20, "only {packages} packages were found");
}

#[test]
fn p77_every_direct_dependency_is_named_in_the_readme_with_its_reason() {
    let readme = read("README.md");
    let (_, table) = readme.split_once("## What it is built on").expect("the section");
    let table = table.split("\n## ").next().unwrap_or_default();
    let dependencies = direct_dependencies();
    assert!(dependencies.len() > 10, "{dependencies:?}");
    for (name, version) in &dependencies {
        let row = table.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        let reason = row.and_then(|row| row.split('|').nth(2)).map_or("", str::trim);
        assert!(reason.len() > 5, "{name} has no reason in README.md");
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{name} {version}: a range of releases");
    }
    // Nor is a reason given for what is gone.
    for name in table.lines().filter(|line| line.starts_with("| `")).flat_map(|line| {
        let packages = line.split('|').nth(1).unwrap_or_default();
        packages.split('`').skip(1).step_by(2).map(String::from).collect::<Vec<_>>()
    }) {
        assert!(dependencies.iter().any(|(known, _)| *known == name), "{name} is no dependency any more");
    }
}
