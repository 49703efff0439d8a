//! Hides literal secrets in the text of the file before a snippet is shown. Works on the text
//! rather than on the parsed value, since the file may not parse.

/// Keys whose value is a secret, in any table.
pub(crate) const SECRET_KEYS: [&str; 9] = [
    "api_key",
    "bearer_token",
    "private_key",
    "token",
    "url",
    "secret",
    "webhook_secret",
    "webhook_url",
    "password",
];

/// Replaces every literal secret by asterisks without changing the length in bytes. References
/// (`${…}`) stay, since they do not contain secrets. Masked are the values of secret keys, of keys
/// that look like a misspelt secret key, and the user part and query of URLs.
pub(crate) fn mask(source: &str) -> String {
    let mut bytes = source.as_bytes().to_vec();
    let mut at = 0;
    while let Some(found) = source[at..].find('=') {
        let equals = at + found;
        at = equals + 1;
        if !looks_secret(key_before(source, equals)) {
            continue;
        }
        let (start, end) = value_after(source, equals + 1);
        star(&mut bytes, source, start, end);
        at = end.max(at);
    }
    star_urls(&mut bytes, source);
    String::from_utf8(bytes).expect("whole characters were replaced by ASCII")
}

/// True for a secret key, or a possible misspelling of one.
pub(crate) fn looks_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    if key == "secrets" {
        return false; // a project's mode
    }
    let near = |secret: &&str| key == **secret || secret.len() > 4 && strsim::osa_distance(&key, secret) <= 2;
    SECRET_KEYS.iter().any(near)
        || key.split('_').any(|word| matches!(word, "key" | "secret" | "password" | "token" | "apikey"))
}

/// The last segment, unquoted, of the key before an equals sign.
fn key_before(source: &str, equals: usize) -> &str {
    let before = source[..equals].trim_end_matches([' ', '\t']).trim_end_matches(['"', '\'']);
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let start =
        before.char_indices().rev().take_while(|(_, c)| word(*c)).last().map_or(before.len(), |(at, _)| at);
    &before[start..]
}

/// The range of the value after an equals sign.
fn value_after(source: &str, from: usize) -> (usize, usize) {
    let start = from + source[from..].len() - source[from..].trim_start_matches([' ', '\t']).len();
    let rest = &source[start..];
    for quote in ["\"\"\"", "'''"] {
        if let Some(body) = rest.strip_prefix(quote) {
            let end = body.find(quote).unwrap_or(body.len());
            return (start + 3, start + 3 + end);
        }
    }
    let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
    for quote in ['"', '\''] {
        if let Some(body) = line.strip_prefix(quote) {
            let mut escaped = false;
            let end = body.char_indices().find_map(|(at, c)| {
                let closes = c == quote && !escaped;
                escaped = quote == '"' && c == '\\' && !escaped;
                closes.then_some(at)
            });
            return (start + 1, start + 1 + end.unwrap_or(body.len()));
        }
    }
    (start, start + line.len())
}

/// Replaces a range by asterisks, except references and line ends.
fn star(bytes: &mut [u8], source: &str, start: usize, end: usize) {
    let mut at = start;
    while at < end {
        let rest = &source[at..end];
        if rest.starts_with("${")
            && let Some(close) = rest.find('}')
        {
            at += close + 1;
            continue;
        }
        if !matches!(bytes[at], b'\n' | b'\r') {
            bytes[at] = b'*';
        }
        at += 1;
        while at < end && !source.is_char_boundary(at) {
            bytes[at] = b'*';
            at += 1;
        }
    }
}

/// Masks `user:password@` and the query of URLs.
fn star_urls(bytes: &mut [u8], source: &str) {
    for (at, _) in source.match_indices("://") {
        let rest = &source[at + 3..];
        let url = &rest[..rest.find(['"', '\'', '\n', ' ']).unwrap_or(rest.len())];
        if let Some(query) = url.find('?') {
            star(bytes, source, at + 3 + query + 1, at + 3 + url.len());
        }
        let authority = &rest[..rest.find(['/', '"', '\'', '\n', ' ']).unwrap_or(rest.len())];
        if let Some(user) = authority.rfind('@') {
            star(bytes, source, at + 3, at + 3 + user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_secrets_are_starred_and_references_stay() {
        for (source, masked) in [
            (r#"token = "abc""#, r#"token = "***""#),
            (r#"token = "${GITHUB_TOKEN}""#, r#"token = "${GITHUB_TOKEN}""#),
            (r#"token = "x${A}yz""#, r#"token = "*${A}**""#),
            (r"tokn = 'abc' # why", r"tokn = '***' # why"),
            (r#"a.b."api_key"="a\"c""#, r#"a.b."api_key"="****""#),
            (r#"{ kind = "x", token = "abc", on = 1 }"#, r#"{ kind = "x", token = "***", on = 1 }"#),
            ("private_key = \"\"\"\nab\ncd\"\"\"\nx = 1", "private_key = \"\"\"\n**\n**\"\"\"\nx = 1"),
            ("token = abc def\nx = 1", "token = *******\nx = 1"),
            ("token = \"abc\nx = 1", "token = \"***\nx = 1"),
            ("token = \"aé\"", "token = \"***\""),
            (r#"endpoint = "https://u:p@h/x""#, r#"endpoint = "https://***@h/x""#),
            (r#"api_url = "https://h/x""#, r#"api_url = "https://h/x""#),
            (r#"api_url = "https://h/x?s=1" # y"#, r#"api_url = "https://h/x?***" # y"#),
            (r#"api_url = "https://h/x?${A}&b""#, r#"api_url = "https://h/x?${A}**""#),
            ("max_tokens = 3", "max_tokens = 3"),
            (r#"filter_keyword = "docs""#, r#"filter_keyword = "docs""#),
            (r#"my_key = "abc""#, r#"my_key = "***""#),
            (r#"secret = "abc""#, r#"secret = "***""#),
            (r#"secrets = "skip""#, r#"secrets = "skip""#),
        ] {
            assert_eq!(mask(source), masked);
        }
    }
}
