//! `cargo fuzz run ticket`: see [`portcullis_fuzz::ticket`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::ticket(data));

#[cfg(not(fuzzing))]
fn main() {}
