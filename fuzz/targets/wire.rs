#![no_main]
//! See `drover_tests::fuzz::wire`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drover_tests::fuzz::wire(bytes));
