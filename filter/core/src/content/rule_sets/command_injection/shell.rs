//! Ways out of a value into a command line, and the commands behind them.

use core::cell::OnceCell;

use super::super::bytes::{
    BLANK, BREAK, DIGIT, Kinds, LETTER, QUOTE, REACH, SPACE, WORD, any, eat_any, ends, first, head, is, is_digit,
    is_letter, is_one, is_quote, is_space, is_word, last, near, of, places, skip, skip_until, spaces, split,
    split_until, starts, trim, word,
};
use super::super::kept::Kept;
use super::super::names::Name;
use super::super::reading::Reading;
use super::command::{Command, blanks, is_command, is_end, is_known, is_reader};
use super::secret::Secrets;

/// What stands before the first way out.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Value {
    /// Nothing, or one word that no list of names has: a number, an address, a file, a closed quote.
    Open,
    /// A word of letters.
    Word,
    /// Several words.
    Phrase,
}

/// What separates commands, or takes a command into a value.
const MARKS: Kinds = of(b";|&$`\\(<>") | BREAK;

pub(super) fn find(reading: &Reading<'_>, kept: Kept<'_>) -> Option<&'static str> {
    let text = reading.folded();
    let mut value = None;
    let mut covered = 0_usize;
    let mut assigned = false;
    let secrets = Secrets::new(text);
    let firsts = OnceCell::new();
    // A command without arguments is a word.
    if !reading.has(const { MARKS | BLANK | of(b"+,-") }) {
        return None;
    }
    if let Some(found) = kept.of(whole(text)) {
        return Some(found);
    }
    for (before, rest) in places(text, MARKS) {
        if before.len() < covered {
            continue;
        }
        let is_split = matches!(rest, [b'$', b'\'', b'\\', b'x' | b'1', ..]);
        if let Some(found) = kept.of(is_split.then_some("command_injection.split_word")) {
            return Some(found);
        }
        let Some((kind, behind)) = separator(rest) else { continue };
        covered = text.len().saturating_sub(behind.len());
        let prefix = || firsts.get_or_init(|| Firsts::of(text)).prefix(before);
        let found = match kind {
            Separator::Chain => {
                let value = *value.get_or_insert_with(|| match value_of(before) {
                    // A line of its own, as people share an address or a mark before a command.
                    _ if is(first(rest), const { BREAK | of(b"\\") }) && is_line_of_prose(before) => Value::Phrase,
                    value => value,
                });
                let command = Command::read(behind);
                let found = kept.of(chained(&command, behind, value));
                let named = assigned && is_variable(behind);
                assigned |= value != Value::Phrase && is_assignment(behind);
                // Behind the first way out there is a command line, and another is a part of it.
                let found = found.or_else(|| kept.of(strong(&command, &secrets)));
                found.or_else(|| named.then_some("command_injection.split_word"))
            }
            Separator::Substitution => substituted(&prefix(), behind, &secrets),
            Separator::Backtick => backtick(&prefix(), before, behind, &secrets),
        };
        let found = kept.of(found);
        if found.is_some() {
            return found;
        }
        if kind == Separator::Chain {
            value = Some(Value::Phrase);
        }
    }
    None
}

/// What is known of a text up to where one stands.
struct Prefix {
    /// Whether there is more than white space.
    is_value: bool,
    /// Whether white space follows it.
    is_spaced: bool,
    /// Whether there is a `$` or a `=`.
    is_expression: bool,
}

/// Where the marks that a prefix is recognised by first stand.
struct Firsts {
    value: usize,
    space: usize,
    expression: usize,
}

impl Firsts {
    fn of(text: &[u8]) -> Self {
        let len = |rest: &[u8]| text.len().saturating_sub(rest.len());
        let value = spaces(text);
        Self {
            value: len(value),
            space: len(skip_until(value, SPACE)),
            expression: len(skip_until(text, const { of(b"$=") })),
        }
    }

    const fn prefix(&self, before: &[u8]) -> Prefix {
        let len = before.len();
        Prefix { is_value: len > self.value, is_spaced: len > self.space, is_expression: len > self.expression }
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Separator {
    Backtick,
    Chain,
    Substitution,
}

/// A separator of commands, any number of them, and what follows.
fn separator(rest: &[u8]) -> Option<(Separator, &[u8])> {
    match rest {
        [b'$' | b'<' | b'>', b'(', b'(', ..] => None,
        [b'$' | b'<' | b'>', b'(', behind @ ..] => Some((Separator::Substitution, behind)),
        [b'`', behind @ ..] => Some((Separator::Backtick, behind)),
        [b'$' | b'<' | b'>', ..] => None,
        _ => chain(rest).map(|behind| (Separator::Chain, behind)),
    }
}

fn chain(rest: &[u8]) -> Option<&[u8]> {
    let mut behind = one_separator(rest)?;
    while let Some(next) = one_separator(skip(behind, BLANK)) {
        behind = next;
    }
    Some(behind)
}

fn one_separator(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b';' | b'|' | b'&' | b'\n' | b'\r', behind @ ..] | [b'\\', b'n' | b'r', behind @ ..] => Some(behind),
        _ => None,
    }
}

/// What a text begins with, up to a way out.
fn value_of(before: &[u8]) -> Value {
    if before.starts_with(b"```") {
        return Value::Phrase;
    }
    let value = trim(before);
    let Some((end, inside)) = value.split_last() else { return Value::Open };
    // An even number before it: this one closes what the text did not open.
    let quote = is_quote(*end) && inside.iter().filter(|byte| *byte == end).count().is_multiple_of(2);
    let word = !value.iter().any(|byte| is_space(*byte) || matches!(byte, b'$' | b'`')) || value == b"$";
    if quote && (word || !starts(value, any!["{", "[", "<", "echo", "printf"])) {
        return Value::Open;
    }
    if !word {
        return Value::Phrase;
    }
    let extension = value.iter().rposition(|byte| *byte == b'.').is_some_and(|at| at.saturating_add(1) < value.len());
    let telling = is_digit(*end)
        || matches!(end, b')' | b']' | b'}' | b'/' | b'=' | b'%' | b'@' | b'*')
        || extension
        || value.len() == 1;
    if telling { Value::Open } else { Value::Word }
}

/// Whether a line is an address, or has what no value of a command line has.
fn is_line_of_prose(before: &[u8]) -> bool {
    before.iter().any(|byte| matches!(byte, b'<' | b'>' | 128..))
        || before.windows(3).any(|window| matches!(window, b"://" | b"%3c" | b"%3e"))
}

/// A command behind the first way out.
fn chained(command: &Command<'_>, rest: &[u8], value: Value) -> Option<&'static str> {
    if value == Value::Phrase {
        return None;
    }
    // The shell itself: `; $0 -c id`.
    if command.len == 0 {
        let shell = eat_any(skip(rest, BLANK), any!["$0", "${0}", "$shell", "${shell}", "$bash", "${bash}"]);
        let runs = shell.is_some_and(|option| starts(skip(option, BLANK), any!["-c", "<<<"]));
        return runs.then_some("command_injection.split_word");
    }
    if value == Value::Open {
        if let Some(found) = call(command) {
            return Some(found);
        }
        let nested = skip(spaces(rest), const { QUOTE | of(b"(") });
        if first(nested) == b'$' && starts(nested, any!["$(", "${ifs}"]) {
            return None;
        }
    }
    is_command(command, value == Value::Word)
}

/// Code of an interpreter behind a value: `1;system('id')`.
fn call(command: &Command<'_>) -> Option<&'static str> {
    let argument = spaces(command.behind).strip_prefix(b"(")?;
    let found = match command.known {
        Name::System
        | Name::Passthru
        | Name::ShellExec
        | Name::Phpinfo
        | Name::Popen
        | Name::ProcOpen
        | Name::Phpversion
        | Name::PcntlExec => true,
        Name::Exec | Name::Eval | Name::Assert => is_quote(first(argument)) || first(argument) == b'$',
        _ => false,
    };
    found.then_some("command_injection.chained_call")
}

/// What follows a command's name that is put together from variables: `$a$b`.
fn variables(rest: &[u8]) -> &[u8] {
    if first(rest) == b'$' { skip(rest, const { WORD | of(b"${}") }) } else { rest }
}

/// `a=cat`
fn is_assignment(rest: &[u8]) -> bool {
    let (name, behind) = word(spaces(rest));
    is_letter(first(name)) && matches!(behind, [b'=', value, ..] if *value != b'=' && !is_space(*value))
}

/// Whether a command is what a variable says: `$a /tmp/x`, and not `$a = 1`.
fn is_variable(rest: &[u8]) -> bool {
    let rest = spaces(rest);
    let behind = variables(rest);
    let name = rest.get(1).copied().unwrap_or_default();
    let argument = blanks(behind);
    behind.len() < rest.len()
        && (is_letter(name) || name == b'{')
        && (behind.is_empty() || argument.len() < behind.len())
        && first(argument) != b'='
}

/// What is refused behind any way out.
fn strong(command: &Command<'_>, secrets: &Secrets<'_>) -> Option<&'static str> {
    if command.len == 0 {
        let argument = variables(command.behind);
        if starts(argument, any!["<<<"]) || starts(command.behind, any!["${path:", "${home:", "${pwd:", "${shell:"]) {
            return Some("command_injection.split_word");
        }
        let named = argument.len() < command.behind.len() && secrets.are_near(argument);
        return named.then_some("command_injection.sensitive_file");
    }
    let behind = command.behind;
    let argument = blanks(behind);
    let hidden = first(behind) == b'$' && starts(behind, any!["${ifs", "$ifs"]);
    let name = command.name();
    if hidden && name.len() >= 2 {
        return Some("command_injection.hidden_space");
    }
    if command.is_split && is_known(name) {
        return Some("command_injection.split_word");
    }
    if command.is_split && secrets.are_near(argument) {
        return Some("command_injection.sensitive_file");
    }
    match command.known {
        Name::Whoami | Name::WhoamiExe => {
            let ended = is_end(skip(behind, const { WORD | of(b"/ ") }));
            (is_end(behind) || starts(argument, any!["/"]) && ended).then_some("command_injection.reconnaissance")
        }
        Name::Uname => (starts(argument, any!["-a"]) && is_end(argument.get(2..).unwrap_or_default()))
            .then_some("command_injection.reconnaissance"),
        Name::Timeout => starts(argument, any!["/t "]).then_some("command_injection.time_delay"),
        Name::Ping => {
            let counted = starts(argument, any!["-n ", "-c ", "-i "]);
            let (count, target) = split(argument.get(3..).unwrap_or_default(), DIGIT);
            (counted && !count.is_empty() && starts(spaces(target), any!["127.", "localhost", "-"]))
                .then_some("command_injection.time_delay")
        }
        _ => (!argument.is_empty() && argument.len() < behind.len() && is_reader(name) && secrets.are_near(argument))
            .then_some("command_injection.sensitive_file"),
    }
}

/// A value that is a whole command, and reads a secret or changes the system.
fn whole(text: &[u8]) -> Option<&'static str> {
    let line = skip(trim(text), const { of(b":") });
    if line.contains(&b'\n') {
        return None;
    }
    let command = Command::read(line);
    let argument = blanks(command.behind);
    let separated = argument.len() < command.behind.len();
    match command.known {
        Name::Cat | Name::Type | Name::Head | Name::Tail | Name::More | Name::Less | Name::Tac | Name::Grep
            if separated =>
        {
            let one =
                !argument.iter().any(|byte| is_space(*byte)) || first(argument) == b'-' || command.name() == b"grep";
            (one && Secrets::new(argument).are_near(argument)).then_some("command_injection.sensitive_file")
        }
        Name::Net | Name::Net1 if separated => (is_one(word(argument).0, any!["view", "user", "localgroup"])
            && is_end(word(argument).1))
        .then_some("command_injection.reconnaissance"),
        Name::Uname | Name::Netstat | Name::Ipconfig if separated => {
            let option = skip(argument, const { WORD | of(b"-/") });
            (matches!(first(argument), b'-' | b'/') && option.is_empty()).then_some("command_injection.reconnaissance")
        }
        Name::Ls | Name::Dir if separated => {
            let path = spaces(skip(argument, if first(argument) == b'-' { const { LETTER | of(b"-") } } else { 0 }));
            let system =
                matches!(path, b"/") || starts(path, any!["/etc", "/home", "/var/www", "/root", "/tmp", "c:\\"]);
            (system && !near(path, any!["&&", "|", ";"])).then_some("command_injection.reconnaissance")
        }
        Name::Netsh if separated => {
            starts(argument, any!["firewall set", "advfirewall set"]).then_some("command_injection.windows_tool")
        }
        Name::Reg if separated => (starts(argument, any!["add", "save", "delete"])
            && near(argument, any!["hklm", "hkey_local"]))
        .then_some("command_injection.windows_tool"),
        Name::Echo if separated => {
            let code = skip(argument, const { QUOTE | SPACE });
            starts(code, any!["<?php", "<script", "<img src=http", "<%", "use socket"])
                .then_some("command_injection.script_call")
        }
        Name::Perl => {
            let code = argument.strip_prefix(b"-e")?;
            starts(skip(code, const { SPACE | QUOTE }), any!["print \"", "print '", "system"])
                .then_some("command_injection.script_call")
        }
        Name::System | Name::Passthru | Name::ShellExec | Name::Exec | Name::Eval | Name::Popen | Name::ProcOpen => {
            let code = spaces(command.behind).strip_prefix(b"(")?;
            let inner = Command::read(skip(code, QUOTE));
            (is_quote(first(code)) && (is_known(inner.name()) || is_command(&inner, false).is_some()))
                .then_some("command_injection.script_call")
        }
        // `' whoami`, out of an argument.
        Name::Whoami => (matches!(line, [b'\'' | b'"', b' ', ..]) && command.behind.is_empty())
            .then_some("command_injection.reconnaissance"),
        Name::Which if separated => {
            let (tool, behind) = word(argument);
            (behind.is_empty()
                && is_one(tool, any!["curl", "gcc", "nc", "ncat", "netcat", "nmap", "perl", "socat", "wget"]))
            .then_some("command_injection.reconnaissance")
        }
        Name::Phpinfo | Name::Phpversion => {
            starts(command.behind, any!["()"]).then_some("command_injection.script_call")
        }
        _ => None,
    }
}

/// A command whose output takes the value's place: `$(whoami)`.
fn substituted(prefix: &Prefix, rest: &[u8], secrets: &Secrets<'_>) -> Option<&'static str> {
    let command = Command::read(rest);
    let nested = first(spaces(rest)) == b'`';
    let alone = !prefix.is_spaced && !prefix.is_expression;
    if command.name() == b"sleep" && is_digit(first(blanks(command.behind))) && is_closed(rest) {
        return Some("command_injection.time_delay");
    }
    if let Some(found) = strong(&command, secrets) {
        return (found != "command_injection.reconnaissance" || alone).then_some(found);
    }
    if starts(rest, any!["rev<<<", "printf '\\", "printf \"\\", "base64 -d"]) {
        return Some("command_injection.decoded_command");
    }
    let argued = is_end(command.behind) || blanks(command.behind).len() < command.behind.len();
    let told = alone
        && (nested || is_read(rest) || is_known(command.name()) && argued || is_command(&command, false).is_some());
    (told && is_closed(rest)).then_some("command_injection.substituted_command")
}

/// What a file of which nothing is known but its name is made of.
const PATH: Kinds = WORD | of(b"/.-~");

/// `$(<secret)`
fn is_read(rest: &[u8]) -> bool {
    let Some(path) = rest.strip_prefix(b"<") else { return false };
    let (path, ending) = split(skip(path, BLANK), PATH);
    !path.is_empty() && matches!(first(ending), b')' | b'`')
}

/// Whether a substitution is closed on its line.
fn is_closed(rest: &[u8]) -> bool {
    head(rest, REACH).iter().take_while(|byte| **byte != b'\n').any(|byte| matches!(byte, b')' | b'`'))
}

/// The same in backticks, which Markdown has around code.
fn backtick(prefix: &Prefix, before: &[u8], rest: &[u8], secrets: &Secrets<'_>) -> Option<&'static str> {
    if first(rest) == b'`' || last(before) == b'`' {
        return None;
    }
    // A shell that was given the text in quotes may have them escaped.
    let plain = before.strip_suffix(b"\\").unwrap_or(before);
    let glued =
        prefix.is_value && !prefix.is_spaced || ends(plain, any!["||", "=", "|", "&", ";"]) && !ends(plain, any!["= "]);
    if prefix.is_value && !glued {
        return None;
    }
    let (inside, behind) = split_until(head(rest, REACH), const { of(b"`\n") });
    if first(behind) != b'`' || inside.is_empty() || first(inside) == b' ' {
        return None;
    }
    let command = Command::read(rest);
    let whole = !prefix.is_value && trim(skip(behind.get(1..)?, const { QUOTE | of(b";|&") })).is_empty();
    if !(whole || glued) {
        return None;
    }
    if is_read(rest) {
        return Some("command_injection.substituted_command");
    }
    let known = is_known(command.name()) || command.name() == b"expr";
    let argument = blanks(command.behind);
    let ended = starts(argument, any!["`", "\\`"]);
    let separated = argument.len() < command.behind.len();
    let weak = whole
        && !is_one(
            command.name(),
            any![
                "cat", "curl", "dir", "id", "ifconfig", "ls", "nc", "netstat", "ping", "printenv", "ps", "pwd",
                "sleep", "uname", "wget", "whoami"
            ],
        )
        && !command.has_directory;
    if command.name() == b"sleep" && is_digit(first(argument)) {
        return Some("command_injection.time_delay");
    }
    let told = match command.known {
        // `cat notes.txt` is what people write.
        Name::Cat if whole => secrets.are_near(argument),
        Name::Curl | Name::Wget | Name::Ping | Name::Nc if whole => {
            separated && inside.iter().any(|byte| is_digit(*byte)) || starts(argument, any!["http"])
        }
        Name::Uname if whole => starts(argument, any!["-a"]),
        _ => ended || separated,
    };
    (known && told && !weak).then_some("command_injection.substituted_command")
}

/// Names by their pattern: `/???/c?t /e?c/p?sswd`.
pub(super) fn wildcard(rest: &[u8]) -> Option<&'static str> {
    let name = rest.get(1..)?;
    let (directory, behind) = split(head(name, 5), const { WORD | of(b"?*") });
    let wild = directory.iter().filter(|byte| matches!(byte, b'?')).count();
    let meant = directory.len() == 3
        && ["bin", "etc", "usr"]
            .iter()
            .any(|one| one.bytes().zip(directory).all(|(letter, byte)| *byte == b'?' || *byte == letter));
    let next = behind.get(1..).unwrap_or_default();
    let goes_on = first(behind) == b'/' && (is_word(first(next)) || matches!(first(next), b'?' | b'*' | b'['));
    if meant && goes_on && (wild > 0 && (wild < 3 || !is_digit(first(next)))) {
        return Some("command_injection.wildcard_path");
    }
    // `/bin/c?t`
    if starts(name, any!["bin/"]) {
        let (program, _) = split(head(name.get(4..)?, 16), const { WORD | of(b"?*") });
        return (program.contains(&b'?') && program.len() > 1).then_some("command_injection.wildcard_path");
    }
    None
}
