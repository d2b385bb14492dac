//! Reloads as scripts: what is configured, what requests are given, and what live connections then go by.

use super::*;

/// What happens, at so many milliseconds.
enum Step {
    /// A root context is configured.
    Configure(char),
    /// A request on a listener, over the connection of this number, is given a root context.
    Request(&'static str, u64, char),
    /// What live connections of a listener go by.
    Expect(&'static str, char),
}
use Step::{Configure, Expect, Request};

/// Runs a script. A policy is its letter; each is made once, as a root context that is reused is.
#[track_caller]
fn run(name: &str, script: &[(u64, Step)]) {
    let all: Vec<Rc<char>> = ('A'..='Z').map(Rc::new).collect();
    let policies = |letter: char| all.iter().find(|policies| ***policies == letter).expect("a capital letter");
    let succession = Succession::default();
    let mut listeners: Vec<Rc<Listener<char>>> = Vec::new();
    for (index, (millis, step)) in script.iter().enumerate() {
        let now = Moment::from_nanos(1_000_000_000_000 + millis * 1_000_000);
        succession.tick(now);
        match *step {
            Configure(letter) => succession.configured(b"plugin", policies(letter), now, now),
            Request(listener, connection, letter) => {
                listeners.push(succession.requested(b"plugin", listener.as_bytes(), connection, policies(letter), now));
            }
            Expect(listener, letter) => {
                let listener = listeners.iter().find(|own| *own.name == *listener.as_bytes()).expect("a request came");
                assert_eq!(*listener.current(), letter, "{name}: step {index}");
            }
        }
    }
}

#[test]
fn what_is_configured_holds_at_once_for_a_plugin_that_has_one_policy() {
    run(
        "one listener",
        &[(0, Configure('A')), (1_000, Request("a", 1, 'A')), (2_000, Configure('B')), (2_000, Expect("a", 'B'))],
    );
    run(
        "two listeners",
        &[
            (0, Configure('A')),
            (1_000, Request("a", 1, 'A')),
            (1_000, Request("b", 2, 'A')),
            (2_000, Configure('B')),
            (2_000, Expect("a", 'B')),
            (2_000, Expect("b", 'B')),
        ],
    );
    run(
        "listeners that nobody has asked before go by what they are asked under",
        &[
            (0, Configure('A')),
            (0, Configure('B')),
            (10, Request("a", 1, 'A')),
            (10, Request("b", 2, 'B')),
            (10, Expect("a", 'A')),
            (2_000, Expect("a", 'A')),
            (2_010, Expect("b", 'B')),
        ],
    );
}

#[test]
fn a_request_that_is_late_on_the_old_root_context_holds_nobody_back() {
    let mut script = vec![(0, Configure('A')), (1_000, Request("a", 1, 'A')), (2_000, Configure('B'))];
    let mut connection = 1;
    let mut request = |millis, letter| {
        connection += 1;
        (millis, Request("a", connection, letter))
    };
    script.extend((2_000..2_240).map(|millis| request(millis, 'A')));
    script.push((2_300, Expect("a", 'B')));
    run("a flood that ends within the first half", &script);

    // Beyond it the flood is taken for a policy that was put back, until the new one gets a request.
    script.extend((2_240..2_700).map(|millis| request(millis, 'A')));
    script.extend([request(2_701, 'B'), (2_701, Expect("a", 'B')), (9_000, Expect("a", 'B'))]);
    run("a flood, and a swap that is very late", &script);
}

#[test]
fn a_policy_that_is_put_back_holds_with_the_next_request() {
    run(
        "A, B, A",
        &[
            (0, Configure('A')),
            (1_000, Request("a", 1, 'A')),
            (2_000, Configure('B')),
            (3_000, Request("a", 2, 'A')),
            (3_000, Expect("a", 'A')),
        ],
    );
    run(
        "A, B, A, faster than they settle, with a request in between",
        &[
            (0, Configure('A')),
            (1_000, Request("a", 1, 'A')),
            (2_000, Configure('B')),
            (2_050, Request("a", 2, 'B')),
            (2_100, Request("a", 3, 'A')),
            (2_100, Expect("a", 'A')),
        ],
    );
    run(
        "A, B, A, faster than they settle, without",
        &[
            (0, Configure('A')),
            (1_000, Request("a", 1, 'A')),
            (2_000, Configure('B')),
            (2_300, Request("a", 2, 'A')),
            (2_300, Expect("a", 'B')),
            (2_500, Expect("a", 'A')),
        ],
    );
    run(
        "A, B, C, B",
        &[
            (0, Configure('A')),
            (1_000, Request("a", 1, 'A')),
            (2_000, Configure('B')),
            (2_010, Request("a", 2, 'B')),
            (3_000, Configure('C')),
            (3_000, Expect("a", 'C')),
            (3_010, Request("a", 3, 'C')),
            (4_000, Request("a", 4, 'B')),
            (4_000, Expect("a", 'B')),
        ],
    );
}

#[test]
fn listeners_with_requests_keep_their_own_policies() {
    let mut script = vec![
        (0, Configure('A')),
        (0, Configure('X')),
        (1_000, Request("a", 1, 'A')),
        (1_000, Request("b", 2, 'X')),
        (1_000, Expect("a", 'A')),
        (1_000, Expect("b", 'X')),
        (2_000, Configure('B')),
    ];
    for step in 0..200 {
        let (millis, connection) = (2_000 + 10 * step, 3 + 2 * step);
        script.push((millis, Request("a", connection, if step < 3 { 'A' } else { 'B' })));
        script.push((millis, Request("b", connection + 1, 'X')));
        script.push((millis, Expect("b", 'X')));
        script.push((millis, Expect("a", if step < 3 { 'A' } else { 'B' })));
    }
    run("steady traffic on both", &script);
    run(
        "none on either: the new policies may be anybody's",
        &[
            (0, Configure('A')),
            (0, Configure('X')),
            (1_000, Request("a", 1, 'A')),
            (1_000, Request("b", 2, 'X')),
            (2_000, Configure('B')),
            (2_900, Expect("a", 'B')),
            (2_900, Expect("b", 'B')),
            (3_000, Request("b", 3, 'X')),
            (3_000, Expect("b", 'X')),
            (3_000, Expect("a", 'B')),
        ],
    );
}

/// Envoy then drains the connections of the old listener, which go on with its root context.
#[test]
fn a_listener_that_was_replaced_does_not_speak_for_the_new_one() {
    run(
        "requests over its connections",
        &[
            (0, Configure('A')),
            (1_000, Request("a", 1, 'A')),
            (2_000, Configure('B')),
            (3_000, Request("a", 1, 'A')),
            (3_000, Expect("a", 'B')),
            (4_000, Request("a", 2, 'B')),
            (5_000, Request("a", 1, 'A')),
            (5_000, Expect("a", 'B')),
        ],
    );
    run(
        "where connections are given new root contexts, theirs count",
        &[
            (0, Configure('A')),
            (1_000, Request("a", 1, 'A')),
            (2_000, Configure('B')),
            (3_000, Request("a", 1, 'B')),
            (4_000, Request("a", 1, 'A')),
            (4_000, Expect("a", 'A')),
        ],
    );
}

#[test]
fn listeners_beyond_the_most_that_are_told_apart_are_one() {
    let succession = Succession::default();
    let (one, other) = (Rc::new('A'), Rc::new('B'));
    let request = |name: u32, policies| {
        succession.requested(b"plugin", &name.to_be_bytes(), 1, policies, Moment::from_nanos(u64::from(u32::MAX)))
    };
    succession.configured(b"plugin", &one, Moment::default(), Moment::default());
    let listeners: Vec<_> = (0..1_000).map(|name| request(name, &one)).collect();
    assert!(Rc::ptr_eq(&listeners[999], &listeners[LISTENERS_MAX]) && !Rc::ptr_eq(&listeners[0], &listeners[999]));
    assert!(Rc::ptr_eq(&listeners[0], &request(0, &other)));
}
