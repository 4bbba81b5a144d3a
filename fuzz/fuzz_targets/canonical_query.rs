//! A query's canonical encoding is one string: what it decodes to encodes to the same again, in plain ASCII.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3cloak::s3::query::Query;

fuzz_target!(|raw: &str| {
    let canonical = Query::parse(raw).canonical();
    assert!(canonical.bytes().all(|b| b.is_ascii_graphic()));
    assert_eq!(Query::parse(&canonical).canonical(), canonical);
});
