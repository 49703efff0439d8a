//! Limits memory usage with glibc's allocator.

/// Configures glibc to return memory. By default it keeps an arena per thread and raises its
/// thresholds once a large buffer is freed, after which the bodies of requests stay on the heap.
/// With two arenas and fixed thresholds a run over 20,000 files needs little more memory than one
/// over 1,000; see `docs/performance.md`. The thresholds exceed the HTTP client's read buffer (408
/// KiB), which is allocated for each part of a response: if it were mapped, the kernel would zero
/// its pages each time. `net` reuses larger buffers. Settings in the environment take precedence.
/// Must be called before threads are started.
pub(super) fn tune() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
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

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library that takes two numbers")]
fn set(parameter: i32, value: i32) {
    // SAFETY: `mallopt` reads two integers and may be called at any time. If it refuses (0), the
    // parameter keeps its value, which only costs memory.
    let _accepted = unsafe { libc::mallopt(parameter, value) };
}
