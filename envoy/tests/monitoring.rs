//! The dashboard and the alerts in `examples/monitoring`, judged by Prometheus itself: its promtool, and a Prometheus that reads the Envoy of
//! `cargo demo` while that is attacked.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use portcullis_envoy::peer::backend::{Backend, Mode, Play};
use portcullis_envoy::peer::client::{Answer, Client, Upgrade};
use portcullis_envoy::peer::frame::Draft;
use serde_json::{Value, json};

/// Metrics that the traffic here leaves at zero: no list and no keys are served, and nothing has a past to rise above.
const AT_ZERO: [&str; 3] = ["portcullis_jwks_fetched", "portcullis_revocations_fetched", "portcullis_spikes{"];
/// For the slowest of all: Envoy hands histograms out every five seconds.
const PATIENCE: Duration = Duration::from_secs(60);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/monitoring").canonicalize().unwrap()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

/// The shipped rules.
fn alerts() -> String {
    fs::read_to_string(folder().join("alerts.yaml")).unwrap()
}

/// The same where a minute is two seconds: every span of theirs that is written in minutes, hours or days, and nothing else.
fn fast_alerts() -> String {
    let (alerts, mut fast, mut spans) = (alerts(), String::new(), 0);
    let mut rest = alerts.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let (number, behind) = from.split_at(from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len()));
        fast += before;
        let minutes = match behind.as_bytes() {
            [unit, next, ..] if !next.is_ascii_alphanumeric() => match unit {
                b'm' => Some(1),
                b'h' => Some(60),
                b'd' => Some(24 * 60),
                _ => None,
            },
            _ => None,
        };
        match minutes {
            Some(minutes) => {
                fast += &format!("{}s", number.parse::<u32>().unwrap() * minutes * 2);
                rest = &behind[1..];
                spans += 1;
            }
            None => {
                fast += number;
                rest = behind;
            }
        }
    }
    assert!(spans > 20, "{spans}");
    fast + rest
}

#[track_caller]
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").current_dir(folder()).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_takes_configuration_and_rules() {
    promtool(&["check", "config", "prometheus.yaml"]);
    promtool(&["check", "rules", "alerts.yaml"]);
}

#[test]
fn every_alert_fires_and_stays_silent_in_its_unit_test() {
    promtool(&["test", "rules", "alerts_test.yaml"]);
    let rules = yaml("alerts.yaml")["groups"][0]["rules"].as_array().unwrap().clone();
    let names = rules.iter().map(|rule| rule["alert"].as_str().unwrap());
    let tests = yaml("alerts_test.yaml")["tests"].as_array().unwrap().clone();
    let judged: Vec<Value> =
        tests.iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap().clone()).collect();
    for name in names {
        let of_name = || judged.iter().filter(|test| test["alertname"] == name);
        let fires = |test: &Value| test["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
        assert!(of_name().any(fires), "{name} never fires");
        assert!(of_name().any(|test| !fires(test)), "{name} is never silent");
    }
}

/// A process that is asked to end when this is dropped, so that it can end its own.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = Command::new("kill").arg(self.0.id().to_string()).status();
        _ = self.0.wait();
    }
}

/// A Prometheus on loopback.
struct Prometheus {
    _process: Running,
    address: SocketAddr,
    folder: PathBuf,
}

impl Prometheus {
    /// Reads `targets`, each a job, once a second, by the shipped configuration; `alerts` are its rules.
    fn start(name: &str, targets: &[(&str, SocketAddr)], alerts: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("alerts.yaml"), alerts).unwrap();
        let mut config = yaml("prometheus.yaml");
        config["global"] = json!({"scrape_interval": "1s", "evaluation_interval": "1s"});
        let scrape = config["scrape_configs"][0].clone();
        let job = |(job, target): &(&str, SocketAddr)| {
            let mut scrape = scrape.clone();
            scrape["job_name"] = json!(job);
            scrape["static_configs"][0]["targets"] = json!([target.to_string()]);
            scrape
        };
        config["scrape_configs"] = targets.iter().map(job).collect();
        fs::write(folder.join("prometheus.yaml"), config.to_string()).unwrap();
        // It does not say which port it took, had it been given 0.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let process = Running::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--log.level=warn")
                .stdout(Stdio::null())
                .stderr(fs::File::create(folder.join("log")).unwrap()),
        );
        Self { _process: process, address, folder }
    }

    /// `data` of an answer of its API, once it answers.
    fn ask(&self, path: &str) -> Value {
        let start = Instant::now();
        loop {
            if let Some(answer) = get(self.address, path) {
                assert_eq!(answer["status"], "success", "{path}: {answer}");
                return answer["data"].clone();
            }
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "Prometheus does not answer: {}", log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a query finds now.
    fn query(&self, query: &str) -> Vec<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let data = self.ask(&format!("/api/v1/query?query={encoded}"));
        let values = data["result"].as_array().unwrap().iter();
        values.map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The alerts in this state.
    fn alerts(&self, state: &str) -> BTreeSet<String> {
        let data = self.ask("/api/v1/alerts");
        let alerts = data["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == state);
        alerts.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }
}

fn get(address: SocketAddr, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(address).ok()?;
    // Of HTTP/1.0, so that the body is not in chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// A `cargo demo`, and its page's way to it.
struct Demo {
    _process: Running,
    /// What it goes on to say.
    _said: BufReader<ChildStdout>,
    metrics: SocketAddr,
    authority: String,
    client: Client,
    token: String,
}

impl Demo {
    fn start() -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut process = Running::start(Command::new(cargo).current_dir(folder()).arg("demo").stdout(Stdio::piped()));
        let mut said = BufReader::new(process.0.stdout.take().unwrap());
        let mut told = |before: &str, behind: &str| loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "the demo ended before it told {before}");
            if let Some(told) = line.trim().strip_prefix(before).and_then(|rest| rest.strip_suffix(behind)) {
                return told.trim().to_owned();
            }
        };
        let authority = told("https://", "/");
        let metrics = told("http://", "/stats/prometheus").parse().unwrap();
        let ca_pem = fs::read_to_string(told("CA ", "")).unwrap();
        let token = told("TOKEN=", "");
        let port = authority.rsplit(':').next().unwrap().parse().unwrap();
        let client = Client::tls((Ipv4Addr::LOCALHOST, port).into(), "chat.example.com", &ca_pem).unwrap();
        Self { _process: process, _said: said, metrics, authority, client, token }
    }

    /// Asks as the page does.
    fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> Answer {
        let (authority, len) = (&self.authority, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\norigin: https://{authority}\r\n{fields}content-length: {len}\r\n\r\n"
        );
        self.client.ask_raw((head + body).as_bytes()).unwrap()
    }

    /// Presses the button of an attack: the status or close code, and the reason, that it brought.
    fn play(&self, name: &str) -> (u64, String) {
        let answer = self.ask("POST", &format!("/playground/play/{name}"), "", "");
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        let came: Value = serde_json::from_slice(&answer.body).unwrap();
        (came["code"].as_u64().unwrap(), came["reason"].as_str().unwrap().to_owned())
    }

    /// The policy in force.
    fn policy(&self) -> Value {
        serde_json::from_slice(&self.ask("GET", "/playground/policy", "", "").body).unwrap()
    }

    #[track_caller]
    fn apply(&self, policy: &Value) {
        let answer = self.ask("POST", "/playground/policy", "", &policy.to_string());
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }

    /// What an honest client asks for.
    fn good(&self, path: &str) -> Upgrade {
        let upgrade = Upgrade::to(path).host(&self.authority).origin(&format!("https://{}", self.authority));
        upgrade.header("Authorization", format!("Bearer {}", self.token))
    }
}

/// Good clients, a ticket, a logout, attackers, and a policy with a fault: once each.
fn traffic(demo: &Demo, policy: &Value) {
    let mut talker = demo.client.open(&demo.good("/room")).unwrap();
    talker.exchange(r#"{"text":"hello"}"#, Duration::from_secs(5)).unwrap();
    talker.send_frame(Draft::text(r#"{"text":"x' OR '1'='1' --"}"#)).unwrap();
    _ = talker.verdict(Duration::from_secs(5));
    assert_eq!(demo.play("replay"), (401, "ticket_used".into()));
    assert_eq!(demo.play("origin"), (403, "origin_refused".into()));

    let login = demo.ask("POST", "/login", "", "user=ann");
    let session: Value = serde_json::from_slice(&login.body).unwrap();
    let bearer = format!("authorization: Bearer {}\r\n", session["token"].as_str().unwrap());
    assert_eq!(demo.ask("POST", "/logout", &bearer, "").status(), 200);
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    assert_eq!(demo.ask("POST", "/backchannel-logout", form, "logout_token=x").status(), 400);

    let mut monitored = policy.clone();
    monitored["mode"] = "monitor".into();
    demo.apply(&monitored);
    assert_eq!(demo.play("origin").0, 101);
    assert_eq!(demo.ask("POST", "/playground/policy", "", r#"{"mode":"none"}"#).status(), 422);
    demo.apply(policy);
}

/// What an Envoy without `stats_tags` says.
const PLAIN: &str = "portcullis_handshakes_accepted{} 1\nportcullis_refused_origin_refused{} 2\nportcullis_would_refuse_idle{} 3\n\
    portcullis_connections_closed_peer{} 4\nportcullis_connections_active{} 5\nportcullis_rules_card_1{} 6\n\
    portcullis_messages_from_client_text{} 7\nportcullis_bytes_from_server{} 8\nportcullis_spikes_failures{} 9\n\
    portcullis_message_bytes_from_client_bucket{le=\"+Inf\"} 10\nportcullis_message_bytes_from_client_sum{} 11\n\
    portcullis_tickets_issued{} 12\n";

/// How the dashboard names them.
const RELABELLED: [(&str, f64); 12] = [
    (r#"portcullis_handshakes{portcullis_reason="accepted"}"#, 1.0),
    (r#"portcullis_refused{portcullis_reason="origin_refused"}"#, 2.0),
    (r#"portcullis_would_refuse{portcullis_reason="idle"}"#, 3.0),
    (r#"portcullis_connections_closed{portcullis_reason="peer"}"#, 4.0),
    (r#"portcullis_connections_active{portcullis_reason="",portcullis_side=""}"#, 5.0),
    (r#"portcullis_rules{portcullis_rule="card_1"}"#, 6.0),
    (r#"portcullis_messages{portcullis_side="from_client",portcullis_kind="text"}"#, 7.0),
    (r#"portcullis_bytes{portcullis_side="from_server",portcullis_kind=""}"#, 8.0),
    (r#"portcullis_spikes{portcullis_kind="failures",portcullis_side=""}"#, 9.0),
    (r#"portcullis_message_bytes_bucket{portcullis_side="from_client",le="+Inf"}"#, 10.0),
    (r#"portcullis_message_bytes_sum{portcullis_side="from_client"}"#, 11.0),
    (r#"portcullis_tickets_issued{portcullis_side=""}"#, 12.0),
];

/// Every query of the dashboard, by the title of its panel.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(folder().join("dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
    };
    panels.iter().flat_map(of_panel).collect()
}

#[test]
fn every_query_of_the_dashboard_finds_what_happens_in_the_demo() {
    let plain = Backend::start(Mode::scripted(|_| {
        Play::answer(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{PLAIN}", PLAIN.len()))
    }))
    .unwrap();
    let demo = Demo::start();
    let prometheus = Prometheus::start("prometheus", &[("envoy", demo.metrics), ("plain", plain.address())], &alerts());
    let open = demo.client.open(&demo.good("/chat")).unwrap();
    // And a provider and a list that nobody serves.
    let mut policy = demo.policy();
    policy["fail"] = "open".into();
    policy["auth"]["revocation"] = json!({"cluster": "idp", "path": "/revoked.json", "refresh": "1s"});
    policy["auth"]["providers"].as_array_mut().unwrap().push(json!({
        "name": "published", "issuer": "https://other.example.com/", "audiences": ["chat"],
        "algorithms": ["ES256"], "jwks": {"cluster": "idp", "url": "https://idp.example.com/jwks.json"},
    }));
    demo.apply(&policy);

    let mut waiting = queries();
    assert!(waiting.len() > 10);
    let start = Instant::now();
    let mut rings = false;
    while !(waiting.is_empty() && rings) {
        assert!(start.elapsed() < PATIENCE, "the alert rings: {rings}; nothing found: {waiting:#?}");
        traffic(&demo, &policy);
        waiting.retain(|(_, query)| {
            let of_demo = query.replace("$__rate_interval", "20s").replace("$job", "envoy").replace("$instance", ".*");
            let values = prometheus.query(&of_demo);
            let is_quiet = AT_ZERO.iter().any(|name| query.contains(name));
            values.is_empty() || !(is_quiet || values.iter().any(|value| *value > 0.0))
        });
        // It is judged once a second.
        rings |= prometheus.alerts("firing").contains("PortcullisPolicyRefused");
    }
    for (query, value) in RELABELLED {
        assert_eq!(prometheus.query(&format!("{query} and on (job) up{{job=\"plain\"}}")), [value], "{query}");
    }
    println!("all after {:?}", start.elapsed());
    drop(open);
}

/// The alerts that an attack rings.
const OF_ATTACKS: [&str; 5] =
    [BANNED, "PortcullisCredentialsRefused", "PortcullisHandshakesRefused", "PortcullisOverloaded", "PortcullisSpike"];
/// The last, since a banned address can do no more.
const BANNED: &str = "PortcullisClientsBanned";

#[test]
fn attacks_on_the_demo_ring_their_alerts_and_calm_none() {
    let demo = Demo::start();
    let mut policy = demo.policy();
    // A minute is two seconds here; so are the past of a spike and what a worker may hold smaller.
    policy["log"] = json!({"spikes": {"factor": 4, "window": "1s"}});
    policy["limits"]["held_bytes"] = 262_144.into();
    demo.apply(&policy);
    let prometheus = Prometheus::start("attacked", &[("envoy", demo.metrics)], &fast_alerts());
    let honest = || demo.client.ask(&demo.good("/chat")).unwrap().status();

    // For longer than any rate is of that rings here, and than a spike needs to know what is usual: one in ten is refused.
    let start = Instant::now();
    for turn in 0..100 {
        assert_eq!(honest(), 101);
        if turn % 10 == 0 {
            assert_eq!(demo.play("origin").0, 403);
        }
        if start.elapsed() > Duration::from_secs(4) {
            let ringing = ["pending", "firing"].map(|state| prometheus.alerts(state));
            assert_eq!(ringing, [BTreeSet::new(), BTreeSet::new()]);
        }
        thread::sleep(Duration::from_millis(150));
    }
    let rate = prometheus.query("sum(rate(portcullis_handshakes[10s]))");
    assert!(matches!(rate[..], [rate] if rate > 1.0), "nothing was there to ring: {rate:?}");

    let (start, mut rung) = (Instant::now(), BTreeSet::new());
    while !OF_ATTACKS.iter().all(|name| *name == BANNED || rung.contains(*name)) {
        assert!(start.elapsed() < PATIENCE, "only {rung:?}");
        for _ in 0..20 {
            assert_eq!(demo.play("forged"), (401, "credential_invalid".into()));
        }
        // Messages that do not end, until no worker may hold more.
        let slow = (0..16).map(|_| {
            let slow = demo.client.open(&demo.good("/room")).unwrap();
            slow.send_frame(Draft::text(&"x".repeat(60_000)).unfinished()).unwrap();
            slow
        });
        let slow: Vec<_> = slow.collect();
        assert_eq!(honest(), 101);
        rung.append(&mut prometheus.alerts("firing"));
        thread::sleep(Duration::from_millis(300));
        drop(slow);
    }

    // As by default: the demo lets its one address do more.
    policy["limits"]["per_address"]["failures"] = json!({"count": 10, "window": "60s", "ban": "5m"});
    demo.apply(&policy);
    while !rung.contains(BANNED) {
        assert!(start.elapsed() < 2 * PATIENCE, "only {rung:?}");
        for _ in 0..10 {
            assert!(matches!(demo.play("forged").0, 401 | 429));
        }
        rung.append(&mut prometheus.alerts("firing"));
        thread::sleep(Duration::from_millis(300));
    }
    println!("{rung:?} after {:?}", start.elapsed());
    // And none that is about something else.
    assert!(rung.iter().all(|name| OF_ATTACKS.contains(&name.as_str())), "{rung:?}");
}
