//! Wrappers of PHP and Java, shares and devices of Windows.

use super::super::bytes::{
    REACH, SLASH, SPACE, WORD, any, eat_any, first, head, is_digit, is_letter, is_quote, is_space, is_word, last, near,
    of, places, split, split_until, trim, word,
};
use super::super::kept::Kept;
use super::super::names::Name;
use super::super::rarely::{is_one, skip, spaces, starts};
use super::super::reading::{Reading, Word};
use super::secret::{is_secret, slashes};

pub(super) fn find(reading: &Reading<'_>, written: Option<&Reading<'_>>, kept: Kept<'_>) -> Option<&'static str> {
    let text = reading.folded();
    let value = spaces(text);
    let field = skip(value, const { WORD | of(b"[]") }).strip_prefix(b"=").unwrap_or(value);
    let starts = [text.len().saturating_sub(value.len()), text.len().saturating_sub(field.len())];
    reading
        .words()
        .find_map(|word| kept.of(at_word(word, starts.contains(&word.before.len()))))
        .or_else(|| if reading.has(const { of(b"\\") }) { kept.of(share(text, written)) } else { None })
}

/// `is_value`: a value begins here, which is a text or a field of a form.
fn at_word(word_at: Word<'_>, is_value: bool) -> Option<&'static str> {
    let Word { before, text: name, after, name: known } = word_at;
    if first(after) != b':' && name != b"ssh2" && name != b"compress" && name != b"view" {
        return None;
    }
    let php = Some("path_traversal.php_wrapper");
    let file = Some("path_traversal.file_wrapper");
    let path = after.strip_prefix(b"://");
    match known {
        Name::Php => match path {
            Some(path) if starts(path, any!["filter/", "filter|"]) => php,
            Some(path) if is_value && starts(path, any!["input", "fd/", "stdin", "temp"]) => php,
            _ => None,
        },
        Name::Data if is_value => {
            let kind = after.strip_prefix(b":")?;
            let content = kind.strip_prefix(b"//").or_else(|| {
                let (_, content) = split_until(head(kind.strip_prefix(b"text/plain")?, REACH), const { of(b",<") });
                starts(skip(content, const { of(b",") }), any!["<", "pd9", "pd8"]).then_some(content)
            });
            content.map(|_| "path_traversal.php_wrapper")
        }
        Name::Phar | Name::Expect | Name::Glob | Name::Ogg | Name::Rar => path
            .filter(|path| is_word(first(path)) || matches!(first(path), b'.' | b'/' | b'%'))
            .map(|_| "path_traversal.php_wrapper"),
        Name::Ssh2 | Name::Compress => {
            let (kind, behind) = word(after.strip_prefix(b".")?);
            (!kind.is_empty() && behind.starts_with(b"://")).then_some("path_traversal.php_wrapper")
        }
        Name::Zip => {
            let (member, _) = split_until(head(path?, REACH), SPACE);
            (member.contains(&b'#') || member.windows(3).any(|window| window == b"%23"))
                .then_some("path_traversal.php_wrapper")
        }
        Name::File => {
            let address = after.strip_prefix(b":")?;
            let (marks, _) = split(address, SLASH);
            let target = slashes(address);
            let target = eat_any(target, any!["localhost", "127.0.0.1"]).map_or(target, slashes);
            let target = match target {
                [_, b':', behind @ ..] => slashes(behind),
                _ => target,
            };
            let starts_here = before.is_empty()
                || is_space(last(before))
                || is_quote(last(before))
                || matches!(last(before), b'=' | b'(');
            let shared = starts_here && marks.len() >= 4 && is_word(first(target));
            (!marks.is_empty() && is_secret(target)
                || shared
                || before.ends_with(b"url:")
                || before.ends_with(b"view-source:"))
            .then_some("path_traversal.file_wrapper")
        }
        // Protocols that a service can be made to speak to others.
        Name::Gopher | Name::Dict if is_value => path.filter(|path| !is_space(first(path))).and(file),
        Name::Netdoc | Name::LocalFile if after.starts_with(b":/") => file,
        Name::Jar => {
            let address = eat_any(after, any![":http:", ":https:", ":ftp:", ":file:"])?;
            let (path, _) = split_until(head(address, REACH), SPACE);
            path.windows(2).any(|window| window == b"!/").then_some("path_traversal.file_wrapper")
        }
        _ => None,
    }
}

/// Shares and devices of Windows that no one links to: `\\192.0.2.1\c$`, `\\.\PhysicalDrive0`.
fn share(text: &[u8], written: Option<&Reading<'_>>) -> Option<&'static str> {
    let start = text.len().saturating_sub(spaces(text).len());
    let hides = written.is_some_and(|written| !written.has(const { of(b"\\") }));
    places(text, const { of(b"\\") })
        .filter(|(before, _)| {
            before.is_empty() || is_space(last(before)) || is_quote(last(before)) || last(before) == b'='
        })
        .find_map(|(before, rest)| {
            let name = rest.strip_prefix(b"\\\\")?;
            let (host, behind) = split_until(head(name, REACH), const { SLASH | SPACE });
            let behind = name.get(host.len()..).unwrap_or(behind);
            let path = behind.strip_prefix(b"\\").unwrap_or_default();
            let (folder, ending) = word(path);
            let hidden = first(ending) == b'$'
                && (folder.len() == 1 && is_letter(first(folder)) || matches!(folder, b"admin" | b"ipc"));
            let port = host.iter().rposition(|byte| *byte == b'@').and_then(|at| host.get(at.saturating_add(1)..));
            let webdav =
                port.is_some_and(|port| port == b"ssl" || is_digit(first(port))) || starts(path, any!["davwwwroot"]);
            let device = matches!(host, b"." | b"?")
                && (starts(path, any!["physicaldrive", "globalroot", "unc\\"])
                    || starts(path.get(1..).unwrap_or_default(), any![":\\windows"]));
            let alone = before.len() == start && !path.is_empty() && !trim(text).contains(&b' ');
            let local_device = match host {
                // Programs write the names of people's files so as well.
                b"?" => {
                    path.get(1..).is_some_and(|name| starts(name, any![":\\"]) && !starts(name, any![":\\users"]))
                        || starts(path, any!["volume{"])
                }
                b"." => starts(path, any!["pipe\\"]) || path.get(1) == Some(&b':'),
                _ => false,
            };
            let address = is_public(host) || is_domain(host) || hides || local_device || !is_server(host);
            (hidden || webdav || device || alone && address).then_some("path_traversal.windows_share")
        })
}

/// Whether a host is an address, has a domain, or the name of what serves files in a local network.
fn is_server(host: &[u8]) -> bool {
    !is_letter(first(host))
        || host.iter().any(|byte| !(is_letter(*byte) || is_digit(*byte)))
        || near(host, any!["dfs", "file", "nas", "server", "share", "srv"])
}

/// Whether a host has a name that others than the local network may answer to.
fn is_domain(host: &[u8]) -> bool {
    let Some(dot) = host.iter().rposition(|byte| *byte == b'.') else { return false };
    let top = host.get(dot.saturating_add(1)..).unwrap_or_default();
    top.len() >= 2
        && top.iter().all(|byte| is_letter(*byte))
        && !is_one(top, any!["corp", "home", "internal", "intranet", "intra", "lan", "local", "localdomain"])
}

/// Whether a host is an address that is not one of a local network.
fn is_public(host: &[u8]) -> bool {
    let mut parts = [0_u16; 4];
    let mut count = 0_usize;
    for part in host.split(|byte| *byte == b'.') {
        let number = core::str::from_utf8(part).ok().and_then(|digits| digits.parse::<u16>().ok());
        let (Some(number), Some(place)) = (number, parts.get_mut(count)) else { return false };
        *place = number;
        count = count.saturating_add(1);
    }
    let [a, b, ..] = parts;
    count == 4 && !matches!((a, b), (0 | 10 | 127, _) | (192, 168) | (172, 16..=31) | (169, 254))
}
