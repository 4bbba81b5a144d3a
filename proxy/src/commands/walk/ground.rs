//! The bucket that is walked, as a running proxy would serve it: its measured backend and its rule, under the proxy's own keys.

use super::{Listed, Place};
use crate::backend::{Backend, Caller};
use crate::commands::Failure;
use crate::config::{BucketRule, Unencrypted};
use crate::info::{Opens, Target};
use crate::s3::name::BucketName;
use crate::services::Services;

/// Where a walk's objects are.
pub(in crate::commands) struct Ground<'a> {
    /// Everything that runs.
    pub(in crate::commands) services: &'a Services,
    /// The bucket's backend.
    pub(in crate::commands) backend: &'a Backend,
    /// The bucket's rule, with plaintext let through: it is to be told or sealed, and is no error.
    pub(in crate::commands) rule: BucketRule,
    /// The bucket.
    pub(in crate::commands) bucket: &'a BucketName,
}

impl<'a> Ground<'a> {
    /// The bucket of `place`, once its backend is measured.
    pub(in crate::commands) async fn of(services: &'a Services, place: &'a Place) -> Result<Self, Failure> {
        let rule = services.config.buckets.rule(&place.bucket);
        let backend = services.backends.get(&rule.backend)?;
        backend.prepare().await?;
        let rule = BucketRule { unencrypted_objects: Unencrypted::Pass { before: None }, ..rule.clone() };
        Ok(Self { services, backend, rule, bucket: &place.bucket })
    }

    /// One object there.
    pub(in crate::commands) fn target<'t>(&'t self, object: &'t Listed) -> Target<'t> {
        Target {
            backend: self.backend,
            caller: &Caller::Own,
            rule: &self.rule,
            bucket: self.bucket,
            key: &object.key,
            version: None,
            carried: None,
            opens: Opens::Facts,
        }
    }
}
