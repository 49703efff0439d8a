//! Text of a service, made presentable.

use crate::model::mask_secrets;

/// A text in one line of at most `most` characters, without control characters and without the secrets
/// of this process. What is cut off shows as `…`.
pub fn one_line(text: &str, most: usize) -> String {
    // Masked first: a secret that is cut in two is no longer found.
    let text = mask_secrets(text);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut line = words.collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(most) {
        line.truncate(at);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::register_secrets;

    #[test]
    fn a_line_is_short_and_holds_no_secret() {
        register_secrets(["of-the-line-test-07".to_owned()]);
        assert_eq!(one_line("bad key\r\n\x1b[31mof-the-line-test-07", 100), "bad key [31m***");
        assert_eq!(one_line("key of-the-line-test-07", 6), "key **…", "masked before it is cut");
        assert_eq!(one_line(" \n", 5), "");
        assert_eq!(one_line(&"ä".repeat(9), 5), "äääää…");
    }
}
