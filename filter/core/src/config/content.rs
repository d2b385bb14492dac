//! From keys as written to what messages may say: schemas and patterns compiled, combinations checked.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::claims::{claim_path, requirements};
use super::error::{Built, ConfigError, each, within};
use super::raw::{RawAuthorize, RawJson, RawMessages};
use super::values::Count;
use crate::access::Access;
use crate::content::authorize::{Authorization, Authorizations, Glob};
use crate::content::envelope::Envelopes;
use crate::content::patterns::Patterns;
use crate::content::rule_sets::RuleSet;
use crate::content::{ContentRules, JsonRules, Schemas};
use crate::http::list::token;
use crate::json::pointer::Pointer;
use crate::json::reader::Bounds;
use crate::json::schema::{Formats, Schema};
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

/// What has been compiled: routes mostly say nothing new about messages.
#[derive(Default)]
pub(super) struct ContentCache {
    known: Vec<Cached>,
    builder: Builder,
}

struct Cached {
    raw: RawMessages,
    message_len_max: u64,
    content: Rc<ContentRules>,
    warnings: Vec<String>,
}

impl ContentCache {
    /// Builds the rules of one side, whose messages are at most so long; faults and warnings are named from its keys on.
    pub(super) fn content(
        &mut self,
        raw: &RawMessages,
        message_len_max: u64,
        warnings: &mut Vec<String>,
    ) -> Built<Rc<ContentRules>> {
        let is_same = |known: &&Cached| known.raw == *raw && known.message_len_max == message_len_max;
        if let Some(known) = self.known.iter().find(is_same) {
            warnings.extend_from_slice(&known.warnings);
            return Ok(Rc::clone(&known.content));
        }
        let content = Rc::new(content(raw, message_len_max, &mut self.builder)?);
        let own: Vec<String> =
            raw.json.iter().flat_map(misspelt).map(|error| error.within("json").to_string()).collect();
        warnings.extend_from_slice(&own);
        self.known.push(Cached { raw: raw.clone(), message_len_max, content: Rc::clone(&content), warnings: own });
        Ok(content)
    }
}

/// Keywords of schemas that check nothing.
fn misspelt(raw: &RawJson) -> Vec<ConfigError> {
    let unknown = |schema: &Value| {
        let keywords = Schema::unknown_keywords(schema).into_iter();
        keywords.map(|pointer| ConfigError::new(pointer, "no keyword of JSON Schema, so it checks nothing"))
    };
    let one = raw.schema.iter().flat_map(unknown).map(within("schema"));
    let by_type = raw.schemas.iter().flatten();
    one.chain(by_type.flat_map(|(name, schema)| unknown(schema).map(|error| error.under(name).within("schemas"))))
        .collect()
}

fn content(raw: &RawMessages, message_len_max: u64, builder: &mut Builder) -> Built<ContentRules> {
    let json = raw
        .json
        .as_ref()
        .map(|raw| json(raw, message_len_max, builder))
        .transpose()
        .map_err(|error| error.within("json"))?;
    let authorize = each("authorize", raw.authorize.as_deref(), authorization)?;
    if json.is_none() && !authorize.is_empty() {
        return Err(ConfigError::new("authorize", "needs json: its pointers lead into JSON messages"));
    }
    if json.as_ref().is_some_and(|json| !json.bounds.unique_keys) && !authorize.is_empty() {
        return Err(ConfigError::new("json.duplicate_keys", "allow leaves open which value authorize has read"));
    }
    Ok(ContentRules {
        json,
        envelope: envelopes(raw.envelope.clone().unwrap_or_default())?,
        authorize: Authorizations::new(authorize).map_err(|problem| ConfigError::new("authorize", problem))?,
        patterns: patterns(raw, builder)?,
        tunnels: raw.tunnels == Some(Access::Allow),
    })
}

fn envelopes(envelopes: Envelopes) -> Built<Envelopes> {
    if let Envelopes::BySubprotocol(by_name) = &envelopes {
        let is_name = |name: &String| name.is_empty() || token(name.as_bytes()).is_ok();
        if let Some(name) = by_name.keys().find(|name| !is_name(name)) {
            return Err(ConfigError::new("", "a subprotocol is a token (RFC 9110 §5.6.2)")
                .under(name)
                .within("envelope"));
        }
        if !by_name.keys().any(|name| !name.is_empty()) {
            return Err(ConfigError::new("envelope", "names no subprotocol: every connection would be refused"));
        }
    }
    Ok(envelopes)
}

fn json(raw: &RawJson, message_len_max: u64, builder: &mut Builder) -> Built<JsonRules> {
    let count = |key: &str, value: Option<Count>, default: usize, max: u64| match value {
        Some(Count(count)) if !(1..=max).contains(&count) => {
            Err(ConfigError::new(key, format_args!("must be 1 to {max}")))
        }
        value => Ok(value.and_then(|Count(count)| usize::try_from(count).ok()).unwrap_or(default)),
    };
    let string_len_max = usize::try_from(message_len_max).unwrap_or(usize::MAX);
    let bounds = Bounds {
        depth_max: count("max_depth", raw.max_depth, DEPTH_DEFAULT, DEPTH_MAX)?,
        keys_max: count("max_keys", raw.max_keys, KEYS_DEFAULT, u32::MAX.into())?,
        string_len_max: count("max_string_bytes", raw.max_string_bytes, string_len_max, u32::MAX.into())?,
        unique_keys: raw.duplicate_keys != Some(Access::Allow),
        surrogates: raw.surrogates != Some(Access::Refuse),
    };
    let formats = raw.formats.unwrap_or(Formats::Assert);
    // Where in a schema, its JSON Pointer says.
    let mut compile = |schema: &Value| {
        Schema::compile(schema, formats, builder).map_err(|fault| ConfigError::new(fault.pointer(), fault.problem()))
    };
    let schemas = match (&raw.schema, &raw.discriminator, &raw.schemas) {
        (None, None, None) if raw.otherwise.is_some() => {
            return Err(ConfigError::new("otherwise", "needs discriminator and schemas"));
        }
        (None, None, None) => Schemas::Any,
        (Some(schema), None, None) => Schemas::One(compile(schema).map_err(within("schema"))?),
        (None, Some(discriminator), Some(schemas)) => {
            let mut by_type = BTreeMap::new();
            for (name, schema) in schemas {
                let compiled = compile(schema).map_err(|error| error.under(name).within("schemas"));
                by_type.insert(name.clone(), compiled?);
            }
            Schemas::ByType {
                discriminator: pointer(discriminator).map_err(|error| error.within("discriminator"))?,
                schemas: by_type,
                otherwise: raw.otherwise == Some(Access::Allow),
            }
        }
        (None, Some(_), None) => return Err(ConfigError::new("discriminator", "needs schemas")),
        (None, None, Some(_)) => return Err(ConfigError::new("schemas", "needs a discriminator, such as \"/type\"")),
        (Some(_), _, _) => return Err(ConfigError::new("schema", "stands alone, or discriminator and schemas do")),
    };
    Ok(JsonRules { bounds, schemas })
}

/// A JSON Pointer.
pub(super) fn pointer(text: &str) -> Built<Pointer> {
    Pointer::parse(text).ok_or_else(|| ConfigError::new("", "expected a JSON Pointer such as \"/type\" (RFC 6901)"))
}

fn authorization(raw: &RawAuthorize) -> Built<Authorization> {
    let missing = raw.missing == Some(Access::Allow);
    let mut rule = Authorization { when: Vec::new(), missing, claims: Vec::new(), equals: Vec::new() };
    for (text, glob) in raw.when.iter().flatten() {
        let at = |error: ConfigError| error.under(text).within("when");
        rule.when.push((pointer(text).map_err(at)?, Glob::new(glob)));
    }
    rule.claims = requirements(raw.claims.as_ref()).map_err(within("claims"))?;
    for (text, claim) in raw.equals.iter().flatten() {
        let at = |error: ConfigError| error.under(text).within("equals");
        rule.equals.push((pointer(text).map_err(at)?, claim_path(claim).map_err(at)?));
    }
    if rule.claims.is_empty() && rule.equals.is_empty() {
        return Err(ConfigError::new("", "needs claims or equals, or it would ask for nothing"));
    }
    Ok(rule)
}

/// The operator's patterns and the built-in ones.
fn patterns(raw: &RawMessages, builder: &mut Builder) -> Built<Option<Patterns>> {
    let mut rules: Vec<(&str, &str)> = Vec::new();
    for (index, pattern) in raw.deny_patterns.iter().flatten().enumerate() {
        let fault = |key: &str, problem: &str| ConfigError::new(format!("deny_patterns[{index}].{key}"), problem);
        let name = pattern.name.as_deref().ok_or_else(|| fault("name", "is required"))?;
        let regex = pattern.regex.as_deref().ok_or_else(|| fault("regex", "is required"))?;
        let is_name =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-');
        if name.is_empty() || name.len() > RULE_NAME_LEN_MAX || !name.bytes().all(is_name) {
            return Err(fault("name", "expected up to 64 of a-z, 0-9, '_', '.' and '-': it becomes a counter's name"));
        }
        if rules.iter().any(|(own, _)| *own == name) {
            return Err(fault("name", "stands twice"));
        }
        rules.push((name, regex));
    }
    let mut sets: Vec<RuleSet> = Vec::new();
    for set in raw.rule_sets.iter().flatten() {
        if !sets.contains(set) {
            sets.push(*set);
        }
    }
    if rules.is_empty() && sets.is_empty() {
        return Ok(None);
    }
    let patterns = Patterns::new(&rules, sets, builder);
    let patterns =
        patterns.map_err(|(index, error)| ConfigError::new(format!("deny_patterns[{index}].regex"), error))?;
    if patterns.scan_count() > SCAN_COUNT_MAX {
        let count = patterns.scan_count();
        return Err(ConfigError::new(
            "deny_patterns",
            format_args!(
                "need {count} automata together, of at most {SCAN_COUNT_MAX}: they are to be fewer or simpler"
            ),
        ));
    }
    Ok(Some(patterns))
}
