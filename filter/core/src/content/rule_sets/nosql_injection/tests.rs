//! What the rules find, what they leave alone, and that none of them is idle.

use super::RULES;
use crate::regex::RegexSet;

/// One row for each shape of an injection.
const ATTACKS: &[&str] = &[
    // An operator as a key.
    "$ne",
    "$gt",
    "$gte",
    "$in",
    "$nin",
    "$or",
    "$nor",
    "$not",
    "$exists",
    "$regex",
    "$where",
    "$expr",
    "$elemMatch",
    "$function",
    "$func",
    "$eval",
    "$lookup",
    "$accumulator",
    // As a form field.
    "username[$ne]=x&password[$ne]=x",
    "[$ne]=1",
    "login[$regex]=a.{2}&pass[$ne]=1",
    "user[$in][]=admin&user[$in][]=root",
    "a=1&password[$gt]=",
    "user%5B%24ne%5D=x",
    "password[%24exists]=true",
    "filter[where][password][$regex]=^a",
    "https://example.com/?q[$where]=1",
    "user.password[$not][$size]=0",
    // An object with an operator, as text.
    r#"{"$gt": ""}"#,
    "{$gt: ''}",
    "{ $ne: 1 }",
    r#"{"username": {"$ne": null}, "password": {"$ne": null}}"#,
    r#"{"username":"admin","password":{"$regex":"^p"}}"#,
    r#"[{"$lookup": {"from": "users", "as": "u"}}]"#,
    "{'$or': [{}, {'a': 'a'}]}",
    "{\n  \"$where\": \"sleep(1000)\"\n}",
    r#"{"price": "$5", "user": {"$in": ["root"]}}"#,
    "{$nin: [\"\"]}}",
    r#"{"$func": "var_dump"}"#,
    // An operator behind a value.
    "true, $where: '1 == 1'",
    ", $where: '1 == 1'",
    "$where: '1 == 1'",
    "', $where: '1 == 1'",
    "', $or: [ {}, { 'a':'a",
    r#"1, "$or": [{"x": 1}]"#,
    r#"","password":"","$nor":[{"x":1}]"#,
    r#"x", "$ne": "y"#,
    // A condition of a script.
    "' || this.password.match(/^a/)//",
    "' && this.password.match(/.*/)//+%00",
    "'%20%26%26%20this.password.match(/.*/)//",
    "' || true || '",
    "admin' || 1==1//",
    "a' || 'a'=='a",
    "\" || this.role == \"admin",
    "%27||this.a",
    "') || tojson(x)==='",
    "' && Object.keys(this).length>2 && 'a'=='a",
    "x' || 1||'y",
    "|| 1==1",
    "&& 2 == 2 //",
    // A statement of a script.
    "'; return true; var x='",
    "\";return(true);var xyz='a",
    "0;return true",
    "';return 'a'=='a' && ''=='",
    "'; return this.a != 'b",
    "';sleep(5000);'",
    "1;sleep(5000)",
    "';it=new%20Date();do{pt=new%20Date();}while(pt-it<5000);",
    "'; var d=new Date(); do{}while(new Date()-d<9000);'",
    "x'; while(1);//",
    "'});while(true){}//",
    "';db.users.drop();//",
    "');db.stores.insert({a:1});//",
    "db.injection.insert({success:1});return 1;db.stores.mapReduce(function() { { emit(1,1",
    "1});return 1; db.x",
    "Gifts' && 0 && 'x",
    "'; do { } while (true); '",
    // Map and reduce.
    "mapReduce",
    "function(){emit(this.password,1)}",
    "function () { for (var k in this) { emit(k, null); } }",
    "function(){ var x = this.x; emit(x, 1); }",
    // The document of a script.
    "Object.keys(this)[1].match('^.{0}p.*')",
    "throw new Error(tojson(this))",
    "return tojsononeline(this)",
    // Cypher.
    "'}) RETURN n //",
    "x\"}) match (n) detach delete n //",
    "' CALL db.labels() YIELD label //",
    "a'}) WITH 1 as x LOAD CSV FROM 'http://example.com/' AS l RETURN l//",
    "' delete n//",
    "'}) OPTIONAL MATCH (n) RETURN n//",
    "x' SET n.admin = true //",
    // Redis.
    "x\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "k\r\nconfig set dir /var/www/html\r\n",
    "x%0d%0aSLAVEOF%20example.com%206379",
    "x\r\nflushall",
];

/// What honest people and programs say.
const LOOK_ALIKES: &[&str] = &[
    // Prose, money and tickers.
    "",
    "it costs $5, or $10 with tax",
    "$ne is not an operator of SQL",
    "use $gt or $gte for ranges",
    "what does $where do?",
    "$AND and $OR are tickers",
    "$ALL",
    "$TSLA to the moon 🚀",
    "$in my pocket",
    "US$",
    "$100",
    "I'd do this || that",
    "don't; return it",
    "The boys' or this one?",
    "sleep(8 hours) please",
    "while(true) is forever",
    "return true love",
    "MapReduce",
    "mapreduce",
    "mapReduce is deprecated since 5.0",
    "l'été && l'hiver",
    "'Tis true; while away the time",
    "say 'yes' || 'no'",
    "Ça coûte 5 $, n'est-ce pas ?",
    "これは $in です",
    // Code that people talk about.
    "db.users.find({ age: { $gt: 18 } })",
    "db.users.aggregate([{ $match: { a: 1 } }, { $lookup: { from: 'x' } }])",
    "User.find({ $or: [{ a: 1 }, { b: 2 }] })",
    "try db.users.drop()",
    "x = 1; return x;",
    "const f = () => { return true; };",
    "if (a === '' || this.b === 'c') { return true; }",
    "let s = 'a'; return s;",
    "foo('a') || this.bar('b')",
    "'use strict'; while (1) {}",
    "var s = \"\"; var d = new Date();",
    "this.$emit('change', this.value)",
    "function() { this.emit('x', 1) }",
    "function () { return this.x; }",
    "socket.emit('message', { a: 1 });",
    "Object.keys(x)[0]",
    "Object.keys(this.state)",
    "tojson(x)",
    "$data[$in] = 5; $x[$or]",
    "foreach ($rows as $in) { echo $in[$not]; }",
    "echo $a[$eq];",
    "perl -e 'print $in[$ne]'",
    "@include box($a, $size: 10px);",
    "$text: #333;",
    "$size: 10px;",
    "$mod: 2;",
    "for i in $(seq 1 9); do sleep 1; done",
    "cat a || true",
    "grep 'x' f || true",
    "test -f 'a' && echo 'b'",
    "MATCH (n:Person {name: 'Ann'}) RETURN n // all of them",
    "CREATE (a:X {b: 'c'}) RETURN a",
    "redis-cli CONFIG SET dir /tmp",
    "> config get maxmemory\n> flushall",
    "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "Vec<T> && &'a str || x",
    "{ $name: 'x' }",
    "{{ $t('hello') }}",
    "<div :a=\"$attrs\">{$x}</div>",
    "`${a} || ${b}`",
    "/^\\$(?:ne|gt)$/",
    // Keys of honest protocols, and machine text.
    "$ref",
    "$schema",
    "$id",
    "$type",
    "$set",
    "$push",
    "$unset",
    "$limit",
    "$text",
    "$oid",
    "$date",
    "$numberLong",
    "$defs",
    "$value",
    r##"{"$ref": "#/definitions/x"}"##,
    r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#,
    r#"{"$set": {"name": "x"}}"#,
    "a[b]=c&d[]=e",
    "filter[name][eq]=x",
    "sort[$key]=1",
    "https://example.com/?price=$5&q=[in]",
    "C:\\$Recycle.Bin\\x",
    "\\\\server\\c$\\in",
    "/home/user/$or/file",
    "a$in@example.com",
    "$2b$12$abcdefghijklmnopqrstuv",
    "550e8400-e29b-41d4-a716-446655440000",
    "JGd0",
    "line one\r\nline two; return",
    "1 < 2 && 3 == 3",
];

fn set(rules: &[(&str, &str)]) -> RegexSet {
    RegexSet::new(rules.iter().map(|(_, pattern)| *pattern)).unwrap()
}

/// Whether each of `texts` is found, or none of them.
#[track_caller]
fn check(texts: &[&str], found: bool) {
    let rules = set(RULES);
    let name = |text: &str| rules.first_match(text).map(|index| RULES[index].0);
    let wrong: Vec<_> = texts.iter().map(|text| (text, name(text))).filter(|row| row.1.is_some() != found).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn attacks_are_found() {
    check(ATTACKS, true);
}

#[test]
fn look_alikes_are_left_alone() {
    check(LOOK_ALIKES, false);
}

#[test]
fn every_rule_finds_what_the_others_miss() {
    for (index, (name, _)) in RULES.iter().enumerate() {
        let others = set(&[&RULES[..index], &RULES[index + 1..]].concat());
        assert!(ATTACKS.iter().any(|text| others.first_match(text).is_none()), "{name} finds nothing by itself");
    }
}
