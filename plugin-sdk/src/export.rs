//! From the trait to the component's exports. The bindings exist for WebAssembly only.

/// Makes a component of a [`Chunker`](crate::Chunker). Once in a crate whose `crate-type` is
/// `["cdylib", "rlib"]`; on the host it expands to nothing.
#[macro_export]
macro_rules! export_chunker {
    ($chunker:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            ::std::thread_local! {
                static CONFIGURED: ::std::cell::OnceCell<$chunker> =
                    const { ::std::cell::OnceCell::new() };
            }

            impl $crate::bindings::Guest for Component {
                fn describe() -> $crate::bindings::PluginInfo {
                    $crate::__private::describe::<$chunker>()
                }

                fn configure(config: ::std::string::String) -> $crate::__private::Configured {
                    CONFIGURED.with(|cell| $crate::__private::configure(cell, &config))
                }

                fn split(document: $crate::bindings::Document) -> $crate::__private::Split {
                    CONFIGURED.with(|cell| $crate::__private::split(cell, document))
                }
            }

    $crate::bindings::export_component!(Component with_types_in $crate::bindings::generated);
        };
        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            /// Proves on the host what the component will need.
            const fn is_chunker<C: $crate::Chunker>() {}
            is_chunker::<$chunker>();
        };
    };
}

#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::write_log;
#[cfg(target_family = "wasm")]
pub use wasm::{__private, bindings};
