//! What a direction judges a chunk by: the policy, and the connection around it.

use core::cell::Cell;
use std::rc::Rc;

use super::pace::Budget;
use crate::content::credential::Search;
use crate::content::tunnels::Conversation;
use crate::content::{ContentRules, Handshake};
use crate::docket::Docket;
use crate::limits::rules::LimitRules;
use crate::message::MessageRules;
use crate::time::Moment;

/// What one side's messages are judged by.
pub(super) struct Terms<'a> {
    pub(super) rules: &'a MessageRules,
    pub(super) content: &'a Rc<ContentRules>,
    pub(super) handshake: &'a Handshake,
    pub(super) conversation: &'a Cell<Conversation>,
    /// The credential that the client's messages are looked into for.
    pub(super) search: Option<&'a Search<'a>>,
    /// What is found, and what becomes of it.
    pub(super) docket: &'a Docket,
    /// The connection was refused: a Close of ours takes the place of this side's.
    pub(super) is_closing: bool,
    /// Whether what compressed messages say is judged.
    pub(super) inspect: bool,
    /// Whether this direction may hold so many bytes in all.
    pub(super) fits: &'a dyn Fn(usize) -> bool,
    /// How much may be sent, where that is limited.
    pub(super) limits: Option<&'a LimitRules>,
    pub(super) budget: &'a dyn Budget,
    /// How many messages end until one is a sample.
    pub(super) countdown: Option<&'a Cell<u32>>,
    pub(super) now: Moment,
    /// A Ping of ours that is due on this way: it is taken where it goes out.
    pub(super) ping: &'a Cell<Option<Vec<u8>>>,
    /// What a Pong carries that is for us.
    pub(super) pong: &'a [u8],
    /// How many of them are expected.
    pub(super) pongs_due: u32,
}
