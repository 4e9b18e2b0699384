use std::sync::Arc;

use super::StreamError;
use crate::api::code;
use crate::audit::{Outcome, Permit, Record};
use crate::telemetry::Metrics;

/// The outcome of a stream that nobody read to its end.
const CLIENT_GONE: &str = "client_gone";

/// The audit record of a stream, written once, when it ends, however it ends.
#[derive(Default)]
pub(in crate::api) struct Report(Option<(Permit, Record, Option<Arc<Metrics>>)>);

impl Report {
    /// Of cryptography what was done is counted in `metrics` too.
    pub(in crate::api) fn new(permit: Permit, record: Record, metrics: Option<Arc<Metrics>>) -> Self {
        Self(Some((permit, record, metrics)))
    }

    /// The stream is complete. Writes the record, with what `tell` knows by now.
    pub(in crate::api) async fn done(&mut self, tell: impl FnOnce(&mut Record)) -> Result<(), StreamError> {
        let Some((permit, mut record, metrics)) = self.0.take() else { return Ok(()) };
        tell(&mut record);
        if let Some(metrics) = metrics {
            metrics.operations.record_stream(record.operation, record.outcome.code(), record.bytes);
        }
        let request_id = record.request_id.clone();
        permit.record(record).await.map_err(|_| {
            tracing::error!(request_id, "a stream was not recorded in the audit trail and is cut");
            StreamError::Audit
        })
    }

    /// The stream breaks off.
    pub(in crate::api) fn failed(&mut self, error: &StreamError, tell: impl FnOnce(&mut Record)) {
        self.broken_off(code(&error.clone().into_error()), tell);
    }

    /// Nobody reads the stream any more, unless it is over.
    pub(in crate::api) fn client_gone(&mut self, tell: impl FnOnce(&mut Record)) {
        self.broken_off(CLIENT_GONE, tell);
    }

    fn broken_off(&mut self, code: &'static str, tell: impl FnOnce(&mut Record)) {
        if let Some((permit, mut record, metrics)) = self.0.take() {
            tell(&mut record);
            if let Some(metrics) = metrics {
                metrics.operations.record_stream(record.operation, code, record.bytes);
            }
            tracing::info!(request_id = record.request_id, code, bytes = record.bytes, "a stream broke off");
            record.outcome = Outcome::Failure(code);
            permit.record_later(record);
        }
    }
}
