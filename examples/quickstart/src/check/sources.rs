//! The four sources of a credential: good and bad ones, and what the backend sees of them.

use std::error::Error;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_envoy::peer::backend::Request;
use portcullis_envoy::peer::client::Upgrade;

use super::scene::{Case, Scene, bearer, echo};
use crate::tokens::SUBJECT;

/// Puts a token into an upgrade that has a cookie, a query parameter and two subprotocols of its own.
type Place = fn(&Scene<'_>, &str) -> Upgrade;

const SOURCES: [(&str, Place); 4] =
    [("header", in_header), ("cookie", in_cookie), ("subprotocol", in_subprotocol), ("query", in_query)];

const OTHER_PLACES: [(&str, Place); 6] = [
    ("cookie, between others", |scene, token| {
        guest(scene).with("Cookie", COOKIES.replace("; ", &format!("; session={token}; ")))
    }),
    ("cookie, on a second line", |scene, token| guest(scene).header("cookie", format!("session={token}"))),
    ("subprotocol, as one item", |scene, token| guest(scene).subprotocols(&format!("bearer.{token}, {SUBPROTOCOLS}"))),
    ("subprotocol, as one item in base64url", |scene, token| {
        guest(scene).subprotocols(&format!("bearer.{}, {SUBPROTOCOLS}", URL_SAFE_NO_PAD.encode(token)))
    }),
    ("query, before others", |scene, token| {
        guest(scene).target(&format!("/chat?token={token}&case={}&{PARAMETER}", scene.mark))
    }),
    ("header and cookie, the same token", |scene, token| {
        in_header(scene, token).with("Cookie", format!("{COOKIES}; session={token}"))
    }),
];

/// Puts two different tokens into it.
type TwoPlaces = fn(&Scene<'_>, &str, &str) -> Upgrade;

const AMBIGUOUS: [(&str, TwoPlaces); 4] = [
    ("header and cookie", |scene, one, other| in_cookie(scene, one).header("Authorization", bearer(other))),
    ("cookie and query", |scene, one, other| in_query(scene, one).with("Cookie", format!("session={other}"))),
    ("subprotocol and query", |scene, one, other| {
        in_query(scene, one).subprotocols(&format!("bearer, {other}, {SUBPROTOCOLS}"))
    }),
    ("two query parameters", |scene, one, other| {
        guest(scene).target(&format!("{}&token={one}&token={other}", scene.target("/chat")))
    }),
];

/// Spellings of a token that the filter does not accept, and a server behind it may.
const ENCODED: [(&str, Place); 4] = [
    ("header, in base64", |scene, token| in_header(scene, &URL_SAFE_NO_PAD.encode(token))),
    ("header, in base64 behind a name", |scene, token| {
        let pair = URL_SAFE_NO_PAD.encode(format!("x:{token}"));
        guest(scene).header("Authorization", format!("Basic {pair}"))
    }),
    ("cookie, in base64", |scene, token| in_cookie(scene, &URL_SAFE_NO_PAD.encode(token))),
    ("subprotocol, twice in base64", |scene, token| {
        let twice = URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.encode(token));
        guest(scene).subprotocols(&format!("bearer.{twice}, {SUBPROTOCOLS}"))
    }),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, place) in SOURCES {
        cases.push(taken(format!("token in {name}"), place));
        cases.push(Case::refused(format!("token in {name}, bad signature"), "401 credential_invalid", move |scene| {
            Ok(place(scene, &scene.stage.keys.corp().forged()?))
        }));
        cases.push(Case::refused(format!("token in {name}, expired"), "401 credential_expired", move |scene| {
            Ok(place(scene, &scene.stage.keys.corp().time("exp", -3_600).text()?))
        }));
    }
    cases.extend(OTHER_PLACES.map(|(name, place)| taken(format!("token in {name}"), place)));
    cases.extend(ENCODED.map(|(name, place)| {
        Case::refused(format!("token in {name}"), "401 credential_invalid", move |scene| {
            Ok(place(scene, &scene.stage.token))
        })
    }));
    cases.extend(AMBIGUOUS.map(|(name, place)| {
        Case::refused(format!("two tokens: {name}"), "400 credential_ambiguous", move |scene| {
            Ok(place(scene, &scene.stage.token, &scene.stage.keys.partner().text()?))
        })
    }));
    cases.push(Case::new("token in subprotocol, none other offered", "101 bearer, backend sees none", |scene| {
        let offers = format!("bearer, {}", scene.stage.token);
        let websocket = scene.stage.client.open(&scene.stranger().subprotocols(&offers))?;
        let request = scene.arrival(|_| true).ok_or("nothing reached the backend")?;
        let chosen = websocket.head.value("sec-websocket-protocol").unwrap_or("no subprotocol");
        let seen = request.head.value("sec-websocket-protocol").unwrap_or("none");
        Ok(format!("101 {chosen}, backend sees {seen}"))
    }));
    cases.push(Case::refused("no token at all", "401 credential_missing", |scene| Ok(guest(scene))));
    cases
}

/// A token that is accepted and does not go on, while what stands next to it does.
fn taken(name: String, place: Place) -> Case {
    Case::new(name, "101 chat.v1, echo, taken out, rest intact", move |scene| {
        let token = &scene.stage.token;
        let mut websocket = scene.stage.client.open(&place(scene, token))?;
        let subprotocol = websocket.head.value("sec-websocket-protocol").unwrap_or("no subprotocol").to_owned();
        let echo = echo(&mut websocket, "hello")?;
        let request = scene.arrival(|_| true).ok_or("nothing reached the backend")?;
        let seen = seen(scene, token, &request)?;
        Ok(format!("101 {subprotocol}, {echo}, {seen}"))
    })
}

/// What the backend saw of the credential and of its neighbours.
fn seen(scene: &Scene<'_>, token: &str, request: &Request) -> Result<String, Box<dyn Error>> {
    let head = &request.head;
    let signature = token.rsplit('.').next().ok_or("a token has three parts")?;
    let is_leaked = head.contains(token) || head.contains(signature) || head.value("authorization").is_some();
    // Envoy may join lines, and the blanks in them, in another way.
    let joined = |name: &str, separator: &str| {
        let items = head.values(name).flat_map(|line| line.split(separator.trim())).map(str::trim);
        items.collect::<Vec<_>>().join(separator)
    };
    let neighbours = [
        (joined("cookie", "; "), COOKIES.to_owned()),
        (joined("sec-websocket-protocol", ", "), SUBPROTOCOLS.to_owned()),
        (joined("x-user", ", "), SUBJECT.to_owned()),
        (head.target().to_owned(), format!("{}&{PARAMETER}", scene.target("/chat"))),
    ];
    let damaged: Vec<String> = neighbours.into_iter().filter(|(got, sent)| got != sent).map(|(got, _)| got).collect();
    let rest = if damaged.is_empty() { "rest intact".into() } else { format!("DAMAGED: {}", damaged.join(", ")) };
    Ok(format!("{}, {rest}", if is_leaked { "LEAKED" } else { "taken out" }))
}

/// An upgrade without a credential, but with neighbours for one, and a header that only the gate may write.
fn guest(scene: &Scene<'_>) -> Upgrade {
    scene
        .stranger_to("/chat")
        .target(&format!("{}&{PARAMETER}", scene.target("/chat")))
        .header("Cookie", COOKIES)
        .subprotocols(SUBPROTOCOLS)
        .header("X-User", "root")
}

fn in_header(scene: &Scene<'_>, token: &str) -> Upgrade {
    guest(scene).header("Authorization", bearer(token))
}

fn in_cookie(scene: &Scene<'_>, token: &str) -> Upgrade {
    guest(scene).with("Cookie", format!("session={token}; {COOKIES}"))
}

fn in_subprotocol(scene: &Scene<'_>, token: &str) -> Upgrade {
    guest(scene).subprotocols(&format!("bearer, {token}, {SUBPROTOCOLS}"))
}

fn in_query(scene: &Scene<'_>, token: &str) -> Upgrade {
    guest(scene).target(&format!("{}&{PARAMETER}&token={token}", scene.target("/chat")))
}

const COOKIES: &str = "theme=dark; sessions=2";
const PARAMETER: &str = "room=7";
const SUBPROTOCOLS: &str = "chat.v1, chat.v2";
