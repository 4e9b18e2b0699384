use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// Requests as their `traceparent` says, and a share of those that say nothing; what belongs to no request is not traced.
#[derive(Clone, Debug)]
pub(super) struct OfRequests {
    pub(super) share: f64,
}

impl ShouldSample for OfRequests {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent = parent.filter(|parent| parent.span().span_context().is_valid());
        let sampler = match (parent, kind) {
            (Some(_), _) => Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
            (None, SpanKind::Server) => Sampler::TraceIdRatioBased(self.share),
            (None, _) => {
                return SamplingResult {
                    decision: SamplingDecision::Drop,
                    attributes: Vec::new(),
                    trace_state: TraceState::default(),
                };
            }
        };
        sampler.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}
