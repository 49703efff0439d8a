//! Checks that a value must pass in addition to matching a rule's pattern.

use serde::Deserialize;

/// A rule's `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Check {
    /// Random letters and digits.
    Random,
    /// Contains upper-case letters, lower-case letters and digits.
    Mixed,
    /// Random, and quoted, mixed or hexadecimal; for values that only the assigned name marks as secret.
    Assigned,
    /// A possible password: letters and digits, not a placeholder.
    Password,
}

impl Check {
    /// Whether a value passes the check. `bare`: it is not quoted.
    pub(super) fn passes(self, value: &str, bare: bool, placeholders: &[String]) -> bool {
        match self {
            Self::Random => is_random(value, placeholders),
            Self::Mixed => is_mixed(value),
            Self::Assigned => is_random(value, placeholders) && (!bare || is_mixed(value) || is_hex(value)),
            Self::Password => is_password(value, placeholders),
        }
    }
}

/// True if the value contains upper-case letters, lower-case letters and digits.
fn is_mixed(value: &str) -> bool {
    let any = |test: fn(&u8) -> bool| value.bytes().any(|byte| test(&byte));
    any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase) && any(u8::is_ascii_digit)
}

fn is_hex(value: &str) -> bool {
    value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// True if the value contains no syntax of a variable, call or template.
fn is_literal(value: &str) -> bool {
    !value.contains(['$', '{', '}', '<', '>', '(', ')', '[', ']', '%', '\\'])
}

fn is_words(value: &str) -> bool {
    value
        .split(['_', '-', '.', '/'])
        .all(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()) || word.len() <= 3)
}

fn is_placeholder(value: &str, placeholders: &[String]) -> bool {
    let lower = value.to_ascii_lowercase();
    placeholders.iter().any(|placeholder| lower.contains(placeholder.as_str()))
}

/// True for a value that looks machine-generated: high-entropy letters and digits, and neither a
/// placeholder nor a path or expression.
fn is_random(value: &str, placeholders: &[String]) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    digits >= 2
        && letters >= 2
        && !value.contains(':')
        && is_literal(value)
        && !is_words(value)
        && !is_placeholder(value, placeholders)
        && entropy(value) >= 3.0
}

fn is_password(value: &str, placeholders: &[String]) -> bool {
    let digits = value.bytes().any(|byte| byte.is_ascii_digit());
    let letters = value.bytes().any(|byte| byte.is_ascii_alphabetic());
    digits && letters && is_literal(value) && !is_words(value) && !is_placeholder(value, placeholders)
}

/// Shannon entropy of the bytes, in bits per byte.
pub(super) fn entropy(value: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in value.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / length;
            -share * share.log2()
        })
        .sum()
}
