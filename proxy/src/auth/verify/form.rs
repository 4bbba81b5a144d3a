//! Who sent a form: the signature stands in a field, and over the policy alone. What it allows is `policy.rs`'s.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;

use super::{Verified, unknown_key, v2, wrong_signature};
use crate::auth::canonical::{ALGORITHM, parse_timestamp};
use crate::auth::claim::{check_algorithm, parse_credential, sigv2};
use crate::auth::identity::Identity;
use crate::auth::payload::PayloadCheck;
use crate::auth::policy::Policy;
use crate::auth::store::CredentialStore;
use crate::config::{Anonymous, Credential};
use crate::error::{Code, Error, Result};
use crate::s3::S3Request;
use crate::s3::form::Form;

/// A form whose sender is known and whose policy allows it.
pub struct VerifiedForm {
    identity: Identity,
    lengths: (u64, u64),
}

impl VerifiedForm {
    /// Who sent it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Shortest and longest file that its policy allows.
    pub fn lengths(&self) -> (u64, u64) {
        self.lengths
    }

    /// The request that the form stands for. Its body is not covered by the signature.
    pub fn request(self, put: S3Request) -> Verified<S3Request> {
        Verified::attest(put, self.identity, PayloadCheck::Unsigned)
    }
}

/// Checks who sent a form, and that its policy allows what stands in its fields.
///
/// # Errors
/// As for every other request; of a policy that is no policy, is over, or does not fit, with S3's words.
pub fn verify_form(
    request: &S3Request,
    form: &Form,
    store: &CredentialStore,
    now: OffsetDateTime,
) -> Result<VerifiedForm> {
    let bucket = request.bucket()?;
    let signed = ["policy", "x-amz-signature", "x-amz-credential", "signature", "awsaccesskeyid"];
    if signed.iter().all(|name| form.get(name).is_none()) {
        if store.anonymous(bucket) == Anonymous::Backend {
            return Ok(VerifiedForm {
                identity: Identity::anonymous(Some(bucket.clone())),
                lengths: (0, u64::MAX),
            });
        }
        return Err(Error::client(Code::AccessDenied, "Access Denied").because("the form has no credentials"));
    }
    let encoded = field(form, "policy")?;
    let credential = if form.get("awsaccesskeyid").is_some() {
        if !store.takes_v2() {
            return Err(sigv2());
        }
        signed_v2(form, encoded, store)?
    } else {
        signed_v4(request, form, encoded, store)?
    };
    let token = form.get("x-amz-security-token").map(str::as_bytes);
    super::check_token(token, &credential)?;
    let policy = Policy::parse(encoded)?;
    policy.check(form, bucket.as_str(), now)?;
    Ok(VerifiedForm { identity: Identity::of(credential), lengths: policy.lengths() })
}

fn signed_v4(
    request: &S3Request,
    form: &Form,
    encoded: &str,
    store: &CredentialStore,
) -> Result<std::sync::Arc<Credential>> {
    let algorithm = field(form, "x-amz-algorithm")?;
    if algorithm != ALGORITHM {
        check_algorithm(algorithm)?;
    }
    let bad = |name: &'static str| {
        Error::client(Code::InvalidArgument, format!("The value of the form field {name} is not valid."))
            .field("ArgumentName", name)
    };
    let (access_key, scope) =
        parse_credential(field(form, "x-amz-credential")?).map_err(|_| bad("x-amz-credential"))?;
    let timestamp = field(form, "x-amz-date")?;
    if parse_timestamp(timestamp).is_none() || !timestamp.starts_with(&scope.date) {
        return Err(bad("x-amz-date"));
    }
    if scope.service != "s3"
        || scope.region.is_empty()
        || request.region().is_some_and(|region| region != scope.region)
    {
        return Err(bad("x-amz-credential"));
    }
    let claimed = crate::auth::parse_hex32(field(form, "x-amz-signature")?);
    let credential = store.find(&access_key).ok_or_else(|| unknown_key(&access_key))?;
    let key = store.day_key(&credential, &scope);
    if claimed.is_some_and(|claimed| key.verifies(encoded, &claimed)) {
        return Ok(credential);
    }
    Err(wrong_signature(&access_key, encoded))
}

fn signed_v2(form: &Form, encoded: &str, store: &CredentialStore) -> Result<std::sync::Arc<Credential>> {
    let access_key = field(form, "awsaccesskeyid")?;
    let claimed = STANDARD.decode(field(form, "signature")?).unwrap_or_default();
    let credential = store.find(access_key).ok_or_else(|| unknown_key(access_key))?;
    if v2::verifies(&credential, encoded.as_bytes(), &claimed) {
        return Ok(credential);
    }
    Err(wrong_signature(access_key, encoded))
}

/// A form lacks a field, or has it behind its file. The two spaces are S3's.
pub(crate) fn missing(name: &'static str) -> Error {
    Error::client(
        Code::InvalidArgument,
        format!("Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."),
    )
    .field("ArgumentName", name)
}

fn field<'a>(form: &'a Form, name: &'static str) -> Result<&'a str> {
    form.get(name).ok_or_else(|| missing(name))
}
