//! Who a caller is, and what it may do.

mod application;
mod certificate;
mod identity;
mod principal;
mod provider;
mod refresh;
mod scope;
mod token;
mod verified;

pub use application::{Application, InvalidApplication};
pub use certificate::{CertificateName, ClientCertificate, InvalidCertificateName};
pub use identity::{ContextGrant, DEFAULT_TENANT, Identity, IdentityStatus, Role};
pub use principal::Principal;
pub use provider::{OutsideToken, Provider, ProviderError};
pub use refresh::{
    FAMILY_REVOKED_FOR, FAMILY_TTL, MAX_FAMILIES, NotARefreshToken, REPEAT_WINDOW, RefreshFamily,
    RefreshToken, USED_AT_PRECISION,
};
pub use scope::{Scope, ScopeSet, UnknownScope};
pub use token::{
    CLOCK_MARGIN, DEFAULT_TTL, InvalidTtl, IssueError, IssuedToken, MAX_ADMIN_TTL, MAX_REVOKED,
    MAX_SERVICE_TTL, Narrowing, TokenError, Tokens, is_token_id,
};
pub use verified::{Credential, Verified, VerifiedTokens};
