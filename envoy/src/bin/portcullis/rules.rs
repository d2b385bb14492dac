//! Rules that look for less than their policy seems to say: all of a set are left out, what is excepted cannot be there, or an envelope is not read.

use portcullis_core::config;
use portcullis_core::content::rule_sets::RuleSet;

use crate::check::{Placed, Report};
use crate::document::{Node, Position, join};
use crate::hint::nearest;

/// Warns of rule sets that find nothing, and of exceptions from nothing.
pub(crate) fn judge(policy: &Node, report: &mut Report) {
    messages(policy, "", true, report);
    let routes = policy.get("routes").map(Node::children).unwrap_or_default();
    // What a route has of its own may have other types.
    if !routes.iter().any(|(_, route)| route.find("policy.messages").is_whole) {
        types(policy, report);
    }
    for (step, route) in routes {
        if let Some(own) = route.get("policy") {
            // Its schemas are those of the policy with its own in them.
            messages(own, &format!("routes{step}.policy"), false, report);
        }
    }
}

fn messages(policy: &Node, path: &str, has_schemas: bool, report: &mut Report) {
    for side in ["from_client", "from_server"] {
        let Some(rules) = policy.get("messages").and_then(|all| all.get(side)) else { continue };
        let envelope = rules.get("envelope").filter(|own| !own.is("json"));
        if let Some(envelope) = envelope.filter(|_| has_schemas && rules.get("json").is_none()) {
            let path = join(path, &format!("messages.{side}.envelope"));
            let problem = "is not read without `json`: nothing holds a text to it";
            report.warnings.push(Placed::new(envelope.position, &path, problem));
        }
        // Of an envelope, pointers lead into what it carries.
        let json = rules.get("json").filter(|_| has_schemas && rules.get("envelope").is_none());
        let path = join(path, &format!("messages.{side}.rule_sets"));
        for (step, own) in rules.get("rule_sets").map(Node::children).unwrap_or_default() {
            rule_set(own, &join(&path, &step), json, report);
        }
    }
}

/// Warns of limits and authorizations of types that no message may have.
fn types(policy: &Node, report: &mut Report) {
    const BY_TYPE: &str = "limits.per_connection.by_type";
    for side in ["from_client", "from_server"] {
        let Some(rules) = policy.get("messages").and_then(|all| all.get(side)) else { continue };
        let Some(json) = rules.get("json") else { continue };
        let (Some(schemas), Some(discriminator)) =
            (json.get("schemas"), json.get("discriminator").and_then(Node::text))
        else {
            continue;
        };
        if json.get("otherwise").is_some_and(|otherwise| !otherwise.is("refuse")) {
            continue;
        }
        let types: Vec<&str> = schemas.members().iter().map(|(key, _)| key.name.as_str()).collect();
        let mut judge = |position: Position, path: &str, text: &str| {
            // Some envelopes take the name of a type in any case.
            if text.contains('*') || types.iter().any(|known| known.eq_ignore_ascii_case(text)) {
                return;
            }
            let problem = "is about no message: no schema has this type, and others are refused";
            let mut placed = Placed::new(position, path, problem);
            placed.hint = nearest(text, types.iter().copied(), 3).map(|known| format!("did you mean `{known}`?"));
            report.warnings.push(placed);
        };
        for (step, rule) in rules.get("authorize").map(Node::children).unwrap_or_default() {
            let Some(named) = rule.get("when").and_then(|when| when.get(discriminator)) else { continue };
            let path = format!("messages.{side}.authorize{step}.when{}", config::step(discriminator));
            for own in named.items().iter().chain([named]) {
                own.text().into_iter().for_each(|text| judge(own.position, &path, text));
            }
        }
        let limits = policy.find(BY_TYPE);
        if side == "from_client" && limits.is_whole {
            for (key, _) in limits.node.members() {
                judge(key.position, &join(BY_TYPE, &config::step(&key.name)), &key.name);
            }
        }
    }
}

fn rule_set(own: &Node, path: &str, json: Option<&Node>, report: &mut Report) {
    if let (Some(set), Some(exclude)) = (own.get("name").and_then(set), own.get("exclude")) {
        let excluded: Vec<&str> = exclude.items().iter().filter_map(Node::text).collect();
        let is_out = |rule: &&str| excluded.contains(rule) || excluded.contains(&own_name(set, rule));
        if set.names().iter().all(is_out) {
            let problem = "leaves out every rule of the set: it finds nothing";
            report.warnings.push(Placed::new(exclude.position, &join(path, "exclude"), problem));
        }
    }
    for (step, except) in own.get("except").map(Node::children).unwrap_or_default() {
        let problem = match except.text() {
            Some("") => "is the message itself, and no place in it: only a message that is one string is excepted",
            Some(text) if json.is_some_and(|json| !may_lead(json, text)) => {
                "leads to nothing: no schema here has a member there"
            }
            _ => continue,
        };
        report.warnings.push(Placed::new(except.position, &join(path, &format!("except{step}")), problem));
    }
}

/// What may be meant by the name of a rule that its set does not have, at this path.
pub(crate) fn hint(policy: &Node, path: &str) -> Option<String> {
    let (of_set, _) = path.rsplit_once(".exclude[")?;
    let own = policy.find(of_set).node;
    let set = own.get("name").and_then(set)?;
    let names = || set.names().iter().map(|rule| own_name(set, rule));
    let written = policy.find(path).node.text()?;
    let written = written.strip_prefix(set.prefix()).unwrap_or(written);
    Some(match nearest(written, names(), 3) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("its rules are {}", names().collect::<Vec<_>>().join(", ")),
    })
}

fn set(name: &Node) -> Option<RuleSet> {
    let name = name.text()?;
    RuleSet::ALL.into_iter().find(|set| set.prefix().strip_suffix('.') == Some(name))
}

fn own_name(set: RuleSet, rule: &str) -> &str {
    rule.strip_prefix(set.prefix()).unwrap_or(rule)
}

/// Whether a message that the schemas take may have something where a pointer leads. Where they do not say, it may.
fn may_lead(json: &Node, pointer: &str) -> bool {
    let steps: Vec<String> =
        pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    match (json.get("schema"), json.get("schemas")) {
        (Some(schema), _) => may_have(schema, &steps),
        (None, Some(schemas)) => {
            json.get("otherwise").is_some_and(|otherwise| otherwise.is("allow"))
                || schemas.members().iter().any(|(_, schema)| may_have(schema, &steps))
        }
        (None, None) => true,
    }
}

/// Whether an instance of a schema may have a member at these steps (JSON Schema, 2020-12).
fn may_have(schema: &Node, steps: &[String]) -> bool {
    /// What names members, and nothing else does.
    const UNDERSTOOD: [&str; 9] = [
        "properties",
        "additionalProperties",
        "required",
        "type",
        "title",
        "description",
        "$schema",
        "minProperties",
        "maxProperties",
    ];
    let [first, rest @ ..] = steps else { return true };
    let is_understood = schema.members().iter().all(|(key, _)| UNDERSTOOD.contains(&key.name.as_str()));
    let is_closed = schema.get("additionalProperties").is_some_and(|own| own.is(false));
    // A step of digits leads into a list, of which `properties` says nothing.
    let may_be_index =
        first.bytes().all(|byte| byte.is_ascii_digit()) && !schema.get("type").is_some_and(|own| own.is("object"));
    if first == "*" || may_be_index || !is_understood || !is_closed {
        return true;
    }
    schema.get("properties").and_then(|properties| properties.get(first)).is_some_and(|member| may_have(member, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Variables, check};

    fn report(rule_set: &str, json: &str) -> Report {
        let text = format!(
            "origin: {{missing: allow}}\nauth: {{required: false}}\nmessages: {{from_client: {{json: {json}, rule_sets: [{rule_set}]}}}}"
        );
        check(&text, &Variables::default()).unwrap()
    }

    #[test]
    fn a_rule_that_is_misspelt_has_a_hint() {
        for (written, expected) in [
            ("quoted_tautolgy", "did you mean `quoted_tautology`?"),
            ("sql_injection.tiem_delay", "did you mean `time_delay`?"),
            ("everything", "its rules are bare_condition, "),
        ] {
            let report = report(&format!("{{name: sql_injection, exclude: [time_delay, {written}]}}"), "{}");
            let [fault] = report.faults.as_slice() else { panic!("{report:?}") };
            assert_eq!(fault.path, "messages.from_client.rule_sets[0].exclude[1]");
            assert!(fault.hint.as_ref().unwrap().starts_with(expected), "{fault:?}");
        }
    }

    #[test]
    fn an_envelope_that_is_not_read_is_a_warning() {
        for (rules, is_warned) in [
            ("{envelope: stomp}", true),
            ("{envelope: {a: stomp}}", true),
            ("{envelope: json}", false),
            ("{envelope: stomp, json: {}}", false),
        ] {
            let text = format!(
                "origin: {{missing: allow}}\nauth: {{required: false}}\nsubprotocols: {{allow: [a, stomp]}}\nmessages: {{from_client: {rules}}}"
            );
            let report = check(&text, &Variables::default()).unwrap();
            let paths: Vec<&str> = report.warnings.iter().map(|placed| placed.path.as_str()).collect();
            assert_eq!(paths.contains(&"messages.from_client.envelope"), is_warned, "{rules}: {report:?}");
        }
    }

    #[test]
    fn a_rule_about_a_type_that_no_message_has_is_a_warning() {
        for (otherwise, when, by_type, expected) in [
            ("refuse", "kick", "say", vec![]),
            ("refuse", "'ki*'", "say", vec![]),
            ("refuse", "kik", "say", vec!["messages.from_client.authorize[0].when[\"/type\"]"]),
            ("refuse", "kick", "sya", vec!["limits.per_connection.by_type.sya"]),
            ("refuse", "KICK", "say", vec![]),
            ("allow", "kik", "sya", vec![]),
        ] {
            let text = format!(
                "origin: {{missing: allow}}\nauth: {{required: false}}\nlimits: {{per_connection: {{by_type: {{{by_type}: {{per_second: 1}}}}}}}}\nmessages: {{from_client: {{json: {{discriminator: /type, schemas: {{say: {{}}, kick: {{}}}}, otherwise: {otherwise}}}, authorize: [{{when: {{/type: {when}}}, claims: {{role: admin}}}}]}}}}"
            );
            let report = check(&text, &Variables::default()).unwrap();
            assert!(report.is_good(), "{report:?}");
            let told = |placed: &&Placed| placed.problem.contains("no schema has this type");
            let paths: Vec<&str> = report.warnings.iter().filter(told).map(|placed| placed.path.as_str()).collect();
            assert_eq!(paths, expected, "{otherwise} {when} {by_type}");
            // A route may have the type.
            let route = "\nroutes: [{match: {path: /a}, policy: {messages: {from_client: {json: {schemas: {kik: {}, sya: {}}}}}}}]";
            let report = check(&(text + route), &Variables::default()).unwrap();
            assert_eq!(report.warnings.iter().filter(told).count(), 0, "{report:?}");
        }
    }

    #[test]
    fn a_set_without_rules_is_a_warning() {
        for set in RuleSet::ALL {
            let name = set.prefix().strip_suffix('.').unwrap();
            let [rest @ .., last] = set.names() else { panic!("{name}") };
            let excluding = |names: &[&str]| format!("{{name: {name}, exclude: [{}]}}", names.join(", "));
            assert_eq!(report(&excluding(rest), "{}").warnings, [], "{last} is left");
            let own: Vec<&str> = set.names().iter().map(|rule| own_name(set, rule)).collect();
            for all in [set.names(), &own] {
                let report = report(&excluding(all), "{}");
                assert!(report.is_good() && report.warnings[0].path.ends_with("rule_sets[0].exclude"), "{report:?}");
            }
        }
    }

    #[test]
    fn an_exception_from_nothing_is_a_warning_where_the_schemas_say_so() {
        const CLOSED: &str = "{type: object, additionalProperties: false, properties: {text: {}, a: {type: object, additionalProperties: false, properties: {b: {}}}}}";
        let by_type = |more: &str| format!("{{discriminator: /type, schemas: {{say: {CLOSED}}}{more}}}");
        for (json, except, is_warned) in [
            ("{}", "", true),
            ("{}", "/txet", false),
            (&format!("{{schema: {CLOSED}}}"), "/txet", true),
            (&format!("{{schema: {CLOSED}}}"), "/text", false),
            (&format!("{{schema: {CLOSED}}}"), "/text/5", false),
            (&format!("{{schema: {CLOSED}}}"), "/a/c", true),
            (&format!("{{schema: {CLOSED}}}"), "/*/c", false),
            (&format!("{{schema: {}}}", CLOSED.replace("type: object, ", "")), "/txet", true),
            (&format!("{{schema: {}}}", CLOSED.replace("type: object, ", "")), "/5", false),
            (&format!("{{schema: {CLOSED}}}"), "/5", true),
            (&format!("{{schema: {}}}", CLOSED.replace("additionalProperties: false, ", "")), "/txet", false),
            (
                &format!("{{schema: {}}}", CLOSED.replacen("{type", "{patternProperties: {t: {}}, type", 1)),
                "/txet",
                false,
            ),
            (&by_type(""), "/txet", true),
            (&by_type(""), "/a/b", false),
            (&by_type(", otherwise: allow"), "/txet", false),
        ] {
            let report = report(&format!("{{name: sql_injection, except: ['{except}']}}"), json);
            assert!(report.is_good(), "{report:?}");
            let paths: Vec<&str> = report.warnings.iter().map(|placed| placed.path.as_str()).collect();
            let expected: &[&str] = if is_warned { &["messages.from_client.rule_sets[0].except[0]"] } else { &[] };
            assert_eq!(paths, expected, "{except} {json}");
        }
        let route = "origin: {missing: allow}\nauth: {required: false}\nroutes:\n- match: {path: /a}\n  policy: {messages: {from_server: {binary: refuse, json: {}, rule_sets: [{name: sql_injection, except: ['']}]}}}";
        let report = check(route, &Variables::default()).unwrap();
        assert_eq!(report.warnings[0].path, "routes[0].policy.messages.from_server.rule_sets[0].except[0]");
    }
}
