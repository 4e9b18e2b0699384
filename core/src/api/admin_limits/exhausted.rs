use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::default;
use crate::api::{Call, Error, Reply, extract, reply};
use crate::id::{ContextId, IdentityId};
use crate::limits::{Cost, Held, HeldBucket, Holder, Policy, Window, WindowDocument, half};
use crate::name::Name;
use crate::store::Store;

/// Buckets that are not full, the emptiest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ExhaustedView {
    buckets: Vec<ExhaustedBucket>,
    /// Whether all were looked at: there may be too many for that.
    complete: bool,
}

/// A bucket that is not full.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ExhaustedBucket {
    /// `ip`, `identity`, `context`, `tenant` or `identity-context`.
    #[schema(value_type = String)]
    dimension: &'static str,
    #[serde(flatten)]
    of: Named,
    window: WindowDocument,
    /// What is left of the window's `burst_size`.
    remaining: u64,
    full_in_seconds: u64,
    /// It refuses nobody.
    shadow: bool,
}

/// Whose it is.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub(crate) struct Named {
    /// Of IPv6, that of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    identity_id: Option<IdentityId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    identity: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    context: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    tenant: Option<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExhaustedQuery {
    limit: Option<usize>,
}

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;
/// Names that are looked up in vain before the list is cut short.
const UNKNOWN: usize = 200;
/// Pages of a thousand policies that are taken into account.
const POLICY_PAGES: usize = 20;
const POLICY_PAGE: u32 = 1000;

/// Lists the tenant's buckets that are now most exhausted: of all replicas where these share limits, else of this one.
#[utoipa::path(
    get,
    path = "/api/admin/rate-limits/exhausted",
    tag = "Administration",
    params(("limit" = Option<u32>, Query, description = "1 to 100, default 20")),
    responses((status = 200, body = ExhaustedView), (status = "default", response = crate::api::openapi::AnyProblem)),
)]
pub(in crate::api) async fn list<S: Store>(call: &mut Call<'_, S>) -> Result<Reply, Error> {
    call.charge(None, Cost::ONE).await?;
    let query: ExhaustedQuery = extract::query(call.query)?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::InvalidRequest(format!("`limit` is 1 to {MAX_LIMIT}")));
    }
    let known = Known::read(call).await?;
    let held = call.app.limits.held(call.tenant()).await?;
    let mut complete = held.complete && known.complete;
    let known = known.with(&held);
    let mut levels: Vec<_> =
        held.buckets.iter().filter_map(|bucket| known.level(call, &held, bucket)).collect();
    levels.sort_by_key(|level| level.share);
    let (mut buckets, mut unknown) = (Vec::new(), 0);
    for level in levels {
        if buckets.len() == limit {
            break;
        }
        match known.name(call, level.bucket).await? {
            Some(of) => buckets.push(ExhaustedBucket {
                dimension: level.bucket.holder.kind().name(),
                of,
                window: WindowDocument::from(&level.window),
                remaining: level.remaining,
                full_in_seconds: level.full_in_secs,
                shadow: level.shadow,
            }),
            None => unknown += 1,
        }
        if unknown == UNKNOWN {
            complete = false;
            break;
        }
    }
    Ok(reply(&ExhaustedView { buckets, complete }))
}

/// A bucket, by the policy that holds for it now.
struct HeldLevel<'a> {
    bucket: &'a HeldBucket,
    window: Window,
    shadow: bool,
    remaining: u64,
    full_in_secs: u64,
    /// What is left, in millionths of the burst.
    share: u64,
}

/// What is stored for the tenant, and the ids by whose halves some buckets are named.
struct Known {
    policies: HashMap<Holder, Arc<Policy>>,
    identities: HashMap<[u8; 8], IdentityId>,
    contexts: HashMap<[u8; 8], ContextId>,
    complete: bool,
}

impl Known {
    async fn read<S: Store>(call: &Call<'_, S>) -> Result<Self, Error> {
        let mut known = Self {
            policies: HashMap::new(),
            identities: HashMap::new(),
            contexts: HashMap::new(),
            complete: false,
        };
        if let Some(policy) = &call.principal().limits().tenant {
            known.policies.insert(Holder::Tenant, policy.clone());
        }
        let mut after = String::new();
        for _ in 0..POLICY_PAGES {
            let page = call.app.store.policies(call.tenant(), &after, POLICY_PAGE).await?;
            known.complete = page.len() < POLICY_PAGE as usize;
            for stored in page {
                let (identity, context) =
                    (stored.identity.map(|(id, _)| id), stored.context.map(|(id, _)| id));
                let holder = match (identity, context) {
                    (Some(identity), Some(context)) => Holder::pair(identity, context),
                    (Some(identity), None) => Holder::Identity(identity),
                    (None, Some(context)) => Holder::Context(context),
                    (None, None) => continue,
                };
                known.see(identity, context);
                known.policies.insert(holder, Arc::new(stored.policy));
                after = stored.place;
            }
            if known.complete {
                break;
            }
        }
        Ok(known)
    }

    /// Whoever works in a context has buckets of both.
    fn with(mut self, held: &Held) -> Self {
        for bucket in &held.buckets {
            match bucket.holder {
                Holder::Identity(id) => self.see(Some(id), None),
                Holder::Context(id) => self.see(None, Some(id)),
                Holder::Ip(_) | Holder::Tenant | Holder::IdentityContext(..) => {}
            }
        }
        self
    }

    fn see(&mut self, identity: Option<IdentityId>, context: Option<ContextId>) {
        self.identities.extend(identity.map(|id| (half(id.as_bytes()), id)));
        self.contexts.extend(context.map(|id| (half(id.as_bytes()), id)));
    }

    /// `None` if nothing limits it so any more, or it is full.
    fn level<'a, S: Store>(
        &self,
        call: &Call<'_, S>,
        held: &Held,
        bucket: &'a HeldBucket,
    ) -> Option<HeldLevel<'a>> {
        let own = self.policies.get(&bucket.holder).cloned();
        let policy = own.or_else(|| default(call, bucket.holder.kind()).1).filter(|policy| policy.enabled)?;
        let window = *policy.windows().iter().find(|window| window.id() == bucket.window)?;
        let (remaining, full_in_secs) = held.level(bucket, call.app.limits.quota(window));
        let burst = window.quota().burst();
        let share = u128::from(remaining) * 1_000_000 / u128::from(burst);
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        let level = HeldLevel { bucket, window, shadow: policy.shadow, remaining, full_in_secs, share };
        (remaining < burst).then_some(level)
    }

    /// Whose a bucket is; `None` if they are gone, or begin again with others.
    async fn name<S: Store>(&self, call: &Call<'_, S>, bucket: &HeldBucket) -> Result<Option<Named>, Error> {
        let (identity, context) = match bucket.holder {
            Holder::Ip(address) => return Ok(Some(Named { address: Some(address), ..Named::default() })),
            Holder::Tenant => {
                let tenant = Some(call.principal().tenant_name().clone());
                return Ok(Some(Named { tenant, ..Named::default() }));
            }
            Holder::Identity(id) => (Some(id), None),
            Holder::Context(id) => (None, Some(id)),
            Holder::IdentityContext(identity, context) => {
                let (Some(identity), Some(context)) =
                    (self.identities.get(&identity), self.contexts.get(&context))
                else {
                    return Ok(None);
                };
                (Some(*identity), Some(*context))
            }
        };
        let mut named = Named { identity_id: identity, ..Named::default() };
        if let Some(id) = identity {
            let status = call.app.keyring.identity(call.tenant(), id).await?;
            let Some(status) = status.filter(|status| status.limits.generation == bucket.generation) else {
                return Ok(None);
            };
            named.identity = Some(status.identity.name.clone());
        }
        if let Some(id) = context {
            let Some(context) = call.app.store.context_by_id(call.tenant(), id).await? else {
                return Ok(None);
            };
            named.context = Some(context.name);
        }
        Ok(Some(named))
    }
}
