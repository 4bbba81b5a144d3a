//! WHAT IS ASKED: the S3 protocol only. No policy, no keys, no I/O.
//! This file turns a request head into an [`S3Request`]; bodies are read elsewhere.

pub mod checksum;
pub mod chunked;
pub mod condition;
pub mod etag;
pub mod form;
pub mod headers;
pub mod listing;
pub mod name;
pub mod operation;
pub mod query;
pub mod range;
mod target;
pub mod xml;

use std::fmt;

use http::{HeaderMap, Method};

use crate::error::{Error, Result};
use name::{BucketName, ObjectKey};
use operation::{Level, Operation, Route};
use query::Query;
use target::Target;
pub use target::target_text;

/// What a listener knows of a request before its body. No Debug: headers and query hold signatures and keys.
pub struct RequestHead<'a> {
    /// Method.
    pub method: Method,
    /// Request target exactly as it stood on the request line; see [`target_text`] for one that is not ASCII.
    pub target: &'a str,
    /// Header fields as they came.
    pub headers: HeaderMap,
    /// The client's connection is TLS, or a balancer in front ended it.
    pub secure: bool,
    /// Host suffixes served in virtual-host style, lower case.
    pub domains: &'a [String],
    /// The only region that signatures may name, if the listener has one.
    pub region: Option<&'a str>,
    /// `compat.minio_api`: `/minio/...` is MinIO's own API and not a bucket.
    pub minio_api: bool,
    /// Made before parsing, so that a request that does not parse has one too.
    pub request_id: RequestId,
}

/// One S3 request, understood but not yet authenticated.
pub struct S3Request {
    /// Method.
    pub method: Method,
    /// What is asked.
    pub operation: Operation,
    /// Bucket, from the host or the path.
    pub bucket: Option<BucketName>,
    /// Key: decoded once, never normalised.
    pub key: Option<ObjectKey>,
    /// The client's query without signing parameters and without `x-amz-*` headers that a presigned URL carried.
    pub query: Query,
    /// The client's headers and the `x-amz-*` that a presigned URL carried in its query.
    pub headers: HeaderMap,
    /// The path as the client spelled it; for error messages, logs and Signature Version 2. Never sent.
    pub raw_path: String,
    /// SSE-C keys may be taken.
    pub secure: bool,
    /// Shown to the client and in the log.
    pub request_id: RequestId,
    /// The whole query of a presigned request, which its signature covers.
    signed_query: Option<Query>,
    /// Which of the headers stood in the query.
    hoisted: Vec<http::HeaderName>,
    region: Option<String>,
    hosted: bool,
    spaced: Option<Box<S3Request>>,
}

impl fmt::Debug for S3Request {
    /// Without headers and query, which hold signatures and SSE-C keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Request")
            .field("operation", &self.operation)
            .field("bucket", &self.bucket)
            .field("key", &self.key)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl S3Request {
    /// Understands a request head, or says which S3 error it deserves.
    pub fn parse(head: RequestHead<'_>) -> Result<Self> {
        let spaced = plus_as_space(head.target).and_then(|target| {
            let (headers, request_id) = (head.headers.clone(), head.request_id.clone());
            let method = head.method.clone();
            Self::parse_one(RequestHead { method, target: &target, headers, request_id, ..head }).ok()
        });
        let mut request = Self::parse_one(head)?;
        request.spaced = spaced.map(Box::new);
        Ok(request)
    }

    fn parse_one(head: RequestHead<'_>) -> Result<Self> {
        headers::check_size(&head.headers)?;
        let Target { bucket, key, mut query, raw_path, path_style } =
            Target::parse(head.target, &head.headers, head.domains)?;
        let mut headers = head.headers;
        let presigned = headers::is_presigned_v4(&query) || headers::is_presigned_v2(&query);
        let (signed_query, hoisted) = if presigned {
            let whole = query.clone();
            (Some(whole), headers::hoist(&mut query, &mut headers)?)
        } else {
            (None, Vec::new())
        };
        headers::refuse_forged(&headers)?;
        headers::refuse_repeated(&headers)?;
        let level = match (&bucket, &key) {
            (None, _) => Level::Service,
            (Some(_), None) => Level::Bucket,
            (Some(_), Some(_)) => Level::Object,
        };
        let minio = if head.minio_api && path_style { minio_call(&raw_path) } else { None };
        let (bucket, key) = if minio.is_some() { (None, None) } else { (bucket, key) };
        let operation = match minio {
            Some(operation) => operation,
            None => {
                operation::route(Route { method: &head.method, level, query: &query, headers: &headers })?
            }
        };
        Ok(Self {
            method: head.method,
            operation,
            bucket,
            key,
            query,
            headers,
            raw_path,
            secure: head.secure,
            request_id: head.request_id,
            signed_query,
            hoisted,
            region: head.region.map(str::to_owned),
            hosted: !path_style,
            spaced: None,
        })
    }

    /// The same request with every raw `+` of its query read as a space. S3 takes both readings, and a client's
    /// signature says which one it means: URLs made by form encoders mean spaces.
    pub(crate) fn take_spaced(&mut self) -> Option<S3Request> {
        self.spaced.take().map(|request| *request)
    }

    /// The PutObject that a form asks for, with the headers that its fields stand for.
    ///
    /// # Errors
    /// Where a field would forge our own state.
    pub fn of_form(&self, key: ObjectKey, headers: HeaderMap) -> Result<Self> {
        headers::refuse_forged(&headers)?;
        Ok(Self {
            method: Method::PUT,
            operation: Operation::PutObject,
            bucket: self.bucket.clone(),
            key: Some(key),
            query: Query::default(),
            headers,
            raw_path: self.raw_path.clone(),
            secure: self.secure,
            request_id: self.request_id.clone(),
            signed_query: None,
            hoisted: Vec::new(),
            region: self.region.clone(),
            hosted: self.hosted,
            spaced: None,
        })
    }

    /// What of the client's query goes on to the backend: the parameters that the operation knows.
    pub fn backend_query(&self) -> Query {
        let mut query = self.query.clone();
        query.retain(|p| self.operation.knows_parameter(&p.name));
        query
    }

    /// The query that a signature covers, with its signing parameters.
    pub fn signed_query(&self) -> &Query {
        self.signed_query.as_ref().unwrap_or(&self.query)
    }

    /// Whether the signature stands in the query.
    pub fn is_presigned(&self) -> bool {
        self.signed_query.is_some()
    }

    /// Whether a header came in the query of a presigned URL, where the signature covers it.
    pub fn is_hoisted(&self, name: &http::HeaderName) -> bool {
        self.hoisted.contains(name)
    }

    /// Whether the bucket stands in the host and not in the path.
    pub fn is_hosted(&self) -> bool {
        self.hosted
    }

    /// The only region that a signature of it may name.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The bucket; an internal error where the operation's level promised one and the router broke its word.
    pub fn bucket(&self) -> Result<&BucketName> {
        self.bucket.as_ref().ok_or_else(|| Error::internal("an operation on a bucket was routed without one"))
    }

    /// The key; as [`S3Request::bucket`].
    pub fn key(&self) -> Result<&ObjectKey> {
        self.key.as_ref().ok_or_else(|| Error::internal("an operation on an object was routed without a key"))
    }
}

/// The target with its query's plus signs as spaces; `None` where there are none.
fn plus_as_space(target: &str) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    query.contains('+').then(|| format!("{path}?{}", query.replace('+', "%20")))
}

/// `/minio/...` where that API is switched on.
fn minio_call(raw_path: &str) -> Option<Operation> {
    let rest = raw_path.strip_prefix("/minio/")?;
    Some(if rest.starts_with("health/") {
        Operation::MinioHealth
    } else if rest.starts_with("kms/v1/") || rest.starts_with("admin/v3/kms/") {
        Operation::MinioKms
    } else {
        Operation::MinioOther
    })
}

/// `x-amz-request-id`: 16 upper-case hex digits, random.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RequestId(String);

impl RequestId {
    /// From eight random bytes.
    pub fn from_random(bytes: [u8; 8]) -> Self {
        Self(hex::encode_upper(bytes))
    }

    /// A fresh one. It only has to be unlike others; the request goes on if the random source fails.
    pub fn fresh() -> Self {
        let mut bytes = [0; 8];
        if aws_lc_rs::rand::fill(&mut bytes).is_err() {
            bytes = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |d| d.as_nanos() as u64)
                .to_be_bytes();
        }
        Self::from_random(bytes)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
