//! Hand-written components: a fixture's `split` in the shared scaffold, wrapped according to
//! `wit/chunker.wit`. No toolchain is needed.

use std::path::{Path, PathBuf};

use reposync::chunk::component::WIT;
use reposync::chunk::component::WasmSettings;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The chunker interface of the contract.
pub(crate) const CHUNKER: &str = "reposync:chunker/chunker@1.1.0";

/// Version 1.0 of the contract.
const FIRST: &str = include_str!("../../../wit/1.0/chunker.wit");

/// The unit of a component's offsets, by its index in `offset-unit`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Utf8Bytes,
    Utf16Units,
    CodePoints,
}

/// A builder for a component.
pub(crate) struct Fixture {
    name: String,
    body: String,
    unit: Unit,
    chunker: String,
    log: String,
    contract: Vec<(&'static str, String)>,
}

impl Fixture {
    /// The fixture of this name, which is also the component's name.
    pub(crate) fn new(name: &str) -> Self {
        let body = std::fs::read_to_string(folder().join(format!("{name}.wat"))).expect("a fixture");
        Self {
            name: name.to_owned(),
            body,
            unit: Unit::Utf8Bytes,
            chunker: CHUNKER.to_owned(),
            log: "reposync:chunker/log@1.1.0".to_owned(),
            contract: vec![("chunker.wit", WIT.to_owned())],
        }
    }

    /// The same component, built for version 1.0 of the contract.
    pub(crate) fn of_first_version(self) -> Self {
        self.contract("reposync:chunker/chunker@1.0.0", FIRST.to_owned()).log("reposync:chunker/log@1.0.0")
    }

    /// Declares another offset unit.
    pub(crate) fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Uses another contract; its `chunker` interface is exported under `chunker`.
    pub(crate) fn contract(mut self, chunker: &str, wit: String) -> Self {
        chunker.clone_into(&mut self.chunker);
        self.contract.pop();
        self.contract.push(("other.wit", wit));
        self
    }

    /// Logs through an interface of another name.
    pub(crate) fn log(mut self, log: &str) -> Self {
        log.clone_into(&mut self.log);
        self
    }

    /// Adds a package that the contract may use.
    pub(crate) fn package(mut self, file: &'static str, wit: &str) -> Self {
        self.contract.insert(0, (file, wit.to_owned()));
        self
    }

    /// Adds an import to the world.
    pub(crate) fn importing(self, interface: &str) -> Self {
        let wit = WIT.replace("import log;", &format!("import log;\n  import {interface};"));
        self.contract(CHUNKER, wit)
    }

    /// The fixture of this name, which writes to WASI's standard output.
    pub(crate) fn printing(name: &str) -> Self {
        let io = "package wasi:io@0.2.0;\ninterface error { resource error; }\ninterface streams {\n  \
                  use error.{error};\n  variant stream-error { last-operation-failed(error), closed }\n  \
                  resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> \
                  result<_, stream-error>; }\n}\n";
        let cli = "package wasi:cli@0.2.0;\ninterface stdout {\n  use wasi:io/streams@0.2.0.{output-stream};\n  \
                   get-stdout: func() -> output-stream;\n}\n";
        Self::new(name)
            .importing(
                "wasi:io/error@0.2.0;\n  import wasi:io/streams@0.2.0;\n  import wasi:cli/stdout@0.2.0",
            )
            .package("cli.wit", cli)
            .package("io.wit", io)
    }

    /// The core module as text.
    fn module(&self) -> String {
        let scaffold = std::fs::read_to_string(folder().join("scaffold.wat")).expect("the scaffold");
        let (imports, rest): (Vec<_>, Vec<_>) =
            self.body.lines().partition(|line| line.starts_with("(import"));
        let mut rest = rest.join("\n");
        if !rest.contains("$on_describe") {
            rest.push_str("\n(func $on_describe)");
        }
        if !rest.contains("$on_configure") {
            rest.push_str("\n(func $on_configure (result i32) (i32.const 0))");
        }
        scaffold
            .replace(";;fixture;;", &rest)
            .replace("{name_length}", &self.name.len().to_string())
            .replace("{name}", &self.name)
            .replace("{unit}", &(self.unit as u8).to_string())
            .replace("{chunker}", &self.chunker)
            .replace("{log}", &self.log)
            .replace(";;imports;;", &imports.join("\n"))
    }

    /// The bytes of the core module: a compiler's output before it becomes a component.
    pub(crate) fn core(&self) -> Vec<u8> {
        wat::parse_str(self.module()).expect("good text")
    }

    /// The bytes of the component.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut module = self.core();
        let mut resolve = Resolve::default();
        let mut packages = Vec::new();
        for (file, wit) in &self.contract {
            packages.push(resolve.push_str(file, wit).expect("a good contract"));
        }
        let contract = packages.pop().expect("a contract");
        let name = if self.body.contains("reposync:chunker/host@") {
            "chunker-plugin-with-host"
        } else {
            "chunker-plugin"
        };
        let world = resolve.select_world(&[contract], Some(name)).expect("the world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embedded");
        ComponentEncoder::default()
            .validate(true)
            .module(&module)
            .expect("a module of that world")
            .encode()
            .expect("a component")
    }

    /// Writes the component into a folder.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.wasm", self.name));
        std::fs::write(&path, self.build()).expect("written");
        path
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/it/fixtures/components")
}

/// The settings of a stage that names a component, all else default.
pub(crate) fn settings(component: &Path) -> WasmSettings {
    serde_json::from_value(serde_json::json!({ "component": component })).expect("settings")
}
