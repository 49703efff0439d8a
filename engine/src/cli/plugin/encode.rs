//! Encodes a core module as a component of the contract's world.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use anyhow::Context as _;

use super::contract::Contract;
use crate::cli::error::CommandError;

/// Prefix of the names of the custom sections in which a module carries its contract.
const CONTRACT_SECTION: &[u8] = b"component-type";

/// Encodes a core module as a component. A module without a contract, such as clang's output, gets
/// that of the version it exports. Imports of WASI preview 1 go through the adapter to WASI 0.2.
pub(super) fn component_of(mut module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    if !module.windows(CONTRACT_SECTION.len()).any(|window| window == CONTRACT_SECTION) {
        let mut resolve = Resolve::default();
        let contract = Contract::of_module(&module);
        let package = resolve.push_str("chunker.wit", contract.wit)?;
        let world = resolve.select_world(&[package], Some(contract.world))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    }
    let encode = || {
        let mut encoder = ComponentEncoder::default().validate(true).module(&module)?;
        if imports_preview1(&module) {
            let name = WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
            encoder = encoder.adapter(name, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?;
        }
        encoder.encode()
    };
    encode().context("failed to make a component of the module")
}

/// Rejects components and anything else that is not a core module.
pub(super) fn check_module(shown: &str, bytes: &[u8]) -> Result<(), CommandError> {
    if Parser::is_component(bytes) {
        return Err(CommandError::invalid(format!("`{shown}` is a component already"))
            .hint(format!("use it as it is: `reposync plugin test {shown}`")));
    }
    if !Parser::is_core_wasm(bytes) {
        return Err(CommandError::invalid(format!("`{shown}` is not a WebAssembly module"))
            .hint("`--module` takes the `.wasm` file that a compiler or linker for WebAssembly writes"));
    }
    Ok(())
}

fn imports_preview1(module: &[u8]) -> bool {
    Parser::new(0).parse_all(module).map_while(Result::ok).any(|payload| match payload {
        Payload::ImportSection(imports) => imports
            .into_imports()
            .filter_map(Result::ok)
            .any(|import| import.module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with the exports that the contract requires, and more lines.
    fn module(more: &str) -> Vec<u8> {
        let chunker = "reposync:chunker/chunker@1.1.0";
        let strings = "i32 ".repeat(11);
        wat::parse_str(format!(
            r#"(module
                {more}
                (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "{chunker}#describe") (result i32) unreachable)
                (func (export "{chunker}#configure") (param i32 i32) (result i32) unreachable)
                (func (export "{chunker}#split") (param {strings}) (result i32) unreachable))"#
        ))
        .expect("good text")
    }

    #[test]
    fn a_module_without_the_contracts_exports_is_no_component() {
        let error =
            component_of(wat::parse_str("(module)").expect("good text")).expect_err("it has no exports");
        insta::assert_snapshot!(error, @"failed to make a component of the module");
    }

    #[test]
    fn a_module_of_any_tool_becomes_a_component() {
        let component = component_of(module("")).expect("a component");
        assert!(Parser::is_component(&component));
        assert_eq!(wasi_imports(&component), 0);
    }

    #[test]
    fn wasi_preview_1_is_adapted() {
        let write = r#"(import "wasi_snapshot_preview1" "fd_write"
            (func (param i32 i32 i32 i32) (result i32)))"#;
        let component = component_of(module(write)).expect("a component");
        assert!(wasi_imports(&component) > 0);
    }

    /// The number of top-level imports of WASI 0.2.
    fn wasi_imports(component: &[u8]) -> usize {
        Parser::new(0)
            .parse_all(component)
            .map_while(Result::ok)
            .filter_map(|payload| match payload {
                Payload::ComponentImportSection(imports) => Some(imports),
                _ => None,
            })
            .flat_map(|imports| imports.into_iter().filter_map(Result::ok).collect::<Vec<_>>())
            .filter(|import| import.name.name.starts_with("wasi:"))
            .count()
    }

    #[test]
    fn what_is_not_a_module_is_rejected() {
        let refusal = |bytes: &[u8]| {
            check_module("x.wasm", bytes).expect_err("refused").render(&crate::cli::output::Style::plain(200))
        };
        let component = wat::parse_str("(component)").expect("good text");
        insta::assert_snapshot!(refusal(&component) + &refusal(b"text"), @"
        error: `x.wasm` is a component already

        hint: use it as it is: `reposync plugin test x.wasm`
        error: `x.wasm` is not a WebAssembly module

        hint: `--module` takes the `.wasm` file that a compiler or linker for WebAssembly writes
        ");
    }
}
