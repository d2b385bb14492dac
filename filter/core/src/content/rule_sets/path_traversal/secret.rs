//! Files that attackers read, and what stands before their names.

use super::super::bytes::{REACH, SLASH, WORD, any, eat_any, first, head, of, split};
use super::super::names::Name;
use super::super::rarely::{skip, starts};

/// How many separators and dots may stand before the name that they lead to.
pub(super) const NEAR: usize = 16;

/// What takes the place of a separator where decoders know no other escapes.
pub(super) fn separator(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        // An escape.
        [b'\\', b'u', b'0', b'0', ..] | [b'\\', b'x', b'2' | b'5', ..] => None,
        [b'/' | b'\\', behind @ ..] => Some(behind),
        [b'0', b'x', b'2', b'f', behind @ ..] | [b'0', b'x', b'5', b'c', behind @ ..] => Some(behind),
        _ => None,
    }
}

/// Files that attackers read, behind a separator.
pub(super) fn is_secret(rest: &[u8]) -> bool {
    let rest = slashes(rest);
    let (directory, _) = split(head(rest, REACH), const { WORD | of(b".-") });
    let behind = rest.get(directory.len()..).unwrap_or_default();
    // `etc0x2fpasswd`
    let (directory, behind) = match directory.windows(4).position(|window| matches!(window, b"0x2f" | b"0x5c")) {
        Some(at) => rest.split_at_checked(at).unwrap_or((directory, behind)),
        None => (directory, behind),
    };
    let name = slashes(behind);
    let inside = name.len() < behind.len();
    match Name::of(directory) {
        Name::Etc => {
            inside
                && starts(
                    name,
                    any![
                        "passwd",
                        "shadow",
                        "gshadow",
                        "group",
                        "hosts",
                        "issue",
                        "sudoers",
                        "master.passwd",
                        "security/",
                        "ssh/",
                        "crontab",
                        "fstab",
                        "resolv",
                        "apache2/",
                        "nginx/",
                        "my.cnf",
                        "mysql/",
                        "motd",
                        "hostname",
                        "httpd/",
                    ],
                )
        }
        Name::Proc => inside && starts(name, any!["self", "version", "cmdline", "net", "sched", "1/", "2/", "mounts"]),
        Name::Root => inside && first(name) == b'.',
        Name::Var => inside && starts(name, any!["log/", "run/secrets", "log\\", "mail/", "spool/"]),
        Name::Usr => inside && starts(name, any!["local/apache"]),
        Name::Windows | Name::Winnt => {
            inside && starts(name, any!["win.ini", "system", "repair", "debug", "desktop.ini"])
        }
        Name::DotSsh
        | Name::IdRsa
        | Name::WebInf
        | Name::MetaInf
        | Name::BootIni
        | Name::WinIni
        | Name::System32
        | Name::WebConfig
        | Name::DotHtaccess
        | Name::DotHtpasswd
        | Name::DotEnv
        | Name::DotBashHistory
        | Name::WpConfigPhp => true,
        Name::DotAws | Name::DotGit | Name::DotSvn => inside,
        _ => starts(directory, any!["wp-config", ".env.", "boot.ini", "win.ini", "passwd."]) && !inside,
    }
}

/// The same, perhaps behind further steps.
pub(super) fn is_secret_near(rest: &[u8]) -> bool {
    let path = skip(head(rest, NEAR), const { SLASH | of(b".") });
    let path = rest.get(head(rest, NEAR).len().saturating_sub(path.len())..).unwrap_or_default();
    // Names that begin with a dot are reached one step back.
    let dotted = rest
        .len()
        .checked_sub(path.len().saturating_add(1))
        .and_then(|at| rest.get(at..))
        .filter(|name| first(name) == b'.');
    is_secret(path) || dotted.is_some_and(is_secret)
}

/// What follows separators, and steps to where one is.
pub(super) fn slashes(rest: &[u8]) -> &[u8] {
    let mut rest = rest;
    for _ in 0..NEAR {
        match separator(rest).or_else(|| eat_any(rest, any!["./"])) {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    rest
}
