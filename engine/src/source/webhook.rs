//! Webhooks: how a kind of source reads what its host delivers.

use http::HeaderMap;

use crate::model::Push;

/// Bytes of the signature, an HMAC-SHA-256.
pub const SIGNATURE_BYTES: usize = 32;

/// How the deliveries of a host are read. Nothing is believed of a delivery before its signature is
/// checked, which the API does.
pub trait Webhook: Send + Sync {
    /// The header that carries the signature.
    fn signature_header(&self) -> &'static str;

    /// The HMAC of the raw body by the webhook's secret. The error says what is wrong with the header.
    fn signature(&self, headers: &HeaderMap) -> Result<[u8; SIGNATURE_BYTES], String>;

    /// What the head of a delivery says, before its body is read.
    fn event(&self, headers: &HeaderMap) -> WebhookEvent;

    /// What a delivery means; `None`: nothing for any project. The error says what is wrong with it.
    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<Option<Push>, String>;
}

/// The class of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookEvent {
    /// The host tries the address.
    Ping,
    /// An event that may mean something for a project.
    Relevant,
    /// Any other.
    Irrelevant,
}
