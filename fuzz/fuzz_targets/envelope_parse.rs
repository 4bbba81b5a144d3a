//! Whatever parses as an envelope is its one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use object_format::Envelope;

fuzz_target!(|value: &str| {
    if let Ok(envelope) = Envelope::parse(value) {
        assert_eq!(envelope.to_value(), value);
    }
});
