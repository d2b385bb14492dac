//! The peers that a refused connection still has to tell, and when (RFC 6455 §7.1.2).
//!
//! ```text
//! a message of the client is refused: the server gets its Close at once, behind what was forwarded before
//!   └─ what the server still says goes on ── its Close or end, a fault of its own, or CLOSE_GRACE ──▶ the client gets its Close
//! anything else: both get theirs at once
//! ```
//!
//! So what was allowed is answered before its sender is cut. The server's own Close goes no further: ours says why.

use core::time::Duration;

use crate::time::Moment;
use crate::violation::Violation;
use crate::wire::Side;
use crate::wire::close::{INTERNAL_ERROR, close_frame};

/// How long a server may still speak to a refused client: most answers take some milliseconds, and a server that answers our Close ends it
/// sooner. A client gains nothing by it, as nothing more of its own goes on.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// A connection that was refused.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) violation: Violation,
    /// The close code that the client still has to get.
    to_client: Option<u16>,
    /// The close code that the server still has to get.
    to_server: Option<u16>,
    /// Until when the server may speak before the client is told.
    pub(super) server_until: Option<Moment>,
}

impl Closing {
    /// `offender` broke the rule. A side that has had a Close of its peer, as `has_had_one` says, gets no second one (RFC 6455 §5.5.1). Until
    /// `server_until` the server may speak, unless it has said all.
    pub(super) fn new(
        violation: Violation,
        offender: Option<Side>,
        has_had_one: impl Fn(Side) -> bool,
        server_until: Option<Moment>,
    ) -> Self {
        let code = violation.answer().close_code.unwrap_or(INTERNAL_ERROR);
        let to_client = if offender == Some(Side::Server) { INTERNAL_ERROR } else { code };
        let to_client = (!has_had_one(Side::Client)).then_some(to_client);
        let to_server = (!has_had_one(Side::Server)).then_some(code);
        Self { violation, to_client, to_server, server_until: to_client.and(server_until) }
    }

    /// The Close frame that is due towards `to`, once.
    pub(super) fn transmit(&mut self, to: Side, mask: [u8; 4]) -> Option<Vec<u8>> {
        let due = match to {
            Side::Client if self.server_until.is_some() => return None,
            Side::Client => &mut self.to_client,
            Side::Server => &mut self.to_server,
        };
        due.take().map(|code| close_frame(to, code, self.violation.reason(), mask))
    }
}
