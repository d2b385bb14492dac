//! Protocols of TCP that are tunnelled in messages, known by the first bytes: of any message, or of what the sides say in turn.
//!
//! The head of every message is looked at in both directions, text and binary alike, since the client of a reverse tunnel stands
//! behind the server. A [`Head`] collects it; a [`Conversation`] remembers what the first turns of a connection may have
//! been. A turn is what one side says until the other speaks, and is judged by its first message.
//!
//! | how | what | protocols |
//! | --- | --- | --- |
//! | strong | at least 32 bits at the start of any message, that no format for data has | AMQP, Cassandra (STARTUP), HTTP/1 (a first line of at most 32 bytes), HTTP/2, Kafka (ApiVersions with a client's name), MongoDB, MQTT, MySQL, OpenVPN (without tls-auth), Oracle, PostgreSQL, Radmin, RDP and other TPKT, Redis (arrays), RFB, RTMP (connect), SMB, SSH and chisel, STOMP, TDS, Telnet (two commands), TLS, XMPP, Zabbix |
//! | shape | each is weak, but one answers the other in the first turns | Cassandra (OPTIONS), FTP, HTTP/1 (a longer first line), IMAP, NATS, OpenVPN, POP3, Redis (PING, AUTH), RTMP (handshake), SMTP, smux, SOCKS 4, 4A and 5, TeamViewer, Telnet (one command), yamux |
//!
//! Where a message ends is its sender's choice, and so is what comes along with it: no pattern asks for that, but for some answers.
//! Where it takes an answer, what is answered has reached the server: of SOCKS 5 the greeting, and a request that came along
//! with it; of a long HTTP/1 request all but its answer.
//!
//! Out of reach, whatever the bytes: tunnels that are encrypted or padded from the first byte (Shadowsocks, VMess, obfs4), that
//! begin with a secret (VLESS with an identifier, Trojan with a hash), that wrap TCP in a format of their own (JSON, protobuf,
//! base64), or that let a weak protocol begin amid another conversation. Only a list of what is allowed stops those:
//! subprotocols, types of message, a schema. Nor does a protocol show whose first bytes are spread over two messages on purpose,
//! or stand behind an empty line, which servers of HTTP and Redis skip: messages in protobuf begin with a line feed. Of an
//! HTTP request whose lines end with line feeds alone, only the answer shows. An XML declaration with an encoding hides the
//! start of an XMPP client, not of its server. QUIC, DTLS, WireGuard and DNS over UDP are not looked for: too weak.

mod pattern;
mod protocol;
mod signatures;
#[cfg(test)]
mod tests;

use crate::wire::Side;
use pattern::{Fit, Seen, fit};
use signatures::{DIALOGS, starting_with};

pub use pattern::HEAD_LEN_MAX;
pub use protocol::Protocol;

/// What a message begins like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Judgement {
    /// Nothing that is looked for, whatever follows.
    Clear,
    /// A tunnel of this protocol.
    Tunnel(Protocol),
    /// To be held: the next bytes, or the end, will tell.
    Undecided,
}

/// The protocols that a connection may carry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Exempt(u64);

impl Exempt {
    /// Each one.
    pub const ALL: Self = Self(u64::MAX);
    /// Not one.
    pub const NONE: Self = Self(0);

    /// What the negotiated subprotocol `name` is made to carry, in either case of its letters.
    #[must_use]
    pub fn for_subprotocol(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "amqp" | "amqpwsb10" => Self::NONE.with(Protocol::Amqp),
            "base64" | "binary" | "guacamole" | "tty" => Self::ALL,
            "mqtt" | "mqttv3.1" => Self::NONE.with(Protocol::Mqtt),
            "rfb" => Self::NONE.with(Protocol::Rfb),
            "sqlnet.oracle.com" => Self::NONE.with(Protocol::Oracle),
            "v10.stomp" | "v11.stomp" | "v12.stomp" => Self::NONE.with(Protocol::Stomp),
            "xmpp" => Self::NONE.with(Protocol::Xmpp),
            _ if name.ends_with("channel.k8s.io") => Self::ALL,
            _ if name.starts_with("chisel-") || name.starts_with("authorization.bearer.") => Self::ALL,
            _ => Self::NONE,
        }
    }

    /// These and `protocol`.
    #[must_use]
    pub const fn with(self, protocol: Protocol) -> Self {
        Self(self.0 | Self::bit(protocol))
    }

    /// Whether `protocol` is among them.
    #[must_use]
    pub const fn contains(self, protocol: Protocol) -> bool {
        self.0 & Self::bit(protocol) != 0
    }

    const fn bit(protocol: Protocol) -> u64 {
        1_u64.wrapping_shl(protocol as u32)
    }
}

/// The first bytes of one message.
#[derive(Clone, Copy)]
pub struct Head {
    bytes: [u8; HEAD_LEN_MAX],
    len: u8,
    from: Side,
    judgement: Judgement,
}

impl Head {
    /// Nothing yet of a message of `from`.
    #[must_use]
    pub const fn new(from: Side) -> Self {
        Self { bytes: [0; HEAD_LEN_MAX], len: 0, from, judgement: Judgement::Undecided }
    }

    fn push(&mut self, bytes: &[u8]) {
        let free = self.bytes.get_mut(usize::from(self.len)..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        free.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        self.len = self.len.saturating_add(u8::try_from(taken).unwrap_or(u8::MAX));
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Payload is not for logs.
impl core::fmt::Debug for Head {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Head({} bytes, {:?})", self.len, self.judgement)
    }
}

/// What the messages of one connection may be.
///
/// ```text
///   side A   05 01 00                05 01 00 03 …      each turn leaves those dialogs alive whose pattern it matches;
///   side B               05 00                          the last turn of one of them is a tunnel
///   turn     0           1           2
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    exempt: Exempt,
    /// The [`DIALOGS`] that all turns so far have matched, by index.
    alive: u32,
    turns: u8,
    speaker: Option<Side>,
}

impl Conversation {
    /// Nothing said yet, on a connection that may carry what is in `exempt`.
    #[must_use]
    pub const fn new(exempt: Exempt) -> Self {
        Self { exempt, alive: u32::MAX, turns: 0, speaker: None }
    }

    /// Whether a message of `from` that begins with these two bytes is nothing that is looked for, and no turn of a dialog: what
    /// [`Self::receive`] would say of it, in a few steps. So begin nearly all messages after the first ones.
    #[must_use]
    pub fn is_clear(&self, from: Side, start: [u8; 2]) -> bool {
        (self.alive == 0 || self.speaker == Some(from)) && starting_with(&start).next().is_none()
    }

    /// Takes the next bytes of the message whose start is `head`; once decided, it stays so. Takes effect on the conversation
    /// when it decides, so messages of the two sides may come interleaved.
    pub fn receive(&mut self, head: &mut Head, bytes: &[u8]) -> Judgement {
        if head.judgement == Judgement::Undecided {
            head.push(bytes);
            head.judgement = self.judge(head.from, Seen { bytes: head.bytes(), ended: false });
        }
        head.judgement
    }

    /// The message ends here: decides.
    pub fn finish(&mut self, head: &mut Head) -> Judgement {
        if head.judgement == Judgement::Undecided {
            head.judgement = self.judge(head.from, Seen { bytes: head.bytes(), ended: true });
        }
        head.judgement
    }

    fn judge(&mut self, from: Side, seen: Seen<'_>) -> Judgement {
        // An empty message says nothing: no turn.
        if seen.bytes.is_empty() {
            return if seen.ended { Judgement::Clear } else { Judgement::Undecided };
        }
        let mut open = false;
        for signature in starting_with(seen.bytes) {
            match fit(signature.1, seen) {
                Fit::Yes if !self.exempt.contains(signature.0) => return Judgement::Tunnel(signature.0),
                Fit::SoFar if !self.exempt.contains(signature.0) => open |= !seen.is_final(),
                Fit::No | Fit::SoFar | Fit::Yes => {}
            }
        }
        if self.alive == 0 || self.speaker == Some(from) {
            return if open { Judgement::Undecided } else { Judgement::Clear };
        }
        let mut alive = 0;
        for (index, dialog) in (0..).zip(DIALOGS) {
            let bit = 1_u32.wrapping_shl(index);
            let mut turns = dialog.1.iter().skip(usize::from(self.turns));
            let Some(pattern) = turns.next().filter(|_| self.alive & bit != 0 && !self.exempt.contains(dialog.0))
            else {
                continue;
            };
            match fit(pattern, seen) {
                Fit::SoFar if !seen.is_final() => open = true,
                Fit::SoFar | Fit::Yes if turns.next().is_none() => return Judgement::Tunnel(dialog.0),
                // What agrees for the whole head is weak enough anyway.
                Fit::SoFar | Fit::Yes => alive |= bit,
                Fit::No => {}
            }
        }
        if open {
            return Judgement::Undecided;
        }
        self.alive = alive;
        self.turns = self.turns.saturating_add(1);
        self.speaker = Some(from);
        Judgement::Clear
    }
}
