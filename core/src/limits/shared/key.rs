use std::net::IpAddr;

use uuid::Uuid;

use crate::id::{ContextId, IdentityId, TenantId};
use crate::limits::{Bucket, Class, Counts, Dimension, Holder, Kind, WindowId, half};

/// The key of a bucket: short, as keys of at most 44 bytes take 88 in Redis together with their value, and longer ones
/// more; and with a hash tag that all buckets of one request have in common, so that they are on one node of a cluster.
pub(super) fn key(bucket: &Bucket) -> String {
    let mut name = Vec::with_capacity(21);
    let (letter, tag) = match bucket.dimension {
        Dimension::Ip(tenant, address) => {
            push_address(&mut name, address);
            ('a', of_tenant(tenant))
        }
        Dimension::Identity(tenant, id) => {
            name.extend_from_slice(id.as_bytes());
            ('i', of_tenant(tenant))
        }
        Dimension::Context(tenant, id) => {
            name.extend_from_slice(id.as_bytes());
            ('c', of_tenant(tenant))
        }
        Dimension::Tenant(tenant) => {
            name.extend_from_slice(tenant.as_bytes());
            ('t', of_tenant(tenant))
        }
        Dimension::IdentityContext(tenant, identity, context) => {
            name.extend_from_slice(&half(identity.as_bytes()));
            name.extend_from_slice(&half(context.as_bytes()));
            ('p', of_tenant(tenant))
        }
        Dimension::FailedAuthentication(address) => {
            push_address(&mut name, address);
            ('f', encode(&name))
        }
    };
    name.extend_from_slice(&window(bucket.window).to_be_bytes());
    name.push(bucket.generation);
    format!("cs:{{{tag}}}{letter}{}", encode(&name))
}

/// What the keys of a tenant's buckets begin with.
pub(super) fn prefix(tenant: TenantId) -> String {
    format!("cs:{{{}}}", of_tenant(tenant))
}

/// Of a random id; enough to tell apart all that one tenant has, or all tenants.
const HALF: usize = size_of::<Uuid>() / 2;
const TAG: usize = 6;

fn of_tenant(tenant: TenantId) -> String {
    encode(&tenant.as_bytes()[..TAG])
}

fn encode(bytes: &[u8]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// An address in full, or the half of it that names a network.
fn push_address(name: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => name.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => name.extend_from_slice(&address.octets()[..HALF]),
    }
}

/// What a key is about, without the [`prefix`] of its tenant; `None` if it was not made by [`key`].
pub(super) fn parse(key: &str) -> Option<(Holder, WindowId, u8)> {
    let letter = key.chars().next().filter(char::is_ascii)?;
    let name = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(&key[1..]).ok()?;
    let (name, &[a, b, c, d, generation]) = name.split_last_chunk()?;
    let holder = match letter {
        'a' if name.len() == 4 => Holder::Ip(<[u8; 4]>::try_from(name).ok()?.into()),
        'a' => {
            let mut octets = [0; 16];
            octets[..HALF].copy_from_slice(name.get(..HALF).filter(|half| half.len() == name.len())?);
            Holder::Ip(octets.into())
        }
        'i' => Holder::Identity(IdentityId(Uuid::from_slice(name).ok()?)),
        'c' => Holder::Context(ContextId(Uuid::from_slice(name).ok()?)),
        't' if name.len() == size_of::<Uuid>() => Holder::Tenant,
        'p' => {
            let (identity, context) = name.split_first_chunk()?;
            Holder::IdentityContext(*identity, context.try_into().ok()?)
        }
        _ => return None,
    };
    Some((holder, parse_window([a, b, c, d])?, generation))
}

fn parse_window([what, seconds @ ..]: [u8; 4]) -> Option<WindowId> {
    let kind = match what >> 5 {
        0 => Kind::Rate,
        1 => Kind::Quota,
        _ => return None,
    };
    let counts = match what >> 3 & 3 {
        0 => Counts::Items,
        1 => Counts::Requests,
        2 => Counts::Bytes,
        _ => return None,
    };
    let class = match what & 7 {
        0 => None,
        1 => Some(Class::Encrypt),
        2 => Some(Class::Decrypt),
        3 => Some(Class::Sign),
        4 => Some(Class::Admin),
        _ => return None,
    };
    let [a, b, c] = seconds;
    let seconds = u32::from_be_bytes([0, a, b, c]);
    (1..=WindowId::MAX_SECONDS).contains(&seconds).then_some(WindowId { kind, counts, class, seconds })
}

/// All of a window but its numbers; the span takes 22 bits.
fn window(id: WindowId) -> u32 {
    let kind = match id.kind {
        Kind::Rate => 0,
        Kind::Quota => 1,
    };
    let counts = match id.counts {
        Counts::Items => 0,
        Counts::Requests => 1,
        Counts::Bytes => 2,
    };
    let class = match id.class {
        None => 0,
        Some(Class::Encrypt) => 1,
        Some(Class::Decrypt) => 2,
        Some(Class::Sign) => 3,
        Some(Class::Admin) => 4,
    };
    (kind << 5 | counts << 3 | class) << 24 | id.seconds
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn holder(dimension: Dimension) -> Option<Holder> {
        match dimension {
            Dimension::Ip(_, address) => Some(Holder::Ip(address)),
            Dimension::Identity(_, id) => Some(Holder::Identity(id)),
            Dimension::Context(_, id) => Some(Holder::Context(id)),
            Dimension::Tenant(_) => Some(Holder::Tenant),
            Dimension::IdentityContext(_, identity, context) => Some(Holder::pair(identity, context)),
            Dimension::FailedAuthentication(_) => None,
        }
    }

    proptest! {
        #[test]
        fn what_is_no_key_of_ours_is_nothing(
            text in "\\PC{0,50}",
            letter in "[aictpf]",
            name in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let _ = parse(&text);
            let key = format!("{letter}{}", encode(&name));
            if let Some((holder, id, generation)) = parse(&key) {
                // All that is read is all that there is.
                prop_assert_eq!(name.last(), Some(&generation));
                let tail = [window(id).to_be_bytes().as_slice(), &[generation]].concat();
                prop_assert!(name.ends_with(&tail));
                prop_assert_ne!(letter, "f");
                let lengths = match holder {
                    Holder::Ip(IpAddr::V4(_)) => 4,
                    Holder::Ip(IpAddr::V6(_)) => 8,
                    _ => 16,
                };
                prop_assert_eq!(name.len(), lengths + 5);
            }
        }
    }

    #[test]
    fn every_bucket_has_a_short_key_of_its_own() {
        let tenant = TenantId::random();
        let (identity, context) = (IdentityId::random(), ContextId::random());
        let (v4, v6) = ([192, 0, 2, 1].into(), "2001:db8:1:2::".parse().unwrap());
        let dimensions = [
            Dimension::Ip(tenant, v4),
            Dimension::Ip(tenant, v6),
            Dimension::Identity(tenant, identity),
            Dimension::Context(tenant, context),
            Dimension::Tenant(tenant),
            Dimension::IdentityContext(tenant, identity, context),
            Dimension::FailedAuthentication(v4),
            Dimension::FailedAuthentication(v6),
        ];
        let classes = Class::ALL.map(Some).into_iter().chain([None]);
        let mut keys = HashSet::new();
        let mut made = 0;
        for class in classes {
            for counts in [Counts::Items, Counts::Requests, Counts::Bytes] {
                for kind in [Kind::Rate, Kind::Quota] {
                    for (seconds, generation) in [(1, 0), (60, 0), (WindowId::MAX_SECONDS, 255)] {
                        let window = WindowId { kind, counts, class, seconds };
                        for dimension in dimensions {
                            let key = key(&Bucket { dimension, window, generation });
                            assert!(key.len() <= 44, "{key}");
                            let of_tenant = dimension.kind().name() != "failed-authentication";
                            assert_eq!(key.starts_with(&prefix(tenant)), of_tenant);
                            let rest = key.strip_prefix(&prefix(tenant));
                            let expected = holder(dimension).map(|holder| (holder, window, generation));
                            assert_eq!(rest.and_then(parse), expected, "{key}");
                            keys.insert(key);
                            made += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(keys.len(), made);
    }
}
