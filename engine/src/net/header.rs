//! Headers that carry configured values.

use reqwest::header::HeaderValue;

use crate::model::{Secret, StageError, StageResult, register_secrets};

/// A header value with a secret from the configuration key `key`: kept out of logs, and never part of an
/// error; masked in whatever a service repeats. `prefix` precedes the secret (`"Bearer "`).
pub fn secret_header(stage: &str, key: &str, prefix: &str, secret: &Secret) -> StageResult<HeaderValue> {
    let secret = secret.expose().trim();
    register_secrets([secret.to_owned()]);
    let mut value = HeaderValue::from_str(&format!("{prefix}{secret}"))
        .ok()
        .filter(|_| !secret.is_empty())
        .ok_or_else(|| {
        StageError::misconfigured(stage, format!("`{key}` is empty or holds characters that no key has"))
            .hint("check the environment variable or file it comes from")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_no_header_takes_is_not_shown() {
        let header = secret_header("s", "api_key", "Bearer ", &Secret::new(" key\n")).expect("trimmed");
        assert_eq!((header.as_bytes(), header.is_sensitive()), (&b"Bearer key"[..], true));
        for bad in ["", " ", "sec\nret"] {
            let error = secret_header("s", "api_key", "", &Secret::new(bad)).expect_err("no header");
            assert_eq!(error.one_line(), "`api_key` is empty or holds characters that no key has");
        }
    }
}
