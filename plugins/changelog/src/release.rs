//! Parses a release's heading: version, date, whether it was withdrawn.

use reposync_plugin_sdk::Chunk;

/// A release, parsed from its heading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Release<'a> {
    version: &'a str,
    /// `2026-05-01`.
    date: Option<&'a str>,
    yanked: bool,
}

impl<'a> Release<'a> {
    /// `None` if the heading contains no version.
    ///
    /// Accepts `[1.2.0] - 2026-05-01`, `v1.2.0 (2026-05-01)`, `Version 1.2`, `Unreleased`,
    /// `[1.2.0](https://…)`, `1.2.0 [YANKED]`, `name-1.2.0`.
    pub(crate) fn parse(title: &'a str) -> Option<Self> {
        let date = title.split(|c: char| !(c.is_ascii_digit() || c == '-')).find(|word| is_date(word));
        let version = title.split(|c: char| c.is_whitespace() || "[](),:`*".contains(c)).find_map(version)?;
        let yanked = title.to_ascii_lowercase().contains("yanked");
        Some(Self { version, date, yanked })
    }

    /// Version and date for display.
    pub(crate) fn label(&self) -> String {
        match self.date {
            Some(date) => format!("{} ({date})", self.version),
            None => self.version.to_owned(),
        }
    }

    /// Adds the metadata of the release to a chunk.
    pub(crate) fn describe(&self, chunk: Chunk) -> Chunk {
        let mut chunk =
            chunk.with_context(self.label()).with_name(self.version).with_attr("version", self.version);
        if let Some(date) = self.date {
            chunk = chunk.with_attr("date", date);
        }
        chunk.with_attr("yanked", self.yanked)
    }
}

/// `1.2.0` of `v1.2.0` or `name-1.2.0`; `Unreleased`.
fn version(word: &str) -> Option<&str> {
    if word.eq_ignore_ascii_case("unreleased") {
        return Some(word);
    }
    // Strip the name of a package, if there is one.
    let number = word
        .char_indices()
        .filter(|&(at, c)| {
            c.is_ascii_digit()
                && matches!(word[..at].chars().next_back(), None | Some('v' | 'V' | '-' | '@' | '/'))
        })
        .map(|(at, _)| &word[at..])
        .next()?;
    let number = number.trim_end_matches(['.', ';', '-']);
    number.contains('.').then_some(number)
}

fn is_date(word: &str) -> bool {
    let bytes = word.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    bytes.len() == 10
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && ("01"..="12").contains(&&word[5..7])
        && ("01"..="31").contains(&&word[8..10])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_of_many_projects() {
        let cases = [
            ("[1.2.0] - 2026-05-01", Some(("1.2.0", Some("2026-05-01"), false))),
            ("v1.2.0 (2026-05-01)", Some(("1.2.0", Some("2026-05-01"), false))),
            ("[1.2.0](https://a.test/b/1.1.0...1.2.0)", Some(("1.2.0", None, false))),
            ("2026-05-01, Version 20.1.0", Some(("20.1.0", Some("2026-05-01"), false))),
            ("Version 2.0-rc.1:", Some(("2.0-rc.1", None, false))),
            ("[0.3.0] - 2026-01-31 [YANKED]", Some(("0.3.0", Some("2026-01-31"), true))),
            ("[Unreleased]", Some(("Unreleased", None, false))),
            ("tool-v0.4.1", Some(("0.4.1", None, false))),
            ("@scope/tool@0.4.1", Some(("0.4.1", None, false))),
            ("1.0.0 - 2026-13-01", Some(("1.0.0", None, false))),
            ("Upgrading", None),
            ("Step 1", None),
            ("2026-05-01", None),
            ("", None),
            ("ünï 1é2", None),
        ];
        for (title, expected) in cases {
            let release = Release::parse(title);
            let found = release.as_ref().map(|it| (it.version, it.date, it.yanked));
            assert_eq!(found, expected, "{title:?}");
        }
    }
}
