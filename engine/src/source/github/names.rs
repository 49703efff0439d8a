//! Names of repositories in addresses.

use crate::source::permalink::encode_segment;

/// `owner/name`, each part encoded.
pub(super) fn encode_name(name: &str) -> String {
    match name.split_once('/') {
        Some((owner, name)) => format!("{}/{}", encode_segment(owner), encode_segment(name)),
        None => encode_segment(name),
    }
}
