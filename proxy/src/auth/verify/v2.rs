//! Verifies Signature Version 2, where it is switched on. What it covers is `auth/v2.rs`'s; the body it never does.

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use time::OffsetDateTime;

use super::{
    Verified, check_skew, check_token, content_sha256, expired, token_of, unknown_key, wrong_signature,
};
use crate::auth::identity::Identity;
use crate::auth::payload::{Form, PayloadCheck};
use crate::auth::store::CredentialStore;
use crate::auth::v2::{Claim, Place, Reading, check_covered, string_to_sign};
use crate::config::Credential;
use crate::error::{Code, Error, Result};
use crate::s3::S3Request;

/// Whether `signature` is the credential's of that text; in constant time.
pub(super) fn verifies(credential: &Credential, text: &[u8], signature: &[u8]) -> bool {
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, credential.secret_key.expose().as_bytes());
    hmac::verify(&key, text, signature).is_ok()
}

pub(super) fn verify(
    claim: Claim,
    request: S3Request,
    store: &CredentialStore,
    now: OffsetDateTime,
) -> Result<Verified<S3Request>> {
    let credential = store.find(&claim.access_key).ok_or_else(|| unknown_key(&claim.access_key))?;
    match &claim.place {
        Place::Header(time) => check_skew(*time, now)?,
        Place::Query { until, .. } if now > *until => return Err(expired(*until, now)),
        Place::Query { .. } => {}
    }
    check_token(token_of(&request), &credential)?;
    check_covered(&request)?;
    let payload = payload_of(&request)?;
    let signed = Reading::ALL.into_iter().any(|reading| {
        verifies(&credential, &string_to_sign(&request, &claim.place, reading, false), &claim.signature)
    });
    if !signed {
        let shown = string_to_sign(&request, &claim.place, Reading::Documented, true);
        return Err(wrong_signature(&claim.access_key, &String::from_utf8_lossy(&shown)));
    }
    Ok(Verified::attest(request, Identity::of(credential), payload))
}

/// A hash or a trailer is checked where a header, which is signed as all of its kind, speaks of one.
fn payload_of(request: &S3Request) -> Result<PayloadCheck> {
    match content_sha256(request)?.map(Form::parse).transpose()? {
        None | Some(Form::Unsigned) => Ok(PayloadCheck::Unsigned),
        Some(Form::Sha256(hash)) => Ok(PayloadCheck::Sha256(hash)),
        Some(Form::UnsignedTrailer) => Ok(PayloadCheck::UnsignedTrailer),
        Some(Form::SignedChunks | Form::SignedChunksTrailer) => Err(Error::client(
            Code::InvalidRequest,
            "Signature Version 2 has no signed chunks. Please use AWS4-HMAC-SHA256.",
        )
        .field("ArgumentName", super::CONTENT_SHA256)),
    }
}
