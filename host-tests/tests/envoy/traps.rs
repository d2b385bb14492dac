//! What becomes of an Envoy whose VM was killed: nothing goes on that nobody judges, and what the VM had counted is given back.
//!
//! The module here is built with a feature that no shipped one has, and traps when a client says so (`filter/src/trap.rs`).

use std::iter;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_envoy::FailurePolicy;
use portcullis_envoy::peer::backend::{Mode, Play};
use portcullis_envoy::peer::client::{Client, Upgrade};
use portcullis_envoy::peer::frame::Draft;
use portcullis_envoy::peer::head::Head;
use portcullis_envoy::peer::websocket::{Event, Verdict, WebSocket};
use serde_json::json;

use crate::gate::{Gate, PATIENCE, open_policy, test_module, wait};

#[test]
fn a_module_that_is_loaded_again_admits_as_many_as_before() {
    let ages = [Duration::ZERO, Duration::from_secs(3)];
    thread::scope(|scope| ages.map(|age| scope.spawn(move || check_reload(age))).map(|run| run.join().expect("both")));
}

/// The VM traps at this age: before its first tick tells the others of it, or after some.
#[track_caller]
fn check_reload(age: Duration) {
    let gate = gate(1, FailurePolicy::FailReload);
    thread::sleep(age);
    let mut clients: Vec<_> = (0..COUNT).map(|number| Peer::open(&gate, number)).collect();
    assert_eq!(status(&gate), 429);
    // Its server goes on speaking.
    clients.push(Peer { path: "/feed".into(), websocket: open_feed(&gate) });

    let start = Instant::now();
    clients.remove(0).trap(&gate);
    thread::scope(|scope| clients.into_iter().for_each(|client| drop(scope.spawn(|| client.check_end(&gate)))));
    println!("at an age of {age:?}: all ended {:?} after the trap", start.elapsed());
    // Envoy loads the module again for the first request that comes.
    let admitted = check_slots(&gate, Instant::now(), COUNT);
    check_full(&gate);
    check_gauge(&gate, COUNT);
    drop(admitted);
    // Nobody is counted for good.
    check_gauge(&gate, 0);
    check_slots(&gate, Instant::now(), COUNT);
}

/// It waits for a service that says nothing, and then nobody is left to hear it.
#[test]
fn a_handshake_that_waits_is_answered_without_its_vm_too() {
    thread::scope(|scope| {
        let runs = [FailurePolicy::FailClosed, FailurePolicy::FailReload]
            .map(|failure_policy| scope.spawn(move || check_answer(failure_policy)));
        runs.into_iter().for_each(|run| run.join().expect("both"));
    });
}

#[track_caller]
fn check_answer(failure_policy: FailurePolicy) {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port to listen on");
    let mut policy = open_policy(json!({}));
    policy["limits"] = json!({"global": {"cluster": "ratelimit", "domain": "portcullis", "timeout": "5s"}});
    policy["routes"] = json!([{"match": {"path": "/0"}, "policy": {"limits": {"global": null}}}]);
    let gate = Gate::launch(policy, Mode::scripted(play), |launch| {
        let launch = launch.rate_limit_service(silent.local_addr().expect("it is bound"));
        launch.module(test_module()).concurrency(1).failure_policy(failure_policy)
    });
    let other = Peer::open(&gate, 0);
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let client = Client::plain(gate.envoy.address()).timeout(ANSWER_MAX);
            let start = Instant::now();
            let status = client.ask(&Upgrade::to("/waits")).expect("Envoy listens").status();
            println!("{failure_policy:?}: {status} after {:?}", start.elapsed());
            status
        });
        // Its call is on its way.
        let _asked = silent.accept().expect("the service is asked");
        other.trap(&gate);
        assert_eq!(waits.join().expect("it does not panic"), 503, "{failure_policy:?}");
    });
    assert!(gate.backend.requests().iter().all(|request| request.head.target() != "/waits"));
}

/// Those of the other worker live on, and count.
#[test]
fn another_worker_goes_on_and_counts_right() {
    for failure_policy in [FailurePolicy::FailReload, FailurePolicy::FailClosed] {
        let gate = gate(2, failure_policy);
        let [mut trapped, mut others] = two_workers(&gate);
        assert_eq!(status(&gate), 429);
        let start = Instant::now();
        trapped.remove(0).trap(&gate);
        thread::scope(|scope| trapped.into_iter().for_each(|client| drop(scope.spawn(|| client.check_end(&gate)))));
        others.iter_mut().for_each(Peer::check);
        let statuses: Vec<_> = (0..30).map(|_| status(&gate)).collect();
        println!("{failure_policy:?}, just after the trap: {}", tally(&statuses));
        if failure_policy == FailurePolicy::FailClosed {
            assert!(statuses.iter().all(|status| [429, 503].contains(status)), "{statuses:?}");
            assert!(statuses.contains(&503) && statuses.contains(&429), "{statuses:?}");
        }
        let admitted = check_slots(&gate, start, COUNT - others.len());
        check_full(&gate);
        others.iter_mut().for_each(Peer::check);
        check_gauge(&gate, COUNT);
        drop((admitted, others));
        check_slots(&gate, Instant::now(), COUNT);
    }
}

/// A client that is up.
struct Peer {
    path: String,
    websocket: WebSocket,
}

impl Peer {
    #[track_caller]
    fn open(gate: &Gate, number: usize) -> Self {
        let path = format!("/{number}");
        let mut peer = Self { websocket: gate.open(&path), path };
        peer.check();
        peer
    }

    /// It works.
    #[track_caller]
    fn check(&mut self) {
        let echo = self.websocket.exchange("before", PATIENCE).expect("it takes bytes");
        assert!(matches!(&echo, Event::Frame(frame) if frame.payload == b"before"), "{}: {echo:?}", self.path);
    }

    /// It ends as it should, and has given back its place.
    #[track_caller]
    fn leave(mut self, gate: &Gate) {
        self.websocket.send_frame(Draft::close(1_000, "")).expect("it takes bytes");
        assert_eq!(self.websocket.verdict(PATIENCE), Verdict::close(1_000, ""));
        gate.request(&self.path, |request| request.end.is_some());
    }

    /// It kills the VM, which is its own end.
    #[track_caller]
    fn trap(mut self, gate: &Gate) {
        self.websocket.send(&Draft::text("portcullis: trap").mask_key([0; 4]).bytes()).expect("it takes bytes");
        self.check_nothing_passed(gate, "the one that trapped");
    }

    /// It has not noticed, and ends with its next byte.
    #[track_caller]
    fn check_end(mut self, gate: &Gate) {
        if self.path == "/feed" {
            return self.check_nothing_passed(gate, "one whose server speaks");
        }
        // Where Envoy has ended it already it takes no bytes.
        let _ = self.websocket.send(&Draft::text("after").masked().bytes()[..1]);
        self.check_nothing_passed(gate, "another");
    }

    #[track_caller]
    fn check_nothing_passed(&mut self, gate: &Gate, who: &str) {
        let start = Instant::now();
        let (frames, verdict) = self.websocket.rest(PATIENCE);
        println!("{who}: {verdict:?} after {:?}, behind {} frames", start.elapsed(), frames.len());
        assert_ne!(verdict, Verdict::Timeout, "{}", self.path);
        let request = gate.request(&self.path, |request| request.end.is_some());
        let (got, rest) = request.frames();
        assert!(rest.is_empty() && got.iter().all(|frame| frame.payload == b"before"), "{}: {got:?}", self.path);
    }
}

/// As many as `count` come in within [`RECOVERY_MAX`] of `since`.
#[track_caller]
fn check_slots(gate: &Gate, since: Instant, count: usize) -> Vec<WebSocket> {
    let mut admitted = Vec::new();
    let mut statuses = Vec::new();
    while admitted.len() < count {
        assert!(since.elapsed() < RECOVERY_MAX, "{} of {count} came in: {}", admitted.len(), tally(&statuses));
        let answer = gate.client.ask(&Upgrade::to("/new")).expect("Envoy listens");
        statuses.push(answer.status());
        if answer.has_right_accept() {
            if admitted.is_empty() {
                println!("the first came in after {:?}", since.elapsed());
            }
            admitted.push(answer.into_websocket());
        } else {
            thread::sleep(Duration::from_millis(50));
        }
    }
    println!("{count} came in after {:?}: {}", since.elapsed(), tally(&statuses));
    admitted
}

/// Nobody more comes in.
#[track_caller]
fn check_full(gate: &Gate) {
    // Longer than it takes a worker to find another lost.
    let beyond = iter::repeat_with(|| {
        thread::sleep(Duration::from_millis(100));
        status(gate)
    });
    let beyond: Vec<_> = beyond.take(100).collect();
    println!("and then: {}", tally(&beyond));
    assert!(beyond.iter().all(|status| [429, 503].contains(status)), "{}", tally(&beyond));
}

/// The status of one more upgrade, which does not stay.
fn status(gate: &Gate) -> u16 {
    gate.client.ask(&Upgrade::to("/more")).expect("Envoy listens").status()
}

fn tally(statuses: &[u16]) -> String {
    let count = |status: u16| statuses.iter().filter(|other| **other == status).count();
    let mut kinds = statuses.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.iter().map(|status| format!("{} × {status}", count(*status))).collect::<Vec<_>>().join(", ")
}

/// As many clients as there are places, some on either worker; those on the same one together.
fn two_workers(gate: &Gate) -> [Vec<Peer>; 2] {
    let mut clients = [Vec::new(), Vec::new()];
    let mut number = 0;
    while clients.iter().map(Vec::len).sum::<usize>() < COUNT {
        let before = active(gate, clients.iter().map(Vec::len).sum());
        // The kernel chooses the worker.
        let client = Peer::open(gate, number);
        number += 1;
        let after = active(gate, before.iter().sum::<usize>() + 1);
        let lane = &mut clients[usize::from(after[0] == before[0])];
        if lane.len() < COUNT / 2 {
            lane.push(client);
        } else {
            client.leave(gate);
        }
    }
    clients
}

/// The connections of either worker, once Envoy knows of `sum`: it takes a moment to count one that ended, the one that saw it listen among them.
#[track_caller]
fn active(gate: &Gate, sum: usize) -> [usize; 2] {
    let start = Instant::now();
    loop {
        let stats = gate.envoy.stats().expect("Envoy answers");
        let of = |worker: &str| {
            let name = format!("{worker}.downstream_cx_active");
            stats.iter().find(|(stat, _)| stat.ends_with(&name)).map_or(0, |(_, count)| *count as usize)
        };
        let counts = ["worker_0", "worker_1"].map(of);
        if counts.iter().sum::<usize>() == sum {
            return counts;
        }
        assert!(start.elapsed() < PATIENCE, "{counts:?}, not {sum}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The gauge has those that are open, and none of a VM that is gone.
#[track_caller]
fn check_gauge(gate: &Gate, count: usize) {
    let gauge = || gate.envoy.counter("portcullis.connections.active").expect("Envoy answers");
    assert!(wait(|| (gauge() == count as u64).then_some(())).is_some(), "{} in place of {count}", gauge());
}

fn open_feed(gate: &Gate) -> WebSocket {
    let mut websocket = gate.open("/feed");
    assert!(matches!(websocket.receive(PATIENCE), Event::Frame(_)));
    websocket
}

fn gate(workers: u32, failure_policy: FailurePolicy) -> Gate {
    let mut policy = open_policy(json!({}));
    policy["limits"] = json!({
        "per_address": {"connections": COUNT, "handshakes": null, "failures": null},
        "per_subject": null,
        "per_connection": null,
    });
    policy["routes"] = json!([{"match": {"path": "/feed"}, "policy": {"limits": {"per_address": null}}}]);
    Gate::launch(policy, Mode::scripted(play), |launch| {
        launch.module(test_module()).concurrency(workers).failure_policy(failure_policy)
    })
}

/// An echo; or a server that says something every tenth of a second, for a minute.
fn play(head: &Head) -> Play {
    let play = Play::correct(head);
    if head.target() != "/feed" {
        return play;
    }
    let start = Instant::now();
    let said = iter::repeat_with(|| {
        thread::sleep(Duration::from_millis(100));
        Draft::text("said").bytes()
    });
    play.feed(said.take_while(move |_| start.elapsed() < Duration::from_secs(60)))
}

/// How many connections an address may have.
const COUNT: usize = 6;

/// `request_timeout` of the shipped configuration, and what a busy machine adds.
const ANSWER_MAX: Duration = Duration::from_secs(40);

/// How long it may take until the places of a VM that is gone are free: nine or ten beats of a second, on a machine that compiles meanwhile.
const RECOVERY_MAX: Duration = Duration::from_secs(13);
