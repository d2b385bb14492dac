//! What honest messages look like to patterns, however they are carried.

use serde_json::json;

use super::*;
use crate::config::parse;
use crate::mode::Mode;
use crate::refusal::{Cause, Refusal};
use crate::testing::docket;

const HONEST: [&str; 24] = [
    "say \"hi\" to Ann & Bob, it's five o'clock -- or so",
    "\"quoted\" and 'quoted', (maybe) 50% off; see you @ 5!",
    "I'd select a table from the \"union\" catalogue, or drop by; where 1 = one?",
    "don't; won't; can't -- \"that's all\" she said, 'or else'",
    "C:\\Users\\ann\\new folder\\report.txt",
    "\\\\server\\share\\file",
    "fn main() { println!(\"Hello, \\\"world\\\"!\\n\"); }",
    "const a = {\"x\": 'y', z: [1, 2, 3]}; // it's \"fine\"",
    "if (a < b && c > d) { return \"ok\"; } else { return 'no'; }",
    "SELECT is a keyword in SQL; so are UNION and DROP. \"Really?\" 'Yes.'",
    "# Title\n\nSome *markdown* with `code` and \"quotes\".\n\n- it's a list\n- and \"another\" item\n\n> said 'he'",
    "```js\nlet s = \"a\\\"b\";\n```\n\nand then:\n\n```sh\necho \"$HOME\"\n```",
    "{\"level\":\"info\",\"msg\":\"GET /a?b=c&d=\\\"e\\\" 200\",\"ts\":1.7e9}\n{\"level\":\"warn\",\"msg\":\"it's slow\"}\n",
    "{\"log\":\"{\\\"level\\\":\\\"error\\\",\\\"msg\\\":\\\"can't open \\\\\\\"a.txt\\\\\\\"\\\"}\"}",
    "{\"type\":\"chat\",\"text\":\"O'Brien's \\\"best\\\" -- or so they say; and more\"}",
    "{\"type\":1,\"target\":\"send\",\"arguments\":[\"it's me\",\"and \\\"you\\\"\"]}\x1e",
    "[\"{\\\"type\\\":\\\"chat\\\",\\\"text\\\":\\\"it's \\\\\\\"late\\\\\\\" -- or early\\\"}\"]",
    "a[\"{\\\"type\\\":\\\"chat\\\",\\\"text\\\":\\\"rock 'n' roll; and jazz\\\"}\"]",
    "42[\"chat\",{\"text\":\"it's \\\"late\\\" or early, isn't it?\"}]",
    "SEND\ndestination:/queue/a\ncontent-type:application/json\n\n{\"text\":\"it's late; or early\"}\0",
    "{\"query\":\"query A($id: ID!) { user(id: $id) { name, posts(first: 10) { title } } }\",\"variables\":{\"id\":\"1\"}}",
    "{\"html\":\"<p class=\\\"x\\\">Hello, <b>world</b>!</p>\",\"css\":\"a:hover { color: red; }\"}",
    "name,\"age\",city\n\"O'Brien\",42,\"Cork\"\n",
    "{'single': 'quotes', \"double\": \"it's\", n: 0x1f, /* a comment */ t: true}",
];

fn rules(deny: serde_json::Value) -> Rc<ContentRules> {
    let sets = [
        "sql_injection",
        "cross_site_scripting",
        "command_injection",
        "path_traversal",
        "nosql_injection",
        "prototype_pollution",
    ];
    let config = json!({
        "auth": {"required": false}, "messages": {"from_client": {"rule_sets": sets, "deny_patterns": deny}},
    });
    Rc::clone(&parse(config.to_string().as_bytes(), &|_| None).unwrap().policies.base().messages.client.content)
}

fn judge(rules: &ContentRules, text: &str) -> Option<String> {
    let refusal = rules.judge(text, &docket(), &Handshake::default(), 0, None).err()?;
    Some(refusal.rule().map(|rule| rule.to_string()).unwrap_or_default())
}

#[test]
fn an_allowed_text_tells_its_type_and_what_is_due_behind_it() {
    let side = |own: serde_json::Value| {
        let config = json!({"auth": {"required": false}, "messages": {"from_client": own}});
        Rc::clone(&parse(config.to_string().as_bytes(), &|_| None).unwrap().policies.base().messages.client.content)
    };
    let schemas = json!({"discriminator": "/type", "schemas": {"login": {}}, "otherwise": "allow"});
    let typed = side(json!({ "json": schemas }));
    let socket_io = side(json!({"envelope": "socket.io", "json": {"discriminator": "/0", "schemas": {"chat": {}}}}));
    let untyped = [json!({}), json!({"json": {}}), json!({"json": {"schema": {}}})].map(side);
    let check = |rules: &ContentRules, text: &str, due: u32, kind: Option<&str>, attachments: u32| {
        let judged = rules.judge(text, &docket(), &Handshake::default(), due, None);
        assert_eq!(
            judged,
            Ok(Judged { kinds: kind.map(Into::into).into_iter().collect(), attachments, folds: false }),
            "{text}"
        );
    };
    check(&typed, r#"{"type":"login"}"#, 0, Some("login"), 0);
    check(&typed, r#"{"type":"log\u0069n"}"#, 0, Some("login"), 0);
    check(&typed, r#"{"type":"other"}"#, 0, Some("other"), 0);
    for none in [r#"{"type":7}"#, r#"{}"#, "null"] {
        check(&typed, none, 0, Some(""), 0);
    }
    for rules in &untyped {
        check(rules, r#"{"type":"login"}"#, 0, None, 0);
    }
    check(&socket_io, r#"42["chat",1]"#, 0, Some("chat"), 0);
    check(
        &socket_io,
        r#"452-["chat",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
        0,
        Some("chat"),
        2,
    );
    // What the transport says itself leaves what is due.
    check(&socket_io, "2", 2, Some(""), 2);
}

/// The rules of a client whose messages have this envelope.
fn enveloped(envelope: &str, json: serde_json::Value, own: serde_json::Value) -> Rc<ContentRules> {
    let mut side = json!({"envelope": envelope, "json": json});
    side.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let config = json!({"auth": {"required": false}, "messages": {"from_client": side}});
    Rc::clone(&parse(config.to_string().as_bytes(), &|_| None).unwrap().policies.base().messages.client.content)
}

#[test]
fn each_message_of_a_text_is_judged_and_counts() {
    let schemas = |at: &str| json!({"discriminator": at, "schemas": {"say": {}, "leave": {}}});
    for (envelope, at, good, bad) in [
        (
            "signalr",
            "/target",
            "{\"type\":1,\"target\":\"say\",\"arguments\":[]}\x1e{\"type\":6}\x1e{\"type\":1,\"target\":\"leave\",\"arguments\":[]}\x1e",
            "{\"type\":1,\"target\":\"say\",\"arguments\":[]}\x1e{\"type\":1,\"target\":\"ban\",\"arguments\":[]}\x1e",
        ),
        ("json_lines", "/type", "{\"type\":\"say\"}\n{\"type\":\"leave\"}", "{\"type\":\"say\"}\n{\"type\":\"ban\"}"),
        (
            "sockjs",
            "/type",
            r#"["{\"type\":\"say\"}","{\"type\":\"leave\"}"]"#,
            r#"["{\"type\":\"say\"}","{\"typ\\u0065\":\"ban\"}"]"#,
        ),
        (
            "stomp",
            "/body/type",
            "SEND\ndestination:/a\n\n{\"type\":\"say\"}\0\nSEND\ndestination:/a\n\n{\"type\":\"leave\"}\0",
            "SEND\ndestination:/a\n\n{\"type\":\"say\"}\0SEND\ndestination:/a\n\n{\"type\":\"ban\"}\0",
        ),
    ] {
        let rules = enveloped(envelope, schemas(at), json!({}));
        let judge = |text| rules.judge(text, &docket(), &Handshake::default(), 0, None);
        let mut kinds = judge(good).unwrap().kinds;
        kinds.retain(|kind| !kind.is_empty());
        assert_eq!(kinds, ["say", "leave"], "{envelope}");
        assert_eq!(judge(bad).unwrap_err().violation, Violation::SchemaRefused, "{envelope}");
    }
}

#[test]
fn an_envelope_changes_nothing_about_what_json_may_be() {
    for (value, bound, violation) in [
        (r#"{"a":"\ud83d"}"#, json!({"surrogates": "refuse"}), Violation::InvalidJson),
        (r#"{"a":1,"a":2}"#, json!({}), Violation::JsonRefused),
        (r#"{"a":"12345"}"#, json!({"max_string_bytes": 4}), Violation::JsonRefused),
        (r#"{"a":[[[[[[[[]]]]]]]]}"#, json!({"max_depth": 7}), Violation::JsonRefused),
        (r#"{"a":tru}"#, json!({}), Violation::InvalidJson),
    ] {
        for (envelope, text) in [
            ("json", value.to_owned()),
            ("json_lines", format!("{{}}\n{value}\n")),
            (
                "graphql-transport-ws",
                format!(r#"{{"type":"subscribe","id":"1","payload":{{"query":"q","variables":{value}}}}}"#),
            ),
            ("signalr", format!("{{\"type\":1,\"target\":\"a\",\"arguments\":[{value}]}}\x1e")),
            ("socket.io", format!("42[\"a\",{value}]")),
            ("sockjs", json!([value]).to_string()),
            ("stomp", format!("SEND\ndestination:/a\n\n{value}\0")),
        ] {
            let judge = |json| {
                let judged = enveloped(envelope, json, json!({}))
                    .judge(&text, &docket(), &Handshake::default(), 0, None)
                    .map(drop);
                judged.map_err(|refusal| refusal.violation)
            };
            assert_eq!(judge(bound.clone()), Err(violation), "{envelope}: {value}");
            let otherwise = json!({"duplicate_keys": "allow"});
            assert_eq!(judge(otherwise).is_ok(), !value.contains("tru}"), "{envelope}: {value}");
        }
    }
}

#[test]
fn patterns_see_what_an_envelope_hides() {
    let deny = json!({"deny_patterns": [{"name": "bad", "regex": "b a d|b:a"}]});
    for (envelope, text) in [
        ("signalr", "{\"type\":6}\x1e{\"type\":1,\"target\":\"a\",\"arguments\":[\"b\\u0020a d\"]}\x1e"),
        ("json_lines", "1\n\"b\\u0020a d\"\n2"),
        ("sockjs", r#"["\"b\\u0020a d\""]"#),
        ("sockjs", r#"["{}","{\"b\u0020a d\":1}"]"#),
        ("stomp", "SEND\ndestination:/a\n\n\"b\\u0020a d\"\0"),
        ("stomp", "SEND\ndestination:b\\ca\n\n1\0"),
        ("stomp", "ACK\nid:b a d\n\n\0"),
        ("stomp", "SUBSCRIBE\nid:1\ndestination:/a\nb a d:1\n\n\0"),
    ] {
        assert_eq!(judge(&enveloped(envelope, json!({}), deny.clone()), text), Some("bad".to_owned()), "{text:?}");
        assert_eq!(judge(&enveloped(envelope, json!({}), json!({})), text), None, "{text:?}");
    }
}

#[test]
fn a_destination_of_stomp_is_authorized() {
    let rule = json!([{"when": {"/headers/destination": "/admin*"}, "claims": {"role": "admin"}}]);
    let rules = enveloped("stomp", json!({}), json!({"authorize": rule}));
    let judge =
        |text| rules.judge(text, &docket(), &Handshake::default(), 0, None).map_err(|refusal| refusal.violation);
    assert!(judge("SEND\ndestination:/a\n\n{\"headers\":{\"destination\":\"/admin\"}}\0").is_ok());
    for text in [
        "SEND\ndestination:/admin\n\n1\0",
        "SUBSCRIBE\nid:1\ndestination:/admin/x\n\n\0",
        "SEND\ndestination:/a\n\n1\0SEND\ndestination:/admin\n\n1\0",
        "SEND\ndestination:/a\n\n1\0\n\r\nSEND\r\ndestination:/admin\r\n\r\n1\0\n",
    ] {
        assert_eq!(judge(text), Err(Violation::NotAuthorized), "{text:?}");
    }
}

#[test]
fn honest_messages_pass_however_they_are_carried() {
    let rules = rules(json!([{"name": "card", "regex": "\\b4[0-9]{15}\\b"}]));
    for text in HONEST {
        let in_json = json!({ "type": "chat", "text": text }).to_string();
        let in_array = json!([in_json]).to_string();
        let in_event = format!("42{}", json!(["chat", { "text": text }]));
        for carried in [text.to_owned(), format!("{in_json}\n{in_json}"), in_json, in_array, in_event] {
            assert_eq!(judge(&rules, &carried), None, "{carried}");
        }
    }
}

#[test]
fn a_constructor_is_refused_with_a_prototype_behind_it() {
    let rules = rules(json!([]));
    for (text, passes) in [
        (r#"{"role":"constructor"}"#, true),
        (r#"{"constructor":"Ferrari"}"#, true),
        (r#"{"constructor":{"prototypes":{}}}"#, true),
        (r#"{"stage":"prototype","by":"constructor"}"#, true),
        (r#"{"constructor":{"prototype":{"admin":true}}}"#, false),
        (r#"{"constructor":{"a":1,"proto\u0074ype":{"admin":true}}}"#, false),
        (r#"42["x",{"a":{"%63onstructor":{"prototype":{}}}}]"#, false),
    ] {
        let expected = if passes { None } else { Some("prototype_pollution.constructor_key") };
        assert_eq!(judge(&rules, text).as_deref(), expected, "{text}");
    }
}

/// What people and programs send much of.
const OFTEN: [&str; 19] = [
    "The committee didn't agree on the union's proposal; we'll select a date (maybe 3 or 4 pm). ",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
    "我们在北京见面，讨论项目的进展情况。",
    "“It’s fine,” he said — ‘maybe’… 😀 ",
    "SELECT u.id, COUNT(o.id) AS n FROM users u WHERE u.age > 18 AND (u.city = 'Paris' OR u.city = 'Rome');\n",
    "First run `cd /tmp && ls -la`, then `cat notes.txt | grep foo > out.txt; echo done`.\n",
    "const onClick = (e) => { if (e.target && e.key === \"Enter\" || e.ctrlKey) save({ id: e.target.id }); };\n",
    "    if not isinstance(s, str):\n        raise TypeError(f'the object must be str, not {s!r}')\n",
    "<p>Some <b>bold</b> text, a <a href=\"https://example.com/?a=1&amp;b=2\">link</a>, and <i>more</i> of it.</p>\n",
    "<span class=\"kw\">if</span> a &lt; b &amp;&amp; c &gt; d { <span class=\"s\">&quot;x&quot;</span> }\n",
    "<div data-props=\"{&quot;id&quot;:1,&quot;name&quot;:&quot;x&quot;,&quot;tags&quot;:[&quot;a&quot;,&quot;b&quot;]}\"></div>",
    ".a > .b:hover { color: #fff; background: url(/img/a.png) no-repeat; }\n",
    "query Q($id: ID!) { user(id: $id) { name posts(first: 10, where: {state: {eq: \"open\"}}) { title } } }\n",
    "2026-11-27T16:52:51.123Z INFO [exec-3] GET /api/v1/users/42?expand=roles&limit=10 200 12ms ip=10.0.0.1\n",
    "1,\"Jane O'Neil\",jane@example.com,2026-01-02,12.50,\"Paris, France\"\n",
    "# Title\n\n- item *one* with `code`\n- [link](http://a.example/b)\n\n> quote\n\n| a | b |\n|---|---|\n",
    "aGVsbG8gd29ybGQsIHRoaXMgaXMgYmFzZTY0IHRleHQgdGhhdCBpcyBsb25n",
    "x=hello+world%21&y=caf%C3%A9&",
    "C:\\Users\\ann\\Documents\\report.txt ",
];

/// Items of a long list.
const ITEMS: [&str; 8] = [
    "\"a\"",
    "7",
    "12.5",
    "\"\\n\"",
    "\"\\u00e9\\n\"",
    "{\"x\":120,\"y\":44,\"t\":\"m\"}",
    "{\"insert\":\"Hello \",\"attributes\":{\"bold\":true}}",
    "{\"id\":1,\"name\":\"Jane O'Neil\",\"url\":\"https://example.com/a?b=1&c=2\",\"at\":\"2026-01-02T03:04:05Z\"}",
];

#[test]
fn what_is_sent_often_leaves_a_tenth_of_the_work() {
    const LEN: usize = 65_536;
    let long = |unit: &str| unit.repeat(LEN / unit.len());
    let texts = OFTEN.iter().flat_map(|unit| {
        let in_json = json!({"type": "chat", "text": long(unit)}).to_string();
        [long(unit), json!({ "m": in_json }).to_string(), in_json]
    });
    let lists = ITEMS.iter().flat_map(|item| {
        let list = format!("[{}{item}]", long(&format!("{item},")));
        [json!({ "payload": list }).to_string(), list]
    });
    let is_too_much = |text: &String| {
        let mut message = rule_sets::Message::new(text.len() / 10 * 9, 0);
        views::any(text, Reader::Unknown, &mut |view| {
            view.says_more() && !message.take(&rule_sets::Subject::new(view.text()))
        })
    };
    let refused: Vec<String> = texts.chain(lists).filter(is_too_much).map(|text| text[..80].to_owned()).collect();
    assert_eq!(refused, [""; 0]);
}

#[test]
fn short_texts_that_are_all_separators_have_work_enough() {
    let units = [
        "=A0&\" \"&B0\t",
        "a=0&b=1&",
        "=$A$0+$B$0\n",
        "\"1\",\"2\",\"3\"\n",
        "$x_0$ and $y$ ",
        "0 & 1 & 0 \\\\\n",
        "$0 $0.00 ",
        "\0\0\0\u{7f}",
    ];
    let rules = rules(json!([]));
    for unit in units {
        let text = json!({ "t": unit.repeat(2_048 / unit.len()) }).to_string();
        let frame = format!("SEND\ndestination:/app/doc\ncontent-type:application/json\n\n{text}\0");
        for text in [&text, &frame] {
            assert_ne!(judge(&rules, text).as_deref(), Some("rule_sets.too_much_work"), "{unit:?}");
        }
    }
}

#[test]
fn what_takes_too_much_work_is_refused_by_a_rule_of_its_own() {
    let rules = rules(json!([{"name": "card", "regex": "\\b4[0-9]{15}\\b"}]));
    let list = |count| format!("[{}]", vec![r#""or &#39;net;$(cat {\b\x27\"&lt""#; count].join(","));
    assert_eq!(judge(&rules, &list(2)), None);
    assert_eq!(judge(&rules, &list(2_000)).as_deref(), Some("rule_sets.too_much_work"));
    let names: Vec<_> = rules.patterns.iter().flat_map(Patterns::names).map(|name| name.to_string()).collect();
    assert!(names.contains(&"rule_sets.too_much_work".to_owned()), "it is counted: {names:?}");
    // What is left of the work for one message is not taken from the next.
    assert_eq!(judge(&rules, &list(2)), None);
}

#[test]
fn the_operators_expressions_see_a_string_with_its_escapes_too() {
    let rules = rules(json!([{"name": "nul", "regex": r"\\u0000"}]));
    assert_eq!(judge(&rules, r#"{"a":"x\u0000y"}"#).as_deref(), Some("nul"));
    assert_eq!(judge(&rules, r#"{"a":"x\ty"}"#), None);
}

#[test]
fn an_attack_is_found_however_it_is_carried() {
    let rules = rules(json!([{"name": "card", "regex": "\\b4[0-9]{15}\\b"}, {"name": "word", "regex": "^forbidden$"}]));
    for attack in [
        "<script>alert(1)</script>",
        "'; DROP TABLE users--",
        "../../../../etc/passwd",
        "4111111111111111",
        "forbidden",
    ] {
        let object = json!({ "a": attack }).to_string();
        let escaped: String = attack.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let carriers = [
            attack.to_owned(),
            object.clone(),
            format!("{{\"a\":\"{escaped}\"}}"),
            format!("\u{feff}{object}"),
            format!("{object}\0"),
            format!("{object}\x1e"),
            format!("{{\"n\":1}}\n{object}\r\n"),
            format!("{{\"n\":NaN,\"b\":{object}}}"),
            format!("{object} // \"comment\""),
            format!("/* \" */ {object}"),
            json!([object]).to_string(),
            json!([format!("\u{feff} {object}")]).to_string(),
            json!({ "a": json!([object]).to_string() }).to_string(),
            format!("a{}", json!([object])),
            format!("42{}", json!(["x", { "a": attack }])),
            format!("42/ns,1{}", json!(["x", attack])),
            format!("SEND\ndestination:/q\n\n{object}\0"),
            format!("SEND\ndestination:/q\n\n{attack}\0"),
            json!({ attack: 1 }).to_string(),
            format!("{{'a':'{}'}}", attack.replace('\'', "\\'")),
            format!("'{}'", attack.replace('\'', "\\'")),
            format!("a: 1\nmsg: '{}'\n", attack.replace('\'', "\\'")),
            format!("- '{}'\n- x\n", attack.replace('\'', "\\'")),
            format!("msg='{}'", attack.replace('\'', "\\'")),
            format!("say \"x\" = '{}'", attack.replace('\'', "\\'")),
        ];
        for text in carriers {
            assert!(judge(&rules, &text).is_some(), "{text:?}");
        }
    }
}

#[test]
fn a_number_is_found_where_only_some_read_json() {
    let rules = rules(json!([{"name": "card", "regex": "\\b4[0-9]{15}\\b"}]));
    for text in ["{'n':4.111111111111111e15}", "{n:4.111111111111111e15}", "['a\\'b',4.111111111111111e15]"] {
        assert_eq!(judge(&rules, text).as_deref(), Some("card"), "{text}");
    }
}

#[test]
fn what_is_utf_16_to_some_is_no_text() {
    let rules = rules(json!([{"name": "word", "regex": "secret"}]));
    let text = r#"{"a":"s\u0065cret \u4141"}"#;
    let wide = |unit: u16| [u16::to_le_bytes(unit), u16::to_be_bytes(unit)];
    let spread =
        |index: usize| text.encode_utf16().flat_map(|unit| wide(unit)[index]).map(char::from).collect::<String>();
    let wider = |index: usize| {
        let bytes = |unit: char| [u32::from(unit).to_le_bytes(), u32::from(unit).to_be_bytes()][index];
        text.chars().flat_map(bytes).map(char::from).collect::<String>()
    };
    for text in [spread(0), spread(1), wider(0), wider(1)] {
        assert_eq!(judge(&rules, &text).as_deref(), Some(""), "{text:?}");
    }
    for text in ["\0", "1\0", "", "ab\0", "{\"a\":1}\0"] {
        assert_eq!(judge(&rules, text), None, "{text:?}");
    }
}

/// The types of messages under `otherwise: allow`: what a receiver may take for a type with a schema is held to it, or refused.
#[test]
fn no_type_hides_in_an_array() {
    let check = |discriminator: &str, accepted: &[&str], refused: &[&str]| {
        let types = json!({
            "discriminator": discriminator, "otherwise": "allow", "schemas": {"admin": {"type": "object", "required": ["reason"]}},
        });
        let config = json!({"auth": {"required": false}, "messages": {"from_client": {"json": types}}});
        let policies = parse(config.to_string().as_bytes(), &|_| None).unwrap().policies;
        for (texts, expected) in [(accepted, None), (refused, Some(String::new()))] {
            for text in texts {
                assert_eq!(judge(&policies.base().messages.client.content, text), expected, "{text}");
            }
        }
    };
    check(
        "/type",
        &[
            r#"{"type":"admin","reason":1}"#,
            r#"{"type":"chat"}"#,
            r#"{"type":7}"#,
            r#"{"type":null}"#,
            "{}",
            "7",
            r#""admin""#,
        ],
        &[
            r#"{"type":"admin"}"#,
            r#"{"type":["admin"]}"#,
            r#"{"type":{"0":"admin"}}"#,
            r#"{"type":[]}"#,
            r#"[{"type":"admin"}]"#,
            "[]",
        ],
    );
    check("/0", &["[]", r#"["chat",["admin"]]"#, r#"{"0":"chat"}"#], &[r#"["admin"]"#, r#"[["admin"]]"#]);
    check("/a/type", &[r#"{"a":{}}"#, r#"{"b":[]}"#, "1"], &[r#"{"a":[{"type":"admin"}]}"#]);
}

#[test]
fn a_refusal_says_what_of_the_policy_refuses() {
    let config = json!({
        "auth": {"required": false},
        "messages": {"from_client": {
            "json": {
                "discriminator": "/type", "max_depth": 3,
                "schemas": {"say": {"properties": {"text": {"maxLength": 3}}}, "admin.ban": {}},
            },
            "authorize": [{"when": {"/type": "say"}, "equals": {"/type": "sub"}, "missing": "allow"}, {"when": {"/type": "admin.*"}, "claims": {"role": ["admin"]}}],
            "deny_patterns": [{"name": "a", "regex": "aaa"}, {"name": "card", "regex": "[0-9]{16}"}],
            "rule_sets": ["sql_injection"],
        }},
    });
    let parsed = parse(config.to_string().as_bytes(), &|_| None).unwrap();
    let rules = Rc::clone(&parsed.policies.base().messages.client.content);
    let check = |text: &str, violation: Violation, cause: Cause| {
        let refusal = rules.judge(text, &docket(), &Handshake::default(), 0, None).expect_err(text);
        let has_mode = matches!(violation, Violation::NotAuthorized | Violation::PatternRefused);
        let cause = Cause { mode: has_mode.then_some(Mode::Enforce), ..cause };
        let cause = if cause == Cause::default() { None } else { Some(Box::new(cause)) };
        assert_eq!(refusal, Refusal { violation, cause }, "{text}");
    };
    let at = |at: &str| Cause { at: at.to_owned(), ..Cause::default() };
    let of = |kind: &str, cause: Cause| Cause { kind: Some(kind.to_owned()), ..cause };
    let by = |rule: &str, cause: Cause| Cause { rule: Some(rule.into()), ..cause };
    check("{", Violation::InvalidJson, at("json"));
    check("[[[[]]]]", Violation::JsonRefused, at("json.max_depth"));
    check(r#"{"type":{}}"#, Violation::SchemaRefused, at("json.discriminator"));
    check(r#"{"type":"shout"}"#, Violation::SchemaRefused, of("shout", at("json.otherwise")));
    check("{}", Violation::SchemaRefused, at("json.otherwise"));
    let text =
        Cause { keyword: Some("maxLength"), instance: Some("/text".to_owned()), ..of("say", at("json.schemas.say")) };
    check(r#"{"type":"say","text":"long"}"#, Violation::SchemaRefused, text);
    check(r#"{"type":"say"}"#, Violation::NotAuthorized, of("say", at("authorize[0]")));
    check(r#"{"type":"admin.ban"}"#, Violation::NotAuthorized, of("admin.ban", at("authorize[1]")));
    let within = |instance: &str, cause: Cause| Cause { instance: Some(instance.to_owned()), ..of("say", cause) };
    let card = within("/x", by("card", at("deny_patterns[1]")));
    check(r#"{"type":"say","x":"1234567812345678"}"#, Violation::PatternRefused, card);
    let union = r#"{"type":"say","x":[{}, {"y/z": "' UNION SELECT password FROM users --"}]}"#;
    let refusal = rules.judge(union, &docket(), &Handshake::default(), 0, None).expect_err(union);
    let cause = refusal.cause.map(|cause| (cause.at, cause.kind, cause.instance));
    let expected = ("rule_sets[0]".to_owned(), Some("say".to_owned()), Some("/x/1/y~1z".to_owned()));
    assert_eq!(cause, Some(expected));
    for told in ["4111111111111111", "password=x", "a b", "", "say\u{202e}"] {
        check(&json!({"type": told}).to_string(), Violation::SchemaRefused, at("json.otherwise"));
    }
    let long = format!(r#"{{"type":"{}"}}"#, "é".repeat(1_000));
    check(&long, Violation::SchemaRefused, of(&"é".repeat(64), at("json.otherwise")));
}

/// The rules of a client's messages.
fn client_rules(side: serde_json::Value) -> Rc<ContentRules> {
    let config = json!({"auth": {"required": false}, "messages": {"from_client": side}});
    Rc::clone(&parse(config.to_string().as_bytes(), &|_| None).unwrap().policies.base().messages.client.content)
}

#[test]
fn the_method_of_a_hub_has_no_other_rules_in_another_case() {
    let side = |json: serde_json::Value, authorize: serde_json::Value| {
        client_rules(json!({"envelope": "signalr", "json": json, "authorize": authorize}))
    };
    let call = |target: &str| format!("{{\"type\":1,\"target\":\"{target}\",\"arguments\":[]}}\u{1e}");
    let violation = |rules: &ContentRules, target: &str| {
        rules.judge(&call(target), &docket(), &Handshake::default(), 0, None).map_err(|refusal| refusal.violation).err()
    };
    let rules = side(json!({}), json!([{"when": {"/target": "Adm*"}, "claims": {"role": ["admin"]}}]));
    for target in ["AdmDelete", "admDelete", "ADMDELETE", "aDm"] {
        assert_eq!(violation(&rules, target), Some(Violation::NotAuthorized), "{target}");
    }
    assert_eq!(violation(&rules, "Say"), None);
    let rules = side(json!({}), json!([{"when": {"/target": "Löschen*"}, "claims": {"role": ["admin"]}}]));
    for target in ["Löschen", "LÖSCHENALLE", "l\\u00d6schen"] {
        assert_eq!(violation(&rules, target), Some(Violation::NotAuthorized), "{target}");
    }
    let schemas = json!({"Say": {"properties": {"arguments": {"minItems": 1}}}});
    let rules = side(json!({"discriminator": "/target", "schemas": schemas, "otherwise": "allow"}), json!([]));
    for target in ["Say", "say", "SAY"] {
        assert_eq!(violation(&rules, target), Some(Violation::SchemaRefused), "{target}");
    }
    assert_eq!(violation(&rules, "Shout"), None);
    // Elsewhere the case of letters is the application's to tell apart.
    let rules =
        client_rules(json!({"json": {}, "authorize": [{"when": {"/target": "Adm*"}, "claims": {"role": ["admin"]}}]}));
    let plain = |text: &str| rules.judge(text, &docket(), &Handshake::default(), 0, None).is_ok();
    assert!(plain(r#"{"target":"admDelete"}"#) && !plain(r#"{"target":"AdmDelete"}"#));
}

#[test]
fn thousands_of_records_take_no_more_work_than_one_text() {
    let tree =
        json!({"anyOf": [{"type": "number"}, {"items": {"allOf": [{"$ref": "#/$defs/t"}, {"$ref": "#/$defs/t"}]}}]});
    let schema = json!({"properties": {"v": {"$ref": "#/$defs/t"}}, "$defs": {"t": tree}});
    let rules = client_rules(json!({"envelope": "json_lines", "json": {"schema": schema}}));
    let judge = |text: &str| {
        rules.judge(text, &docket(), &Handshake::default(), 0, None).map_err(|refusal| refusal.cause.unwrap())
    };
    let line = "{\"v\":[[[[[[[8]]]]]]]}\n";
    assert!(judge(line).is_ok() && judge(&line.repeat(3)).is_ok());
    let cause = judge(&line.repeat(2_700)).expect_err("it takes too much work");
    assert_eq!(cause.at, "envelope");
    // What is plain may come by the thousand.
    assert!(judge(&"{\"v\":1}\n".repeat(4_000)).is_ok());
    let lines = json!({"envelope": "json_lines", "json": {}, "rule_sets": ["sql_injection", "command_injection"]});
    let rules = client_rules(lines);
    assert!(rules.judge(&"{\"text\":\"hello\"}\n".repeat(3_000), &docket(), &Handshake::default(), 0, None).is_ok());
}

/// The rules by which a text is refused, with these sets for the client's JSON.
fn found_by(sets: &serde_json::Value, json: &serde_json::Value, text: &str) -> Option<String> {
    let side = json!({"json": json, "rule_sets": sets});
    let config = json!({"auth": {"required": false}, "messages": {"from_client": side}});
    let parsed = parse(config.to_string().as_bytes(), &|_| None).unwrap_or_else(|error| panic!("{error}"));
    judge(&parsed.policies.base().messages.client.content, text)
}

#[test]
fn a_rule_that_is_left_out_hides_no_other() {
    let union = "1' UNION SELECT password FROM users--";
    let time = "1'; WAITFOR DELAY '0:0:5'--";
    let find = |exclude: &[&str], text: &str| {
        let text = json!({ "text": text }).to_string();
        found_by(&json!([{"name": "sql_injection", "exclude": exclude}]), &json!({}), &text)
    };
    assert_eq!(find(&[], union).as_deref(), Some("sql_injection.statement_after_value"));
    let both = format!("{union} {time}");
    assert_eq!(find(&[], &both).as_deref(), Some("sql_injection.time_delay"));
    // With or without the name of the set.
    for exclude in ["time_delay", "sql_injection.time_delay"] {
        assert_eq!(find(&[exclude], &both).as_deref(), Some("sql_injection.statement_after_value"));
    }
    let all: Vec<&str> = rule_sets::RuleSet::SqlInjection.names().to_vec();
    assert_eq!(find(&all, &both), None);
}

#[test]
fn every_rule_of_every_set_can_be_left_out() {
    let attacks = [
        "1' UNION SELECT password FROM users--",
        "<script>alert(1)</script>",
        "; cat /etc/passwd",
        "../../../../../../etc/passwd",
        "__proto__",
        "' || this.password.match(/^a/)//",
        "$where",
        "{{7*7}}",
        "x' or 1=1--",
        "constructor.prototype.x",
    ];
    for set in rule_sets::RuleSet::ALL {
        let names = rule_sets::LeftOut(set.names().to_vec());
        for attack in attacks {
            let subject = rule_sets::Subject::new(attack);
            let mut left_out = rule_sets::LeftOut::default();
            // One after the other, until nothing is found any more.
            while let Some(rule) = set.find(&subject, &left_out) {
                assert!(names.0.contains(&rule) && !left_out.0.contains(&rule), "{rule} in {attack}");
                left_out.0.push(rule);
            }
            assert_eq!(set.find(&subject, &names), None, "{attack}");
        }
    }
}

#[test]
fn strings_in_excepted_places_are_looked_into_by_no_set_that_excepts_them() {
    let sets =
        json!([{"name": "sql_injection", "except": ["/text", "/items/*/body", "/list/0"]}, "cross_site_scripting"]);
    let find = |text: &str| found_by(&sets, &json!({}), text);
    let union = "1' UNION SELECT password FROM users--";
    for passes in [
        json!({"text": union}),
        json!({"items": [{"body": union}, {"body": union}]}),
        json!({"items": {"a": {"body": union}}}),
        json!({"list": [union]}),
        json!({"text": json!({"in": union}).to_string()}),
    ] {
        assert_eq!(find(&passes.to_string()), None, "{passes}");
    }
    for refused in [
        json!({"text": union, "other": union}),
        json!({"text": [union]}),
        json!({"text": {"in": union}}),
        json!({union: 1, "text": union}),
        json!({"items": [{"body": union, "head": union}]}),
        json!({"list": ["a", union]}),
        json!([union]),
        json!({"other": json!({"text": union}).to_string()}),
    ] {
        assert_eq!(find(&refused.to_string()).as_deref(), Some("sql_injection.statement_after_value"), "{refused}");
    }
    assert_eq!(find(r#"{"text":"<script>alert(1)</script>"}"#).as_deref(), Some("cross_site_scripting.script_code"));
    // Names that readers differ about lead nowhere.
    let twins = format!(r#"{{"text":"a","Text":"{union}"}}"#);
    assert!(found_by(&sets, &json!({"duplicate_keys": "allow"}), &twins).is_some());
}

#[test]
fn strings_are_seen_one_by_one_as_they_are_in_their_message() {
    let sets: Vec<serde_json::Value> =
        rule_sets::RuleSet::ALL.iter().map(|set| set.prefix().trim_end_matches('.').into()).collect();
    let placed: Vec<serde_json::Value> = sets.iter().map(|set| json!({"name": set, "except": ["/nowhere"]})).collect();
    for text in HONEST.iter().copied().chain([
        "1' UNION SELECT password FROM users--",
        "<script>alert(1)</script>",
        "; cat /etc/passwd",
        "__proto__",
        "\"' || '1'=='1",
        "1e1",
    ]) {
        for message in [json!({"a": text, "n": 15e0}), json!({text: [text]}), json!([json!({"b": text}).to_string()])] {
            let message = message.to_string();
            let whole = found_by(&sets.clone().into(), &json!({}), &message);
            assert_eq!(whole, found_by(&placed.clone().into(), &json!({}), &message), "{message}");
        }
    }
}

/// A false positive is told from an attack by the place of the string, whatever wraps the message.
#[test]
fn a_pattern_that_matches_says_in_which_string() {
    let rules = |envelope: &str| {
        client_rules(
            json!({"envelope": envelope, "json": {"duplicate_keys": "allow"}, "rule_sets": ["sql_injection", "prototype_pollution"],
            "deny_patterns": [{"name": "empty", "regex": "^$"}, {"name": "million", "regex": "^1000000$"}]}),
        )
    };
    let sql = "' OR 1=1 --";
    let nested = json!({"q": sql}).to_string();
    for (envelope, text, instance) in [
        ("json", json!({"a": "fine", "b": [1, {"c": sql}]}).to_string(), Some("/b/1/c")),
        ("json", json!(sql).to_string(), Some("")),
        ("json", json!({"body": nested}).to_string(), Some("/body")),
        ("json", json!({"a": {"__proto__": {"x": 1}}}).to_string(), Some("/a/__proto__")),
        ("json", json!({"a": {"~/": [sql]}}).to_string(), Some("/a/~0~1/0")),
        ("json", json!({"a": "x", "b": "", "c": ""}).to_string(), Some("/b")),
        ("json", r#"{"n":[1, 1e6]}"#.to_owned(), Some("/n/1")),
        ("json", json!({"\u{e9}".repeat(200): sql}).to_string(), Some(&*format!("/{}", "\u{e9}".repeat(63)))),
        ("socket.io", format!("42{}", json!(["say", {"text": sql}])), Some("/1/text")),
        ("socket.io", format!("42/{sql},{}", json!(["say", {"text": "fine"}])), None),
        ("json_lines", format!("{{}}\n{}\n", json!({"text": sql})), Some("/text")),
        ("sockjs", json!([json!({"text": sql}).to_string()]).to_string(), Some("/text")),
        ("signalr", format!("{}\u{1e}", json!({"type": 1, "target": "say", "arguments": [sql]})), Some("/arguments/0")),
        ("signalr", format!("{}\u{1e}", json!({"type": 1, "target": "say", "arguments": [], "x": sql})), Some("/x")),
    ] {
        let refusal = rules(envelope).judge(&text, &docket(), &Handshake::default(), 0, None).expect_err(&text);
        assert_eq!(refusal.violation, Violation::PatternRefused, "{envelope} {text}");
        assert_eq!(refusal.cause.and_then(|cause| cause.instance).as_deref(), instance, "{envelope} {text}");
    }
}
