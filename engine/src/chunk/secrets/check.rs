//! What a secret must be besides its shape.

use serde::Deserialize;

/// A rule's `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Check {
    /// Letters and digits in no order.
    Random,
    /// Capitals, small letters and digits together.
    Mixed,
    /// Random, and quoted, mixed or hexadecimal: for values that only a name calls secret.
    Assigned,
    /// What a person or a program may have chosen, and no placeholder.
    Password,
}

impl Check {
    /// Whether a value passes. `bare`: it stands without quotes.
    pub(super) fn passes(self, value: &str, bare: bool, placeholders: &[String]) -> bool {
        match self {
            Self::Random => is_random(value, placeholders),
            Self::Mixed => is_mixed(value),
            Self::Assigned => is_random(value, placeholders) && (!bare || is_mixed(value) || is_hex(value)),
            Self::Password => is_password(value, placeholders),
        }
    }
}

/// Capitals, small letters and digits together.
fn is_mixed(value: &str) -> bool {
    let any = |test: fn(&u8) -> bool| value.bytes().any(|byte| test(&byte));
    any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase) && any(u8::is_ascii_digit)
}

fn is_hex(value: &str) -> bool {
    value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// None of the marks of a variable, a call or a template.
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

/// True for a value that a person would not have thought of: letters and digits in no order, and
/// none of the marks of a placeholder, a path or an expression.
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

/// Bits in a character, by how often each one occurs.
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
