//! libFuzzer on the target `file_name`.
#![no_main]

#[allow(dead_code)]
#[path = "../../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::files::name(input));
