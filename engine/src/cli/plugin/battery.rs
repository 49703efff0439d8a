//! Documents with edge cases that every chunker must handle.

/// An edge case.
pub(super) struct Awkward {
    /// What is special about it.
    pub(super) name: &'static str,
    /// Its text.
    pub(super) text: String,
}

/// Edge cases for any kind of file.
pub(super) fn documents() -> Vec<Awkward> {
    let awkward = |name, text: String| Awkward { name, text };
    vec![
        awkward("empty", String::new()),
        awkward("one character", "x".into()),
        awkward("white space alone", " \t\n\n  \n".into()),
        awkward("no newline at the end", "# Title\n\nlast line".into()),
        awkward("byte order mark", "\u{feff}# Title\n\nText.\n".into()),
        awkward("CRLF and lone CR", "# Title\r\n\r\nText.\rMore.\r\n".into()),
        awkward("emoji and combining marks", EMOJI.repeat(40)),
        awkward("right to left", "# שלום\n\nمرحبا بالعالم. \u{202e}abc\u{202c}\n".repeat(20)),
        awkward("one line of 2 MiB", "lorem ipsum ".repeat((2 << 20) / 12)),
        awkward("40,000 short lines", "a\n".repeat(40_000)),
        awkward("minified", "function a(b,c){return b?c[0]:{d:\"e\"}};".repeat(2_000)),
        awkward("deep nesting", format!("{}{}", "[{(".repeat(10_000), ")}]".repeat(10_000))),
        awkward(
            "deep lists",
            (0..400)
                .flat_map(|depth| {
                    [
                        "  ".repeat(depth),
                        "- item
"
                        .to_owned(),
                    ]
                })
                .collect(),
        ),
        awkward("headings alone", "# A\n## B\n### C\n\n= D =\n-----\n".repeat(200)),
        awkward("quotes that never end", "\"'`/*<!--${{[[\\\n".repeat(200)),
        awkward(
            "control characters",
            (0..32_u8).map(char::from).chain("\u{7f}\u{85}\u{2028}\u{0}".chars()).collect(),
        ),
    ]
}

/// Variants of an author's document with typical damage.
pub(super) fn spoilt(text: &str) -> Vec<Awkward> {
    let half = text.floor_char_boundary(text.len() / 2);
    let with = |mark: &str| text.lines().flat_map(|line| [mark, line, "\n"]).collect();
    vec![
        Awkward { name: "its first half", text: text[..half].to_owned() },
        Awkward { name: "its second half", text: text[half..].to_owned() },
        Awkward { name: "twice in a row", text: text.repeat(2) },
        Awkward { name: "wide characters at the end of every line", text: text.replace('\n', " é🦀\n") },
        Awkward { name: "wide characters in front of every line", text: with("é🦀 ") },
        Awkward { name: "indented", text: with("    ") },
    ]
}

const EMOJI: &str = "## 🦀 Ru\u{308}ste 👩‍👩‍👧‍👦\n\ne\u{301}\u{327} \u{1F1E9}\u{1F1EA} 𝒳 ﷽ ß İ ǅ\n\n";
