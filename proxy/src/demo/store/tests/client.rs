//! A small S3 client: signs with `aws-sigv4`, sends with hyper, and keeps paths exactly as they are given.

use std::net::TcpListener;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::demo::store::{Handle, StoreConfig, serve};

pub(super) const BUCKET: &str = "bucket";

/// A store and a client for it.
pub(super) struct Fixture {
    pub(super) store: Handle,
    pool: Pool<HttpConnector, Full<Bytes>>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The texts of every element of this name, in order.
    pub(super) fn elements(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.text().split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
    }

    /// Asserts status and S3 error code.
    #[track_caller]
    pub(super) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.elements("Code").first().copied()), (status, Some(code)));
    }

    #[track_caller]
    pub(super) fn ok(self) -> Self {
        assert!(self.status.is_success(), "{} {}", self.status, String::from_utf8_lossy(&self.body));
        self
    }
}

pub(super) fn memory() -> StoreConfig {
    StoreConfig::memory("key", "secret")
}

impl Fixture {
    /// Starts a store, with an empty bucket.
    pub(super) fn start(config: StoreConfig) -> Self {
        let store = serve(TcpListener::bind("127.0.0.1:0").unwrap(), config).unwrap();
        store.create_bucket(BUCKET).unwrap();
        Self { store, pool: Pool::builder(TokioExecutor::new()).build_http() }
    }

    /// A signed request whose payload is declared as `x-amz-content-sha256` says, by default as unsigned.
    pub(super) fn sign(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        secret: &str,
    ) -> Request<()> {
        let uri = format!("{}{target}", self.store.endpoint());
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = Credentials::from_keys("key", secret, None).into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let payload = match headers.iter().find(|(name, _)| *name == "x-amz-content-sha256") {
            Some((_, value)) => SignableBody::Precomputed((*value).to_owned()),
            None => SignableBody::UnsignedPayload,
        };
        let others = headers.iter().copied().filter(|(name, _)| *name != "x-amz-content-sha256");
        let signable = SignableRequest::new(method, &uri, others.clone(), payload).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut request = Request::builder().method(method).uri(&uri);
        for (name, value) in others {
            request = request.header(name, value);
        }
        let mut request = request.body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        request
    }

    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let response = self.pool.request(request).await.map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// One call; `target` is the raw path and query behind the bucket's name.
    pub(super) async fn call(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.attempt(method, target, headers, body).await.unwrap()
    }

    pub(super) async fn attempt(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, String> {
        let mut request = self.sign(method.as_str(), &format!("/{BUCKET}{target}"), headers, "secret");
        if method == Method::PUT {
            // hyper leaves it out for an empty body, and S3 demands it.
            request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        }
        self.send(request.map(|()| Full::new(Bytes::copy_from_slice(body)))).await
    }

    pub(super) async fn put(&self, target: &str, body: &[u8]) -> Answer {
        self.call(Method::PUT, target, &[], body).await.ok()
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.call(Method::GET, target, &[], b"").await
    }
}
