use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::clock::Timestamp;

/// What a listener that speaks TLS counts. Clones are handles to the same.
#[derive(Clone)]
pub struct TlsMetrics {
    handshakes: Family<Labels, Counter>,
    expires: Gauge,
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// With a connection.
    Done,
    /// The client refused, was refused, or spoke no TLS.
    Failed,
    /// It took too long.
    TimedOut,
}

impl EncodeLabelValue for Handshake {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: Handshake,
}

impl TlsMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let this = Self { handshakes: Family::default(), expires: Gauge::default() };
        registry.register("tls_handshakes", "TLS handshakes by their end", this.handshakes.clone());
        let help = "When the certificate that is served expires, since 1970";
        registry.register_with_unit(
            "tls_certificate_expiry_timestamp",
            help,
            Unit::Seconds,
            this.expires.clone(),
        );
        for result in [Handshake::Done, Handshake::Failed, Handshake::TimedOut] {
            // There from the start, as one that appears with its first count has no rate.
            drop(this.handshakes.get_or_create(&Labels { result }));
        }
        this
    }

    /// Counts a handshake that has ended.
    pub fn handshake(&self, result: Handshake) {
        self.handshakes.get_or_create(&Labels { result }).inc();
    }

    /// The certificate that is served from now on counts until `time`.
    pub fn certificate_expires(&self, time: Timestamp) {
        self.expires.set(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    }
}
