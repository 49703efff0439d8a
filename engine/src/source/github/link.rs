//! `Link` headers, and which addresses our credentials may go to. Pure.

use url::Url;

/// The target of a relation (`next`, `last`) in a `Link` header.
pub(super) fn target<'a>(header: &'a str, relation: &str) -> Option<&'a str> {
    let wanted = format!("rel=\"{relation}\"");
    // Targets are enclosed in angle brackets and may contain commas, so split at the brackets.
    header.split('<').skip(1).find_map(|part| {
        let (target, parameters) = part.split_once('>')?;
        let parameters = parameters.split(',').next()?;
        parameters.split(';').any(|parameter| parameter.trim() == wanted).then_some(target)
    })
}

/// The value of `page` in an address.
pub(super) fn page_number(address: &str) -> Option<usize> {
    let (_, query) = address.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("page="))?.parse().ok()
}

/// The page after that of this path.
pub(super) fn following_page(path: &str) -> String {
    match page_number(path) {
        Some(number) => path
            .split_inclusive(['?', '&'])
            .map(|part| match part.strip_prefix("page=") {
                Some(rest) => {
                    format!(
                        "page={}{}",
                        number.saturating_add(1),
                        rest.trim_start_matches(|c: char| c.is_ascii_digit())
                    )
                }
                None => part.to_owned(),
            })
            .collect(),
        None if path.contains('?') => format!("{path}&page=2"),
        None => format!("{path}?page=2"),
    }
}

/// The address of a path (and query) below the API's base. The path is never read as an address of
/// its own, whatever it looks like: credentials go there.
pub(super) fn at(base: &Url, path: &str) -> Url {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut url = base.clone();
    url.set_path(&format!("{}/{}", base.path().trim_end_matches('/'), path.trim_start_matches('/')));
    url.set_query(query);
    url
}

/// An address that the API sent, as a path below the API's base; none where it leads elsewhere:
/// another scheme, host or port, or out of the base's path. `current` is the path it was found at.
pub(super) fn below(base: &Url, current: &str, address: &str) -> Option<String> {
    let there = at(base, current).join(address).ok()?;
    if there.origin() != base.origin() || !there.username().is_empty() || there.password().is_some() {
        return None;
    }
    let rest = there.path().strip_prefix(base.path())?;
    Some(match there.query() {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_found() {
        let header = "<https://h/repositories/1/x?page=2&a=1,2>; rel=\"next\", \
                      <https://h/repositories/1/x?per_page=100&page=14>; rel=\"last\"";
        assert_eq!(target(header, "next"), Some("https://h/repositories/1/x?page=2&a=1,2"));
        assert_eq!(target(header, "last").and_then(page_number), Some(14));
        assert_eq!(target(header, "prev"), None);
        assert_eq!(target("nonsense; rel=\"next\"", "next"), None);
    }

    #[test]
    fn pages_follow_each_other() {
        assert_eq!(following_page("/o/repos?per_page=100"), "/o/repos?per_page=100&page=2");
        assert_eq!(following_page("/o/repos?page=9&per_page=100"), "/o/repos?page=10&per_page=100");
        assert_eq!(following_page("/o/repos?per_page=100&page=19"), "/o/repos?per_page=100&page=20");
        assert_eq!(following_page("/o"), "/o?page=2");
    }

    #[test]
    fn credentials_stay_on_the_api() {
        let base = Url::parse("https://ghe.example/api/v3/").expect("a URL");
        let path = |address| below(&base, "/orgs/a/repos?page=1", address);
        assert_eq!(
            path("https://ghe.example/api/v3/repositories/7/x?after=a%3D&page=2").as_deref(),
            Some("/repositories/7/x?after=a%3D&page=2")
        );
        assert_eq!(path("/api/v3/repositories/7").as_deref(), Some("/repositories/7"));
        assert_eq!(path("?page=2").as_deref(), Some("/orgs/a/repos?page=2"));
        let odd = path("https://ghe.example/api/v3/https://evil.example/x?a=b").expect("a path of the API");
        assert_eq!(at(&base, &odd).as_str(), "https://ghe.example/api/v3/https://evil.example/x?a=b");
        assert_eq!(at(&base, "//evil.example/x").as_str(), "https://ghe.example/api/v3/evil.example/x");
        for elsewhere in [
            "https://evil.example/api/v3/x",
            "http://ghe.example/api/v3/x",
            "https://ghe.example:8443/api/v3/x",
            "https://ghe.example/other",
            "https://user@ghe.example/api/v3/x",
            "//evil.example/api/v3/x",
            "/api/v3/../../x",
            "data:text/plain,x",
        ] {
            assert_eq!(path(elsewhere), None, "{elsewhere}");
        }
    }
}
