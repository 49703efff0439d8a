//! What a file is, and what a component asks for and offers, read from its bytes: nothing is
//! compiled or run.

use wasmparser::{Parser, Payload};
use wasmtime::Engine;

/// The interface that a chunker exports, without its version.
const CHUNKER: &str = "reposync:chunker/chunker";

/// The package of the contract.
const PACKAGE: &str = "reposync:chunker/";

/// The version of the contract in this program: major, minor.
const VERSION: (u64, u64) = (1, 0);

/// The interfaces of ours that a component may import, without their versions.
const OURS: [&str; 2] = ["reposync:chunker/log", "reposync:chunker/types"];

/// The packages of WASI 0.2 that are there, empty.
const WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];

/// A component's top-level names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// Why a file cannot be a chunker: what it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    /// Fits after "component `x` …".
    pub(super) message: String,
    pub(super) hint: String,
}

impl Unfit {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// What to do about a component that needs a later minor version of the contract.
const LATER: &str = "use a RepoSync that knows this version, or build the component against the contract that `reposync \
     plugin wit` prints";

const BUILD: &str = "build it with `reposync plugin build`";

/// Reads the outline of a component that keeps the contract's names.
pub(super) fn read(bytes: &[u8]) -> Result<Outline, Unfit> {
    recognise(bytes)?;
    let outline = parse(bytes)?;
    outline.check()?;
    Ok(outline)
}

/// Tells components from what is handed in instead of them.
fn recognise(bytes: &[u8]) -> Result<(), Unfit> {
    let is_text = || std::str::from_utf8(&bytes[..bytes.len().min(4096)]).is_ok() && !bytes.contains(&0);
    if bytes.is_empty() {
        Err(Unfit::new("is an empty file", BUILD))
    } else if Engine::detect_precompiled(bytes).is_some() {
        Err(Unfit::new(
            "is compiled code (`.cwasm`)",
            "name the component itself (`.wasm`): RepoSync compiles components and trusts no one else's code",
        ))
    } else if Parser::is_core_wasm(bytes) {
        Err(Unfit::new(
            "is a core WebAssembly module, not a component",
            "turn it into one: `reposync plugin build`, the target `wasm32-wasip2`, or `wasm-tools component new`",
        ))
    } else if Parser::is_component(bytes) {
        Ok(())
    } else if bytes.starts_with(b"\0asm") {
        Err(Unfit::new("is WebAssembly of an unknown version", BUILD))
    } else if is_text() {
        Err(Unfit::new(
            "is a text file, not a WebAssembly component",
            "name the built component, not its source; `reposync plugin build` makes it",
        ))
    } else {
        Err(Unfit::new("is not a WebAssembly component", BUILD))
    }
}

fn parse(bytes: &[u8]) -> Result<Outline, Unfit> {
    let mut outline = Outline { imports: Vec::new(), exports: Vec::new() };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(damaged)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    outline.imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    outline.exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    outline.imports.sort();
    outline.exports.sort();
    Ok(outline)
}

#[expect(clippy::needless_pass_by_value, reason = "stands in `map_err`")]
fn damaged(error: wasmparser::BinaryReaderError) -> Unfit {
    if error.message().contains("unexpected end") {
        Unfit::new("is cut short", "copy or build it again; the file on disk ends in the middle")
    } else {
        Unfit::new(format!("is damaged: {} at byte {}", error.message(), error.offset()), BUILD)
    }
}

impl Outline {
    /// The version of the contract that the component was built for, where it is a later minor one
    /// than this program's.
    pub(super) fn later_minor(&self) -> Option<&str> {
        self.imports
            .iter()
            .chain(&self.exports)
            .filter(|name| name.starts_with(PACKAGE))
            .filter_map(|name| Some(name.split_once('@')?.1))
            .find(|version| numbers(version).is_some_and(|of| of.0 == VERSION.0 && of.1 > VERSION.1))
    }

    /// Why a component whose names are right cannot be linked.
    pub(super) fn misfit(&self, why: &str) -> Unfit {
        match self.later_minor() {
            Some(later) => Unfit::new(
                format!(
                    "was built for version {later} of the contract, and this program speaks {}.{}: {why}",
                    VERSION.0, VERSION.1
                ),
                LATER,
            ),
            None => Unfit::new(
                format!("does not fit the contract: {why}"),
                "build it against the contract that `reposync plugin wit` prints",
            ),
        }
    }

    fn check(&self) -> Result<(), Unfit> {
        let versions: Vec<_> = self.exports.iter().filter_map(|name| version_of(name, CHUNKER)).collect();
        if !versions.iter().any(|version| is_spoken(version)) {
            return Err(match versions.first() {
                Some(version) => Unfit::new(
                    format!("exports `{CHUNKER}` in version {version}; this program speaks {}.x", VERSION.0),
                    "build it against the contract that `reposync plugin wit` prints, or use another RepoSync",
                ),
                None => Unfit::new(
                    format!("exports no `{CHUNKER}`; it exports {}", list(&self.exports)),
                    "build it against the contract that `reposync plugin wit` prints (world `chunker-plugin`)",
                ),
            });
        }
        let forbidden: Vec<_> =
            self.imports.iter().filter(|name| !is_offered(name)).map(String::as_str).collect();
        if forbidden.is_empty() {
            return Ok(());
        }
        // Of the contract itself, but not in this program's: a later minor version brought it.
        if let Some(later) = self.later_minor()
            && forbidden.iter().all(|name| name.starts_with(PACKAGE))
        {
            return Err(Unfit::new(
                format!(
                    "was built for version {later} of the contract and uses what it added: {}; this program \
                     speaks {}.{}",
                    list(&forbidden),
                    VERSION.0,
                    VERSION.1
                ),
                LATER,
            ));
        }
        Err(Unfit::new(
            format!("imports what no chunker gets: {}", list(&forbidden)),
            "a chunker computes, it does not reach out; build it without these (it may import a log and WASI 0.2)",
        ))
    }
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let mut shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("`{}`", super::said::one_line(name.as_ref()))).collect();
    if names.len() > SHOWN {
        shown.push(format!("{} more", names.len() - SHOWN));
    }
    shown.join(", ")
}

/// The version of an interface, if a name is that interface's.
fn version_of<'a>(name: &'a str, interface: &str) -> Option<&'a str> {
    match name.strip_prefix(interface)? {
        "" => Some("none"),
        rest => rest.strip_prefix('@'),
    }
}

/// Major and minor of a version. Pre-releases are compatible with nothing.
fn numbers(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    match (version.contains('-'), parts.next().flatten(), parts.next().flatten()) {
        (false, Some(major), Some(minor)) => Some((major, minor)),
        _ => None,
    }
}

/// True for a version whose interfaces this program may offer or call.
fn is_spoken(version: &str) -> bool {
    numbers(version).is_some_and(|(major, _)| major == VERSION.0)
}

fn is_offered(name: &str) -> bool {
    if OURS.iter().any(|ours| version_of(name, ours).is_some_and(is_spoken)) {
        return true;
    }
    let Some((package, rest)) = name.strip_prefix("wasi:").and_then(|name| name.split_once('/')) else {
        return false;
    };
    WASI.contains(&package) && rest.split_once('@').is_some_and(|(_, version)| version.starts_with("0.2."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_in_is_recognised() {
        for (bytes, expected) in [
            (&b""[..], "is an empty file"),
            (b"\0asm\x01\0\0\0", "is a core WebAssembly module, not a component"),
            (b"\0asm\x07\0\0\0", "is WebAssembly of an unknown version"),
            (b"export function split() {}", "is a text file, not a WebAssembly component"),
            (b"\x89PNG\0\0", "is not a WebAssembly component"),
            (b"\0asm\x0d\0\x01\0\x07\x20\0", "is cut short"),
            (b"\0asm\x0d\0\x01\0", "exports no `reposync:chunker/chunker`; it exports nothing"),
        ] {
            assert_eq!(read(bytes).expect_err("unfit").message, expected);
        }
    }

    #[test]
    fn only_a_log_and_an_empty_wasi_are_offered() {
        for name in ["reposync:chunker/log@1.2.0", "reposync:chunker/types@1.0.0", "wasi:io/poll@0.2.6"] {
            assert!(is_offered(name), "{name}");
        }
        for name in [
            "reposync:chunker/log@2.0.0",
            "reposync:chunker/log",
            "reposync:chunker/net@1.0.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:io/poll@0.3.0",
            "env",
        ] {
            assert!(!is_offered(name), "{name}");
        }
    }

    #[test]
    fn versions_are_read_without_running_anything() {
        assert_eq!(version_of("reposync:chunker/chunker@1.2.3", CHUNKER), Some("1.2.3"));
        assert_eq!(version_of("reposync:chunker/chunkers@1.2.3", CHUNKER), None);
        assert_eq!(numbers("1.0.0-rc.1"), None);
        assert_eq!(numbers("1.4.2"), Some((1, 4)));
        assert!(
            super::super::WIT.contains(&format!("package reposync:chunker@{}.{}.0;", VERSION.0, VERSION.1))
        );
    }
}
