//! GetBucketEncryption, PutBucketEncryption, DeleteBucketEncryption: the proxy's own; the backend never sees a rule in
//! clear (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html>).

use http::StatusCode;

use super::Route;
use crate::auth::Verified;
use crate::body;
use crate::config::{BucketRule, SseMode};
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::keys::{ResolvedKey, Scope};
use crate::s3::S3Request;
use crate::s3::xml::{DefaultEncryption, EncryptionRule, parse_encryption, render_encryption};
use crate::services::Services;

/// Largest configuration.
const MAX_DOCUMENT: usize = 1 << 20;

/// Answers GetBucketEncryption: the rule that was put, else what the configuration names for this very bucket. A default
/// for all buckets is nothing that was set for one.
pub async fn get_bucket_encryption(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = existing(services, request).await?;
    let stored = services.rules.get(&services.keyring, route.backend, route.bucket).await?;
    let rule = stored.as_deref().cloned().or_else(|| configured(route.rule)).ok_or_else(|| {
        Error::client(
            Code::ServerSideEncryptionConfigurationNotFound,
            "The server side encryption configuration was not found",
        )
        .field("BucketName", route.bucket.as_str())
    })?;
    Ok(Outcome::Reply(Reply::xml(Head::new(StatusCode::OK), render_encryption(&rule))))
}

/// Answers PutBucketEncryption: the rule is kept once its key has been seen to work.
pub async fn put_bucket_encryption(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = existing(services, request).await?;
    let document = body::collect(request, exchange, MAX_DOCUMENT).await?;
    let rule = parse_encryption(&document)?;
    if let Some(default) = &rule.default {
        probe(services, request, &route, default).await?;
    }
    services.rules.put(&services.keyring, route.backend, route.bucket, rule).await?;
    Ok(Outcome::Reply(Reply::empty(Head::new(StatusCode::OK))))
}

/// Answers DeleteBucketEncryption; also where there is no rule, or one that cannot be read.
pub async fn delete_bucket_encryption(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = existing(services, request).await?;
    services.rules.remove(route.backend, route.bucket).await?;
    Ok(Outcome::Reply(Reply::empty(Head::new(StatusCode::NO_CONTENT))))
}

/// The bucket, which has to be there for the client.
async fn existing<'a>(services: &'a Services, request: &'a Verified<S3Request>) -> Result<Route<'a>> {
    // The backend's policy decides for nobody in particular, and is not asked about our own rules.
    if request.identity().is_anonymous() {
        return Err(Error::client(Code::AccessDenied, "Access Denied"));
    }
    let route = Route::of(services, request)?;
    route.exists(request).await?;
    Ok(route)
}

/// Makes a data key for the bucket under the rule's key: one that cannot would make every later write fail.
async fn probe(
    services: &Services,
    request: &Verified<S3Request>,
    route: &Route<'_>,
    default: &DefaultEncryption,
) -> Result<()> {
    let resolved = services.keyring.resolve(default.key_id.as_deref())?;
    if default.key_id.is_some() {
        let configured =
            route.rule.key.as_deref().map(|id| services.keyring.resolve(Some(id))).transpose()?;
        let own: Vec<&ResolvedKey> =
            [Some(services.keyring.default_key()), configured.as_ref()].into_iter().flatten().collect();
        request.identity().authorize_default_key(route.bucket, &resolved, &own)?;
    }
    let binding = route.rule.binding.as_deref().unwrap_or(route.bucket.as_str());
    services.keyring.for_write(&resolved, Scope::Bucket { binding }).await?;
    Ok(())
}

/// What `config.yaml` names for this bucket.
fn configured(rule: &BucketRule) -> Option<EncryptionRule> {
    rule.sse_named.then(|| EncryptionRule {
        default: Some(DefaultEncryption {
            mode: rule.sse,
            key_id: rule.key.clone().filter(|_| rule.sse == SseMode::SseKms),
        }),
        bucket_key: None,
        blocks_customer_keys: None,
    })
}
