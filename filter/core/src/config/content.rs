//! From keys as written to what messages may say: schemas and patterns compiled, combinations checked.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::claims::{claim_path, requirements};
use super::findings::Findings;
use super::raw::{RawAuthorize, RawJson, RawMessages, RawPattern};
use super::values::Count;
use crate::access::Access;
use crate::content::authorize::{Authorization, Authorizations, Glob};
use crate::content::envelope::Envelopes;
use crate::content::patterns::{Chosen, Expression, Patterns};
use crate::content::rule_sets::LeftOut;
use crate::content::{ContentRules, JsonRules, Schemas};
use crate::http::list::token;
use crate::json::pointer::Pointer;
use crate::json::reader::Bounds;
use crate::json::schema::{Formats, Schema};
use crate::mode::Mode;
use crate::regex::Builder;

/// Messages in the wild stay under 10. Judging takes stack for each level, of which some engines give a module 512 KiB.
const DEPTH_MAX: u64 = 128;

/// What most parsers and applications take without a thought.
const DEPTH_DEFAULT: usize = 32;
const KEYS_DEFAULT: usize = 1_024;

/// The longest name of a rule, in bytes: it becomes a part of a counter's name.
const RULE_NAME_LEN_MAX: usize = 64;

/// How many automata may look at each character of a message for `deny_patterns`. One takes some 1.2 ns for a byte, and a byte is looked
/// at as often as there are views of it: 64 KiB take at most ten milliseconds.
const SCAN_COUNT_MAX: usize = 32;

/// How many pointers a set may have whose strings it does not look into: each may have to look at every member of a message.
const EXCEPT_MAX: usize = 32;

/// What has been compiled: routes mostly say nothing new about messages.
#[derive(Default)]
pub(super) struct ContentCache {
    known: Vec<Cached>,
    builder: Builder,
}

struct Cached {
    raw: RawMessages,
    mode: Mode,
    message_len_max: u64,
    content: Rc<ContentRules>,
    found: Findings,
}

impl ContentCache {
    /// Builds the rules of one side, whose messages are at most so long; `mode` is that of rules that have none of their own.
    pub(super) fn content(
        &mut self,
        raw: &RawMessages,
        mode: Mode,
        message_len_max: u64,
        found: &mut Findings,
    ) -> Rc<ContentRules> {
        let is_same =
            |known: &&Cached| known.raw == *raw && known.mode == mode && known.message_len_max == message_len_max;
        if let Some(known) = self.known.iter().find(is_same) {
            found.repeat(&known.found);
            return Rc::clone(&known.content);
        }
        let mut own = found.part();
        let content = Rc::new(content(raw, mode, message_len_max, &mut self.builder, &mut own));
        found.repeat(&own);
        self.known.push(Cached { raw: raw.clone(), mode, message_len_max, content: Rc::clone(&content), found: own });
        content
    }
}

fn content(
    raw: &RawMessages,
    mode: Mode,
    message_len_max: u64,
    builder: &mut Builder,
    found: &mut Findings,
) -> ContentRules {
    let json = raw.json.as_ref();
    let json = json.map(|raw| found.within("json", |found| json_rules(raw, message_len_max, builder, found)));
    let authorize = found.each("authorize", raw.authorize.as_deref(), |raw, found| authorization(raw, mode, found));
    if json.as_ref().is_some_and(|json| !json.bounds.unique_keys) && !authorize.is_empty() {
        found.fault("json.duplicate_keys", "allow leaves open which value authorize has read");
    }
    let authorize = Authorizations::new(authorize).unwrap_or_else(|problem| {
        found.fault("authorize", problem);
        Authorizations::default()
    });
    ContentRules {
        json,
        envelope: envelopes(raw.envelope.clone().unwrap_or_default(), found),
        authorize,
        patterns: patterns(raw, mode, builder, found),
        tunnels: raw.tunnels == Some(Access::Allow),
    }
}

fn envelopes(envelopes: Envelopes, found: &mut Findings) -> Envelopes {
    if let Envelopes::BySubprotocol(by_name) = &envelopes {
        found.within("envelope", |found| {
            for name in by_name.keys().filter(|name| !name.is_empty() && token(name.as_bytes()).is_err()) {
                found.under(name, |found| found.fault("", "a subprotocol is a token (RFC 9110 §5.6.2)"));
            }
            if !by_name.keys().any(|name| !name.is_empty()) {
                found.fault("", "names no subprotocol: every connection would be refused");
            }
        });
    }
    envelopes
}

fn json_rules(raw: &RawJson, message_len_max: u64, builder: &mut Builder, found: &mut Findings) -> JsonRules {
    let string_len_max = usize::try_from(message_len_max).unwrap_or(usize::MAX);
    let bounds = Bounds {
        depth_max: count("max_depth", raw.max_depth, DEPTH_DEFAULT, DEPTH_MAX, found),
        keys_max: count("max_keys", raw.max_keys, KEYS_DEFAULT, u32::MAX.into(), found),
        string_len_max: count("max_string_bytes", raw.max_string_bytes, string_len_max, u32::MAX.into(), found),
        unique_keys: raw.duplicate_keys != Some(Access::Allow),
        surrogates: raw.surrogates != Some(Access::Refuse),
    };
    let formats = raw.formats.unwrap_or(Formats::Assert);
    // All are looked at, whether or not they may stand together.
    let schema =
        raw.schema.as_ref().map(|schema| found.within("schema", |found| compile(schema, formats, builder, found)));
    let mut by_type = BTreeMap::new();
    found.within("schemas", |found| {
        for (name, schema) in raw.schemas.iter().flatten() {
            if let Some(schema) = found.under(name, |found| compile(schema, formats, builder, found)) {
                by_type.insert(name.clone(), schema);
            }
        }
    });
    let discriminator = raw.discriminator.as_deref();
    let discriminator = discriminator.map(|text| found.within("discriminator", |found| pointer(text, found)));
    let has_discriminator = raw.discriminator.is_some() || found.is_unread("discriminator");
    let has_schemas = raw.schemas.is_some() || found.is_unread("schemas");
    match (raw.schema.is_some(), has_discriminator, has_schemas) {
        (false, false, false) if raw.otherwise.is_some() => found.fault("otherwise", "needs discriminator and schemas"),
        (false, true, false) => found.fault("discriminator", "needs schemas"),
        (false, false, true) => found.fault("schemas", "needs a discriminator, such as \"/type\""),
        (true, true, _) | (true, _, true) => found.fault("schema", "stands alone, or discriminator and schemas do"),
        (false, false, false) | (false, true, true) | (true, false, false) => {}
    }
    let schemas = match (schema.flatten(), discriminator.flatten()) {
        (Some(schema), _) => Schemas::One(schema),
        (None, Some(discriminator)) => {
            Schemas::ByType { discriminator, schemas: by_type, otherwise: raw.otherwise == Some(Access::Allow) }
        }
        (None, None) => Schemas::Any,
    };
    JsonRules { bounds, schemas }
}

fn count(key: &str, value: Option<Count>, default: usize, max: u64, found: &mut Findings) -> usize {
    if value.is_some_and(|Count(count)| !(1..=max).contains(&count)) {
        found.fault(key, &format!("must be 1 to {max}"));
    }
    value.and_then(|Count(count)| usize::try_from(count).ok()).unwrap_or(default)
}

/// A schema. Where in it something is wrong, its JSON Pointer says; keywords that check nothing are warned of.
fn compile(schema: &Value, formats: Formats, builder: &mut Builder, found: &mut Findings) -> Option<Schema> {
    for pointer in Schema::unknown_keywords(schema) {
        found.warn(&pointer, "no keyword of JSON Schema, so it checks nothing");
    }
    let compiled = Schema::compile(schema, formats, builder);
    compiled.map_err(|fault| found.fault(fault.pointer(), fault.problem())).ok()
}

/// A JSON Pointer.
pub(super) fn pointer(text: &str, found: &mut Findings) -> Option<Pointer> {
    Pointer::parse(text).or_else(|| found.expected("a JSON Pointer such as \"/type\" (RFC 6901)"))
}

fn authorization(raw: &RawAuthorize, mode: Mode, found: &mut Findings) -> Option<Authorization> {
    let missing = raw.missing == Some(Access::Allow);
    let mode = raw.mode.unwrap_or(mode);
    let mut rule = Authorization { when: Vec::new(), missing, claims: Vec::new(), equals: Vec::new(), mode };
    found.within("when", |found| {
        for (text, glob) in raw.when.iter().flatten() {
            let pointer = found.under(text, |found| pointer(text, found));
            rule.when.extend(pointer.map(|pointer| (pointer, Glob::new(glob))));
        }
    });
    rule.claims = found.within("claims", |found| requirements(raw.claims.as_ref(), found));
    found.within("equals", |found| {
        for (text, claim) in raw.equals.iter().flatten() {
            let pair = found.under(text, |found| (pointer(text, found), claim_path(claim, found)));
            rule.equals.extend(pair.0.zip(pair.1));
        }
    });
    if raw.claims.as_ref().is_none_or(BTreeMap::is_empty) && raw.equals.as_ref().is_none_or(BTreeMap::is_empty) {
        return found.refuse("", "needs claims or equals, or it would ask for nothing");
    }
    Some(rule)
}

/// The operator's patterns and the built-in ones.
fn patterns(raw: &RawMessages, mode: Mode, builder: &mut Builder, found: &mut Findings) -> Option<Patterns> {
    let mut rules: Vec<Expression<'_>> = Vec::new();
    for (index, pattern) in raw.deny_patterns.iter().flatten().enumerate() {
        let own = found.within(&format!("deny_patterns[{index}]"), |found| named(pattern, &rules, found));
        let mode = pattern.mode.unwrap_or(mode);
        rules.extend(own.map(|(name, regex)| Expression { index, name, regex, mode }));
    }
    let is_unread = found.is_unread("json");
    let sets = found.within("rule_sets", |found| rule_sets(raw, mode, is_unread, found));
    // What is wrong with one is said without it of the others.
    let patterns = loop {
        if rules.is_empty() && sets.is_empty() {
            return None;
        }
        match Patterns::new(&rules, &sets, builder) {
            Ok(patterns) => break patterns,
            Err((position, error)) => {
                let index = rules.get(position)?.index;
                found.fault(&format!("deny_patterns[{index}].regex"), &error.to_string());
                rules.remove(position);
            }
        }
    };
    let count = patterns.scan_count();
    if count > SCAN_COUNT_MAX {
        let problem =
            format!("need {count} automata together, of at most {SCAN_COUNT_MAX}: they are to be fewer or simpler");
        found.fault("deny_patterns", &problem);
    }
    Some(patterns)
}

/// The built-in rules, each set once. `needs_no_json`: whether messages are JSON is not known.
fn rule_sets(raw: &RawMessages, mode: Mode, needs_no_json: bool, found: &mut Findings) -> Vec<Chosen> {
    let mut chosen: Vec<Chosen> = Vec::new();
    let list = raw.rule_sets.as_deref().unwrap_or_default();
    for (index, own) in list.iter().enumerate() {
        if list.iter().take(index).any(|before| before == own) {
            continue;
        }
        found.at(index, |found| {
            let Some(set) = own.name.or_else(|| found.refuse("name", "is required")) else { return };
            if chosen.iter().any(|other| other.set == set) {
                return found.fault("name", "stands twice");
            }
            let left_out = found.each("exclude", own.exclude.as_deref(), |text: &String, found| {
                let name = text.strip_prefix(set.prefix()).unwrap_or(text);
                let rule = set.names().iter().find(|rule| rule.strip_prefix(set.prefix()) == Some(name));
                rule.copied().or_else(|| found.expected("the name of a rule of this set"))
            });
            let except = found.each("except", own.except.as_deref(), |text: &String, found| pointer(text, found));
            if !except.is_empty() && raw.json.is_none() && !needs_no_json {
                found.fault("except", "needs json: its pointers lead into JSON messages");
            }
            if except.len() > EXCEPT_MAX {
                found.fault("except", &format!("at most {EXCEPT_MAX} pointers"));
            }
            chosen.push(Chosen { index, set, mode: own.mode.unwrap_or(mode), left_out: LeftOut(left_out), except });
        });
    }
    chosen
}

/// A pattern's name, which no other has, and its expression.
fn named<'a>(raw: &'a RawPattern, others: &[Expression<'_>], found: &mut Findings) -> Option<(&'a str, &'a str)> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-');
    let is_name = |name: &str| !name.is_empty() && name.len() <= RULE_NAME_LEN_MAX && name.bytes().all(is_part);
    match raw.name.as_deref() {
        None => found.fault("name", "is required"),
        Some(name) if !is_name(name) => {
            found.fault("name", "expected up to 64 of a-z, 0-9, '_', '.' and '-': it becomes a counter's name");
        }
        Some(name) if others.iter().any(|other| other.name == name) => found.fault("name", "stands twice"),
        Some(_) => {}
    }
    let regex = raw.regex.as_deref().or_else(|| found.refuse("regex", "is required"))?;
    Some((raw.name.as_deref().unwrap_or_default(), regex))
}
