//! The messages that rules about content have most work with.

/// What stands around the repeated unit.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// What the message begins with.
    pub before: &'static str,
    /// What stands between two units, and, but for a comma, behind each.
    pub between: &'static str,
    /// What the message ends with.
    pub after: &'static str,
}

/// Nothing.
pub const TEXT_FORM: Form = Form { before: "", between: "", after: "" };

/// A string.
pub const STRING_FORM: Form = Form { before: "\"", between: "", after: "\"" };

/// A list of strings.
pub const STRINGS_FORM: Form = Form { before: "[\"\"", between: ",\"", after: "]" };

impl Form {
    /// A message of `len` bytes at most that repeats `unit`.
    #[must_use]
    pub fn message(&self, unit: &[&str], len: usize) -> String {
        let close = self.between.trim_start_matches(',');
        let unit = [&[self.between][..], unit, &[close]].concat().concat();
        let room = len - self.before.len() - self.after.len();
        [self.before, &unit.repeat(room / unit.len().max(1)), self.after].concat()
    }
}

/// What longer searches found: the worst that is known for all sets together, in instructions or in time, in the form it stands in.
pub const WORST: [(Form, &str); 11] = [
    (TEXT_FORM, "\\\"0../a../0\n\\\\\\\\x27A1 \r\n\r\n"),
    (TEXT_FORM, "\\\"||0x2e \\\\returnuname`../0%2e\r\n\r\n0x2e"),
    (TEXT_FORM, "<a &amp;net$(jA1 on=\\\\returnchmod+A1 \\\"\r\n\r\nnot/*"),
    (STRING_FORM, ";\\\"\\\\netwinntca\\t <a &#39;`;0x2e"),
    (STRINGS_FORM, "selectbutton/*\\\"\\\\regexpdostart\\b'&amp;121=../A1 "),
    (STRINGS_FORM, "etc/*{{0|{{renametmp'1212A1 %2e\\"),
    (STRINGS_FORM, "schtasksrandomblobpg_read_file||ewin.ini$(cat \\[A1 \\\\&#39;0x2e' or \\\""),
    (STRINGS_FORM, "__mro__defineSetter__vihttp://procedurexp_regreadrevoke%2e/*';__defineSetter__,\\\\x27\\"),
    (TEXT_FORM, "\u{1e}+0e0"),
    (TEXT_FORM, "\u{1e}-1a-"),
    (STRINGS_FORM, "xor or &#39;0x2e$(cat {\\\\x27"),
];
