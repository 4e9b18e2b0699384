use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::crypto::KeyVersion;
use crate::id::{IdentityId, TenantId};
use crate::name::Name;

/// One line of the audit trail. Holds no plaintext, ciphertext, key or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the operation ended, by the instance's clock.
    pub at: Timestamp,
    /// Which process wrote it.
    pub instance: std::sync::Arc<str>,
    /// Also in the reply and in the log; empty for what no request caused.
    pub request_id: String,
    /// Whose data; `None` before the caller is known.
    pub tenant: Option<TenantId>,
    /// Who; `None` before the caller is known.
    pub identity: Option<IdentityId>,
    /// The stable name of the operation, for example `encrypt`.
    pub operation: &'static str,
    /// The context that was used or asked for.
    pub context: Option<Name>,
    /// The key version that was used.
    pub key_version: Option<KeyVersion>,
    /// How it ended.
    pub outcome: Outcome,
    /// Items asked for; 1 unless the operation is a batch.
    pub items: u32,
    /// Items that failed.
    pub failed: u32,
    /// Plaintext bytes that were encrypted or decrypted.
    pub bytes: u64,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// What an administrator changed, and the like; at most a few hundred bytes.
    pub detail: Option<String>,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Success,
    /// Refused or failed, with the stable error code of the reply.
    Failure(&'static str),
}

impl Outcome {
    /// `success`, or the error code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure(code) => code,
        }
    }
}
