//! Filters inside the text of a query: `retry lang:rust !path:tests/ sym:Client`.

use crate::store::Selection;

/// A query's text without its filters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parsed {
    /// The words.
    pub(super) text: String,
    /// The filters.
    pub(super) selection: Selection,
    /// `sym:`
    pub(super) symbol: Option<String>,
}

/// Takes the filters out of a text. A filter is `KEY:VALUE` without a space after the colon; `!` or
/// `-` before key or value excludes the value; a value with spaces must be quoted.
pub(super) fn parse(text: &str, selection: &Selection) -> Parsed {
    let mut parsed = Parsed { selection: selection.clone(), ..Parsed::default() };
    let mut words: Vec<&str> = Vec::new();
    for piece in pieces(text) {
        if !parsed.take(piece) {
            words.push(piece);
        }
    }
    parsed.text = words.join(" ");
    parsed
}

impl Parsed {
    /// True if the piece was a filter.
    fn take(&mut self, piece: &str) -> bool {
        let Some((key, value)) = piece.split_once(':') else { return false };
        let (key, before) = match key.strip_prefix(['!', '-']) {
            Some(key) => (key, true),
            None => (key, false),
        };
        let (value, inside) = match value.strip_prefix('!') {
            Some(value) => (value, true),
            None => (value, false),
        };
        let value = value.trim_matches('"');
        if value.is_empty() || value.starts_with(':') {
            return false;
        }
        let facet = match key {
            "repo" => &mut self.selection.repositories,
            "path" => &mut self.selection.paths,
            "lang" => &mut self.selection.languages,
            "kind" => &mut self.selection.kinds,
            "sym" if !before && !inside => {
                self.symbol = Some(value.to_owned());
                return true;
            }
            _ => return false,
        };
        let list = if before == inside { &mut facet.include } else { &mut facet.exclude };
        list.push(value.to_owned());
        true
    }
}

/// The pieces of a text between white space; white space in quotes after a colon does not count.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mut quoted = false;
        let mut before = ' ';
        let end = rest.find(|c: char| {
            if c == '"' && (quoted || before == ':' || before == '!') {
                quoted = !quoted;
            }
            before = c;
            c.is_whitespace() && !quoted
        });
        // A quote that is not closed quotes nothing.
        let end = match end {
            None if quoted => rest.find(char::is_whitespace),
            end => end,
        };
        let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
        pieces.push(piece);
        rest = after.trim_start();
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let Parsed { text, selection, symbol } = parse(text, &Selection::default());
        let facets = [
            ("repo", selection.repositories),
            ("path", selection.paths),
            ("lang", selection.languages),
            ("kind", selection.kinds),
        ];
        let mut shown = text;
        for (key, facet) in facets {
            shown.extend(facet.include.iter().map(|value| format!(" +{key}={value}")));
            shown.extend(facet.exclude.iter().map(|value| format!(" -{key}={value}")));
        }
        shown.extend(symbol.map(|symbol| format!(" @{symbol}")));
        shown
    }

    #[test]
    fn filters_are_taken_out_of_the_text() {
        for (text, expected) in [
            ("retry lang:rust  policy", "retry policy +lang=rust"),
            (
                "a repo:acme/api !path:tests/ -lang:go kind:!section",
                "a +repo=acme/api -path=tests/ -lang=go -kind=section",
            ),
            ("path:\"a b/*.md\" x", "x +path=a b/*.md"),
            ("sym:Guard::check", " @Guard::check"),
            ("what does repo: mean", "what does repo: mean"),
            ("std::path::Path and path::Path", "std::path::Path and path::Path"),
            ("http://example.org a:b", "http://example.org a:b"),
            ("path:\"open quote", "quote +path=open"),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
