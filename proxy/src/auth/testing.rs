//! Signs requests as a client would, so that tests get a `Verified` in the only way there is. Tests only.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use time::OffsetDateTime;

use super::canonical::{Canonical, DayKey, Scope, format_timestamp, parse_timestamp, string_to_sign};
use super::{CredentialStore, Verified, verify};
use crate::config::{
    Action, Anonymous, BucketRule, BucketRules, Credential, EtagPolicy, Grant, KeyPattern, ListingMode,
    Secret, SseMode, Unencrypted,
};
use crate::error::Result;
use crate::s3::name::encode_path;
use crate::s3::query::Query;
use crate::s3::{RequestHead, RequestId, S3Request};

/// Credentials of AWS's examples.
pub(crate) const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The moment of AWS's examples.
pub(crate) fn now() -> OffsetDateTime {
    parse_timestamp("20130524T000000Z").unwrap()
}

pub(crate) fn credential(allow: Vec<Grant>) -> Credential {
    Credential {
        access_key: ACCESS_KEY.into(),
        secret_key: Secret::new(SECRET_KEY),
        session_token: None,
        allow,
        backend_keys: Default::default(),
    }
}

pub(crate) fn everything() -> Grant {
    Grant {
        buckets: vec!["*".into()],
        prefixes: vec![],
        actions: vec![Action::Read, Action::Write, Action::Admin],
        keys: vec![KeyPattern { service: None, name: "*".into() }],
    }
}

pub(crate) fn rule(anonymous: Anonymous) -> BucketRule {
    BucketRule {
        backend: "default".into(),
        sse: SseMode::SseS3,
        sse_named: false,
        key: None,
        etag: EtagPolicy::Md5,
        unencrypted_objects: Unencrypted::Reject,
        listing: ListingMode::Lookup,
        anonymous,
        binding: None,
        shared_binding: false,
        bucket_key: true,
    }
}

/// One credential that may do everything; buckets named `public*` are open to anonymous requests.
pub(crate) fn store() -> CredentialStore {
    store_of(credential(vec![everything()]))
}

pub(crate) fn store_of(credential: Credential) -> CredentialStore {
    let rules = BucketRules::new(
        Default::default(),
        vec![("public".to_owned(), rule(Anonymous::Backend))],
        rule(Anonymous::Deny),
    );
    CredentialStore::new([credential], rules)
}

/// A request about to be signed.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) method: &'static str,
    /// Path and query as they stand on the wire.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) time: OffsetDateTime,
    pub(crate) minio_api: bool,
}

impl Draft {
    pub(crate) fn new(method: &'static str, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            headers: HeaderMap::new(),
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            region: "us-east-1".into(),
            service: "s3".into(),
            time: now(),
            minio_api: false,
        }
        .header("host", "127.0.0.1:9000")
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
        self
    }

    fn scope(&self) -> Scope {
        Scope {
            date: format_timestamp(self.time)[..8].to_owned(),
            region: self.region.clone(),
            service: self.service.clone(),
        }
    }

    fn signature(&self, query: &Query, signed_headers: &str, payload: &str) -> String {
        let path = self.target.split('?').next().unwrap();
        let path: Vec<u8> = percent_encoding::percent_decode(path.as_bytes()).collect();
        let hash = Canonical {
            method: self.method,
            path: &encode_path(&path),
            query: &query.canonical(),
            headers: &self.headers,
            signed_headers,
            payload,
        }
        .hash();
        let string = string_to_sign(&format_timestamp(self.time), &self.scope(), &hash);
        hex::encode(DayKey::derive(&self.secret_key, &self.scope()).sign(&string))
    }

    fn signed_names(&self) -> String {
        let mut names: Vec<&str> = self.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names.join(";")
    }

    /// Signs all headers; `UNSIGNED-PAYLOAD` unless `x-amz-content-sha256` was set.
    pub(crate) fn sign(mut self) -> Self {
        if !self.headers.contains_key("x-amz-content-sha256") {
            self = self.header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        }
        if !self.headers.contains_key("x-amz-date") {
            let timestamp = format_timestamp(self.time);
            self = self.header("x-amz-date", &timestamp);
        }
        let payload = self.headers["x-amz-content-sha256"].to_str().unwrap().to_owned();
        let query = Query::parse(self.target.split_once('?').map_or("", |(_, q)| q));
        let names = self.signed_names();
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={}",
            self.access_key,
            self.scope(),
            self.signature(&query, &names, &payload)
        );
        self.header("authorization", &value)
    }

    /// Presigns for so many seconds.
    pub(crate) fn presign(mut self, expires: &str) -> Self {
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}%2F{}&X-Amz-Date={}&X-Amz-Expires={expires}\
             &X-Amz-SignedHeaders={}",
            self.access_key,
            self.scope().to_string().replace('/', "%2F"),
            format_timestamp(self.time),
            self.signed_names().replace(';', "%3B"),
        );
        let join = if self.target.contains('?') { '&' } else { '?' };
        self.target = format!("{}{join}{query}", self.target);
        let query = Query::parse(self.target.split_once('?').unwrap().1);
        let signature = self.signature(&query, &self.signed_names(), "UNSIGNED-PAYLOAD");
        self.target = format!("{}&X-Amz-Signature={signature}", self.target);
        self
    }

    pub(crate) fn parse(&self) -> Result<S3Request> {
        self.parse_in(None)
    }

    pub(crate) fn parse_in(&self, region: Option<&str>) -> Result<S3Request> {
        S3Request::parse(RequestHead {
            method: Method::from_bytes(self.method.as_bytes()).unwrap(),
            target: &self.target,
            headers: self.headers.clone(),
            secure: true,
            domains: &["s3.amazonaws.com", "s3.us-west-1.amazonaws.com", "us-west-1.s3.amazonaws.com"]
                .map(str::to_owned),
            region,
            minio_api: self.minio_api,
            request_id: RequestId::from_random([0; 8]),
        })
    }

    pub(crate) fn verify(&self, store: &CredentialStore) -> Result<Verified<S3Request>> {
        verify(self.parse()?, store, now())
    }
}

/// A signed and verified request of the credential that may do everything.
#[allow(dead_code)] // For the tests of handlers.
pub(crate) fn verified(method: &'static str, target: &str, headers: &[(&str, &str)]) -> Verified<S3Request> {
    let draft =
        headers.iter().fold(Draft::new(method, target), |draft, (name, value)| draft.header(name, value));
    draft.sign().verify(&store()).unwrap()
}
