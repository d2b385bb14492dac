//! A policy that takes the place of another, under a host that behaves as Envoy does.

use std::time::Duration;

use portcullis_core::session::CLOSE_GRACE;
use portcullis_host_tests::{
    Action, FIRST_ROOT, StreamId, frame,
    scenario::{Gate, policy, policy_with, switching_protocols, upgrade},
};
use serde_json::{Value, json};

#[test]
fn a_broken_policy_is_refused_by_its_path_and_the_old_one_keeps_serving() {
    let mut gate = Gate::new(&policy());
    let live = gate.connect();
    for (policy, path) in [
        (policy_with(json!({"origin": {"missing": "maybe"}})), "origin.missing"),
        (policy_with(json!({"orogin": {}})), "orogin"),
        (policy_with(json!({"auth": {"providers": [{"name": "corp", "algorithms": []}]}})), "auth.providers[0]"),
    ] {
        let logged = gate.logs().len();
        assert!(!gate.reconfigure(&policy));
        assert!(
            gate.logs()[logged..].iter().any(|log| log.text.contains(path)),
            "{path}: {:#?}",
            &gate.logs()[logged..]
        );
        let stream = gate.request(&upgrade().without("origin"));
        gate.check_refused(stream, 403, "origin_refused");
        gate.connect();
    }
    assert_eq!(gate.configure(b"{"), Ok(false));
    let hello = frame::client(frame::TEXT, b"hello");
    gate.client(live, &hello);
    assert_eq!(gate.stream(live).request.forwarded, hello);
}

#[test]
fn a_new_policy_reaches_live_connections() {
    let mut gate = Gate::new(&policy());
    let stream = gate.connect();
    let hello = frame::client(frame::TEXT, b"hello");
    gate.client(stream, &hello);
    assert!(gate.reconfigure(&policy_with(
        json!({"messages": {"from_client": {"max_frame_bytes": 4, "max_message_bytes": 4}}})
    )));
    gate.client(stream, &hello);
    gate.elapse(CLOSE_GRACE);
    let closed = frame::close_at_end(&gate.stream(stream).response.forwarded);
    assert_eq!(closed, Some((1009, "message_too_big".to_owned())));
}

#[test]
fn each_root_of_a_vm_has_its_own_policy() {
    let mut gate = Gate::new(&policy());
    let other = gate.open_root().unwrap();
    let strict = policy_with(json!({"hosts": ["other.example.com"]}));
    assert_eq!(gate.configure_root(other, strict.to_string().as_bytes()), Ok(true));
    let stream = gate.open_stream_of(other).unwrap();
    gate.request_headers(stream, &upgrade(), false).unwrap();
    gate.check_refused(stream, 421, "host_refused");
    gate.connect();
}

/// Connections of one plugin, whose root contexts come and go as Envoy makes them: one for a policy that is new, the old ones for their
/// streams, and again where an old policy is put back.
struct Reloads {
    gate: Gate,
    connection: u64,
}

impl Reloads {
    /// With a policy whose frames may be so long.
    fn new(len: usize) -> (Self, u32) {
        let gate = Gate::new(&policy_of(len));
        let root = FIRST_ROOT;
        (Self { gate, connection: 100 }, root)
    }

    /// Another root context, by which frames may be so long.
    fn configure(&mut self, len: usize) -> u32 {
        let root = self.gate.open_root().unwrap();
        assert_eq!(self.gate.configure_root(root, policy_of(len).to_string().as_bytes()), Ok(true));
        root
    }

    /// A connection under a root context, over a new connection of the host.
    fn connect(&mut self, root: u32) -> StreamId {
        self.connection += 1;
        self.gate.property("connection.id", Some(&self.connection.to_le_bytes()));
        let stream = self.gate.open_stream_of(root).unwrap();
        assert_eq!(self.gate.request_headers(stream, &upgrade(), false), Ok(Action::Continue));
        self.gate.client(stream, b"");
        self.gate.respond(stream, &switching_protocols());
        stream
    }

    /// The longest frame that a connection may send.
    #[track_caller]
    fn check_longest(&mut self, stream: StreamId, len: usize) {
        let longest = frame::client(frame::TEXT, &vec![b'x'; len]);
        self.gate.client(stream, &longest);
        assert!(self.gate.stream(stream).request.forwarded.ends_with(&longest), "{len} bytes are refused");
        self.gate.client(stream, &frame::client(frame::TEXT, &vec![b'x'; len + 1]));
        // The server is told at once.
        let close = frame::close_at_end(&self.gate.stream(stream).request.forwarded);
        assert_eq!(close, Some((1009, "message_too_big".to_owned())));
        self.gate.check_manners();
    }
}

fn policy_of(len: usize) -> Value {
    policy_with(json!({"messages": {"from_client": {"max_frame_bytes": len, "max_message_bytes": len}}}))
}

#[test]
fn a_live_connection_follows_the_plugin_that_takes_the_place_of_its_own() {
    for (name, property, value, follows) in [
        ("the same plugin", "plugin_name", "portcullis", true),
        ("another name", "plugin_name", "another", false),
        ("another root_id", "plugin_root_id", "another", false),
    ] {
        let (mut reloads, first) = Reloads::new(10);
        let stream = reloads.connect(first);
        reloads.gate.property(property, Some(value.as_bytes()));
        reloads.configure(5);
        println!("{name}");
        reloads.check_longest(stream, if follows { 5 } else { 10 });
    }
}

/// Its host has configured the new root context and not put it in force yet. Nobody needs a credential to send that.
#[test]
fn a_request_that_is_late_on_the_old_root_context_leaves_nobody_behind() {
    let (mut reloads, first) = Reloads::new(10);
    let streams: Vec<StreamId> = (0..3).map(|_| reloads.connect(first)).collect();
    let second = reloads.configure(5);
    for _ in 0..24 {
        reloads.connect(first);
        reloads.gate.request(&upgrade().without("authorization"));
        reloads.gate.elapse(Duration::from_millis(10));
    }
    reloads.check_longest(streams[0], 5);
    reloads.gate.elapse(Duration::from_secs(2));
    reloads.check_longest(streams[1], 5);
    reloads.connect(second);
    reloads.check_longest(streams[2], 5);
}

/// Nothing is configured then.
#[test]
fn a_policy_that_is_put_back_reaches_live_connections_with_the_next_request() {
    let (mut reloads, first) = Reloads::new(10);
    let of_first: Vec<StreamId> = (0..2).map(|_| reloads.connect(first)).collect();
    let second = reloads.configure(5);
    let of_second: Vec<StreamId> = (0..2).map(|_| reloads.connect(second)).collect();
    reloads.connect(first);
    reloads.check_longest(of_first[0], 10);
    reloads.check_longest(of_second[0], 10);

    let third = reloads.configure(7);
    let of_third = reloads.connect(third);
    reloads.connect(second);
    for stream in [of_first[1], of_second[1], of_third] {
        reloads.check_longest(stream, 5);
    }
}

#[test]
fn two_listeners_with_requests_keep_their_own_policies() {
    let (mut reloads, first) = Reloads::new(10);
    let address =
        |reloads: &mut Reloads, text: &str| reloads.gate.property("destination.address", Some(text.as_bytes()));
    let other = reloads.configure(20);
    reloads.gate.elapse(Duration::from_secs(2));
    address(&mut reloads, "127.0.0.1:1");
    let of_first = reloads.connect(first);
    address(&mut reloads, "127.0.0.1:2");
    let of_other: Vec<StreamId> = (0..20).map(|_| reloads.connect(other)).collect();
    let newer = reloads.configure(5);
    for stream in of_other {
        address(&mut reloads, "127.0.0.1:2");
        reloads.connect(other);
        reloads.check_longest(stream, 20);
        address(&mut reloads, "127.0.0.1:1");
        reloads.connect(newer);
        reloads.gate.elapse(Duration::from_millis(100));
    }
    reloads.check_longest(of_first, 5);
}

/// A client that says nothing is told within two seconds.
#[test]
fn an_idle_connection_that_a_new_policy_would_not_let_in_is_closed_with_1012() {
    let mut gate = Gate::new(&policy());
    let streams: Vec<StreamId> = (0..100).map(|_| gate.connect()).collect();
    let newer = gate.open_root().unwrap();
    let moved = policy_with(json!({"hosts": ["other.example.com"]}));
    assert_eq!(gate.configure_root(newer, moved.to_string().as_bytes()), Ok(true));
    gate.elapse(Duration::from_secs(2));
    for stream in streams {
        gate.check_closed(stream, 1012, "policy_changed");
        gate.delete(stream).unwrap();
    }
    assert_eq!(gate.metric("portcullis.refused.policy_changed"), 100);
    assert_eq!(gate.metric("portcullis.connections.closed.policy_changed"), 100);
    assert_eq!(gate.active(), 0);
    gate.check_manners();
}
