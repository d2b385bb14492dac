//! Tags: what an element or one of its attributes runs.
//!
//! A text is cut at each `<`, and each piece is read once as a tag and what follows it. So a `<` within an attribute begins a tag as well, which is
//! how browsers read it in some of the contexts that a text may be put into.

use super::super::bytes::{
    QUOTE, REACH, SPACE, WORD, any, first, head, is, is_letter, is_space, last, near, of, places, skip, skip_until,
    spaces, split, split_until, word,
};
use super::super::kept::Kept;
use super::super::names::Name;
use super::super::rarely::{ends, is_one, starts};
use super::super::reading::Reading;
use super::script::{is_call, spaced};

pub(super) fn find(reading: &Reading<'_>, kept: Kept<'_>) -> Option<&'static str> {
    let elements = if reading.has(const { of(b"<") }) { elements(reading.folded(), kept) } else { None };
    elements.or_else(|| if reading.has(const { of(b"+") }) { kept.of(utf7(reading.folded())) } else { None })
}

fn elements(text: &[u8], kept: Kept<'_>) -> Option<&'static str> {
    let mut pieces = text.split(|byte| *byte == b'<').peekable();
    let mut before = pieces.next().unwrap_or_default();
    let mut is_open = false;
    while let Some(piece) = pieces.next() {
        let next = pieces.peek().copied().unwrap_or_default();
        let found = kept.of(element(before, piece, next, is_open));
        if found.is_some() {
            return found;
        }
        is_open = is_letter(first(piece)) && !piece.contains(&b'>');
        before = piece;
    }
    None
}

/// In UTF-7, as which old browsers may read a page that names no encoding.
fn utf7(text: &[u8]) -> Option<&'static str> {
    let tag = places(text, const { of(b"+") }).find_map(|(_, rest)| rest.strip_prefix(b"+adw-"))?;
    let rest = skip(tag, const { of(b"/") });
    (is_letter(first(rest)) && near(rest, any!["+ad4-", ">", "="])).then_some("cross_site_scripting.script_code")
}

/// What ends a tag's name or an attribute.
fn is_gap(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'/' | b'+' | b'"' | b'\'' | b'`')
}

/// Where a tag ends: a `>` before a quote is taken for one in a value.
fn split_tag(piece: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0_usize;
    while let Some(rest) = piece.get(at..) {
        let (attributes, behind) = split_until(rest, const { of(b">") });
        let end = at.saturating_add(attributes.len());
        match behind {
            [b'>', b'"' | b'\'', ..] => at = end.saturating_add(1),
            _ => return piece.split_at_checked(end).unwrap_or((piece, &[])),
        }
    }
    (piece, &[])
}

/// The element that begins with `piece`, whose `<` is left out.
fn element(before: &[u8], piece: &[u8], next: &[u8], is_open: bool) -> Option<&'static str> {
    let start = skip(piece, const { of(b"%?") });
    let (name, rest) = split(start, const { WORD | of(b"-:.") });
    let (attributes, behind) = split_tag(rest);
    if name.is_empty() {
        let goes_on = is_open && first(piece) == b'/' || matches!(piece, [b'!', b' ', ..] | [b'/', b' ', ..]);
        return if goes_on { handlers(piece) } else { None };
    }
    if !is_letter(first(name)) || name.contains(&b'.') || last(name) == b':' {
        return None;
    }
    let local = name.rsplit(|byte| *byte == b':').next().unwrap_or(name);
    // `Vec::<Script>::new()`
    let is_type = ends(before, any!["::"]) && starts(rest, any![">::"]);
    if local == b"script" && !is_type {
        let found = script(attributes, rest, next);
        if found.is_some() {
            return found;
        }
    }
    if local == b"style" && imports(behind) {
        return Some("cross_site_scripting.style_code");
    }
    if !is_gap(first(rest)) {
        return None;
    }
    handlers(attributes).or_else(|| document(local, attributes)).or_else(|| meta(piece, local, attributes))
}

/// A script element with a source, or with code.
fn script(attributes: &[u8], rest: &[u8], next: &[u8]) -> Option<&'static str> {
    let sourced = is_gap(first(attributes))
        && attribute_values(attributes).any(|(name, value)| is_one(name, any!["src", "href"]) && !value.is_empty());
    if sourced {
        return Some("cross_site_scripting.script_source");
    }
    let delimited = matches!(first(rest), b'>' | b'/') || is_space(first(rest));
    // `>` ends the tag here even before a quote: code may begin with one.
    let code = skip_until(rest, const { of(b">") }).strip_prefix(b">")?;
    let token = skip_until(spaces(code), SPACE);
    let token = spaces(code).get(..spaces(code).len().saturating_sub(token.len())).unwrap_or_default();
    let runs = |code: &[u8]| code.iter().any(|byte| matches!(byte, b'(' | b'`' | b'=' | b';' | b'['));
    let keyword = is_one(word(spaces(code)).0, any!["var", "let", "const", "throw", "import", "new"])
        && is_space(first(word(spaces(code)).1))
        || spaces(code).strip_prefix(b"import").is_some_and(|module| is(first(module), QUOTE));
    let begins = matches!(first(token), b':' | b'`') || token.is_empty();
    let called = runs(code) && near(code, any![");", "()", "=\"", "='", ")."]);
    let closed = called || runs(code) && starts(next, any!["/script", "\\/script"]);
    (delimited && (keyword || !begins && runs(token) || closed)).then_some("cross_site_scripting.script_code")
}

/// Whether a style element loads another one: `<style>@import'//evil.example'`.
fn imports(style: &[u8]) -> bool {
    places(head(style, REACH), const { of(b"@") })
        .any(|(_, rule)| spaced(skip(rule, const { of(b"@\\") }), b"import").is_some())
}

/// Event handlers: `onerror=alert(1)`.
fn handlers(attributes: &[u8]) -> Option<&'static str> {
    let handled = attribute_values(attributes).any(|(name, value)| {
        let event = name.strip_prefix(b"on").unwrap_or_default();
        let code = match value.strip_prefix(b"{") {
            Some(code) => is_call(spaces(code)),
            None => !matches!(first(value), b'=' | 0) && !is_space(first(value)),
        };
        event.len() >= 3 && event.iter().all(|byte| is_letter(*byte)) && code
    });
    handled.then_some("cross_site_scripting.event_handler")
}

/// Names and values of attributes: words between gaps and `=`.
fn attribute_values(attributes: &[u8]) -> Attributes<'_> {
    Attributes { text: attributes, at: 0 }
}

struct Attributes<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        let (before, rest) = self.text.split_at_checked(self.at)?;
        let len = rest.iter().position(|byte| *byte == b'=')?;
        self.at = before.len().saturating_add(len).saturating_add(1);
        let value = skip(self.text.get(self.at..)?, const { SPACE | of(b"+") });
        // White space may stand between, and nothing else.
        let mut named = rest.get(..len)?;
        while let [word @ .., byte] = named {
            if !is(*byte, const { SPACE | of(b"+") }) {
                break;
            }
            named = word;
        }
        let start = named.iter().rposition(|byte| is_gap(*byte) || *byte == b'\\');
        let named = named.get(start.map_or(0, |at| at.saturating_add(1))..)?;
        let local = named.rsplit(|byte| *byte == b':').next().unwrap_or(named);
        // `onload!#$%=` is read as `onload` by some.
        Some((if local.starts_with(b"on") { word(local).0 } else { local }, value))
    }
}

/// Whether an address is one of another site.
fn is_foreign(value: &[u8]) -> bool {
    is_relative_to_scheme(value) || starts(skip(value, const { QUOTE | SPACE }), any!["http:", "https:", "data:"])
}

/// Whether an address leaves out its scheme, which honest senders hardly do any more. Browsers take a backslash for a slash.
fn is_relative_to_scheme(value: &[u8]) -> bool {
    starts(skip(value, const { QUOTE | SPACE }), any!["//", "/\\", "\\/", "\\\\"])
}

/// Whether an address is written without quotes or without its scheme, as attacks write it to pass filters. With both, people embed videos.
fn is_bare(value: &[u8]) -> bool {
    is_foreign(value) && (!is(first(value), QUOTE) || is_relative_to_scheme(value))
}

/// Elements that bring a document, move this one, or send elsewhere what people write.
fn document(name: &[u8], attributes: &[u8]) -> Option<&'static str> {
    let element = Name::of(name);
    let (mut style, mut elsewhere) = (false, false);
    attribute_values(attributes).find_map(|(name, value)| {
        let target = skip(value, const { QUOTE | SPACE });
        let found = match (element, name) {
            (Name::Iframe, b"srcdoc") | (Name::Layer, b"src") => !value.is_empty(),
            (Name::Iframe | Name::Frame, b"src") => is_bare(value) || starts(target, any!["data:text", "http:"]),
            (Name::Meta, b"http-equiv") => starts(target, any!["refresh", "set-cookie", "link"]),
            (Name::Link, b"rel") => {
                style |= starts(target, any!["stylesheet", "alternate stylesheet"]);
                style && elsewhere || starts(target, any!["import"])
            }
            (Name::Link, b"href") => {
                elsewhere |= is_foreign(value);
                style && elsewhere || is_bare(value) || starts(target, any!["data:"])
            }
            (Name::Use, b"href") => starts(target, any!["data:"]),
            (Name::Object | Name::Applet, b"data" | b"code" | b"codebase")
            | (Name::Base, b"href")
            | (Name::Embed, b"src" | b"code")
            | (Name::Button | Name::Input, b"formaction") => is_foreign(value),
            (Name::Form, b"action") => is_bare(value),
            (Name::Set | Name::Animate | Name::Animatetransform | Name::Animatemotion, b"attributename") => {
                let written = starts(target, any!["href", "xlink:href", "innerhtml"])
                    || target.len() > 4 && target.starts_with(b"on");
                return written.then_some("cross_site_scripting.animated_attribute");
            }
            _ => false,
        };
        found.then_some("cross_site_scripting.document_element")
    })
}

/// What old browsers ran: behaviours, data islands, stylesheets of XML.
fn meta(piece: &[u8], name: &[u8], attributes: &[u8]) -> Option<&'static str> {
    let instruction = first(piece) == b'?';
    let found = attribute_values(attributes).any(|(attribute, value)| {
        let value = skip(value, const { QUOTE | SPACE });
        match Name::of(name) {
            Name::Style => attribute == b"type" && starts(value, any!["text/javascript"]),
            Name::Object => attribute == b"type" && starts(value, any!["text/x-scriptlet"]),
            Name::Import if instruction => attribute == b"implementation",
            Name::XmlStylesheet if instruction => {
                attribute == b"href" && starts(value, any!["data:", "javascript:", "#"])
            }
            Name::Set => attribute == b"to" && near(value, any!["onerror", "<script"]),
            _ => {
                attribute == b"datasrc" && first(value) == b'#'
                    || attribute == b"handler" && first(value) == b'#'
                    || attribute == b"style" && near(value, any!["behavior:url(", "behavior: url(", "content:url("])
            }
        }
    });
    found.then_some("cross_site_scripting.document_element")
}
