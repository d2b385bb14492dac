//! SQL that leaves the value it was written into (CWE-89): MySQL, PostgreSQL, SQL Server, Oracle, SQLite.
//!
//! What is looked for is the way out, not SQL: a value that closes its quote, or follows a number, and goes on as a
//! condition, a statement, a subquery or a comment. So people may talk about SQL and paste whole statements: the
//! first quote of a statement opens a literal, the first quote of an injection closes one. Refused whoever sends
//! them, since nothing tells them from attacks: `UNION SELECT` with its columns, statements that reach files or
//! commands of the server, and the calls that only injections make to wait or to fail.
//!
//! Not found: a value that is a whole statement, a bare `' or 1`, quotes with hardly anything between (`'-'`),
//! keywords that the service itself puts together from pieces, and a way out behind an earlier quote of the same
//! value when all that follows it is a comparison with a column.

#[cfg(test)]
mod tests;

/// What stands between two words: white space, brackets, comments, and their percent-encodings.
macro_rules! gap {
    () => {
        r"(?:[\x00-\x20+()]|/\*!\d*|\*/|/\*[^/]*/|(?:--|#)\w*\n|%(?:0[09a-d]|2[089b]|a0))"
    };
}

/// A quote: as it is, encoded, or as the wide character that databases fold to one.
macro_rules! quote {
    () => {
        r#"(?:['"\uff07]|%(?:25)?2[27]|&#(?:x2[27]|3[49]);|&(?:apos|quot);)"#
    };
}

/// A pattern from its parts: strings, and the words below.
macro_rules! sql {
    // At least one gap.
    (GAP) => { concat!(gap!(), "+") };
    // Perhaps a gap.
    (_) => { concat!(gap!(), "*") };
    (QUOTE) => { quote!() };
    // Out of the value by its first quote that is not doubled.
    (QUOTE_OUT) => { concat!(r#"^(?:[^'"]|'')*"#, quote!(), gap!(), "*") };
    // Out of the value so, or by a number at its start.
    (OUT) => { concat!(r#"^(?:(?:[^'"]|'')*"#, quote!(), r"|\s*-?\d[\w.-]*)", gap!(), "*") };
    // The same, or a value that is nothing but what follows.
    (OUT_OR_START) => { concat!(r#"^(?:(?:[^'"]|'')*"#, quote!(), r"|\s*-?\d[\w.-]*|)", gap!(), "*") };
    // What joins two conditions.
    (AND_OR) => { concat!(r"(?:x?or\b|and\b|having\b|\|\||&&|%7c%7c|%26%26)(?:", gap!(), r"|!|not\b)*") };
    // The columns of a `SELECT`, told from prose by what stands in them.
    (COLUMNS) => { concat!(
        gap!(),
        r#"*(?:@@|\w+\(|case\s+when\b|(?:-?\d+|null\b|\*|['"][^'"]*['"])"#,
        gap!(),
        r"*(?:[,;|#'+)]|--|from\b|into\b|$)|[\w.`]+(?:\s*,\s*[\w.`]+)+[\s/*+]+from\b|top\s+\d)",
    ) };
    ($literal:literal) => { $literal };
    ($($part:tt)+) => { concat!("(?i)", $(sql!($part)),+) };
}

/// Name and pattern.
pub(super) const RULES: &[(&str, &str)] = &[
    // Columns of another table: `' UNION ALL SELECT 1,password FROM users--`.
    ("sql_injection.union_select", sql![r"union" GAP r"(?:all|distinct)?" _ r"select" COLUMNS]),
    // The same with less to tell it from prose, or a procedure, behind a value: `' UNION SELECT password FROM users`.
    (
        "sql_injection.statement_after_value",
        sql![OUT r"(?:\w*union" GAP r"(?:all" GAP r")?(?:select|values|table)\b|exec(?:ute)?\s+(?:master|sp_|xp_))"],
    ),
    // A further statement: `1; DROP TABLE users`.
    (
        "sql_injection.stacked_statement",
        sql![
            OUT_OR_START r";" _
            r"(?:(?:drop|alter|create|truncate|insert|merge|delete)" GAP
            r"(?:table|database|schema|user|login|view|function|procedure|index|role|into|from)\b"
            r"|update\s+[\w.]+\s+set\b|grant\s+\w+\s+(?:on|to)\b"
            r"|(?:exec(?:ute)?|declare|set)[\s(]+['@]|exec(?:ute)?\s+\w+[_.]|shutdown\b|begin\s+declare\b|waitfor\b"
            r"|if\s*\([^;]*\)\s*(?:select|exec|drop|waitfor)\b"
            r"|select\b[^;]*(?:\bfrom\s|\w\()|select\s+(?:@@|\d+\s*(?:,|--|$)))"
        ],
    ),
    // The rest of the statement is commented out: `admin'--`.
    (
        "sql_injection.comment_after_quote",
        sql![
            r"^(?:\w[\w.@%+-]+|\d)" QUOTE r"(?:" GAP r"|[;=<>\d])*(?:--|#|%23|/\*|%00)(?:[\s+]|%20)*[-\w]?$"
        ],
    ),
    // The rest of a list of values is commented out: `x','admin')--`.
    ("sql_injection.comment_after_values", sql![r"^[^\s'(]*'\s*,[^(]*\)[\s;]*(?:--|#)[\s+-]*$"]),
    // A condition of constants, or of a call: `' or 1=1`, `1 and ascii(substr(user(),1,1))>64`.
    (
        "sql_injection.condition",
        sql![
            OUT AND_OR
            r"(?:\d\d\d+\s*[=<>]\s*(?:\d\d|\(\s*select\b)"
            r"|0\s*=\s*0|1[\s)]*=[\s(]*[01]\b|\d+(?:[-+*]\d+)+=\d|1=2|2\s*[=>]\s*[12]\b|3=3|5=5|1\s(?:like|in)[\s(]+1"
            r"|@@|(?:exists|ascii|ord|mid|substr|substring|len|length|if|elt|make_set|count|cha?r|cast|convert|user"
            r"|database|version|unicode|hex|lower|row|(?:pg_)?sleep|benchmark)\s*\()"
        ],
    ),
    // The same, where it is all there is: `or 1=1`, `&&sleep(5)`.
    (
        "sql_injection.bare_condition",
        sql![
            r"^" _ AND_OR
            r"(?:\d\d\d+=\d\d|1\s?=\s?[01]\b|(?:pg_)?sleep\s*\(\d|benchmark\s*\(\d|select\s+\w+\([^)]*@@)"
        ],
    ),
    // A condition on data: `' and password like 'a%`, or one that is true by itself: `' or true--`.
    (
        "sql_injection.condition_after_quote",
        sql![
            QUOTE_OUT AND_OR
            r"(?:exists\s*\(|select\b[^;]*(?:\bfrom\b|\()|[\w@][\w.@]*(?:\([^)]*\))?\s*(?:[=<>]|!=|%3d|in\s*\("
            r#"|between\s+\d|is\s+(?:not\s+)?null|(?:r?like|regexp)\s*['"(])|(?:true|1)"# _ r"(?:--|/\*|%00|%23)"
            r"|(?:true|\d+)\s*(?:--|#$))"
        ],
    ),
    // A condition of quoted constants, wherever it stands: `or 'x'='x`.
    (
        "sql_injection.quoted_tautology",
        sql![
            r"(?:(?:\b|%\w\w)(?:x?or|and|having|not)|\|\||&&)" _ r"n?" QUOTE r"\w*" QUOTE _
            r"(?:[=<>]|<>|%3d|r?like|regexp)" _ r"n?" QUOTE
        ],
    ),
    // A condition of constants that nobody writes, wherever it stands: `x) or 7=7--`, `case when 1=1`.
    (
        "sql_injection.constant_condition",
        sql![r"(?:\b(?:or|and)" GAP r"(?:\d+=\d+|true)\s*(?:--|/\*|#$)|case\s+when[\s(]+\d+\s*=\s*\d)"],
    ),
    // How many columns there are: `1 order by 10--`.
    (
        "sql_injection.column_count",
        sql![OUT_OR_START r"(?:order|group)" GAP r"by" GAP r"(?:\d+" _ r"(?:,\d|--|#|%23|/\*)|\w+" GAP r"having\b)"],
    ),
    // A subquery or a call joined to the value: `'||(select password from users)||'`.
    (
        "sql_injection.joined_query",
        sql![
            OUT r"(?:[-+*/%^=<>,~]+|\|\||&&|x?or|and|r?like|regexp|in|div|procedure)" _
            r"(?:select\b(?:[^;]*(?:\bfrom\b|\()|\s+\d+\))|case\s+when|if\(|(?:pg_)?sleep\(|benchmark\()"
        ],
    ),
    // A call that only waits: `if(1=1,sleep(5),0)`.
    (
        "sql_injection.time_delay",
        sql![
            r#"(?:['"\d)]"# _ r#"waitfor\s+delay\s*['"]|^(?:pg_)?sleep\(\d+\)(?:--|#|=['"])|\bif\([^;]*,\s*sleep\(\d"#
            r"|\(" _ r"select" GAP r"(?:pg_)?sleep\(|benchmark\(\d+,(?:md5|sha|enc|rand|now)"
            r"|dbms_pipe\.receive_message\(|randomblob\(\d{6})"
        ],
    ),
    // A call that fails, with data in its message: `extractvalue(1,concat(0x7e,version()))`.
    (
        "sql_injection.error_message",
        sql![
            r"(?:(?:extractvalue|updatexml)\s*\([^)]*\)?[^)]*(?:concat|0x|select|@@)"
            r"|floor\s*\(\s*rand\s*\(\w*\)\s*\*\s*2"
            r"|procedure" GAP r"analyse|(?:exp|json_keys|polygon|multipoint|linestring)\s*\(~?\(" _ r"select"
            r"|gtid_subset\(|ctxsys\.drithsx\.sn"
            r"|utl_inaddr\.get_host_|(?:convert\(int,|cast\()[\s(]*(?:@@|select\b))"
        ],
    ),
    // Files and commands of the server: `into outfile '/var/www/x.php'`, `exec xp_cmdshell 'dir'`.
    (
        "sql_injection.file_or_command",
        sql![
            r"(?:into" GAP r#"(?:out|dump)file\s*(?:['"]|0x)|\bload_file\s*\(\s*(?:['"](?:/|\\\\|\w:)|0x|concat|char)"#
            r"|(?:exec(?:ute)?\s+|\.)(?:xp_|sp_oa)\w|copy\s[^;]*\s(?:from|to)\s+program|utl_http\.request"
            r"|pg_read_file\('|lo_import\('|select\s+load_extension\()"
        ],
    ),
    // Keywords that only one database reads: `/*!50000union*/`.
    ("sql_injection.versioned_comment", sql![r"(?i)/\*!\d*\s*(?:union|select|x?or|and|from|where)\b"]),
    // Text spelt in codes: `chr(97)||chr(98)||chr(99)`.
    ("sql_injection.character_codes", sql![r"(?i)(?:cha?r\((?:3[2-9]|[4-9]\d|1[0-2]\d)\)[\s|+,]*){3}"]),
];
