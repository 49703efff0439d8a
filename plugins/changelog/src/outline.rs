//! Finds the headings of a Markdown text, and the link definitions at its end.

use memchr::memchr;

/// A heading and its location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heading<'a> {
    /// 1 to 6.
    pub(crate) level: u8,
    /// Byte offset of its line.
    pub(crate) start: usize,
    /// The text, without markers.
    pub(crate) title: &'a str,
}

/// Every heading outside code fences, in order: `## title`, or a title with `---` under it.
pub(crate) fn headings(text: &str) -> Vec<Heading<'_>> {
    let mut found = Vec::new();
    let mut fence: Option<(u8, usize)> = None;
    // The previous line, if it may be the text of a setext heading.
    let mut above: Option<(usize, &str)> = None;
    let mut start = 0;
    while start < text.len() {
        let here = start;
        start = memchr(b'\n', &text.as_bytes()[here..]).map_or(text.len(), |at| here + at + 1);
        let line = &text[here..start];
        let indent = line.bytes().take_while(|&byte| byte == b' ').count();
        let body = line[indent..].trim_end();
        if indent > 3 || body.is_empty() {
            above = None;
            continue;
        }
        if let Some((mark, length)) = fence {
            let run = run_of(body, mark);
            if run >= length && run == body.len() {
                fence = None;
            }
            continue;
        }
        match body.as_bytes()[0] {
            b'#' => {
                above = None;
                found.extend(atx(body).map(|(level, title)| Heading { level, start: here, title }));
            }
            mark @ (b'`' | b'~') if run_of(body, mark) >= 3 => {
                above = None;
                fence = Some((mark, run_of(body, mark)));
            }
            mark @ (b'=' | b'-') if run_of(body, mark) == body.len() && above.is_some() => {
                if let Some((start, title)) = above.take() {
                    found.push(Heading { level: if mark == b'=' { 1 } else { 2 }, start, title });
                }
            }
            // A line of a list, quote or table is not a title.
            b'-' | b'*' | b'+' | b'>' | b'|' => above = None,
            _ => above = Some((here, body)),
        }
    }
    found
}

/// Number of times `mark` is repeated at the start of a text.
fn run_of(text: &str, mark: u8) -> usize {
    text.bytes().take_while(|&byte| byte == mark).count()
}

fn atx(body: &str) -> Option<(u8, &str)> {
    let level = run_of(body, b'#');
    let title = &body[level..];
    if level > 6 || !(title.is_empty() || title.starts_with([' ', '\t'])) {
        return None;
    }
    let title = title.trim();
    let open = title.trim_end_matches('#');
    let closed = open.is_empty() || open.ends_with([' ', '\t']);
    Some((u8::try_from(level).ok()?, if closed { open.trim_end() } else { title }))
}

/// Offset of the block of link definitions (`[1.0.0]: https://…`) at the end; the text's length
/// if there is none.
pub(crate) fn trailing_links(text: &str) -> usize {
    let mut start = text.len();
    let mut end = text.len();
    for line in text.split_inclusive('\n').rev() {
        end -= line.len();
        let body = line.trim();
        if body.starts_with('[') && body.contains("]: ") {
            start = end;
        } else if !body.is_empty() {
            break;
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_of_both_kinds() {
        let cases = [
            ("# a\n## b ##\n### c#\n", vec![(1, 0, "a"), (2, 4, "b"), (3, 12, "c#")]),
            ("one\n===\n\ntwo\n---\n", vec![(1, 0, "one"), (2, 9, "two")]),
            ("#a\n####### b\n    # c\n", Vec::<(u8, usize, &str)>::new()),
            ("```\n# a\n```\n# b", vec![(1, 12, "b")]),
            ("~~~~\n~~~\n# a\n~~~~~\n#", vec![(1, 19, "")]),
            ("- item\n---\n\n---\n| a\n---\n", vec![]),
            ("```\nnever closed\n# a\n", vec![]),
        ];
        for (text, expected) in cases {
            let found: Vec<_> = headings(text).iter().map(|it| (it.level, it.start, it.title)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn only_links_at_the_end_are_found() {
        let text = "[a]: b\n\n## 1\n- x\n\n[1]: https://a\n\n[0]: https://b\n";
        assert_eq!(&text[trailing_links(text)..], "[1]: https://a\n\n[0]: https://b\n");
        assert_eq!(trailing_links("- x\n\n"), 5);
        assert_eq!(trailing_links(""), 0);
    }
}
