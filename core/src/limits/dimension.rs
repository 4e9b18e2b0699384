use std::net::{IpAddr, Ipv6Addr};

use uuid::Uuid;

use super::bucket::{Kind, Quota};
use crate::id::{ContextId, IdentityId, TenantId};

/// What a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// A client address, as a tenant sees it; an IPv6 address stands for its /64 network. Tenants are apart so that all
    /// buckets of a request can be on one node of a cluster.
    Ip(TenantId, IpAddr),
    /// An identity, across all of its tokens.
    Identity(TenantId, IdentityId),
    /// A context, across all who use it.
    Context(TenantId, ContextId),
    /// A tenant, across all of its identities.
    Tenant(TenantId),
    /// An identity in one context.
    IdentityContext(TenantId, IdentityId, ContextId),
    /// Failed authentication from a client address.
    FailedAuthentication(IpAddr),
}

/// A [`Dimension`] without whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DimensionKind {
    /// [`Dimension::Ip`].
    Ip,
    /// [`Dimension::Identity`].
    Identity,
    /// [`Dimension::Context`].
    Context,
    /// [`Dimension::Tenant`].
    Tenant,
    /// [`Dimension::IdentityContext`].
    IdentityContext,
    /// [`Dimension::FailedAuthentication`].
    FailedAuthentication,
}

impl DimensionKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Ip,
        Self::Identity,
        Self::Context,
        Self::Tenant,
        Self::IdentityContext,
        Self::FailedAuthentication,
    ];

    /// As in paths, headers, problem details and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Identity => "identity",
            Self::Context => "context",
            Self::Tenant => "tenant",
            Self::IdentityContext => "identity-context",
            Self::FailedAuthentication => "failed-authentication",
        }
    }

    /// The dimension of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Dimension {
    /// Which of them.
    pub const fn kind(&self) -> DimensionKind {
        match self {
            Self::Ip(..) => DimensionKind::Ip,
            Self::Identity(..) => DimensionKind::Identity,
            Self::Context(..) => DimensionKind::Context,
            Self::Tenant(_) => DimensionKind::Tenant,
            Self::IdentityContext(..) => DimensionKind::IdentityContext,
            Self::FailedAuthentication(_) => DimensionKind::FailedAuthentication,
        }
    }

    /// Whose; `None` of what is nobody's.
    pub const fn tenant(&self) -> Option<TenantId> {
        match *self {
            Self::Ip(tenant, _)
            | Self::Identity(tenant, _)
            | Self::Context(tenant, _)
            | Self::Tenant(tenant)
            | Self::IdentityContext(tenant, ..) => Some(tenant),
            Self::FailedAuthentication(_) => None,
        }
    }

    /// The same dimension for every address of one subscriber: IPv4-mapped addresses are IPv4, and IPv6 addresses are
    /// cut to their /64.
    pub fn ip(tenant: TenantId, address: IpAddr) -> Self {
        Self::Ip(tenant, network(address))
    }

    /// As [`Dimension::ip`], for those who have not said yet who they are.
    pub fn ip_of_stranger(address: IpAddr) -> Self {
        Self::ip(TenantId(Uuid::nil()), address)
    }

    /// As [`Dimension::ip`], for failed authentication.
    pub fn failed_authentication(address: IpAddr) -> Self {
        Self::FailedAuthentication(network(address))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// What a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counts {
    /// A batch is as many as it has items.
    Items,
    /// A batch is one.
    Requests,
    /// Bytes of plaintext that are encrypted, decrypted or encrypted again.
    Bytes,
}

/// Operations that can have a budget of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// What makes ciphertext, data keys included.
    Encrypt,
    /// What gives plaintext.
    Decrypt,
    /// What makes signatures, message authentication codes, and keys for signatures.
    Sign,
    /// Administration.
    Admin,
}

/// Tells the windows of one policy apart, and is part of their buckets' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowId {
    /// What its limit means.
    pub kind: Kind,
    /// What it counts.
    pub counts: Counts,
    /// The operations that it is about; all if `None`.
    pub class: Option<Class>,
    /// The span that its limit is about: 1 to [`WindowId::MAX_SECONDS`].
    pub seconds: u32,
}

impl WindowId {
    /// 31 days.
    pub const MAX_SECONDS: u32 = 31 * 24 * 60 * 60;
    /// Of the limit that every policy has: requests per minute, whose items count one by one.
    pub const MAIN: Self = Self { kind: Kind::Rate, counts: Counts::Items, class: None, seconds: 60 };
}

/// Whose tokens, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Whose.
    pub dimension: Dimension,
    /// By which of its limits.
    pub window: WindowId,
    /// Another generation has buckets of its own, which begin full: an identity's buckets are reset by raising it.
    pub generation: u8,
}

/// Tokens that a request takes from one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// From which.
    pub bucket: Bucket,
    /// Its size and rate.
    pub quota: Quota,
    /// How many; at least 1.
    pub cost: u64,
    /// It counts, but refuses nobody.
    pub shadow: bool,
}

impl Bucket {
    /// As in headers and problem details: the dimension, and what tells its other windows from the first.
    pub fn name(&self) -> String {
        let mut name = self.dimension.kind().name().to_owned();
        let WindowId { kind, counts, class, seconds } = self.window;
        if self.window == WindowId::MAIN {
            return name;
        }
        if let Some(class) = class {
            name.push('-');
            name.push_str(class.name());
        }
        match counts {
            Counts::Items => {}
            Counts::Requests => name.push_str("-requests"),
            Counts::Bytes => name.push_str("-bytes"),
        }
        if kind == Kind::Quota {
            name.push_str("-quota");
        }
        name.push_str(&format!("-{seconds}s"));
        name
    }
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Encrypt, Self::Decrypt, Self::Sign, Self::Admin];

    /// As in policies, headers and problem details.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
            Self::Admin => "admin",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_for_its_subscriber() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        let ip = |text| Dimension::ip_of_stranger(parse(text));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::2:3:4:5"));
        assert_ne!(ip("2001:db8:0:1::1"), ip("2001:db8::1"));
        assert_ne!(ip("192.0.2.1"), Dimension::ip(TenantId::random(), parse("192.0.2.1")));
        assert_ne!(ip("192.0.2.1"), Dimension::failed_authentication(parse("192.0.2.1")));
    }

    #[test]
    fn windows_have_names_of_their_own() {
        let name = |window| {
            let dimension = Dimension::Tenant(TenantId::random());
            Bucket { dimension, window, generation: 0 }.name()
        };
        assert_eq!(name(WindowId::MAIN), "tenant");
        let day = WindowId { seconds: 86_400, ..WindowId::MAIN };
        assert_eq!(name(day), "tenant-86400s");
        let bytes = WindowId { kind: Kind::Quota, counts: Counts::Bytes, class: Some(Class::Decrypt), ..day };
        assert_eq!(name(bytes), "tenant-decrypt-bytes-quota-86400s");
    }
}
