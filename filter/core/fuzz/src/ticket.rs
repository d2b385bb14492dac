//! Tickets: only what was sealed with our key, byte for byte, is one.

use std::thread_local;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::identity::tickets::{self, Bound, RANDOM_LEN, Scope, Ticket, TicketRules};
use portcullis_core::policy::routes::Policies;
use portcullis_core::time::Timestamp;
use portcullis_core::token::verify;
use portcullis_core::violation::Violation;
use serde_json::json;

use crate::adapter::{self, NOW};
use crate::input::Input;
use crate::token;

thread_local! {
    static POLICIES: Policies = adapter::policies(&json!({
        "auth": {"providers": token::providers(), "tickets": {"path": "/ws-ticket", "keys": [{"inline": "k".repeat(32)}]}},
    }));
    static GOOD: String = issue();
}

/// A kind of script, then its content: any text, or changes of a good ticket, as it is written or as it is sealed.
pub fn ticket(data: &[u8]) {
    let mut input = Input::new(data);
    let good = GOOD.with(String::clone);
    assert!(open(good.as_bytes()).is_ok());
    let text = match input.byte() {
        b'm' => mutated(input, good.clone().into_bytes()),
        b's' => {
            let sealed = URL_SAFE_NO_PAD.decode(&good).expect("it is base64url");
            URL_SAFE_NO_PAD.encode(mutated(input, sealed)).into_bytes()
        }
        _ => input.rest().to_vec(),
    };
    match open(&text) {
        Ok(ticket) => {
            assert_eq!(text, good.as_bytes(), "another ticket was opened");
            assert_eq!((ticket.holder.provider(), ticket.holder.subject()), ("own", Some("alice")));
        }
        Err(violation) => {
            assert_ne!(text, good.as_bytes());
            assert_eq!(violation, Violation::TicketInvalid);
        }
    }
}

/// `place change` pairs over what is good.
fn mutated(mut input: Input<'_>, mut bytes: Vec<u8>) -> Vec<u8> {
    while !input.is_empty() {
        let place = usize::from(input.byte()) % bytes.len().max(1);
        match input.byte() {
            0 => drop(bytes.drain(..place)),
            1 => bytes.truncate(place),
            2 => bytes.insert(place, input.byte()),
            change => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= change;
                }
            }
        }
    }
    bytes
}

fn with_rules<T>(act: impl FnOnce(&TicketRules, &Policies, Bound) -> T) -> T {
    POLICIES.with(|policies| {
        let rules = policies.base().auth.tickets.as_ref().expect("tickets");
        act(rules, policies, Bound::new(rules.bind, Some(b"https://app.example.com:443"), b"203.0.113.7"))
    })
}

fn open(text: &[u8]) -> Result<Ticket, Violation> {
    with_rules(|rules, policies, bound| {
        let provider = |name: &str| policies.base().auth.provider(name);
        tickets::open(rules, Scope::FLEET, provider, text, bound, Timestamp::from_secs(NOW))
            .map_err(|refusal| refusal.violation)
    })
}

fn issue() -> String {
    with_rules(|rules, policies, bound| {
        let now = Timestamp::from_secs(NOW);
        let holder = verify(token::good().as_bytes(), &policies.base().auth.providers, now).expect("a good token");
        let issued = tickets::seal(rules, Scope::FLEET, &holder, bound, now, [7; RANDOM_LEN]);
        issued.expect("a ticket").text.expose().clone()
    })
}
