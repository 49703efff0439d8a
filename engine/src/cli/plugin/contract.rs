//! The contract against which a project is built: its version, and its world.

use std::path::Path;

use wasmparser::{Parser, Payload};

use super::record::sources;
use crate::chunk::component::WIT;

/// Version 1.0 of the contract, for projects and modules that name it.
const FIRST: &str = include_str!("../../../../wit/1.0/chunker.wit");

/// The world of a chunker.
pub(super) const WORLD: &str = "chunker-plugin";

/// The world of a chunker that asks for counts of tokens.
const WITH_HOST: &str = "chunker-plugin-with-host";

/// Text of the contract, and the name of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contract {
    pub(super) wit: &'static str,
    pub(super) world: &'static str,
}

impl Contract {
    const FIRST: Self = Self { wit: FIRST, world: WORLD };

    /// The contract for sources in a language whose compiler imports all of a world: `host` only if they
    /// name it, because it makes the chunks depend on the embedder.
    pub(super) fn of_sources(dir: &Path) -> anyhow::Result<Self> {
        let mut found = Self { wit: WIT, world: WORLD };
        for (path, file) in sources(dir)? {
            let is_code = [".js", ".mjs", ".ts", ".py"].iter().any(|extension| path.ends_with(extension));
            let Some(text) = is_code.then(|| std::fs::read_to_string(file).ok()).flatten() else { continue };
            if text.contains("reposync:chunker/log@1.0.0") {
                return Ok(Self::FIRST);
            }
            if names_host(&text) {
                found.world = WITH_HOST;
            }
        }
        Ok(found)
    }

    /// The contract for a core module: the version whose interface it exports.
    pub(super) fn of_module(module: &[u8]) -> Self {
        let mut exports =
            Parser::new(0).parse_all(module).map_while(Result::ok).filter_map(|payload| match payload {
                Payload::ExportSection(exports) => Some(exports),
                _ => None,
            });
        let is_first = exports.any(|exports| {
            exports
                .into_iter()
                .map_while(Result::ok)
                .any(|export| export.name.starts_with("reposync:chunker/chunker@1.0.0#"))
        });
        // Of the imports of this world only those that a module uses end up in its component.
        if is_first { Self::FIRST } else { Self { wit: WIT, world: WITH_HOST } }
    }
}

/// True for JavaScript that imports the interface, and for Python: `from wit_world.imports import host`.
fn names_host(text: &str) -> bool {
    text.contains("reposync:chunker/host")
        || text.lines().any(|line| {
            line.split_once("wit_world.imports").is_some_and(|(_, rest)| {
                rest.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "host")
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_name_the_world_and_the_version() {
        let dir = tempfile::tempdir().expect("a folder");
        let of = |file: &str, text: &str| {
            std::fs::write(dir.path().join(file), text).expect("written");
            let found = Contract::of_sources(dir.path()).expect("readable");
            std::fs::remove_file(dir.path().join(file)).expect("removed");
            (found.wit == FIRST, found.world)
        };
        assert_eq!(of("chunker.js", "import { write } from 'reposync:chunker/log@1.1.0'"), (false, WORLD));
        assert_eq!(of("chunker.js", "import { write } from 'reposync:chunker/log@1.0.0'"), (true, WORLD));
        assert_eq!(
            of("a.mjs", "import { countTokens } from 'reposync:chunker/host@1.1.0'"),
            (false, WITH_HOST)
        );
        assert_eq!(of("chunker.py", "from wit_world.imports import log, host\n"), (false, WITH_HOST));
        assert_eq!(of("chunker.py", "from wit_world.imports.host import count_tokens\n"), (false, WITH_HOST));
        assert_eq!(of("chunker.py", "from wit_world.imports.types import Chunk\nhost = 1\n"), (false, WORLD));
        assert_eq!(of("notes.txt", "reposync:chunker/host"), (false, WORLD));
    }

    #[test]
    fn a_module_is_wrapped_in_the_version_that_it_exports() {
        let module = |version: &str| {
            wat::parse_str(format!("(module (func (export \"reposync:chunker/chunker@{version}#split\")))"))
                .expect("good text")
        };
        assert_eq!(Contract::of_module(&module("1.0.0")), Contract::FIRST);
        assert_eq!(Contract::of_module(&module("1.1.0")).world, WITH_HOST);
    }
}
