//! The end of `cargo test`: which tests did not run, wholly or in part, and why; see `serve/needs.rs`. It has no
//! tests of its own, and its name is the last, because cargo runs the targets in the order of their names.

use std::collections::BTreeSet;
use std::path::Path;

#[allow(dead_code)]
#[path = "serve/needs.rs"]
mod needs;

fn main() {
    // A list of tests is asked for, and there is none here.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let path = needs::report_path();
    let report = std::fs::read_to_string(&path).unwrap_or_default();
    let missing: BTreeSet<(&str, &str)> =
        report.lines().filter_map(|line| line.rsplit_once('\t')?.0.split_once('\t')).collect();
    let tests: BTreeSet<&str> = missing.iter().map(|(test, _)| *test).collect();
    match tests.len() {
        0 => println!("\nnot run: none: every test had what it needs"),
        1 => println!("\nnot run, or only in part: 1 test"),
        count => println!("\nnot run, or only in part: {count} tests"),
    }
    for (test, what) in missing {
        println!("    {test}: {what}");
    }
    println!();
    if std::env::var_os("ONEPOLL_NOT_RUN").is_none() {
        remove(&path);
    }
}

/// Removes this report, and those whose cargo has ended without one to show them.
fn remove(shown: &Path) {
    let _ = std::fs::remove_file(shown);
    let reports = std::fs::read_dir(env!("CARGO_TARGET_TMPDIR")).into_iter().flatten().flatten();
    for report in reports.map(|entry| entry.path()) {
        let name = report.file_name().unwrap_or_default().to_string_lossy();
        if let Some(cargo) = name.strip_prefix("not-run-")
            && !Path::new("/proc").join(cargo).exists()
        {
            let _ = std::fs::remove_file(&report);
        }
    }
}
