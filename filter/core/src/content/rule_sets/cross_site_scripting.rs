//! Markup and script that the browser of a message's reader would run (CWE-79).
//!
//! The rules look for what runs: script elements with code or a source, event handlers within a tag, URLs that are script,
//! and ways out of a script's string. Tags as such are left alone (`<b>`, `<img src>`, an `<iframe>` of a video), and so are
//! names of tags in prose, Markdown, generics, JSX (`onClick={save}`) and `alert(1)` within other text. These are refused even from
//! honest senders, since they look like attacks: pasted HTML with a script element that does something, with a handler in quotes, or with
//! a stylesheet of another site, and the same where it is escaped (`&lt;script&gt;alert(1)&lt;/script&gt;`), since a page may undo that.
//!
//! A pasted script element with a source is refused whatever stands around it: an attack can have a fence of Markdown around it as well.
//! Frames, links and forms of another site are refused where their address leaves out its scheme or its quotes, as embedded videos do not.
//!
//! Not found: directives of one framework (`ng-init`, `v-html`), other links, frames and forms of another site, images, and script assembled
//! from pieces that hold no name of the browser's.

mod element;
mod script;
#[cfg(test)]
mod tests;

use super::kept::Kept;
use super::reading::Reading;

pub(super) const NAMES: &[&str] = &[
    "cross_site_scripting.animated_attribute",
    "cross_site_scripting.attribute_escape",
    "cross_site_scripting.constructor_call",
    "cross_site_scripting.cookie_theft",
    "cross_site_scripting.document_element",
    "cross_site_scripting.document_url",
    "cross_site_scripting.event_handler",
    "cross_site_scripting.hidden_call",
    "cross_site_scripting.script_code",
    "cross_site_scripting.script_source",
    "cross_site_scripting.script_url",
    "cross_site_scripting.string_escape",
    "cross_site_scripting.style_code",
];

/// The rule that `reading` matches; `written`: what it was before its encodings were undone, if it had any.
pub(super) fn find(reading: &Reading<'_>, written: Option<&Reading<'_>>, kept: Kept<'_>) -> Option<&'static str> {
    element::find(reading, kept).or_else(|| script::find(reading, written, kept))
}
