//! What is told of addresses that clients choose.

use super::*;

/// How often the worker has told of it, in some requests with this `X-Forwarded-For`.
fn told(world: &mut World, forwarded_for: Option<&'static str>, peer: &[u8]) -> usize {
    let tell = |_| {
        let mut headers = testing::upgrade();
        headers.extend(forwarded_for.map(|value| ("x-forwarded-for", value)));
        let request = testing::request(testing::headers(&headers));
        let request = Request { peer: Peer::new(peer.to_vec()), ..request };
        let mut gate = world.stream();
        let arrival = Arrival { request: Ok(request), ..world.arrival() };
        let ((), effects) = run(|effects| {
            gate.request(arrival, effects);
        });
        let is_line = |effect: &&Effect| {
            matches!(effect, Effect::Log(Level::Warn, line)
                if line.starts_with("portcullis: ") && line.contains("`use_remote_address: true`"))
        };
        effects.iter().filter(is_line).count()
    };
    (0..3).map(tell).sum()
}

#[test]
fn a_request_that_envoy_has_not_added_its_peer_to_is_told_of_once() {
    const PEER: &[u8] = b"203.0.113.7:50000";
    let limited = || World::new(&json!({}));
    let free = json!({"limits": {"per_address": {"connections": null, "handshakes": null, "failures": null}}});
    let monitored = json!({"mode": "monitor"});
    for (mut world, forwarded_for, peer, expected) in [
        (limited(), None, PEER, 1),
        (limited(), Some("203.0.113.7"), PEER, 0),
        (limited(), Some(""), PEER, 0),
        // A Unix socket has no address that could be added.
        (limited(), None, b"/run/envoy.sock", 0),
        (World::new(&free), None, PEER, 0),
        (World::new(&monitored), None, PEER, 1),
    ] {
        assert_eq!(told(&mut world, forwarded_for, peer), expected, "{forwarded_for:?} {peer:?}");
    }
}

#[test]
fn what_one_client_hides_another_shows() {
    let mut world = World::new(&json!({}));
    assert_eq!(told(&mut world, Some("198.51.100.1"), b"198.51.100.1:1"), 0);
    assert_eq!(told(&mut world, None, b"203.0.113.7:50000"), 1);
    world.configure(&json!({"revision": "2"}));
    assert_eq!(told(&mut world, None, b"203.0.113.7:50000"), 0);
}
