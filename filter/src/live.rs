//! A live connection in the host: bytes through the session, and Close frames of our own.
//!
//! No call of the ABI writes bytes out of turn, but a direction that is paused with an empty buffer can be written at any
//! time: fill the buffer, then let it go on. The direction to the client is kept that way while it is quiet:
//!
//! ```text
//!             large chunk, Forward
//!   Quiet ───────────────────────────▶ Busy
//!     ▲                                  │ small chunk: copied out, Hold
//!     └──────── woken, chunk let go ── Waiting
//! ```
//!
//! In `Quiet` a chunk is let go within its callback. A long message makes the way `Busy`, where the host streams as
//! always: in `Quiet` a chunk beyond the host's buffer limit would reset the stream. Where a Close cannot be written at
//! once, it is written behind the next bytes of that way, which the upstream's own answering Close brings.

use std::rc::Rc;

use crate::host;
use crate::host::abi::{self, BufferType, HostError, Hosted, StreamType};
use crate::host::body::Body;
use crate::root::Root;
use crate::stream::Flow;
use crate::telemetry::Record;
use portcullis_core::policy::{Mode, Policy};
use portcullis_core::session::Session;
use portcullis_core::time::Timestamp;
use portcullis_core::violation::Violation;
use portcullis_core::wire::{Side, Unreadable};

/// Chunks up to this size keep the way to the client quiet, in bytes: Envoy reads in slices of 16 KiB, so a longer chunk
/// means that data streams. Far below any buffer limit.
const QUIET_LEN_MAX: usize = 16_384;

/// An upgraded stream.
pub(crate) struct Live {
    id: u32,
    session: Session,
    to_client: Way,
    record: Record,
    opened_at: Timestamp,
}

/// Whether the direction to the client can be written.
enum Way {
    /// The host streams.
    Busy,
    /// Paused, with nothing in the host's buffer.
    Quiet,
    /// As `Quiet`, with bytes that go on when the stream is woken.
    Waiting(Vec<u8>),
}

impl Live {
    pub(crate) const fn new(id: u32, session: Session, record: Record, opened_at: Timestamp) -> Self {
        Self { id, session, to_client: Way::Busy, record, opened_at }
    }

    pub(crate) const fn policy(&self) -> &Rc<Policy> {
        self.session.policy()
    }

    pub(crate) fn receive_from_client(&mut self, root: &Root, len: usize) -> Hosted<Flow> {
        let body = Body::new(BufferType::RequestBody, len);
        self.receive(root, Side::Client, &body, &[])?;
        self.write_to_client()?;
        Ok(Flow::Forward)
    }

    pub(crate) fn receive_from_server(&mut self, root: &Root, len: usize, end: bool) -> Hosted<Flow> {
        let body = Body::new(BufferType::ResponseBody, len);
        let (was_busy, waiting) = match core::mem::replace(&mut self.to_client, Way::Busy) {
            Way::Busy => (true, Vec::new()),
            Way::Quiet => (false, Vec::new()),
            Way::Waiting(bytes) => (false, bytes),
        };
        let len = self.receive(root, Side::Server, &body, &waiting)?;
        // The end of the stream must not wait, and a long chunk means that more will come.
        if end || len > QUIET_LEN_MAX {
            return Ok(Flow::Forward);
        }
        if !was_busy || len == 0 {
            self.to_client = Way::Quiet;
            if len > 0 {
                abi::continue_stream(StreamType::Response)?;
            }
        } else if root.wake(self.id) {
            let bytes = Body::new(BufferType::ResponseBody, len);
            self.to_client = Way::Waiting(bytes.copy(len)?);
            bytes.rewrite(&[], 0, &[])?;
        } else {
            return Ok(Flow::Forward);
        }
        Ok(Flow::Hold)
    }

    /// Lets go what waits; the way to the client is quiet from then on.
    pub(crate) fn wake(&mut self) {
        if matches!(self.to_client, Way::Waiting(_)) && abi::set_effective_context(self.id).is_ok() {
            let _ = self.write(&[]);
        }
    }

    /// Ends a connection whose peers did not.
    pub(crate) fn reset(&self) {
        if abi::set_effective_context(self.id).is_ok() {
            let _ = abi::close_stream(StreamType::Response);
        }
    }

    /// A fault of the host under `fail: closed`: nothing goes on any more, and both sides are told as far as they can be.
    pub(crate) fn fail(&mut self, root: &Root) -> Flow {
        if self.session.violation().is_none() {
            self.verdict(root, Violation::Internal);
        }
        if let Ok(now) = host::now() {
            self.session.refuse(Violation::Internal, None, now);
        }
        if self.write_to_client().is_err() || self.session.deadline().is_none() {
            let _ = abi::close_stream(StreamType::Response);
        }
        self.schedule(root);
        Flow::Hold
    }

    /// The end of the stream.
    pub(crate) fn end(self, root: &Root) {
        let violation = self.session.violation();
        if let Some(telemetry) = root.telemetry() {
            telemetry.closed(violation);
        }
        if self.policy().log.connections {
            let lived = host::now().map(|now| now.since(self.opened_at)).unwrap_or_default();
            self.record.closed(violation, u64::try_from(lived.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// Has the bytes of one side judged and what may not pass taken out; `before` goes first. Gives the length of what
    /// is in the host's buffer then.
    fn receive(&mut self, root: &Root, from: Side, body: &Body, before: &[u8]) -> Hosted<usize> {
        let received = self.session.receive(from, body, host::now()?).map_err(|Unreadable| HostError::NONSENSE)?;
        if let Some(violation) = received.violation {
            self.verdict(root, violation);
            self.schedule(root);
        }
        let close = self.close(from.peer())?;
        let held = received.passage.before.as_slice();
        let before = [before, held].concat();
        let keep = received.passage.keep;
        body.rewrite(&before, keep, &close)?;
        Ok(before.len().saturating_add(keep).saturating_add(close.len()))
    }

    /// Writes the Close that is due to the client, if it can be written now.
    fn write_to_client(&mut self) -> Hosted<()> {
        if matches!(self.to_client, Way::Busy) {
            return Ok(());
        }
        let close = self.close(Side::Client)?;
        if close.is_empty() { Ok(()) } else { self.write(&close) }
    }

    /// Writes what waits and `bytes` to the client, outside of that way's own callback.
    fn write(&mut self, bytes: &[u8]) -> Hosted<()> {
        let waiting = match core::mem::replace(&mut self.to_client, Way::Quiet) {
            Way::Busy | Way::Quiet => Vec::new(),
            Way::Waiting(waiting) => waiting,
        };
        abi::set_buffer(BufferType::ResponseBody, 0, 0, &[&waiting, bytes].concat())?;
        abi::continue_stream(StreamType::Response)
    }

    /// The Close frame that is due towards `to`, empty while there is none.
    fn close(&mut self, to: Side) -> Hosted<Vec<u8>> {
        if self.session.deadline().is_none() {
            return Ok(Vec::new());
        }
        Ok(self.session.transmit(to, host::random()?).unwrap_or_default())
    }

    /// Counts and logs a violation.
    fn verdict(&self, root: &Root, violation: Violation) {
        let Policy { mode, log, .. } = &**self.policy();
        if let Some(telemetry) = root.telemetry() {
            match mode {
                Mode::Enforce => telemetry.connection_refused(violation),
                Mode::Monitor => telemetry.would_refuse(violation),
            }
        }
        if log.refusals {
            self.record.refused(violation, *mode);
        }
    }

    fn schedule(&self, root: &Root) {
        if let Some(deadline) = self.session.deadline() {
            root.schedule(self.id, deadline);
        }
    }
}
