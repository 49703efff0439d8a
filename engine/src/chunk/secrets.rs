//! Keys and tokens in a file's text, found by their shape, for `secrets = "skip"` and `"redact"`.
//!
//! Few false alarms come before completeness: well-known shapes, private keys with a body, and
//! values that look random where a name says that they are secret. The time is linear in the text.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem;
use regex::Regex;

/// Names this scanner's rules, for recipes: what is redacted depends on it.
pub const RULES: &str = "secrets 1";

/// What a secret becomes. Line breaks in it are kept, so that line numbers stay true.
const REDACTED: &str = "[REDACTED]";

/// Tokens that are known by their first characters. What follows is long enough that no word of
/// a language looks like it.
static TOKENS: LazyLock<Regex> = LazyLock::new(|| {
    let shapes = [
        r"gh[pousr]_[A-Za-z0-9][A-Za-z0-9_.\-]{34,}", // GitHub; installation tokens hold a JWT
        r"github_pat_[A-Za-z0-9_]{30,}",
        r"glpat-[A-Za-z0-9_\-]{20,}",       // GitLab
        r"(?:AKIA|ASIA)[0-9A-Z]{16}\b",     // AWS key ids
        r"xox[abeoprs]-[A-Za-z0-9\-]{20,}", // Slack
        r"xapp-[0-9]-[A-Za-z0-9\-]{20,}",
        r"AIza[0-9A-Za-z_\-]{35}", // Google
        r"ya29\.[0-9A-Za-z_\-]{30,}",
        r"[rs]k_live_[0-9A-Za-z]{20,}", // Stripe
        r"pcsk_[0-9A-Za-z_]{30,}",      // Pinecone
        r"npm_[0-9A-Za-z]{36}\b",
        r"pypi-AgEI[0-9A-Za-z_\-]{40,}",
        r"hf_[A-Za-z]{34}\b",                          // Hugging Face
        r"SG\.[0-9A-Za-z_\-]{22}\.[0-9A-Za-z_\-]{43}", // SendGrid
        r"eyJ[0-9A-Za-z_\-]{10,}\.eyJ[0-9A-Za-z_\-]{10,}\.[0-9A-Za-z_\-]{20,}", // JWT
    ];
    Regex::new(&format!(r"\b(?:{})", shapes.join("|"))).expect("the shapes are tested")
});

/// Slack's webhook addresses are secrets as a whole.
static WEBHOOKS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_\-]{20,}")
        .expect("the shape is tested")
});

/// `sk-…` of OpenAI and others; style sheets have such names too, so the rest must look random.
static SK_KEYS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bsk-[A-Za-z0-9_\-]{20,}").expect("the shape is tested"));

/// A name that says "secret", and the value given to it: quoted, or bare.
static ASSIGNMENTS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)(?:password|passwd|secret|token|api[_\-.]?key|access[_\-.]?key|account[_\-.]?key|",
        r"private[_\-.]?key|auth[_\-.]?key|credential)[a-z0-9_\-.]{0,30}",
        r#"["'`]?[ \t]{0,8}(?::=|=>|[:=])[ \t]{0,8}"#,
        r#"(?:"([^"\s]{12,400})"|'([^'\s]{12,400})'|`([^`\s]{12,400})`|([A-Za-z0-9+/=_\-]{20,400}))"#,
    ))
    .expect("the shape is tested")
});

/// Where secrets stand: byte ranges on character borders, in order, not overlapping.
pub fn find(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = TOKENS.find_iter(text).map(|one| one.range()).collect();
    found.extend(WEBHOOKS.find_iter(text).map(|one| one.range()));
    found.extend(SK_KEYS.find_iter(text).filter(|one| is_mixed(one.as_str())).map(|one| one.range()));
    for assignment in ASSIGNMENTS.captures_iter(text) {
        let quoted = (1..=3).find_map(|group| assignment.get(group));
        let value = quoted.or_else(|| assignment.get(4)).filter(|value| {
            is_random(value.as_str())
                && (quoted.is_some() || is_mixed(value.as_str()) || is_hex(value.as_str()))
        });
        found.extend(value.map(|value| value.range()));
    }
    private_keys(text, &mut found);
    found.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The text with every secret replaced; as many lines as before.
pub fn redact(text: &str) -> Cow<'_, str> {
    let found = find(text);
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for range in found {
        out.push_str(&text[from..range.start]);
        out.push_str(REDACTED);
        out.extend(text[range.clone()].matches('\n'));
        from = range.end;
    }
    out.push_str(&text[from..]);
    Cow::Owned(out)
}

/// PEM blocks of private keys that have a body; a marker alone is only somebody's string constant.
fn private_keys(text: &str, found: &mut Vec<Range<usize>>) {
    const END: &str = "-----END ";
    let ends: Vec<usize> = memmem::find_iter(text.as_bytes(), END).collect();
    let mut ends = ends.into_iter().peekable();
    let mut begins = memmem::find_iter(text.as_bytes(), "-----BEGIN ").peekable();
    while let Some(begin) = begins.next() {
        let next = begins.peek().copied().unwrap_or(text.len());
        while ends.next_if(|end| *end < begin).is_some() {}
        let end = ends.peek().copied().filter(|end| *end < next);
        let Some(label) = text[begin + 11..next].find("-----").filter(|length| *length <= 40) else {
            continue;
        };
        if !text[begin + 11..begin + 11 + label].contains("PRIVATE KEY") {
            continue;
        }
        let body = begin + 11 + label + 5;
        let end = match end {
            Some(end) => {
                let label = text[end + END.len()..next].find("-----").filter(|length| *length <= 40);
                end + label.map_or(END.len(), |length| END.len() + length + 5)
            }
            // Cut off: as far as it still looks like one.
            None => body + text[body..next].find(|c: char| !is_key_text(c)).unwrap_or(next - body),
        };
        if end > body && has_long_run(&text[body..end]) {
            found.push(begin..end);
        }
    }
}

fn is_key_text(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '\\' | '\n' | '\t' | ' ')
}

/// Forty characters of base64 in a row: more than any word, less than a line of a key.
fn has_long_run(body: &str) -> bool {
    body.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')))
        .any(|run| run.len() >= 40)
}

/// Capitals, small letters and digits together.
fn is_mixed(value: &str) -> bool {
    let any = |test: fn(&u8) -> bool| value.bytes().any(|byte| test(&byte));
    any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase) && any(u8::is_ascii_digit)
}

fn is_hex(value: &str) -> bool {
    value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// True for a value that a person would not have thought of: letters and digits in no order, and
/// none of the marks of a placeholder, a path or an expression.
fn is_random(value: &str) -> bool {
    const PLACEHOLDERS: [&str; 16] = [
        "example",
        "changeme",
        "change-me",
        "change_me",
        "placeholder",
        "your",
        "xxxx",
        "0000",
        "1234",
        "dummy",
        "fake",
        "test",
        "redacted",
        "secret",
        "password",
        "sample",
    ];
    let lower = value.to_ascii_lowercase();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let is_expression = value.contains(['$', '{', '}', '<', '>', '(', ')', '[', ']', '%', ':', '\\']);
    let is_words = value
        .split(['_', '-', '.', '/'])
        .all(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()) || word.len() <= 3);
    digits >= 2
        && letters >= 2
        && !is_expression
        && !is_words
        && !PLACEHOLDERS.iter().any(|placeholder| lower.contains(placeholder))
        && entropy(value) >= 3.0
}

/// Bits in a character, by how often each one occurs.
fn entropy(value: &str) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Made up, and in two pieces, so that scanners of this repository find nothing.
    const RANDOM: &str = "q7Rt2Lm9Xc4Vb8Nz1Kp6Wd3Hs5Jf0Gy7Ta2Qe9Uo4Ri";

    fn sample(prefix: &str, length: usize) -> String {
        format!("{prefix}{}", &RANDOM.repeat(4)[..length])
    }

    #[test]
    fn well_known_tokens_are_found_whole() {
        let upper = sample("", 16).to_ascii_uppercase();
        let letters: String = RANDOM.repeat(2).chars().filter(char::is_ascii_alphabetic).take(34).collect();
        for secret in [
            sample("ghp_", 36),
            sample("gho_", 36),
            format!("{}.{}-{}_x", sample("ghs_12345_eyJ", 30), sample("", 40), sample("", 20)),
            sample(concat!("github", "_pat_"), 70),
            sample("glpat-", 20),
            format!("AKIA{upper}"),
            sample(concat!("xox", "b-123456789012-"), 24),
            format!("https://hooks.slack.com/services/T{upper}/B{upper}/{}", sample("", 24)),
            sample("sk-", 48),
            sample("sk-proj-", 60),
            sample("AIza", 35),
            sample(concat!("sk_", "live_"), 24),
            sample("pcsk_", 60),
            sample("npm_", 36),
            format!("hf_{letters}"),
            format!("eyJ{}.eyJ{}.{}", sample("", 20), sample("", 40), sample("", 43)),
        ] {
            for (before, after) in
                [("", ""), ("see ", " for"), ("key: \"", "\",\n"), ("`", "`"), ("ä=", "\n")]
            {
                let text = format!("{before}{secret}{after}");
                let found = find(&text);
                assert_eq!(found.len(), 1, "{text}");
                assert_eq!(&text[found[0].clone()], secret, "{text}");
            }
        }
    }

    #[test]
    fn values_are_found_where_a_name_tells() {
        let value = sample("", 32);
        let hex = "9f86d081884c7d659a2feaa0c55ad015";
        for text in [
            format!("password = \"{value}\""),
            format!("  \"apiKey\": \"{value}\","),
            format!("AZURE_OPENAI_API_KEY={value}"),
            format!("AZURE_OPENAI_API_KEY={hex}"),
            format!("export const clientSecret = '{value}';"),
            format!("DefaultEndpointsProtocol=https;AccountKey={value}{value}=="),
            format!("aws_secret_access_key = {}", sample("", 40)),
            format!("db_password: '{hex}'"),
            format!("TOKEN := `{value}`"),
        ] {
            assert_eq!(find(&text).len(), 1, "{text}");
            assert!(!redact(&text).contains(&value[..20]) && !redact(&text).contains(hex), "{text}");
        }
    }

    #[test]
    fn private_keys_are_found_with_their_lines_kept() {
        let body = format!("{}\n{}\n", sample("MII", 60), sample("", 64));
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            let key = format!("-----BEGIN {label}-----\n{body}-----END {label}-----");
            let text = format!("before\n{key}\nafter");
            let found = find(&text);
            assert_eq!(found.len(), 1, "{label}");
            assert_eq!(&text[found[0].clone()], key);
            let redacted = redact(&text);
            assert_eq!(redacted, "before\n[REDACTED]\n\n\n\nafter".replacen("\n\n\n\n", &"\n".repeat(4), 1));
            assert_eq!(redacted.lines().count(), text.lines().count());
        }
        let one_line = format!(
            "{{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----\\n\"}}",
            sample("", 64)
        );
        assert_eq!(find(&one_line).len(), 1);
        let cut_off = format!("-----BEGIN PRIVATE KEY-----\n{body}");
        assert_eq!(find(&cut_off), vec![0..cut_off.len()]);
        let public = format!("-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----");
        assert!(find(&public).is_empty());
    }

    #[test]
    fn ordinary_text_and_code_raise_no_alarm() {
        let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        for text in [
            "the password is checked by `check_password(password, hash)`",
            "let token = parser.next_token_from_stream(2)?;",
            "api_key = os.environ[\"OPENAI_API_KEY\"]",
            "api_key = \"${OPENAI_API_KEY}\"",
            "password: \"correct horse battery staple 22\"",
            "PASSWORD=changeme12345678901234567890",
            "token = \"<your-token-goes-here-12345>\"",
            "secret = \"ghp_short\"",
            ".sk-folding-cube-with-a-long-name { }",
            "sk-learn-is-not-a-secret-at-all",
            "the token: expectations_of_the_second_kind_2",
            "if text.contains(\"-----BEGIN PRIVATE KEY-----\") { }",
            "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
            "tokenizer = \"model/tokenizer-v2.json\"",
            "secretName: kubernetes-dashboard-certs",
            "AKIA is how they begin; AIza too",
            "access_key_id: &'static str, secret_access_key: Option<String>",
            "https://hooks.slack.com/services/T000/B000/XXX",
            "eyJhbGciOiJIUzI1NiJ9 is only a header",
            &format!("sha256 = \"{digest}\""),
            &format!("checksum {digest}"),
        ] {
            assert_eq!(find(text), Vec::<Range<usize>>::new(), "{text}");
            assert!(matches!(redact(text), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn hostile_text_takes_linear_time() {
        // Quadratic work on any of these would take minutes.
        for pattern in [
            "-----BEGIN PRIVATE KEY-----\n",
            "-----BEGIN ",
            "eyJ",
            "password=\"",
            "secret",
            "token: a",
            "ghp_",
            "-----END ",
        ] {
            let text = pattern.repeat((4 << 20) / pattern.len());
            assert!(redact(&text).len() <= text.len() + 16);
        }
    }

    proptest! {
        #[test]
        fn redacting_keeps_lines_and_is_done_once(text in r#"(?s)(.|password = "[A-Za-z0-9]{20}"|ghp_[A-Za-z0-9]{36}|-----BEGIN PRIVATE KEY-----|\n){0,40}"#) {
            let redacted = redact(&text);
            prop_assert_eq!(redacted.matches('\n').count(), text.matches('\n').count());
            for range in find(&text) {
                prop_assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
            }
        }
    }
}
