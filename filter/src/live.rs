//! A live connection in the host: bytes through the session, and Close frames of our own.
//!
//! No call of the ABI writes bytes out of turn, but a direction that is paused with an empty buffer can be written at any
//! time: fill the buffer, then let it go on. The direction to the client is kept that way, unless data streams:
//!
//! ```text
//!          STREAM_LEN passed, Forward
//!   Quiet ────────────────────────────▶ Busy
//!     ▲                                   │ short chunk: copied out, Hold
//!     └──────── woken, chunk let go ─── Waiting
//! ```
//!
//! In `Quiet` a chunk is let go within its callback. `Busy` is the host streaming as always: a client that reads slowly lets
//! the host's buffers fill up, and in `Quiet` the large chunk that follows could go beyond the host's limit, which resets the
//! stream. Where a Close cannot be written at once, it is written behind the next bytes of that way, which the
//! upstream's own answering Close brings.

use core::time::Duration;
use std::rc::Rc;

use crate::host;
use crate::host::abi::{self, BufferType, HostError, Hosted, StreamType};
use crate::host::body::Body;
use crate::root::Root;
use crate::stream::Flow;
use crate::telemetry::Record;
use portcullis_core::policy::{Mode, Policies, Policy};
use portcullis_core::session::Session;
use portcullis_core::time::Timestamp;
use portcullis_core::violation::Violation;
use portcullis_core::wire::{Side, Unreadable};

/// How much passes to the client before its way is left to the host, in bytes: half of Envoy's default buffer limit, so that
/// the client cannot have fallen behind by a whole one.
const STREAM_LEN: usize = 524_288;

/// The longest chunk that makes a busy way quiet again, in bytes: it is copied, and Envoy reads in slices of 16 KiB, so a longer
/// one means that more is to come.
const SHORT_LEN_MAX: usize = 16_384;

/// An upgraded stream.
pub(crate) struct Live {
    id: u32,
    policies: Rc<Policies>,
    session: Session,
    to_client: Way,
    /// A call of the host failed: what its buffers hold is not known, so nothing goes on any more.
    broken: bool,
    /// When the stream is reset, and how long after what happened that is.
    deadline: Option<(Timestamp, Duration)>,
    record: Record,
    opened_at: Timestamp,
}

/// Whether the direction to the client can be written.
enum Way {
    /// The host streams.
    Busy,
    /// Paused, with nothing in the host's buffer.
    Quiet {
        /// How many bytes have passed since it was busy.
        passed: usize,
    },
    /// Paused likewise, with bytes that go on when the stream is woken.
    Waiting(Vec<u8>),
}

impl Live {
    /// A connection that is up; `policies` are the ones in force.
    pub(crate) fn new(
        id: u32,
        policies: Rc<Policies>,
        mut session: Session,
        record: Record,
        opened_at: Timestamp,
    ) -> Self {
        session.adopt(&policies);
        Self { id, policies, session, to_client: Way::Busy, broken: false, deadline: None, record, opened_at }
    }

    /// Takes what the client sent.
    pub(crate) fn receive_from_client(&mut self, root: &Root, len: usize) -> Flow {
        self.guard(root, |live| {
            let body = Body::new(BufferType::RequestBody, len);
            live.receive(root, Side::Client, &body, &[])?;
            live.write_to_client()?;
            Ok(Flow::Forward)
        })
    }

    /// Takes what the server sent.
    pub(crate) fn receive_from_server(&mut self, root: &Root, len: usize, end: bool) -> Flow {
        self.guard(root, |live| {
            let body = Body::new(BufferType::ResponseBody, len);
            let (passed, waiting) = match core::mem::replace(&mut live.to_client, Way::Busy) {
                Way::Busy => (None, Vec::new()),
                Way::Quiet { passed } => (Some(passed), Vec::new()),
                Way::Waiting(bytes) => (Some(0), bytes),
            };
            let len = live.receive(root, Side::Server, &body, &waiting)?;
            // The end of the stream must not wait.
            if end { Ok(Flow::Forward) } else { live.pass_to_client(root, passed, len) }
        })
    }

    /// Lets the `len` bytes go on that are in the host's buffer towards the client, and keeps or makes that way quiet, unless
    /// data streams; `passed` is `None` when it was busy.
    fn pass_to_client(&mut self, root: &Root, passed: Option<usize>, len: usize) -> Hosted<Flow> {
        match passed.map(|passed| passed.saturating_add(len)) {
            Some(passed) if passed <= STREAM_LEN => {
                if len > 0 {
                    abi::continue_stream(StreamType::Response)?;
                }
                self.to_client = Way::Quiet { passed };
                Ok(Flow::Hold)
            }
            None if len == 0 => {
                self.to_client = Way::Quiet { passed: 0 };
                Ok(Flow::Hold)
            }
            None if len <= SHORT_LEN_MAX && self.session.is_between_frames(Side::Server) && root.wake(self.id) => {
                let chunk = Body::new(BufferType::ResponseBody, len);
                self.to_client = Way::Waiting(chunk.copy(len)?);
                chunk.rewrite(&[], 0, &[])?;
                Ok(Flow::Hold)
            }
            Some(_) | None => Ok(Flow::Forward),
        }
    }

    /// Lets go what waits; the way to the client is quiet from then on.
    pub(crate) fn wake(&mut self, root: &Root) {
        if matches!(self.to_client, Way::Waiting(_)) {
            self.guard(root, |live| {
                abi::set_effective_context(live.id)?;
                live.write(&[])?;
                Ok(Flow::Hold)
            });
        }
    }

    /// Runs one step, under the policies in force. After a step that failed nothing goes on any more: the client gets a Close
    /// where its way is known to be free, and the stream is reset.
    fn guard(&mut self, root: &Root, step: impl FnOnce(&mut Self) -> Hosted<Flow>) -> Flow {
        if self.broken {
            return Flow::Hold;
        }
        if let Some(policies) = root.policies().filter(|policies| !Rc::ptr_eq(policies, &self.policies)) {
            self.session.adopt(&policies);
            self.policies = policies;
        }
        step(self).unwrap_or_else(|HostError { .. }| {
            self.broken = true;
            if self.session.violation().is_none() {
                self.verdict(root, Violation::Internal);
            }
            self.session.refuse(Violation::Internal, None);
            let told = self.write_to_client().and_then(|()| self.schedule(root));
            if told.is_err() || matches!(self.to_client, Way::Busy) {
                self.reset();
            }
            Flow::Hold
        })
    }

    /// Ends a connection whose peers did not.
    pub(crate) fn reset(&self) {
        if abi::set_effective_context(self.id).is_ok() {
            let _ = abi::close_stream(StreamType::Response);
        }
    }

    /// The end of the stream.
    pub(crate) fn end(self, root: &Root) {
        root.schedule(self.id, self.deadline.map(|(at, _)| at), None);
        let violation = self.session.violation();
        if let Some(telemetry) = root.telemetry() {
            telemetry.closed(violation);
        }
        if self.session.policy().log.connections {
            let lived = host::now().map(|now| now.since(self.opened_at)).unwrap_or_default();
            self.record.closed(violation, u64::try_from(lived.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// Has the bytes of one side judged and what may not pass taken out; `before` goes first. Gives the length of what
    /// is in the host's buffer then.
    fn receive(&mut self, root: &Root, from: Side, body: &Body, before: &[u8]) -> Hosted<usize> {
        let received = self.session.receive(from, body).map_err(|Unreadable| HostError::NONSENSE)?;
        if let Some(violation) = received.violation {
            self.verdict(root, violation);
        }
        self.schedule(root)?;
        let close = self.close(from.peer())?;
        let passage = received.passage;
        let before = [before, &passage.before].concat();
        let after = [passage.after, close].concat();
        body.rewrite(&before, passage.keep, &after)?;
        Ok(before.len().saturating_add(passage.keep).saturating_add(after.len()))
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
        // Until they are gone nothing can be written before them.
        let waiting = match core::mem::replace(&mut self.to_client, Way::Busy) {
            Way::Busy | Way::Quiet { .. } => Vec::new(),
            Way::Waiting(waiting) => waiting,
        };
        abi::set_buffer(BufferType::ResponseBody, 0, 0, &[&waiting, bytes].concat())?;
        abi::continue_stream(StreamType::Response)?;
        self.to_client = Way::Quiet { passed: 0 };
        Ok(())
    }

    /// The Close frame that is due towards `to`, empty while there is none.
    fn close(&mut self, to: Side) -> Hosted<Vec<u8>> {
        if self.session.violation().is_none() {
            return Ok(Vec::new());
        }
        Ok(self.session.transmit(to, host::random()?).unwrap_or_default())
    }

    /// Counts and logs a violation.
    fn verdict(&self, root: &Root, violation: Violation) {
        let Policy { mode, log, .. } = &**self.session.policy();
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

    /// Has the connection reset when it does not end in time.
    fn schedule(&mut self, root: &Root) -> Hosted<()> {
        let time = self.session.time_to_end();
        if time != self.deadline.map(|(_, time)| time) {
            let deadline = time.map(|time| Ok((host::now()?.saturating_add(time), time))).transpose()?;
            root.schedule(self.id, self.deadline.map(|(at, _)| at), deadline.map(|(at, _)| at));
            self.deadline = deadline;
        }
        Ok(())
    }
}
