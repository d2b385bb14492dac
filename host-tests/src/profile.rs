//! How the host behaves: as Envoy does, or as a filter must be able to bear.

/// The behaviour of one host. The default is Envoy's.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// What a body callback sees after an earlier one returned Pause.
    pub bodies: Bodies,
    /// When a local reply or a reset takes effect.
    pub replies: Replies,
    /// When a shared queue wakes its reader.
    pub wakeups: Wakeups,
    /// Which calls fail, and how.
    pub faults: Faults,
    /// Applied to every serialised header map before the filter gets it.
    pub garble: Option<fn(Vec<u8>) -> Vec<u8>>,
    /// The host's functions beside the ABI (`proxy_call_foreign_function`), none by default.
    pub foreign: Option<Foreign>,
    /// `vm_config.environment_variables`.
    pub environment: Vec<(String, String)>,
}

/// What a host's function of this name makes of its argument, or the status of the call.
pub type Foreign = fn(&str, &[u8]) -> Result<Vec<u8>, u32>;

/// What a body callback sees after an earlier one returned Pause.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Bodies {
    /// The new chunk only. What was paused is kept aside, out of the filter's reach, and leaves before the next continued chunk.
    ChunkByChunk,
    /// The whole held buffer with the new chunk at its end, as in Envoy. The filter may write to it at any time.
    #[default]
    Cumulative,
}

/// When a local reply or a reset takes effect.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Replies {
    /// After the callback that asked for it has returned, as in Envoy.
    #[default]
    Deferred,
    /// Before the call returns: the host calls the same stream context back from inside it.
    Reentrant,
}

/// When a shared queue wakes its reader.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Wakeups {
    /// Before the next tick, with any number of callbacks in between.
    Late,
    /// As soon as the callback that wrote to the queue has returned, as in an Envoy at rest.
    #[default]
    Prompt,
}

/// Which calls fail.
#[derive(Clone, Debug, Default)]
pub enum Faults {
    /// None.
    #[default]
    None,
    /// The named call, once: where it is made for this time since the module was loaded, counted from 1.
    Nth(String, u64, Fault),
    /// The named call.
    Of(String, Fault),
    /// All of them.
    All(Fault),
}

/// How a call fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It does nothing and answers OK; what it should have written stays unwritten.
    Silent,
    /// It does nothing and answers this number.
    Status(u32),
}

impl Faults {
    /// The status of `call`, made for the `nth` time, if it is to fail.
    pub(crate) fn status(&self, call: &str, nth: u64) -> Option<u32> {
        let fault = match self {
            Self::All(fault) => fault,
            Self::Nth(name, when, fault) if name == call && *when == nth => fault,
            Self::Of(name, fault) if name == call => fault,
            Self::None | Self::Nth(..) | Self::Of(..) => return None,
        };
        Some(match fault {
            Fault::Silent => status::OK,
            Fault::Status(number) => *number,
        })
    }
}

/// The status numbers of the ABI.
pub mod status {
    #![expect(missing_docs, reason = "the names are the ABI's")]
    pub const OK: u32 = 0;
    pub const NOT_FOUND: u32 = 1;
    pub const BAD_ARGUMENT: u32 = 2;
    pub const SERIALIZATION_FAILURE: u32 = 3;
    pub const PARSE_FAILURE: u32 = 4;
    pub const INVALID_MEMORY_ACCESS: u32 = 6;
    pub const EMPTY: u32 = 7;
    pub const CAS_MISMATCH: u32 = 8;
    pub const INTERNAL_FAILURE: u32 = 10;
    pub const UNIMPLEMENTED: u32 = 12;
}
