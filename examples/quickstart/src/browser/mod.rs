//! `cargo demo -- --browser`: Chromium opens the demo's page and from there WebSockets, over HTTP/2 (RFC 8441), and uses the page ([`page`]).
//!
//! Each case checks what the page observes: the subprotocol, what comes back, and of the end the code, the reason and
//! whether it was clean. Which protocol carried it is taken from Envoy's access log. Chromium asks for a WebSocket in HTTP/2 only
//! on a connection whose server has offered it (RFC 8441 §3), so the page comes from the same origin first.
//!
//! An end over HTTP/2 is never clean: when the upstream closes its TCP connection behind the Close frames, Envoy ends the
//! stream with RST_STREAM ("upstream_reset_after_response_started" in its access log) where RFC 8441 §5 asks for END_STREAM,
//! and only the latter is clean to Chromium. Code and reason arrive all the same. Envoy without the filter does the same, and over HTTP/1.1 these
//! ends are clean: both are checked.

mod axe;
mod driver;
mod page;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use portcullis_envoy::peer::backend::{Backend, Mode, Play};
use serde_json::{Value, json};

use crate::backend;
use crate::demo::Demo;
use crate::gate::{self, Gate};
use crate::policy::{MESSAGE_MAX, ROOM_PATH};
use crate::progress;
use crate::tally::Tally;
use crate::tokens::SUBJECT;
use driver::Browser;

/// What the page does with a WebSocket that has echoed, and the code and reason that it gets then.
const ENDINGS: [(&str, &str, &str); 5] = [
    PAGE_CLOSES,
    ("longest text allowed, then closed", "socket.send('x'.repeat(max)); socket.close(1000)", "1000"),
    ("text one byte too long", "socket.send('x'.repeat(max + 1))", "1009 message_too_big"),
    ("binary", "socket.send(new Uint8Array(1))", "1003 type_refused"),
    ("the server's message is too long", "socket.send('send 2000000')", "1011 message_too_big"),
];

const PAGE_CLOSES: (&str, &str, &str) = ("the page closes", "socket.close(1000, 'bye')", "1000 bye");

/// What goes over the wire, by the name it has in the access log.
struct Protocol {
    name: &'static str,
    /// What makes Chromium speak it.
    switches: &'static [&'static str],
    /// What Chromium calls an end with Close frames on both sides.
    ending: &'static str,
}

const HTTP_2: Protocol = Protocol { name: "HTTP/2", switches: &[], ending: "not clean" };
const HTTP_1: Protocol = Protocol { name: "HTTP/1.1", switches: &["--disable-http2"], ending: "clean" };

/// Plays all cases; succeeds when every one got what it expected.
///
/// # Errors
/// No module, no Envoy, no Chromium, or one of them that does not start.
pub(crate) fn run() -> Result<ExitCode, Box<dyn Error>> {
    let module = gate::prepare()?;
    let mut tally = Tally::start();
    let demo = Demo::open(&module)?;
    play_all(&mut tally, &HTTP_1, &demo.gate)?;
    let browser = play_all(&mut tally, &HTTP_2, &demo.gate)?;
    page::play(&mut tally, &module, &demo.gate, &browser)?;
    play_alone(&mut tally, &module)?;
    Ok(tally.finish())
}

/// WebSockets over one protocol. Returns the browser.
fn play_all(tally: &mut Tally, protocol: &Protocol, gate: &Gate) -> Result<Browser, Box<dyn Error>> {
    let before = gate.envoy.log()?.len();
    let browser = open_page(protocol, gate)?;
    let name = protocol.name;
    let expected = format!("open: chat.v1, received: {SUBJECT}");
    tally.row(&format!("{name}: the page asks whoami"), &expected, &browser.tell(PAGE, json!(["whoami"])));
    for ending in ENDINGS {
        check_ending(tally, name, protocol.ending, &browser, ending);
    }
    // Browsers do not tell a page why a WebSocket failed: it could spy on other sites.
    let refused = browser.tell(REFUSED, json!([]));
    tally.row(&format!("{name}: a ticket that was used"), "1006, not clean", &refused);
    check_ending(tally, &format!("{name}, after that"), protocol.ending, &browser, PAGE_CLOSES);
    let left = browser.tell(LOGOUT, json!([]));
    tally.row(&format!("{name}: the page's visitor logs out"), "closed: 3000 credential_revoked", &left);
    // The page's own WebSocket, the endings, the one whose ticket is used again, and the one behind it.
    let opened = 1 + ENDINGS.len() + 2;
    let expected = format!("{opened} x 101, 1 x 401");
    tally.row(&format!("{name}: the access log"), &expected, &access_log(gate, protocol, before, opened + 1)?);
    Ok(browser)
}

/// Envoy without the filter, which shows that Envoy causes the end over HTTP/2. The backend is another: without the filter no upgrade
/// out of HTTP/2 has the `Sec-WebSocket-Key` that HTTP/1.1 asks for.
fn play_alone(tally: &mut Tally, module: &Path) -> Result<(), Box<dyn Error>> {
    let upstream = Backend::start(Mode::scripted(|head| match head.value("upgrade") {
        Some(_) => Play::answer(head.accepted()),
        None => {
            Play::answer(backend::resource(head.target()).unwrap_or_else(|| backend::response(&(200, "{}".to_owned()))))
        }
    }))?;
    let gate = Gate::open_without_filter(module, upstream.address())?;
    let browser = open_page(&HTTP_2, &gate)?;
    check_ending(tally, "HTTP/2, Envoy alone", HTTP_2.ending, &browser, PAGE_CLOSES);
    drop(browser);
    tally.row("HTTP/2, Envoy alone: the access log", "2 x 101", &access_log(&gate, &HTTP_2, 0, 2)?);
    Ok(())
}

/// Opens the page, and logs in.
fn open_page(protocol: &Protocol, gate: &Gate) -> Result<Browser, Box<dyn Error>> {
    let browser = progress::step("starting Chromium", || Browser::start(protocol.switches))?;
    log_in(&browser, gate)?;
    Ok(browser)
}

fn log_in(browser: &Browser, gate: &Gate) -> Result<(), Box<dyn Error>> {
    browser.go(&gate.origin())?;
    match browser.tell(LOGIN, json!([SUBJECT])).as_str() {
        "open" => Ok(()),
        end => Err(format!("no login: {end}").into()),
    }
}

fn check_ending(
    tally: &mut Tally,
    kind: &str,
    clean: &str,
    browser: &Browser,
    (name, action, end): (&str, &str, &str),
) {
    let got = browser.tell(&WEBSOCKET.replace("ACTION", action), json!([MESSAGE_MAX]));
    tally.row(&format!("{kind}: {name}"), &format!("echo, {end}, {clean}"), &got);
}

/// How often each status was given over this protocol to an upgrade, once there are `count` behind so many bytes of the log; reports one over
/// another protocol.
fn access_log(gate: &Gate, protocol: &Protocol, before: usize, count: usize) -> Result<String, Box<dyn Error>> {
    let started = Instant::now();
    loop {
        let log = gate.envoy.log()?;
        let log = log.get(before..).unwrap_or_default();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let answers: Vec<Value> = lines
            .filter(|line| line["path"] == "/chat" || line["path"] == ROOM_PATH)
            .filter(|line| line["protocol"].is_string())
            .collect();
        if answers.len() < count && started.elapsed() < PATIENCE {
            thread::sleep(PAUSE);
            continue;
        }
        let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
        for answer in &answers {
            let other = if answer["protocol"] == protocol.name { "" } else { " over another protocol" };
            *statuses.entry(format!("{}{other}", answer["status"])).or_default() += 1;
        }
        let statuses: Vec<String> = statuses.iter().map(|(status, count)| format!("{count} x {status}")).collect();
        return Ok(statuses.join(", "));
    }
}

/// Envoy writes its access log every 50 ms; this is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// Gives a name as a visitor of the page does, and waits until it is connected.
const LOGIN: &str = "
    const [name, done] = arguments;
    user.value = name;
    login.requestSubmit();
    const wait = () => {
        const line = talk.textContent.split('\\n')[0];
        if (line) done(line.split(':')[0]); else setTimeout(wait, 10);
    };
    wait();
";

/// Logs out as a visitor does, and waits for the end of the page's WebSocket.
const LOGOUT: &str = "
    const [done] = arguments;
    leave.click();
    const wait = () => {
        const lines = talk.textContent.trim().split('\\n');
        if (lines.at(-1).startsWith('closed')) done(lines.at(-1)); else setTimeout(wait, 10);
    };
    wait();
";

/// Uses the page as its visitor does: waits until it is connected, types a text, and waits for an answer.
const PAGE: &str = "
    const [text, done] = arguments;
    const wait = () => {
        const lines = talk.textContent.trim().split('\\n');
        if (lines.length === 1 && lines[0].startsWith('open') && message.value === '') {
            message.value = text;
            chat.requestSubmit();
        }
        const told = lines.filter((line) => !line.startsWith('sent'));
        if (told.length >= 2 || told[0].startsWith('closed')) done(told.join(', ')); else setTimeout(wait, 10);
    };
    wait();
";

/// Opens a WebSocket of the chat as the page does, waits for an echo, then does something, and returns the outcome.
const WEBSOCKET: &str = "
    const [max, done] = arguments;
    const told = [];
    import('/playground/session.js').then(({ connect }) => connect('/chat')).then((socket) => {
        socket.onopen = () => socket.send('hello');
        socket.onmessage = ({ data }) => {
            if (data !== 'hello') return;
            told.push('echo');
            ACTION;
        };
        socket.onclose = ({ code, reason, wasClean }) =>
            done([...told, `${code} ${reason}`.trim(), wasClean ? 'clean' : 'not clean'].join(', '));
    });
";

/// Opens two WebSockets with one ticket, and returns the outcome of the second.
const REFUSED: &str = "
    const [done] = arguments;
    import('/playground/session.js').then(async ({ connect, ticket }) => {
        const once = await ticket();
        const first = await connect('/chat', once);
        first.onopen = async () => {
            const socket = await connect('/chat', once);
            socket.onopen = () => done('open');
            socket.onclose = ({ code, reason, wasClean }) =>
                done([`${code} ${reason}`.trim(), wasClean ? 'clean' : 'not clean'].join(', '));
        };
    });
";
