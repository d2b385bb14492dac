//! The dashboard and the alerts in `examples/monitoring`, judged by Prometheus itself: its promtool, and a Prometheus that reads a
//! live Envoy.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use portcullis_envoy::peer::backend::{Backend, Mode, Play};
use portcullis_envoy::peer::client::{Client, Upgrade};
use portcullis_envoy::peer::frame::Draft;
use portcullis_envoy::{Envoy, Launch, Update, module};
use serde_json::{Value, json};

const ORIGIN: &str = "https://app.example.com";
const KEY: &str = "an example of thirty-two octets.";
/// HS256 with [`KEY`], for `ann`, until 2100.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbS8iLCJhdWQiOiJjaGF0Iiwic3ViIjoiYW5uIiwiZXhwIjo0MTAyNDQ0ODAwfQ.4UkcE4NvHlrdICeKUasarUCGEVMw5E357lh_LWp0-hU";
/// Nothing listens there.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Metrics that the traffic here leaves at zero: no list and no keys are served, nobody logs out, and nothing has a past to rise above.
const AT_ZERO: [&str; 4] =
    ["portcullis_jwks_fetched", "portcullis_logouts_accepted", "portcullis_revocations_fetched", "portcullis_spikes{"];
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

/// A Prometheus on loopback; stopped when it is dropped.
struct Prometheus {
    process: Child,
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
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { process, address, folder }
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

impl Drop for Prometheus {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
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

/// A policy under which one of everything happens in [`traffic`].
fn policy(mode: &str) -> Value {
    json!({
        "mode": mode, "fail": "open", "require_tls": false,
        "origin": {"allow": [ORIGIN]},
        "auth": {
            "required": false,
            "sources": [{"header": "authorization"}, {"ticket": "ticket"}],
            "providers": [{
                "name": "corp", "issuer": "https://idp.example.com/", "audiences": ["chat"],
                "algorithms": ["HS256"], "jwks": {"secret": {"env": "SESSION_KEY"}},
            }, {
                "name": "published", "issuer": "https://other.example.com/", "audiences": ["chat"],
                "algorithms": ["ES256"], "jwks": {"cluster": "idp", "url": "https://idp.example.com/jwks.json"},
            }],
            "tickets": {"path": "/ws-ticket", "keys": [{"env": "TICKET_KEY"}]},
            "revocation": {"cluster": "idp", "path": "/revoked.json", "refresh": "1s"},
            "back_channel_logout": {"path": "/backchannel-logout", "provider": "corp"},
        },
        "messages": {"from_client": {"deny_patterns": [{"name": "card", "regex": "4[0-9]{15}"}]}},
        "limits": {"per_address": null, "per_subject": null},
    })
}

/// Good clients, a ticket, attackers of four kinds, and a policy with a fault: once each.
fn traffic(envoy: &Envoy) {
    let client = Client::plain(envoy.address());
    let good = || Upgrade::to("/chat").origin(ORIGIN);
    let post = |path: &str, field: &str, form: &str| {
        let len = form.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\n{field}\r\nContent-Length: {len}");
        client.ask_raw(format!("{head}\r\n\r\n{form}").as_bytes()).unwrap()
    };

    let with_token = |upgrade: Upgrade| upgrade.header("Authorization", format!("Bearer {TOKEN}"));
    let answer = post("/ws-ticket", &format!("Authorization: Bearer {TOKEN}"), "");
    assert_eq!(answer.status(), 201, "{}", answer.text());
    let body: Value = serde_json::from_str(&answer.text()).unwrap();
    let ticket = body["ticket"].as_str().unwrap();
    assert_eq!(client.ask(&good().target(&format!("/chat?ticket={ticket}"))).unwrap().status(), 101);
    let mut talker = client.open(&with_token(good())).unwrap();
    talker.exchange("hello", Duration::from_secs(5)).unwrap();

    // Enough of them to be more than half of all.
    for _ in 0..6 {
        assert_eq!(client.ask(&good().origin("https://evil.example")).unwrap().status(), 403);
    }
    let forged = good().header("Authorization", format!("Bearer {TOKEN}x"));
    assert_eq!(client.ask(&forged).unwrap().status(), 401);
    talker.send_frame(Draft::text("4111111111111111")).unwrap();
    _ = talker.verdict(Duration::from_secs(5));
    let form = "Content-Type: application/x-www-form-urlencoded";
    assert_eq!(post("/backchannel-logout", form, "logout_token=x").status(), 400);
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
fn every_query_of_the_dashboard_finds_what_happened_and_alerts_see_the_attack() {
    let backend = Backend::start(Mode::Echo).unwrap();
    let plain = Backend::start(Mode::scripted(|_| {
        Play::answer(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{PLAIN}", PLAIN.len()))
    }))
    .unwrap();
    let envoy = Launch::new(module::build().unwrap(), policy("enforce"), backend.address())
        .env("SESSION_KEY", KEY)
        .env("TICKET_KEY", "fedcba9876543210fedcba9876543210fedcba98765")
        .service("idp", NOWHERE)
        .start()
        .unwrap();
    let targets = [("envoy", envoy.admin()), ("plain", plain.address())];
    let prometheus = Prometheus::start("prometheus", &targets, &alerts());
    let open = Client::plain(envoy.address()).open(&Upgrade::to("/chat").origin(ORIGIN)).unwrap();

    let mut waiting = queries();
    assert!(waiting.len() > 10);
    let ask = |query: &str| {
        let query = query.replace("$__rate_interval", "20s").replace("$job", "envoy").replace("$instance", ".*");
        prometheus.query(&query)
    };
    let start = Instant::now();
    let is_noticed = || prometheus.alerts("pending").contains("PortcullisHandshakesRefused");
    while !waiting.is_empty() || !is_noticed() {
        assert!(start.elapsed() < PATIENCE, "nothing found: {waiting:#?}, or no alert");
        traffic(&envoy);
        assert_eq!(envoy.update_policy(&policy("monitor")).unwrap(), Update::Accepted);
        let other = Upgrade::to("/chat").origin("https://evil.example");
        assert_eq!(Client::plain(envoy.address()).ask(&other).unwrap().status(), 101);
        assert_eq!(envoy.update_policy(&json!({"mode": "none"})).unwrap(), Update::Rejected);
        assert_eq!(envoy.update_policy(&policy("enforce")).unwrap(), Update::Accepted);
        waiting.retain(|(_, query)| {
            let values = ask(query);
            let is_quiet = AT_ZERO.iter().any(|name| query.contains(name));
            values.is_empty() || !(is_quiet || values.iter().any(|value| *value > 0.0))
        });
    }
    for (query, value) in RELABELLED {
        assert_eq!(prometheus.query(&format!("{query} and on (job) up{{job=\"plain\"}}")), [value], "{query}");
    }
    assert!(prometheus.alerts("firing").contains("PortcullisPolicyRefused"));
    drop(open);
}

/// The alerts that an attack rings, each by what it does here.
const OF_ATTACKS: [&str; 5] = [
    "PortcullisClientsBanned",
    "PortcullisCredentialsRefused",
    "PortcullisHandshakesRefused",
    "PortcullisOverloaded",
    "PortcullisSpike",
];

#[test]
fn an_attack_rings_its_alerts_and_calm_none() {
    let backend = Backend::start(Mode::Echo).unwrap();
    let policy = json!({
        "require_tls": false, "origin": {"allow": [ORIGIN]},
        "auth": {"required": false, "providers": [{
            "name": "corp", "issuer": "https://idp.example.com/", "audiences": ["chat"],
            "algorithms": ["HS256"], "jwks": {"secret": {"env": "SESSION_KEY"}},
        }]},
        "messages": {"from_client": {"whole": true}},
        "limits": {"held_bytes": 262_144},
        "log": {"spikes": {"factor": 4, "window": "1s"}},
    });
    let envoy = Launch::new(module::build().unwrap(), policy, backend.address())
        .env("SESSION_KEY", KEY)
        .trusted_hops(1)
        .start()
        .unwrap();
    let prometheus = Prometheus::start("attacked", &[("envoy", envoy.admin())], &fast_alerts());
    let client = Client::plain(envoy.address());
    let from = |net: u8, host: u8| Upgrade::to("/chat").header("X-Forwarded-For", format!("198.51.{net}.{host}"));
    let honest = |host: u8| {
        let upgrade = from(1, host).origin(ORIGIN).header("Authorization", format!("Bearer {TOKEN}"));
        client.ask(&upgrade).unwrap().status()
    };

    // For longer than any rate is of that rings here, and than a spike needs to know what is usual: one in ten is refused.
    let start = Instant::now();
    for host in 0..100 {
        assert_eq!(honest(host), 101);
        if host % 10 == 0 {
            assert_eq!(client.ask(&from(2, host).origin("https://evil.example")).unwrap().status(), 403);
        }
        if start.elapsed() > Duration::from_secs(4) {
            let ringing = ["pending", "firing"].map(|state| prometheus.alerts(state));
            assert_eq!(ringing, [BTreeSet::new(), BTreeSet::new()]);
        }
        thread::sleep(Duration::from_millis(150));
    }
    let rate = prometheus.query("sum(rate(portcullis_handshakes[10s]))");
    assert!(matches!(rate[..], [rate] if rate > 1.0), "nothing was there to ring: {rate:?}");

    let (start, mut rung, mut held) = (Instant::now(), BTreeSet::new(), Vec::new());
    for host in (0..=255).cycle() {
        // Each address has ten of them, and is banned.
        for _ in 0..15 {
            let forged = from(3, host).origin(ORIGIN).header("Authorization", format!("Bearer {TOKEN}x"));
            assert!(matches!(client.ask(&forged).unwrap().status(), 401 | 429));
        }
        // Messages that do not end, until no worker may hold more.
        for _ in 0..3 {
            let slow = client.open(&from(4, host).origin(ORIGIN)).unwrap();
            slow.send_frame(Draft::text(&"x".repeat(60_000)).unfinished()).unwrap();
            held.push(slow);
        }
        assert_eq!(honest(host), 101);
        rung.append(&mut prometheus.alerts("firing"));
        if OF_ATTACKS.iter().all(|name| rung.contains(*name)) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "only {rung:?}");
        thread::sleep(Duration::from_millis(300));
    }
    println!("{rung:?} after {:?}", start.elapsed());
    // And none that is about something else.
    assert!(rung.iter().all(|name| OF_ATTACKS.contains(&name.as_str())), "{rung:?}");
}
