//! The playground, as its visitor uses it: every button, each with its verdict; policies that are wrong and right; by keyboard, in dark and
//! light, and on a phone. Screenshots go into the target folder.

use std::error::Error;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::axe;
use super::driver::Browser;
use super::log_in;
use crate::gate::Gate;
use crate::progress;
use crate::tally::Tally;

/// A button of the attacks, and its verdict.
const TRIALS: [(&str, &str); 15] = [
    ("hello", r#"Let through {"text":"hello"}"#),
    ("whoami", "Let through alice"),
    ("origin", "Refused 403 origin_refused, logged, counted"),
    ("expired", "Refused 401 credential_expired, logged, counted"),
    ("forged", "Refused 401 credential_invalid, logged, counted"),
    ("replay", "Refused 401 ticket_used, logged, counted"),
    ("oversized", "Refused 1009 message_too_big, logged, counted"),
    ("announced", "Refused 1009 message_too_big, logged, counted"),
    ("sql", "Refused 1008 pattern_refused, logged, counted"),
    ("script", "Refused 1008 pattern_refused, logged, counted"),
    ("json", "Refused 1007 invalid_json, logged, counted"),
    ("tunnel", "Refused 1008 tunnel_refused, logged, counted"),
    ("unmasked", "Refused 1002 protocol_error, logged, counted"),
    ("flood", "Refused 1008 rate_exceeded, logged, counted"),
    ("slow", "Refused 1008 too_slow, logged, counted"),
];

/// What is wrong with the policy that the page calls a mistake, as the filter's parser says it.
const FAULTS: [&str; 2] =
    ["limits.per_address.handshakes.burst: ", "messages.from_client.max_mesage_bytes: unknown field"];

/// A policy under which there is no page, and the page's word on it.
const PAGELESS: &str =
    r#"{"non_websocket": "refuse", "origin": {"allow": ["https://app.example.com"]}, "auth": {"required": false}}"#;
const SHUT_OUT: &str = "✕ Refused. The policy before it stays in force. this page could not be reached under it";

/// A colour scheme, a width and a height in CSS pixels, and the name of the screenshot.
const LOOKS: [(&str, u32, u32, &str); 3] =
    [("light", 1_280, 900, "light"), ("dark", 1_280, 900, "dark"), ("light", 390, 844, "phone")];

/// Plays all of it.
///
/// # Errors
/// No npm, or an Envoy or a Chromium that has ended.
pub(super) fn play(tally: &mut Tally, module: &Path, gate: &Gate, browser: &Browser) -> Result<(), Box<dyn Error>> {
    // Above the target's name and `release`.
    let folder = module.ancestors().nth(3).ok_or("the module is in the target folder")?.join("playground");
    let axe = progress::step("fetching axe-core, unless it is there", || axe::script(&folder))?;
    browser.go(&gate.origin())?;
    tally.row("page: axe-core, before a login", "0 violations", &axe::violations(browser, &axe));
    screenshot(browser, &folder.join("start.png"))?;
    // What finds nothing has to find something.
    browser.tell(NAMELESS, json!([]));
    tally.row(
        "page: axe-core, a nameless button",
        "1 violations, button-name at #nameless",
        &axe::violations(browser, &axe),
    );
    log_in(browser, gate)?;
    for (id, expected) in TRIALS {
        tally.row(&format!("page: {id}"), expected, &browser.tell(TRIAL, json!([id])));
    }
    tally.row("page: the visitor's own connection", "Open", &browser.tell(OWN, json!([])));
    policies(tally, gate, browser)?;
    let buttons = browser.tell(FOCUSABLE, json!([]));
    tally.row("page: what the keyboard reaches", &buttons, &tab(browser)?);
    foreign(tally, gate)?;
    for (scheme, width, height, name) in LOOKS {
        look(browser, scheme, width, height)?;
        tally.row(&format!("page: axe-core, {name}"), "0 violations", &axe::violations(browser, &axe));
        tally.row(&format!("page: what is wider than the window, {name}"), "nothing", &browser.tell(WIDER, json!([])));
        screenshot(browser, &folder.join(format!("{name}.png")))?;
    }
    browser.tell(super::LOGOUT, json!([]));
    tally.row("page: logged out, all attacks", "2 Let through, 13 Refused, Open", &browser.tell(ALL, json!([])));
    progress::say(&format!("screenshots: {}", folder.display()));
    Ok(())
}

/// A policy with faults, and three without, under one connection.
fn policies(tally: &mut Tally, gate: &Gate, browser: &Browser) -> Result<(), Box<dyn Error>> {
    let apply = |change: &str| browser.tell(APPLY, json!([change]));
    let refused = apply("mistake");
    let found = FAULTS.iter().filter(|fault| refused.contains(**fault)).count();
    tally.row("page: a policy with two mistakes", "Refused, 2 paths", &format!("{}, {found} paths", verdict(&refused)));
    let log = gate.envoy.log()?;
    let other = refused.lines().skip(1).find(|fault| !log.contains(&format!("policy refused: {fault}\n")));
    tally.row("page: the log about it", "the same words", other.unwrap_or("the same words"));
    let said = |text: &str| browser.tell(SAY, json!([text]));
    tally.row("page: a message under the policy before", "received", &said(&"x".repeat(200)));
    tally.row("page: a policy for short messages", "In force", verdict(&apply("shorter")));
    tally.row("page: the open connection", "Open", &browser.tell(OWN, json!([])));
    tally.row("page: a short message on it", "received", &said("hello"));
    tally.row("page: a long one", "closed: 1009 message_too_big", &said(&"x".repeat(200)));
    tally.row("page: monitor mode", "In force", verdict(&apply("monitor")));
    let noted = "Let through, noted pattern_refused, logged, counted";
    tally.row("page: sql under it", noted, &browser.tell(TRIAL, json!(["sql"])));
    tally.row(
        "page: a policy that shuts the page out",
        SHUT_OUT,
        &apply(PAGELESS).lines().collect::<Vec<_>>().join(" "),
    );
    tally.row("page: no policy at all", "Refused", verdict(&apply("{")));
    tally.row("page: the policy as it was", "In force", verdict(&apply("original")));
    let enforced = "Refused 1008 pattern_refused, logged, counted";
    tally.row("page: sql under it again", enforced, &browser.tell(TRIAL, json!(["sql"])));
    tally.row("page: another connection", "open: chat.v1", &browser.tell(ANOTHER, json!([])));
    // One that is wrong stands in the screenshots.
    apply("mistake");
    Ok(())
}

/// The first words of what the page says of a policy.
fn verdict(outcome: &str) -> &str {
    ["Refused", "In force"].into_iter().find(|verdict| outcome.contains(verdict)).unwrap_or(outcome)
}

/// Another site's page can send a POST, with its own `Origin`.
fn foreign(tally: &mut Tally, gate: &Gate) -> Result<(), Box<dyn Error>> {
    let client = gate.client()?;
    let ask = |path: &str, origin: &str| {
        let host = gate.authority();
        let lines = format!("host: {host}\r\norigin: {origin}\r\ncontent-length: 2\r\n\r\n{{}}");
        client.ask_raw(format!("POST /playground{path} HTTP/1.1\r\n{lines}").as_bytes()).map(|answer| answer.status())
    };
    let own = gate.origin();
    let got = format!(
        "{}, {}, {}",
        ask("/policy", "https://evil.example")?,
        ask("/play/origin", "null")?,
        ask("/play/anything-else", &own)?
    );
    tally.row("page: orders of another site, and unknown ones", "403, 403, 404", &got);
    Ok(())
}

fn look(browser: &Browser, scheme: &str, width: u32, height: u32) -> Result<(), Box<dyn Error>> {
    let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    browser.order("Emulation.setEmulatedMedia", &scheme)?;
    let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
    browser.order("Emulation.setDeviceMetricsOverride", &metrics)?;
    Ok(())
}

fn screenshot(browser: &Browser, path: &Path) -> Result<(), Box<dyn Error>> {
    browser.tell(
        "scrollTo(0, 0); document.activeElement.blur(); requestAnimationFrame(() => arguments[0]('done'));",
        json!([]),
    );
    let image = browser.order("Page.captureScreenshot", &json!({"captureBeyondViewport": true}))?;
    let image = STANDARD.decode(image["data"].as_str().ok_or("no image")?)?;
    Ok(fs::write(path, image)?)
}

/// How many elements the Tab key reaches, from the first to the first again.
fn tab(browser: &Browser) -> Result<String, Box<dyn Error>> {
    browser.tell("document.activeElement.blur(); window.visited = new Set(); arguments[0]('done');", json!([]));
    for _ in 0..TABS_MAX {
        for kind in ["rawKeyDown", "keyUp"] {
            let key: Value = json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            browser.order("Input.dispatchKeyEvent", &key)?;
        }
        let is_new = browser.tell(VISIT, json!([]));
        if is_new != "new" {
            break;
        }
    }
    Ok(browser.tell("arguments[0](`${visited.size} elements`);", json!([])))
}

/// More than there are.
const TABS_MAX: usize = 100;

const VISIT: &str = "
    const [done] = arguments;
    const { activeElement } = document;
    if (activeElement === document.body || visited.has(activeElement)) return done('again');
    visited.add(activeElement);
    done('new');
";

/// How many elements should be reached.
const FOCUSABLE: &str = "
    const [done] = arguments;
    const all = document.querySelectorAll('a[href], button, input, textarea, summary, [tabindex=\"0\"]');
    done(`${[...all].filter((one) => one.checkVisibility()).length} elements`);
";

/// Presses the button of an attack, and waits for the verdict.
const TRIAL: &str = "
    const [id, done] = arguments;
    const item = document.getElementById(`trial-${id}`);
    const part = (name) => item.querySelector(name);
    part('.result').hidden = true;
    part('button').click();
    const wait = () => {
        if (part('.result').hidden || part('button').hasAttribute('aria-disabled')) return setTimeout(wait, 10);
        const told = [`${part('.chip').textContent} ${part('.answer').textContent}`.trim()];
        if (!part('details').hidden && JSON.parse(part('.line').textContent).event) told.push('logged');
        const count = part('.counter').textContent;
        if (count) told.push(Number(count.split(' = ')[1]) > 0 ? 'counted' : count);
        done(told.join(', '));
    };
    wait();
";

/// Presses the button of all attacks, and waits for their verdicts. The first of them logs in.
const ALL: &str = "
    const [done] = arguments;
    const items = [...document.querySelectorAll('#trials li')];
    items.forEach((item) => (item.querySelector('.result').hidden = true));
    all.click();
    const wait = () => {
        if (all.hasAttribute('aria-disabled')) return setTimeout(wait, 10);
        const count = (verdict) => items.filter((item) =>
            !item.querySelector('.result').hidden && item.querySelector('.chip').textContent === verdict).length;
        const rows = [...document.querySelectorAll('#connections .state.open')];
        done([...['Let through', 'Refused'].map((verdict) => `${count(verdict)} ${verdict}`), ...rows.map((row) => row.textContent)].join(', '));
    };
    wait();
";

/// Adds a button that no reader of screens can name.
const NAMELESS: &str = "
    document.querySelector('main section').append(Object.assign(document.createElement('button'), { id: 'nameless' }));
    arguments[0]('done');
";

/// The state of the visitor's own connection.
const OWN: &str = "
    const [done] = arguments;
    const rows = [...document.querySelectorAll('#connections tr')].filter((row) => row.cells[0].textContent.endsWith('yours'));
    done(rows.length === 0 ? 'none' : rows[0].cells[1].textContent);
";

/// Says something on it, and waits for what comes.
const SAY: &str = "
    const [text, done] = arguments;
    const before = talk.textContent.split('\\n').length;
    message.value = text;
    chat.requestSubmit();
    const wait = () => {
        const lines = talk.textContent.trim().split('\\n');
        if (lines.length < before + 1) return setTimeout(wait, 10);
        const last = lines.at(-1);
        done(last.startsWith('received') ? 'received' : last);
    };
    wait();
";

/// Writes a change into the policy, or a policy of its own, applies it, and waits for what the page says.
const APPLY: &str = "
    const [change, done] = arguments;
    const button = document.querySelector(`[data-change='${CSS.escape(change)}']`);
    if (button) button.click(); else text.value = change;
    apply.click();
    const wait = () => {
        if (!['refused', 'passed'].includes(outcome.className)) return setTimeout(wait, 10);
        done([...outcome.querySelectorAll('p, li')].map((line) => line.textContent).join('\\n'));
    };
    wait();
";

const ANOTHER: &str = "
    const [done] = arguments;
    const before = talk.textContent.length;
    another.click();
    const wait = () => {
        const told = talk.textContent.slice(before).trim();
        if (told) done(told); else setTimeout(wait, 10);
    };
    wait();
";

/// An element that makes the page scroll sideways.
const WIDER: &str = "
    const [done] = arguments;
    const { scrollWidth, clientWidth } = document.documentElement;
    done(scrollWidth > clientWidth ? `${scrollWidth} of ${clientWidth} pixels` : 'nothing');
";
