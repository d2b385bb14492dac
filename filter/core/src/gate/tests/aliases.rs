//! Clusters that the route of a request names.

use super::key_sets::{due, key_set, reply, token};
use super::*;

fn policy(limits: &Value) -> Value {
    let jwks = json!({"cluster": {"extension_backend": "idp"}, "url": "https://idp.example/keys"});
    json!({
        "auth": {"required": true, "providers": [{
            "name": "idp", "issuer": "https://idp.example/", "algorithms": ["EdDSA"], "jwks": jwks,
        }]},
        "limits": {"per_address": {"connections": null, "handshakes": null, "failures": null}, "per_connection": limits},
    })
}

fn world() -> World {
    World::new(&policy(&json!({})))
}

/// A handshake with a token of this key, over a route that names `cluster`.
fn ask(world: &mut World, cluster: &str, key: u8) -> (Gate, Flow, Vec<Effect>) {
    let mut gate = world.stream();
    let bearer = format!("Bearer {}", token(key, "alice"));
    let mut head = testing::upgrade();
    head.extend([("authorization", &*bearer), ("x-forwarded-for", "203.0.113.7")]);
    let peer = Peer::new(b"203.0.113.7:50000".to_vec());
    let request = Request { peer, ..testing::request(testing::headers(&head)) };
    let policies = world.plugin.policies().unwrap();
    let bindings = Bindings::read(policies.aliases(), |alias| match alias {
        "idp" => cluster.into(),
        _ => panic!("{alias}"),
    });
    let arrival = Arrival { request: Ok(request), bindings, ..world.arrival() };
    let (flow, effects) = run(|effects| gate.request(arrival, effects));
    (gate, flow, effects)
}

/// The clusters that are asked, each with the inquiry.
fn asked(asks: &[Ask]) -> Vec<(String, crate::ask::Inquiry)> {
    let of = |ask: &Ask| match ask {
        Ask { question: Question::Http(request), asker: Asker::Inquiry(inquiry) } => {
            (String::from(&*request.cluster), *inquiry)
        }
        ask => panic!("{ask:?}"),
    };
    asks.iter().map(of).collect()
}

/// Answers the one question about keys of `cluster`, which the handshake waits for.
fn publish(world: &World, (gate, flow, effects): &mut (Gate, Flow, Vec<Effect>), cluster: &str, keys: &[u8]) -> Flow {
    assert_eq!(*flow, Flow::Wait);
    let asks: Vec<_> =
        effects.drain(..).filter_map(|effect| if let Effect::Ask(ask) = effect { Some(ask) } else { None }).collect();
    let asked = asked(&asks);
    let [(name, inquiry)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(name, cluster);
    let _ = reply(world, *inquiry, 200, &key_set(keys));
    run(|effects| gate.answered(Answer::Shared, effects)).0
}

#[test]
fn nothing_is_fetched_before_a_route_names_the_cluster() {
    let mut world = world();
    assert_eq!(due(&world), []);
    let mut first = ask(&mut world, "one", 1);
    assert_eq!(publish(&world, &mut first, "one", &[1]), Flow::Forward);
    // From then on it is fetched without a request.
    world.port.now.set(world.now().saturating_add(Duration::from_secs(301)).as_nanos());
    let clusters: Vec<_> = asked(&due(&world)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(clusters, ["one"]);
}

#[test]
fn the_keys_of_one_route_are_not_anothers() {
    let mut world = world();
    let mut one = ask(&mut world, "one", 1);
    assert_eq!(publish(&world, &mut one, "one", &[1]), Flow::Forward);
    let mut two = ask(&mut world, "two", 2);
    assert_eq!(publish(&world, &mut two, "two", &[2]), Flow::Forward);
    for (cluster, key, is_good) in [("one", 1, true), ("two", 2, true), ("one", 2, false), ("two", 1, false)] {
        let (_, flow, _) = ask(&mut world, cluster, key);
        // What is not known may be new: the set is fetched again.
        assert_eq!(flow == Flow::Forward, is_good, "{cluster} {key}");
    }
}

#[test]
fn without_a_name_nobody_is_known_and_the_log_says_so_once() {
    let mut world = world();
    for _ in 0..3 {
        let (_, flow, effects) = ask(&mut world, "", 1);
        assert_eq!((flow, status(&effects)), (Flow::Hold, Some(500)));
    }
    let lines = world.plugin.tick(world.now()).lines;
    assert_eq!(lines, ["the metadata of a request's route names no cluster for extension_backend idp"]);
}

#[test]
fn a_live_connection_keeps_its_clusters_under_a_new_policy() {
    let mut world = world();
    let mut waiting = ask(&mut world, "one", 1);
    assert_eq!(publish(&world, &mut waiting, "one", &[1]), Flow::Forward);
    let (mut gate, ..) = waiting;
    assert_eq!(respond(&mut gate).0, Flow::Forward);
    let cluster = |gate: &Gate| {
        let policy = gate.connection().unwrap().policy();
        policy.auth.providers[0].remote.as_ref().unwrap().cluster.to_string()
    };
    assert_eq!(cluster(&gate), "one");
    let before = Rc::clone(gate.connection().unwrap().policy());
    world.configure(&policy(&json!({"messages": {"per_second": 7}})));
    run(|effects| gate.tick(effects));
    assert!(!Rc::ptr_eq(&before, gate.connection().unwrap().policy()), "it goes by the new one");
    assert_eq!(cluster(&gate), "one");
    // And stays there.
    let after = Rc::clone(gate.connection().unwrap().policy());
    run(|effects| gate.tick(effects));
    assert!(Rc::ptr_eq(&after, gate.connection().unwrap().policy()));
}

#[test]
fn what_is_kept_of_other_routes_is_bounded() {
    let mut world = world();
    let mut first = ask(&mut world, "0", 1);
    assert_eq!(publish(&world, &mut first, "0", &[1]), Flow::Forward);
    drop(first);
    for number in 1..100 {
        // One that is asked for all the while stays.
        assert_eq!(ask(&mut world, "0", 1).1, Flow::Forward, "{number}");
        assert_eq!(ask(&mut world, &number.to_string(), 1).1, Flow::Wait);
    }
    let _ = due(&world);
    let known = format!("{:?}", world.plugin.worker().identity);
    assert_eq!(known.matches("RemoteKeys {").count(), 8, "{known}");
}
