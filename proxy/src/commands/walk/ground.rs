//! The bucket that is walked, as a running proxy would serve it: its measured backend and its rule, under the proxy's own keys.

use bytes::Bytes;
use http::Method;

use super::{Listed, Place};
use crate::backend::{Backend, Caller, Names, Outgoing, error_from};
use crate::commands::Failure;
use crate::config::{BucketRule, Unencrypted};
use crate::error::Code;
use crate::info::{self, Opens, Target};
use crate::s3::name::BucketName;
use crate::s3::xml::first_text;
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

    /// Whether the bucket keeps older versions, which no walk reaches. A backend that does not know the question has none.
    pub(in crate::commands) async fn keeps_versions(&self) -> Result<bool, Failure> {
        let out = Outgoing::bucket(Method::GET, self.bucket).flag("versioning");
        let response = self.backend.call(&Caller::Own, out, Bytes::new()).await?;
        if response.is_success() {
            let document = response.body.collect(1 << 20).await?;
            let status =
                first_text(&document, "Status").map_err(|_| info::unexpected("an answer that is no XML"))?;
            return Ok(status.is_some());
        }
        let error = error_from(response, &Names { bucket: Some(self.bucket), key: None }).await;
        match error.code() {
            Code::NoSuchBucket | Code::AccessDenied => Err(error.into()),
            _ => Ok(false),
        }
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
