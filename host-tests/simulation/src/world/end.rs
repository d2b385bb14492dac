//! Everything ends, and what was taken has come back.

use super::World;
use crate::stream::Stream;

impl World {
    /// Everything ends, and comes back.
    pub(super) fn settle(&mut self) {
        self.note(|| "all is left to end".to_owned());
        self.proxy.disturb(0, 0);
        self.proxy.take_memory(8_000_000);
        for vm in self.vms.clone() {
            for _ in 0..400 {
                if !vm.all_streams().iter().any(|stream| stream.is_waiting()) {
                    break;
                }
                self.proxy.advance(20);
                self.tick(&vm);
            }
            for stream in vm.all_streams() {
                assert!(!stream.is_waiting(), "stream {}: its bytes wait for ever", stream.id);
                stream.wake(&vm);
                self.tidy(&vm, &stream);
            }
        }
        // Longer than any refused connection may stay, any request may wait, and tokens last that end.
        for _ in 0..200 {
            self.proxy.advance(250);
            for vm in self.vms.clone() {
                self.tick(&vm);
                for stream in vm.all_streams() {
                    stream.wake(&vm);
                    self.tidy(&vm, &stream);
                }
            }
            let is_to_end = |stream: &Stream| {
                let seen = stream.seen.borrow();
                self.is_refused(stream) || seen.waits.is_some() || (stream.is_live() && self.ends_soon(&seen))
            };
            if !self.vms.iter().flat_map(|vm| vm.all_streams()).any(|stream| is_to_end(&stream)) {
                break;
            }
        }
        for vm in self.vms.clone() {
            for stream in vm.all_streams() {
                let is_waiting = stream.seen.borrow().waits.is_some();
                assert!(!is_waiting || self.proxy.error_count() > 0, "stream {}: a request waits for ever", stream.id);
                assert!(!self.is_refused(&stream), "stream {}: a refused connection stays", stream.id);
                self.end(&vm, &stream);
            }
            assert_eq!(vm.worker.held().len(), 0, "what is held for judgement");
        }
        // Until those that live have heard of those that do not.
        for round in 0..20 {
            if round >= 2 && self.death_count == 0 && self.proxy.error_count() == 0 {
                break;
            }
            self.proxy.advance(1_000);
            for vm in self.vms.clone() {
                self.tick(&vm);
            }
        }
        self.note(|| self.proxy.describe());
        assert_eq!(self.proxy.gauge.get(), 0, "the gauge of live connections");
        let (open, excused) = (self.proxy.open_count(), self.proxy.count_error_count());
        assert!(
            open <= excused || self.has_lost_unknown,
            "{open} slots of connections that have ended, {excused} of them for errors of the host"
        );
    }

    fn is_refused(&self, stream: &Stream) -> bool {
        let seen = stream.seen.borrow();
        seen.is_up && !seen.is_over && !seen.ends().is_empty() && stream.is_live()
    }
}
