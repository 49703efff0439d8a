//! Texts from repositories, marked off from what the server says.

/// The lines that open and close a block of code: longer than any row of backticks in the text.
pub(super) fn fence(text: &str, language: &str) -> (String, String) {
    let mut longest = 0;
    let mut run = 0;
    for character in text.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let marks = "`".repeat((longest + 1).max(3));
    let language: String =
        language.chars().filter(|c| c.is_ascii_alphanumeric() || "+-#".contains(*c)).collect();
    (format!("{marks}{language}\n"), format!("{marks}\n"))
}

/// A value of the index in a line: without line feeds and other control characters.
pub(super) fn inline(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_end_its_block() {
        assert_eq!(fence("a", "rust"), ("```rust\n".into(), "```\n".into()));
        assert_eq!(fence("x ```` y ``", "a`b\n").0, "`````ab\n");
        assert_eq!(inline("a\nb\u{1b}é"), "a\\nb\\u{1b}é");
    }
}
