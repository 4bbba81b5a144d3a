//! Which subresources a backend tells from the bare operation, measured: some know `GET ?website` and still delete
//! the whole bucket on `DELETE ?website`. What was found is kept in the system area.

use std::collections::BTreeSet;

use aws_lc_rs::rand;
use bytes::Bytes;
use http::Method;

use super::failure::{Document, MAX_DOCUMENT};
use super::system::SystemArea;
use super::{Backend, Caller, Outgoing};
use crate::error::{Error, Result};
use crate::s3::name::BucketName;

/// Where the result is kept.
const KEPT: &str = "subresources";

/// A subresource of a bucket and what GET says where it is known: a root element on 200, or the code that means
/// "known, but not set". `deletable`: S3 has a DELETE for it.
struct Subresource {
    name: &'static str,
    root: &'static str,
    unset: &'static str,
    deletable: bool,
}

const fn plain(name: &'static str, root: &'static str, unset: &'static str) -> Subresource {
    Subresource { name, root, unset, deletable: false }
}

const fn deletable(name: &'static str, root: &'static str, unset: &'static str) -> Subresource {
    Subresource { name, root, unset, deletable: true }
}

const CANDIDATES: [Subresource; 12] = [
    plain("accelerate", "AccelerateConfiguration", "-"),
    deletable("cors", "CORSConfiguration", "NoSuchCORSConfiguration"),
    deletable("lifecycle", "LifecycleConfiguration", "NoSuchLifecycleConfiguration"),
    plain("logging", "BucketLoggingStatus", "-"),
    deletable("ownershipControls", "OwnershipControls", "OwnershipControlsNotFoundError"),
    deletable("policy", "-", "NoSuchBucketPolicy"),
    plain("policyStatus", "PolicyStatus", "NoSuchBucketPolicy"),
    deletable("publicAccessBlock", "PublicAccessBlockConfiguration", "NoSuchPublicAccessBlockConfiguration"),
    deletable("replication", "ReplicationConfiguration", "ReplicationConfigurationNotFoundError"),
    plain("requestPayment", "RequestPaymentConfiguration", "-"),
    deletable("tagging", "Tagging", "NoSuchTagSet"),
    deletable("website", "WebsiteConfiguration", "NoSuchWebsiteConfiguration"),
];

/// What an earlier measurement found.
pub(super) async fn recall(system: &SystemArea) -> Result<Option<BTreeSet<String>>> {
    let Some(body) = system.get(KEPT).await? else { return Ok(None) };
    // Unreadable counts as never measured; it is written anew.
    Ok(serde_json::from_slice(&body).ok())
}

/// Measures on a bucket made for it, and keeps the result. Where no bucket can be made, nothing that has a DELETE
/// counts as known. `tagged` is a DELETE of an object that stands.
pub(super) async fn measure(
    backend: &Backend,
    system: &SystemArea,
    tagged: Outgoing,
) -> Result<BTreeSet<String>> {
    let mut id = [0; 4];
    rand::fill(&mut id).map_err(|_| Error::internal("no randomness"))?;
    let own = backend.config().system.bucket.as_str();
    let scratch = format!("{}-{}", own.get(..50).unwrap_or(own), hex::encode(id));
    let scratch = BucketName::parse(scratch.as_bytes())?;
    // One-bucket accounts can't make another; their tokens may even be charged for trying.
    let single = !backend.config().system.prefix.is_empty();
    let made = !single && system.make_bucket(&scratch).await?.is_success();
    let bucket = if made { &scratch } else { &backend.config().system.bucket };
    let survey = Survey { backend, system, bucket, made };
    let found = survey.run(tagged).await;
    if made {
        // The bucket is empty and was made above; this is the bare operation on purpose.
        let _ = survey.send(Outgoing::bucket(Method::DELETE, bucket)).await;
    }
    let found = found?;
    let body = serde_json::to_vec(&found).map_err(|e| Error::internal(e.to_string()))?;
    system.put(KEPT, body.into()).await?;
    Ok(found)
}

struct Survey<'a> {
    backend: &'a Backend,
    system: &'a SystemArea,
    bucket: &'a BucketName,
    made: bool,
}

impl Survey<'_> {
    async fn run(&self, tagged: Outgoing) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for candidate in &CANDIDATES {
            if self.answers_get(candidate).await?
                && (!candidate.deletable || self.made && self.survives_delete(candidate.name).await?)
                && (candidate.name != "tagging" || self.object_survives(&tagged).await?)
            {
                found.insert(candidate.name.to_owned());
            }
        }
        Ok(found)
    }

    async fn answers_get(&self, candidate: &Subresource) -> Result<bool> {
        let response = self.send(Outgoing::bucket(Method::GET, self.bucket).flag(candidate.name)).await?;
        let success = response.is_success();
        let body = response.body.prefix(MAX_DOCUMENT).await;
        if !success {
            return Ok(Document::parse(&body).code.as_deref() == Some(candidate.unset));
        }
        let root = format!("<{}", candidate.root);
        let is_policy = candidate.name == "policy" && body.trim_ascii_start().starts_with(b"{");
        Ok(is_policy || body.windows(root.len()).any(|window| window == root.as_bytes()))
    }

    /// Deletes a subresource that is not set, and looks whether the bucket is still there.
    async fn survives_delete(&self, name: &str) -> Result<bool> {
        self.send(Outgoing::bucket(Method::DELETE, self.bucket).flag(name)).await?;
        if self.send(Outgoing::bucket(Method::HEAD, self.bucket)).await?.is_success() {
            return Ok(true);
        }
        // For those that follow; a failure shows there.
        self.system.make_bucket(self.bucket).await?;
        Ok(false)
    }

    async fn object_survives(&self, delete: &Outgoing) -> Result<bool> {
        self.send(delete.clone().flag("tagging")).await?;
        let head = Outgoing { method: Method::HEAD, ..delete.clone() };
        Ok(self.send(head).await?.is_success())
    }

    async fn send(&self, out: Outgoing) -> Result<super::Response> {
        self.backend.call(&Caller::Own, out, Bytes::new()).await
    }
}
