//! The words that a rule looks for, each known by a number: one look into a table in place of a comparison with each.

use super::bytes::packed_len;

/// Declares [`Name`].
macro_rules! names {
    ($($name:ident = $text:literal,)*) => {
        /// What a word is.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(clippy::enum_variant_names, reason = "they are spelt as attacks spell them")]
        pub(super) enum Name {
            /// A word that no rule looks for.
            Other,
            /// No word at all.
            Empty,
            $($name,)*
        }

        const NAMES: &[Name] = &[$(Name::$name),*];

        /// The words themselves, for searches for texts that cost the rules much.
        pub const WORDS: &[&str] = &[$($text,)*];
    };
}

/// A power of two, and about twice as many as there are names: few share a slot.
const SLOT_COUNT: usize = 1024;

/// The longest name.
const LEN_MAX: usize = 32;

/// Which name has a slot, or [`Name::Other`] where none has; a name whose slot is taken has the next that is free.
#[expect(
    clippy::indexing_slicing,
    reason = "worked out when the filter is compiled, which fails where it does not fit"
)]
static SLOTS: [Name; SLOT_COUNT] = {
    let mut slots = [Name::Other; SLOT_COUNT];
    let mut index = 0;
    while index < NAMES.len() {
        let text = WORDS[index].as_bytes();
        // A longer name does not compile.
        let () = [(); LEN_MAX + 1][text.len()];
        let mut at = 0;
        let mut hash = SEED;
        while at < text.len() {
            hash = mix(hash, text[at]);
            at += 1;
        }
        let mut slot = slot_of(hash);
        while !matches!(slots[slot], Name::Other) {
            slot = (slot + 1) % SLOT_COUNT;
        }
        slots[slot] = NAMES[index];
        index += 1;
    }
    slots
};

/// All names, one behind the other, so that a name costs no pointer.
static TEXT: [u8; packed_len(WORDS) - WORDS.len()] = concat(WORDS);

/// Where a name begins in [`TEXT`], by its number; the next begins where it ends. `Other` and `Empty` are nothing.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "worked out when the filter is compiled; a text of 64 KiB is far from it"
)]
static STARTS: [u16; WORDS.len() + FIRST + 1] = {
    let mut starts = [0; WORDS.len() + FIRST + 1];
    let mut index = 0;
    while index < WORDS.len() {
        starts[index + FIRST + 1] = starts[index + FIRST] + WORDS[index].len() as u16;
        index += 1;
    }
    starts
};

/// The number of the first name that has a text.
const FIRST: usize = Name::Empty as usize + 1;

#[expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "as above")]
const fn concat<const LEN: usize>(all: &[&str]) -> [u8; LEN] {
    let mut text = [0; LEN];
    let (mut index, mut end) = (0, 0);
    while index < all.len() {
        let name = all[index].as_bytes();
        let mut at = 0;
        while at < name.len() {
            text[end] = name[at];
            (at, end) = (at + 1, end + 1);
        }
        index += 1;
    }
    text
}

const SEED: u32 = 0x811c_9dc5;

/// FNV-1a.
const fn mix(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

const fn slot_of(hash: u32) -> usize {
    ((hash ^ (hash >> 15)) as usize) % SLOT_COUNT
}

impl Name {
    #[inline(never)]
    pub(super) fn of(word: &[u8]) -> Self {
        if word.is_empty() {
            return Self::Empty;
        }
        if word.len() > LEN_MAX {
            return Self::Other;
        }
        let mut slot = slot_of(word.iter().fold(SEED, |hash, byte| mix(hash, *byte)));
        loop {
            let name = SLOTS.get(slot).copied().unwrap_or(Self::Other);
            if name == Self::Other || name.text() == word {
                return name;
            }
            slot = slot.saturating_add(1) % SLOT_COUNT;
        }
    }

    #[inline]
    fn text(self) -> &'static [u8] {
        let range = STARTS.get(self as usize..).and_then(|starts| starts.first_chunk());
        range.and_then(|[start, end]| TEXT.get(usize::from(*start)..usize::from(*end))).unwrap_or_default()
    }
}

names! {
    DotAws = ".aws",
    DotBashHistory = ".bash_history",
    DotEnv = ".env",
    DotGit = ".git",
    DotHtaccess = ".htaccess",
    DotHtpasswd = ".htpasswd",
    DotSsh = ".ssh",
    DotSvn = ".svn",
    GlobalObject = "Object",
    DunderBase = "__base__",
    DunderBuiltins = "__builtins__",
    DunderClass = "__class__",
    DunderDefineGetter = "__defineGetter__",
    DunderDefineSetter = "__defineSetter__",
    DunderGlobals = "__globals__",
    DunderLookupGetter = "__lookupGetter__",
    DunderLookupSetter = "__lookupSetter__",
    OpenMro = "__mro",
    DunderMro = "__mro__",
    DunderProProtoTo = "__pro__proto__to__",
    DunderProto = "__proto__",
    DunderSubclasses = "__subclasses__",
    UnderAllDbs = "_all_dbs",
    UnderAllDocs = "_all_docs",
    UnderMemberacces = "_memberacces",
    UnderMemberaccess = "_memberaccess",
    UnderSelf = "_self",
    Add = "add",
    Alert = "alert",
    Alter = "alter",
    And = "and",
    Animate = "animate",
    Animatemotion = "animatemotion",
    Animatetransform = "animatetransform",
    App = "app",
    Applet = "applet",
    Arp = "arp",
    As = "as",
    Ash = "ash",
    Assert = "assert",
    Atob = "atob",
    Attach = "attach",
    Attr = "attr",
    Attributename = "attributename",
    Awk = "awk",
    Backup = "backup",
    Base = "base",
    Base64 = "base64",
    Bash = "bash",
    Begin = "begin",
    Benchmark = "benchmark",
    Between = "between",
    Bitsadmin = "bitsadmin",
    BootIni = "boot.ini",
    Bundle = "bundle",
    Button = "button",
    Call = "call",
    CallUserFunc = "call_user_func",
    Case = "case",
    Cast = "cast",
    Cat = "cat",
    Certutil = "certutil",
    Char = "char",
    Chmod = "chmod",
    Chown = "chown",
    Chr = "chr",
    Class = "class",
    Cmd = "cmd",
    CmdExe = "cmd.exe",
    Compress = "compress",
    Config = "config",
    Confirm = "confirm",
    Constconstructorructor = "constconstructorructor",
    Constructor = "constructor",
    Convert = "convert",
    Cookie = "cookie",
    Copy = "copy",
    Cp = "cp",
    Create = "create",
    Crontab = "crontab",
    Csh = "csh",
    Ctx = "ctx",
    Ctxsys = "ctxsys",
    Curl = "curl",
    CurlExe = "curl.exe",
    Cut = "cut",
    Cycler = "cycler",
    Dash = "dash",
    Data = "data",
    Date = "date",
    Db = "db",
    DbmsJava = "dbms_java",
    DbmsLdap = "dbms_ldap",
    DbmsLock = "dbms_lock",
    DbmsPipe = "dbms_pipe",
    DbmsUtility = "dbms_utility",
    DbmsXslprocessor = "dbms_xslprocessor",
    Dd = "dd",
    Declare = "declare",
    Decode = "decode",
    Del = "del",
    Delete = "delete",
    Desc = "desc",
    Detach = "detach",
    Dev = "dev",
    Df = "df",
    Dict = "dict",
    Dig = "dig",
    Dir = "dir",
    Div = "div",
    Do = "do",
    Document = "document",
    Domain = "domain",
    Downloadfile = "downloadfile",
    Downloadstring = "downloadstring",
    Drop = "drop",
    Dup2 = "dup2",
    E = "e",
    Ec = "ec",
    Echo = "echo",
    Egrep = "egrep",
    Embed = "embed",
    Enc = "enc",
    Encoded = "encoded",
    Encodedcommand = "encodedcommand",
    Env = "env",
    Esi = "esi",
    Etc = "etc",
    Eval = "eval",
    Every = "every",
    Exec = "exec",
    Execscript = "execscript",
    Execute = "execute",
    Exp = "exp",
    Expect = "expect",
    Expr = "expr",
    Expression = "expression",
    Extractvalue = "extractvalue",
    Fetch = "fetch",
    Fgrep = "fgrep",
    File = "file",
    Filter = "filter",
    Find = "find",
    Floor = "floor",
    Foreach = "foreach",
    Form = "form",
    Frame = "frame",
    Frames = "frames",
    Freemarker = "freemarker",
    Frombase64string = "frombase64string",
    Fsockopen = "fsockopen",
    Ftp = "ftp",
    Function = "function",
    Gcc = "gcc",
    GetUserFile = "get_user_file",
    Getclass = "getclass",
    Getmac = "getmac",
    Getruntime = "getruntime",
    Glob = "glob",
    Globalthis = "globalthis",
    Gopher = "gopher",
    Grant = "grant",
    Grep = "grep",
    Group = "group",
    Groups = "groups",
    GtidSubset = "gtid_subset",
    GtidSubtract = "gtid_subtract",
    Handler = "handler",
    Having = "having",
    Head = "head",
    Hex2bin = "hex2bin",
    History = "history",
    Home = "home",
    Host = "host",
    Hostname = "hostname",
    Http = "http",
    Https = "https",
    Id = "id",
    IdRsa = "id_rsa",
    Iex = "iex",
    If = "if",
    Ifconfig = "ifconfig",
    Iframe = "iframe",
    Ifs = "ifs",
    Ilike = "ilike",
    Import = "import",
    In = "in",
    Include = "include",
    Inet = "inet",
    Inetpub = "inetpub",
    Input = "input",
    Insert = "insert",
    Into = "into",
    Invoke = "invoke",
    Ipconfig = "ipconfig",
    Is = "is",
    J = "j",
    Jar = "jar",
    Java = "java",
    Jndi = "jndi",
    Join = "join",
    JsonKeys = "json_keys",
    K8s = "k8s",
    Kill = "kill",
    Ksh = "ksh",
    Layer = "layer",
    Less = "less",
    Like = "like",
    Limit = "limit",
    Linestring = "linestring",
    Link = "link",
    Lipsum = "lipsum",
    Ln = "ln",
    LoImport = "lo_import",
    Load = "load",
    LoadExtension = "load_extension",
    LoadFile = "load_file",
    Loader = "loader",
    LocalFile = "local_file",
    Localstorage = "localstorage",
    Location = "location",
    Lower = "lower",
    Ls = "ls",
    LsbRelease = "lsb_release",
    Lua = "lua",
    Lynx = "lynx",
    Main = "main",
    Map = "map",
    Match = "match",
    Merge = "merge",
    Meta = "meta",
    MetaInf = "meta-inf",
    Mkdir = "mkdir",
    Mkfifo = "mkfifo",
    Mod = "mod",
    More = "more",
    Mount = "mount",
    Mshta = "mshta",
    Multipoint = "multipoint",
    Multipolygon = "multipolygon",
    Mv = "mv",
    Mysql = "mysql",
    Nc = "nc",
    NcExe = "nc.exe",
    Ncat = "ncat",
    Net = "net",
    Net1 = "net1",
    Netcat = "netcat",
    Netdoc = "netdoc",
    Netsh = "netsh",
    Netstat = "netstat",
    Nid = "nid",
    Nl = "nl",
    Node = "node",
    Not = "not",
    Nslookup = "nslookup",
    Object = "object",
    Od = "od",
    Ogg = "ogg",
    Openssl = "openssl",
    Opt = "opt",
    Optional = "optional",
    Or = "or",
    Order = "order",
    Org = "org",
    Os = "os",
    Parent = "parent",
    Passthru = "passthru",
    PcntlExec = "pcntl_exec",
    Perl = "perl",
    PgLsDir = "pg_ls_dir",
    PgReadFile = "pg_read_file",
    PgSleep = "pg_sleep",
    Phar = "phar",
    Php = "php",
    Phpinfo = "phpinfo",
    Phpversion = "phpversion",
    Ping = "ping",
    PingExe = "ping.exe",
    Ping6 = "ping6",
    Polygon = "polygon",
    Popen = "popen",
    Poweroff = "poweroff",
    Powershell = "powershell",
    PowershellExe = "powershell.exe",
    Print = "print",
    Printenv = "printenv",
    Printf = "printf",
    Proc = "proc",
    ProcOpen = "proc_open",
    Procedure = "procedure",
    Process = "process",
    Program = "program",
    Programfiles = "programfiles",
    Prompt = "prompt",
    Ps = "ps",
    Psql = "psql",
    Pwd = "pwd",
    Pwsh = "pwsh",
    Python = "python",
    PythonExe = "python.exe",
    Python2 = "python2",
    Python3 = "python3",
    Randomblob = "randomblob",
    Rar = "rar",
    Reboot = "reboot",
    Reduce = "reduce",
    Reg = "reg",
    Regexp = "regexp",
    Registerundefinedfiltercallback = "registerundefinedfiltercallback",
    Regsvr32 = "regsvr32",
    Rename = "rename",
    Replace = "replace",
    Request = "request",
    Require = "require",
    Return = "return",
    Rev = "rev",
    Revoke = "revoke",
    Rlike = "rlike",
    Rm = "rm",
    Root = "root",
    Route = "route",
    Ruby = "ruby",
    Run = "run",
    Rundll32 = "rundll32",
    Sc = "sc",
    Schtasks = "schtasks",
    Scp = "scp",
    Script = "script",
    Scriptenginemanager = "scriptenginemanager",
    SecretKey = "secret_key",
    Sed = "sed",
    Select = "select",
    SelfName = "self",
    Sessionstorage = "sessionstorage",
    Set = "set",
    Setinterval = "setinterval",
    Settimeout = "settimeout",
    Sh = "sh",
    ShellExec = "shell_exec",
    Show = "show",
    Shutdown = "shutdown",
    Similar = "similar",
    Sleep = "sleep",
    Socat = "socat",
    Socket = "socket",
    Some = "some",
    Sort = "sort",
    Sounds = "sounds",
    SpAddsrvrolemember = "sp_addsrvrolemember",
    SpOacreate = "sp_oacreate",
    SpOamethod = "sp_oamethod",
    Spawn = "spawn",
    Srv = "srv",
    Ssh = "ssh",
    Ssh2 = "ssh2",
    Ssi = "ssi",
    Start = "start",
    Stdin = "stdin",
    Strings = "strings",
    Style = "style",
    Subprocess = "subprocess",
    Sys = "sys",
    Sysinfo = "sysinfo",
    System = "system",
    System32 = "system32",
    Systeminfo = "systeminfo",
    Tac = "tac",
    Tail = "tail",
    Tar = "tar",
    Tasklist = "tasklist",
    Tcpclient = "tcpclient",
    Tcpsocket = "tcpsocket",
    Tee = "tee",
    Telnet = "telnet",
    Tftp = "tftp",
    This = "this",
    Timeout = "timeout",
    Tmp = "tmp",
    Tojson = "tojson",
    Tojsononeline = "tojsononeline",
    Top = "top",
    Touch = "touch",
    Traceroute = "traceroute",
    Tracert = "tracert",
    Transfer = "transfer",
    True = "true",
    Truncate = "truncate",
    Type = "type",
    Uname = "uname",
    Union = "union",
    Update = "update",
    Updatexml = "updatexml",
    Upper = "upper",
    Uptime = "uptime",
    Url = "url",
    Urlcache = "urlcache",
    Urlfetch = "urlfetch",
    Use = "use",
    Useradd = "useradd",
    Usermod = "usermod",
    Users = "users",
    Usleep = "usleep",
    Usr = "usr",
    UtlHttp = "utl_http",
    UtlInaddr = "utl_inaddr",
    Var = "var",
    Ver = "ver",
    Vi = "vi",
    W = "w",
    Waitfor = "waitfor",
    WebInf = "web-inf",
    WebConfig = "web.config",
    Wget = "wget",
    WgetExe = "wget.exe",
    Where = "where",
    Which = "which",
    While = "while",
    Who = "who",
    Whoami = "whoami",
    WhoamiExe = "whoami.exe",
    WinIni = "win.ini",
    Window = "window",
    Windows = "windows",
    Windowstyle = "windowstyle",
    Winnt = "winnt",
    With = "with",
    Wmic = "wmic",
    WpConfigPhp = "wp-config.php",
    Write = "write",
    Writeln = "writeln",
    XmlStylesheet = "xml-stylesheet",
    Xor = "xor",
    XpCmdshell = "xp_cmdshell",
    XpDirtree = "xp_dirtree",
    XpRegread = "xp_regread",
    Xxd = "xxd",
    Zip = "zip",
    Zsh = "zsh",
}
