//! `cargo fuzz run limits`: see [`portcullis_fuzz::limits`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::limits(data));

#[cfg(not(fuzzing))]
fn main() {}
