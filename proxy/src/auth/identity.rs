//! Who an authenticated client is and what it may do: grants over buckets, prefixes, actions and encryption keys.
//! Whether it is who it says is decided in `verify.rs`.

use std::sync::Arc;

use crate::config::{Action, Credential, Grant, KeyPattern, StaticKeys};
use crate::error::{Code, Error, Result};
use crate::keys::ResolvedKey;
use crate::s3::S3Request;
use crate::s3::name::BucketName;
use crate::s3::operation::{Level, Operation};

/// The owner of a verified signature, or nobody.
#[derive(Clone, Debug)]
pub struct Identity(Who);

#[derive(Clone, Debug)]
enum Who {
    Known(Arc<Credential>),
    /// Nobody, let into this one bucket because its rule hands such requests to the backend's own policy.
    Anonymous(Option<BucketName>),
}

impl Identity {
    pub(super) fn of(credential: Arc<Credential>) -> Self {
        Self(Who::Known(credential))
    }

    pub(super) fn anonymous(bucket: Option<BucketName>) -> Self {
        Self(Who::Anonymous(bucket))
    }

    fn known(&self) -> Option<&Credential> {
        match &self.0 {
            Who::Known(credential) => Some(credential),
            Who::Anonymous(_) => None,
        }
    }

    /// Whether the request carried no credentials. Then the backend's policy decides: it goes out unsigned.
    pub fn is_anonymous(&self) -> bool {
        self.known().is_none()
    }

    /// The access key id; `anonymous` for nobody. For logs.
    pub fn access_key(&self) -> &str {
        self.known().map_or("anonymous", |c| &c.access_key)
    }

    /// The keys under which its requests go to that backend, if it has its own.
    pub fn backend_keys(&self, backend: &str) -> Option<&StaticKeys> {
        self.known()?.backend_keys.get(backend)
    }

    /// Whether it may do what this request asks, as far as the request line says. What stands in a body
    /// (DeleteObjects) or names a second object (copy source) is for [`Identity::authorize`].
    pub fn authorize_request(&self, request: &S3Request) -> Result<()> {
        let action = request.operation.action();
        let Some(bucket) = &request.bucket else {
            return match request.operation {
                // Its answer is filtered by `may_see`.
                Operation::ListBuckets if !self.is_anonymous() => Ok(()),
                Operation::Preflight | Operation::MinioHealth => Ok(()),
                _ => self.allow(None, |grant| {
                    grant.actions.contains(&action) && grant.buckets.iter().any(|b| b == "*")
                }),
            };
        };
        match request.operation {
            Operation::Preflight => Ok(()),
            // Nothing of any object shows in these answers, and clients ask them before anything else.
            Operation::HeadBucket
            | Operation::GetBucketLocation
            | Operation::GetBucketVersioning
            | Operation::GetObjectLockConfiguration
            // Each key in the body is authorized by the handler.
            | Operation::DeleteObjects => self.allow(Some(bucket), |grant| covers(grant, action, bucket)),
            operation if operation.level() == Level::Object => {
                self.authorize(action, bucket, request.key.as_ref().map(|k| k.as_bytes()))
            }
            Operation::ListObjects
            | Operation::ListObjectsV2
            | Operation::ListObjectVersions
            | Operation::ListMultipartUploads => {
                self.authorize(action, bucket, Some(request.query.get("prefix").unwrap_or_default()))
            }
            _ => self.authorize(action, bucket, None),
        }
    }

    /// Whether one of its grants covers the action on this bucket and key. For a listing `key` is the prefix that
    /// is listed. `None` is the bucket as a whole, which a grant limited to prefixes does not cover.
    pub fn authorize(&self, action: Action, bucket: &BucketName, key: Option<&[u8]>) -> Result<()> {
        self.allow(Some(bucket), |grant| {
            covers(grant, action, bucket)
                && (grant.prefixes.is_empty()
                    || key.is_some_and(|key| grant.prefixes.iter().any(|p| key.starts_with(p.as_bytes()))))
        })
    }

    /// Whether ListBuckets shows it this bucket.
    pub fn may_see(&self, bucket: &BucketName) -> bool {
        self.known().is_some_and(|c| c.allow.iter().any(|g| matches_any(&g.buckets, bucket.as_str())))
    }

    /// Whether it may name the encryption key `key` on a write to `bucket`. A grant that lists no keys lets it name
    /// only `own`: the deployment's default key and those of the bucket's rule.
    pub fn authorize_key(&self, bucket: &BucketName, key: &ResolvedKey, own: &[&ResolvedKey]) -> Result<()> {
        self.allow_key(Action::Write, bucket, key, own)
    }

    /// The same for the key of a bucket's default, which takes the right to configure the bucket.
    pub fn authorize_default_key(
        &self,
        bucket: &BucketName,
        key: &ResolvedKey,
        own: &[&ResolvedKey],
    ) -> Result<()> {
        self.allow_key(Action::Admin, bucket, key, own)
    }

    fn allow_key(
        &self,
        action: Action,
        bucket: &BucketName,
        key: &ResolvedKey,
        own: &[&ResolvedKey],
    ) -> Result<()> {
        let allowed = match self.known() {
            None => own.contains(&key),
            Some(credential) => credential.allow.iter().any(|grant| {
                covers(grant, action, bucket)
                    && if grant.keys.is_empty() { own.contains(&key) } else { lists(&grant.keys, key) }
            }),
        };
        if allowed {
            return Ok(());
        }
        Err(Error::client(
            Code::AccessDenied,
            "This access key may not use the encryption key that the request names. \
             Its `allow` entry in the proxy's configuration lists the keys it may use under `keys`.",
        ))
    }

    /// Whether it may make and look at encryption keys as such: an `admin` grant over every bucket and prefix, whose `keys`, where
    /// it lists any, cover `key`.
    pub fn authorize_keys(&self, key: Option<&ResolvedKey>) -> Result<()> {
        self.allow(None, |grant| {
            grant.actions.contains(&Action::Admin)
                && grant.buckets.iter().any(|b| b == "*")
                && grant.prefixes.is_empty()
                && key.is_none_or(|key| grant.keys.is_empty() || lists(&grant.keys, key))
        })
    }

    fn allow(&self, bucket: Option<&BucketName>, covered: impl Fn(&Grant) -> bool) -> Result<()> {
        let (allowed, cause) = match &self.0 {
            Who::Known(credential) => {
                (credential.allow.iter().any(covered), "no grant of this access key covers the request")
            }
            Who::Anonymous(let_in) => (
                bucket.is_some() && let_in.as_ref() == bucket,
                "an anonymous request reaches for another bucket",
            ),
        };
        if allowed { Ok(()) } else { Err(Error::client(Code::AccessDenied, "Access Denied").because(cause)) }
    }
}

fn covers(grant: &Grant, action: Action, bucket: &BucketName) -> bool {
    grant.actions.contains(&action) && matches_any(&grant.buckets, bucket.as_str())
}

fn lists(patterns: &[KeyPattern], key: &ResolvedKey) -> bool {
    patterns.iter().any(|pattern| {
        pattern.service.as_ref().is_none_or(|service| *service == key.service)
            && matches(&pattern.name, key.name.as_str())
    })
}

fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Exact names, `prefix*` or `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests;
