//! The allocator: jemalloc in released programs for Linux, where it saves a fifth of the processor time of a first run
//! over code; otherwise the C library's, since jemalloc needs `make` to be built.

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
mod jemalloc {
    /// Also of C code: the parsers and SQLite.
    #[global_allocator]
    static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

    /// Four arenas, whatever the number of cores, and unused pages go back after a second: a first run over 2,700 files of code
    /// takes 24 MiB more than with glibc. What the variable `MALLOC_CONF` says takes precedence.
    #[expect(unsafe_code, reason = "jemalloc reads the variable of this name when it starts")]
    #[unsafe(export_name = "malloc_conf")]
    static SETTINGS: &[u8; 47] = b"narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:0\0";
}

/// Configures glibc, where it is in use, to return memory. By default it keeps an arena per thread and raises its
/// thresholds once a large buffer is freed, after which the bodies of requests stay on the heap.
/// With two arenas and fixed thresholds a run over 20,000 files needs little more memory than one
/// over 1,000; see `docs/performance.md`. The thresholds exceed the HTTP client's read buffer (408
/// KiB), which is allocated for each part of a response: if it were mapped, the kernel would zero
/// its pages each time. `net` reuses larger buffers. Settings in the environment take precedence.
/// Must be called before threads are started.
pub(super) fn tune() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(feature = "jemalloc")))]
    {
        const ARENAS: i32 = 2;
        const MMAP: i32 = 512 * 1024; // bytes; larger blocks are mapped, and unmapped when freed
        const TRIM: i32 = 1024 * 1024; // bytes that may stay unused at the top of the heap
        let asked = std::env::vars_os().any(|(name, _)| {
            name == "GLIBC_TUNABLES" || name.to_str().is_some_and(|name| name.starts_with("MALLOC_"))
        });
        if !asked {
            set(libc::M_ARENA_MAX, ARENAS);
            set(libc::M_MMAP_THRESHOLD, MMAP);
            set(libc::M_TRIM_THRESHOLD, TRIM);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu", not(feature = "jemalloc")))]
#[expect(unsafe_code, reason = "a function of the C library that takes two numbers")]
fn set(parameter: i32, value: i32) {
    // SAFETY: `mallopt` reads two integers and may be called at any time. If it refuses (0), the
    // parameter keeps its value, which only costs memory.
    let _accepted = unsafe { libc::mallopt(parameter, value) };
}
