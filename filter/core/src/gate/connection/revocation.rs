//! Whether the credential that a connection came with is revoked by now.

use super::Connection;
use crate::effect::Effects;
use crate::entry::Credential;
use crate::gate::worker::Worker;
use crate::mode::Mode;
use crate::violation::Violation;

impl Connection {
    /// Whether it may have been revoked since it was looked at.
    pub(super) fn is_unreviewed(&self, worker: &Worker) -> bool {
        self.revision != Some(worker.identity.revision())
    }

    /// What is revoked has to be found anew: by another policy, or of another credential.
    pub(super) fn look_again(&mut self) {
        (self.marks, self.revision, self.is_revoked) = (None, None, false);
    }

    /// Ends it where its credential is revoked.
    #[cold]
    pub(super) fn look_at_revocations(&mut self, worker: &Worker, effects: &mut Effects) {
        let identity = &worker.identity;
        self.revision = Some(identity.revision());
        if self.session.violation().is_some() || self.is_revoked {
            return;
        }
        // Otherwise its claims would be read for nothing.
        if self.marks.is_none() && identity.can_revoke(&self.policy.auth) {
            let credential = self.session.credential().and_then(Credential::open);
            self.marks = credential.and_then(|own| identity.marks(&self.policy.auth, &own)).map(Box::new);
        }
        let is_revoked = self.marks.as_deref().is_some_and(|marks| identity.is_revoked(&self.policy.auth, marks));
        if !is_revoked {
            return;
        }
        let mode = self.policy.modes.auth;
        match mode {
            Mode::Enforce => self.session.refuse(Violation::CredentialRevoked, None, worker.now()),
            Mode::Monitor => self.is_revoked = true,
        }
        self.report(worker, &Violation::CredentialRevoked.into(), None, mode, effects);
        self.arm(worker, effects);
    }
}
