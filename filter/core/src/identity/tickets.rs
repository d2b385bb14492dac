//! Tickets: what a client is known by, sealed into a text that admits once and not for long.
//!
//! ```text
//! base64url( version 1 │ key id 4 │ nonce 24 │ sealed │ tag 16 )                    XChaCha20-Poly1305
//! sealed:    id 16 │ ends 8 │ bound 32 │ credential ends 8 │ provider, 2 + len │ its mark, 2 + len │ its claims, as they came
//! bound to it, but not in it: version, key id, the path where tickets are issued, and which proxies may redeem
//! ```
//!
//! No worker remembers a ticket that it has issued, only those that were redeemed ([`super::used`]). One that is opened has to meet the
//! policy once more: its provider and what that asks of claims, as the credential did that it was issued for.

use core::fmt;
use core::time::Duration;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::token::{Packed, Provider, Verified};
use crate::violation::Violation;

/// The shortest secret, in bytes: as long as the key that is made of it.
pub const SECRET_LEN_MIN: usize = 32;

/// The longest claims that a ticket has room for, in bytes: it has to fit into the query of a request, for which many servers take 8 KiB.
pub const CLAIMS_LEN_MAX: usize = 4_096;

/// The longest name of a provider, in bytes.
const PROVIDER_LEN_MAX: usize = 256;

/// How long tickets may live: a page connects within a second of having one.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// See [`TTL_MIN`]. What is redeemed is remembered for as long.
pub const TTL_MAX: Duration = Duration::from_secs(300);

/// How far calendars of a fleet may differ, and how far one may be set back without anything that is redeemed being forgotten before it is
/// over.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The longest mark that tells a credential without a subject from others, in bytes: a digest, where its claims do not.
const MARK_LEN_MAX: usize = 32;

/// What comes first in every ticket: another layout has another number.
const VERSION: u8 = 1;

const KEY_ID_LEN: usize = 4;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// The longest text that is looked at: no ticket is longer.
const TEXT_LEN_MAX: usize =
    (HEAD_LEN + 68 + PROVIDER_LEN_MAX + MARK_LEN_MAX + CLAIMS_LEN_MAX + TAG_LEN).div_ceil(3) * 4;

/// How many random bytes a ticket needs: those of its id and of its nonce.
pub const RANDOM_LEN: usize = ID_LEN + NONCE_LEN;

const ID_LEN: usize = 16;

/// Services count in fixed windows, at most an hour long: a ticket lives within one, so that it is counted in one. By the clock of the
/// service, which may be a little off.
const WINDOW: Duration = Duration::from_secs(3_600);
const WINDOW_MARGIN: Duration = Duration::from_secs(1);

/// How a policy issues tickets, and which it takes.
#[derive(Clone, Debug)]
pub struct TicketRules {
    /// The path where they are issued.
    pub path: Box<str>,
    /// How long they live.
    pub ttl: Duration,
    /// The keys that they are sealed with.
    pub keys: TicketKeys,
    /// What has to be the same when they are redeemed.
    pub bind: Bind,
    /// Where it is known which were redeemed.
    pub store: Store,
}

/// What has to be the same when a ticket is redeemed as when it was issued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bind {
    /// The client's address.
    pub address: bool,
    /// The origin of its page.
    pub origin: bool,
}

impl Bind {
    /// It is good for whoever has it.
    pub const NOTHING: Self = Self { address: false, origin: false };
}

/// Where it is known which tickets were redeemed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Store {
    /// The workers of the proxy that has issued it: no other takes it, nor the same one once it was started anew.
    Local,
    /// A rate limit service, for all proxies that have the same keys.
    RateLimitService,
}

/// The keys of tickets: the first seals, all open.
#[derive(Clone)]
pub struct TicketKeys(Rc<[TicketKey]>);

/// One of them.
struct TicketKey {
    id: [u8; KEY_ID_LEN],
    key: Secret<[u8; 32]>,
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys({})", self.0.len())
    }
}

impl TicketKeys {
    /// Keys made of secrets of at least [`SECRET_LEN_MIN`] bytes each.
    #[must_use]
    pub fn new(secrets: &[Secret<Vec<u8>>]) -> Self {
        let digest = |label: &str, secret: &Secret<Vec<u8>>| -> [u8; 32] {
            Sha256::new_with_prefix(label).chain_update(secret.expose()).finalize().into()
        };
        let key = |secret: &Secret<Vec<u8>>| TicketKey {
            id: digest("portcullis ticket key id\0", secret).first_chunk().copied().unwrap_or_default(),
            key: Secret::new(digest("portcullis ticket key\0", secret)),
        };
        Self(secrets.iter().map(key).collect())
    }
}

/// What a ticket is bound to, as a digest: all of it that the policy names, as it is or is missing.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Bound([u8; 32]);

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bound")
    }
}

impl Bound {
    /// What `bind` names of a request from `origin` and `address`.
    #[must_use]
    pub fn new(bind: Bind, origin: Option<&[u8]>, address: &[u8]) -> Self {
        let mut hash = Sha256::new_with_prefix([u8::from(bind.origin), u8::from(bind.address)]);
        if bind.origin {
            let origin_len = origin.map_or(u64::MAX, |origin| origin.len() as u64);
            hash.update(origin_len.to_le_bytes());
            hash.update(origin.unwrap_or_default());
        }
        if bind.address {
            hash.update(address);
        }
        Self(hash.finalize().into())
    }
}

/// The proxies that may redeem a ticket: those of one `seed`, or all that have its key.
#[derive(Clone, Copy)]
pub struct Scope([u8; 17]);

impl Scope {
    /// The proxy with this seed, which no other has and which it does not have again.
    #[must_use]
    pub fn of_proxy(seed: [u8; 16]) -> Self {
        let mut scope = [1; 17];
        scope.iter_mut().skip(1).zip(seed).for_each(|(to, from)| *to = from);
        Self(scope)
    }

    /// All proxies.
    pub const FLEET: Self = Self([0; 17]);
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope")
    }
}

/// A ticket that was issued.
#[derive(Debug)]
pub struct Issued {
    /// Its text.
    pub text: Secret<String>,
    /// How long it lives.
    pub lifetime: Duration,
}

/// A ticket that was opened, and is to be redeemed.
#[derive(Debug)]
pub struct Ticket {
    /// What tells it from every other.
    pub id: Secret<[u8; ID_LEN]>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Where it is known whether it was redeemed.
    pub store: Store,
    /// The client that it was issued to.
    pub holder: Rc<Verified>,
}

/// Issues a ticket to `holder`, who is bound to come back as `bound` says.
///
/// # Errors
/// [`Violation::CredentialExpired`] where the credential has less than a second left, without any leeway; [`Violation::ClaimRefused`] for
/// claims of more than [`CLAIMS_LEN_MAX`]; [`Violation::Overloaded`] at the turn of the hour, where a service counts.
pub fn seal(
    rules: &TicketRules,
    scope: Scope,
    holder: &Verified,
    bound: Bound,
    now: Timestamp,
    random: [u8; RANDOM_LEN],
) -> Result<Issued, Violation> {
    let of_credential = holder.expires_at().since(now);
    if of_credential < TTL_MIN {
        return Err(Violation::CredentialExpired);
    }
    let lifetime = rules.ttl.min(of_credential);
    let lifetime = match rules.store {
        Store::Local => lifetime,
        Store::RateLimitService => lifetime.min(of_window(now).ok_or(Violation::Overloaded)?),
    };
    let packed = holder.pack();
    let provider = packed.provider().as_bytes();
    // Mostly its claims tell it from others.
    let mark = if holder.mark() == holder.text() { &[] } else { holder.mark() };
    let is_long = provider.len() > PROVIDER_LEN_MAX || mark.len() > MARK_LEN_MAX;
    if is_long || holder.text().len() > CLAIMS_LEN_MAX {
        return Err(Violation::ClaimRefused);
    }
    let len = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or_default().to_le_bytes();
    let (id, nonce) = random.split_first_chunk::<ID_LEN>().ok_or(Violation::Internal)?;
    let nonce: &[u8; NONCE_LEN] = nonce.first_chunk().ok_or(Violation::Internal)?;
    let content = [
        id.as_slice(),
        &now.saturating_add(lifetime).as_nanos().to_le_bytes(),
        &bound.0,
        &packed.expires_at().as_nanos().to_le_bytes(),
        &len(provider),
        provider,
        &len(mark),
        mark,
        holder.text(),
    ];
    let key = rules.keys.0.first().ok_or(Violation::Internal)?;
    let head = [&[VERSION], key.id.as_slice()].concat();
    let aad = associated(&head, &rules.path, scope);
    let payload = Payload { msg: &content.concat(), aad: &aad };
    let sealed = cipher(key).encrypt(&XNonce::from(*nonce), payload).map_err(|_| Violation::Internal)?;
    let text = URL_SAFE_NO_PAD.encode([&head, nonce.as_slice(), &sealed].concat());
    Ok(Issued { text: Secret::new(text), lifetime })
}

/// Opens a ticket that comes back as `bound` says, whose provider `provider` finds by its name. It is not redeemed by that.
///
/// # Errors
/// [`Violation::TicketInvalid`] where it is none of ours, is over, or comes from elsewhere; what the provider's rules say of its claims.
pub fn open<'p>(
    rules: &TicketRules,
    scope: Scope,
    provider: impl FnOnce(&str) -> Option<&'p Provider>,
    text: &[u8],
    bound: Bound,
    now: Timestamp,
) -> Result<Ticket, Refusal> {
    let content = unseal(rules, scope, text).ok_or(Violation::TicketInvalid)?;
    let Content { id, expires_at, bound: issued_to, packed } = read(&content).ok_or(Violation::TicketInvalid)?;
    let latest = now.saturating_add(TTL_MAX).saturating_add(CLOCK_SKEW);
    if now >= expires_at || expires_at > latest || issued_to != bound {
        return Err(Violation::TicketInvalid.into());
    }
    let provider = provider(packed.provider());
    let (provider, holder) = provider.zip(packed.open()).ok_or(Violation::TicketInvalid)?;
    holder.check(&provider.rules, now).map_err(|refusal| match refusal.violation {
        Violation::CredentialInvalid => Refusal { violation: Violation::TicketInvalid, ..refusal },
        _ => refusal,
    })?;
    Ok(Ticket { id: Secret::new(id), expires_at, store: rules.store, holder: Rc::new(holder) })
}

struct Content {
    id: [u8; ID_LEN],
    expires_at: Timestamp,
    bound: Bound,
    packed: Packed,
}

fn unseal(rules: &TicketRules, scope: Scope, text: &[u8]) -> Option<Vec<u8>> {
    if text.len() > TEXT_LEN_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (head, rest) = bytes.split_first_chunk::<{ 1 + KEY_ID_LEN }>()?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
    let [VERSION, id @ ..] = head else { return None };
    let aad = associated(head, &rules.path, scope);
    let open = |key: &TicketKey| cipher(key).decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &aad }).ok();
    rules.keys.0.iter().filter(|key| key.id == *id).find_map(open)
}

fn read(mut content: &[u8]) -> Option<Content> {
    let rest = &mut content;
    let id = take(rest)?;
    let expires_at = Timestamp::from_nanos(u64::from_le_bytes(take(rest)?));
    let bound = Bound(take(rest)?);
    let credential_ends = Timestamp::from_nanos(u64::from_le_bytes(take(rest)?));
    let (provider, mark) = (take_part(rest)?, take_part(rest)?);
    let text: Rc<[u8]> = (*rest).into();
    let mark = if mark.is_empty() { Rc::clone(&text) } else { mark.into() };
    let packed = Packed::restored(str::from_utf8(provider).ok()?.into(), text, mark, credential_ends);
    Some(Content { id, expires_at, bound, packed })
}

fn take<const LEN: usize>(rest: &mut &[u8]) -> Option<[u8; LEN]> {
    let (first, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(*first)
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::from(u16::from_le_bytes(take(rest)?));
    let (part, others) = rest.split_at_checked(len)?;
    *rest = others;
    Some(part)
}

fn cipher(key: &TicketKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.key.expose().into())
}

fn associated(head: &[u8], path: &str, Scope(scope): Scope) -> Vec<u8> {
    [head, scope.as_slice(), path.as_bytes()].concat()
}

/// How long a ticket may live that is issued now, so that it is counted in one window; `None` at the turn of windows.
fn of_window(now: Timestamp) -> Option<Duration> {
    let since = Duration::from_secs(now.as_secs().checked_rem(WINDOW.as_secs())?);
    let left = WINDOW.checked_sub(since)?.checked_sub(WINDOW_MARGIN)?.checked_sub(Duration::from_secs(1))?;
    (since >= WINDOW_MARGIN && left >= TTL_MIN).then_some(left)
}

#[cfg(test)]
mod tests;
