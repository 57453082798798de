#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tpa_tcp_fuzz::connection::run(bytes));
