//! What `s3cloak demo` runs beside the proxy: an S3 backend of our own, embedded. It also serves the tests, where it
//! can be made to misbehave. Nothing here is used by `s3cloak serve`.

pub mod store;
