//! Requests and answers of the embeddings endpoint, as Azure, OpenAI and their like speak them.
//! Pure: bytes in, bytes out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::model::Vector;

/// The body of a request. What is not configured is left out: some servers refuse what they do
/// not know.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub(super) input: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dimensions: Option<u32>,
    /// `base64`: a third of the bytes, a tenth of the time. Left out where a server refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) encoding_format: Option<&'static str>,
    /// What the texts are embedded for, in the service's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input_type: Option<&'static str>,
}

/// A well-formed answer: a vector for each input, in the inputs' order, all of one length.
#[derive(Debug, PartialEq)]
pub struct EmbeddingResponse {
    /// One for each input.
    pub vectors: Vec<Vector>,
    /// Tokens as the service counted them, where it says so.
    pub tokens: Option<u64>,
}

#[derive(Deserialize)]
struct RawAnswer {
    data: Vec<RawVector>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct RawVector {
    index: Option<usize>,
    embedding: Components,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

/// The components, whichever form the server chose.
struct Components(Vector);

impl<'de> Deserialize<'de> for Components {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Components;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("numbers, or base64 of little-endian f32")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Components, E> {
                let bytes = BASE64_STANDARD.decode(text).map_err(E::custom)?;
                match bytes.as_chunks::<4>() {
                    (chunks, []) => Ok(Components(chunks.iter().map(|b| f32::from_le_bytes(*b)).collect())),
                    _ => Err(E::custom("a vector's bytes are no multiple of four")),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Components, A::Error> {
                let mut components = Vec::with_capacity(1536);
                while let Some(number) = numbers.next_element()? {
                    components.push(number);
                }
                Ok(Components(components.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Reads an answer to a request of `inputs` texts, or says what is wrong with it.
pub fn read_answer(body: &[u8], inputs: usize) -> Result<EmbeddingResponse, String> {
    let RawAnswer { data, usage } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if data.len() != inputs {
        return Err(format!("{} vectors for {inputs} texts", data.len()));
    }
    let length = data.first().map_or(0, |raw| raw.embedding.0.len());
    let mut vectors: Vec<Option<Vector>> = vec![None; inputs];
    for (place, RawVector { index, embedding: Components(components) }) in data.into_iter().enumerate() {
        if components.len() != length || length == 0 {
            return Err(format!("vectors of {length} and of {} components", components.len()));
        }
        match vectors.get_mut(index.unwrap_or(place)) {
            Some(slot @ None) => *slot = Some(components),
            _ => return Err(format!("index {} twice or out of range", index.unwrap_or(place))),
        }
    }
    // As many as places, and none twice: all are there.
    let vectors = vectors.into_iter().flatten().collect();
    let tokens = usage.and_then(|usage| usage.prompt_tokens.or(usage.total_tokens)).filter(|&n| n > 0);
    Ok(EmbeddingResponse { vectors, tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_configured_is_sent() {
        let body = |request: &Request<'_>| serde_json::to_string(request).expect("serialises");
        let mut request =
            Request { input: &["a"], model: None, dimensions: None, encoding_format: None, input_type: None };
        assert_eq!(body(&request), r#"{"input":["a"]}"#);
        request.model = Some("m");
        request.dimensions = Some(2);
        request.encoding_format = Some("base64");
        request.input_type = Some("query");
        assert_eq!(
            body(&request),
            r#"{"input":["a"],"model":"m","dimensions":2,"encoding_format":"base64","input_type":"query"}"#
        );
    }

    #[test]
    fn both_forms_are_read_and_put_in_order() {
        let base64 = |x: f32| BASE64_STANDARD.encode([x.to_le_bytes(), 0.5f32.to_le_bytes()].concat());
        let body = format!(
            r#"{{"object":"list","data":[{{"index":1,"embedding":[3, 0.5]}},{{"index":0,"embedding":"{}"}}],
                "usage":{{"prompt_tokens":7,"total_tokens":7}}}}"#,
            base64(-2.0).replace('/', "\\/")
        );
        let answer = read_answer(body.as_bytes(), 2).expect("well-formed");
        assert_eq!(answer.tokens, Some(7));
        assert_eq!(answer.vectors.iter().map(|v| v.to_vec()).collect::<Vec<_>>(), [[-2.0, 0.5], [3.0, 0.5]]);
        let unnumbered = r#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#;
        let answer = read_answer(unnumbered.as_bytes(), 2).expect("well-formed");
        assert_eq!((answer.vectors[1][0], answer.tokens), (2.0, None));
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        for (body, why) in [
            ("<html>", "expected value"),
            (r#"{"data":[{"index":0,"embedding":[1]}]"#, "EOF"),
            (r#"{"data":[{"index":0,"embedding":[1]}]}"#, "1 vectors for 2 texts"),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}"#, "index 0 twice"),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}]}"#, "index 2 twice or out"),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]}"#, "of 1 and of 2"),
            (r#"{"data":[{"index":0,"embedding":[]},{"index":1,"embedding":[]}]}"#, "of 0 and of 0"),
            (r#"{"data":[{"index":0,"embedding":"AAAA"},{"index":1,"embedding":[1]}]}"#, "multiple of four"),
            (r#"{"data":[{"index":0,"embedding":"!"},{"index":1,"embedding":[1]}]}"#, "Invalid"),
            (r#"{"data":[{"index":0,"embedding":[null]},{"index":1,"embedding":[1]}]}"#, "null"),
            (r#"{"error":{"message":"no"}}"#, "missing field `data`"),
        ] {
            let error = read_answer(body.as_bytes(), 2).expect_err(body);
            assert!(error.contains(why), "{body}: {error}");
        }
    }
}
