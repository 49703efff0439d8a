//! What a heading says, without its marks.

/// The text of a heading's lines: no hashes, underline, emphasis, link targets or attributes.
pub(super) fn text(source: &str) -> String {
    let mut lines: Vec<&str> = source.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let atx = lines.first().is_some_and(|line| line.starts_with('#'));
    if atx {
        lines.truncate(1);
    } else if lines.len() > 1 {
        lines.pop(); // the underline
    }
    let line = lines.join(" ");
    let line = if atx { atx_text(&line) } else { &line };
    plain(strip_attributes(line))
}

fn atx_text(line: &str) -> &str {
    let text = line.trim_start_matches('#').trim();
    let open = text.trim_end_matches('#');
    // Closing hashes count only after a blank: `C#` keeps its own.
    if open.is_empty() || open.ends_with([' ', '\t']) { open.trim_end() } else { text }
}

/// `Title {#anchor .class}` without the braces.
fn strip_attributes(line: &str) -> &str {
    match line.rfind('{') {
        Some(open) if line.ends_with('}') && line[open + 1..].starts_with(['#', '.', ':']) => {
            line[..open].trim_end()
        }
        _ => line,
    }
}

/// Inline markup away: emphasis, code marks, images; links keep their text.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['*', '`', '[', ']', '!', '<', '\\']) {
        text.push_str(&rest[..at]);
        let (mark, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = match mark {
            b'\\' => {
                let escaped = after.chars().next().map_or(0, char::len_utf8);
                text.push_str(&after[..escaped]);
                &after[escaped..]
            }
            b'!' if after.starts_with('[') => after_image(after),
            b'!' => {
                text.push('!');
                after
            }
            b']' if after.starts_with('(') => after.split_once(')').map_or("", |(_, rest)| rest),
            b'<' => match after.split_once('>') {
                Some((tag, rest)) if tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') => rest,
                _ => {
                    text.push('<');
                    after
                }
            },
            _ => after,
        };
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What follows `[alt](target)` of an image.
fn after_image(image: &str) -> &str {
    image.split_once(']').map_or("", |(_, rest)| {
        if rest.starts_with('(') { rest.split_once(')').map_or("", |(_, rest)| rest) } else { rest }
    })
}

/// The title that front matter gives (`title: …` in YAML, `title = …` in TOML).
pub(super) fn front_matter_title(source: &str) -> Option<String> {
    source.lines().find_map(|line| {
        let value = line.strip_prefix("title")?.trim_start();
        let value = value.strip_prefix(':').or_else(|| value.strip_prefix('='))?.trim();
        let value = value.trim_matches(['"', '\'']).trim();
        (!value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_read_as_people_see_them() {
        for (source, shown) in [
            ("# Install", "Install"),
            ("### Install ###  \n\n", "Install"),
            ("## C# and F#", "C# and F#"),
            ("#", ""),
            ("Install\nand run\n=======\n", "Install and run"),
            ("## The `--out` *flag*", "The --out flag"),
            ("## [Link](https://x.y) and ![badge](b.svg) more", "Link and more"),
            ("## [Unreleased]", "Unreleased"),
            ("## Setup {#setup .wide}", "Setup"),
            ("## Why {braces}", "Why {braces}"),
            ("# <img src=\"x\"> Name!", "Name!"),
            ("## a < b \\* c", "a < b * c"),
            ("## snake_case", "snake_case"),
        ] {
            assert_eq!(text(source), shown, "{source:?}");
        }
    }

    #[test]
    fn front_matter_may_name_the_document() {
        assert_eq!(front_matter_title("---\nid: x\ntitle: \"A: b\"\n---"), Some("A: b".into()));
        assert_eq!(front_matter_title("+++\ntitle = 'T'\n+++"), Some("T".into()));
        assert_eq!(front_matter_title("---\nsubtitle: x\n---"), None);
    }
}
