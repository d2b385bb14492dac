//! `cargo fuzz run schema`: see [`portcullis_fuzz::schema`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::schema(data));

#[cfg(not(fuzzing))]
fn main() {}
