//! What the rules find, what they leave alone, and that none of them is idle.

use super::RULES;
use crate::regex::RegexSet;

/// One row for each shape of a pollution.
const ATTACKS: &[&str] = &[
    // The prototype as a key.
    "__proto__",
    "%5f%5fproto%5f%5f",
    "__proto%5F%5F",
    r"\u005f\u005fproto\u005f\u005f",
    "__pro__proto__to__",
    // As a step of a path.
    "__proto__.isAdmin",
    "__proto__[isAdmin]",
    "__proto__.toString",
    "user.__proto__.role",
    "a.b[0].__proto__.c",
    "a[__proto__][polluted]",
    "x['__proto__']['polluted']",
    r#"["__proto__"]["polluted"]"#,
    "[].__proto__.x",
    "settings/__proto__/debug",
    "/__proto__/isAdmin",
    "/a/b/0/__proto__/x",
    "__proto__.__proto__.x",
    "list[0][__proto__][length]",
    "__proto__%5BisAdmin%5D",
    "__proto__%2EisAdmin",
    "user%5b__proto__%5d%5brole%5d",
    "__pro__proto__to__[x]",
    "$.__proto__.x",
    // As a form field, and in addresses.
    "__proto__[isAdmin]=true",
    "__proto__.isAdmin=1",
    "a=1&__proto__[x]=2",
    "https://example.com/?__proto__[innerHTML]=<img/src/onerror=alert(1)>",
    "https://example.com/#__proto__[src]=data:,alert(1)",
    "?__proto__[0]=x&b",
    "filter[__proto__][x]=y",
    "/search?q=1&__proto__.sequence=alert(1)",
    "#a.__proto__.b=c",
    "__proto__[template][nodes]=1",
    "__proto__[shell]=node",
    "__proto__[NODE_OPTIONS]=x",
    "__proto__[outputFunctionName]=x;process.exit()",
    "?x[__proto__][transport_url]=//example.com",
    // As the last step.
    "user.__proto__",
    "config[0].__proto__",
    "?x.__proto__=1",
    "a/__proto__",
    // In an object as text.
    r#"{"__proto__":{"isAdmin":true}}"#,
    r#"{"a":1,"__proto__":[]}"#,
    r#"{"a": {"b": {"__proto__": {"c": 1}}}}"#,
    r#"[{"__proto__": {"x": 1}}]"#,
    "{'__proto__': {'x': 1}}",
    "{__proto__:{x:1}}",
    r#"{"__proto__": "x"}"#,
    r#"{"\u005f\u005fproto\u005f\u005f": {"x": 1}}"#,
    // The other way to it.
    "constructor",
    "constructor.prototype",
    "constructor.prototype.isAdmin",
    "constructor[prototype][isAdmin]=1",
    "user.constructor.prototype.role",
    "x['constructor']['prototype']['y']",
    "/constructor/prototype/x",
    "?constructor[prototype][srcdoc]=<script>",
    "a=1&constructor.prototype.x=2",
    "constructor%5Bprototype%5D%5Bx%5D=1",
    "constconstructorructor[prototype][x]",
    "constconstructorructor",
    "constructor.protoprototypetype.x",
    r#"{"constructor":{"prototype":{"isAdmin":true}}}"#,
    r#"{"a":{"constructor": {"prototype": {"x": 1}}}}"#,
    "{constructor: {prototype: {x: 1}}}",
    // Accessors.
    "__defineGetter__",
    "__lookupSetter__",
    // The constructor of functions.
    "constructor.constructor('return process')()",
    "x.constructor.constructor(\"return this\")()",
    "[]['filter']['constructor']('alert(1)')()",
    "''['constructor']['constructor'](`return 1`)()",
    "{{toString.constructor('return globalThis')()}}",
    "this.constructor.constructor( 'throw 1' )()",
    // What makes it run.
    "--require /proc/self/environ",
    "--import=data:text/javascript,1",
    "--inspect --loader=data:text/javascript,x",
    // The same in Python.
    "__globals__",
    "__class__.__init__.__globals__.app.secret",
    "user[__init__][__globals__][SECRET_KEY]",
    "name={x.__init__.__globals__}",
    "/__init__/__globals__/os",
];

/// What honest people and programs say.
const LOOK_ALIKES: &[&str] = &[
    // Prose.
    "",
    "What does __proto__ do in JavaScript?",
    "never use `__proto__`, use Object.getPrototypeOf",
    "`__proto__`",
    "**__proto__** is deprecated",
    "the constructor calls the prototype",
    "Constructor",
    "Constructors' championship: who wins?",
    "constructors",
    "prototype",
    "Our first prototype is done, the constructor was late",
    "proto",
    "_proto_",
    "__init__",
    "__class__",
    "__name__ == '__main__'",
    "protocol",
    "gRPC __protobuf__",
    "the __proto__ of an array is Array.prototype",
    "prototype pollution is CWE-1321",
    "is it constructor or Constructor?",
    "le prototype du constructeur",
    "прототип и constructor класса",
    "プロトタイプ constructor",
    "our prototype[1] = ready 🎉",
    // Code that people talk about.
    "obj.__proto__ === Foo.prototype",
    "obj.__proto__===Foo.prototype",
    "Object.getPrototypeOf(a) === a.__proto__",
    "console.log(a.__proto__.b)",
    "a.__proto__.b is undefined",
    "const o = { __proto__: null, a: 1 };",
    "{ __proto__: null }",
    "Foo.__proto__ = Bar",
    "Array.prototype.flat = function () {};",
    "Object.prototype.hasOwnProperty.call(o, 'constructor')",
    "this.constructor.name",
    "this.constructor.prototype.method.call(this)",
    "obj.constructor === Object",
    "class A { constructor(props) { super(props); } }",
    "constructor(private http: HttpClient) {}",
    "constructor() { this.a = 1 }",
    "new Foo('return of the king')",
    "Foo.prototype.constructor = Foo;",
    "JSON.parse('{\"__proto__\": {\"a\": 1}}')",
    "if (key === '__proto__' || key === 'constructor') continue;",
    "const BLOCKED = ['__proto__', 'constructor', 'prototype'];",
    "x => x.constructor.name",
    "Vec<T>::new() -> __proto",
    "def __init__(self): self.__class__.__name__",
    "self.__class__.__bases__[0]",
    "type(x).__mro__",
    "from __future__ import annotations",
    "print(__builtins__)",
    "f.__globals__ is a dict",
    "class Foo: __slots__ = ()",
    "node --require ts-node/register app.ts",
    "node --import tsx --inspect app.ts",
    "cat /proc/self/environ",
    "git log --oneline",
    "/^__[a-z]+__$/",
    "[a-z]*__proto",
    // Keys and machine text.
    r#"{"constructor":"Ferrari","points":44}"#,
    r#"{"prototype":{"constructor":"x"}}"#,
    r#"{"type":"prototype","id":1}"#,
    "__typename",
    "__schema",
    "__v",
    "__type__",
    "__dirname",
    "$ref",
    "$id",
    "_id",
    "user.profile.name",
    "a[b][c]=d&e[f]=g",
    "/api/v1/prototypes/12",
    "proto/user.proto",
    "https://developer.mozilla.org/docs/Web/JavaScript/Reference/Global_Objects/Object/proto",
    "https://example.com/prototype?constructor=1#x",
    "https://example.com/wiki/Object/__proto__",
    "constructor=Ferrari&season=2024",
    r"C:\src\__init__.py",
    "src/__tests__/a.test.js",
    "src/__init__.py",
    "jane_proto__@example.com",
    "550e8400-e29b-41d4-a716-446655440000",
    "X19wcm90b19f",
    "2 * 3 = 6",
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
