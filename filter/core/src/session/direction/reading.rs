//! What of a message is read, by the rules that it began under.

use crate::content::ContentRules;
use crate::message::MessageRules;
use crate::wire::header::Opcode;

/// What of a message is read. It cannot be read when its beginning has gone by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    head: bool,
    text: bool,
    utf8: bool,
}

impl Reading {
    /// What the rules want of a message that begins with this opcode.
    pub(super) fn of(opcode: Opcode, rules: &MessageRules, content: &ContentRules) -> Self {
        let is_text = rules.is_text(opcode);
        Self { head: !content.tunnels, text: is_text && content.read_text(), utf8: is_text && rules.utf8 }
    }

    /// Whether it is no less than what is wanted.
    pub(super) const fn is_enough_for(self, wanted: Self) -> bool {
        (self.head || !wanted.head) && (self.text || !wanted.text) && (self.utf8 || !wanted.utf8)
    }
}
