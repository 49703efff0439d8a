#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reposync::fuzz::pattern(bytes));
