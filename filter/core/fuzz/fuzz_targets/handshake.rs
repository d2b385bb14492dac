//! `cargo fuzz run handshake`: see [`portcullis_fuzz::handshake`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::handshake(data));

#[cfg(not(fuzzing))]
fn main() {}
