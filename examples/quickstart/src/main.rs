//! `cargo demo`: a real Envoy with Portcullis before a small WebSocket backend, with one command.
//!
//! Without arguments it keeps running for you to try, with a page for it; `--check` plays good and bad clients against the same set-up,
//! `--browser` drives Chromium through the page, and both succeed only if each client got the answer that it must get. Nothing listens beyond 127.0.0.1, and all keys are made at start.

mod backend;
mod browser;
mod check;
mod demo;
mod gate;
mod playground;
mod policy;
mod progress;
mod provider;
mod tally;
mod tokens;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        [] => demo::run(),
        ["--browser"] => browser::run(),
        ["--check"] => check::run(),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

const USAGE: &str = "\
usage: cargo demo                 run Envoy with Portcullis before a backend and its page, until Ctrl-C
       cargo demo -- --check      play good and bad clients against it; exits 0 only if all match
       cargo demo -- --browser    drive Chromium through the page, over HTTP/2 and HTTP/1.1";
