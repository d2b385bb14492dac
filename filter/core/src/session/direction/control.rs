//! What control frames carry (RFC 6455 §5.5): read only where it matters.

use super::{Direction, Fault};
use crate::session::scan::Scan;
use crate::session::terms::Terms;
use crate::wire::close::check_payload;
use crate::wire::header::FrameHeader;
use crate::wire::mask::Mask;
use crate::wire::{Chunk, Unreadable};

impl Direction {
    /// Checks what a Close says.
    pub(super) fn check_close<C: Chunk + ?Sized>(
        &mut self,
        scan: &mut Scan<'_, C>,
        header: &FrameHeader,
    ) -> Result<(), Fault> {
        let payload = self.control_payload(scan, header)?;
        check_payload(&payload)?;
        self.close_code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        Ok(())
    }

    /// Whether a Pong answers a ping of ours.
    pub(super) fn is_for_us<C: Chunk + ?Sized>(
        &self,
        scan: &mut Scan<'_, C>,
        header: &FrameHeader,
        terms: &Terms<'_>,
    ) -> Result<bool, Unreadable> {
        Ok(header.payload_len == terms.pong.len() as u64 && self.control_payload(scan, header)? == terms.pong)
    }

    /// What a control frame carries, all of which is held or not decided about.
    #[inline(never)]
    fn control_payload<C: Chunk + ?Sized>(
        &self,
        scan: &mut Scan<'_, C>,
        header: &FrameHeader,
    ) -> Result<Vec<u8>, Unreadable> {
        let frame = [self.frame_held.first(), scan.undecided_bytes()?].concat();
        let masked = frame.get(header.header_len..).unwrap_or_default();
        let mut payload = masked.to_vec();
        if let Some(key) = header.mask {
            Mask::new(key).apply(masked, &mut payload);
        }
        Ok(payload)
    }
}
