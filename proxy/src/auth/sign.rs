//! Our own signature on requests to a backend (SigV4, S3 flavour). The only maker of a [`SignedRequest`]; nothing
//! here knows where the bytes of a body come from.
//!
//! Key derivation and signature are `aws-sigv4`'s. The canonical request is `canonical.rs`'s, as for clients: that
//! crate decodes queries as text, which loses names that are not UTF-8, and derives the day's key anew each time.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::canonical::{Canonical, Scope, format_timestamp, sha256, string_to_sign};
use crate::config::StaticKeys;
use crate::error::{Error, Result};

/// SHA-256 of nothing, as `x-amz-content-sha256` and in chunk signatures.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request whose target and headers are final but for the signature.
#[derive(Debug)]
pub struct Unsigned {
    /// HTTP method.
    pub method: Method,
    /// Absolute; path and query in SigV4's canonical encoding.
    pub uri: Uri,
    /// All of them are signed, hop-by-hop and volatile ones excepted.
    pub headers: HeaderMap,
}

/// How the body is covered (`x-amz-content-sha256`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PayloadHash {
    /// No body.
    Empty,
    /// The body's SHA-256.
    Sha256([u8; 32]),
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: aws-chunked with a trailing checksum.
    StreamingUnsignedTrailer,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: aws-chunked, each chunk signed.
    StreamingSigned,
}

impl PayloadHash {
    /// Of a body in memory.
    pub fn of(body: &[u8]) -> Self {
        if body.is_empty() { Self::Empty } else { Self::Sha256(sha256(body)) }
    }

    fn header(self) -> String {
        match self {
            Self::Empty => EMPTY_SHA256.to_owned(),
            Self::Sha256(sum) => hex::encode(sum),
            Self::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Self::StreamingUnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
            Self::StreamingSigned => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
        }
    }
}

/// A request that may go to a backend. Made here alone.
pub struct SignedRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl SignedRequest {
    /// Where it goes, absolute.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// With an absolute target, for a client that connects by it.
    pub fn into_request<B>(self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }

    /// With path and query alone as target, for a connection that stands already.
    pub fn into_origin_form<B>(mut self, body: B) -> Request<B> {
        if let Some(target) = self.uri.path_and_query() {
            self.uri = Uri::from(target.clone());
        }
        self.into_request(body)
    }
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedRequest({} {})", self.method, self.uri)
    }
}

/// The signing key of one day and region.
struct DayKey {
    date: String,
    region: String,
    key: Zeroizing<Vec<u8>>,
}

/// Credentials that sign, with the current day's key kept. Cheap to clone.
#[derive(Clone)]
pub struct Signer(Arc<Inner>);

struct Inner {
    keys: StaticKeys,
    day: ArcSwapOption<DayKey>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.0.keys.access_key)
    }
}

impl Signer {
    /// Takes the credentials.
    pub fn new(keys: StaticKeys) -> Self {
        Self(Arc::new(Inner { keys, day: ArcSwapOption::empty() }))
    }

    /// Signs for `region` at `now`. Adds Host, `x-amz-date`, `x-amz-content-sha256` and the session token.
    pub fn sign(
        &self,
        unsigned: Unsigned,
        region: &str,
        now: OffsetDateTime,
        payload: PayloadHash,
    ) -> Result<SignedRequest> {
        self.sign_seeded(unsigned, region, now, payload).map(|(request, _)| request)
    }

    /// As [`Signer::sign`] with [`PayloadHash::StreamingSigned`], and the signer of the chunks.
    pub fn sign_chunked(
        &self,
        unsigned: Unsigned,
        region: &str,
        now: OffsetDateTime,
    ) -> Result<(SignedRequest, ChunkSignatures)> {
        self.sign_seeded(unsigned, region, now, PayloadHash::StreamingSigned)
    }

    fn sign_seeded(
        &self,
        mut unsigned: Unsigned,
        region: &str,
        now: OffsetDateTime,
        payload: PayloadHash,
    ) -> Result<(SignedRequest, ChunkSignatures)> {
        let timestamp = format_timestamp(now);
        let date = &timestamp[..8];
        let payload = payload.header();
        prepare(&mut unsigned, &payload)?;
        unsigned.headers.insert("x-amz-date", value(&timestamp)?);
        if let Some(token) = &self.0.keys.session_token {
            let mut token = value(token.expose())?;
            token.set_sensitive(true);
            unsigned.headers.insert("x-amz-security-token", token);
        }
        let day = self.day_key(date, region, now);
        let scope = Scope { date: date.to_owned(), region: region.to_owned(), service: "s3".to_owned() };
        let names = signed_headers(&unsigned.headers);
        let canonical = Canonical {
            method: unsigned.method.as_str(),
            path: unsigned.uri.path(),
            query: unsigned.uri.query().unwrap_or_default(),
            headers: &unsigned.headers,
            signed_headers: &names,
            payload: &payload,
        };
        let to_sign = string_to_sign(&timestamp, &scope, &canonical.hash());
        let signature = calculate_signature(day.key.as_slice(), to_sign.as_bytes());
        let mut authorization = value(&format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.0.keys.access_key
        ))?;
        authorization.set_sensitive(true);
        unsigned.headers.insert(header::AUTHORIZATION, authorization);
        let chunks = ChunkSignatures { day, prefix: format!("{timestamp}\n{scope}\n"), previous: signature };
        let Unsigned { method, uri, headers } = unsigned;
        Ok((SignedRequest { method, uri, headers }, chunks))
    }

    fn day_key(&self, date: &str, region: &str, now: OffsetDateTime) -> Arc<DayKey> {
        if let Some(day) = self.0.day.load_full().filter(|day| day.date == date && day.region == region) {
            return day;
        }
        let key = generate_signing_key(self.0.keys.secret_key.expose(), now.into(), region, "s3");
        let day = Arc::new(DayKey {
            date: date.to_owned(),
            region: region.to_owned(),
            key: Zeroizing::new(key.as_ref().to_vec()),
        });
        self.0.day.store(Some(day.clone()));
        day
    }
}

/// A request without credentials, for buckets whose backend policy decides about strangers.
pub fn anonymous(mut unsigned: Unsigned, payload: PayloadHash) -> Result<SignedRequest> {
    prepare(&mut unsigned, &payload.header())?;
    let Unsigned { method, uri, headers } = unsigned;
    Ok(SignedRequest { method, uri, headers })
}

/// Signatures of aws-chunked chunks, each over the one before
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).
pub struct ChunkSignatures {
    day: Arc<DayKey>,
    prefix: String,
    previous: String,
}

impl ChunkSignatures {
    /// Signs the next chunk, given in pieces; no piece at all for the last one. 64 hex digits.
    pub fn next<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> &str {
        let mut hash = digest::Context::new(&digest::SHA256);
        pieces.into_iter().for_each(|piece| hash.update(piece));
        let to_sign = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}{}\n{EMPTY_SHA256}\n{}",
            self.prefix,
            self.previous,
            hex::encode(hash.finish())
        );
        self.previous = calculate_signature(self.day.key.as_slice(), to_sign.as_bytes());
        &self.previous
    }
}

fn prepare(unsigned: &mut Unsigned, payload: &str) -> Result<()> {
    let host = unsigned.uri.authority().ok_or_else(|| Error::internal("a backend address without a host"))?;
    // A default port is not written: servers compare the Host that HTTP libraries send.
    let default = matches!(
        (unsigned.uri.scheme_str(), host.port_u16()),
        (Some("http"), Some(80)) | (Some("https"), Some(443))
    );
    let host = value(if default { host.host() } else { host.as_str() })?;
    unsigned.headers.insert(header::HOST, host);
    unsigned.headers.insert("x-amz-content-sha256", value(payload)?);
    Ok(())
}

/// Not signed: hop by hop, set by the HTTP library, or changed on the way.
fn is_signed(name: &HeaderName) -> bool {
    !matches!(
        name.as_str(),
        "authorization"
            | "connection"
            | "content-length"
            | "expect"
            | "te"
            | "transfer-encoding"
            | "user-agent"
    )
}

/// Names of the headers that are covered, as `SignedHeaders` lists them.
fn signed_headers(headers: &HeaderMap) -> String {
    let mut names: Vec<&str> =
        headers.keys().filter(|name| is_signed(name)).map(HeaderName::as_str).collect();
    names.sort_unstable();
    names.join(";")
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| {
        Error::internal("a backend credential, region or host holds characters that no HTTP header can carry")
    })
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
