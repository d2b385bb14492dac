//! Plays the cases a few at a time, and prints one row for each in their order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::scene::{Case, Scene, Stage};
use crate::tally::Tally;

/// Plays all cases and prints their rows.
pub(super) fn play(stage: &Stage, cases: &[Case]) -> Tally {
    let mut tally = Tally::start();
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some((index, case)) = take(next, cases) {
                    let scene = Scene { stage, mark: format!("case{index:03}") };
                    let got = (case.play)(&scene).unwrap_or_else(|error| format!("error: {error}"));
                    // The receiver lives until every sender is gone.
                    let _ = sender.send((index, got));
                }
            });
        }
        drop(sender);
        let mut done = BTreeMap::new();
        for (index, got) in receiver {
            done.insert(index, got);
            while let Some(got) = done.remove(&tally.total()) {
                let case = &cases[tally.total()];
                tally.row(&case.name, &case.expected, &got);
            }
        }
    });
    tally
}

fn take<'a>(next: &AtomicUsize, cases: &'a [Case]) -> Option<(usize, &'a Case)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    cases.get(index).map(|case| (index, case))
}

/// Nearly all of a case's time is the second that Envoy gives a refused client to close its connection.
const AT_ONCE: usize = 12;
