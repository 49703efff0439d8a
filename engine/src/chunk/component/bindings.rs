//! Bindings generated from `wit/chunker.wit`. Only `instance` and `answer` depend on the contract's
//! types.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "chunker-plugin",
    ownership: Borrowing { duplicate_if_necessary: true },
});
