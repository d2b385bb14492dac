//! Commands: their names, however they are written, and the arguments that tell them from words.

use super::super::bytes::{
    BLANK, DIGIT, Kinds, LETTER, QUOTE, SPACE, WORD, any, eat_any, first, head, is_digit, is_letter, is_quote,
    is_space, is_word, of, skip, split, split_until, word,
};
use super::super::names::Name;
use super::super::rarely::{ends, is_one, starts};

/// The longest name of a command that is put together from pieces.
const NAME_LEN_MAX: usize = 24;

/// A command's name without its directory, quotes and other marks, and what follows it.
pub(super) struct Command<'a> {
    name: [u8; NAME_LEN_MAX],
    pub(super) len: usize,
    /// Which it is.
    pub(super) known: Name,
    /// Whether marks stand within the name.
    pub(super) is_split: bool,
    /// Whether it is named by its path.
    pub(super) has_directory: bool,
    pub(super) behind: &'a [u8],
}

impl<'a> Command<'a> {
    pub(super) fn name(&self) -> &[u8] {
        self.name.get(..self.len).unwrap_or_default()
    }

    pub(super) fn read(rest: &'a [u8]) -> Self {
        let mut rest = rest;
        loop {
            let next = if is_quoted_name(rest) { rest } else { skip(rest, const { BLANK | of(b"+({!\"'@") }) };
            let next = match next {
                [b'$', ..] => field_separator(next),
                [b's' | b'n' | b'e', ..] => {
                    let behind = eat_any(next, any!["sudo ", "nohup ", "exec "]);
                    behind.filter(|behind| first(behind) != b'-').unwrap_or(next)
                }
                _ => next,
            };
            if next.len() == rest.len() {
                break;
            }
            rest = next;
        }
        let path = skip(rest, const { WORD | of(b"/-.") });
        let directory = rest.get(..rest.len().saturating_sub(path.len())).unwrap_or_default();
        let at = directory.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at.saturating_add(1));
        let has_directory = at > 0 && matches!(first(rest), b'/' | b'u');
        let mut command = Self {
            name: [0; NAME_LEN_MAX],
            len: 0,
            known: Name::Empty,
            is_split: false,
            has_directory,
            behind: rest.get(if has_directory { at } else { 0 }..).unwrap_or_default(),
        };
        command.read_name();
        command.known = Name::of(command.name());
        command
    }

    fn read_name(&mut self) {
        let mut marked = false;
        // Most names are nothing but letters.
        let (letters, behind) = word(self.behind);
        if let Some(place) = self.name.get_mut(..letters.len()) {
            place.copy_from_slice(letters);
            (self.len, self.behind) = (letters.len(), behind);
        }
        while let Some((byte, after)) = self.behind.split_first() {
            // A line break that is spelt.
            if matches!(self.behind, [b'\\', b'n' | b'r', rest @ ..] if !is_word(first(rest))) {
                return;
            }
            if is_word(*byte) || *byte == b'.' && is_letter(first(after)) && self.len > 0 {
                self.is_split |= marked && self.len > 0;
                marked = false;
                let Some(place) = self.name.get_mut(self.len) else { return };
                *place = *byte;
                self.len = self.len.saturating_add(1);
                self.behind = after;
            } else if let Some(after) = mark(self.behind) {
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

/// What follows a mark that a shell takes out of a name.
fn mark(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'\'', b'\'', after @ ..] | [b'"', b'"', after @ ..] | [b'`', b'`', after @ ..] => Some(after),
        [b'$', b'@' | b'*' | b'1', after @ ..] | [b'$', b'(', b')', after @ ..] => Some(after),
        // A variable that has no value.
        [b'$', b'{', name @ ..] if !name.starts_with(b"ifs}") => word(name).1.strip_prefix(b"}"),
        [b'\'' | b'"' | b'^' | b'\\', after @ ..] => Some(after),
        _ => None,
    }
}

/// What follows `$IFS` at the start, in one of its spellings, or else all of it.
fn field_separator(rest: &[u8]) -> &[u8] {
    match rest {
        [b'$', b'{' | b'i', ..] => eat_any(rest, any!["${ifs}", "$ifs$9", "$ifs"]).unwrap_or(rest),
        _ => rest,
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
pub(super) fn blanks(rest: &[u8]) -> &[u8] {
    let mut rest = rest;
    loop {
        let next = skip(rest, const { BLANK | of(b"+<,") });
        let next = field_separator(next);
        if next.len() == rest.len() {
            return rest;
        }
        rest = next;
    }
}

/// Whether a command line ends here, or the next command begins.
pub(super) fn is_end(rest: &[u8]) -> bool {
    let rest = skip(rest, const { SPACE | of(b"+") });
    match rest {
        []
        | [b';' | b'&' | b'#' | b')' | b'\'' | b'"' | b'`' | b'>' | b'\n' | b'}', ..]
        | [b'/', b'/', ..]
        | [b'\\', b'n' | b'r' | b'"', ..]
        | [b'|', b'|', ..] => true,
        [b'|', behind @ ..] => {
            let behind = skip(behind, const { QUOTE | BLANK });
            behind.is_empty()
                || starts(
                    behind,
                    any![
                        "base64", "curl", "nc ", "xxd", "sh", "bash", "grep", "wget", "tee ", "mail ", "awk ",
                        "findstr", "head", "less", "more", "sed ", "sort", "tail", "wc "
                    ],
                )
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
            || starts(argument, any!["aux", "a+x"]);
        if !is_argument
            || argument.len() == rest.len() && !matches!(first(argument), b'/' | b'-')
            || starts(argument, any!["//"])
        {
            return rest;
        }
        let behind = skip(argument, const { WORD | of(b"-/~.*:\\%?=") });
        if behind.len() == argument.len() {
            return rest;
        }
        rest = behind;
    }
}

/// What a mode of a file is made of: `755`, `u+x`.
const MODE: Kinds = DIGIT | LETTER | of(b"+=,");

fn is_mode(argument: &[u8]) -> bool {
    let (mode, behind) = split(argument, MODE);
    let octal = mode.len() >= 3 && mode.iter().all(|byte| is_digit(*byte));
    // A plus is white space to some.
    let named = mode.rsplit(|byte| matches!(byte, b'+' | b'=')).next().unwrap_or(mode);
    let named = is_one(named, any!["x", "w", "r", "rx", "rw", "rwx", "s", "xs"]);
    is_space(first(behind)) && (octal || named)
}

/// Whether `word` is what an archiver does, without a dash: `czf`.
fn is_archive(word: &[u8]) -> bool {
    word.len() > 1 && matches!(first(word), b'c' | b'x' | b't') && skip(word, LETTER).is_empty() && word.ends_with(b"f")
}

/// Whether an argument is an option, a path or a pattern of such.
fn is_path(argument: &[u8]) -> bool {
    matches!(first(argument), b'-' | b'/' | b'~' | b'.' | b'*' | b'$' | b'"' | b'\'' | b'{' | b'?' | b'\\' | b'%')
        || argument.get(1) == Some(&b':') && is_letter(first(argument))
}

/// Commands that count by themselves, and such as need arguments, since they are words too.
pub(super) fn is_command(command: &Command<'_>, weak: bool) -> Option<&'static str> {
    if command.known == Name::Empty {
        return None;
    }
    let rest = command.behind;
    let argument = blanks(rest);
    let separated = argument.len() < rest.len();
    let chained = Some("command_injection.chained_command");
    match command.known {
        Name::Id
        | Name::Pwd
        | Name::Ls
        | Name::Dir
        | Name::Ps
        | Name::Env
        | Name::Printenv
        | Name::Set
        | Name::Hostname
        | Name::Ifconfig
        | Name::Ipconfig
        | Name::Netstat
        | Name::Systeminfo
        | Name::Tasklist
        | Name::Ver
        | Name::Uname
        | Name::Whoami
        | Name::Sysinfo
        | Name::Arp
        | Name::Route
        | Name::W
        | Name::Who
        | Name::Groups
        | Name::Df
        | Name::Mount
        | Name::History
        | Name::LsbRelease
        | Name::Nid
        | Name::Reboot
        | Name::Poweroff
        | Name::Getmac
        | Name::Uptime => {
            let behind = arguments(rest);
            let given = behind.len() < rest.len();
            let words = given || command.has_directory || !weak;
            let file = starts(argument, any!["c:\\", "/", "-", "%"]) && separated;
            if words && (is_end(behind) || file && given) { chained } else { None }
        }
        Name::Cat
        | Name::Head
        | Name::Tail
        | Name::More
        | Name::Less
        | Name::Tac
        | Name::Nl
        | Name::Od
        | Name::Xxd
        | Name::Base64
        | Name::Strings
        | Name::Grep
        | Name::Type
        | Name::Rm
        | Name::Cp
        | Name::Mv
        | Name::Chmod
        | Name::Touch
        | Name::Del
        | Name::Find
        | Name::Awk
        | Name::Sed
        | Name::Sort
        | Name::Dd
        | Name::Tar
        | Name::Vi
        | Name::Chown
        | Name::Copy
        | Name::Rev
        | Name::Cut
        | Name::Tee
        | Name::Egrep
        | Name::Fgrep
        | Name::Mkdir
        | Name::Ln
        | Name::Kill => {
            let path = is_path(argument);
            let (first_word, behind_word) = word(argument);
            let file = behind_word.starts_with(b".") && !weak;
            let given = match command.known {
                Name::Chmod => is_mode(argument) && is_path(blanks(skip(argument, MODE))),
                Name::Dd => is_one(first_word, any!["if", "of"]) && first(behind_word) == b'=',
                Name::Tar => is_archive(first_word) && first(behind_word) == b' ',
                _ => false,
            };
            if separated && (path || file || given) { chained } else { None }
        }
        Name::Echo
        | Name::Start
        | Name::Printf
        | Name::Print
        | Name::Expr
        | Name::Nslookup
        | Name::Which
        | Name::Netsh
        | Name::Schtasks
        | Name::Sc
        | Name::Certutil
        | Name::Wmic
        | Name::Reg => {
            let word =
                is_word(first(argument)) || matches!(first(argument), b'$' | b'\'' | b'"' | b'-' | b'/' | b'<' | b'`');
            let tool = is_one(command.name(), any!["nslookup", "netsh", "schtasks", "certutil"]);
            if (separated || first(rest) == b'\'') && word && (!weak || tool) { chained } else { None }
        }
        Name::Net | Name::Net1 => {
            if is_one(
                word(argument).0,
                any!["user", "view", "group", "localgroup", "use", "start", "share", "accounts"],
            ) && (!weak || is_end(word(argument).1))
            {
                chained
            } else {
                None
            }
        }
        Name::Curl
        | Name::Wget
        | Name::Lynx
        | Name::Ftp
        | Name::Tftp
        | Name::Dig
        | Name::Host
        | Name::Ping
        | Name::Ping6
        | Name::Ncat
        | Name::Nc
        | Name::Netcat
        | Name::Telnet
        | Name::Ssh
        | Name::Scp
        | Name::Fetch
        | Name::Traceroute
        | Name::Tracert
        | Name::CurlExe
        | Name::PingExe
        | Name::WgetExe
        | Name::NcExe
        | Name::Socat => {
            let (target, _) = split_until(head(argument, 64), SPACE);
            let address = target.iter().skip(1).any(|byte| matches!(byte, b'.' | b':' | b'$' | b'`'))
                && !ends(target, any![".", ",", ":"])
                || is_digit(first(target));
            if separated
                && (starts(argument, any!["-"]) && target.len() > 1
                    || address && (!weak || starts(target, any!["http", "$", "`"]) || is_digit(first(target))))
            {
                chained
            } else {
                None
            }
        }
        Name::Bash | Name::Sh | Name::Zsh | Name::Dash | Name::Ksh | Name::Csh | Name::Ash => {
            if separated && matches!(first(argument), b'-' | b'/' | b'<')
                || starts(rest, any!["<<<"])
                || !weak && command.has_directory
            {
                chained
            } else {
                None
            }
        }
        Name::Python
        | Name::Python2
        | Name::Python3
        | Name::Perl
        | Name::Ruby
        | Name::Php
        | Name::Node
        | Name::Powershell
        | Name::Pwsh
        | Name::Cmd
        | Name::CmdExe
        | Name::Crontab
        | Name::Gcc
        | Name::Mysql
        | Name::Openssl
        | Name::PowershellExe
        | Name::Psql
        | Name::PythonExe
        | Name::Useradd
        | Name::Usermod
        | Name::Lua => {
            let told = matches!(first(argument), b'-' | b'/')
                || command.known == Name::Openssl && starts(argument, any!["s_client", "enc "]);
            if separated && told { chained } else { None }
        }
        Name::Sleep | Name::Usleep => {
            let (count, behind) = split(argument, const { DIGIT | of(b".") });
            let behind = eat_any(behind, any!["s", "m", "h"]).unwrap_or(behind);
            if separated && !count.is_empty() && is_end(behind) { Some("command_injection.time_delay") } else { None }
        }
        _ if is_tool(command.name()) => {
            let (first_word, behind) = word(argument);
            // What may be said as well: `ok; git pull`.
            let is_word = is_one(command.name(), any!["docker", "git", "init", "service", "timeout", "zip"]);
            let told = is_path(argument) && (!weak || argument.len() > 1)
                || is_digit(first(argument))
                || is_one(first_word, any!["clone", "exec", "run"])
                || !weak && !first_word.is_empty() && (!is_word || is_service_order(behind));
            let alone = !weak && !is_word && is_end(rest);
            if alone || told && (separated || first(rest) == b'-') { chained } else { None }
        }
        _ => None,
    }
}

/// `apache2 stop`, from behind the first word on.
fn is_service_order(behind: &[u8]) -> bool {
    let (order, behind) = word(blanks(behind));
    is_one(order, any!["reload", "restart", "start", "status", "stop"]) && is_end(behind)
}

/// Tools of administrators, which as a single word behind a way out are no prose.
fn is_tool(name: &[u8]) -> bool {
    let names = match first(name) {
        b'a' => any!["apk", "apt", "attrib"],
        b'b' => any!["bitsadmin", "busybox"],
        b'c' => any!["chattr", "chroot", "cscript"],
        b'd' => any!["dmesg", "dnf", "docker"],
        b'f' => any!["fdisk", "findstr"],
        b'g' => any!["gdb", "getent", "git", "gpg", "groupadd", "gunzip", "gzip"],
        b'h' => any!["halt", "hexdump", "hydra"],
        b'i' => any!["icacls", "init", "insmod", "ip", "ip6tables", "iptables"],
        b'j' => any!["journalctl"],
        b'k' => any!["killall", "kubectl"],
        b'l' => any!["ldd", "lsblk", "lscpu", "lsof", "lspci"],
        b'm' => any!["mkfifo", "mkfs", "modprobe", "mshta", "mysqldump"],
        b'n' => any!["nft", "nltest", "nmap", "nmcli", "npm", "npx"],
        b'p' => any!["passwd", "pgrep", "pip", "pip3", "pkill"],
        b'q' => any!["quser", "qwinsta"],
        b'r' => any!["regsvr32", "rmmod", "robocopy", "rsync", "rundll32"],
        b's' => {
            any!["service", "sftp", "shutdown", "smbclient", "sqlmap", "strace", "su", "sudo", "sysctl", "systemctl"]
        }
        b't' => any!["taskkill", "tcpdump", "telinit", "timeout", "tmux"],
        b'u' => any!["umount", "unzip", "userdel"],
        b'v' => any!["visudo", "vim", "vssadmin"],
        b'w' => any!["wevtutil", "wscript"],
        b'x' => any!["xargs", "xcopy"],
        b'y' => any!["yum"],
        b'z' => any!["zip"],
        _ => return false,
    };
    is_one(name, names)
}

/// Whether a command reads files, or may as well.
pub(super) fn is_reader(name: &[u8]) -> bool {
    !is_one(name, any!["e", "or", "and", "the", "see", "edit", "vim", "sudo"])
}

/// Names whose pieces are recognised.
pub(super) fn is_known(name: &[u8]) -> bool {
    let names = match first(name) {
        b'b' => any!["bash", "base64"],
        b'c' => any!["cat", "curl", "cmd", "cp", "chmod"],
        b'd' => any!["dir", "dig"],
        b'e' => any!["echo", "env"],
        b'h' => any!["head", "hostname"],
        b'i' => any!["id", "ifconfig"],
        b'l' => any!["ls", "less"],
        b'm' => any!["more"],
        b'n' => any!["nc", "net", "netstat", "nslookup"],
        b'p' => any!["ping", "php", "ps", "pwd", "perl", "python", "passwd", "powershell", "printenv"],
        b'r' => any!["rm", "ruby", "reboot"],
        b's' => any!["sh", "sleep", "shutdown"],
        b't' => any!["tail", "tac", "type"],
        b'u' => any!["uname"],
        b'w' => any!["who", "whoami", "wget"],
        _ => return false,
    };
    is_one(name, names)
}
