//! Keeps memory flat where the C library is glibc.

/// Makes glibc give memory back: by itself it keeps an arena for each of several threads, and
/// raises its thresholds with the first large buffer that is freed, after which the bodies of
/// requests stay with the heap. Two arenas, and thresholds that do not move, hold a run over 20,000
/// files to little more than one over 1,000; `docs/performance.md` has the figures. The thresholds
/// are above what the HTTP client reads at once (408 KiB), which is taken anew for each piece of an
/// answer: mapped each time, its pages were cleared each time. Larger bodies are kept by `net`. What
/// the environment asks of the allocator goes first. Called before there are threads.
pub(super) fn tune() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const ARENAS: i32 = 2;
        const MMAP: i32 = 512 * 1024; // bytes; longer ones are mapped, and unmapped when freed
        const TRIM: i32 = 1024 * 1024; // bytes at the end of the heap that may stay unused
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
    // SAFETY: `mallopt` reads two integers and may be called at any time. A refusal (0) leaves the
    // parameter as it was, which costs memory and nothing else.
    let _accepted = unsafe { libc::mallopt(parameter, value) };
}
