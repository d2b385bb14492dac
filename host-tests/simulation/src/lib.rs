//! The core of Portcullis in a proxy that is simulated: many workers, clients, servers, reloads, services, a clock and a host that fails, in one
//! thread, all of it decided by one seed.
//!
//! ```text
//!  world    clients, servers, operators, services, time: what happens next          ┐
//!  vm,      the skin: carries out what the core says, and lets any call of the      ├ one seed
//!  stream   host fail                                                               │
//!  proxy    the clock and the data that workers share, whose swaps may be lost      ┘
//!  model    what may go on of what a peer sends, by the plainest reading of it: knows nothing of the core
//! ```
//!
//! [`check`] fails where something does not hold that always has to; the same seed does so again.

mod attempt;
mod dice;
mod frame;
mod identity;
mod model;
mod policy;
mod proxy;
mod script;
mod stream;
mod vm;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use world::World;

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// The same for each run of a seed.
    pub hash: u64,
    /// Things that happened.
    pub step_count: u32,
    /// Requests.
    pub request_count: u32,
    /// Connections that came up.
    pub open_count: u32,
    /// Bytes that peers sent over them.
    pub byte_count: u64,
    /// Workers that went over to another policy.
    pub reload_count: u32,
    /// Workers that died.
    pub death_count: u32,
    /// Whether a worker ever had no memory left.
    pub is_memory_short: bool,
}

/// Faults that the project once had, put into the skin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bug {
    /// Requests that wait together never hear that there is an answer.
    AnswerLost,
    /// A call of the host fails, the bytes in hand are lost, and later ones go on.
    ChunkLost,
    /// A Close is written twice.
    CloseTwice,
    /// A client leaves before its connection is up, and keeps its slots.
    SlotKept,
}

/// What did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// In words.
    pub message: String,
    /// The last things that happened.
    pub events: Vec<String>,
}

/// One seed in so many runs twice.
const REPEATED: u64 = 16;

/// How many things that happened are told.
const EVENT_COUNT: usize = 20;

/// Runs a seed: a world, and one connection that hears the same bytes in different chunks.
///
/// # Errors
/// What did not hold, or where the core panicked.
pub fn check(seed: u64, bug: Option<Bug>) -> Result<Report, Failure> {
    let run = |is_told| {
        let world = World::new(seed, is_told, bug);
        let proxy = Rc::clone(world.proxy());
        (catch(|| world.run()), proxy)
    };
    let report =
        run(false).0.map_err(|message| Failure { message, events: run(true).1.journal().last(EVENT_COUNT) })?;
    let fail = |message| Failure { message, events: Vec::new() };
    if seed.is_multiple_of(REPEATED) && run(false).0.as_ref() != Ok(&report) {
        return Err(fail("the same seed does not do the same".to_owned()));
    }
    catch(|| check_chunks(seed)).map_err(fail)?;
    Ok(report)
}

/// The beginning of some bytes, for a line.
fn show(bytes: &[u8]) -> String {
    format!("{:02x?} of {}", &bytes[..bytes.len().min(24)], bytes.len())
}

fn catch<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast::<&str>().map_or_else(|_| "a panic".to_owned(), |message| (*message).to_owned()),
    })
}

fn check_chunks(seed: u64) {
    let (whole, refusals) = world::chunks(seed, 1);
    for chunk_seed in 2..4 {
        let (cut, cut_refusals) = world::chunks(seed, chunk_seed);
        assert_eq!(refusals, cut_refusals, "the chunks of {chunk_seed} lead to other refusals");
        for (whole, cut) in whole.iter().zip(&cut) {
            let first = whole.iter().zip(cut).take_while(|(whole, cut)| whole == cut).count();
            assert_eq!(
                whole.get(first),
                cut.get(first),
                "the chunks of {chunk_seed} make a difference at frame {first}"
            );
        }
    }
}
