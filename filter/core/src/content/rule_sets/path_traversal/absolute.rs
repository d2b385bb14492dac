//! Files that hold secrets, by their absolute names, alone.

use super::super::bytes::{
    Literals, SLASH, WORD, any, eat_any, first, is_digit, is_letter, is_slash, is_space, of, skip, split, split_until,
    trim, word,
};
use super::super::names::Name;
use super::super::rarely::{ends, is_one, starts};
use super::secret::slashes;

/// The absolute name of a secret, alone: `/etc/passwd`.
pub(super) fn find(text: &[u8]) -> Option<&'static str> {
    let value = trim(text);
    let (parameter, behind) = split(value, const { WORD | of(b"[].-") });
    let path = behind.strip_prefix(b"=").filter(|_| !parameter.is_empty()).unwrap_or(value);
    let path =
        eat_any(path, any!["%systemroot%", "%windir%"]).filter(|path| is_slash(first(path))).map_or(path, |path| path);
    let is_drive = |path: &[u8]| matches!(path, [letter, b':', b'/' | b'\\', ..] if is_letter(*letter));
    if !(matches!(first(path), b'~' | b'$' | b'%' | b'/' | b'\\') || is_drive(path)) {
        return None;
    }
    let path = split_until(path, const { of(b"&\0#?%;") }).0;
    if path.iter().any(|byte| is_space(*byte) && *byte != b' ') {
        return None;
    }
    let drive = is_drive(path);
    let home = eat_any(path, any!["~", "$home", "${home}", "%userprofile%"]).map(|home| skip(home, WORD));
    if home.is_some_and(|home| is_slash(first(home)) && starts(slashes(home), OF_HOME)) {
        return Some("path_traversal.absolute_secret");
    }
    if !(is_slash(first(path)) || drive) {
        return None;
    }
    let path = if drive { path.get(2..)? } else { path };
    let path = slashes(path);
    let spaced = path.contains(&b' ');
    (!spaced && is_absolute_secret(path)).then_some("path_traversal.absolute_secret")
}

fn is_absolute_secret(path: &[u8]) -> bool {
    let (directory, behind) = split(path, const { WORD | of(b".-") });
    let rest = slashes(behind);
    let name = split(rest, const { WORD | of(b".-") }).0;
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or(name);
    let stem = stem.strip_suffix(b"-").unwrap_or(stem);
    let ended = rest.len() == name.len() || rest.len() == name.len().saturating_add(1);
    match Name::of(directory) {
        Name::Etc => {
            ended
                && (is_one(stem, any!["group", "gshadow", "passwd", "shadow", "sudoers"])
                    || starts(name, any!["master.passwd"]))
                || starts(rest, OF_ETC)
                || is_hidden(path)
        }
        Name::Proc => {
            let (process, what) = word(rest);
            if process == b"version" && what.is_empty() || process == b"net" {
                return true;
            }
            let what = slashes(what);
            let inside = any![
                "cgroup",
                "cmdline",
                "cwd/",
                "environ",
                "exe",
                "fd/",
                "maps",
                "mem",
                "mountinfo",
                "mounts",
                "net/",
                "root/",
                "sched",
                "stat",
                "task/",
            ];
            (process == b"self" || is_digit(first(process))) && starts(what, inside)
        }
        Name::Root => starts(rest, OF_HOME),
        Name::Home | Name::Users => {
            let (_, what) = split_until(rest, SLASH);
            !what.is_empty() && (starts(slashes(what), OF_HOME) || starts(slashes(what), any!["ntuser.dat"]))
        }
        Name::Run => starts(rest, any!["secrets/"]),
        Name::Var => {
            starts(rest, OF_VAR)
                || eat_any(rest, any!["log/apache2/", "log/apache/", "log/httpd/", "log/nginx/"])
                    .is_some_and(|log| starts(log, any!["access", "error"]))
                || is_hidden(path)
        }
        Name::App | Name::Opt | Name::Srv | Name::Usr | Name::Data => is_hidden(path),
        Name::DotEnv | Name::DotHtpasswd | Name::DotBashHistory | Name::IdRsa => rest.is_empty(),
        Name::DotAws | Name::DotGit | Name::DotSsh => !rest.is_empty(),
        Name::BootIni => true,
        Name::WinIni => !behind.starts_with(b"/"),
        Name::Windows | Name::Winnt => {
            let system = eat_any(rest, any!["system32"]).map(slashes).unwrap_or_default();
            starts(rest, any!["win.ini", "system.ini", "repair\\", "repair/", "ntds", "panther"])
                || starts(
                    system,
                    any!["config\\", "config/", "drivers\\etc\\hosts", "drivers/etc/hosts", "inetsrv\\", "inetsrv/"],
                )
        }
        Name::Inetpub => !rest.is_empty() && (path.ends_with(b"web.config") || starts(rest, any!["wwwroot", "logs"])),
        Name::WebInf | Name::MetaInf => !rest.is_empty(),
        _ => rest.is_empty() && is_one(directory, any!["sysprep.inf", "unattend.xml"]),
    }
}

/// Below `/etc`.
const OF_ETC: &Literals = any![
    "ipsec.secrets",
    "krb5.keytab",
    "kubernetes/",
    "letsencrypt/archive/",
    "letsencrypt/live/",
    "mysql/debian.cnf",
    "networkmanager/system-connections",
    "openvpn/",
    "pki/tls/private",
    "ppp/chap-secrets",
    "ppp/pap-secrets",
    "rancher/",
    "security/opasswd",
    "security/passwd",
    "security/user",
    "ssh/ssh_host_",
    "ssl/private",
    "sudoers.d/",
    "wireguard/",
    "wpa_supplicant",
];

/// In the home directory of a user.
const OF_HOME: &Literals = any![
    ".aws",
    ".azure",
    ".bash_history",
    ".config/gcloud/",
    ".docker/config.json",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".my.cnf",
    ".mysql_history",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".psql_history",
    ".pypirc",
    ".ssh",
    ".vault-token",
    ".zsh_history",
];

/// Below `/var`.
const OF_VAR: &Literals = any![
    "backups/",
    "lib/kubelet/",
    "lib/mysql/mysql/",
    "log/auth.log",
    "log/secure",
    "mail/root",
    "run/secrets/",
    "spool/cron",
];

/// What holds the secrets of a service, wherever it is installed.
fn is_hidden(path: &[u8]) -> bool {
    const NAMES: &Literals =
        any!["/.env", "/.git/config", "/.htpasswd", "/id_rsa", "/tomcat-users.xml", "/wp-config.php",];
    ends(path, NAMES)
}
