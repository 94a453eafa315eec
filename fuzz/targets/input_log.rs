#![no_main]
//! See `drover_tests::fuzz::input_log`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drover_tests::fuzz::input_log(bytes));
