//! The Rust side of `wit/chunker.wit`, as generated. Only `instance` and `answer` know it.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "chunker-plugin",
    ownership: Borrowing { duplicate_if_necessary: true },
});
