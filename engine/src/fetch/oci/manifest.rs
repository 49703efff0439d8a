//! The manifest of an artifact: which blob is the component.

use serde::Deserialize;

use crate::chunk::component::is_digest;

/// What is asked for. Indexes are accepted, so that the answer says what is there.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// The media type of a component.
const COMPONENT: &str = "application/wasm";

const PUSH: &str = "push the component as the only layer of an artifact: \
     `oras push HOST/NAME:TAG NAME.wasm:application/wasm`";

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Option<Vec<Layer>>,
    #[serde(default)]
    manifests: Option<Vec<serde::de::IgnoredAny>>,
}

/// A blob.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Layer {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) size: u64,
}

/// The layer with the component, or what is wrong with the manifest, and a hint.
pub(super) fn component(manifest: &[u8]) -> Result<Layer, (String, &'static str)> {
    let manifest: Manifest = serde_json::from_slice(manifest)
        .map_err(|error| (format!("has a manifest that cannot be read: {error}"), PUSH))?;
    if let Some(manifests) = manifest.manifests {
        return Err((
            format!("is an index of {} manifests, not a manifest", manifests.len()),
            "name one of them by its digest: `oci://HOST/NAME@sha256:…`",
        ));
    }
    let layers = manifest.layers.unwrap_or_default();
    let types: Vec<String> = layers.iter().map(|layer| format!("`{}`", shown(&layer.media_type))).collect();
    let mut components = layers.into_iter().filter(|layer| layer.media_type == COMPONENT);
    match (components.next(), components.next()) {
        (Some(layer), None) if is_digest(&layer.digest) => Ok(layer),
        (Some(layer), None) => Err((
            format!("has a layer with the digest `{}`, which is not SHA-256", shown(&layer.digest)),
            PUSH,
        )),
        (Some(_), Some(_)) => Err((format!("has more than one layer of the type `{COMPONENT}`"), PUSH)),
        (None, _) if types.is_empty() => Err(("has no layers".to_owned(), PUSH)),
        (None, _) => Err((format!("has no layer of the type `{COMPONENT}`, but {}", types.join(", ")), PUSH)),
    }
}

/// Text of a registry, for a message.
fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_one_layer_of_the_right_type_is_the_component() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let layer = |kind: &str, digest: &str| json!({ "mediaType": kind, "digest": digest, "size": 9 });
        let wasm = layer(COMPONENT, &digest);
        let found = |manifest: serde_json::Value| {
            component(manifest.to_string().as_bytes()).map(|layer| layer.size).map_err(|(what, _)| what)
        };
        assert_eq!(found(json!({ "layers": [layer("text/plain", &digest), wasm] })), Ok(9));
        for (manifest, what) in [
            (json!({ "manifests": [{}, {}] }), "is an index of 2 manifests, not a manifest"),
            (json!({ "layers": [] }), "has no layers"),
            (json!({}), "has no layers"),
            (
                json!({ "layers": [layer("application/vnd.oci.image.layer.v1.tar+gzip", &digest)] }),
                "has no layer of the type `application/wasm`, but `application/vnd.oci.image.layer.v1.tar+gzip`",
            ),
            (json!({ "layers": [wasm, wasm] }), "has more than one layer of the type `application/wasm`"),
            (
                json!({ "layers": [layer(COMPONENT, "sha512:00")] }),
                "has a layer with the digest `sha512:00`, which is not SHA-256",
            ),
        ] {
            assert_eq!(found(manifest), Err(what.to_owned()));
        }
        assert!(
            component(b"<html>")
                .is_err_and(|(what, _)| what.starts_with("has a manifest that cannot be read"))
        );
    }
}
