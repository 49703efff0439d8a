//! Validates names, extensions, branches and schedules of projects.

use std::str::FromStr as _;

use croner::Cron;

/// Parses a schedule: five cron fields in UTC. The error is a message fragment.
pub fn parse_schedule(text: &str) -> Result<Cron, String> {
    if !text.starts_with('@') && text.split_whitespace().count() != 5 {
        return Err("a schedule has five fields".into());
    }
    let cron = Cron::from_str(text).map_err(|_| "not a cron expression".to_owned())?;
    match cron.find_next_occurrence(&chrono::Utc::now(), false) {
        Ok(_) => Ok(cron),
        Err(_) => Err("it matches no date".into()),
    }
}

/// A hint if this is not a file extension; `None` if it is.
pub(super) fn bad_extension(text: &str) -> Option<String> {
    let name = text.trim_start_matches('*').trim_start_matches('.');
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "._-+#".contains(c));
    match (plain, text.strip_prefix('.') == Some(name)) {
        (true, true) => None,
        (true, false) => Some(format!("write \".{name}\"")),
        (false, _) => {
            Some("write it like \".md\"; for whole names use `exclude_patterns` or a stage's `match`".into())
        }
    }
}

/// True for a valid name of a stage or project. Names appear in metrics, logs, metadata and on the
/// command line.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// True if Git accepts this as a branch name (the main rules of `git check-ref-format`).
pub(super) fn is_branch(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '/', '.'])
        && !text.ends_with(['/', '.'])
        && !["..", "//", "@{", "/."].iter().any(|part| text.contains(part))
        && !text.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c))
        && text != "@"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in ["0 8 * * *", "*/15 * * * 1-5", "0 0 29 2 *", "@daily"] {
            assert!(parse_schedule(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "a schedule has five fields"),
            ("0 8 * *", "a schedule has five fields"),
            ("0 0 8 * * *", "a schedule has five fields"),
            ("61 8 * * *", "not a cron expression"),
            ("a b c d e", "not a cron expression"),
            ("@sometimes", "not a cron expression"),
            ("0 0 31 2 *", "it matches no date"),
        ] {
            assert_eq!(parse_schedule(bad).map(|_| ()), Err(why.to_owned()), "{bad}");
        }
    }

    #[test]
    fn names_and_extensions() {
        let long = "a".repeat(101);
        for (check, good, bad) in [
            (is_name as fn(&str) -> bool, ["a", "docs-2.x_y"], ["", "ä", "a b", "-a", "a/b", &long]),
            (is_branch, ["main", "feature/x-1"], ["", "a b", "a..b", "/a", "a~1", "-a"]),
        ] {
            assert!(good.iter().all(|text| check(text)), "{good:?}");
            assert!(bad.iter().all(|text| !check(text)), "{bad:?}");
        }
        for (text, hint) in [
            (".md", None),
            (".tar.gz", None),
            ("md", Some("write \".md\"")),
            ("*.md", Some("write \".md\"")),
            ("..md", Some("write \".md\"")),
        ] {
            assert_eq!(bad_extension(text).as_deref(), hint, "{text}");
        }
        for bad in ["", ".", ".m d", ".a/b", "*"] {
            assert!(bad_extension(bad).is_some(), "{bad}");
        }
    }
}
