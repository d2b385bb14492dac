//! What a case is, what all cases share, and the answers that most cases expect.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_envoy::Envoy;
use portcullis_envoy::peer::backend::{Backend, Request};
use portcullis_envoy::peer::client::{Answer, Client, Upgrade};
use portcullis_envoy::peer::frame::{CLOSE, Draft, TEXT};
use portcullis_envoy::peer::websocket::{Event, Verdict, WebSocket};
use serde_json::Value;

use crate::policy::{HOST, ORIGIN};
use crate::tokens::Keys;

/// The result of one play, to be compared with what was expected.
pub(super) type Got = Result<String, Box<dyn Error>>;

/// One row of the table.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) expected: String,
    pub(super) play: Box<dyn Fn(&Scene<'_>) -> Got + Send + Sync>,
}

impl Case {
    pub(super) fn new(
        name: impl Into<String>,
        expected: impl Into<String>,
        play: impl Fn(&Scene<'_>) -> Got + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), expected: expected.into(), play: Box::new(play) }
    }

    /// An upgrade that is refused with this status and reason, and whose connection is closed.
    pub(super) fn refused(
        name: impl Into<String>,
        answer: &str,
        upgrade: impl Fn(&Scene<'_>) -> Result<Upgrade, Box<dyn Error>> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, format!("{answer}, closed"), move |scene| scene.refusal(upgrade(scene)?))
    }

    /// A first message, which is echoed, or ends the connection before anything of it reaches the backend.
    pub(super) fn judged(
        name: impl Into<String>,
        answer: impl Into<String>,
        message: Draft,
        upgrade: impl Fn(&Scene<'_>) -> Result<Upgrade, Box<dyn Error>> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, answer, move |scene| {
            let mut websocket = scene.stage.client.open(&upgrade(scene)?)?;
            scene.judgement(&mut websocket, &message)
        })
    }

    /// An upgrade that is accepted, and whose WebSocket echoes.
    pub(super) fn accepted(
        name: impl Into<String>,
        upgrade: impl Fn(&Scene<'_>) -> Result<Upgrade, Box<dyn Error>> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, "101, echo", move |scene| {
            let mut websocket = scene.stage.client.open(&upgrade(scene)?)?;
            Ok(format!("101, {}", echo(&mut websocket, "hello")?))
        })
    }
}

/// What all cases share.
pub(super) struct Stage {
    /// Speaks to the gate before `backend`.
    pub(super) client: Client,
    /// The same without TLS.
    pub(super) plain: Client,
    /// The gate with low limits.
    pub(super) crowd: Client,
    /// The gate whose policy changes.
    pub(super) reload: Mutex<Envoy>,
    /// Speaks to the gate before the demo's own backend.
    pub(super) service: Client,
    /// Records everything.
    pub(super) backend: Backend,
    pub(super) keys: Arc<Keys>,
    /// A good token of `corp`.
    pub(super) token: String,
}

/// What one case has of it.
pub(super) struct Scene<'a> {
    pub(super) stage: &'a Stage,
    /// In the target of every request of this case, and of no other.
    pub(super) mark: String,
}

impl Scene<'_> {
    /// A good upgrade but for its credential, which is missing.
    pub(super) fn stranger(&self) -> Upgrade {
        self.stranger_to("/chat")
    }

    pub(super) fn stranger_to(&self, path: &str) -> Upgrade {
        Upgrade::to(&self.target(path)).host(HOST).origin(ORIGIN)
    }

    /// A good upgrade, with a good token in `Authorization`.
    pub(super) fn upgrade(&self) -> Upgrade {
        self.upgrade_to("/chat")
    }

    pub(super) fn upgrade_to(&self, path: &str) -> Upgrade {
        self.stranger_to(path).header("Authorization", bearer(&self.stage.token))
    }

    pub(super) fn target(&self, path: &str) -> String {
        format!("{path}?case={}", self.mark)
    }

    /// What reaches the backend for this case within a moment.
    pub(super) fn arrival(&self, wanted: impl Fn(&Request) -> bool) -> Option<Request> {
        self.stage.backend.wait(PATIENCE, |request| request.head.contains(&self.mark) && wanted(request))
    }

    /// Whether anything has reached the backend for this case, in a head or behind one.
    pub(super) fn arrived(&self, wanted: impl Fn(&Request) -> bool) -> bool {
        let mark = self.mark.as_bytes();
        let is_ours = |request: &Request| {
            request.head.contains(&self.mark) || request.bytes.windows(mark.len()).any(|window| window == mark)
        };
        self.stage.backend.wait(Duration::ZERO, |request| is_ours(request) && wanted(request)).is_some()
    }

    /// What came back for an upgrade that should be refused: status, reason, and what became of the connection. Says so
    /// where anything of it, or of a request behind it, reached the backend.
    pub(super) fn refusal(&self, upgrade: Upgrade) -> Got {
        let answer = self.stage.client.ask(&upgrade)?;
        Ok(self.aftermath(answer))
    }

    pub(super) fn aftermath(&self, mut answer: Answer) -> String {
        let mut got = describe(&answer);
        got.push_str(if answer.is_closed_within(PATIENCE) { ", closed" } else { ", left open" });
        if answer.next().status() != 0 {
            got.push_str(", answered twice");
        }
        if self.arrived(|_| true) {
            got.push_str(", REACHED THE BACKEND");
        }
        got
    }

    /// What becomes of the first message of a connection: `echo`, or the Close that it brings. Says so where anything of
    /// it reached the backend all the same.
    pub(super) fn judgement(&self, websocket: &mut WebSocket, message: &Draft) -> Got {
        websocket.send_frame(message.clone())?;
        let frame = match websocket.receive(PATIENCE) {
            Event::Frame(frame) => frame,
            event => return Ok(format!("{event:?}")),
        };
        if frame.opcode != CLOSE {
            let is_echo = Draft::copy_of(&frame).bytes() == message.bytes();
            return Ok(if is_echo { "echo".into() } else { format!("{frame:?}") });
        }
        websocket.answer_close(&frame);
        let mut got = format!("{} {}", frame.close_code().unwrap_or_default(), frame.close_reason());
        if !websocket.is_closed_within(PATIENCE) {
            got.push_str(", left open");
        }
        let request = self.arrival(|request| request.end.is_some()).ok_or("the backend's connection did not end")?;
        let (frames, rest) = request.frames();
        if !rest.is_empty() || frames.iter().any(|frame| frame.opcode != CLOSE) {
            got.push_str(", REACHED THE BACKEND");
        }
        Ok(got)
    }

    /// What the backend received behind the opening message, until the connection ended.
    ///
    /// # Errors
    /// Anything but masked frames, the last of them a Close.
    pub(super) fn farewell(&self) -> Result<Farewell, Box<dyn Error>> {
        let request = self.arrival(|request| request.end.is_some()).ok_or("the backend's connection did not end")?;
        let (frames, rest) = request.frames();
        let (close, before) = frames.split_last().ok_or("the backend received no frame")?;
        if !rest.is_empty() || frames.iter().any(|frame| frame.mask.is_none()) || close.opcode != CLOSE {
            return Err(format!("the backend received {frames:?} and {} bytes", rest.len()).into());
        }
        match before {
            [opening, fragments @ ..] if opening.payload == OPENING.as_bytes() => Ok(Farewell {
                fragments: fragments.len(),
                code: close.close_code().unwrap_or_default(),
                reason: close.close_reason(),
            }),
            _ => Err(format!("the backend received {before:?} first").into()),
        }
    }
}

/// How a backend was left.
pub(super) struct Farewell {
    /// Frames behind the opening message.
    pub(super) fragments: usize,
    pub(super) code: u16,
    pub(super) reason: String,
}

/// Status and reason of an answer. Says so where a header that belongs to the status is missing.
pub(super) fn describe(answer: &Answer) -> String {
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let reason = body["error"].as_str().map_or_else(|| answer.text().trim().to_owned(), str::to_owned);
    let mut got = [answer.status().to_string(), reason].join(" ").trim_end().to_owned();
    for (status, name, value) in [(401, "www-authenticate", "Bearer"), (426, "sec-websocket-version", "13")] {
        if answer.status() == status && answer.head.value(name) != Some(value) {
            got.push_str(&format!(", without {name}: {value}"));
        }
    }
    if answer.status() == 429 && answer.head.value("retry-after").is_none() {
        got.push_str(", without retry-after");
    }
    got
}

/// Sends a text message and says whether it came back.
pub(super) fn echo(websocket: &mut WebSocket, text: &str) -> Got {
    Ok(match websocket.exchange(text, PATIENCE)? {
        Event::Frame(frame) if frame.opcode == TEXT && frame.payload == text.as_bytes() => "echo".into(),
        event => format!("{event:?}"),
    })
}

/// What ended a WebSocket, and how many frames came before that. Says so where the connection then did not end.
pub(super) fn ending(websocket: &mut WebSocket) -> String {
    let (frames, verdict) = websocket.rest(PATIENCE);
    let before = if frames.is_empty() { String::new() } else { format!("{} good, ", frames.len()) };
    let verdict = match verdict {
        Verdict::Close(Some(code), reason) => format!("{code} {reason}"),
        verdict => format!("{verdict:?}"),
    };
    let closed = if websocket.is_closed_within(PATIENCE) { "" } else { ", left open" };
    format!("{before}{verdict}{closed}")
}

/// The request without what makes it an upgrade.
pub(super) fn plain(upgrade: Upgrade) -> Upgrade {
    let names = ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
    names.into_iter().fold(upgrade, Upgrade::without)
}

pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The one message that goes through before a case breaks a rule.
pub(super) const OPENING: &str = "before";

/// Milliseconds as a rule; seconds where the machine is busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A text frame of this many bytes, masked.
pub(super) fn text_of(len: usize) -> Vec<u8> {
    Draft::text(&"x".repeat(len)).masked().bytes()
}
