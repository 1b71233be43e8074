#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| roas_torture::inputs::rules(input));
