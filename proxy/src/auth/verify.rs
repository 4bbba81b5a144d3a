//! Verifies the signature of a request. The only place that can make a [`Verified`].

mod form;
mod v2;

pub(crate) use form::missing as missing_field;
pub use form::{VerifiedForm, verify_form};

use http::HeaderName;
use time::{Duration, OffsetDateTime};

use super::canonical::{Canonical, format_timestamp, string_to_sign};
use super::claim::{Claim, NO_CREDENTIAL, Place, Signed, query_error};
use super::identity::Identity;
use super::payload::{ChunkSigner, Form, PayloadCheck};
use super::store::CredentialStore;
use crate::config::{Action, Anonymous, Credential};
use crate::error::{Code, Error, Result};
use crate::s3::S3Request;
use crate::s3::name::encode_path;
use crate::s3::operation::Operation;

/// How far a client's clock may be off.
const MAX_SKEW: Duration = Duration::minutes(15);
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const SECURITY_TOKEN: &str = "x-amz-security-token";

/// Something whose sender is known. Its fields are private and [`verify`] makes it.
#[derive(Debug)]
pub struct Verified<T> {
    inner: T,
    identity: Identity,
    payload: PayloadCheck,
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> Verified<T> {
    /// The one constructor. It stands for a signature that was checked, or for a request that needs none.
    fn attest(inner: T, identity: Identity, payload: PayloadCheck) -> Self {
        Self { inner, identity, payload }
    }

    /// Who sent it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How its body has to be checked.
    pub fn payload(&self) -> &PayloadCheck {
        &self.payload
    }
}

/// Checks who sent the request. Its rights are a second question: [`Identity::authorize_request`].
pub fn verify(
    mut request: S3Request,
    store: &CredentialStore,
    now: OffsetDateTime,
) -> Result<Verified<S3Request>> {
    let spaced = request.take_spaced();
    match (verify_one(request, store, now), spaced) {
        (Err(error), Some(spaced)) if *error.code() == Code::SignatureDoesNotMatch => {
            verify_one(spaced, store, now).map_err(|_| error)
        }
        (result, _) => result,
    }
}

fn verify_one(
    request: S3Request,
    store: &CredentialStore,
    now: OffsetDateTime,
) -> Result<Verified<S3Request>> {
    // A preflight carries no credentials of its own; a presigned URL's signature is for another method.
    if matches!(request.operation, Operation::Preflight | Operation::MinioHealth) {
        let identity = Identity::anonymous(request.bucket.clone());
        return Ok(Verified::attest(request, identity, PayloadCheck::Unsigned));
    }
    match Signed::parse(&request, store.takes_v2())? {
        None => anonymous(request, store),
        Some(Signed::V2(claim)) => v2::verify(claim, request, store, now),
        Some(Signed::V4(claim)) => verify_v4(claim, request, store, now),
    }
}

fn verify_v4(
    claim: Claim,
    request: S3Request,
    store: &CredentialStore,
    now: OffsetDateTime,
) -> Result<Verified<S3Request>> {
    check_scope(&claim, &request)?;
    let credential = store.find(&claim.access_key).ok_or_else(|| unknown_key(&claim.access_key))?;
    check_time(&claim, now)?;
    check_token(claim.query_token.as_deref().or(token_of(&request)), &credential)?;
    check_signed_headers(&claim, &request)?;
    let (form, payload) = payload_of(&claim, &request)?;

    let key = store.day_key(&credential, &claim.scope);
    let string = string_to_sign(&claim.timestamp, &claim.scope, &canonical_hash(&claim, &request, payload));
    if !key.verifies(&string, &claim.signature) {
        return Err(wrong_signature(&claim.access_key, &string));
    }
    let check =
        form.with_signer(|| ChunkSigner::new(key, claim.timestamp.clone(), &claim.scope, &claim.signature));
    Ok(Verified::attest(request, Identity::of(credential), check))
}

fn anonymous(request: S3Request, store: &CredentialStore) -> Result<Verified<S3Request>> {
    // IAM's calls are nothing that a signature would open.
    if request.operation == Operation::QueryApi {
        request.operation.refuse()?;
    }
    // A form carries its signature in its body. Until that is read its sender is nobody, who may do nothing.
    if request.operation == Operation::PostObject {
        return Ok(Verified::attest(request, Identity::anonymous(None), PayloadCheck::Unsigned));
    }
    let open = request.bucket.as_ref().is_some_and(|bucket| store.anonymous(bucket) == Anonymous::Backend);
    // Administration is never left to strangers: parts of it the backend does not see.
    if !open || request.operation.action() == Action::Admin {
        return Err(
            Error::client(Code::AccessDenied, "Access Denied").because("the request has no credentials")
        );
    }
    if request.query.iter().any(|p| p.name.starts_with(b"response-")) {
        return Err(Error::client(
            Code::InvalidRequest,
            "Request specific response headers cannot be used for anonymous GET requests.",
        ));
    }
    let form = match request.headers.get(CONTENT_SHA256).and_then(|v| v.to_str().ok()) {
        None => Form::Unsigned,
        Some(value) => Form::parse(value)?,
    };
    if matches!(form, Form::SignedChunks | Form::SignedChunksTrailer) {
        return Err(Error::client(
            Code::InvalidRequest,
            "Anonymous requests don't support this x-amz-content-sha256 value. Please use UNSIGNED-PAYLOAD or \
             STREAMING-UNSIGNED-PAYLOAD-TRAILER.",
        ));
    }
    let payload = match form {
        Form::Sha256(hash) => PayloadCheck::Sha256(hash),
        Form::UnsignedTrailer => PayloadCheck::UnsignedTrailer,
        _ => PayloadCheck::Unsigned,
    };
    let identity = Identity::anonymous(request.bucket.clone());
    Ok(Verified::attest(request, identity, payload))
}

fn unknown_key(access_key: &str) -> Error {
    Error::client(
        Code::InvalidAccessKeyId,
        "The AWS Access Key Id you provided does not exist in our records.",
    )
    .field("AWSAccessKeyId", access_key)
}

fn wrong_signature(access_key: &str, string_to_sign: &str) -> Error {
    Error::client(
        Code::SignatureDoesNotMatch,
        "The request signature we calculated does not match the signature you provided. Check your key and \
         signing method.",
    )
    .field("AWSAccessKeyId", access_key)
    .field("StringToSign", string_to_sign)
}

/// The service is S3, and the region the listener's if it has one. MinIO's tools name none in calls of MinIO's own.
fn check_scope(claim: &Claim, request: &S3Request) -> Result<()> {
    // Of these sentences S3 ends one with a full stop and one without.
    let wrong = |why: String| match claim.place {
        Place::Header => Error::client(
            Code::AuthorizationHeaderMalformed,
            format!("The authorization header is malformed; {why}"),
        ),
        Place::Query(_) => query_error(format!("Error parsing the X-Amz-Credential parameter; {why}")),
    };
    if claim.scope.service != "s3" {
        return Err(wrong(format!(
            "incorrect service \"{}\". This endpoint belongs to \"s3\".",
            claim.scope.service
        )));
    }
    if claim.scope.region.is_empty() {
        let of_minio = matches!(request.operation, Operation::MinioKms | Operation::MinioOther);
        return if of_minio { Ok(()) } else { Err(wrong(format!("{NO_CREDENTIAL}."))) };
    }
    match request.region() {
        Some(region) if claim.scope.region != region => {
            Err(wrong(format!("the region '{}' is wrong; expecting '{region}'", claim.scope.region))
                .field("Region", region))
        }
        _ => Ok(()),
    }
}

fn check_time(claim: &Claim, now: OffsetDateTime) -> Result<()> {
    match claim.place {
        Place::Header => check_skew(claim.time, now),
        Place::Query(_) if claim.time - now > MAX_SKEW => {
            Err(Error::client(Code::AccessDenied, "Request is not valid yet")
                .field("X-Amz-Date", claim.timestamp.as_str())
                .field("ServerTime", iso(now)))
        }
        Place::Query(life) if now > claim.time + life => {
            Err(expired(claim.time + life, now).field("X-Amz-Expires", life.whole_seconds().to_string()))
        }
        Place::Query(_) => Ok(()),
    }
}

/// A request is signed at the time of its sending, up to [`MAX_SKEW`].
fn check_skew(time: OffsetDateTime, now: OffsetDateTime) -> Result<()> {
    if (now - time).abs() <= MAX_SKEW {
        return Ok(());
    }
    Err(Error::client(
        Code::RequestTimeTooSkewed,
        "The difference between the request time and the current time is too large.",
    )
    .field("RequestTime", format_timestamp(time))
    .field("ServerTime", iso(now))
    .field("MaxAllowedSkewMilliseconds", MAX_SKEW.whole_milliseconds().to_string()))
}

/// Of a presigned URL that was good until then.
fn expired(until: OffsetDateTime, now: OffsetDateTime) -> Error {
    Error::client(Code::AccessDenied, "Request has expired")
        .field("Expires", iso(until))
        .field("ServerTime", iso(now))
}

fn iso(time: OffsetDateTime) -> String {
    let t = time.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    )
}

/// The session token in the headers.
fn token_of(request: &S3Request) -> Option<&[u8]> {
    request.headers.get(SECURITY_TOKEN).map(http::HeaderValue::as_bytes)
}

/// A session token has to be the configured one, and a credential with one has to be used with it.
fn check_token(sent: Option<&[u8]>, credential: &Credential) -> Result<()> {
    let good = match (&credential.session_token, sent) {
        (None, None) => true,
        (Some(ours), Some(sent)) => {
            aws_lc_rs::constant_time::verify_slices_are_equal(ours.expose().as_bytes(), sent).is_ok()
        }
        _ => false,
    };
    if good {
        return Ok(());
    }
    Err(Error::client(Code::InvalidToken, "The provided token is malformed or otherwise invalid."))
}

/// `host` and every `x-amz-*` header have to be covered, or whoever relays the request could change its meaning.
fn check_signed_headers(claim: &Claim, request: &S3Request) -> Result<()> {
    let signed = |name: &str| claim.signed_headers.split(';').any(|s| s == name);
    let unsigned: Vec<&str> = request
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-amz-") && !request.is_hoisted(name))
        .map(HeaderName::as_str)
        .chain(["host"])
        .filter(|name| !signed(name))
        .collect();
    if unsigned.is_empty() {
        return Ok(());
    }
    Err(Error::client(Code::AccessDenied, "There were headers present in the request which were not signed")
        .field("HeadersNotSigned", unsigned.join(", ")))
}

/// `x-amz-content-sha256`, which may be there once.
fn content_sha256(request: &S3Request) -> Result<Option<&str>> {
    let mut values = request.headers.get_all(CONTENT_SHA256).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Error::client(Code::InvalidRequest, "x-amz-content-sha256 stands in the request twice.")
            .field("ArgumentName", CONTENT_SHA256));
    }
    Ok(value.map(|value| value.to_str().unwrap_or_default()))
}

/// The form of the payload and the text that stands for it in the canonical request.
fn payload_of<'a>(claim: &Claim, request: &'a S3Request) -> Result<(Form, &'a str)> {
    match (content_sha256(request)?, claim.place) {
        (None, Place::Query(_)) => Ok((Form::Unsigned, "UNSIGNED-PAYLOAD")),
        (None, Place::Header) => Err(Error::client(
            Code::MissingSecurityHeader,
            "Missing required header for this request: x-amz-content-sha256",
        )
        .field("MissingHeaderName", CONTENT_SHA256)),
        (Some(text), _) => Ok((Form::parse(text)?, text)),
    }
}

fn canonical_hash(claim: &Claim, request: &S3Request, payload: &str) -> [u8; 32] {
    let path: Vec<u8> = percent_encoding::percent_decode(request.raw_path.as_bytes()).collect();
    let query = match claim.place {
        Place::Header => request.signed_query().canonical(),
        Place::Query(_) => {
            let mut query = request.signed_query().clone();
            query.retain(|p| !p.name.eq_ignore_ascii_case(b"X-Amz-Signature"));
            query.canonical()
        }
    };
    Canonical {
        method: request.method.as_str(),
        path: &encode_path(&path),
        query: &query,
        headers: &request.headers,
        signed_headers: &claim.signed_headers,
        payload,
    }
    .hash()
}
