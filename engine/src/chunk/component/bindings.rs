//! Bindings generated from `wit/chunker.wit`. Only `instance` and `answer` depend on the contract's
//! types.

pub(super) use ChunkerPluginWithHost as ChunkerPlugin;
pub(super) use ChunkerPluginWithHostPre as ChunkerPluginPre;

wasmtime::component::bindgen!({
    path: "../wit",
    world: "chunker-plugin-with-host",
    ownership: Borrowing { duplicate_if_necessary: true },
});
