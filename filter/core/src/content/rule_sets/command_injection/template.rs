//! Templates and expression languages that reach for the runtime, look-ups of Log4j, includes of servers.

use super::super::bytes::{
    DIGIT, QUOTE, SPACE, WORD, any, eat_any, ends, first, head, is_one, is_space, near, of, skip, spaces, split,
    split_until, starts, word,
};
use super::super::names::Name;
use super::super::reading::Word;

/// What a word says of a template; `is_open`: one has begun on its line.
pub(super) fn receive(word: Word<'_>, is_open: bool) -> Option<&'static str> {
    let found = if is_open { object(word) } else { None };
    found.or_else(|| at_word(word))
}

/// Where a template or an expression opens.
pub(super) fn opening(before: &[u8], rest: &[u8]) -> Option<&'static str> {
    if first(rest) == b'<' {
        return erb(rest);
    }
    let probe = eat_any(rest, any!["{{", "${{", "${", "#{", "[[", "{=", "(", "{%", "{"])?;
    match first(rest) {
        b'(' => (ends(before, any!["@"])).then(|| multiplied(probe)).flatten(),
        b'{' if starts(rest, any!["{%", "{{"]) => {
            if ends(before, any!["{"]) {
                return None;
            }
            multiplied(skip(probe, const { of(b"{") }))
        }
        b'{' if ends(before, any!["*", "@", "~"]) => multiplied(probe),
        b'{' => expression(before, probe).or_else(|| php(before, probe)),
        b'$' | b'#' => multiplied(probe)
            .or_else(|| expression(before, probe))
            .or_else(|| lookup(rest))
            .or_else(|| ruby(probe))
            .or_else(|| php(before, probe)),
        _ => multiplied(probe),
    }
}

/// A template that only shows it is one: `{{7*7}}`.
fn multiplied(rest: &[u8]) -> Option<&'static str> {
    let start = spaces(rest);
    let (left, behind) = split(start, DIGIT);
    let probe = if left.is_empty() {
        let letter = start.strip_prefix(b"'").or_else(|| start.strip_prefix(b"\""))?;
        skip(letter, WORD).get(1..)?.strip_prefix(b".touppercase()")?
    } else {
        let behind = spaces(behind);
        let sign = first(behind);
        let right = skip(spaces(behind.get(1..)?), QUOTE);
        let (right, ending) = split(right, DIGIT);
        let told = matches!(sign, b'*' | b'+' | b'-') && !right.is_empty() || sign == b'/' && right == b"0";
        if !told {
            return None;
        }
        skip(ending, QUOTE)
    };
    starts(spaces(probe), any!["}", "%>", "]]", ")"]).then_some("command_injection.template_probe")
}

/// How much may stand before an expression that is all of a text: `{{ config }}`.
const WHOLE_LEN_MAX: usize = 4;

/// The inside of a template of Jinja or Twig that reaches for the runtime.
fn object(word_at: Word<'_>) -> Option<&'static str> {
    let Word { before, text: name, after, name: known } = word_at;
    let bare = skip(name, const { of(b"_") });
    let bare = bare.strip_suffix(b"__").unwrap_or(bare);
    let dunder = (name.len() > bare.len() || ends(before, any!["__ "]))
        && is_one(
            bare,
            any![
                "class",
                "mro",
                "base",
                "bases",
                "subclasses",
                "globals",
                "builtins",
                "init",
                "import",
                "getattribute",
                "getitem",
                "dict",
            ],
        );
    let argument = skip(after, const { SPACE | QUOTE | of(b"(") });
    let call = match known {
        Name::Attr => {
            let of = before.trim_ascii_end().strip_suffix(b"|").unwrap_or_default().trim_ascii_end();
            starts(argument, any!["_", "\\x", "request"])
                || ends(of, any!["request", "config", "self", "joiner", "namespace", "url_for"])
        }
        Name::Request => {
            let member = skip(after, const { of(b".['\"") });
            member.len() < after.len() && starts(member, any!["application", "environ", "__"])
        }
        Name::SecretKey => ends(before, any![".", "['", "[\""]),
        Name::Popen | Name::System => first(after) == b'(' && ends(before, any!["."]),
        Name::UnderSelf => starts(after, any![".env"]),
        Name::Registerundefinedfiltercallback | Name::GetUserFile | Name::Lipsum | Name::Cycler => true,
        Name::Config => {
            let whole = before.len() <= WHOLE_LEN_MAX && starts(spaces(after), any!["}}"]);
            starts(after, any![".items", ".from_"]) || whole && ends(before.trim_ascii_end(), any!["{{"])
        }
        Name::Map | Name::Filter | Name::Sort | Name::Reduce => {
            is_one(word(argument).0, any!["system", "exec", "passthru", "shell_exec"]) && first(after) == b'('
        }
        _ => false,
    };
    (dunder || call).then_some("command_injection.template_object")
}

/// Ruby in a string, or a module of Node.
fn ruby(inner: &[u8]) -> Option<&'static str> {
    let code = spaces(inner);
    starts(code, any!["`", "system(", "%x", "io.popen", "global.process", "require(", "process.", "exec("])
        .then_some("command_injection.script_call")
}

/// `{${phpinfo()}}`, `${@print(md5(1))}`, `{php}`.
fn php(before: &[u8], inner: &[u8]) -> Option<&'static str> {
    let marks = split(head(inner, 8), const { SPACE | of(b"${@") }).0;
    let code = inner.get(marks.len()..).unwrap_or_default();
    let (name, behind) = word(code);
    let print = code.len() < inner.len()
        && is_one(name, any!["print", "phpinfo", "sleep", "system", "passthru", "exec", "eval"])
        && first(behind) == b'(';
    let nested = ends(before, any!["{", "{$"])
        && is_one(name, any!["phpinfo", "sleep", "print", "system", "eval"])
        && first(behind) == b'(';
    let smarty = name == b"php" && first(behind) == b'}' && code.len() == inner.len();
    (print || nested || smarty).then_some("command_injection.script_call")
}

/// The inside of an expression of Java.
fn expression(before: &[u8], inner: &[u8]) -> Option<&'static str> {
    let opened = ends(before, any!["%", "*", "@", "$", "#"]) || first(inner) == b'(' || before.is_empty();
    let code = spaces(inner);
    let found = starts(code, any!["t(java", "new java", "(#rt", "(#a=", "(#_", "(#c", "''.getclass", "\"\".getclass"]);
    (opened && found).then_some("command_injection.java_expression")
}

/// Look-ups of Log4j, plain and nested: `${jndi:ldap://evil.example/a}`.
fn lookup(rest: &[u8]) -> Option<&'static str> {
    let inner = spaces(rest.strip_prefix(b"${")?);
    let (name, behind) = word(inner);
    let found = match Name::of(name) {
        Name::Jndi => first(spaces(behind)) == b':',
        Name::Lower | Name::Upper => first(behind) == b':' && !starts(behind, any![":}"]),
        Name::Env
        | Name::Sys
        | Name::Main
        | Name::Date
        | Name::Ctx
        | Name::K8s
        | Name::Map
        | Name::Base64
        | Name::Bundle
        | Name::Java => {
            let value = split_until(head(behind, 64), const { of(b"}") }).0;
            let default =
                value.windows(2).rposition(|window| window == b":-").and_then(|at| value.get(at.saturating_add(2)..));
            first(behind) == b':'
                && (default.is_some_and(|letters| letters.len() == 1) || name == b"date" && starts(behind, any![":'"]))
        }
        Name::J | Name::Empty => {
            let defaults = split_until(head(behind, 24), const { of(b"{}") }).0;
            let letter = defaults
                .windows(3)
                .rposition(|window| window == b"::-")
                .or_else(|| defaults.starts_with(b"::-").then_some(0));
            letter.is_some()
                || starts(behind, any!["${lower", "${upper", "${::-", "${env:", "${sys:", "${date:"])
                    && near(behind, any![":"])
        }
        _ => false,
    };
    found.then_some("command_injection.log4j_lookup")
}

fn erb(rest: &[u8]) -> Option<&'static str> {
    let code = eat_any(rest, any!["<%=", "<%"])?;
    if let Some(found) = multiplied(code) {
        return Some(found);
    }
    starts(spaces(code), any!["system", "exec", "`", "io.popen", "file.open", "open(", "%x", "require"])
        .then_some("command_injection.script_call")
}

fn at_word(word: Word<'_>) -> Option<&'static str> {
    let Word { before, after, name, .. } = word;
    let java = Some("command_injection.java_expression");
    match name {
        // Includes of servers: `<!--#exec cmd="id" -->`.
        Name::Exec | Name::Include | Name::Config | Name::Echo | Name::Printenv if is_space(first(after)) => {
            ends(before, any!["<!--#", "<!-- #"]).then_some("command_injection.script_call")
        }
        Name::DunderSubclasses => (ends(before, any!["."])
            && starts(spaces(after).strip_prefix(b"()").map(spaces)?, any!["["]))
        .then_some("command_injection.template_object"),
        Name::DunderGlobals => {
            (ends(before, any!["."]) && first(after) == b'[').then_some("command_injection.template_object")
        }
        Name::DunderMro => (ends(before, any!["."]) && first(after) == b'[' && near(after, any!["]."]))
            .then_some("command_injection.template_object"),
        Name::DunderClass | Name::OpenMro | Name::DunderBuiltins | Name::DunderBase => {
            let indexed = matches!(before, [.., b'[', b'\'' | b'"']) && matches!(after, [b'\'' | b'"', b']', b'[', ..]);
            indexed.then_some("command_injection.template_object")
        }
        Name::UnderMemberaccess | Name::UnderMemberacces => java,
        Name::Java => {
            let class = starts(after, any![".lang."]);
            let typed = class
                && ends(before, any!["t(", "@", "new ", "forname(\"", "forname('"])
                && (!ends(before, any!["new "]) || starts(after, any![".lang.processbuilder"]));
            typed.then_some("command_injection.java_expression")
        }
        Name::Freemarker => starts(after, any![".template.utility"]).then_some("command_injection.java_expression"),
        Name::Org => ends(before, any!["t(", "${t("]).then_some("command_injection.java_expression"),
        Name::Getclass => {
            let call = spaces(after).strip_prefix(b"()")?;
            starts(call, any![".forname("]).then_some("command_injection.java_expression")
        }
        Name::Getruntime => {
            (ends(before, any![")."]) && starts(after, any!["().exec("])).then_some("command_injection.java_expression")
        }
        Name::Scriptenginemanager => ends(before, any!["javax.script."]).then_some("command_injection.java_expression"),
        _ => None,
    }
}
