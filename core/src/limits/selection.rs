use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::dimension::{Bucket, Class, Counts, Dimension, DimensionKind, Wanted};
use super::policy::Policy;
use crate::config::{self, RateLimit};
use crate::id::{ContextId, IdentityId, TenantId};
use crate::name::Name;

/// What a request costs, by all that a window may count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Of a batch; 1 of everything else.
    pub items: u32,
    /// Of plaintext.
    pub bytes: u64,
}

impl Cost {
    /// Of a request that is about no plaintext.
    pub const ONE: Self = Self { items: 1, bytes: 0 };

    fn of(self, counts: Counts) -> u64 {
        match counts {
            Counts::Items => self.items.into(),
            Counts::Requests => 1,
            Counts::Bytes => self.bytes,
        }
    }
}

/// The policies of an identity, and of what it belongs to, where they have some of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityPolicies {
    /// Of the identity, wherever it works.
    pub own: Option<Arc<Policy>>,
    /// Of its tenant.
    pub tenant: Option<Arc<Policy>>,
    /// Of the identity in a context.
    pub in_contexts: BTreeMap<ContextId, Arc<Policy>>,
    /// See [`Bucket::generation`].
    pub generation: u8,
}

impl IdentityPolicies {
    /// The buckets that this generation and the one before may have filled, as far as policies tell; `default` is that of
    /// identities.
    pub(super) fn ended_buckets(
        &self,
        (tenant, identity): (TenantId, IdentityId),
        default: Option<&Policy>,
    ) -> Vec<Bucket> {
        let own =
            self.own.as_deref().or(default).map(|policy| (Dimension::Identity(tenant, identity), policy));
        let pairs = self.in_contexts.iter();
        let pairs = pairs.map(|(id, policy)| (Dimension::IdentityContext(tenant, identity, *id), &**policy));
        let windows = own.into_iter().chain(pairs);
        let windows = windows
            .flat_map(|(dimension, policy)| policy.windows().iter().map(move |of| (dimension, of.id())));
        let both = [self.generation, self.generation.wrapping_sub(1)];
        let bucket = |(dimension, window)| both.map(|generation| Bucket { dimension, window, generation });
        windows.flat_map(bucket).collect()
    }
}

/// What holds where a subject has no policy of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultPolicies([Option<Arc<Policy>>; DimensionKind::ALL.len()]);

/// Failed authentications per minute and address, and how many at once.
const FAILED_AUTHENTICATION: RateLimit = RateLimit { requests_per_minute: 60, burst: 20 };

impl DefaultPolicies {
    /// What the environment says.
    pub fn configured(config: &config::Limits) -> Self {
        let mut defaults = Self::default();
        for (kind, limit) in [
            (DimensionKind::Ip, config.ip),
            (DimensionKind::Identity, config.identity),
            (DimensionKind::Context, config.context),
            (DimensionKind::FailedAuthentication, FAILED_AUTHENTICATION),
        ] {
            defaults.set(kind, Some(Arc::new(limit.into())));
        }
        defaults
    }

    /// What holds for `kind`.
    pub fn get(&self, kind: DimensionKind) -> Option<&Arc<Policy>> {
        self.0[kind as usize].as_ref()
    }

    /// From now on `policy` holds for `kind`.
    pub fn set(&mut self, kind: DimensionKind, policy: Option<Arc<Policy>>) {
        self.0[kind as usize] = policy;
    }
}

/// The buckets of one request, as they are found out.
#[derive(Debug)]
pub struct Selection<'a> {
    /// What the environment says.
    pub(super) configured: &'a DefaultPolicies,
    /// What is stored instead.
    pub(super) stored: &'a DefaultPolicies,
    pub(super) class: Option<Class>,
    pub(super) cost: Cost,
    /// Whether replicas may take tokens in advance.
    pub(super) leased: bool,
    /// The name of the context that the request is about.
    pub(super) context: Option<&'a Name>,
    pub(super) wanted: Vec<Wanted>,
}

impl<'a> Selection<'a> {
    /// Says of the buckets of a context what it is called.
    pub fn in_context(&mut self, name: &'a Name) -> &mut Self {
        self.context = Some(name);
        self
    }

    /// Adds the buckets of `dimension`: by the subject's own policy, or that of its kind.
    pub fn add(&mut self, dimension: Dimension, own: Option<&Policy>, generation: u8) -> &mut Self {
        let kind = dimension.kind();
        let default = || self.stored.get(kind).or_else(|| self.configured.get(kind)).map(Arc::as_ref);
        let Some(policy) = own.or_else(default).filter(|policy| policy.enabled) else { return self };
        for window in policy.windows() {
            let id = window.id();
            let cost = self.cost.of(id.counts);
            if cost > 0 && (id.class.is_none() || id.class == self.class) {
                let bucket = Bucket { dimension, window: id, generation };
                let quota = window.quota_if(self.leased);
                self.wanted.push(Wanted { bucket, quota, cost, shadow: policy.shadow });
            }
        }
        self
    }

    /// Adds the buckets of a client's address.
    pub fn add_ip(&mut self, tenant: TenantId, address: IpAddr) -> &mut Self {
        self.add(Dimension::ip(tenant, address), None, 0)
    }

    /// Adds the buckets of an identity and its tenant, and those of the two in `context`.
    pub fn add_identity(
        &mut self,
        (tenant, identity): (TenantId, IdentityId),
        policies: &IdentityPolicies,
        context: Option<ContextId>,
    ) -> &mut Self {
        let generation = policies.generation;
        self.add(Dimension::Identity(tenant, identity), policies.own.as_deref(), generation);
        self.add(Dimension::Tenant(tenant), policies.tenant.as_deref(), 0);
        if let Some(context) = context {
            let own = policies.in_contexts.get(&context).map(Arc::as_ref);
            self.add(Dimension::IdentityContext(tenant, identity, context), own, generation);
        }
        self
    }

    /// The most items that a request to these buckets can have.
    pub fn largest_batch(&self) -> u64 {
        let refusing = self.wanted.iter().filter(|wanted| !wanted.shadow);
        let items = refusing.filter(|wanted| wanted.bucket.window.counts == Counts::Items);
        items.map(|wanted| wanted.quota.burst()).min().unwrap_or(u64::MAX)
    }

    /// The buckets.
    pub fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::bucket::Kind;
    use crate::limits::policy::{Window, WindowSpec};

    fn window(counts: Counts, class: Option<Class>) -> Window {
        let spec = WindowSpec { limit: 100, seconds: 86_400, burst: None, kind: Kind::Quota, counts, class };
        Window::new(spec).unwrap()
    }

    #[test]
    fn own_policies_replace_stored_ones_and_those_the_configured() {
        let rate = |requests_per_minute| RateLimit { requests_per_minute, burst: 1 };
        let tenant = TenantId::random();
        let mut configured = DefaultPolicies::default();
        configured.set(DimensionKind::Tenant, Some(Arc::new(rate(1).into())));
        let mut stored = DefaultPolicies::default();
        let limit = |stored: &DefaultPolicies, own: Option<&Policy>| {
            let mut selection = Selection {
                configured: &configured,
                stored,
                class: None,
                cost: Cost::ONE,
                leased: false,
                context: None,
                wanted: Vec::new(),
            };
            selection.add(Dimension::Tenant(tenant), own, 0);
            selection.wanted.first().map(|wanted| wanted.quota.limit())
        };
        let mut own = Policy::from(rate(3));
        assert_eq!(limit(&stored, None), Some(1));
        assert_eq!(limit(&stored, Some(&own)), Some(3));
        stored.set(DimensionKind::Tenant, Some(Arc::new(rate(2).into())));
        assert_eq!(limit(&stored, None), Some(2));
        own.enabled = false;
        assert_eq!(limit(&stored, Some(&own)), None, "limited by nothing");
    }

    #[test]
    fn a_window_is_charged_what_it_counts_for_the_operations_that_it_is_about() {
        let main = RateLimit { requests_per_minute: 60, burst: 50 };
        let windows = vec![
            window(Counts::Requests, None),
            window(Counts::Bytes, None),
            window(Counts::Items, Some(Class::Decrypt)),
        ];
        let policy = Policy::new(main, windows, true, true).unwrap();
        let none = DefaultPolicies::default();
        let costs = |class, cost| {
            let mut selection = Selection {
                configured: &none,
                stored: &none,
                class,
                cost,
                leased: false,
                context: None,
                wanted: Vec::new(),
            };
            selection.add(Dimension::Tenant(TenantId::random()), Some(&policy), 0);
            assert!(selection.wanted.iter().all(|wanted| wanted.shadow));
            selection.wanted.iter().map(|wanted| wanted.cost).collect::<Vec<_>>()
        };
        assert_eq!(costs(Some(Class::Encrypt), Cost { items: 7, bytes: 900 }), [7, 1, 900]);
        assert_eq!(
            costs(Some(Class::Decrypt), Cost { items: 7, bytes: 0 }),
            [7, 1, 7],
            "nothing costs nothing"
        );
        assert_eq!(costs(None, Cost::ONE), [1, 1]);
    }
}
