//! The key that a new object is sealed under: the deployment's, with the client's right to name it, or the customer's.
//! Which of them and in what mode is decided in `plan/sse.rs`.

use std::sync::Arc;

use http::HeaderMap;
use object_format::{BucketKeyFlag, EnvelopeHeader, KeyRef, Kind, Mode};

use super::Route;
use crate::auth::Verified;
use crate::config::{BucketRule, EtagPolicy};
use crate::error::Result;
use crate::info::Target;
use crate::keys::{OpenKey, ResolvedKey, Scope};
use crate::plan::customer::CustomerKeyHeaders;
use crate::plan::sse::{self, BucketDefault, DeploymentSse, WriteSse};
use crate::s3::S3Request;
use crate::s3::operation::Operation;
use crate::services::Services;

/// A key that wraps a new object's own key, in hand. Every operation that makes an envelope goes through it:
///
/// - PutObject and CreateMultipartUpload: [`decide`] decides, [`WriteKey::of`] fetches, [`WriteKey::key_ref`] and
///   [`WriteKey::envelope_header`] make the envelope, [`WriteKey::etag_policy`] says what its ETag is,
///   [`WriteKey::response_headers`] what the answer shows.
/// - UploadPart of an upload under SSE-C, whose envelope exists: `CustomerKeyHeaders::of` reads the part's own headers,
///   and its `key_ref` opens the envelope (or does not: another key).
pub enum WriteKey {
    /// The deployment's.
    Deployment {
        /// What was decided.
        sse: DeploymentSse,
        /// The data key.
        open: Arc<OpenKey>,
    },
    /// The customer's.
    Customer(CustomerKeyHeaders),
}

impl WriteKey {
    /// Fetches the key. A client that names one needs the right to.
    pub async fn of(
        services: &Services,
        request: &Verified<S3Request>,
        target: &Target<'_>,
        sse: WriteSse,
    ) -> Result<Self> {
        let sse = match sse {
            WriteSse::Customer(key) => return Ok(Self::Customer(key)),
            WriteSse::Deployment(sse) => sse,
        };
        let resolved = resolve(services, request, target, &sse)?;
        Self::fetch(services, target, resolved, sse).await
    }

    /// The same for an operator, who may use every key.
    pub async fn of_operator(services: &Services, target: &Target<'_>, sse: DeploymentSse) -> Result<Self> {
        let resolved = services.keyring.resolve(sse.key_id.as_deref())?;
        Self::fetch(services, target, resolved, sse).await
    }

    async fn fetch(
        services: &Services,
        target: &Target<'_>,
        resolved: ResolvedKey,
        sse: DeploymentSse,
    ) -> Result<Self> {
        let scope = if sse.per_object {
            Scope::Object {
                binding: target.binding(),
                key: target.key.as_bytes(),
                context: sse.context.as_ref().map(String::as_bytes),
            }
        } else {
            Scope::Bucket { binding: target.binding() }
        };
        let open = services.keyring.for_write(&resolved, scope).await?;
        Ok(Self::Deployment { sse, open })
    }

    /// For the format.
    pub fn key_ref(&self) -> KeyRef<'_> {
        match self {
            Self::Deployment { open, .. } => KeyRef::Bucket(open.key()),
            Self::Customer(key) => key.key_ref(),
        }
    }

    /// The clear part of the envelope.
    pub fn envelope_header(&self, kind: Kind) -> EnvelopeHeader {
        let (sse, open) = match self {
            Self::Customer(_) => return EnvelopeHeader::customer(kind),
            Self::Deployment { sse, open } => (sse, open),
        };
        EnvelopeHeader {
            kind,
            mode: sse.mode,
            bucket_key: if sse.per_object {
                BucketKeyFlag::PerObject
            } else if sse.shows_bucket_key {
                BucketKeyFlag::SharedShown
            } else {
                BucketKeyFlag::Shared
            },
            service: open.service.clone(),
            key_name: open.key_name.clone(),
            key_spelling: sse.key_id.clone().filter(|id| sse.mode == Mode::SseKms && *id != open.key_name),
            sealed_key: open.sealed.to_vec(),
            context: sse.context.clone().map(String::into_bytes),
        }
    }

    /// Under a customer's key an ETag is never an MD5 of the plaintext.
    pub fn etag_policy(&self, rule: &BucketRule) -> EtagPolicy {
        match self {
            Self::Deployment { .. } => rule.etag,
            Self::Customer(_) => EtagPolicy::Opaque,
        }
    }

    /// What the answer to the write says of the encryption. A later GET says the same, less the context.
    pub fn response_headers(&self, out: &mut HeaderMap) {
        match self {
            Self::Deployment { sse, open } => {
                let key_id = sse.key_id.as_deref().unwrap_or(&open.key_name);
                sse::response_headers(sse.mode, Some(key_id), sse.shows_bucket_key, out);
                if let Some(context) = sse.context.as_deref().and_then(|text| text.parse().ok()) {
                    out.insert(sse::SSE_CONTEXT, context);
                }
            }
            Self::Customer(key) => key.response_headers(out),
        }
    }
}

/// The encryption of a write to the route's bucket: the request's headers, then the rule that was put for the bucket, then
/// the configuration.
///
/// # Errors
/// Where the headers are refused, and where the bucket's rule cannot be read: it may block what is asked for.
pub async fn decide(services: &Services, request: &S3Request, route: &Route<'_>) -> Result<WriteSse> {
    let default = default_of(services, route).await?;
    match request.operation {
        Operation::CopyObject => sse::for_copy(&request.headers, &default),
        _ => sse::for_write(&request.headers, &default),
    }
}

/// What writes to the route's bucket get that ask for nothing.
pub async fn default_of(services: &Services, route: &Route<'_>) -> Result<BucketDefault> {
    let stored = services.rules.get(&services.keyring, route.backend, route.bucket).await?;
    Ok(BucketDefault::of(route.rule, stored.as_deref()))
}

fn resolve(
    services: &Services,
    request: &Verified<S3Request>,
    target: &Target<'_>,
    sse: &DeploymentSse,
) -> Result<ResolvedKey> {
    let resolved = services.keyring.resolve(sse.key_id.as_deref())?;
    if sse.key_named_by_client {
        let bucket_key =
            sse.bucket_key_id.as_deref().map(|id| services.keyring.resolve(Some(id))).transpose()?;
        let own: Vec<&ResolvedKey> =
            [Some(services.keyring.default_key()), bucket_key.as_ref()].into_iter().flatten().collect();
        request.identity().authorize_key(target.bucket, &resolved, &own)?;
    }
    Ok(resolved)
}
