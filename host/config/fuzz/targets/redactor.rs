#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::redactor_oracle::redactor(data));
