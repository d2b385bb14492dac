//! `cargo fuzz run decoder`: see [`portcullis_fuzz::decoder`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::decoder(data));

#[cfg(not(fuzzing))]
fn main() {}
