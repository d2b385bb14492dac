//! The subprotocols of a handshake (RFC 6455 §1.9, §11.3.4): which of the offered ones the upstream may choose.

use super::credential::OfferedItem;
use crate::effect::Edit;
use crate::http::headers::Headers;
use crate::negotiation::SubprotocolRules;
use crate::violation::Violation;

/// Subprotocols that carry another protocol whole, or a terminal: allowed only by name. From the IANA registry and the
/// source of the tools that use them.
const TUNNELS: [&str; 17] = [
    "amqp",
    "amqpwsb10",
    "base64",
    "binary",
    "coap",
    "guacamole",
    "mqtt",
    "mqttv3.1",
    "msrp",
    "rfb",
    "sip",
    "sqlnet.oracle.com",
    "tty",
    "v10.stomp",
    "v11.stomp",
    "v12.stomp",
    "xmpp",
];

/// How the names of tunnels begin that carry a version or a credential: chisel, wstunnel.
const TUNNEL_PREFIXES: [&str; 2] = ["chisel-", "authorization.bearer."];

/// The names of Kubernetes: a terminal, or a port, in one version or another.
const KUBERNETES_SUFFIX: &str = "channel.k8s.io";

/// No name of a subprotocol is that long, nor an opaque token of 64 bytes (86 characters); the early data of Xray and V2Ray is, once
/// it carries a ClientHello of TLS. A JWT has dots.
const BLOB_LEN_MIN: usize = 128;

/// What the upstream may choose from.
#[derive(Debug, Default)]
pub(super) struct SubprotocolOffer {
    names: Vec<String>,
    /// The marker of a credential, where nothing else was offered: a client that offers something has to be answered
    /// something, or a browser fails the connection (WHATWG WebSockets §3).
    echo: Option<String>,
}

impl SubprotocolOffer {
    /// Sorts out what was offered.
    ///
    /// # Errors
    /// [`Violation::BadUpgrade`] when a name stands twice, [`Violation::SubprotocolRefused`] for a tunnel that is not
    /// listed, when none of the offered ones is allowed, and when one is required and none offered.
    pub(super) fn new(offered: &[OfferedItem], rules: &SubprotocolRules, forward: bool) -> Result<Self, Violation> {
        let own: Vec<&str> = offered.iter().filter(|item| !item.credential).map(|item| item.name.as_str()).collect();
        // "The elements … MUST all be unique strings" (RFC 6455 §4.1).
        if own.iter().enumerate().any(|(index, name)| own.iter().skip(index.saturating_add(1)).any(|n| n == name)) {
            return Err(Violation::BadUpgrade);
        }
        let listed = |name: &str| rules.allow.iter().any(|allowed| allowed == name);
        if own.iter().any(|name| is_tunnel(name) && !listed(name)) {
            return Err(Violation::SubprotocolRefused);
        }
        let allowed = |item: &&OfferedItem| {
            if item.credential { forward } else { rules.allow.is_empty() || listed(&item.name) }
        };
        let names: Vec<String> = offered.iter().filter(allowed).map(|item| item.name.clone()).collect();
        let none_left = !own.iter().any(|name| names.iter().any(|n| n == name));
        if none_left && (rules.required || !own.is_empty()) {
            return Err(Violation::SubprotocolRefused);
        }
        let echo = own.is_empty().then(|| offered.iter().find(|item| item.marker).map(|item| item.name.clone()));
        Ok(Self { names, echo: echo.flatten() })
    }

    /// Everything that was offered, where that is only monitored; the credential too, where that goes on.
    pub(super) fn all(offered: &[OfferedItem], forward: bool) -> Self {
        let names = offered.iter().filter(|item| forward || !item.credential).map(|item| item.name.clone());
        Self { names: names.collect(), echo: None }
    }

    /// The same with the credential that was offered among the names.
    pub(super) fn with_credential(self, offered: &[OfferedItem]) -> Self {
        let is_kept = |item: &&OfferedItem| item.credential || self.names.contains(&item.name);
        Self { names: offered.iter().filter(is_kept).map(|item| item.name.clone()).collect(), echo: self.echo }
    }

    /// What to change so that the upstream sees just this.
    pub(super) fn edit(&self, headers: &Headers) -> Option<Edit> {
        let name = "sec-websocket-protocol";
        if !headers.has(name) {
            return None;
        }
        Some(if self.names.is_empty() { Edit::remove(name) } else { Edit::set(name, self.names.join(", ")) })
    }

    /// Whether the upstream may answer with `name`.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.names.iter().any(|offered| offered.as_bytes() == name)
    }

    /// What to tell the client when the upstream chose nothing.
    pub(super) fn echo(&self) -> Option<&str> {
        self.echo.as_deref()
    }
}

/// Whether a subprotocol carries another protocol, or data in the place of a name: it has to be listed.
pub(super) fn is_tunnel(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TUNNELS.contains(&name.as_str())
        || name.ends_with(KUBERNETES_SUFFIX)
        || TUNNEL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || is_blob(&name)
}

/// Whether an item carries data, in base64url, and names nothing.
fn is_blob(name: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    name.len() >= BLOB_LEN_MIN && name.bytes().all(is_base64url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(allow: &[&str], required: bool, offered: &[&str], expected: Result<&[&str], Violation>) {
        let rules = SubprotocolRules { allow: allow.iter().map(|&name| name.into()).collect(), required };
        let offered: Vec<OfferedItem> = offered.iter().map(|name| OfferedItem::plain(name)).collect();
        let offer = SubprotocolOffer::new(&offered, &rules, false);
        assert_eq!(
            offer.map(|offer| offer.names),
            expected.map(|e| e.iter().map(|&n| n.into()).collect::<Vec<String>>())
        );
    }

    #[test]
    fn allowed_ones_stay_in_the_clients_order() {
        check(&[], false, &["b", "a"], Ok(&["b", "a"]));
        check(&["a", "b"], false, &["b", "x", "a"], Ok(&["b", "a"]));
        check(&["a"], false, &[], Ok(&[]));
    }

    #[test]
    fn none_allowed_or_none_offered_is_refused() {
        let refused = Err(Violation::SubprotocolRefused);
        check(&["a"], false, &["x"], refused);
        check(&["a"], false, &["A"], refused);
        check(&[], true, &[], refused);
        check(&["a"], true, &[], refused);
    }

    #[test]
    fn tunnels_are_refused_unless_listed() {
        let refused = Err(Violation::SubprotocolRefused);
        for tunnel in TUNNELS.iter().copied().chain([
            "chisel-v3",
            "authorization.bearer.ey.J.x",
            "MQTT",
            "channel.k8s.io",
            "v5.channel.k8s.io",
            "base64url.bearer.channel.k8s.io",
        ]) {
            check(&[], false, &[tunnel], refused);
            check(&["a"], false, &["a", tunnel], refused);
            check(&[tunnel], false, &[tunnel], Ok(&[tunnel]));
        }
    }

    #[test]
    fn data_is_no_name() {
        let (name, data) = ("A".repeat(127), "A".repeat(128));
        let dotted = format!("{data}.x");
        check(&[], false, &[&name], Ok(&[&name]));
        check(&[], false, &[&data], Err(Violation::SubprotocolRefused));
        check(&[&data], false, &[&data], Ok(&[&data]));
        check(&[], false, &[&dotted], Ok(&[&dotted]));
    }

    #[test]
    fn names_stand_once() {
        check(&[], false, &["a", "b", "a"], Err(Violation::BadUpgrade));
    }
}
