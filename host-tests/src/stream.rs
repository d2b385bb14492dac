//! One HTTP stream as the host sees it: what the peers sent, what the filter let go, how it ended.
//!
//! ```text
//!            receive            callback             settle
//! chunk ───────────────▶ buffer ─────────▶ Continue ─────────▶ forwarded
//!                          ▲               Pause ──▶ held ──┐      ▲
//!                          └──── next chunk (Cumulative) ◀──┴──────┘ resume
//! ```

use std::collections::BTreeMap;
use std::mem;

use crate::{headers::Headers, profile::Bodies};

/// A direction of the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

/// What a callback returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Go on with the next filter.
    Continue,
    /// Stop here.
    Pause,
}

/// A reply made by the filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalReply {
    /// The HTTP status.
    pub status: u32,
    /// Envoy's response code details.
    pub details: String,
    /// Headers beside the status.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub struct Flow {
    /// The header map, with the filter's edits.
    pub headers: Headers,
    /// The header callback has run.
    pub begun: bool,
    /// The filter let the headers go on.
    pub passed: bool,
    /// Body bytes that left the filter.
    pub forwarded: Vec<u8>,
    /// Body bytes that a Pause holds back. An empty buffer is a state of its own: the filter may write to it at any time.
    pub held: Option<Vec<u8>>,
    /// Body bytes that a cumulative host had put into its buffer when the filter let go on what was beside that: a resume
    /// from outside of a callback ends the pause, but not the buffering. Here they are lost; Envoy 1.40 passes them on all the
    /// same, but nothing says that a host must.
    pub stranded: Vec<u8>,
    /// What came while the headers hold everything back: it is shown to the filter when they go on.
    pub(crate) behind: Option<Vec<u8>>,
    paused: bool,
    chunk: Option<Vec<u8>>,
    resumed: bool,
}

/// One stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// From the client to the upstream.
    pub request: Flow,
    /// From the upstream to the client.
    pub response: Flow,
    /// The filter's own answer.
    pub reply: Option<LocalReply>,
    /// The properties that the filter has set.
    pub state: BTreeMap<String, String>,
    /// The filter, or the host after a late reply, reset the stream.
    pub reset: bool,
    /// The stream is over, for whatever reason.
    pub ended: bool,
    /// The root context that it belongs to.
    pub(crate) root: u32,
    pub(crate) logged: bool,
    pub(crate) deleted: bool,
}

impl Stream {
    /// Neither answered, reset nor over: bytes can still move.
    pub fn is_open(&self) -> bool {
        self.reply.is_none() && !self.reset && !self.ended
    }

    /// The direction `side`.
    pub fn flow(&self, side: Side) -> &Flow {
        match side {
            Side::Request => &self.request,
            Side::Response => &self.response,
        }
    }

    pub(crate) fn flow_mut(&mut self, side: Side) -> &mut Flow {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// Puts a chunk before the filter and returns the size of the buffer that it will see.
    pub(crate) fn receive(&mut self, side: Side, bytes: &[u8], bodies: Bodies) -> usize {
        let flow = self.flow_mut(side);
        flow.resumed = false;
        match (&mut flow.held, bodies) {
            (Some(held), Bodies::Cumulative) => held.extend(bytes),
            (..) => flow.chunk = Some(bytes.to_vec()),
        }
        flow.buffer(bodies).map_or(0, |buffer| buffer.len())
    }

    /// Does what the body callback's answer asks for.
    pub(crate) fn settle(&mut self, side: Side, action: Action, bodies: Bodies) {
        let flow = self.flow_mut(side);
        let chunk = flow.chunk.take();
        match action {
            Action::Continue if bodies == Bodies::Cumulative && !flow.paused => {
                flow.stranded.extend(flow.held.take().unwrap_or_default());
                self.forward(side, [None, chunk]);
            }
            Action::Continue => {
                flow.paused = false;
                let held = flow.held.take();
                self.forward(side, [held, chunk]);
            }
            Action::Pause => {
                flow.paused = true;
                flow.held.get_or_insert_default().extend(chunk.unwrap_or_default());
            }
        }
        if bodies == Bodies::ChunkByChunk && self.flow(side).resumed {
            self.resume(side);
        }
    }

    /// `proxy_continue_stream`: lets go what is held. The filter keeps its empty buffer.
    pub(crate) fn resume(&mut self, side: Side) {
        let open = self.is_open();
        let flow = self.flow_mut(side);
        flow.passed |= flow.begun && open;
        flow.resumed = true;
        flow.paused = false;
        let held = flow.held.as_mut().map(mem::take);
        self.forward(side, [held, None]);
    }

    fn forward(&mut self, side: Side, parts: [Option<Vec<u8>>; 2]) {
        if self.is_open() {
            self.flow_mut(side).forwarded.extend(parts.map(Option::unwrap_or_default).concat());
        }
    }
}

impl Flow {
    /// The buffer that the filter can read and write now.
    pub(crate) fn buffer(&mut self, bodies: Bodies) -> Option<&mut Vec<u8>> {
        match bodies {
            Bodies::ChunkByChunk => self.chunk.as_mut(),
            Bodies::Cumulative => self.chunk.as_mut().or(self.held.as_mut()),
        }
    }

    /// The header map, which the filter reaches only until it lets it go.
    pub(crate) fn headers_in_hand(&mut self) -> Option<&mut Headers> {
        (self.begun && !self.passed).then_some(&mut self.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(stream: &mut Stream, bytes: &[u8], bodies: Bodies) -> usize {
        let size = stream.receive(Side::Response, bytes, bodies);
        stream.settle(Side::Response, Action::Pause, bodies);
        size
    }

    #[test]
    fn a_cumulative_host_shows_what_is_held_again() {
        let mut stream = Stream::default();
        assert_eq!(held(&mut stream, b"ab", Bodies::Cumulative), 2);
        assert_eq!(held(&mut stream, b"c", Bodies::Cumulative), 3);
        assert_eq!(stream.response.forwarded, b"");
        stream.receive(Side::Response, b"d", Bodies::Cumulative);
        stream.settle(Side::Response, Action::Continue, Bodies::Cumulative);
        assert_eq!(stream.response.forwarded, b"abcd");
        assert_eq!(stream.response.held, None);
    }

    #[test]
    fn a_chunk_by_chunk_host_keeps_what_is_held_to_itself() {
        let mut stream = Stream::default();
        assert_eq!(held(&mut stream, b"ab", Bodies::ChunkByChunk), 2);
        assert_eq!(held(&mut stream, b"c", Bodies::ChunkByChunk), 1);
        assert_eq!(stream.response.buffer(Bodies::ChunkByChunk), None);
        stream.resume(Side::Response);
        assert_eq!(stream.response.forwarded, b"abc");
    }

    #[test]
    fn an_empty_held_buffer_lets_the_filter_speak_first_and_again() {
        let mut stream = Stream::default();
        held(&mut stream, b"", Bodies::Cumulative);
        for _ in 0..2 {
            stream.response.buffer(Bodies::Cumulative).expect("a held buffer").extend(b"x");
            stream.resume(Side::Response);
        }
        assert_eq!(stream.response.forwarded, b"xx");
    }

    #[test]
    fn a_resume_from_outside_ends_the_pause_but_not_the_buffering() {
        let mut stream = Stream::default();
        held(&mut stream, b"", Bodies::Cumulative);
        stream.resume(Side::Response);
        stream.receive(Side::Response, b"ab", Bodies::Cumulative);
        stream.settle(Side::Response, Action::Continue, Bodies::Cumulative);
        assert_eq!((&*stream.response.forwarded, &*stream.response.stranded), (&b""[..], &b"ab"[..]));
    }

    #[test]
    fn a_resume_inside_the_first_pausing_callback_lets_nothing_go() {
        let mut stream = Stream::default();
        stream.receive(Side::Response, b"ab", Bodies::Cumulative);
        stream.resume(Side::Response);
        stream.settle(Side::Response, Action::Pause, Bodies::Cumulative);
        assert_eq!(stream.response.forwarded, b"");
        assert_eq!(stream.response.held.as_deref(), Some(&b"ab"[..]));
    }

    #[test]
    fn nothing_leaves_a_stream_that_was_answered() {
        let mut stream = Stream { reset: true, ..Stream::default() };
        stream.receive(Side::Request, b"ab", Bodies::Cumulative);
        stream.settle(Side::Request, Action::Continue, Bodies::Cumulative);
        assert_eq!(stream.request.forwarded, b"");
    }
}
