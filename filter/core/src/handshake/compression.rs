//! permessage-deflate in the handshake (RFC 7692 §5, §7.1): only what we can follow is offered to the upstream, and only what
//! was offered may be its answer.
//!
//! Every other extension is taken out: one that we do not know may use the reserved bits.

use crate::http::extensions::{Extension, parse};
use crate::http::headers::Headers;
use crate::policy::Compression;
use crate::session::Deflate;
use crate::verdict::Edit;

const FIELD: &str = "sec-websocket-extensions";
const NAME: &str = "permessage-deflate";

/// The offers that the upstream gets to see.
#[derive(Debug, Default)]
pub(super) struct Offers {
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

impl Offers {
    /// Sorts out what the client offered.
    pub(super) fn new(headers: &Headers, compression: Compression) -> Self {
        let inspected = compression == Compression::Inspect;
        if compression == Compression::Refuse {
            return Self { offers: Vec::new(), inspected };
        }
        let extensions = headers.all(FIELD).flat_map(|line| parse(line).unwrap_or_default());
        // "A server MUST decline an extension negotiation offer" that is not well formed (RFC 7692 §7): that one alone.
        let offers = extensions.filter_map(|extension| Parameters::read(&extension)).take(OFFERS_MAX).collect();
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

    /// Whether this may be the answer to `offer` (RFC 7692 §7.1.1, §7.1.2).
    fn answers(&self, offer: &Self) -> bool {
        let server_takeover = self.server_no_context_takeover || !offer.server_no_context_takeover;
        let server_window = match (offer.server_max_window_bits, self.server_max_window_bits) {
            (None, _) => true,
            (Some(max), Some(chosen)) => chosen <= max,
            (Some(_), None) => false,
        };
        let client_window = match (offer.client_max_window_bits, self.client_max_window_bits) {
            (_, None) | (Some(Bits::Any), Some(_)) => true,
            (Some(Bits::Max(max)), Some(Bits::Max(chosen))) => chosen <= max,
            (Some(Bits::Max(_)), Some(Bits::Any)) | (None, Some(_)) => false,
        };
        server_takeover && server_window && client_window
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

    fn headers(line: &str) -> Headers {
        Headers::new(vec![(FIELD.into(), line.into())])
    }

    /// What the upstream is offered where a client offers `offer`.
    #[track_caller]
    fn offered(offer: &str, expected: Option<&str>) {
        let headers = headers(offer);
        let edit = Offers::new(&headers, Compression::Inspect).edit(&headers);
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
        let refused = headers("permessage-deflate");
        assert_eq!(Offers::new(&refused, Compression::Refuse).edit(&refused), Some(Edit::remove(FIELD)));
        assert_eq!(Offers::new(&Headers::new(vec![]), Compression::Inspect).edit(&Headers::new(vec![])), None);
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
        let found = Offers::new(&headers(offer), Compression::Inspect).check(&headers(answer));
        let found = found.ok().flatten().map(|deflate| (deflate.client_takeover, deflate.server_takeover));
        assert_eq!(found, expected, "{offer} answered {answer}");
    }

    #[test]
    fn an_answer_keeps_to_an_offer() {
        let plain = "permessage-deflate";
        let with = |parameters: &str| format!("permessage-deflate; {parameters}");
        answer(plain, plain, Some((true, true)));
        answer(plain, &with("server_no_context_takeover"), Some((true, false)));
        answer(plain, &with("client_no_context_takeover; server_max_window_bits=8"), Some((false, true)));
        answer(&with("client_max_window_bits"), &with("client_max_window_bits=9"), Some((true, true)));
        answer(&with("client_max_window_bits=10"), &with("client_max_window_bits=10"), Some((true, true)));
        answer(&with("server_max_window_bits=10"), &with("server_max_window_bits=9"), Some((true, true)));
        answer(&format!("{}, {plain}", with("server_max_window_bits=10")), plain, Some((true, true)));
    }

    #[test]
    fn an_answer_that_was_not_offered_is_refused() {
        let plain = "permessage-deflate";
        let with = |parameters: &str| format!("permessage-deflate; {parameters}");
        answer(plain, &with("client_max_window_bits=9"), None);
        answer(&with("client_max_window_bits"), &with("client_max_window_bits"), None);
        answer(&with("client_max_window_bits=9"), &with("client_max_window_bits=10"), None);
        answer(&with("server_max_window_bits=10"), plain, None);
        answer(&with("server_max_window_bits=10"), &with("server_max_window_bits=11"), None);
        answer(&with("server_no_context_takeover"), plain, None);
        answer(plain, "permessage-deflate, permessage-deflate", None);
        answer(plain, "x-other", None);
        answer(plain, &with("server_max_window_bits=16"), None);
        answer("x-other", plain, None);
    }
}
