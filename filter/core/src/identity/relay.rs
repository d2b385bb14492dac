//! Logouts on their way to the other proxies of a fleet: each is posted to each of them as it came, a few times where that fails.
//!
//! What a proxy is sent it checks itself, and sends on to nobody. The list is bounded, and a worker that dies loses it: a
//! [feed](super::feed) is for those who cannot live with that.

use core::cell::{Cell, RefCell};
use core::time::Duration;

use super::inquiries::{Inquiries, Topic};
use crate::ask::{Answer, HttpRequest};
use crate::time::Moment;

/// What tells a logout that was sent on from one of the provider's: it is sent on no more. Whoever forges it reaches one proxy of the fleet
/// with a logout of the provider's, which he could have kept to himself.
pub const SENT_ON: &str = "x-portcullis-sent-on";

/// How many may be on their way: with four peers a worker gets through hundreds in a second, and a request is some 2 KiB.
const PARCELS_MAX: usize = 256;

/// How often each is tried: the first time at once, the last one 15 seconds later.
const TRIES_MAX: u32 = 5;

/// When one that failed is tried again, at first; then it is doubled.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The logouts of a worker that are on their way.
#[derive(Debug, Default)]
pub struct Relay {
    next: Cell<usize>,
    parcels: RefCell<Vec<Parcel>>,
}

#[derive(Debug)]
struct Parcel {
    number: usize,
    request: HttpRequest,
    tries: u32,
    /// `None` while it is under way.
    next_at: Option<Moment>,
}

impl Relay {
    /// Sends a logout, with the next [tick](Self::tick) at the latest. Returns whether there is room for it.
    pub fn send(&self, request: HttpRequest) -> bool {
        let mut parcels = self.parcels.borrow_mut();
        let has_room = parcels.len() < PARCELS_MAX;
        if has_room {
            let number = self.next.get();
            self.next.set(number.wrapping_add(1));
            parcels.push(Parcel { number, request, tries: 0, next_at: Some(Moment::default()) });
        }
        has_room
    }

    /// Sends what is due.
    pub fn tick(&self, now: Moment, inquiries: &Inquiries) {
        for parcel in &mut *self.parcels.borrow_mut() {
            if parcel.next_at.take_if(|at| *at <= now).is_some() {
                parcel.tries = parcel.tries.saturating_add(1);
                inquiries.ask(inquiries.about(Topic::Logout(parcel.number)), parcel.request.clone());
            }
        }
    }

    /// Takes an answer. Gives the cluster where the logout has not arrived and is given up.
    pub fn receive(&self, number: usize, answer: &Answer, now: Moment) -> Option<Box<str>> {
        let mut parcels = self.parcels.borrow_mut();
        let index = parcels.iter().position(|parcel| parcel.number == number)?;
        // A proxy that refuses it would do so again; one that has it already, too.
        let is_over = matches!(answer, Answer::Http(response) if matches!(response.status, 200 | 400));
        let is_done = matches!(answer, Answer::Http(response) if response.status == 200);
        let parcel = parcels.get_mut(index)?;
        if !is_over && parcel.tries < TRIES_MAX {
            let doublings = parcel.tries.saturating_sub(1).min(TRIES_MAX);
            parcel.next_at = Some(now.saturating_add(RETRY_MIN.saturating_mul(1 << doublings)));
            return None;
        }
        let parcel = parcels.swap_remove(index);
        (!is_done).then_some(parcel.request.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::HttpResponse;

    const NOW: Moment = Moment::from_nanos(1_000_000_000);

    fn status(status: u16) -> Answer {
        Answer::Http(HttpResponse { status, ..HttpResponse::default() })
    }

    fn request() -> HttpRequest {
        HttpRequest { cluster: "peer".into(), ..HttpRequest::default() }
    }

    #[test]
    fn one_that_does_not_arrive_is_sent_again_and_then_given_up() {
        for (answers, lost, sent) in [
            (&[status(200)][..], false, 1),
            (&[status(400)], true, 1),
            (&[status(503), status(200)], false, 2),
            (&[Answer::None, status(429), status(200)], false, 3),
            (&[const { Answer::None }; 5], true, 5),
        ] {
            let (relay, inquiries) = (Relay::default(), Inquiries::default());
            assert!(relay.send(request()));
            let (mut now, mut lines, mut asked) = (NOW, 0, 0);
            for answer in answers {
                relay.tick(now, &inquiries);
                asked += inquiries.take_asks().len();
                lines += usize::from(relay.receive(0, answer, now).is_some());
                relay.tick(now, &inquiries);
                assert_eq!(inquiries.take_asks(), [], "not before a second has passed");
                now = now.saturating_add(Duration::from_secs(16));
            }
            relay.tick(now, &inquiries);
            assert_eq!((asked, lines, inquiries.take_asks().len()), (sent, usize::from(lost), 0), "{answers:?}");
        }
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let relay = Relay::default();
        assert_eq!((0..PARCELS_MAX + 10).filter(|_| relay.send(request())).count(), PARCELS_MAX);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_nobodys() {
        assert_eq!(Relay::default().receive(0, &Answer::None, NOW), None);
    }
}
