//! The same bytes in different chunks.

use std::rc::Rc;

use portcullis_core::ask::Answer;
use portcullis_core::violation::Violation;
use portcullis_core::wire::Side;

use super::World;
use crate::attempt::Attempt;
use crate::dice::Dice;
use crate::model::{Plain, Way};
use crate::policy;
use crate::stream::index;

/// What is said of one connection, cut into chunks in one way: what comes out of it.
pub(crate) fn chunks(seed: u64, chunk_seed: u64) -> (Vec<Plain>, Vec<Violation>) {
    let mut world = World::new(seed, false, None);
    let chunking = Dice::new(chunk_seed);
    world.proxy.stand_still();
    let (terms, _) = policy::policy(world.messages, world.others[0]);
    let stream = world.request(0, Attempt::good(0, &terms));
    let vm = Rc::clone(&world.vms[0]);
    while let Some(token) = vm.questions().first().copied() {
        match vm.path(token) {
            Some(_) => world.publish(&vm, token),
            None => vm.receive(token, Answer::Grpc(vec![8, 1])),
        }
    }
    if stream.seen.borrow().is_forwarded {
        world.open(&vm, &stream, 9);
    }
    for _ in 0..2 + world.dice.below(8) {
        let from = world.dice.pick(&[Side::Client, Side::Client, Side::Server]);
        {
            let seen = &mut *stream.seen.borrow_mut();
            let (way, writer) = (&mut seen.ways[index(from)], &mut seen.writers[index(from)]);
            for _ in 0..1 + world.dice.below(4) {
                if !writer.has_ended() {
                    writer.say(way);
                }
            }
        }
        let whole = stream.seen.borrow().ways[index(from)].unsent_len();
        // Hundreds of chunks say as much as thousands.
        let most = chunking.pick(&[1, 7, 60, whole.max(1)]).max(whole / 200);
        loop {
            let bytes = stream.seen.borrow_mut().ways[index(from)].send(1 + chunking.below(most));
            if bytes.is_empty() || !stream.seen.borrow().is_up || stream.seen.borrow().is_over {
                break;
            }
            world.deliver(&vm, &stream, from, &bytes, false);
            stream.wake(&vm);
        }
    }
    let seen = stream.seen.borrow();
    // In one callback the one that ends the connection stands before those that were swallowed.
    let mut refusals = seen.refusals.clone();
    refusals.sort_by_key(|violation| violation.reason());
    (seen.ways.iter().map(Way::plain).collect(), refusals)
}
