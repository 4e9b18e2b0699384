//! Who a caller is, and what it may do.

mod identity;
mod principal;
mod scope;
mod token;

pub use identity::{ContextGrant, Identity, Role};
pub use principal::Principal;
pub use scope::{Scope, ScopeSet, UnknownScope};
pub use token::{
    DEFAULT_TTL, InvalidTtl, IssueError, IssuedToken, MAX_ADMIN_TTL, MAX_SERVICE_TTL, Narrowing, TokenError,
    Tokens, Verified,
};
