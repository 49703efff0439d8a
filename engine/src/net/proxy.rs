//! Which proxy a request goes through: none for loopback and for the hosts of `NO_PROXY`; else the
//! environment's, by curl's rules; else the system's (macOS, Windows).
//!
//! reqwest's own reading of the environment sends loopback addresses through a proxy, and does not
//! apply `NO_PROXY=*` to IP addresses.

use std::net::IpAddr;

use hyper_util::client::proxy::matcher::Matcher;
use url::{Host, Url};

use crate::model::{StageError, StageResult, is_loopback, register_secrets};

/// Schemes of proxies that the HTTP client can speak.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxies of this process.
pub(super) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    except: NoProxy,
    /// The operating system's settings; used where the environment names no proxy at all.
    system: Option<Matcher>,
}

impl Proxies {
    /// As the environment says; `stage` is the one that the error of a bad variable names.
    pub(super) fn from_environment(stage: &str) -> StageResult<Self> {
        let mut proxies = Self::read(&|name| std::env::var(name).ok())
            .map_err(|(name, why)| {
                StageError::misconfigured(stage, format!("the environment variable `{name}` {why}")).hint(
                    "write it like \"http://HOST:PORT\", or unset it; `NO_PROXY` names hosts that are reached without a proxy",
                )
            })?;
        let passwords = [&proxies.http, &proxies.https].into_iter().flatten().filter_map(Url::password);
        register_secrets(passwords.map(str::to_owned).collect::<Vec<_>>());
        if proxies.http.is_none() && proxies.https.is_none() {
            proxies.system = Some(Matcher::from_system());
        }
        Ok(proxies)
    }

    /// Reads the variables as curl does: the lower-case name goes before the upper-case one, and an
    /// empty variable counts as unset. The error names the variable, never its value, which may
    /// hold a password.
    fn read(var: &dyn Fn(&str) -> Option<String>) -> Result<Self, (String, &'static str)> {
        let first = |name: &'static str| {
            let upper = name.to_ascii_uppercase();
            // A CGI server puts the request's `Proxy` header into HTTP_PROXY.
            let spoofed = name == "http_proxy" && var("REQUEST_METHOD").is_some();
            let filled = |name: &str| var(name).filter(|value| !value.trim().is_empty());
            match filled(name) {
                Some(value) => Some((name.to_owned(), value)),
                None if spoofed => None,
                None => filled(&upper).map(|value| (upper, value)),
            }
        };
        let proxy = |name: &'static str| match first(name) {
            None => Ok(None),
            Some((name, value)) => parse_proxy(value.trim()).map(Some).map_err(|why| (name, why)),
        };
        let all = proxy("all_proxy")?;
        Ok(Self {
            http: proxy("http_proxy")?.or_else(|| all.clone()),
            https: proxy("https_proxy")?.or(all),
            except: NoProxy::parse(&first("no_proxy").map(|(_, value)| value).unwrap_or_default()),
            system: None,
        })
    }

    /// The proxy for a request to this address.
    pub(super) fn of(&self, url: &Url) -> Option<Url> {
        if is_loopback(url) || self.except.covers(url) {
            return None;
        }
        if let Some(system) = &self.system {
            let proxy = system.intercept(&url.as_str().parse().ok()?)?;
            return Url::parse(&proxy.uri().to_string()).ok();
        }
        match url.scheme() {
            "http" => self.http.clone(),
            "https" => self.https.clone(),
            _ => None,
        }
    }
}

fn parse_proxy(value: &str) -> Result<Url, &'static str> {
    let with_scheme = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let url = Url::parse(&with_scheme).map_err(|_| "is not the address of a proxy")?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err("names a kind of proxy that is not supported");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no proxy host");
    }
    Ok(url)
}

/// Hosts that are reached without a proxy.
#[derive(Debug, Default)]
struct NoProxy(Vec<Exception>);

#[derive(Debug)]
enum Exception {
    /// `*`
    Everything,
    /// A domain and everything below it; lower case, without dots at its ends.
    Domain(String),
    /// An address, or a network in CIDR notation: the length of its prefix in bits.
    Network(IpAddr, u8),
}

impl NoProxy {
    /// Reads a list of names, addresses and networks, separated by commas or blanks.
    fn parse(list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        Self(entries.map(Exception::parse).collect())
    }

    fn covers(&self, url: &Url) -> bool {
        match url.host() {
            None => false,
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                self.0.iter().any(|entry| entry.covers_name(&name))
            }
            Some(Host::Ipv4(address)) => self.0.iter().any(|entry| entry.covers_address(address.into())),
            Some(Host::Ipv6(address)) => {
                self.0.iter().any(|entry| entry.covers_address(IpAddr::from(address).to_canonical()))
            }
        }
    }
}

impl Exception {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::Everything;
        }
        let (address, bits) = entry.split_once('/').map_or((entry, None), |(a, b)| (a, Some(b)));
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let most = |address: &IpAddr| if address.is_ipv4() { 32 } else { 128 };
        if let Ok(address) = bare.parse::<IpAddr>().map(|address| address.to_canonical())
            && let Ok(bits) = bits.map_or(Ok(most(&address)), str::parse)
            && bits <= most(&address)
        {
            return Self::Network(address, bits);
        }
        Self::Domain(entry.trim_matches('.').to_ascii_lowercase())
    }

    fn covers_name(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Domain(domain) => {
                let rest = name.strip_suffix(domain.as_str());
                !domain.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Self::Network(..) => false,
        }
    }

    fn covers_address(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Everything, _) => true,
            (Self::Network(IpAddr::V4(network), bits), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(*bits)
            }
            (Self::Network(IpAddr::V6(network), bits), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(*bits)
            }
            (Self::Network(..) | Self::Domain(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, (String, &'static str)> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Proxies::read(&|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    fn used(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = proxies(variables).expect("good variables");
        proxies.of(&Url::parse(url).expect(url)).map(|proxy| proxy.to_string())
    }

    #[test]
    fn loopback_never_goes_through_a_proxy() {
        let all = [("HTTP_PROXY", "http://proxy:1"), ("ALL_PROXY", "http://proxy:1"), ("NO_PROXY", "")];
        for url in [
            "http://127.0.0.1:11434/v1",
            "http://127.8.9.10/",
            "https://localhost/",
            "https://LOCALHOST.:8443/",
            "http://[::1]:9/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(used(&all, url), None, "{url}");
        }
        assert_eq!(used(&all, "https://127.example/").as_deref(), Some("http://proxy:1/"));
    }

    #[test]
    fn variables_are_read_as_curl_reads_them() {
        let (plain, secure) = ("http://h.example/", "https://h.example/");
        for (variables, url, expected) in [
            (&[][..], secure, None),
            (&[("HTTPS_PROXY", "proxy:3128")], secure, Some("http://proxy:3128/")),
            (&[("HTTPS_PROXY", "proxy:3128")], plain, None),
            (&[("https_proxy", "http://a"), ("HTTPS_PROXY", "http://b")], secure, Some("http://a/")),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "http://b")], secure, Some("http://b/")),
            (&[("all_proxy", "socks5h://a:9")], secure, Some("socks5h://a:9")),
            (&[("ALL_PROXY", "http://a"), ("https_proxy", "http://b")], secure, Some("http://b/")),
            (&[("ALL_PROXY", "http://a"), ("https_proxy", "http://b")], plain, Some("http://a/")),
            (&[("HTTP_PROXY", "http://a"), ("REQUEST_METHOD", "GET")], plain, None),
            (&[("https_proxy", "http://u:p@a")], secure, Some("http://u:p@a/")),
        ] {
            assert_eq!(used(variables, url).as_deref(), expected, "{variables:?} {url}");
        }
    }

    #[test]
    fn no_proxy_takes_names_addresses_networks_and_everything() {
        for (list, without, through) in [
            ("*", &["https://h.example/", "https://10.0.0.1/", "https://[fd00::1]/"][..], &[][..]),
            (
                "example.com",
                &["https://example.com/", "https://www.example.com:8443/", "https://EXAMPLE.com./"],
                &["https://notexample.com/", "https://example.com.evil/"],
            ),
            (".example.com", &["https://example.com/", "https://a.b.example.com/"], &["https://com/"]),
            (
                "a.example, b.example c.example",
                &["https://b.example/", "https://c.example/"],
                &["https://d.example/"],
            ),
            ("10.1.2.3", &["https://10.1.2.3/"], &["https://10.1.2.4/", "https://a.10.1.2.3.example/"]),
            ("10.0.0.0/8", &["https://10.255.0.1/"], &["https://11.0.0.1/"]),
            ("0.0.0.0/0", &["https://11.0.0.1/"], &["https://[fd00::1]/", "https://h.example/"]),
            ("fd00::/8", &["https://[fdab::1]/"], &["https://[fe80::1]/"]),
            ("[fd00::1]", &["https://[fd00:0::1]/"], &["https://[fd00::2]/"]),
            ("10.0.0.0/33,.,,", &[], &["https://10.0.0.1/", "https://h.example/"]),
        ] {
            let variables = [("https_proxy", "http://proxy"), ("no_proxy", list)];
            for url in without {
                assert_eq!(used(&variables, url), None, "{list}: {url}");
            }
            for url in through {
                assert_eq!(used(&variables, url).as_deref(), Some("http://proxy/"), "{list}: {url}");
            }
        }
    }

    #[test]
    fn a_bad_variable_is_named_without_its_value() {
        for (value, why) in [
            ("http://", "is not the address of a proxy"),
            ("ftp://u:secret@h", "names a kind of proxy that is not supported"),
            ("http://u:secret@h:notaport", "is not the address of a proxy"),
        ] {
            let refused = proxies(&[("HTTPS_PROXY", value)]).err();
            assert_eq!(refused, Some(("HTTPS_PROXY".to_owned(), why)), "{value}");
        }
    }
}
