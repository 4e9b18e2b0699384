use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::StoredRecord;
use crate::clock::Timestamp;

impl Serialize for StoredRecord {
    /// In the order of columns that exports have too. Times are RFC 3339 in UTC with microseconds, as these are
    /// authenticated; the MAC is hexadecimal.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("StoredRecord", 18)?;
        record.serialize_field("recorded_at", &micros(self.recorded_at))?;
        record.serialize_field("at", &micros(self.at))?;
        record.serialize_field("instance", &*self.instance)?;
        record.serialize_field("request_id", &self.request_id)?;
        record.serialize_field("tenant_id", &self.tenant)?;
        record.serialize_field("identity_id", &self.identity)?;
        record.serialize_field("operation", &self.operation)?;
        record.serialize_field("context", &self.context)?;
        record.serialize_field("key_version", &self.key_version)?;
        record.serialize_field("outcome", &self.outcome)?;
        record.serialize_field("items", &self.items)?;
        record.serialize_field("failed", &self.failed)?;
        record.serialize_field("bytes", &self.bytes)?;
        record.serialize_field("address", &self.address)?;
        record.serialize_field("detail", &self.detail)?;
        record.serialize_field("chain_id", &self.chain)?;
        record.serialize_field("seq", &self.seq)?;
        record.serialize_field("mac", &hex::encode(self.mac))?;
        record.end()
    }
}

fn micros(time: Timestamp) -> String {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => time.to_string(),
    }
}
