//! WHAT IS ASKED: the S3 protocol only. No policy, no keys, no I/O.

pub mod name;
pub mod query;
