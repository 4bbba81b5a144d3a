//! Whoever does not have the secret is refused, whatever target, Authorization header and date are made up.
#![no_main]

use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use s3cloak::auth::{CredentialStore, verify};
use s3cloak::config::{Config, Surroundings, parse};
use s3cloak::s3::{RequestHead, RequestId, S3Request};
use std::path::Path;
use std::sync::LazyLock;
use time::macros::datetime;

const CONFIG: &str = "
listen: [{ address: 127.0.0.1:9000 }]
backends: { default: { endpoint: 'http://127.0.0.1:8333', access_key: a, secret_key: b } }
keys: { services: { main: { type: local, path: keys } } }
credentials:
  - access_key: AKIDEXAMPLE
    secret_key: a-secret-that-no-input-can-guess
    allow: [{ buckets: ['*'], actions: [read, write, admin] }]
compat: { sigv2: true }
";

static STORE: LazyLock<CredentialStore> = LazyLock::new(|| {
    let around = Surroundings { variable: &|_| None, folder: Path::new(".") };
    let config: Config = parse(CONFIG, "fuzz", &around).unwrap_or_else(|faults| panic!("{faults}"));
    CredentialStore::from_config(&config)
});

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (query, authorization, date, payload) = input;
    let mut headers = HeaderMap::new();
    let given = [("authorization", authorization), ("x-amz-date", date), ("x-amz-content-sha256", payload)];
    for (name, value) in given {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.insert("host", HeaderValue::from_static("127.0.0.1:9000"));
    let target = format!("/bucket/key?{query}");
    let head = RequestHead {
        method: Method::GET,
        target: &target,
        headers,
        secure: true,
        domains: &[],
        region: None,
        minio_api: false,
        request_id: RequestId::from_random([1; 8]),
    };
    if let Ok(request) = S3Request::parse(head) {
        assert!(verify(request, &STORE, datetime!(2026-01-01 00:00 UTC)).is_err());
    }
});
