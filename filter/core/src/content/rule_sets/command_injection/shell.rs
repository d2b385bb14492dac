//! Ways out of a value into a command line, and the commands behind them.

use super::super::bytes::{
    eat_any, ends, first, head, is_digit, is_letter, is_one, is_quote, is_space, is_word, last, places, skip, spaces,
    split, starts, trim, word,
};

/// The longest name of a command that is put together from pieces.
const NAME_LEN_MAX: usize = 24;

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

pub(super) fn find(text: &[u8]) -> Option<&'static str> {
    let mut value = None;
    let mut covered = 0_usize;
    if let Some(found) = whole(text) {
        return Some(found);
    }
    for (before, rest) in places(text, |byte| {
        matches!(byte, b';' | b'|' | b'&' | b'\n' | b'\r' | b'$' | b'`' | b'\\' | b'(' | b'<' | b'>')
    }) {
        if before.len() < covered {
            continue;
        }
        if starts(rest, &["$'\\x", "$'\\1"]) {
            return Some("command_injection.split_word");
        }
        let Some((kind, behind)) = separator(rest) else { continue };
        covered = text.len().saturating_sub(behind.len());
        let found = match kind {
            Separator::Chain => {
                let value = *value.get_or_insert_with(|| value_of(before));
                let found = chained(behind, value);
                // Behind the first way out there is a command line, and another is a part of it.
                found.or_else(|| strong(behind))
            }
            Separator::Substitution => substituted(before, behind),
            Separator::Backtick => backtick(text, before, behind),
        };
        if found.is_some() {
            return found;
        }
        if kind == Separator::Chain {
            value = Some(Value::Phrase);
        }
    }
    wildcards(text)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Separator {
    Backtick,
    Chain,
    Substitution,
}

/// A separator of commands, any number of them, and what follows.
fn separator(rest: &[u8]) -> Option<(Separator, &[u8])> {
    if !matches!(first(rest), b'$' | b'<' | b'>' | b'`') {
        return chain(rest).map(|behind| (Separator::Chain, behind));
    }
    if let Some(behind) = eat_any(rest, &["$(", "<(", ">("]) {
        return if first(behind) == b'(' { None } else { Some((Separator::Substitution, behind)) };
    }
    if first(rest) == b'`' {
        return Some((Separator::Backtick, rest.get(1..)?));
    }
    None
}

fn chain(rest: &[u8]) -> Option<&[u8]> {
    let mut behind = one_separator(rest)?;
    while let Some(next) = one_separator(spaces(behind)) {
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
    let quote = is_quote(*end) && inside.iter().filter(|byte| *byte == end).count().is_multiple_of(2);
    let word = !value.iter().any(|byte| is_space(*byte) || matches!(byte, b'$' | b'`')) || value == b"$";
    if quote && (word || !starts(value, &["{", "[", "<", "echo", "printf"])) {
        return Value::Open;
    }
    if !word {
        return Value::Phrase;
    }
    let extension = value.iter().rposition(|byte| *byte == b'.').is_some_and(|at| at.saturating_add(1) < value.len());
    let telling = is_digit(*end)
        || matches!(end, b')' | b']' | b'}' | b'/' | b'=' | b'%' | b'@' | b'*' | b'\'' | b'"')
        || extension
        || value.len() == 1;
    if telling { Value::Open } else { Value::Word }
}

/// A command's name without its directory, quotes and other marks, and what follows it.
struct Command<'a> {
    name: [u8; NAME_LEN_MAX],
    len: usize,
    /// Whether marks stand within the name.
    is_split: bool,
    /// Whether it is named by its path.
    has_directory: bool,
    behind: &'a [u8],
}

impl<'a> Command<'a> {
    fn name(&self) -> &[u8] {
        self.name.get(..self.len).unwrap_or_default()
    }

    fn read(rest: &'a [u8]) -> Self {
        let mut rest = rest;
        loop {
            let next = skip(rest, |byte| {
                is_space(byte)
                    || matches!(byte, b'+' | b'(' | b'{' | b'!' | b'"' | b'\'' | b'@') && !is_quoted_name(rest)
            });
            let next = eat_any(next, &["${ifs}", "$ifs$9", "$ifs", "sudo ", "nohup ", "exec "]).unwrap_or(next);
            if next.len() == rest.len() {
                break;
            }
            rest = next;
        }
        let path = skip(rest, |byte| is_word(byte) || matches!(byte, b'/' | b'-' | b'.'));
        let directory = rest.get(..rest.len().saturating_sub(path.len())).unwrap_or_default();
        let at = directory.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at.saturating_add(1));
        let has_directory = at > 0 && matches!(first(rest), b'/' | b'u');
        let mut command = Self {
            name: [0; NAME_LEN_MAX],
            len: 0,
            is_split: false,
            has_directory,
            behind: rest.get(if has_directory { at } else { 0 }..).unwrap_or_default(),
        };
        command.read_name();
        command
    }

    fn read_name(&mut self) {
        let mut marked = false;
        while let Some((byte, after)) = self.behind.split_first() {
            // A line break that is spelt.
            if matches!(self.behind, [b'\\', b'n' | b'r', rest @ ..] if !is_word(first(rest))) {
                return;
            }
            let skipped = eat_any(self.behind, &["''", "\"\"", "``", "$@", "$*", "${x}", "$1", "'", "\"", "^", "\\"]);
            if is_word(*byte) || *byte == b'.' && is_letter(first(after)) && self.len > 0 {
                self.is_split |= marked && self.len > 0;
                marked = false;
                let Some(place) = self.name.get_mut(self.len) else { return };
                *place = *byte;
                self.len = self.len.saturating_add(1);
                self.behind = after;
            } else if let Some(after) = skipped {
                // A mark at the end belongs to what follows.
                if !is_word(first(after)) && !matches!(first(after), b'\'' | b'"' | b'^' | b'\\' | b'$') {
                    return;
                }
                marked = true;
                self.behind = after;
            } else {
                return;
            }
        }
    }
}

/// Whether quotes at the start enclose letters of a name that goes on: `'l's`.
fn is_quoted_name(rest: &[u8]) -> bool {
    let Some((quote, behind)) = rest.split_first() else { return false };
    let (piece, after) = word(behind);
    is_quote(*quote)
        && !piece.is_empty()
        && piece.len() <= 3
        && after.first() == Some(quote)
        && is_word(first(after.get(1..).unwrap_or_default()))
}

/// White space, and what shells take for it.
fn blanks(rest: &[u8]) -> &[u8] {
    let mut rest = rest;
    loop {
        let next = skip(rest, |byte| is_space(byte) || matches!(byte, b'+' | b'<' | b','));
        let next = eat_any(next, &["${ifs}", "$ifs$9", "$ifs"]).unwrap_or(next);
        if next.len() == rest.len() {
            return rest;
        }
        rest = next;
    }
}

/// Whether a command line ends here, or the next command begins.
fn is_end(rest: &[u8]) -> bool {
    let rest = skip(rest, |byte| is_space(byte) || byte == b'+');
    match rest {
        []
        | [b';' | b'&' | b'#' | b')' | b'\'' | b'"' | b'`' | b'>' | b'\n' | b'}', ..]
        | [b'/', b'/', ..]
        | [b'\\', b'n' | b'r' | b'"', ..]
        | [b'|', b'|', ..] => true,
        [b'|', behind @ ..] => {
            let behind = skip(behind, is_quote);
            behind.is_empty() || starts(behind, &["base64", "curl", "nc ", "xxd", "sh", "bash"])
        }
        _ => false,
    }
}

/// Options and paths, as a command has them.
fn arguments(rest: &[u8]) -> &[u8] {
    let mut rest = rest;
    loop {
        let argument = blanks(rest);
        let is_argument = matches!(first(argument), b'-' | b'/' | b'~' | b'.' | b'*' | b'%')
            || argument.get(1) == Some(&b':') && is_letter(first(argument))
            || starts(argument, &["aux", "a+x"]);
        if !is_argument
            || argument.len() == rest.len() && !matches!(first(argument), b'/' | b'-')
            || starts(argument, &["//"])
        {
            return rest;
        }
        let behind = skip(argument, |byte| {
            is_word(byte) || matches!(byte, b'-' | b'/' | b'~' | b'.' | b'*' | b':' | b'\\' | b'%' | b'?' | b'=')
        });
        if behind.len() == argument.len() {
            return rest;
        }
        rest = behind;
    }
}

/// Commands that say something by themselves, and such as need arguments to be told from words.
fn is_command(command: &Command<'_>, weak: bool) -> Option<&'static str> {
    let rest = command.behind;
    let argument = blanks(rest);
    let separated = argument.len() < rest.len();
    let chained = Some("command_injection.chained_command");
    match command.name() {
        b"id" | b"pwd" | b"ls" | b"dir" | b"ps" | b"env" | b"printenv" | b"set" | b"hostname" | b"ifconfig"
        | b"ipconfig" | b"netstat" | b"systeminfo" | b"tasklist" | b"ver" | b"uname" | b"whoami" | b"sysinfo"
        | b"arp" | b"route" | b"w" | b"who" | b"groups" | b"df" | b"mount" | b"history" | b"lsb_release" | b"nid"
        | b"reboot" | b"poweroff" | b"getmac" | b"uptime" => {
            let behind = arguments(rest);
            let given = behind.len() < rest.len();
            let words = given || command.has_directory || !weak;
            let file = starts(argument, &["c:\\", "/", "-", "%"]) && separated;
            if words && (is_end(behind) || file && given) { chained } else { None }
        }
        b"cat" | b"head" | b"tail" | b"more" | b"less" | b"tac" | b"nl" | b"od" | b"xxd" | b"base64" | b"strings"
        | b"grep" | b"type" | b"rm" | b"cp" | b"mv" | b"chmod" | b"touch" | b"del" | b"find" | b"awk" | b"sed"
        | b"sort" | b"dd" | b"tar" | b"vi" | b"chown" | b"copy" | b"rev" | b"cut" | b"tee" | b"egrep" | b"fgrep"
        | b"mkdir" | b"ln" | b"kill" => {
            let path = matches!(
                first(argument),
                b'-' | b'/' | b'~' | b'.' | b'*' | b'$' | b'"' | b'\'' | b'{' | b'?' | b'\\' | b'%'
            ) || argument.get(1) == Some(&b':') && is_letter(first(argument));
            let file = split(argument, is_word).1.starts_with(b".") && !weak;
            if separated && (path || file) { chained } else { None }
        }
        b"echo" | b"start" | b"printf" | b"print" | b"expr" | b"nslookup" | b"which" | b"netsh" | b"schtasks"
        | b"sc" | b"certutil" | b"wmic" | b"reg" => {
            let word =
                is_word(first(argument)) || matches!(first(argument), b'$' | b'\'' | b'"' | b'-' | b'/' | b'<' | b'`');
            let tool = is_one(command.name(), &["nslookup", "netsh", "schtasks", "certutil"]);
            if (separated || first(rest) == b'\'') && word && (!weak || tool) { chained } else { None }
        }
        b"net" | b"net1" => {
            if is_one(word(argument).0, &["user", "view", "group", "localgroup", "use", "start", "share", "accounts"])
                && (!weak || is_end(word(argument).1))
            {
                chained
            } else {
                None
            }
        }
        b"curl" | b"wget" | b"lynx" | b"ftp" | b"tftp" | b"dig" | b"host" | b"ping" | b"ping6" | b"ncat" | b"nc"
        | b"netcat" | b"telnet" | b"ssh" | b"scp" | b"fetch" | b"traceroute" | b"tracert" | b"curl.exe"
        | b"ping.exe" | b"wget.exe" | b"nc.exe" | b"socat" => {
            let (target, _) = split(head(argument, 64), |byte| !is_space(byte));
            let address = target.iter().skip(1).any(|byte| matches!(byte, b'.' | b':' | b'$' | b'`'))
                && !ends(target, &[".", ",", ":"])
                || is_digit(first(target));
            if separated
                && (starts(argument, &["-"]) && target.len() > 1
                    || address && (!weak || starts(target, &["http", "$", "`"]) || is_digit(first(target))))
            {
                chained
            } else {
                None
            }
        }
        b"bash" | b"sh" | b"zsh" | b"dash" | b"ksh" | b"csh" | b"ash" => {
            if separated && matches!(first(argument), b'-' | b'/' | b'<') || !weak && command.has_directory {
                chained
            } else {
                None
            }
        }
        b"python" | b"python2" | b"python3" | b"perl" | b"ruby" | b"php" | b"node" | b"powershell" | b"pwsh"
        | b"cmd" | b"cmd.exe" | b"powershell.exe" | b"python.exe" | b"lua" => {
            if separated && matches!(first(argument), b'-' | b'/') { chained } else { None }
        }
        b"sleep" | b"usleep" => {
            let (count, behind) = split(argument, |byte| is_digit(byte) || byte == b'.');
            let behind = skip(behind, |byte| matches!(byte, b's' | b'm' | b'h'));
            if separated && !count.is_empty() && is_end(behind) { Some("command_injection.time_delay") } else { None }
        }
        _ => None,
    }
}

/// A command behind the first way out.
fn chained(rest: &[u8], value: Value) -> Option<&'static str> {
    if value == Value::Phrase {
        return None;
    }
    let command = Command::read(rest);
    if value == Value::Open {
        if let Some(found) = call(&command) {
            return Some(found);
        }
        let nested = skip(spaces(rest), |byte| is_quote(byte) || byte == b'(');
        if first(nested) == b'$' && starts(nested, &["$(", "${ifs}"]) {
            return None;
        }
    }
    is_command(&command, value == Value::Word)
}

/// Code of an interpreter behind a value: `1;system('id')`.
fn call(command: &Command<'_>) -> Option<&'static str> {
    let argument = spaces(command.behind).strip_prefix(b"(")?;
    let found = match command.name() {
        b"system" | b"passthru" | b"shell_exec" | b"phpinfo" | b"popen" | b"proc_open" | b"phpversion"
        | b"pcntl_exec" => true,
        b"exec" | b"eval" | b"assert" => is_quote(first(argument)) || first(argument) == b'$',
        _ => false,
    };
    found.then_some("command_injection.chained_call")
}

/// What is refused behind any way out.
fn strong(rest: &[u8]) -> Option<&'static str> {
    let command = Command::read(rest);
    let behind = command.behind;
    let argument = blanks(behind);
    let hidden = eat_any(behind, &["${ifs", "$ifs"]).is_some();
    let name = command.name();
    if hidden && name.len() >= 2 {
        return Some("command_injection.hidden_space");
    }
    if command.is_split && is_known(name) {
        return Some("command_injection.split_word");
    }
    if command.is_split && near_secret(argument) {
        return Some("command_injection.sensitive_file");
    }
    match name {
        b"whoami" | b"whoami.exe" => {
            let ended = is_end(skip(behind, |byte| is_word(byte) || byte == b'/' || byte == b' '));
            (is_end(behind) || starts(argument, &["/"]) && ended).then_some("command_injection.reconnaissance")
        }
        b"uname" => (starts(argument, &["-a"]) && is_end(argument.get(2..).unwrap_or_default()))
            .then_some("command_injection.reconnaissance"),
        b"timeout" => starts(argument, &["/t "]).then_some("command_injection.time_delay"),
        b"ping" => {
            let counted =
                starts(argument, &["-n ", "-c ", "-i "]) && is_digit(first(argument.get(3..).unwrap_or_default()));
            let target = skip(argument.get(3..).unwrap_or_default(), |byte| is_digit(byte) || is_space(byte));
            (counted && starts(target, &["127.", "localhost", "-", "."])
                || counted
                    && argument
                        .get(3..)
                        .is_some_and(|rest| starts(spaces(skip(rest, is_digit)), &["127.", "localhost", "-"])))
            .then_some("command_injection.time_delay")
        }
        _ => (command.len > 0
            && !argument.is_empty()
            && argument.len() < behind.len()
            && is_reader(name)
            && near_secret(argument))
        .then_some("command_injection.sensitive_file"),
    }
}

/// Whether a command reads files, or may as well.
fn is_reader(name: &[u8]) -> bool {
    !is_one(name, &["e", "or", "and", "the", "see", "edit", "vim", "sudo"])
}

/// Names whose pieces are recognised.
pub(super) fn is_known(name: &[u8]) -> bool {
    is_one(
        name,
        &[
            "whoami",
            "cat",
            "ls",
            "id",
            "uname",
            "curl",
            "wget",
            "nc",
            "bash",
            "sh",
            "ping",
            "passwd",
            "echo",
            "head",
            "tail",
            "more",
            "less",
            "tac",
            "python",
            "perl",
            "php",
            "ruby",
            "sleep",
            "hostname",
            "ifconfig",
            "netstat",
            "powershell",
            "cmd",
            "dir",
            "type",
            "net",
            "rm",
            "cp",
            "chmod",
            "base64",
            "env",
            "pwd",
            "who",
            "nslookup",
            "dig",
            "ps",
            "reboot",
            "shutdown",
            "printenv",
        ],
    )
}

/// Whether the next words name a file that holds secrets, quotes and marks left out.
fn near_secret(rest: &[u8]) -> bool {
    let mut path = [0_u8; 64];
    let mut len = 0_usize;
    for byte in head(rest, 128).iter().take_while(|byte| !matches!(byte, b';' | b'|' | b'&' | b'\n' | b')' | b'`')) {
        if matches!(byte, b'\'' | b'"' | b'^') {
            continue;
        }
        let Some(place) = path.get_mut(len) else { break };
        *place = if *byte == b'\\' { b'/' } else { *byte };
        len = len.saturating_add(1);
    }
    let path = path.get(..len).unwrap_or_default();
    SECRETS.iter().any(|secret| path.windows(secret.len()).any(|window| window == secret.as_bytes()))
}

const SECRETS: &[&str] = &[
    "etc/passwd",
    "etc/./passwd",
    "etc/shadow",
    "etc/./shadow",
    "etc/sudoers",
    "etc/group",
    "etc/hosts",
    "etc/issue",
    "win.ini",
    "boot.ini",
    "repair/s",
    "etc//passwd",
];

/// A value that is a whole command, and reads a secret or changes the system.
fn whole(text: &[u8]) -> Option<&'static str> {
    let line = trim(text);
    if line.contains(&b'\n') {
        return None;
    }
    let command = Command::read(line);
    let argument = blanks(command.behind);
    let separated = argument.len() < command.behind.len();
    match command.name() {
        b"cat" | b"type" | b"head" | b"tail" | b"more" | b"less" | b"tac" | b"grep" if separated => {
            let one =
                !argument.iter().any(|byte| is_space(*byte)) || first(argument) == b'-' || command.name() == b"grep";
            (one && near_secret(argument)).then_some("command_injection.sensitive_file")
        }
        b"net" | b"net1" if separated => (is_one(word(argument).0, &["view", "user", "localgroup"])
            && is_end(word(argument).1))
        .then_some("command_injection.reconnaissance"),
        b"uname" | b"netstat" | b"ipconfig" if separated => {
            let option = skip(argument, |byte| is_word(byte) || matches!(byte, b'-' | b'/'));
            (matches!(first(argument), b'-' | b'/') && option.is_empty()).then_some("command_injection.reconnaissance")
        }
        b"ls" | b"dir" if separated => {
            let path = spaces(skip(argument, |byte| byte == b'-' || is_letter(byte) && first(argument) == b'-'));
            let system = matches!(path, b"/") || starts(path, &["/etc", "/home", "/var/www", "/root", "/tmp", "c:\\"]);
            (system && !super::super::bytes::near(path, &["&&", "|", ";"]))
                .then_some("command_injection.reconnaissance")
        }
        b"netsh" if separated => {
            starts(argument, &["firewall set", "advfirewall set"]).then_some("command_injection.windows_tool")
        }
        b"reg" if separated => (starts(argument, &["add", "save", "delete"])
            && super::super::bytes::near(argument, &["hklm", "hkey_local"]))
        .then_some("command_injection.windows_tool"),
        b"echo" if separated => {
            let code = skip(argument, |byte| is_quote(byte) || is_space(byte));
            starts(code, &["<?php", "<script", "<img src=http", "<%", "use socket"])
                .then_some("command_injection.script_call")
        }
        b"perl" => {
            let code = argument.strip_prefix(b"-e")?;
            starts(skip(code, |byte| is_space(byte) || is_quote(byte)), &["print \"", "print '", "system"])
                .then_some("command_injection.script_call")
        }
        b"system" | b"passthru" | b"shell_exec" | b"exec" | b"eval" | b"popen" | b"proc_open" => {
            let code = spaces(command.behind).strip_prefix(b"(")?;
            let inner = Command::read(skip(code, is_quote));
            (is_quote(first(code)) && (is_known(inner.name()) || is_command(&inner, false).is_some()))
                .then_some("command_injection.script_call")
        }
        b"phpinfo" | b"phpversion" => starts(command.behind, &["()"]).then_some("command_injection.script_call"),
        _ => None,
    }
}

/// A command whose output takes the value's place: `$(whoami)`.
fn substituted(before: &[u8], rest: &[u8]) -> Option<&'static str> {
    let value = trim(before);
    let command = Command::read(rest);
    let close = is_closed(rest);
    let nested = first(spaces(rest)) == b'`';
    let alone = !before.iter().any(|byte| is_space(*byte) && !value.is_empty() || matches!(byte, b'$' | b'='))
        || value.is_empty();
    if command.name() == b"sleep" && is_digit(first(blanks(command.behind))) && close {
        return Some("command_injection.time_delay");
    }
    if let Some(found) = strong(rest) {
        return (found != "command_injection.reconnaissance" || alone).then_some(found);
    }
    if starts(rest, &["rev<<<", "printf '\\", "printf \"\\", "base64 -d"]) {
        return Some("command_injection.decoded_command");
    }
    (alone
        && close
        && (nested
            || is_known(command.name())
                && (is_end(command.behind) || blanks(command.behind).len() < command.behind.len())
            || is_command(&command, false).is_some()))
    .then_some("command_injection.substituted_command")
}

/// Whether a substitution is closed on its line.
fn is_closed(rest: &[u8]) -> bool {
    head(rest, 512).iter().take_while(|byte| **byte != b'\n').any(|byte| matches!(byte, b')' | b'`'))
}

/// The same in backticks, which Markdown has around code.
fn backtick(text: &[u8], before: &[u8], rest: &[u8]) -> Option<&'static str> {
    if first(rest) == b'`' || last(before) == b'`' {
        return None;
    }
    let command = Command::read(rest);
    let (inside, behind) = split(head(rest, 512), |byte| byte != b'`' && byte != b'\n');
    if first(behind) != b'`' || inside.is_empty() || first(inside) == b' ' {
        return None;
    }
    let value = before.trim_ascii_start();
    let whole = value.is_empty()
        && trim(skip(behind.get(1..)?, |byte| is_quote(byte) || matches!(byte, b';' | b'|' | b'&'))).is_empty();
    let glued = !value.is_empty() && !value.iter().any(|byte| is_space(*byte))
        || ends(before, &["||", "=", "|", "&", ";"]) && !ends(before, &["= "]);
    let _ = text;
    if !(whole || glued) {
        return None;
    }
    let known = is_known(command.name()) || command.name() == b"expr";
    let argument = blanks(command.behind);
    let ended = first(argument) == b'`';
    let separated = argument.len() < command.behind.len();
    let weak = whole
        && !is_one(command.name(), &["id", "uname", "ping", "whoami", "cat", "sleep", "curl", "wget", "nc"])
        && !command.has_directory;
    if command.name() == b"sleep" && is_digit(first(argument)) {
        return Some("command_injection.time_delay");
    }
    let told = match command.name() {
        // `cat notes.txt` is what people write.
        b"cat" if whole => near_secret(argument),
        b"curl" | b"wget" | b"ping" | b"nc" if whole => {
            separated && inside.iter().any(|byte| is_digit(*byte)) || starts(argument, &["http"])
        }
        b"uname" if whole => starts(argument, &["-a"]),
        _ => ended || separated,
    };
    (known && told && !weak).then_some("command_injection.substituted_command")
}

/// Names by their pattern: `/???/c?t /e?c/p?sswd`.
fn wildcards(text: &[u8]) -> Option<&'static str> {
    places(text, |byte| byte == b'/').find_map(|(_, rest)| {
        let name = rest.get(1..)?;
        let (directory, behind) = split(head(name, 5), |byte| is_word(byte) || matches!(byte, b'?' | b'*'));
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
        if starts(name, &["bin/"]) {
            let (program, _) = split(head(name.get(4..)?, 16), |byte| is_word(byte) || matches!(byte, b'?' | b'*'));
            return (program.contains(&b'?') && program.len() > 1).then_some("command_injection.wildcard_path");
        }
        None
    })
}
