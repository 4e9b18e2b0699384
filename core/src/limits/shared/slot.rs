//! Slots of a Redis Cluster, and who serves them.

use std::ops::RangeInclusive;

use redis::aio::ConnectionLike;
use redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, Value, cmd};

/// How many there are.
const SLOTS: u16 = 16_384;

/// The slot of a key: CRC-16/XMODEM of its hash tag (Redis Cluster specification, "Key distribution model").
pub(super) fn slot(key: &str) -> u16 {
    let crc = hash_tag(key).bytes().fold(0u16, |crc, byte| {
        let shift = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        (0..8).fold(crc ^ (u16::from(byte) << 8), shift)
    });
    crc % SLOTS
}

fn hash_tag(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    // Between empty braces there is none.
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// A server that takes writes, and its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

impl Master {
    /// A hash tag, with its braces, that puts keys on this server.
    pub(super) fn tag(&self) -> String {
        let serves = |tag: &String| self.slots.iter().any(|slots| slots.contains(&slot(tag)));
        tags().find(serves).expect("a master has a slot, and each slot a tag")
    }
}

/// All masters of the cluster, as the server at the other end, whose name is `host`, sees them.
pub(super) async fn masters(connection: &mut impl ConnectionLike, host: &str) -> RedisResult<Vec<Master>> {
    let rows: Vec<Vec<Value>> = cmd("CLUSTER").arg("SLOTS").query_async(connection).await?;
    let mut masters: Vec<Master> = Vec::new();
    let mut served = 0;
    for row in rows {
        let Ok::<[Value; 3], _>([first, last, node]) = row.into_iter().take(3).collect::<Vec<_>>().try_into()
        else {
            return Err(unexpected("CLUSTER SLOTS: a row is cut"));
        };
        let slots = u16::from_redis_value(first)?..=u16::from_redis_value(last)?;
        if slots.is_empty() || *slots.end() >= SLOTS {
            return Err(unexpected("CLUSTER SLOTS: a range is none"));
        }
        let mut node = Vec::<Value>::from_redis_value(node)?.into_iter();
        let (Some(name), Some(port)) = (node.next(), node.next()) else {
            return Err(unexpected("CLUSTER SLOTS: a node is cut"));
        };
        // A server that has not been told its name leaves it to those who reached it.
        let name = Option::<String>::from_redis_value(name)?.filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| host.to_owned());
        let port = u16::from_redis_value(port)?;
        served += slots.len();
        match masters.iter_mut().find(|master| master.host == name && master.port == port) {
            Some(master) => master.slots.push(slots),
            None => masters.push(Master { host: name, port, slots: vec![slots] }),
        }
    }
    if served == usize::from(SLOTS) { Ok(masters) } else { Err(unexpected("some slots have no master")) }
}

/// Enough to hit each slot.
fn tags() -> impl Iterator<Item = String> {
    (0..500_000).map(|number| format!("{{{number}}}"))
}

fn unexpected(what: &'static str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, what).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The check value of CRC-16/XMODEM is 0x31c3.
        assert_eq!(slot("123456789"), 0x31c3);
        for (key, tag) in [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
        ] {
            assert_eq!(hash_tag(key), tag, "{key}");
        }
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("bar"), 5_061);
    }

    #[test]
    fn each_slot_has_a_tag() {
        let hit: HashSet<_> = tags().map(|tag| slot(&tag)).collect();
        assert_eq!(hit.len(), usize::from(SLOTS));
        let master = Master { host: "h".to_owned(), port: 1, slots: vec![7..=7, 9..=11] };
        assert!(matches!(slot(&master.tag()), 7 | 9..=11));
    }
}
