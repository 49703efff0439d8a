//! Masks secrets in spans. Log lines are events of spans, and errors are attributes of those.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::trace::Status;
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::model::mask_secrets;

/// Masks spans before it passes them to the exporter.
#[derive(Debug)]
pub(super) struct Masked<E>(pub(super) E);

impl<E: SpanExporter> SpanExporter for Masked<E> {
    fn export(&self, mut batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        batch.iter_mut().for_each(mask_span);
        self.0.export(batch)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

fn mask_span(span: &mut SpanData) {
    mask_attributes(&mut span.attributes);
    for event in &mut span.events.events {
        mask_text(&mut event.name);
        mask_attributes(&mut event.attributes);
    }
    if let Status::Error { description } = &mut span.status {
        mask_text(description);
    }
}

fn mask_attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        if let Value::String(text) = &attribute.value
            && let Cow::Owned(masked) = mask_secrets(text.as_str())
        {
            attribute.value = masked.into();
        }
    }
}

fn mask_text(text: &mut Cow<'static, str>) {
    if let Cow::Owned(masked) = mask_secrets(text) {
        *text = masked.into();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;
    use crate::model::register_secrets;

    #[test]
    fn attributes_events_and_status_hold_no_secret() {
        let secret = "of-the-span-test-5d21";
        register_secrets([secret.to_owned()]);
        let attributes = || vec![KeyValue::new("error", format!("no {secret}")), KeyValue::new("n", 1)];
        let events = vec![Event::new(format!("got {secret}"), SystemTime::UNIX_EPOCH, attributes(), 0)];
        let mut span = SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "run".into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: attributes(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::error(format!("bad {secret}")),
            instrumentation_scope: opentelemetry::InstrumentationScope::default(),
        };
        span.events.events = events;
        mask_span(&mut span);
        let shown = format!("{span:?}");
        assert!(!shown.contains(secret) && shown.matches("***").count() == 4, "{shown}");
    }
}
