//! Paths to the prototypes that all objects share (CWE-1321), and to the module behind a Python object.
//!
//! A merge or a path setter that walks such a path changes every object of the service. Found are the keys by
//! themselves, and texts that are nothing but a path, a form field or an object with one. Prose and code that
//! mention `__proto__` are left alone; a message that is nothing but such a path is refused, even where it only
//! mentions it.
//!
//! `constructor.prototype` in nested JSON is two keys that are ordinary words. The first of them is refused when it
//! is a whole string in lower case, as a key or, since strings are seen without their place, as a value: a service
//! that sends the word `constructor` by itself cannot use this set. `prototype` by itself is left alone.
//!
//! Not found: paths that the service puts together from other strings than these, and assignments in code.

#[cfg(test)]
mod tests;

/// `__proto__` as it is, percent-encoded, escaped twice, and so that a filter that removes it once leaves it.
macro_rules! proto {
    () => {
        r"(?:(?:_|%5[Ff]|\\u005[Ff]){2}pro(?:__proto__)?to(?:_|%5[Ff]|\\u005[Ff]){2})"
    };
}

/// `constructor`, likewise.
macro_rules! constructor {
    () => {
        "(?:const(?:constructor)?ructor)"
    };
}

/// What joins the steps of a path: dots, slashes, and brackets with or without quotes.
macro_rules! join {
    () => {
        r#"(?:[.\[\]'"/]|%5[BbDd]|%2[27EeFf])+"#
    };
}

/// A part of a path, or nothing.
macro_rules! steps {
    () => {
        r#"[\w$.\[\]'"/%-]*"#
    };
}

/// The start of a text that is a path or an address, or of a field of a form.
macro_rules! field {
    () => {
        concat!("(?:^|[?&#])", steps!())
    };
}

/// The end of a path: of the text, or the value of a field.
macro_rules! end {
    () => {
        concat!(steps!(), "(?:=[^=>]|=?$)")
    };
}

/// Name and pattern.
pub(super) const RULES: &[(&str, &str)] = &[
    // The prototype as a key: `{"__proto__": {"isAdmin": true}}`.
    ("prototype_pollution.proto_key", concat!("^", proto!(), "$")),
    // The prototype as a step of a path: `user.__proto__.isAdmin`, `?__proto__[isAdmin]=1`.
    ("prototype_pollution.proto_step", concat!(field!(), proto!(), join!(), end!())),
    // The prototype as the last step, where a value follows: `user.__proto__={}`.
    ("prototype_pollution.proto_end", concat!(field!(), join!(), proto!(), "(?:=[^=>]|$)")),
    // The prototype in an object as text: `{"__proto__": {"isAdmin": true}}`.
    ("prototype_pollution.proto_object", concat!(r"^\s*[{\[][\s\S]*", proto!(), r#"["']?\s*:\s*[{\["]"#)),
    // The other way to it as a key: `{"constructor": {"prototype": {"isAdmin": true}}}`.
    ("prototype_pollution.constructor_key", concat!("^", constructor!(), "$")),
    // The other way as steps of a path: `constructor[prototype][isAdmin]=1`.
    (
        "prototype_pollution.constructor_step",
        concat!(field!(), constructor!(), join!(), r"proto(?:prototype)?type\b", end!()),
    ),
    // The other way in an object as text.
    (
        "prototype_pollution.constructor_object",
        r#"^\s*[{\[][\s\S]*\bconstructor["']?\s*:\s*\{\s*["']?prototype["']?\s*:"#,
    ),
    // The methods that put accessors on an object, as keys.
    ("prototype_pollution.accessor_key", "^__(?:define|lookup)[GS]etter__$"),
    // From any value to the constructor of functions: `constructor.constructor('return process')()`.
    (
        "prototype_pollution.function_constructor",
        concat!(
            r#"\bconstructor(?:["'`\])]*(?:\.|\?\.|\[["'`])constructor)?["'`\])]*\(\s*["'`]\s*"#,
            r"(?:return|throw|alert|process|globalThis|this)\b"
        ),
    ),
    // What makes a polluted environment run a program.
    ("prototype_pollution.node_options", r"--(?:require|import|loader|experimental-loader)[=\s]+(?:/proc/self/|data:)"),
    // The globals of a Python module as a key.
    ("prototype_pollution.globals_key", "^__globals__$"),
    // The same as a step of a path: `__class__.__init__.__globals__.app`.
    ("prototype_pollution.globals_step", concat!("__(?:init|func|call)__", join!(), r"__globals__")),
];
