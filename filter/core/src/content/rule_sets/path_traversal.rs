//! Names of files that lead out of where the service looks (CWE-22, CWE-73, CWE-98).
//!
//! What is looked for is steps up (`..`) in any encoding, steps up to a file that attackers read, and values that are such a
//! file's absolute name, or a wrapper of PHP or Java. So people may talk about `/etc/passwd`, import `'../../utils'` and paste
//! paths; `file://` is left to editors unless a secret follows. Refused whoever sends them: a value that is nothing but a path
//! that begins with two steps up or has two in a row, or one such name alone.
//!
//! Not found: one plain step (`../notes.txt`), absolute names of files that are nobody's secret, shares at a server's plain name
//! (`\\files\public`), links in the file system, and traversal in names of archives' members unless it is written so.

#[cfg(test)]
mod tests;

/// A pattern from its parts: strings, and the words below.
macro_rules! path {
    // A value from its start: perhaps a parameter's name, a scheme, a directory.
    (@START) => { r"^\s*(?:[\w\[\].-]+=)?" };
    // Files that attackers read, behind the last separator of their directory.
    (@SECRET) => { concat!(
        r"(?:etc[/\\]+(?:\./)*(?:passwd|g?shadow|group|hosts|issue|sudoers|master\.passwd|security/|ssh/|crontab|fstab",
        r"|resolv|apache2/|nginx/|my\.cnf|mysql/)|proc/+(?:self|version|\d+|cmdline|net|sched)|root/+\.|var/+log/",
        r"|var/+run/secrets|usr/local/apache|\.ssh\b|\.aws/|\.git/|\.env\b|\.ht(?:access|passwd)|\.bash_history",
        r"|wp-config|web\.config|(?:web|meta)-inf\b|id_rsa\b|boot\.ini|win\.ini|system32",
        r"|win(?:dows|nt)[/\\]+(?:win\.ini|system|repair|debug))",
    ) };
    (@$literal:literal) => { $literal };
    ($($part:tt)+) => { concat!("(?i)", $(path!(@$part)),+) };
}

/// Name and pattern.
pub(super) const RULES: &[(&str, &str)] = &[
    // Steps up and nothing else: `../../config.php`, `images/../../config.php`.
    (
        "path_traversal.parent_directories",
        path![
            r"^\s*(?:[/\\]\.\.[/\\]"
            r"|[^\s'\x22<>(){}]*\.\.[/\\]+(?:[^\s'\x22<>(){}]*[/\\])?\.\.[/\\][^\s'\x22<>(){}]*\s*$)"
        ],
    ),
    // Steps up that no project is deep enough for, within a text: `GET /../../../../../../x HTTP/1.1`.
    ("path_traversal.many_parents", path![r"(?:\.\.[/\\]+){6}"]),
    // Steps up to a secret: `file=../etc/passwd&x=1`.
    ("path_traversal.parent_of_secret", path![r"\.\.[/\\]\S*[/\\]?" SECRET]),
    // Steps up that are encoded, doubled or in overlong UTF-8: `..%2f`, `%2e%2e/`, `..%c0%af`.
    (
        "path_traversal.encoded_parent",
        path![
            r"(?:(?:%(?:25)*2e|%c0%[ae]e|%e0%80%ae|%uff0e|%u002e|\uff0e|0x2e|%%32%65|\\x2e|\\u002e){2}(?:[/\\\uff0f%]"
            r"|0x[25]|\\[xu])|(?:\.(?:%(?:25)*2e|%c0%ae|%%32%65|%00\.)|(?:%(?:25)*2e|%c0%ae)\.)[/\\%]|(?:^"
            r"|\W)\.\.0x(?:2f|5c)|\.\.(?:%(?:25)*(?:2f|5c)|%25%32%66|%c0%(?:af|2f|9v|5c)|%c1%(?:9c|1c|pc|8s)|%e0%80%af"
            r"|%f0%80%80%af|%u221[56]|%uf025|%bg%qf|%uff0f|%ef%bc%8f|%%32%66|%%35%63|\\x2f|\\u002f"
            r"|[\u2215\u2216\u2044\uff0f]|%0[0ad][/\\%]))"
        ],
    ),
    // Steps up that a filter uncovers: `....//....//`, `..;/`, `.../.\`.
    (
        "path_traversal.nested_parent",
        path![
            r"(?:(?:\.\.\.\.[/\\]{2}){2}|(?:\.\.\.[/\\]\.[/\\]){1}|/\.\.;[\w=]*/|\.\.\\/\.\.\\?/?|\.\./\\[\w.]"
            r"|\.\.\\\.\.\\\.\.\\|\.{4}[/\\]+" SECRET r")"
        ],
    ),
    // The absolute name of a secret, alone: `/etc/passwd`.
    (
        "path_traversal.absolute_secret",
        path![
            START r"(?:/+|%2f|[\\/]*[a-z]:[\\/]+|\\+|/\./)+(?:\./)*(?:etc[/\\]+(?:\./)*(?:passwd|g?shadow|sudoers"
            r"|master\.passwd|security/(?:o?passwd|user))-?|proc/+(?:self|\d+)/(?:environ|cmdline|fd/|maps|mem|cwd/"
            r"|root/|exe)[\w/.]*|root/\.(?:ssh|aws|kube|docker|bash_history)[\w/.]*|(?:home|users)/[\w.]+/\.(?:ssh|aws"
            r"|bash_history|netrc|git-credentials)\S*|var/run/secrets/\S*|var/log/(?:apache2?|httpd|nginx)/(?:access"
            r"|error)\S*|boot\.ini|win(?:dows|nt)[/\\]+(?:win\.ini|system\.ini|repair[/\\]\w+"
            r"|system32[/\\]+(?:config[/\\]\w+|drivers[/\\]etc[/\\]hosts))|inetpub[/\\]\S*web\.config|(?:web"
            r"|meta)-inf/\S+)(?:%00\S*|%23|[?#\x00]|/?\.\w{0,4})*\s*(?:$|[&\x00])"
        ],
    ),
    // The same where encoded: `%2fetc%2fpasswd`, `/%5C../etc`.
    (
        "path_traversal.encoded_secret",
        path![
            r"(?:%(?:25)*2f|%c0%af|%5c)(?:etc|windows|winnt|proc)(?:/|\\|%(?:25)*2f|%c0%af|%5c)(?:passwd|shadow|hosts"
            r"|group|issue|win\.ini|system|self)"
        ],
    ),
    // The end of a name cut off: `report.php%00.jpg`.
    (
        "path_traversal.null_byte",
        path![
            r"\.[a-z]\w*(?:%(?:25)*00\s*$|(?:%(?:25)*00|\x00|\\0|\\x00|\\u0000)\.\w+\s*$)|(?:\x00|%(?:25)*00)\.(?:jpe?g"
            r"|png|gif|html?|txt|pdf|php|ini|css|js)\b"
        ],
    ),
    // Wrappers of PHP: `php://filter/convert.base64-encode/resource=index.php`.
    (
        "path_traversal.php_wrapper",
        path![
            r"(?:php(?::|%3a)(?:/|%2f){2}filter(?:/|%2f)|(?:^|^[\w\[\]]+=)(?:php://(?:input|fd/|stdin|temp)|data:(?://"
            r"|text/plain[^<%]*(?:,(?:<|%3c)|64,pd[89])))|\b(?:phar|expect|glob|ogg|ssh2\.\w+|compress\.(?:zlib|bzip2)"
            r"|rar)://[\w./%]|\bzip://\S+(?:#|%23))"
        ],
    ),
    // Wrappers of others, to a file or a host: `file:///etc/passwd`, `jar:http://…!/`, `netdoc:///etc/passwd`.
    (
        "path_traversal.file_wrapper",
        path![
            r"(?:\bfile(?::|%3a)(?:/|\\|%2f|localhost|127\.0\.0\.1)*\S{0,1}:?[/\\]*" SECRET r"|(?:^"
            r"|[\s'\x22=(])file:/{4,}\w|\b(?:netdoc|local_file|url:file|view-source:file):/|\bjar:(?:https?|ftp"
            r"|file):\S*!/)"
        ],
    ),
    // Shares and devices of Windows that no one links to: `\\192.0.2.1\c$`, `\\.\PhysicalDrive0`.
    (
        "path_traversal.windows_share",
        path![
            r"(?:(?:^|[\s='\x22])\\\\(?:[^\\\s]+\\(?:[a-z]|admin|ipc)\$|[^\\\s]+@(?:ssl|\d+)|[.?]\\(?:physicaldrive"
            r"|globalroot|unc\\|[a-z]:\\windows)|\S*\\davwwwroot)|^\s*(?:[\w]+=)?(?:%5c){2}[\w.%-]+%5c|^\\\\(?:[2-9]"
            r"|1[13-68]\d?|12\d|[2-9]\d|17[013-9]|19[013-9]|2\d\d)(?:\.\d+){3}\\\S+$)"
        ],
    ),
];
