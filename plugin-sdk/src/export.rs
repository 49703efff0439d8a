//! Exports a chunker as a component. The bindings exist only for WebAssembly targets.
//!
//! `split` runs once per document and bypasses the generated binding: it takes ownership of the
//! document in place (`handed`) and returns its result without copies (`answer`).

/// Exports a [`Chunker`](crate::Chunker) as a component. Use it once per crate, with `crate-type =
/// ["cdylib", "rlib"]`; on native targets it exports nothing.
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
            }

    $crate::bindings::export_component!(Component with_types_in $crate::bindings::generated);

            #[unsafe(export_name = "reposync:chunker/chunker@1.1.0#split")]
            unsafe extern "C" fn split(
                path: *mut u8,
                path_length: usize,
                text: *mut u8,
                text_length: usize,
                media_type: *mut u8,
                media_type_length: usize,
                has_language: u32,
                language: *mut u8,
                language_length: usize,
                attrs: *mut $crate::__private::HandedAttr,
                attr_count: usize,
            ) -> *const u32 {
                use $crate::__private::{Handed, HandedText};
                let handed = Handed {
                    path: HandedText(path, path_length),
                    text: HandedText(text, text_length),
                    media_type: HandedText(media_type, media_type_length),
                    language: (has_language != 0).then_some(HandedText(language, language_length)),
                    attrs: (attrs, attr_count),
                };
                // SAFETY: these are the arguments of the host's call, and they are taken only here.
                let document = unsafe { handed.document() };
                CONFIGURED.with(|cell| $crate::__private::split(cell, &document))
            }

            #[unsafe(export_name = "cabi_post_reposync:chunker/chunker@1.1.0#split")]
            extern "C" fn after_split(_answer: *const u32) {
                $crate::__private::after_split();
            }
        };
        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            /// Checks the trait bound on native targets too.
            const fn is_chunker<C: $crate::Chunker>() {}
            is_chunker::<$chunker>();
        };
    };
}

#[cfg(any(test, target_family = "wasm"))]
mod answer;
#[cfg(any(test, target_family = "wasm"))]
#[cfg_attr(
    not(target_family = "wasm"),
    expect(unreachable_pub, reason = "on WebAssembly targets the macro's expansion names them")
)]
mod handed;
#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(target_family = "wasm")]
pub use wasm::{__private, bindings};
#[cfg(target_family = "wasm")]
pub(crate) use wasm::{count_tokens, max_tokens, write_log};
