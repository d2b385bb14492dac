//! The first bytes of protocols that are tunnelled.

/// Stub.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// Stub.
    Ssh,
}
impl Protocol {
    /// Stub.
    pub const fn name(self) -> &'static str {
        "ssh"
    }
}
/// Stub.
#[derive(Clone, Copy, Debug)]
pub enum Judgement {
    /// Stub.
    Clear,
    /// Stub.
    Tunnel(Protocol),
    /// Stub.
    Undecided,
}
/// Stub.
#[derive(Clone, Copy, Debug)]
pub struct Head(u8);
impl Head {
    /// Stub.
    pub fn new() -> Self {
        Self(0)
    }
    /// Stub.
    pub fn receive(&mut self, byte: u8) -> Judgement {
        let Some(want) = b"SSH-2.0-".get(self.0 as usize) else { return Judgement::Clear };
        if *want != byte {
            return Judgement::Clear;
        }
        self.0 += 1;
        if self.0 == 8 { Judgement::Tunnel(Protocol::Ssh) } else { Judgement::Undecided }
    }
    /// Stub.
    pub fn finish(&self) -> Judgement {
        Judgement::Clear
    }
}
/// Stub.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exempt;
impl Exempt {
    /// Stub.
    pub fn for_subprotocol(_: &str) -> Self {
        Self
    }
    /// Stub.
    pub fn contains(&self, _: Protocol) -> bool {
        false
    }
}
