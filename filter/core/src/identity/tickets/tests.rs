use serde_json::{Value, json};

use super::*;
use crate::config;
use crate::policy::Policy;
use crate::testing::NOW;

const SECRET: &str = "a secret that seals, of more than 32 bytes";
const OTHER: &str = "a secret that was, of more than 32 bytes too";
const SEED: [u8; 16] = [3; 16];
const ORIGIN: Option<&[u8]> = Some(b"https://app.example.com:443");

fn policy(tickets: &Value, provider: &Value) -> Rc<Policy> {
    let mut all = json!({"path": "/ws-ticket", "keys": [{"inline": SECRET}]});
    all.as_object_mut().unwrap().extend(tickets.as_object().unwrap().clone());
    let mut own =
        json!({"name": "corp", "issuer": "me", "algorithms": ["HS256"], "jwks": {"secret": {"inline": SECRET}}});
    own.as_object_mut().unwrap().extend(provider.as_object().unwrap().clone());
    let config = json!({
        "auth": {"providers": [own], "tickets": all},
        "limits": {"global": {"cluster": "ratelimit", "domain": "portcullis"}},
    });
    let parsed = config::parse(config.to_string().as_bytes(), &|_| None).unwrap();
    Rc::new(parsed.policies.base().as_ref().clone())
}

fn plain() -> Rc<Policy> {
    policy(&json!({}), &json!({}))
}

fn rules(policy: &Policy) -> &TicketRules {
    policy.auth.tickets.as_ref().unwrap()
}

fn date(seconds: u64) -> Timestamp {
    Timestamp::from_secs(NOW + seconds)
}

/// Somebody whose credential ends so many seconds from now.
fn holder(claims: &Value, seconds: u64) -> Verified {
    let mut all = json!({"iss": "me", "sub": "alice", "exp": NOW + seconds});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    restored("corp", &all.to_string(), date(seconds))
}

fn restored(provider: &str, claims: &str, expires_at: Timestamp) -> Verified {
    let Ok(Value::Object(read)) = serde_json::from_str(claims) else { panic!("{claims}") };
    Verified::told(provider, read, claims.as_bytes().into(), expires_at)
}

fn bound(policy: &Policy) -> Bound {
    Bound::new(rules(policy).bind, ORIGIN, b"203.0.113.7")
}

fn issue_at(policy: &Policy, seconds: u64) -> Result<Issued, Violation> {
    let random = core::array::from_fn(|index| index as u8);
    let scope = if rules(policy).store == Store::Local { Scope::of_proxy(SEED) } else { Scope::FLEET };
    seal(rules(policy), scope, &holder(&json!({}), 4_000), bound(policy), date(seconds), random)
}

fn text(policy: &Policy) -> String {
    issue_at(policy, 0).unwrap().text.expose().clone()
}

fn open_at(policy: &Policy, text: &str, seconds: u64) -> Result<Ticket, Violation> {
    let opened = open(
        rules(policy),
        Scope::of_proxy(SEED),
        |name| policy.auth.provider(name),
        text.as_bytes(),
        bound(policy),
        date(seconds),
    );
    opened.map_err(|refusal| refusal.violation)
}

#[track_caller]
fn check(opened: Result<Ticket, Violation>, expected: Option<Violation>) {
    assert_eq!(opened.err(), expected);
}

#[test]
fn a_ticket_says_what_the_credential_said() {
    let policy = plain();
    let ticket = open_at(&policy, &text(&policy), 29).unwrap();
    assert_eq!((ticket.holder.provider(), ticket.holder.subject()), ("corp", Some("alice")));
    assert_eq!(ticket.holder.text(), holder(&json!({}), 4_000).text());
    assert_eq!(ticket.holder.expires_at(), date(4_000));
    assert_eq!((ticket.expires_at, *ticket.id.expose()), (date(30), core::array::from_fn(|index| index as u8)));
}

#[test]
fn a_ticket_that_is_changed_or_cut_anywhere_is_none() {
    let policy = plain();
    let text = text(&policy);
    for len in 0..text.len() {
        check(open_at(&policy, &text[..len], 0), Some(Violation::TicketInvalid));
        check(open_at(&policy, &text[len + 1..], 0), Some(Violation::TicketInvalid));
    }
    let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << bit;
            check(open_at(&policy, &URL_SAFE_NO_PAD.encode(changed), 0), Some(Violation::TicketInvalid));
        }
    }
    // One ticket has one spelling.
    for other in [format!("{text}="), format!("{text}A"), format!(" {text}"), text.to_lowercase(), "A".repeat(1 << 20)]
    {
        check(open_at(&policy, &other, 0), Some(Violation::TicketInvalid));
    }
    check(open_at(&policy, &text, 0), None);
}

#[test]
fn parts_of_two_tickets_make_no_third() {
    let policy = plain();
    let [one, other] = [1, 2].map(|first: u8| {
        let random = core::array::from_fn(|index| index as u8 + first);
        let scope = Scope::of_proxy(SEED);
        let issued = seal(rules(&policy), scope, &holder(&json!({}), 60), bound(&policy), date(0), random).unwrap();
        URL_SAFE_NO_PAD.decode(issued.text.expose()).unwrap()
    });
    assert_eq!(one.len(), other.len());
    for at in HEAD_LEN - NONCE_LEN + 1..one.len() {
        let mixed = URL_SAFE_NO_PAD.encode([&one[..at], &other[at..]].concat());
        check(open_at(&policy, &mixed, 0), Some(Violation::TicketInvalid));
    }
}

#[test]
fn the_first_key_seals_and_all_open() {
    let keys = |secrets: &[&str]| {
        let keys: Vec<Value> = secrets.iter().map(|secret| json!({"inline": secret})).collect();
        policy(&json!({"keys": keys}), &json!({}))
    };
    let rotating = keys(&[OTHER, SECRET]);
    check(open_at(&rotating, &text(&plain()), 0), None);
    check(open_at(&rotating, &text(&rotating), 0), None);
    check(open_at(&plain(), &text(&rotating), 0), Some(Violation::TicketInvalid));
    check(open_at(&keys(&[OTHER]), &text(&plain()), 0), Some(Violation::TicketInvalid));
    check(open_at(&keys(&[OTHER]), &text(&rotating), 0), None);
}

#[test]
fn a_ticket_is_good_until_its_end_and_not_long_before_its_beginning() {
    let policy = policy(&json!({"ttl": "5m"}), &json!({}));
    let text = text(&policy);
    for (seconds, expected) in
        [(0, None), (299, None), (300, Some(Violation::TicketInvalid)), (4_000, Some(Violation::TicketInvalid))]
    {
        check(open_at(&policy, &text, seconds), expected);
    }
    // Another proxy's calendar may be behind, but not the whole life of a ticket.
    let later = issue_at(&policy, 61).unwrap();
    check(open_at(&policy, later.text.expose(), 1), None);
    check(open_at(&policy, later.text.expose(), 0), Some(Violation::TicketInvalid));
}

#[test]
fn a_ticket_ends_no_later_than_its_credential() {
    let policy = plain();
    let lifetime = |credential: u64, now: u64| {
        let (scope, random) = (Scope::of_proxy(SEED), [0; RANDOM_LEN]);
        let issued = seal(rules(&policy), scope, &holder(&json!({}), credential), bound(&policy), date(now), random);
        issued.map(|issued| issued.lifetime.as_secs())
    };
    assert_eq!(lifetime(4_000, 0), Ok(30));
    assert_eq!(lifetime(10, 0), Ok(10));
    assert_eq!(lifetime(10, 9), Ok(1));
    // It is in the leeway of clocks: good for a handshake, and for no ticket.
    assert_eq!(
        (lifetime(10, 10), lifetime(10, 40)),
        (Err(Violation::CredentialExpired), Err(Violation::CredentialExpired))
    );
}

#[test]
fn a_ticket_is_good_where_it_was_issued() {
    let policy = plain();
    let text = text(&policy);
    let bind = rules(&policy).bind;
    let open_for = |scope, origin: Option<&[u8]>, address: &[u8]| {
        open(
            rules(&policy),
            scope,
            |name| policy.auth.provider(name),
            text.as_bytes(),
            Bound::new(bind, origin, address),
            date(0),
        )
        .map_err(|refusal| refusal.violation)
    };
    let (own, address) = (Scope::of_proxy(SEED), b"203.0.113.7".as_slice());
    check(open_for(own, ORIGIN, address), None);
    let invalid = Some(Violation::TicketInvalid);
    for origin in [None, Some(b"".as_slice()), Some(b"https://evil.example:443"), Some(b"null")] {
        check(open_for(own, origin, address), invalid);
    }
    for address in [b"203.0.113.8".as_slice(), b"", b"https://app.example.com:443203.0.113.7"] {
        check(open_for(own, ORIGIN, address), invalid);
    }
    check(open_for(own, Some(b"https://app.example.com:443203.0.113.7"), b""), invalid);
    for scope in [Scope::of_proxy([4; 16]), Scope::FLEET] {
        check(open_for(scope, ORIGIN, address), invalid);
    }
}

#[test]
fn what_is_not_bound_may_change() {
    for (bind, origin, address) in
        [(json!(["origin"]), false, true), (json!(["address"]), true, false), (json!([]), true, true)]
    {
        let policy = policy(&json!({"bind": bind}), &json!({}));
        let text = text(&policy);
        let open_for = |origin: &[u8], address: &[u8]| {
            let bound = Bound::new(rules(&policy).bind, Some(origin), address);
            open(
                rules(&policy),
                Scope::of_proxy(SEED),
                |name| policy.auth.provider(name),
                text.as_bytes(),
                bound,
                date(0),
            )
            .is_ok()
        };
        assert_eq!(open_for(b"https://evil.example:443", b"203.0.113.7"), origin, "{bind}");
        assert_eq!(open_for(ORIGIN.unwrap(), b"192.0.2.1"), address, "{bind}");
    }
}

#[test]
fn a_ticket_is_no_way_around_another_policy() {
    let text = text(&plain());
    for (tickets, provider, expected) in [
        (json!({}), json!({}), None),
        (json!({"path": "/other-ticket"}), json!({}), Some(Violation::TicketInvalid)),
        (json!({"bind": ["origin"]}), json!({}), Some(Violation::TicketInvalid)),
        (json!({}), json!({"name": "partner"}), Some(Violation::TicketInvalid)),
        (json!({}), json!({"issuer": "another"}), Some(Violation::TicketInvalid)),
        (json!({}), json!({"audiences": ["chat"]}), Some(Violation::TicketInvalid)),
        (json!({}), json!({"require": {"role": "admin"}}), Some(Violation::ClaimRefused)),
        (json!({}), json!({"max_age": "1h"}), Some(Violation::TicketInvalid)),
    ] {
        let policy = policy(&tickets, &provider);
        assert_eq!(open_at(&policy, &text, 0).err(), expected, "{tickets} {provider}");
    }
}

#[test]
fn claims_have_room_up_to_their_bound() {
    let policy = plain();
    let own = |len: usize| {
        let rest = holder(&json!({"x": ""}), 60).text().len();
        let holder = holder(&json!({"x": "y".repeat(len - rest)}), 60);
        assert_eq!(holder.text().len(), len);
        seal(rules(&policy), Scope::of_proxy(SEED), &holder, bound(&policy), date(0), [9; RANDOM_LEN])
    };
    let issued = own(CLAIMS_LEN_MAX).unwrap();
    check(open_at(&policy, issued.text.expose(), 0), None);
    assert!(issued.text.expose().len() < 6_000);
    assert_eq!(own(CLAIMS_LEN_MAX + 1).err(), Some(Violation::ClaimRefused));
    // And with the longest name of a provider.
    let long: String = "p".repeat(PROVIDER_LEN_MAX);
    let policy = self::policy(&json!({}), &json!({"name": long}));
    let claims = json!({"iss": "me", "exp": NOW + 60, "x": "y".repeat(CLAIMS_LEN_MAX - 36)}).to_string();
    assert_eq!(claims.len(), CLAIMS_LEN_MAX);
    let holder = restored(&long, &claims, date(60));
    let random = [9; RANDOM_LEN];
    let issued = seal(rules(&policy), Scope::of_proxy(SEED), &holder, bound(&policy), date(0), random).unwrap();
    check(open_at(&policy, issued.text.expose(), 0), None);
}

/// Of several credentials without a subject the same may be said: they are counted apart, with a ticket as without.
#[test]
fn a_ticket_is_counted_as_the_credential_that_it_was_issued_for() {
    let policy = plain();
    let claims = json!({"iss": "me", "exp": NOW + 60}).to_string();
    let own = restored("corp", &claims, date(60));
    for (holder, mark) in [(own.clone(), claims.as_bytes()), (own.marked(&[7; 32]), &[7; 32])] {
        let random = [9; RANDOM_LEN];
        let issued = seal(rules(&policy), Scope::of_proxy(SEED), &holder, bound(&policy), date(0), random).unwrap();
        assert_eq!(open_at(&policy, issued.text.expose(), 0).unwrap().holder.mark(), mark);
    }
}

/// Services count in windows of an hour: `NOW` is the first second of one.
#[test]
fn a_ticket_that_a_service_counts_lives_within_an_hour() {
    let policy = policy(&json!({"store": {"rate_limit_service": true}}), &json!({}));
    assert_eq!(NOW % 3_600, 0);
    for (seconds, expected) in [
        (0, Err(Violation::Overloaded)),
        (1, Ok(30)),
        (3_500, Ok(30)),
        (3_570, Ok(28)),
        (3_596, Ok(2)),
        (3_597, Ok(1)),
        (3_598, Err(Violation::Overloaded)),
        (3_599, Err(Violation::Overloaded)),
        (3_601, Ok(30)),
    ] {
        assert_eq!(issue_at(&policy, seconds).map(|issued| issued.lifetime.as_secs()), expected, "{seconds}");
    }
}

#[test]
fn nothing_of_a_ticket_is_shown() {
    let policy = plain();
    let issued = issue_at(&policy, 0).unwrap();
    let ticket = open_at(&policy, issued.text.expose(), 0).unwrap();
    let shown = format!("{issued:?} {ticket:?} {:?} {:?}", rules(&policy), bound(&policy));
    for secret in [&issued.text.expose()[..20], "alice", SECRET, "203.0.113.7"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let bytes = URL_SAFE_NO_PAD.decode(issued.text.expose()).unwrap();
    assert!(!bytes.windows(5).any(|window| window == b"alice"));
}
