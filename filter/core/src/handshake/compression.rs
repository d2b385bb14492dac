//! permessage-deflate in the handshake (RFC 7692 §5, §7.1): only what we can follow is offered to the upstream, and only what
//! was offered may be its answer.
//!
//! Every other extension is taken out: one that we do not know may use the reserved bits.

use crate::effect::Edit;
use crate::http::extensions::{Extension, parse};
use crate::http::headers::Headers;
use crate::negotiation::Compression;
use crate::session::Deflate;

const FIELD: &str = "sec-websocket-extensions";
const NAME: &str = "permessage-deflate";

/// The offers that the upstream gets to see.
#[derive(Debug, Default)]
pub(super) struct DeflateOffer {
    offers: Vec<Parameters>,
    inspected: bool,
}

/// The parameters of one offer, or of its answer (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Bits>,
}

/// The value of `client_max_window_bits`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bits {
    /// None: the client only says that it knows the parameter.
    Any,
    Max(u8),
}

impl DeflateOffer {
    /// Sorts out what the client offered.
    pub(super) fn new(extensions: &[Extension<'_>], compression: Compression) -> Self {
        let inspected = compression == Compression::Inspect;
        if compression == Compression::Refuse {
            return Self { offers: Vec::new(), inspected };
        }
        // "A server MUST decline an extension negotiation offer" that is not well formed (RFC 7692 §7): that one alone.
        let offers = extensions.iter().filter_map(Parameters::read).take(OFFERS_MAX).collect();
        Self { offers, inspected }
    }

    /// What to change so that the upstream sees just these.
    pub(super) fn edit(&self, headers: &Headers) -> Option<Edit> {
        if !headers.has(FIELD) {
            return None;
        }
        if self.offers.is_empty() {
            return Some(Edit::remove(FIELD));
        }
        let offers: Vec<String> = self.offers.iter().map(|offer| offer.to_string()).collect();
        Some(Edit::set(FIELD, offers.join(", ")))
    }

    /// What the upstream chose; `Err` when it was not offered that.
    pub(super) fn check(&self, response: &Headers) -> Result<Option<Deflate>, NotOffered> {
        let Some(line) = response.one(FIELD).map_err(|_| NotOffered)? else { return Ok(None) };
        let chosen = parse(line).map_err(|_| NotOffered)?;
        let [chosen] = chosen.as_slice() else { return Err(NotOffered) };
        let chosen = Parameters::of_answer(chosen).ok_or(NotOffered)?;
        if !self.offers.iter().any(|offer| chosen.answers(offer)) {
            return Err(NotOffered);
        }
        Ok(Some(Deflate {
            client_takeover: !chosen.client_no_context_takeover,
            server_takeover: !chosen.server_no_context_takeover,
            inspected: self.inspected,
        }))
    }
}

/// The upstream chose an extension that it was not offered, or in another form.
#[derive(Debug)]
pub(super) struct NotOffered;

/// How many offers go on: browsers make one, and clients that fall back two or three.
const OFFERS_MAX: usize = 8;

impl Parameters {
    /// In an answer the client's window has a size (RFC 7692 §7.1.2.2).
    fn of_answer(extension: &Extension<'_>) -> Option<Self> {
        Self::read(extension).filter(|parameters| parameters.client_max_window_bits != Some(Bits::Any))
    }

    /// Each parameter once, and with a value only where it takes one.
    fn read(extension: &Extension<'_>) -> Option<Self> {
        if !extension.name.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut parameters = Self::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            match *name {
                "server_no_context_takeover" if !parameters.server_no_context_takeover && value.is_none() => {
                    parameters.server_no_context_takeover = true;
                }
                "client_no_context_takeover" if !parameters.client_no_context_takeover && value.is_none() => {
                    parameters.client_no_context_takeover = true;
                }
                "server_max_window_bits" if parameters.server_max_window_bits.is_none() => {
                    parameters.server_max_window_bits = Some(window_bits(value?)?);
                }
                "client_max_window_bits" if parameters.client_max_window_bits.is_none() => {
                    let bits = value.map_or(Some(Bits::Any), |value| window_bits(value).map(Bits::Max));
                    parameters.client_max_window_bits = Some(bits?);
                }
                _ => return None,
            }
        }
        Some(parameters)
    }

    /// Whether this may be the answer to `offer` (RFC 7692 §7.1.1, §7.1.2): it grants no more than was offered.
    ///
    /// What it leaves out is between the peers. Many servers leave out what the RFC has them repeat: Tornado and gorilla
    /// each parameter of the server's, aiohttp a window of 15. A client that insists fails the connection, others go on; the
    /// messages of both are read alike, by a window that holds every other and the takeover that the answer says.
    fn answers(&self, offer: &Self) -> bool {
        let server_window = match (offer.server_max_window_bits, self.server_max_window_bits) {
            (None, _) | (_, None) => true,
            (Some(max), Some(chosen)) => chosen <= max,
        };
        let client_window = match (offer.client_max_window_bits, self.client_max_window_bits) {
            (_, None) | (Some(Bits::Any), Some(_)) => true,
            (Some(Bits::Max(max)), Some(Bits::Max(chosen))) => chosen <= max,
            (Some(Bits::Max(_)), Some(Bits::Any)) | (None, Some(_)) => false,
        };
        server_window && client_window
    }
}

impl core::fmt::Display for Parameters {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            None => Ok(()),
            Some(Bits::Any) => f.write_str("; client_max_window_bits"),
            Some(Bits::Max(bits)) => write!(f, "; client_max_window_bits={bits}"),
        }
    }
}

/// "A decimal integer value without leading zeroes between 8 to 15 inclusive" (RFC 7692 §7.1.2.1).
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    value.bytes().all(|byte| byte.is_ascii_digit()).then_some(bits).filter(|_| !value.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn headers(line: &str) -> Headers {
        testing::headers(&[(FIELD, line)])
    }

    fn sorted(line: &str, compression: Compression) -> DeflateOffer {
        DeflateOffer::new(&parse(line.as_bytes()).unwrap(), compression)
    }

    /// What the upstream is offered where a client offers `offer`.
    #[track_caller]
    fn offered(offer: &str, expected: Option<&str>) {
        let edit = sorted(offer, Compression::Inspect).edit(&headers(offer));
        assert_eq!(edit, Some(expected.map_or_else(|| Edit::remove(FIELD), |line| Edit::set(FIELD, line))), "{offer}");
    }

    #[test]
    fn offers_that_can_be_followed_go_on() {
        offered("permessage-deflate", Some("permessage-deflate"));
        offered(
            "permessage-deflate; client_max_window_bits; server_max_window_bits=\"10\"",
            Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits"),
        );
        offered(
            "x-webkit-deflate-frame, permessage-deflate; client_no_context_takeover, permessage-deflate",
            Some("permessage-deflate; client_no_context_takeover, permessage-deflate"),
        );
        assert_eq!(sorted(NAME, Compression::Refuse).edit(&headers(NAME)), Some(Edit::remove(FIELD)));
        assert_eq!(DeflateOffer::new(&[], Compression::Inspect).edit(&testing::headers(&[])), None);
    }

    #[test]
    fn offers_that_are_not_well_formed_are_declined_one_by_one() {
        for bad in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=+9",
            "client_max_window_bits=07",
            "client_max_window_bits=x",
            "server_no_context_takeover=1",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=9; server_max_window_bits=9",
            "unknown",
        ] {
            offered(&format!("permessage-deflate; {bad}"), None);
            offered(&format!("permessage-deflate; {bad}, permessage-deflate"), Some("permessage-deflate"));
        }
        offered("bbf-usp-protocol", None);
    }

    #[track_caller]
    fn answer(offer: &str, answer: &str, expected: Option<(bool, bool)>) {
        let found = sorted(offer, Compression::Inspect).check(&headers(answer));
        let found = found.ok().flatten().map(|deflate| (deflate.client_takeover, deflate.server_takeover));
        assert_eq!(found, expected, "{offer} answered {answer}");
    }

    /// What clients offer and servers answer, and for which side a message may refer to the ones before it: client, server.
    const ANSWERED: &[(&str, &str, (bool, bool))] = &[
        // Browsers and ws; before ws, uWebSockets, gorilla and nhooyr, Netty, Jetty, Tornado, websockets.
        ("client_max_window_bits", "", (true, true)),
        ("client_max_window_bits", "client_max_window_bits=15", (true, true)),
        ("client_max_window_bits", "client_no_context_takeover", (false, true)),
        ("client_max_window_bits", "client_no_context_takeover; server_no_context_takeover", (false, false)),
        ("client_max_window_bits", "server_no_context_takeover; client_no_context_takeover", (false, false)),
        ("client_max_window_bits", "client_no_context_takeover; server_max_window_bits=12", (false, true)),
        ("client_max_window_bits", "server_max_window_bits=12; client_max_window_bits=12", (true, true)),
        ("client_max_window_bits", "client_max_window_bits=\"9\"", (true, true)),
        // tungstenite, gorilla and nhooyr as clients; undici as the browsers.
        ("", "", (true, true)),
        ("", "server_no_context_takeover", (true, false)),
        ("", "server_max_window_bits=8", (true, true)),
        (
            "client_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; server_no_context_takeover",
            (false, false),
        ),
        ("client_no_context_takeover; server_no_context_takeover", "server_no_context_takeover", (true, false)),
        // wsproto, before aiohttp.
        ("client_max_window_bits=15; server_max_window_bits=15", "", (true, true)),
        ("client_max_window_bits=15; server_max_window_bits=15", "server_max_window_bits=15", (true, true)),
        ("client_max_window_bits; server_max_window_bits=15", "", (true, true)),
        ("server_max_window_bits=15", "server_no_context_takeover", (true, false)),
        // Any client before Tornado and aiohttp, which leave out what has no value, or before gorilla, which says the same to all.
        ("server_no_context_takeover", "", (true, true)),
        ("client_no_context_takeover", "", (true, true)),
        ("server_no_context_takeover; client_max_window_bits", "client_max_window_bits=10", (true, true)),
        ("server_max_window_bits=10", "", (true, true)),
        ("server_max_window_bits=10", "client_no_context_takeover; server_no_context_takeover", (false, false)),
        ("client_max_window_bits=10", "", (true, true)),
        ("client_max_window_bits=10", "client_max_window_bits=10", (true, true)),
        ("client_max_window_bits=10", "client_max_window_bits=8", (true, true)),
        ("server_max_window_bits=10", "server_max_window_bits=9", (true, true)),
        // The second offer.
        ("server_max_window_bits=10, permessage-deflate", "server_max_window_bits=12", (true, true)),
        (
            "server_max_window_bits=9, permessage-deflate; client_max_window_bits",
            "client_max_window_bits=12",
            (true, true),
        ),
    ];

    /// What no server may answer: more than was offered, or nothing that can be read.
    const REFUSED: &[(&str, &str)] = &[
        ("", "; client_max_window_bits=9"),
        ("", "; client_max_window_bits=15"),
        ("client_max_window_bits", "; client_max_window_bits"),
        ("client_max_window_bits=9", "; client_max_window_bits=10"),
        ("client_max_window_bits=9", "; client_max_window_bits"),
        ("server_max_window_bits=10", "; server_max_window_bits=11"),
        ("server_max_window_bits=10, permessage-deflate; server_max_window_bits=11", "; server_max_window_bits=12"),
        ("", "; server_max_window_bits"),
        ("", "; server_max_window_bits=7"),
        ("", "; server_max_window_bits=16"),
        ("", "; server_max_window_bits=08"),
        ("", "; server_no_context_takeover=1"),
        ("", "; server_no_context_takeover; server_no_context_takeover"),
        ("", "; unknown"),
        ("", ", permessage-deflate"),
        ("", ", x-other"),
        ("", ";"),
    ];

    fn line(parameters: &str) -> String {
        if parameters.is_empty() { NAME.to_owned() } else { format!("{NAME}; {parameters}") }
    }

    #[test]
    fn an_answer_keeps_to_an_offer_and_may_leave_out_what_it_likes() {
        for (offer, chosen, takeover) in ANSWERED {
            answer(&line(offer), &line(chosen), Some(*takeover));
        }
        answer(NAME, "Permessage-Deflate", Some((true, true)));
    }

    #[test]
    fn an_answer_that_was_not_offered_is_refused() {
        for (offer, chosen) in REFUSED {
            answer(&line(offer), &format!("{NAME}{chosen}"), None);
        }
        for (offer, chosen) in [(NAME, "x-other"), (NAME, ""), ("x-other", NAME), ("permessage-deflate; unknown", NAME)]
        {
            answer(offer, chosen, None);
        }
        let twice = testing::headers(&[(FIELD, NAME), (FIELD, NAME)]);
        assert!(sorted(NAME, Compression::Inspect).check(&twice).is_err());
    }
}
