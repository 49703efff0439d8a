//! Identifies a file and reads a component's imports and exports from its bytes, without compiling
//! or running it.

use wasmparser::{Parser, Payload};
use wasmtime::Engine;

/// The interface that a chunker exports, without its version.
const CHUNKER: &str = "reposync:chunker/chunker";

/// Package name of the contract.
const PACKAGE: &str = "reposync:chunker/";

/// Version of the contract that this program implements: major, minor.
const VERSION: (u64, u64) = (1, 1);

/// Interfaces of the contract that a component may import, without their versions.
const CONTRACT_IMPORTS: [&str; 3] =
    ["reposync:chunker/host", "reposync:chunker/log", "reposync:chunker/types"];

/// The WASI 0.2 packages that the sandbox provides, as stubs.
const WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];

/// The top-level imports and exports of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// Why a file cannot be used as a chunker, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    /// Completes the sentence "component `x` …".
    pub(super) message: String,
    pub(super) hint: String,
}

impl Unfit {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Hint for a component that needs a later minor version of the contract.
const UPGRADE_HINT: &str = "use a RepoSync release that supports this version, or build the component \
     against the contract that `reposync plugin wit` prints";

const BUILD_HINT: &str = "build it with `reposync plugin build`";

/// Reads and validates the outline of a component.
pub(super) fn read(bytes: &[u8]) -> Result<Outline, Unfit> {
    reject_non_components(bytes)?;
    let outline = parse(bytes)?;
    outline.check()?;
    Ok(outline)
}

/// Detects common mistakes: a file that is not a component.
fn reject_non_components(bytes: &[u8]) -> Result<(), Unfit> {
    let is_text = || std::str::from_utf8(&bytes[..bytes.len().min(4096)]).is_ok() && !bytes.contains(&0);
    if bytes.is_empty() {
        Err(Unfit::new("is an empty file", BUILD_HINT))
    } else if Engine::detect_precompiled(bytes).is_some() {
        Err(Unfit::new(
            "is compiled code (`.cwasm`)",
            "name the component itself (`.wasm`): RepoSync does not load precompiled code",
        ))
    } else if Parser::is_core_wasm(bytes) {
        Err(Unfit::new(
            "is a core WebAssembly module, not a component",
            "turn it into one: `reposync plugin build`, the target `wasm32-wasip2`, or `wasm-tools component new`",
        ))
    } else if Parser::is_component(bytes) {
        Ok(())
    } else if bytes.starts_with(b"\0asm") {
        Err(Unfit::new("is WebAssembly of an unknown version", BUILD_HINT))
    } else if is_text() {
        Err(Unfit::new(
            "is a text file, not a WebAssembly component",
            "name the built component, not its source; `reposync plugin build` builds it",
        ))
    } else {
        Err(Unfit::new("is not a WebAssembly component", BUILD_HINT))
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

#[expect(clippy::needless_pass_by_value, reason = "used in `map_err`")]
fn damaged(error: wasmparser::BinaryReaderError) -> Unfit {
    if error.message().contains("unexpected end") {
        Unfit::new("is truncated", "copy or build it again; the file on disk is incomplete")
    } else {
        Unfit::new(format!("is damaged: {} at byte {}", error.message(), error.offset()), BUILD_HINT)
    }
}

impl Outline {
    /// The contract version that the component was built for, if it is a later minor version than
    /// this program's.
    pub(super) fn later_minor(&self) -> Option<&str> {
        self.imports
            .iter()
            .chain(&self.exports)
            .filter(|name| name.starts_with(PACKAGE))
            .filter_map(|name| Some(name.split_once('@')?.1))
            .find(|version| numbers(version).is_some_and(|of| of.0 == VERSION.0 && of.1 > VERSION.1))
    }

    /// The error for a component that has the right names but cannot be linked.
    pub(super) fn link_error(&self, why: &str) -> Unfit {
        match self.later_minor() {
            Some(later) => Unfit::new(
                format!(
                    "was built for version {later} of the contract, and this program supports {}.{}: {why}",
                    VERSION.0, VERSION.1
                ),
                UPGRADE_HINT,
            ),
            None => Unfit::new(
                format!("does not match the contract: {why}"),
                "build it against the contract that `reposync plugin wit` prints",
            ),
        }
    }

    fn check(&self) -> Result<(), Unfit> {
        let versions: Vec<_> = self.exports.iter().filter_map(|name| version_of(name, CHUNKER)).collect();
        if !versions.iter().any(|version| is_supported(version)) {
            return Err(match versions.first() {
                Some(version) => Unfit::new(
                    format!(
                        "exports `{CHUNKER}` in version {version}; this program supports {}.x",
                        VERSION.0
                    ),
                    "build it against the contract that `reposync plugin wit` prints, or use another RepoSync \
                     release",
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
        // Imports from the contract's own package that this program lacks come from a later minor
        // version.
        if let Some(later) = self.later_minor()
            && forbidden.iter().all(|name| name.starts_with(PACKAGE))
        {
            return Err(Unfit::new(
                format!(
                    "was built for version {later} of the contract and uses what it added: {}; this program \
                     supports {}.{}",
                    list(&forbidden),
                    VERSION.0,
                    VERSION.1
                ),
                UPGRADE_HINT,
            ));
        }
        Err(Unfit::new(
            format!("imports interfaces that chunkers have no access to: {}", list(&forbidden)),
            "build it without these imports; a chunker may import only the interfaces `log` and `host` and WASI 0.2",
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

/// The version of an interface, if `name` refers to that interface.
fn version_of<'a>(name: &'a str, interface: &str) -> Option<&'a str> {
    match name.strip_prefix(interface)? {
        "" => Some("none"),
        rest => rest.strip_prefix('@'),
    }
}

/// Major and minor version. `None` for pre-releases, which are compatible with nothing.
fn numbers(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    match (version.contains('-'), parts.next().flatten(), parts.next().flatten()) {
        (false, Some(major), Some(minor)) => Some((major, minor)),
        _ => None,
    }
}

/// True for versions whose interfaces this program can import or export.
fn is_supported(version: &str) -> bool {
    numbers(version).is_some_and(|(major, _)| major == VERSION.0)
}

fn is_offered(name: &str) -> bool {
    if CONTRACT_IMPORTS.iter().any(|interface| version_of(name, interface).is_some_and(is_supported)) {
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
    fn files_that_are_no_component_are_identified() {
        for (bytes, expected) in [
            (&b""[..], "is an empty file"),
            (b"\0asm\x01\0\0\0", "is a core WebAssembly module, not a component"),
            (b"\0asm\x07\0\0\0", "is WebAssembly of an unknown version"),
            (b"export function split() {}", "is a text file, not a WebAssembly component"),
            (b"\x89PNG\0\0", "is not a WebAssembly component"),
            (b"\0asm\x0d\0\x01\0\x07\x20\0", "is truncated"),
            (b"\0asm\x0d\0\x01\0", "exports no `reposync:chunker/chunker`; it exports nothing"),
        ] {
            assert_eq!(read(bytes).expect_err("unfit").message, expected);
        }
    }

    #[test]
    fn only_the_log_and_stubbed_wasi_can_be_imported() {
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
