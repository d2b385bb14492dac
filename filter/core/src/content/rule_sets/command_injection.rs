//! Commands that leave the value they were written into and reach a shell or an interpreter (CWE-77, CWE-78, CWE-94).
//!
//! The rules look for the way out, not for commands: a value of at most one word, or a quote that is closed, then `;`, `|`, `&`, a line break,
//! `$(…)` or backticks, then a command. So people may talk about commands, paste whole lines (`cd /tmp && ls`), write Markdown's inline
//! code, and install from `curl https://… | sh`. These are refused even from honest senders: shells that call back, programs hidden in an
//! encoding, `; whoami`, the look-ups of Log4j, and templates that reach for the runtime or only multiply (`{{7*7}}`).
//!
//! Not found: a value that is a whole command and names no secret (`whoami`, `sleep 10`: names of methods, of members, and what people say), a weak command (`ls`, `id`) behind a word of letters alone
//! (`name;id` is a list of columns), options smuggled into a command's arguments, and code of an interpreter that names nothing of the system.

mod command;
mod line;
mod secret;
mod shell;
mod template;
#[cfg(test)]
mod tests;

use super::bytes::{Kinds, first, of, places};
use super::kept::Kept;
use super::reading::Reading;

pub(super) const NAMES: &[&str] = &[
    "command_injection.chained_call",
    "command_injection.chained_command",
    "command_injection.decoded_command",
    "command_injection.download_and_run",
    "command_injection.hidden_space",
    "command_injection.java_expression",
    "command_injection.log4j_lookup",
    "command_injection.powershell",
    "command_injection.reconnaissance",
    "command_injection.reverse_shell",
    "command_injection.script_call",
    "command_injection.sensitive_file",
    "command_injection.shellshock",
    "command_injection.split_word",
    "command_injection.substituted_command",
    "command_injection.template_object",
    "command_injection.template_probe",
    "command_injection.time_delay",
    "command_injection.wildcard_path",
    "command_injection.windows_tool",
];

/// The rule that `reading` matches.
pub(super) fn find(reading: &Reading<'_>, kept: Kept<'_>) -> Option<&'static str> {
    let marks = || if reading.has(MARKS) { marks(reading.folded(), kept) } else { None };
    shell::find(reading, kept).or_else(|| line::find(reading, kept)).or_else(marks)
}

const MARKS: Kinds = of(b"/({<[$#");

/// What begins with a mark: patterns of names, functions, templates.
fn marks(text: &[u8], kept: Kept<'_>) -> Option<&'static str> {
    places(text, MARKS).find_map(|(before, rest)| match first(rest) {
        b'/' => kept.of(shell::wildcard(rest)),
        b'(' => kept.of(line::shellshock(before, rest)).or_else(|| kept.of(template::opening(before, rest))),
        _ => kept.of(template::opening(before, rest)),
    })
}
