//! Operators and scripts of document databases where a value is expected (CWE-943): MongoDB, Redis, Neo4j.
//!
//! An operator in place of a value is a key such as `$ne`, so it is found wherever a service takes JSON; it is
//! found as well in a form field (`user[$ne]=`), and in a text that is such an object itself. Scripts are found
//! where they leave the string they were put into, and as functions for map and reduce; as the value of `$where`
//! they are found by its key.
//!
//! The operators of updates (`$set`, `$push`), `$type`, `$text` and the like are left alone: analytics, state
//! libraries and Json.NET send them as keys of their own. A service whose protocol lets clients send query
//! operators (Feathers, Parse) cannot use this set. People may talk about operators and paste commands of the
//! shell; a message that is nothing but a query object is refused, since that is what the attack looks like.
//!
//! Not found: scripts that are a whole value of a key that only the service evaluates, and commands of a database
//! by name.

#[cfg(test)]
mod tests;

/// The operators that change what a query selects, or run code.
macro_rules! operator {
    () => {
        concat!(
            r"(?:\$|%24)(?:eq|ne|gte?|lte?|n?in|n?or|and|not|exists|regex|where|expr|mod|elemMatch|jsonSchema",
            r"|func(?:tion)?|accumulator|eval|lookup)"
        )
    };
}

/// Out of a string by its first quote.
macro_rules! quote_out {
    () => {
        r#"^[^'"]*(?:['"]|%2[27])(?:[\s)}\]]|%20)*"#
    };
}

/// Name and pattern.
pub(super) const RULES: &[(&str, &str)] = &[
    // An operator as a key: `{"password": {"$ne": ""}}`.
    ("nosql_injection.operator_key", concat!("^", operator!(), "$")),
    // An operator as a form field: `user[$ne]=x`.
    (
        "nosql_injection.operator_field",
        concat!(
            r"(?:^|[?&])[\w.]*(?:(?:\[|%5[Bb])\w*(?:\]|%5[Dd]))*(?:\[|%5[Bb])",
            operator!(),
            r"(?:\]|%5[Dd])(?:[=&\[]|%5[Bb]|$)"
        ),
    ),
    // An object with an operator, as text: `{"user": {"$gt": ""}}`.
    ("nosql_injection.operator_object", concat!(r#"^\s*[{\[](?:[\s\S]*[\s{"',])?"#, operator!(), r#"["']?\s*:"#)),
    // An operator behind a value, in an object that the value did not open: `1, $where: '1 == 1'`.
    ("nosql_injection.operator_after_value", concat!(r#"^(?:[^{]*,)?\s*["']?"#, operator!(), r#"["']?\s*:\s*["'{\[]"#)),
    // A condition of a script behind a quote: `' || this.password.match(/^a/)//`.
    (
        "nosql_injection.script_condition",
        concat!(
            quote_out!(),
            r"(?:\|\||&&|%7[Cc]%7[Cc]|%26%26)(?:[\s(!]|%20)*",
            r#"(?:this\b|true\b|\d+\s*(?:[=!]==?\s*\d|\|\||&&)|['"]\w*['"]\s*[=!]==?|Object\.|db\.|tojson\()"#
        ),
    ),
    // The same of constants, with nothing before it: `|| 1==1`.
    ("nosql_injection.bare_condition", r"^\s*(?:\|\||&&)\s*\d+\s*==\s*\d"),
    // A statement of a script behind a quote or a word: `'; return true; var x='`, `1;sleep(5000)`.
    (
        "nosql_injection.script_statement",
        concat!(
            "(?:",
            quote_out!(),
            r#"|^\w*);\s*(?:return[\s(]*(?:true\b|this\.|['"]\w*['"]\s*==)"#,
            r"|(?:do\s*\{[^}]*\}\s*)?while\s*\(\s*(?:1|true)|sleep\(\d",
            r"|(?:var\s+)?\w+=new(?:\s|%20)Date\(|db\.\w+\.\w+\()"
        ),
    ),
    // Commands behind the end of a script: `1});return 1;db.stores.mapReduce(`.
    ("nosql_injection.command_after_return", r";\s*return\s+\w+\s*;\s*db\."),
    // The command and the function of a map and reduce.
    ("nosql_injection.map_reduce", r"^(?:mapReduce$|\s*function\s*\w*\s*\(\s*\)\s*\{(?:[\s\S]*[\s;{}])?emit\()"),
    // The names and the text of the document that a script runs on: `Object.keys(this)[0].match('^p')`.
    ("nosql_injection.script_of_document", r"\bObject\.keys\(this\)\s*\[|\btojson(?:oneline)?\(this\b"),
    // The way out of a property in Cypher: `'}) RETURN n //`.
    (
        "nosql_injection.cypher_clause",
        concat!(
            "(?i)",
            quote_out!(),
            r"(?:or\s+\w+=\w+\s+)?(?:return\s+\w|set\s+\w+\.\w+\s*=",
            r"|(?:optional\s+)?match\s*\(|(?:detach\s+)?delete\s+\w|call\s+\w+\.\w|load\s+csv\b|with\s+\d).*//"
        ),
    ),
    // Further commands in the protocol of Redis: `x\r\n*1\r\n$8\r\nFLUSHALL`.
    (
        "nosql_injection.redis_command",
        r"(?i)(?:\r\n|%0d%0a)(?:\*\d+(?:\r\n|%0d%0a)\$\d|(?:flushall|slaveof|replicaof|config(?:\s|%20)set)\b)",
    ),
];
