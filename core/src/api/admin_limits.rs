//! Limits as administrators and operators see and change them.

pub(super) mod context;
pub(super) mod defaults;
pub(super) mod exhausted;
pub(super) mod identity;
pub(super) mod identity_context;
pub(super) mod overview;
pub(super) mod tenant;

use std::sync::Arc;

use serde::Serialize;

use super::{Call, Error, Reply, extract, reply};
use crate::id::IdentityId;
use crate::limits::{Cost, DimensionKind, Policy, PolicyDocument};
use crate::name::Name;
use crate::store::{PolicySubject, Store};

/// What holds for somebody, or for all who have nothing of their own.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct LimitView {
    /// `ip`, `identity`, `context`, `tenant`, `identity-context` or `failed-authentication`.
    #[schema(value_type = String)]
    dimension: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    identity_id: Option<IdentityId>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    identity: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    context: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    tenant: Option<Name>,
    /// `stored` for this very subject; else what is stored as the `default`, or what the `environment` says; or `none`.
    #[schema(value_type = String)]
    source: &'static str,
    #[serde(flatten)]
    #[schema(value_type = PolicyDocument)]
    policy: Option<PolicyDocument>,
}

/// A policy to store.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct SetPolicy {
    /// 1 to 10000000; an item of a batch counts as a request.
    requests_per_minute: u32,
    /// How many at once: 1 to `requests_per_minute`.
    burst_size: u32,
    /// Nobody is limited by a policy that is not enabled; true unless given.
    enabled: Option<bool>,
    /// Count and report, and refuse nobody; false unless given.
    shadow: Option<bool>,
    /// At most 4 further limits.
    windows: Option<Vec<SetWindow>>,
}

/// A further limit to store.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct SetWindow {
    /// How much in a window: 1 to 10000000, of bytes to 1000000000000.
    limit: u64,
    /// 1 to 2678400, which is 31 days.
    window_seconds: u32,
    /// `rate`, which it is unless given, or `quota`: then no span of that length sees more, the burst included.
    kind: Option<String>,
    /// How much at once: 1 to `limit`, of a quota to the larger half of it; as much as possible unless given.
    burst_size: Option<u64>,
    /// `items`, which it is unless given, `requests` or `bytes` of plaintext.
    counts: Option<String>,
    /// `all`, which it is unless given, `encrypt`, `decrypt`, `sign` or `admin`.
    operations: Option<String>,
}

/// Whom a policy is about.
struct Subject {
    id: PolicySubject,
    identity: Option<(IdentityId, Name)>,
    context: Option<Name>,
    tenant: Option<Name>,
    /// What is stored for it.
    stored: Option<Arc<Policy>>,
}

impl Subject {
    const fn new(id: PolicySubject, stored: Option<Arc<Policy>>) -> Self {
        Self { id, identity: None, context: None, tenant: None, stored }
    }

    const fn dimension(&self) -> DimensionKind {
        match self.id {
            PolicySubject::Context(..) => DimensionKind::Context,
            PolicySubject::Identity(..) => DimensionKind::Identity,
            PolicySubject::IdentityContext(..) => DimensionKind::IdentityContext,
            PolicySubject::Tenant(_) => DimensionKind::Tenant,
            PolicySubject::Default(kind) => kind,
        }
    }

    /// In the words of the audit trail.
    fn describe(&self) -> String {
        let mut text = match self.id {
            PolicySubject::Default(kind) => format!("limits of every {}", kind.name()),
            _ => "limits".to_owned(),
        };
        if let Some(tenant) = &self.tenant {
            text += &format!(" of tenant {tenant}");
        }
        if let Some((id, name)) = &self.identity {
            text += &format!(" of identity {name} ({id})");
        }
        if let Some(context) = &self.context {
            text += &format!(" {} context {context}", if self.identity.is_some() { "in" } else { "of" });
        }
        text
    }

    /// With what holds if nothing is stored for it.
    fn view<S: Store>(self, call: &Call<'_, S>) -> LimitView {
        let kind = self.dimension();
        let (source, policy) = match self.stored.clone() {
            Some(policy) => ("stored", Some(policy)),
            None if matches!(self.id, PolicySubject::Default(_)) => configured(call, kind),
            None => default(call, kind),
        };
        let (identity_id, identity) = self.identity.unzip();
        LimitView {
            dimension: kind.name(),
            identity_id,
            identity,
            context: self.context,
            tenant: self.tenant,
            source,
            policy: policy.as_deref().map(PolicyDocument::from),
        }
    }
}

/// What holds for those who have nothing of their own, and who says so.
fn default<S: Store>(call: &Call<'_, S>, kind: DimensionKind) -> (&'static str, Option<Arc<Policy>>) {
    match call.app.keyring.default_limits().get(kind) {
        Some(policy) => ("default", Some(policy.clone())),
        None => configured(call, kind),
    }
}

fn configured<S: Store>(call: &Call<'_, S>, kind: DimensionKind) -> (&'static str, Option<Arc<Policy>>) {
    let policy = call.app.limits.configured().get(kind);
    (if policy.is_some() { "environment" } else { "none" }, policy.cloned())
}

/// The policy in the body of a request that has not paid yet.
async fn paid_policy<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Policy, Error> {
    call.charge(None, Cost::ONE).await?;
    extract::policy(body)
}

/// Stores a policy, or forgets the one that is there; replies with what holds then.
async fn store<S: Store>(
    call: &mut Call<'_, S>,
    mut subject: Subject,
    policy: Option<Policy>,
) -> Result<Reply, Error> {
    let what = policy.as_ref().map_or_else(|| "forgotten".to_owned(), ToString::to_string);
    call.facts.detail = Some(format!("{}: {what}", subject.describe()));
    let stored = call.app.store.set_policy(subject.id, policy.as_ref(), call.app.clock.now()).await?;
    call.app.changed().await;
    // It was there a moment ago.
    if !stored {
        return Err(Error::Conflict);
    }
    subject.stored = policy.map(Arc::new);
    Ok(reply(&subject.view(call)))
}
