//! Words of a line that only attacks have together, in one pass that remembers which have been seen.

use super::super::bytes::{
    DIGIT, LETTER, QUOTE, SPACE, WORD, any, eat_any, first, is, is_digit, is_letter, is_quote, is_space, is_word, last,
    near, of, skip_near, split, tail, until_near, word,
};
use super::super::kept::Kept;
use super::super::names::Name;
use super::super::rarely::{ends, is_one, skip, spaces, starts};
use super::super::reading::{Reading, Word};
use super::command::is_known;
use super::template;

/// How much white space a function may have before it: Bash takes none.
const HEAD_LEN_MAX: usize = 16;

/// The longest option that runs a program: `-lvpe`.
const OPTION_LEN_MAX: usize = 32;

/// Which words the line has had.
#[derive(Default)]
struct Line {
    base64: bool,
    bitsadmin: bool,
    certutil: bool,
    chmod: bool,
    connects: bool,
    decodes: bool,
    downloads: bool,
    iex: bool,
    interpreter: bool,
    mkfifo: bool,
    netcat: bool,
    net_user: bool,
    plain_download: bool,
    powershell: bool,
    regsvr: bool,
    /// Where the path that the text is at began.
    path: usize,
    socat: bool,
    /// `socket(`
    socket: bool,
    /// In code on a command line.
    subprocess: bool,
    /// `{{` or `{%`
    template: bool,
    wmic: bool,
}

pub(super) fn find(reading: &Reading<'_>, kept: Kept<'_>) -> Option<&'static str> {
    let mut line = Line::default();
    let mut seen = 0_usize;
    let mut brace = false;
    for word in reading.words() {
        let Word { before, .. } = word;
        for (at, byte) in (seen..).zip(before.get(seen..).unwrap_or_default()) {
            if is(*byte, const { WORD | of(b"/") }) {
                brace &= *byte == b'/';
                continue;
            }
            if *byte == b'\n' {
                line = Line::default();
            }
            line.template |= brace && matches!(byte, b'{' | b'%');
            brace = *byte == b'{';
            line.path = at.saturating_add(1);
        }
        seen = before.len();
        let found = kept.of(line.receive(word)).or_else(|| kept.of(template::receive(word, line.template)));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// A function of Bash that goes on: `() { :;}; id`.
pub(super) fn shellshock(before: &[u8], rest: &[u8]) -> Option<&'static str> {
    let body = spaces(spaces(rest.strip_prefix(b"()")?).strip_prefix(b"{")?);
    let behind = skip(body, const { of(b":_; ") });
    let closed = behind.strip_prefix(b"}");
    let empty = closed.is_some_and(|rest| body.len() > behind.len() && (starts(spaces(rest), any![";", ">"])));
    let whole = before.len() <= HEAD_LEN_MAX
        && before.trim_ascii_start().is_empty()
        && (closed.is_some() || near(behind, any!["}"]) && near(behind, any!["};", "} ;"]));
    let starts_so = starts(body, any!["_;", "_ ;"]) && near(behind, any![">_["]);
    (empty || whole || starts_so).then_some("command_injection.shellshock")
}

impl Line {
    fn receive(&mut self, word: Word<'_>) -> Option<&'static str> {
        let Word { before, text: name, after, .. } = word;
        if self.chmod && ends(before, any![";./", "; ./", "&./", "& ./"]) {
            return Some("command_injection.download_and_run");
        }
        if last(before) == b'{' && first(after) == b',' && is_known(name) {
            let argument = after.get(1..).unwrap_or_default();
            let hidden = matches!(first(argument), b'-' | b'/' | b'$' | b'"' | b'\'') || starts(argument, any!["http"]);
            return hidden.then_some("command_injection.hidden_space");
        }
        match first(name) {
            b'b' | b'x' | b'o' => self.decoders(word),
            b'c' | b'w' | b'f' | b'r' | b't' => self.tools(word),
            b'd' | b'i' | b'h' | b'j' | b'u' | b'n' => self.network(word),
            b's' | b'z' | b'k' | b'p' | b'm' | b'e' | b'a' | b'g' | b'v' | b'l' | b'q' | b'y' => self.shells(word),
            b'0'..=b'9' => {
                self.plain_download |= self.downloads
                    && first(after) == b'.'
                    && name.len() <= 3
                    && is_digit(last(name))
                    && after.iter().take(12).filter(|byte| **byte == b'.').count() >= 3;
                None
            }
            b'_' => import(name, after),
            _ => None,
        }
    }

    fn decoders(&mut self, word_at: Word<'_>) -> Option<&'static str> {
        let Word { before, after, name: known, .. } = word_at;
        match known {
            Name::Base64 => {
                self.base64 = true;
                let option = skip(after, const { SPACE | of(b".+,") });
                self.decodes |= starts(option, any!["-d", "--d", "-di"])
                    || starts(skip(option, const { of(b"-") }), any!["${ifs}-d", "$ifs-d"]);
                let fed = ends(before, any!["<<<$(", "<<< $(", "<<<"]);
                fed.then_some("command_injection.decoded_command")
            }
            Name::Xxd => {
                self.decodes |= starts(spaces(after), any!["-r"]);
                ends(before, any!["<<<$(", "<<<"]).then_some("command_injection.decoded_command")
            }
            Name::Openssl => {
                self.decodes |= starts(spaces(after), any!["enc"]);
                None
            }
            Name::Bash | Name::Zsh => self.shell(before, after),
            Name::Bitsadmin => {
                self.bitsadmin = true;
                None
            }
            Name::Os if ends(before, any!["import "]) => {
                let code = until_near(after, const { of(b".\n") });
                starts(code, any![".system(", ".popen("]).then_some("command_injection.script_call")
            }
            _ => None,
        }
    }

    fn tools(&mut self, word_at: Word<'_>) -> Option<&'static str> {
        let Word { before, after, name: known, .. } = word_at;
        let windows = Some("command_injection.windows_tool");
        match known {
            Name::Curl | Name::Wget | Name::Fetch if is_space(first(after)) || starts(after, any!["$", "+"]) => {
                self.downloads = true;
                let end = before.trim_ascii_end();
                self.plain_download |= matches!(last(end), b';' | b'|' | b'&' | b'`') || ends(end, any!["$("]);
                // `"$(curl …)"` is how programs are installed, unless a shell follows.
                None
            }
            Name::Certutil => {
                self.certutil = true;
                None
            }
            Name::Transfer if self.bitsadmin && ends(before, any!["/"]) => windows,
            Name::Frombase64string if self.iex => Some("command_injection.powershell"),
            Name::CallUserFunc => superglobal(after),
            Name::Cmd if self.netcat && self.runs(before) => Some("command_injection.reverse_shell"),
            // A formula that starts it.
            Name::Cmd if matches!(last(before), b'=' | b'+' | b'-' | b'@') && starts(after, any!["|'", "|\""]) => {
                windows
            }
            Name::Cmd => {
                let argument = spaces(eat_any(after, any![".exe"]).unwrap_or(after));
                let run = eat_any(argument, any!["/c", "/k"])?;
                let end = before.trim_ascii_end();
                let chained = matches!(last(end), b';' | b'|' | b'&');
                let (program, _) = word(skip(run, const { SPACE | QUOTE }));
                let told = is_one(
                    program,
                    any!["powershell", "whoami", "ping", "net", "type", "certutil", "calc", "start", "dir"],
                );
                (chained || told).then_some("command_injection.windows_tool")
            }
            Name::Chmod => {
                let mode = spaces(after);
                self.chmod |=
                    self.downloads && (starts(mode, any!["+x", "a+x", "u+x"]) || word(mode).0.contains(&b'7'));
                None
            }
            Name::Tmp if self.chmod && ends(before, any![";/", "; /", "&/", "& /"]) => {
                Some("command_injection.download_and_run")
            }
            Name::Fsockopen | Name::Tcpsocket => {
                self.connects = true;
                self.interpreter.then_some("command_injection.reverse_shell")
            }
            Name::Regsvr32 => {
                self.regsvr = true;
                None
            }
            Name::Rundll32 => {
                let argument = spaces(eat_any(after, any![".exe"]).unwrap_or(after));
                starts(argument, any!["javascript:", "\\\\", "url.dll"]).then_some("command_injection.windows_tool")
            }
            Name::Wmic => {
                self.wmic = true;
                None
            }
            Name::Create if self.wmic && ends(before, any!["call "]) => windows,
            Name::Reg => starts(spaces(after), any!["save hklm"]).then_some("command_injection.windows_tool"),
            Name::Windowstyle | Name::W if self.powershell && matches!(last(before), b'-' | b'/') => {
                starts(spaces(after), any!["hid", "1"]).then_some("command_injection.powershell")
            }
            Name::Rev => {
                self.decodes |= ends(before.trim_ascii_end(), any!["|"]);
                ends(before, any!["$("])
                    .then_some(())
                    .filter(|()| after.starts_with(b"<<<"))
                    .map(|()| "command_injection.decoded_command")
            }
            Name::Tcpclient => {
                ends(before, any!["system.net.sockets.", "net.sockets."]).then_some("command_injection.reverse_shell")
            }
            Name::Ruby => self.code(after),
            Name::Require => {
                let module = skip(after, const { SPACE | QUOTE | of(b"(") });
                let call = skip(module.strip_prefix(b"child_process")?, const { QUOTE | of(b")") });
                starts(call, any![".exec", ".spawn", ".fork"]).then_some("command_injection.script_call")
            }
            Name::Class => java_class(before, after),
            _ => None,
        }
    }

    fn network(&mut self, word_at: Word<'_>) -> Option<&'static str> {
        let Word { before, text: name, after, name: known } = word_at;
        let reverse = Some("command_injection.reverse_shell");
        match known {
            Name::Nc | Name::Ncat | Name::Netcat => {
                self.netcat = true;
                None
            }
            Name::Net | Name::Net1 => {
                self.net_user = is_one(word(spaces(after)).0, any!["user", "localgroup", "group"]);
                None
            }
            Name::Dev | Name::Inet => {
                let target = eat_any(after, any!["/tcp/", "/udp/"])?;
                let (host, behind) = split(target, const { WORD | of(b"-.${}") });
                let address = is_digit(first(host))
                    || first(host) == b'$'
                    || host.contains(&b'.') && first(behind) == b'/'
                    || name == b"inet" && !host.is_empty();
                (ends(before, any!["/"]) && address).then_some("command_injection.reverse_shell")
            }
            Name::Urlcache | Name::Decode | Name::Urlfetch if self.certutil && matches!(last(before), b'-' | b'/') => {
                Some("command_injection.windows_tool")
            }
            Name::Ifs => {
                let name = before.strip_suffix(b"{").unwrap_or(before).strip_suffix(b"$")?;
                (is_letter(last(name)) || matches!(last(name), b';' | b'|' | b'&' | b')'))
                    .then_some("command_injection.hidden_space")
            }
            Name::Dup2 if self.socket && first(after) == b'(' => reverse,
            Name::Iex | Name::Invoke => {
                let invoked = name == b"iex" || starts(after, any!["-expression"]);
                self.iex |= invoked;
                let end = before.trim_ascii_end();
                let chained = name == b"iex" && matches!(last(end), b';' | b'|' | b'&') && first(spaces(after)) == b'(';
                (invoked && self.powershell || chained).then_some("command_injection.powershell")
            }
            Name::Http | Name::Https => {
                let url = starts(after, any!["://"]);
                self.plain_download |= url && name == b"http" && self.downloads;
                let remote = self.regsvr && url;
                if self.iex && url && name == b"http" {
                    return Some("command_injection.powershell");
                }
                remote.then_some("command_injection.windows_tool")
            }
            Name::Join if self.iex && ends(before, any!["-"]) => Some("command_injection.powershell"),
            Name::Downloadstring | Name::Downloadfile => {
                let address = skip(after, const { SPACE | QUOTE | of(b"(") });
                (self.powershell || self.iex || last(before) == b'.' && starts(address, any!["http://"]))
                    .then_some("command_injection.powershell")
            }
            Name::Node => self.code(after),
            Name::Include | Name::Hex2bin => superglobal(after),
            _ => None,
        }
    }

    fn shells(&mut self, word_at: Word<'_>) -> Option<&'static str> {
        let Word { before, text: name, after, name: known } = word_at;
        let reverse = Some("command_injection.reverse_shell");
        match known {
            Name::Sh | Name::Zsh | Name::Dash | Name::Ksh | Name::Ash => self.shell(before, after),
            Name::E | Name::Ec | Name::Enc | Name::Encodedcommand | Name::Encoded
                if self.powershell && matches!(last(before), b'-' | b'/') && is_space(first(after)) =>
            {
                let code = skip(after, const { SPACE | QUOTE });
                let (code, _) = split(code, const { LETTER | DIGIT | of(b"+/=") });
                (code.len() >= if name.len() > 2 { 4 } else { 12 }).then_some("command_injection.powershell")
            }
            Name::Python | Name::Python3 | Name::Perl | Name::Php => {
                let piped = ends(self.skip_path(before), any!["|", "| sudo", "|sudo"]);
                if piped && self.plain_download && self.downloads && !is_word(first(after)) {
                    return Some("command_injection.download_and_run");
                }
                self.code(after)
            }
            Name::Mkfifo => {
                self.mkfifo = true;
                None
            }
            Name::Socat => {
                self.socat = true;
                None
            }
            Name::Exec if self.socat && first(after) == b':' => reverse,
            Name::Exec | Name::System | Name::Popen if self.interpreter => {
                let call = skip(after, const { SPACE | of(b"(") });
                (is_quote(first(call)) && call.len() < after.len() || is_quote(first(after)))
                    .then_some("command_injection.script_call")
            }
            Name::Exec if self.connects => reverse,
            Name::System
            | Name::Exec
            | Name::ShellExec
            | Name::Passthru
            | Name::Popen
            | Name::ProcOpen
            | Name::Eval
            | Name::Assert => superglobal(after).or_else(|| markup(before, after)),
            Name::Socket => {
                self.socket |= first(after) == b'(';
                if self.socket && self.subprocess { reverse } else { None }
            }
            Name::Spawn => {
                (ends(before, any!["pty."]) && first(after) == b'(').then_some("command_injection.reverse_shell")
            }
            Name::Subprocess if self.socket => reverse,
            Name::Subprocess => {
                self.subprocess = self.interpreter;
                None
            }
            Name::Stdin if self.socket && ends(before.trim_ascii_end(), any!["open("]) => reverse,
            Name::Powershell | Name::Pwsh => {
                self.powershell = true;
                None
            }
            Name::Mshta => {
                let argument = skip(eat_any(after, any![".exe"]).unwrap_or(after), const { SPACE | QUOTE });
                starts(argument, any!["http:", "https:", "vbscript:", "javascript:"])
                    .then_some("command_injection.windows_tool")
            }
            Name::Add if self.net_user && ends(before, any!["/"]) => Some("command_injection.windows_tool"),
            Name::Process => starts(after, any![".mainmodule", ".binding"]).then_some("command_injection.script_call"),
            Name::Programfiles => {
                (ends(before, any!["%"]) && starts(after, any![":~"])).then_some("command_injection.windows_tool")
            }
            Name::Lua | Name::Awk => self.code(after),
            Name::Echo | Name::Printf => {
                let end = before.trim_ascii_end();
                self.decodes |= end.is_empty() || matches!(last(end), b';' | b'|' | b'&' | b'(' | b'\n');
                let encoded =
                    ends(before, any!["$("]) && starts(skip(after, const { SPACE | QUOTE }), any!["\\x", "\\1"]);
                encoded.then_some("command_injection.decoded_command")
            }
            Name::Ssi | Name::Esi => {
                let element = after.strip_prefix(b":")?;
                (ends(before, any!["<"]) && starts(element, any!["include", "inline", "debug"]))
                    .then_some("command_injection.script_call")
            }
            _ => None,
        }
    }

    /// A shell: what is written into it, or that it serves a remote client.
    fn shell(&self, before: &[u8], after: &[u8]) -> Option<&'static str> {
        let end = self.skip_path(before);
        let piped = ends(end, any!["|", "| sudo", "|sudo"]);
        let rest = spaces(after);
        let ended = rest.is_empty()
            || matches!(first(rest), b'-' | b';' | b'&' | b'|' | b'<' | b')' | b'\'' | b'"' | b'`')
            || first(after) == b'\n';
        if piped && self.decodes && ended {
            return Some("command_injection.decoded_command");
        }
        if piped && self.downloads && self.plain_download && !is_word(first(after)) {
            return Some("command_injection.download_and_run");
        }
        let interactive = rest.strip_prefix(b"-i").map(spaces);
        let redirected = interactive.is_some_and(|rest| {
            matches!(first(rest), b'<' | b'>' | b'&' | b'|') || is_digit(first(rest)) && rest.get(1) == Some(&b'>')
        });
        if redirected
            || interactive.is_some() && (self.mkfifo || self.socket)
            || piped && self.netcat && end.len() < before.trim_ascii_end().len()
        {
            return Some("command_injection.reverse_shell");
        }
        if self.netcat && (self.runs(before) || ends(before, any!["-e ", "-c ", "-e", "-c"]))
            || self.connects && !is_word(first(after))
        {
            return Some("command_injection.reverse_shell");
        }
        let target = skip(rest, const { of(b"/.") });
        let chained = ends(before.trim_ascii_end(), any![";", "&"]);
        (self.downloads && (self.chmod && chained || chained && starts(target, any!["tmp/"]) && self.plain_download))
            .then_some("command_injection.download_and_run")
    }

    /// What stands before the directory of a program.
    fn skip_path<'a>(&self, before: &'a [u8]) -> &'a [u8] {
        let Some((start, path)) = before.split_at_checked(self.path) else { return before };
        if first(path) == b'/' { start.trim_ascii_end() } else { before.trim_ascii_end() }
    }

    /// Whether a program is an argument of `-e` or `-c`: `-e /bin/sh`.
    fn runs(&self, before: &[u8]) -> bool {
        let end = self.skip_path(before);
        let near = tail(end, OPTION_LEN_MAX);
        let at = near.iter().rposition(|byte| is_space(*byte)).map_or(0, |at| at.saturating_add(1));
        let option = near.get(at..).unwrap_or_default();
        first(option) == b'-' && matches!(last(option), b'e' | b'c') && end.len() < before.len()
    }

    /// Code for an interpreter, on the command line.
    fn code(&mut self, after: &[u8]) -> Option<&'static str> {
        let option = skip_near(after, const { SPACE | LETTER | of(b"-") });
        self.interpreter |= is_space(first(after)) && is_quote(first(spaces(option)));
        None
    }
}

/// Parameters of a request, or decoded text, that are run at once.
fn superglobal(after: &[u8]) -> Option<&'static str> {
    let argument = spaces(spaces(after).strip_prefix(b"(")?);
    let found = starts(
        argument,
        any![
            "$_get",
            "$_post",
            "$_request",
            "$_cookie",
            "$_server",
            "base64_decode(",
            "gzinflate(",
            "str_rot13(",
            "hex2bin(",
        ],
    );
    found.then_some("command_injection.script_call")
}

/// A call at the start of a block of PHP, Smarty or ERB.
fn markup(before: &[u8], after: &[u8]) -> Option<&'static str> {
    let end = before.trim_ascii_end();
    let end = end.strip_suffix(b"@").unwrap_or(end).trim_ascii_end();
    let end = end.strip_suffix(b"echo").unwrap_or(end).trim_ascii_end();
    let block =
        ends(end, any!["<?", "<?php", "<?=", "<%=", "<%", "${@print(", "{${"]) || ends(before, any!["#{", "${"]);
    let braces = ends(before, any!["{"]) && is_quote(first(after.get(1..).unwrap_or_default()));
    let call = matches!(first(after), b'(' | b' ' | b'\'' | b'$');
    (call && (block || braces)).then_some("command_injection.script_call")
}

/// `__import__('os').system('id')`
fn import(name: &[u8], after: &[u8]) -> Option<&'static str> {
    if name != b"__import__" {
        return None;
    }
    let module = skip(spaces(after).strip_prefix(b"(")?, const { SPACE | QUOTE });
    let (module, behind) = word(module);
    let behind = skip(behind, const { SPACE | QUOTE });
    let known = is_one(module, any!["os", "subprocess", "pty", "socket", "builtins", "commands"]);
    (known && starts(spaces(behind.strip_prefix(b")")?), any!["."])).then_some("command_injection.template_object")
}

fn java_class(before: &[u8], after: &[u8]) -> Option<&'static str> {
    let reflected = starts(after, any![".inspect(", ".forname(", ".classloader"]);
    let found = reflected && matches!(last(before), b'.' | b'$');
    found.then_some("command_injection.java_expression")
}
