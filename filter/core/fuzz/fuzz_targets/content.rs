//! `cargo fuzz run content`: see [`portcullis_fuzz::content`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::content(data));

#[cfg(not(fuzzing))]
fn main() {}
