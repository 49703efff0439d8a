//! Reads and checks `[registries."HOST"]`: logins of the registries from which components come.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

use crate::chunk::component::{Address, Location};
use crate::model::Secret;
use crate::settings::{Problem, Shape, Surroundings, Table, quoted};

/// The logins of registries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registries {
    logins: Vec<Registry>,
    /// False if references are left unresolved, for files that are not trusted: nothing is fetched for
    /// them.
    pub reachable: bool,
}

/// A login.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// Host of the registry, with its port if there is one.
    pub host: String,
    username: Option<String>,
    password: Option<Secret>,
    /// A token that is sent as it is.
    pub token: Option<Secret>,
    /// The server to which the password is sent for a token, instead of the one that the registry names.
    pub realm: Option<String>,
}

impl Registry {
    /// User name and password.
    pub fn password(&self) -> Option<(&str, &Secret)> {
        Some((self.username.as_deref()?, self.password.as_ref()?))
    }
}

impl Registries {
    /// The login of a host.
    pub fn of(&self, host: &str) -> Option<&Registry> {
        self.logins.iter().find(|login| login.host.eq_ignore_ascii_case(host))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Registry> {
        self.logins.iter()
    }
}

/// `[registries."HOST"]` as the file has it: a login of a registry of components.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRegistry {
    /// User name.
    #[serde(default)]
    username: Option<String>,
    /// Password of the user, or the token that the registry uses as one.
    #[serde(default)]
    password: Option<Secret>,
    /// A token that is sent to the registry as it is, instead of user name and password.
    #[serde(default)]
    token: Option<Secret>,
    /// The server to which the password is sent in exchange for a token. Default: the one that the
    /// registry names, if it belongs to the registry's domain.
    #[serde(default)]
    realm: Option<String>,
}

/// A login with the references that could not be resolved: problems only if it is used.
pub(super) struct Declared {
    login: Registry,
    unresolved: Vec<Problem>,
}

pub(super) fn read(
    table: DeTable<'_>,
    around: Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Declared> {
    let mut tables: Vec<_> =
        table.into_iter().map(|(key, value)| (key.span(), key.into_inner(), value)).collect();
    tables.sort_by_key(|(header, ..)| header.start);
    let one = |(header, host, value): (Range<usize>, std::borrow::Cow<'_, str>, Spanned<DeValue<'_>>)| {
        let path = format!("registries.{}", quoted(&host));
        let DeValue::Table(table) = value.into_inner() else {
            problems.push(Problem::at(&path, header, "expected a table").hint(format!("write [{path}]")));
            return None;
        };
        if host.contains('/') || Url::parse(&format!("https://{host}/")).is_err() {
            let hint = "write the host alone, with its port if there is one: [registries.\"ghcr.io\"]";
            problems.push(Problem::at(&path, header.clone(), "not a host").hint(hint));
        }
        let mut table = Table::new(path, header, table, around, problems);
        let raw: RawRegistry = table.read(&Shape::of::<RawRegistry>(), problems)?;
        check(&table, &raw, problems);
        let RawRegistry { username, password, token, realm } = raw;
        let login = Registry { host: host.into_owned(), username, password, token, realm };
        Some(Declared { login, unresolved: table.unresolved })
    };
    tables.into_iter().filter_map(one).collect()
}

fn check(table: &Table<'_>, raw: &RawRegistry, problems: &mut Vec<Problem>) {
    let password = [("username", "password"), ("password", "username")];
    for (given, absent) in password {
        if table.has(given) && !table.has(absent) {
            table.flag(problems, given, format!("`{absent}` is missing"), format!("add `{absent}`"));
        }
    }
    if table.has("token") && (table.has("password") || table.has("username")) {
        let hint =
            "a token is sent as it is; for a token that the registry uses as a password write `password`";
        table.flag(problems, "token", "a token and a password exclude each other", hint);
    }
    if let Some(realm) = &raw.realm
        && !Url::parse(realm).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
    {
        table.flag(problems, "realm", "not a URL", "write it like \"https://auth.example.com/token\"");
    }
}

/// The logins. Those of hosts from which `components` come are in use: what their references lack is a
/// problem; other incomplete ones are left out.
pub(super) fn in_use<'l>(
    declared: Vec<Declared>,
    components: impl Iterator<Item = &'l Location>,
    resolve: bool,
    problems: &mut Vec<Problem>,
) -> Registries {
    let hosts: Vec<String> = components
        .filter_map(|location| match location {
            Location::Remote(address) => Address::parse(address).ok().map(|address| address.host()),
            Location::File(_) => None,
        })
        .collect();
    let mut logins = Vec::new();
    for Declared { login, unresolved } in declared {
        let used = hosts.iter().any(|host| host.eq_ignore_ascii_case(&login.host));
        if unresolved.is_empty() {
            logins.push(login);
        } else if used {
            problems.extend(unresolved);
        }
    }
    Registries { logins, reachable: resolve }
}
