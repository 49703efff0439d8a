//! Characters that reorder or hide text are shown as escapes: names and messages come from repositories and services.

/// A page whose text shows such characters as `\u{202e}`. Tags stay as they are: values of fields must not change.
pub(super) fn visible(page: String) -> String {
    if !page.chars().any(is_hidden) {
        return page;
    }
    let mut shown = String::with_capacity(page.len() + 64);
    let mut is_tag = false;
    for c in page.chars() {
        // In text and in values of attributes, both are written as entities.
        match c {
            '<' => is_tag = true,
            '>' => is_tag = false,
            _ => {}
        }
        if is_hidden(c) && !is_tag {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters, and those that embed, override or isolate a direction. Marks of direction, which texts in
/// Arabic and Hebrew need, affect their neighbours alone.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    #[test]
    fn what_reorders_text_is_shown_and_values_stay() {
        let evil = "gpj.\u{202e}exe\u{1b}<>\"";
        let page = html! { a href="#" title=(evil) { (evil) } "\u{5d0}\u{200f}\n" }.into_string();
        let shown = visible(page);
        let title = "gpj.\u{202e}exe\u{1b}&lt;&gt;&quot;";
        let text = "gpj.\\u{202e}exe\\u{1b}&lt;&gt;&quot;";
        assert_eq!(shown, format!("<a href=\"#\" title=\"{title}\">{text}</a>\u{5d0}\u{200f}\n"));
        assert_eq!(visible("plain\n".to_owned()), "plain\n");
    }
}
