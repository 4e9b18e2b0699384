//! The HTTP interface: what routes there are, and what each does.
//!
//! [`ROUTES`] is the one list of them. A route names the scope that it needs, so one without a rule does not compile.

mod admin_audit;
mod admin_contexts;
mod admin_identities;
mod admin_key_transport;
mod admin_keys;
mod admin_limits;
mod admin_status;
mod admin_tenants;
mod admin_tokens;
mod applications;
mod batch;
mod body;
mod call;
mod contexts;
mod datakey;
mod decrypt;
mod encrypt;
mod error;
mod extract;
mod hash;
mod health;
mod key_bundle;
mod mac;
mod openapi;
mod operation;
mod random;
mod respond;
mod rewrap;
mod router;
mod routes;
mod signatures;
mod stream;
mod tokens;

use crate::store::Store;

pub(crate) use call::{Call, Facts};
pub use error::Error;
pub use operation::Operation;
pub(crate) use respond::{Reply, code, is_fault, reply, respond, write_common};
pub(crate) use router::{RouteMatch, Router};
pub use routes::{ALIASES, Access, DATA_PLANE, ROUTES, Route};
pub(crate) use stream::open as open_stream;
pub use stream::{StreamError, TransferStream};

/// Does what the route of `call` says. Streams are opened by [`open_stream`] instead.
pub(crate) async fn run<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    match call.route.operation {
        Operation::Encrypt => encrypt::encrypt(call, body).await,
        Operation::Decrypt => decrypt::decrypt(call, body).await,
        Operation::Rewrap => rewrap::rewrap(call, body).await,
        Operation::BatchEncrypt => batch::encrypt(call, body).await,
        Operation::BatchDecrypt => batch::decrypt(call, body).await,
        Operation::BatchRewrap => batch::rewrap(call, body).await,
        Operation::EncryptStream
        | Operation::DecryptStream
        | Operation::RewrapStream
        | Operation::AdminExportAudit => Err(Error::StreamingUnavailable),
        Operation::DataKey => datakey::datakey(call, body).await,
        Operation::KeyBundle => key_bundle::refuse(call, body),
        Operation::Hash => hash::hash(call, body).await,
        Operation::VerifyHash => hash::verify(call, body).await,
        Operation::Mac => mac::mac(call, body).await,
        Operation::VerifyMac => mac::verify(call, body).await,
        Operation::GenerateMacKey => mac::generate_key(call, body).await,
        Operation::Random => random::random(call, body).await,
        Operation::GenerateSigningKey => signatures::keys::generate(call, body).await,
        Operation::ListSigningKeys => signatures::keys::list(call).await,
        Operation::GetPublicKey => signatures::keys::public(call).await,
        Operation::DeleteSigningKey => signatures::keys::delete(call).await,
        Operation::RestoreSigningKey => signatures::keys::restore(call).await,
        Operation::Sign => signatures::sign::sign(call, body).await,
        Operation::Verify => signatures::verify::verify(call, body).await,
        Operation::ListContexts => contexts::list(call).await,
        Operation::RefreshToken => tokens::refresh(call, body).await,
        Operation::RevokeToken => tokens::revoke(call, body).await,
        Operation::RegisterApplication => applications::register(call, body).await,
        Operation::AdminListContexts => admin_contexts::list(call).await,
        Operation::AdminCreateContext => admin_contexts::create(call, body).await,
        Operation::AdminGetContext => admin_contexts::get(call).await,
        Operation::AdminUpdateContext => admin_contexts::update(call, body).await,
        Operation::AdminDeleteContext => admin_contexts::delete(call).await,
        Operation::AdminRestoreContext => admin_contexts::restore(call).await,
        Operation::AdminRotateKey => admin_keys::rotate(call).await,
        Operation::AdminListKeys => admin_keys::list(call).await,
        Operation::AdminSetKeyState => admin_keys::set_state(call, body).await,
        Operation::AdminMakeTransportKey => admin_key_transport::make_transport_key(call).await,
        Operation::AdminImportKey => admin_key_transport::import(call, body).await,
        Operation::AdminExportKey => admin_key_transport::export(call, body).await,
        Operation::AdminListIdentities => admin_identities::list(call).await,
        Operation::AdminCreateIdentity => admin_identities::create(call, body).await,
        Operation::AdminGetIdentity => admin_identities::get(call).await,
        Operation::AdminUpdateIdentity => admin_identities::update(call, body).await,
        Operation::AdminDeleteIdentity => admin_identities::delete(call).await,
        Operation::AdminIssueToken => admin_tokens::issue(call, body).await,
        Operation::AdminRevokeTokens => admin_tokens::revoke_all(call).await,
        Operation::AdminListTokens => admin_tokens::list(call).await,
        Operation::AdminRevokeToken => admin_tokens::revoke(call).await,
        Operation::AdminListTenants => admin_tenants::list(call).await,
        Operation::AdminCreateTenant => admin_tenants::create(call, body).await,
        Operation::AdminGetTenant => admin_tenants::get(call).await,
        Operation::AdminUpdateTenant => admin_tenants::update(call, body).await,
        Operation::AdminRevokeTenantTokens => admin_tenants::revoke_tokens(call).await,
        Operation::AdminListLimits => admin_limits::overview::list(call).await,
        Operation::AdminListExhausted => admin_limits::exhausted::list(call).await,
        Operation::AdminResetLimits => admin_limits::identity::reset(call).await,
        Operation::AdminGetContextLimits => admin_limits::context::get(call).await,
        Operation::AdminSetContextLimits => admin_limits::context::set(call, body).await,
        Operation::AdminClearContextLimits => admin_limits::context::clear(call).await,
        Operation::AdminGetIdentityLimits => admin_limits::identity::get(call).await,
        Operation::AdminSetIdentityLimits => admin_limits::identity::set(call, body).await,
        Operation::AdminClearIdentityLimits => admin_limits::identity::clear(call).await,
        Operation::AdminGetIdentityContextLimits => admin_limits::identity_context::get(call).await,
        Operation::AdminSetIdentityContextLimits => admin_limits::identity_context::set(call, body).await,
        Operation::AdminClearIdentityContextLimits => admin_limits::identity_context::clear(call).await,
        Operation::AdminGetIpLimits => admin_limits::defaults::get_ip(call).await,
        Operation::AdminSetIpLimits => admin_limits::defaults::set_ip(call, body).await,
        Operation::AdminClearIpLimits => admin_limits::defaults::clear_ip(call).await,
        Operation::AdminGetDefaultLimits => admin_limits::defaults::get(call).await,
        Operation::AdminSetDefaultLimits => admin_limits::defaults::set(call, body).await,
        Operation::AdminClearDefaultLimits => admin_limits::defaults::clear(call).await,
        Operation::AdminGetTenantLimits => admin_limits::tenant::get(call).await,
        Operation::AdminSetTenantLimits => admin_limits::tenant::set(call, body).await,
        Operation::AdminClearTenantLimits => admin_limits::tenant::clear(call).await,
        Operation::AdminListAudit => admin_audit::list(call).await,
        Operation::AdminStatus => admin_status::status(call).await,
        Operation::Health => Ok(health::health()),
        Operation::HealthLive => Ok(health::live()),
        Operation::HealthReady => Ok(health::ready(call)),
        Operation::HealthDeep => health::deep(call).await,
        Operation::OpenApi => Ok(openapi::document()),
        Operation::Docs => Ok(openapi::page()),
    }
}
