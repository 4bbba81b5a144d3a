//! s3cloak: a transparent S3 encrypting reverse proxy.
//!
//! Data flows one way, and the types say so:
//!
//! ```text
//! client bytes -> s3::S3Request -> auth::Verified<S3Request> -> plan::Plan -> body (seal | open)
//!              -> auth::SignedRequest -> backend
//! ```
//!
//! Only `gateway/` names pingora; only `kms-client` speaks to a key service; only `auth/verify.rs` can make a
//! `Verified`; only `auth/sign.rs` can make a `SignedRequest`.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod backend;
pub mod body;
pub mod commands;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(test)]
mod documents_tests;
pub mod error;
pub mod exchange;
pub mod gateway;
pub mod info;
pub mod keys;
pub mod logging;
pub mod metrics;
pub mod ops;
pub mod plan;
mod record;
pub mod rules;
pub mod s3;
pub mod services;
pub mod uploads;
