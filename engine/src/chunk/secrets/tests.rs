//! Tests of secret detection.

use proptest::prelude::*;

use super::*;

fn find(text: &str) -> Vec<Range<usize>> {
    Scanner::built_in().find(text).into_iter().map(|finding| finding.range).collect()
}

fn redact(text: &str) -> Cow<'_, str> {
    Scanner::built_in().redact(text)
}

// Fake, and in two pieces, so that secret scanners do not report this repository.
const RANDOM: &str = "q7Rt2Lm9Xc4Vb8Nz1Kp6Wd3Hs5Jf0Gy7Ta2Qe9Uo4Ri";

fn sample(prefix: &str, length: usize) -> String {
    format!("{prefix}{}", &RANDOM.repeat(4)[..length])
}

#[test]
fn well_known_tokens_are_found_completely() {
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
        for (before, after) in [("", ""), ("see ", " for"), ("key: \"", "\",\n"), ("`", "`"), ("ä=", "\n")] {
            let text = format!("{before}{secret}{after}");
            let found = find(&text);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(&text[found[0].clone()], secret, "{text}");
        }
    }
}

#[test]
fn values_assigned_to_a_telling_name_are_found() {
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
fn private_keys_are_redacted_without_changing_the_line_count() {
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
fn ordinary_text_and_code_have_no_findings() {
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
    fn redacting_keeps_the_number_of_lines(text in r#"(?s)(.|password = "[A-Za-z0-9]{20}"|ghp_[A-Za-z0-9]{36}|-----BEGIN PRIVATE KEY-----|\n){0,40}"#) {
        let redacted = redact(&text);
        prop_assert_eq!(redacted.matches('\n').count(), text.matches('\n').count());
        for range in find(&text) {
            prop_assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
        }
    }
}

/// Deterministic pseudo-random text over an alphabet.
struct Dice(u64);

impl Dice {
    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet = alphabet.as_bytes();
        let mut next = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(self.0 >> 33).expect("31 bits") % alphabet.len();
            char::from(alphabet[at])
        };
        (0..length).map(|_| next()).collect()
    }
}

const HEX: &str = "0123456789abcdef";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const ALNUM: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const URL: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

/// A hundred forms of secrets in files: text before, prefix, alphabet and length of the rest, text
/// after. Prefix and rest must be redacted. Prefixes are split, so that secret scanners do not report
/// this repository.
#[rustfmt::skip]
const FORMS: &[(&str, [&str; 2], &str, usize, &str)] = &[
    ("", ["ghp", "_"], ALNUM, 36, ""), ("", ["gho", "_"], ALNUM, 36, ""), ("", ["ghu", "_"], ALNUM, 36, ""),
    ("", ["ghs", "_"], ALNUM, 36, ""), ("", ["ghr", "_"], ALNUM, 36, ""), ("", ["github", "_pat_"], ALNUM, 82, ""),
    ("", ["glpat", "-"], URL, 20, ""), ("", ["gldt", "-"], URL, 20, ""), ("", ["glrt", "-"], URL, 20, ""),
    ("", ["glptt", "-"], HEX, 40, ""), ("", ["glcbt", "-"], URL, 24, ""), ("", ["ATA", "TT3x"], URL, 180, ""),
    ("", ["ATB", "B"], ALNUM, 32, ""), ("", ["npm", "_"], ALNUM, 36, ""), ("//r.example/:_authToken=", ["", ""], ALNUM, 36, ""),
    ("", ["pypi-", "AgEIcHlwaS5vcmc"], URL, 100, ""), ("", ["rubygems", "_"], HEX, 48, ""), ("", ["cio", ""], ALNUM, 32, ""),
    ("", ["oy", "2"], LOWER, 43, ""), ("", ["CLO", "JARS_"], LOWER, 60, ""), ("", ["dckr", "_pat_"], URL, 27, ""),
    ("{\"auth\": \"", ["", ""], ALNUM, 32, "\"}"), ("", ["AK", "Cp"], ALNUM, 69, ""), ("", ["bk", "ua_"], HEX, 40, ""),
    ("", ["sq", "p_"], HEX, 40, ""), ("", ["sntry", "u_"], HEX, 64, ""), ("", ["PM", "AK-0123456789abcdef01234567-"], HEX, 34, ""),
    ("", ["pu", "l-"], HEX, 40, ""), ("", ["abcDEF12345678", ".atlasv1."], URL, 67, ""), ("", ["AK", "IA"], UPPER, 16, ""),
    ("", ["AS", "IA"], UPPER, 16, ""), ("aws_secret_access_key = ", ["", ""], ALNUM, 40, ""), ("", ["AI", "za"], URL, 35, ""),
    ("", ["ya", "29."], URL, 60, ""), ("", ["GOC", "SPX-"], URL, 28, ""), ("", ["1/", "/0"], URL, 60, ""),
    ("AccountKey=", ["", ""], ALNUM, 86, "=="), ("SharedAccessKey=", ["", ""], ALNUM, 43, "="), ("?sv=2024&sig=", ["", ""], ALNUM, 44, ""),
    ("", ["a1b8", "Q~"], URL, 34, ""), ("", ["dop", "_v1_"], HEX, 64, ""), ("", ["doo", "_v1_"], HEX, 64, ""),
    ("", ["HR", "KU-"], URL, 60, ""), ("", ["fo", "1_"], URL, 43, ""), ("", ["LT", "AI5t"], ALNUM, 20, ""),
    ("", ["AK", "ID"], ALNUM, 32, ""), ("", ["AQ", "VN"], URL, 36, ""), ("", ["da", "pi"], HEX, 32, ""),
    ("", ["pscale", "_tkn_"], URL, 43, ""), ("", ["sb", "p_"], HEX, 40, ""), ("", ["tskey", "-auth-kAbCdEf12-"], ALNUM, 32, ""),
    ("", ["hv", "s."], URL, 90, ""), ("", ["dp", ".pt."], ALNUM, 43, ""), ("", ["AGE-SECRET-", "KEY-1"], "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58, ""),
    ("client-key-data: ", ["LS0t", "LS1"], ALNUM, 80, ""), ("", ["eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiIxIn0x."], URL, 43, ""),
    ("", ["xo", "xb-123456789012-"], ALNUM, 24, ""), ("", ["xa", "pp-1-"], UPPER, 40, ""),
    ("", ["https://hooks.sl", "ack.com/services/T01234567/B01234567/"], ALNUM, 24, ""),
    ("", ["https://disc", "ord.com/api/webhooks/123456789012345678/"], URL, 68, ""),
    ("discord: ", ["MTIzNDU2Nzg5MDEyMzQ1Njc4", ".GabcDE."], URL, 38, ""),
    ("", ["123456789", ":AA"], URL, 33, ""), ("twilio ", ["S", "K"], HEX, 32, ""), ("", ["SG", ".abcdefghij0123456789AB."], URL, 43, ""),
    ("", ["ke", "y-"], HEX, 32, ""), ("", ["0123456789abcdef0123456789abcdef", "-us1"], "0123456789", 1, ""),
    ("", ["xkey", "sib-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef-"], ALNUM, 16, ""),
    ("", ["re_", "aB3dE6gH_"], ALNUM, 24, ""), ("", ["sk", "-"], ALNUM, 48, ""), ("", ["sk-", "proj-"], URL, 120, ""),
    ("", ["sk-ant-", "api03-"], URL, 93, ""), ("", ["sk-or-", "v1-"], HEX, 64, ""), ("", ["gs", "k_"], ALNUM, 52, ""),
    ("", ["pp", "lx-"], ALNUM, 48, ""), ("", ["r", "8_"], ALNUM, 37, ""), ("", ["xa", "i-"], ALNUM, 80, ""),
    ("", ["nv", "api-"], URL, 64, ""), ("", ["ls", "v2_pt_0123456789abcdef0123456789abcdef_"], HEX, 10, ""),
    ("", ["h", "f_"], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 34, ""), ("", ["pc", "sk_"], ALNUM, 60, ""),
    ("", ["sk_", "live_"], ALNUM, 24, ""), ("", ["sk_", "test_"], ALNUM, 24, ""), ("", ["wh", "sec_"], ALNUM, 32, ""),
    ("", ["shp", "at_"], HEX, 32, ""), ("", ["sq0", "atp-"], URL, 22, ""), ("", ["rzp", "_live_"], ALNUM, 14, ""),
    ("", ["NR", "AK-"], UPPER, 27, ""), ("", ["gl", "c_"], ALNUM, 60, ""), ("", ["glsa_", "abcdefghij0123456789ABCDEFGHIJ01_"], HEX, 8, ""),
    ("", ["lin", "_api_"], ALNUM, 40, ""), ("", ["nt", "n_"], ALNUM, 46, ""), ("", ["fi", "gd_"], URL, 40, ""),
    ("", ["pat0123456789abcd", "."], HEX, 64, ""), ("postgres://app:", ["", ""], ALNUM, 12, "@db.example:5432/prod"),
    ("Authorization: Bearer ", ["", ""], ALNUM, 28, ""), ("Authorization: Basic ", ["", ""], ALNUM, 24, ""),
    ("machine github.com login me password ", ["", ""], ALNUM, 20, ""), ("client_secret=", ["", ""], ALNUM, 16, "&grant_type=x"),
    ("DATADOG_API_KEY=", ["0f8fad5b-d9cb-469f-a165-", ""], HEX, 12, ""), ("curl -u admin:", ["", ""], ALNUM, 14, " https://h.example"),
    ("db_password: '", ["", ""], ALNUM, 24, "'"), ("Server=h;Password=", ["", ""], ALNUM, 14, ";Encrypt=true"),
];

#[test]
fn nine_in_ten_of_a_hundred_forms_are_found() {
    assert!(FORMS.len() >= 100, "{} forms", FORMS.len());
    let mut dice = Dice(7);
    let mut missed = Vec::new();
    for (before, prefix, alphabet, length, after) in FORMS {
        let secret = format!("{}{}", prefix.concat(), dice.text(alphabet, *length));
        let text = format!("first line\n{before}{secret}{after}\nlast line\n");
        let at = text.find(&secret).expect("it is there");
        let whole = find(&text).iter().any(|range| range.start <= at && at + secret.len() <= range.end);
        if !whole {
            missed.push(format!("{before}{}", prefix.concat()));
        }
    }
    let most = FORMS.len() / 10;
    assert!(missed.len() <= most, "{} missed: {missed:#?}", missed.len());
}

#[test]
fn every_rule_has_keywords_and_a_unique_name() {
    let rules = Rules::built_in().list;
    let names: std::collections::BTreeSet<&str> = rules.iter().map(|rule| &*rule.id).collect();
    assert_eq!(names.len(), rules.len());
    for rule in &rules {
        assert!(!rule.keywords.is_empty() && rule.keywords.iter().all(|word| word.len() >= 2), "{}", rule.id);
    }
}

#[test]
fn a_finding_names_its_rule_and_its_line() {
    let text = format!("a\nb = \"{}\"\n", sample("ghp_", 36));
    let found = Scanner::built_in().find(&text);
    assert_eq!((&*found[0].rule, found[0].line(&text)), ("github-token", 2));
}

#[test]
fn a_comment_and_an_allow_list_suppress_findings() {
    let token = sample("ghp_", 36);
    assert!(find(&format!("key = \"{token}\" # gitleaks:allow\n")).is_empty());
    assert_eq!(find(&format!("# gitleaks:allow\nkey = \"{token}\"\n")).len(), 1);
    let settings = SecretRules {
        rules: vec![SecretRule {
            id: "ticket".into(),
            pattern: "TICKET-(?<secret>[0-9]{6})".into(),
            keywords: vec!["ticket-".into()],
            entropy: None,
        }],
        allow: vec!["^ghp_q7Rt2".into()],
    };
    let scanner = Scanner::with(&settings).expect("valid");
    assert_ne!(scanner.identity(), Scanner::built_in().identity());
    let text = format!("TICKET-123456 and {token}");
    assert_eq!(scanner.redact(&text), format!("TICKET-[REDACTED] and {token}"));
    assert!(Scanner::with(&SecretRules { rules: Vec::new(), allow: vec!["(".into()] }).is_err());
}

#[test]
fn a_long_token_is_found_completely() {
    let token = format!("hvs.{}", Dice(3).text(URL, 5000));
    let text = format!("x {token} y");
    assert_eq!(redact(&text), "x [REDACTED] y");
}
