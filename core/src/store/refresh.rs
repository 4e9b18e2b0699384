use std::future::Future;

use super::Error;
use crate::auth::{Identity, RefreshFamily};
use crate::clock::Timestamp;
use crate::id::{FamilyId, IdentityId, TenantId};

/// SHA-256 of a refresh token.
type Hash = [u8; 32];

/// What a store does with refresh tokens, of which it keeps hashes alone.
pub trait RefreshTokens {
    /// Stores a family with its first token, and forgets those of the identity that are dead; but for
    /// [`Opening::Done`], nothing is changed.
    fn open_family(
        &self,
        family: &RefreshFamily,
        hash: Hash,
    ) -> impl Future<Output = Result<Opening, Error>> + Send;

    /// The token of that hash, with all that decides what it is worth.
    fn refresh_token(
        &self,
        tenant: TenantId,
        hash: Hash,
    ) -> impl Future<Output = Result<Option<StoredRefreshToken>, Error>> + Send;

    /// Replaces a token by the one of the hash `successor`, which `salt` leads to, and says that the family was used;
    /// `false`, and nothing is changed, if somebody else did before, the token is gone, or more of the family were
    /// replaced than are remembered.
    fn rotate_refresh_token(
        &self,
        token: &StoredRefreshToken,
        successor: Hash,
        salt: [u8; 32],
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Says that a family was used at `now`.
    fn touch_family(
        &self,
        tenant: TenantId,
        family: FamilyId,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Ends a family of an identity, and refuses the access tokens that it made until `expires_at`, by when they are all
    /// past theirs; whether there was such a family.
    fn revoke_family(
        &self,
        tenant: TenantId,
        identity: IdentityId,
        family: FamilyId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// The families of an identity that live at `now`, oldest first.
    fn families(
        &self,
        tenant: TenantId,
        identity: IdentityId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<RefreshFamily>, Error>> + Send;

    /// Forgets families that nobody used for too long.
    fn prune_families(&self, now: Timestamp) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Whether a family began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It did.
    Done,
    /// Its identity has [`MAX_FAMILIES`](crate::auth::MAX_FAMILIES) that live.
    TooManyFamilies,
    /// Of its identity so many tokens are revoked that the family could not be, one day.
    TooManyRevoked,
    /// Its identity is no longer as it was read: with that epoch, enabled and a service.
    IdentityChanged,
}

/// Whether a token is refused from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It is.
    Done,
    /// [`MAX_REVOKED`](crate::auth::MAX_REVOKED) others of the identity are.
    TooMany,
    /// There is no such identity.
    NoIdentity,
}

/// A refresh token as found by its hash.
#[derive(Clone, Debug)]
pub struct StoredRefreshToken {
    /// What it was found by.
    pub hash: Hash,
    /// When it was replaced, and the salt that leads to its successor.
    pub replaced: Option<(Timestamp, [u8; 32])>,
    /// Its family.
    pub family: RefreshFamily,
    /// Whose it is, as its row says now.
    pub identity: Identity,
    /// No token of a disabled tenant counts.
    pub tenant_enabled: bool,
    /// The database's time when it was found.
    pub now: Timestamp,
}
